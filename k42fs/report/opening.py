"""What every processor of a recording says first, for readers of other machines: K42's preamble.

A person at a terminal reads the same in one line, which `head_of` makes, and then what happened.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from k42fs.machine.tracing.mask import all_classes, describe
from k42fs.machine.tracing.schema import Schema
from k42fs.report.decode import Record
from k42fs.report.filters import Source

CLASSES: Final = ("Control", "Info")
BESIDE: Final = ("exception_context", "cache_counters")
"""What else comes before anything has happened: who runs, and counts so far."""


class Opening:
    """Leaves out of the records in order of time each processor's opening; `notes` say so when all have been seen."""

    def __init__(self, schema: Schema) -> None:
        self._ids = {each.id for each in schema.events() if each.class_name in CLASSES}
        self._ids |= {schema.by_attribute[each].id for each in BESIDE}
        self._opened: set[int] = set()
        self.notes: list[str] = []

    def left_out(self, pieces: Iterator[list[Record]]) -> Iterator[list[Record]]:
        count = 0
        for records in pieces:
            kept = [record for record in records if self._is_more(record)]
            count += len(records) - len(kept)
            if kept:
                yield kept
        if count:
            self.notes.append(f"the processors' {count:,} opening events are left out: --all lists them")

    def _is_more(self, record: Record) -> bool:
        if record[1] not in self._opened:
            if record[2] in self._ids:
                return False
            self._opened.add(record[1])
        return True


def head_of(source: Source) -> str:
    """Return a line on the recording: how long, of what machine, which classes."""
    trace = source.trace
    count, mask = len(trace.processors), source.recorded
    said = [
        f"{trace.seconds(trace.end - trace.begin):.9f} s",
        f"{count} processor{'s' if count != 1 else ''} at {trace.ticks_per_second / 1e9:g} GHz",
        *(f"{key} {trace.env[key]}" for key in ("preset", "seed") if key in trace.env),
        "all classes" if mask == all_classes() else describe(mask).partition(" ")[2],
    ]
    return f"# {', '.join(said)}"
