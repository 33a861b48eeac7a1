"""What a coherence core logs while it runs, in numbers: a record for each miss and each copy taken away.

A core must not call Python for each miss, and often knows of one when its processor's clock is elsewhere. So it
keeps records of ITEMS numbers in one flat array with a bound, until somebody takes them.
"""

from __future__ import annotations

from array import array
from typing import Final, NamedTuple

MISS, INVALIDATE = 0, 1
NO_CPU: Final = -1


class Record(NamedTuple):
    """One record. A miss: *other* supplied the line (NO_CPU: memory, or nobody had to), which took *cycles*, with
    the wait for line and home; *kind* is an index of `core.MISS_KINDS`, *code* READ, WRITE or RMW, *offset* the
    byte in the line. An invalidation, of the copy of *cpu*: *other* wrote, and *kind*, *code*, *offset* and
    *cycles* are 0.

    *stamp* is when the transaction began; a miss comes right before the invalidations that it causes. *line* is
    the number of the line; *site* where in the program, as `CoherenceCore.site` said.
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


class MissLog:
    """Records up to a bound. A core written in Python is one; the compiled core has the same interface.

    `log_room`: how many records are kept until they are taken; 0, as at first: nothing is logged.
    `site`: what records made from now on say of where in the program they come from.
    """

    def __init__(self) -> None:
        self.log_room = 0
        self.site = 0
        self._records = array("q")
        self._dropped = 0

    @property
    def logged(self) -> int:
        """How many records are kept now."""
        return len(self._records) // ITEMS

    def take_log(self) -> tuple[array[int], int]:
        """Return the records logged since the last call, one after the other, and how many found no room."""
        taken = self._records, self._dropped
        self._records, self._dropped = array("q"), 0
        return taken

    def set_sites(self, first: int, site: int) -> None:
        """Let the records from number *first* on come from *site*: for who looks only when there are any."""
        records = self._records
        for at in range(first * ITEMS + ITEMS - 1, len(records), ITEMS):
            records[at] = site

    def _log(
        self,
        what: int,
        cpu: int,
        stamp: int,
        line: int,
        kind: int,
        code: int,
        offset: int,
        other: int,
        cycles: int,
    ) -> None:
        if len(self._records) >= ITEMS * self.log_room:
            self._dropped += 1
            return
        self._records.extend((what, cpu, stamp, line, kind, code, offset, other, cycles, self.site))
