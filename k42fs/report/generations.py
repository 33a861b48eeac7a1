"""`generations`: how quickly generations of threads pass, which deferred deletion and hot swaps wait for.

K42's generation statistics: the time between advances of the global count; from setting a marker until it has
elapsed, and until it was found still active; how often in a row a marker was found active.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from k42fs.report.filters import Source
from k42fs.report.tables import Column, Report, Table, count, microseconds

POLLS_SHOWN: Final = 5
"""Runs of this many polls or more are one row."""


@dataclass(slots=True)
class Generations:
    """Ticks between advances, from a marker's setting to each answer, and runs of `active` answers."""

    intervals: list[int] = field(default_factory=list)
    elapsed: list[int] = field(default_factory=list)
    active: list[int] = field(default_factory=list)
    polls: Counter[int] = field(default_factory=Counter)
    waiting: int = 0
    """Markers that had not elapsed at the recording's end."""


def generations(source: Source) -> Generations:
    """Return what the recording says of generations."""
    advance, set_, elapsed, active = map(
        source.id,
        ("clust_obj_global_cnt", "clust_obj_mark_set", "clust_obj_mark_elapsed", "clust_obj_mark_active"),
    )
    found = Generations()
    last: int | None = None
    marks: dict[int, int] = {}
    polls: Counter[int] = Counter()
    for records in source.records((advance, set_, elapsed, active)):
        for time, _, number, words in records:
            marker = words[0]
            if number == advance:
                if last is not None:
                    found.intervals.append(time - last)
                last = time
            elif number == set_:
                marks[marker] = time
                polls.pop(marker, None)
            elif marker in marks:
                if number == active:
                    found.active.append(time - marks[marker])
                    polls[marker] += 1
                else:
                    found.elapsed.append(time - marks.pop(marker))
                    if run := polls.pop(marker, 0):
                        found.polls[run] += 1
    found.waiting = len(marks)
    return found


def generations_report(source: Source) -> Report:
    """Return the statistics."""
    found = generations(source)
    ns = source.trace.nanoseconds
    rows: list[tuple[Any, ...]] = [
        (
            what, len(times), *(ns(value) for value in (min(times), sum(times) // len(times), max(times))),
        )
        if times
        else (what, 0, None, None, None)
        for what, times in (
            ("between advances of the global count", found.intervals),
            ("from setting a marker to elapsed", found.elapsed),
            ("from setting a marker to still active", found.active),
        )
    ]  # fmt: skip
    rows.append(("markers not elapsed at the end", found.waiting, None, None, None))
    runs: Counter[int] = Counter()
    for run, times in found.polls.items():
        runs[min(run, POLLS_SHOWN)] += times
    polls = [
        (f"{run}{' or more' if run == POLLS_SHOWN else ''}", runs[run]) for run in range(1, POLLS_SHOWN + 1)
    ]
    return Report(
        [
            Table("generations", COLUMNS, rows, "Generations, times in us"),
            Table("polls", POLLS, list(polls), "Times in a row that a marker was found active"),
        ]
    )


COLUMNS: Final = (
    Column("what", "what", left=True),
    Column("count", "count", count),
    Column("min_ns", "min", microseconds),
    Column("average_ns", "average", microseconds),
    Column("max_ns", "max", microseconds),
)
POLLS: Final = (Column("polls", "polls", left=True), Column("count", "count", count))
