"""`diff A B`: what changed between two recordings in calls, locks, lines and time.

Things are matched by name, never by number: refs, locks and addresses differ between runs. What is in only one
of them has an empty cell in the other; what one of them did not record at all is not compared. Counts are not
scaled: recordings of different lengths say so in a note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from k42fs.report.breakdown import breakdown
from k42fs.report.calls import methods
from k42fs.report.filters import Source
from k42fs.report.lines import lines
from k42fs.report.locks import by_class, lock_totals
from k42fs.report.tables import Column, Report, Table

SHOWN: Final = 10
ALIKE: Final = 1.1
"""Recordings whose lengths differ by less than this factor are taken to be equally long."""

TIMES: Final = ("ns", "cycles")
"""How the names of measures end that are times."""

Values = dict[str, int]


def call_values(source: Source) -> Iterator[tuple[str, Values]]:
    """Yield each method's calls, and the time in it alone."""
    for (kind, name), method in methods(source).items():
        yield f"{kind}.{name}", {"calls": method.calls, "self_ns": source.trace.nanoseconds(method.alone)}


def lock_values(source: Source) -> Iterator[tuple[str, Values]]:
    """Yield each class of locks: contentions, and the time waited."""
    for lock in by_class(lock_totals(source)):
        waited = lock.write.waited.total + lock.read.waited.total
        yield lock.name, {"contentions": lock.contentions, "waited_ns": source.trace.nanoseconds(waited)}


def line_values(source: Source) -> Iterator[tuple[str, Values]]:
    """Yield each field that moved between processors: misses of true and of false sharing, upgrades, cycles."""
    found: dict[str, Values] = {}
    for line in lines(source):
        for (offset, _), place in line.places.items():
            moves = place.moves
            if not moves.sharing:
                continue
            known = source.names.line_field(line.address, offset)
            label = f"{known.object} .{known.field}" if known else f"{line.address:#x}+{offset:#x}"
            values = found.setdefault(label, dict.fromkeys(MOVES, 0))
            for name in MOVES:
                values[name] += getattr(moves, name)
    yield from found.items()


MOVES: Final = ("false_sharing", "true_sharing", "upgrades", "cycles")


def time_values(source: Source) -> Iterator[tuple[str, Values]]:
    """Yield the time in each mode."""
    found: dict[str, int] = {}
    for (_, state), bill in breakdown(source).bills.items():
        found[state.mode] = found.get(state.mode, 0) + bill.ticks
    for mode, ticks in found.items():
        yield mode, {"ns": source.trace.nanoseconds(ticks)}


PARTS: Final[
    tuple[tuple[str, str, tuple[str, ...], Callable[[Source], Iterator[tuple[str, Values]]]], ...]
] = (
    ("calls", "Calls", ("ClustObj",), call_values),
    ("locks", "Locks", ("Lock",), lock_values),
    ("lines", "Cache lines, by field", ("Cache",), line_values),
    ("time", "Time, by mode", ("Exception", "Fuse"), time_values),
)
"""Each table: its name, its title, what it needs one class of, and what it compares."""


def diff_report(before: Source, after: Source) -> Report:
    """Return what changed from *before* to *after*, the largest change of each part first."""
    report = Report([])
    for name, title, needs, values in PARTS:
        lacking = [str(each.trace.path) for each in (before, after) if each.lacks(*needs)]
        if lacking:
            report.notes.append(
                f"no {name} compared: {' or '.join(needs)} was not recorded in {' and '.join(lacking)}"
            )
        else:
            report.tables.append(_part(name, title, values, before, after))
    if before.has_model != after.has_model:
        report.notes.append("one was recorded with a model, one without: their times cannot be compared")
        for table in report.tables:
            table.rows = [row for row in table.rows if not row[1].endswith(TIMES)]
    spans = [source.trace.seconds(source.end - source.begin) for source in (before, after)]
    if max(spans) > ALIKE * min(spans):
        report.notes.append(
            f"the recordings last {spans[0]:.6f} s and {spans[1]:.6f} s: counts are not scaled"
        )
    return report


def _part(
    name: str,
    title: str,
    values: Callable[[Source], Iterator[tuple[str, Values]]],
    before: Source,
    after: Source,
) -> Table:
    old, new = dict(values(before)), dict(values(after))
    rows: list[tuple[Any, ...]] = []
    for label in old.keys() | new.keys():
        for measure in old.get(label) or new[label]:
            a = old[label][measure] if label in old else None
            b = new[label][measure] if label in new else None
            if (a or 0) != (b or 0):
                rows.append((label, measure, a, b, (b or 0) - (a or 0), _said(a, b)))
    rows.sort(key=lambda row: (-abs(row[4]), row[0], row[1]))
    return Table(name, COLUMNS, rows, title, SHOWN)


def _said(a: int | None, b: int | None) -> str:
    """Return a change in words: gone, new, or by how much."""
    if not a:
        return "new"
    if not b:
        return "gone"
    return f"{100 * (b - a) / a:+.1f}%"


def _number(value: object) -> str:
    return "" if value is None else f"{value:,}"


COLUMNS: Final = (
    Column("what", "what", left=True),
    Column("measure", "measure", left=True),
    Column("before", "before", _number),
    Column("after", "after", _number),
    Column("change", "change", lambda value: f"{value:+,}"),
    Column("said", "", left=True),
)
