"""What a coherence core logs while it runs, as events.

A core must not call Python for each miss, and often knows of one when its processor's clock is elsewhere. So it
keeps numbers, ITEMS for each record, in one array with a bound; whoever makes packets has them turned into
events first, each with its own stamp, in the stream of the processor it befell. What found no room is lost
(`Tracer.lose`, of processor NO_CPU).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from k42fs.machine.tracing.tracer import Tracer

MISS, INVALIDATE = 0, 1
NO_CPU: Final = -1


class Record(NamedTuple):
    """One record. A miss: *other* supplied the line (NO_CPU: memory), which took *cycles*. An invalidation: *other*
    wrote, and *kind*, *code*, *offset* and *cycles* are 0.

    *line* is the number of the line; *kind* an index of `core.MISS_KINDS`; *code* READ, WRITE or RMW; *offset* the
    byte in the line; *site* where in the program.
    """

    what: int
    cpu: int
    stamp: int
    line: int
    kind: int
    code: int
    offset: int
    other: int
    cycles: int
    site: int


ITEMS: Final = len(Record._fields)

Name = Callable[[int], None]
"""Called with the address of a line before its first event."""


def emit_records(tracer: Tracer, records: array[int], line_bytes: int, name: Name) -> None:
    """Emit the records in *records*, and have lines named that have not been since the recording began."""
    misses = [emit.stamped("cache_miss") for emit in tracer.emit]
    invalidations = [emit.stamped("cache_invalidate") for emit in tracer.emit]
    named = tracer.named_lines
    columns = [records[item::ITEMS] for item in range(ITEMS)]
    for what, cpu, stamp, number, kind, code, offset, other, cycles, site in zip(*columns, strict=True):
        line = number * line_bytes
        if line not in named:
            named.add(line)
            name(line)
        if what == MISS:
            misses[cpu](stamp, line, kind, code, offset, other, cycles, site)
        else:
            invalidations[cpu](stamp, line, other, site)
