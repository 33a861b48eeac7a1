"""What a coherence core logs while it runs, as events.

Records wait in the core's log (`miss_log`); whoever makes packets has them turned into events first, each with
its own stamp, in the stream of the processor it befell. What found no room is lost (`Tracer.lose`, of processor
NO_CPU).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from k42fs.machine.core import MISS_KINDS
from k42fs.machine.miss_log import INVALIDATE, ITEMS, MISS, NO_CPU, Record

if TYPE_CHECKING:
    from k42fs.machine.tracing.tracer import Tracer

__all__ = ["INVALIDATE", "ITEMS", "MISS", "NO_CPU", "Record", "emit_records"]

TRUE_SHARING: Final = MISS_KINDS.index("true_sharing")

Name = Callable[[int, int], None]
"""Called with the address of a line and an offset in it, before the first miss there that concerns others."""


def emit_records(tracer: Tracer, records: array[int], line_bytes: int, name: Name) -> None:
    """Emit the records in *records*, and have what was missed named that has not been since the recording began.

    What came from memory, never shared with anybody, needs no name: there is too much of it.
    """
    misses = [emit.stamped("cache_miss") for emit in tracer.emit]
    invalidations = [emit.stamped("cache_invalidate") for emit in tracer.emit]
    named = tracer.named_lines
    columns = [records[item::ITEMS] for item in range(ITEMS)]
    for what, cpu, stamp, number, kind, code, offset, other, cycles, site in zip(*columns, strict=True):
        line = number * line_bytes
        if what == MISS:
            if other != NO_CPU or kind >= TRUE_SHARING:
                offsets = named.get(line)
                if offsets is None:
                    offsets = named[line] = set()
                if offset not in offsets:
                    offsets.add(offset)
                    name(line, offset)
            misses[cpu](stamp, line, kind, code, offset, other, cycles, site)
        else:
            invalidations[cpu](stamp, line, other, site)
