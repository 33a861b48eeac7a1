"""What a coherence core logs while it runs, as events.

Records wait in the core's log (`miss_log`); whoever makes packets has them turned into events first, each with
its own stamp, in the stream of the processor it befell. What found no room is lost (`Tracer.lose`, of processor
NO_CPU).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING

from k42fs.machine.miss_log import INVALIDATE, ITEMS, MISS, NO_CPU, Record

if TYPE_CHECKING:
    from k42fs.machine.tracing.tracer import Tracer

__all__ = ["INVALIDATE", "ITEMS", "MISS", "NO_CPU", "Record", "emit_records"]

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
