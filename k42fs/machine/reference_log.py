"""A log of every reference that a trace makes: what the caches had, where it was served, what it cost.

`LoggedCore` stands before a core and does one reference after the other through the core's public interface; the
compiled loops, which would not see it, leave such a one alone. It asks the core before and after each reference:
some 20,000 references a second, and the same figures as without it.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Final, NamedTuple

from k42fs.machine.core import MISS_KINDS
from k42fs.machine.miss_log import INVALIDATE, ITEMS, MISS, NO_CPU, Record
from k42fs.machine.protocol import STATE_NAMES

if TYPE_CHECKING:
    from k42fs.machine.core import CoherenceCore, Counters

KINDS: Final = "rwx"
HEADS: Final = (
    "start",
    "cpu",
    "kind",
    "address",
    "bytes",
    "before",
    "after",
    "served",
    "from",
    "cycles",
    "taken",
)
WIDTHS: Final = (12, 4, 4, 18, 5, 6, 5, 13, 6, 7)
"""Columns are as wide as that at least; the last one is as long as it is."""


class Logged(NamedTuple):
    """One reference: when it began, by whom, READ, WRITE or RMW, where; the states of the processor's copy.

    *served* is a level that hit (L1, L2, L3) or a cause of `MISS_KINDS`; *supplier* "cpu 3", "memory", "L3", or
    "-" where no data came; *cycles* with the waits; *taken* the processors that lost their copies by it.
    """

    start: int
    cpu: int
    code: int
    addr: int
    nbytes: int
    before: str
    after: str
    served: str
    supplier: str
    cycles: int
    taken: tuple[int, ...]

    def __str__(self) -> str:
        taken = ",".join(map(str, self.taken)) or "-"
        cells = (self.start, self.cpu, KINDS[self.code], hex(self.addr), self.nbytes, self.before, self.after)
        return _line((*map(str, cells), self.served, self.supplier.replace(" ", ""), str(self.cycles), taken))


class LoggedCore:
    """Does references on *core* and writes a line for each to *file*, after one of headings."""

    def __init__(self, core: CoherenceCore, file: IO[str], processors: int, line_bytes: int) -> None:
        self._core, self._file, self._line_bytes = core, file, line_bytes
        core.log_room = processors + 1  # a miss, and everybody's copy taken
        file.write(f"{_line(HEADS)}\n")

    def access(self, cpu: int, code: int, addr: int, nbytes: int, now: int) -> int:
        """Do one reference within one line, and log it; return the time after. Raises OSError, of the file."""
        core, line = self._core, addr // self._line_bytes
        had, before = core.counters(cpu), core.copies(line).get(cpu, 0)
        end = core.access(cpu, code, addr, nbytes, now)
        after = core.copies(line).get(cpu, 0)
        records, _ = core.take_log()
        found = [Record(*records[at : at + ITEMS]) for at in range(0, len(records), ITEMS)]
        served, supplier = _served(had, core.counters(cpu), found)
        taken = tuple(sorted(record.cpu for record in found if record.what == INVALIDATE))
        names = STATE_NAMES[before], STATE_NAMES[after]
        entry = Logged(now, cpu, code, addr, nbytes, *names, served, supplier, end - now, taken)
        self._file.write(f"{entry}\n")
        return end


def _served(had: Counters, has: Counters, records: list[Record]) -> tuple[str, str]:
    """Return the level or cause, and the supplier, from what one reference added to its processor's counts."""
    if has.l1_hits > had.l1_hits:
        return "L1", "-"
    if has.l2_hits > had.l2_hits:
        return "L2", "-"
    if has.l3_hits > had.l3_hits:
        return "L3", "L3"
    cause = next(kind for kind in MISS_KINDS if has.misses[kind] > had.misses[kind])
    if has.from_memory > had.from_memory:
        return cause, "memory"
    if has.from_cache == had.from_cache:
        return cause, "-"
    supplier = next((record.other for record in records if record.what == MISS), NO_CPU)
    return cause, "cache" if supplier == NO_CPU else f"cpu {supplier}"


def _line(cells: tuple[str, ...]) -> str:
    padded = [f"{cell:>{width}}" for cell, width in zip(cells, WIDTHS, strict=False)]
    return " ".join((*padded, *cells[len(WIDTHS) :]))
