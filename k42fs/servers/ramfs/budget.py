"""How much a ramfs may hold: a limit in bytes, kept per processor.

Every processor has credit taken from the shared rest in steps, so that allocating a page touches a private
line. When the rest is short, the credit of all processors is called in: the limit is exact to the byte, as
statvfs shows it.
"""

from __future__ import annotations

from typing import Final

from k42fs.errors import ConfigError
from k42fs.ids import VP

STEP_BYTES: Final = 256 * 1024
"""What a processor takes from the shared rest beyond what it needs, and keeps at most twice over."""

INODE_BYTES: Final = 1024
"""What any inode costs, its names included."""

LIMIT_MIN: Final = 64 * 1024
UNLIMITED: Final = 1 << 50


class Budget:
    """Bytes that may still be used. The caller charges for it."""

    __slots__ = ("_credit", "_rest", "limit")

    def __init__(self, limit: int, processors: int) -> None:
        if limit < LIMIT_MIN:
            raise ConfigError(f"size: {limit} bytes, must be at least {LIMIT_MIN}")
        self.limit = limit
        self._rest = limit
        self._credit = [0] * processors

    def free(self) -> int:
        """Bytes not in use: the rest and everyone's credit."""
        return self._rest + sum(self._credit)

    def credit(self, vp: VP) -> int:
        """Bytes a processor may use without asking."""
        return self._credit[vp]

    def take(self, vp: VP, size: int) -> bool:
        """Use *size* bytes of the processor's own credit; False, and nothing changed, if that is too
        little.
        """
        credit = self._credit
        if credit[vp] < size:
            return False
        credit[vp] -= size
        return True

    def must_call_in(self, vp: VP, size: int) -> bool:
        """Whether *size* bytes can only come with the help of other processors' credit."""
        return self._rest + self._credit[vp] < size

    def refill(self, vp: VP, size: int) -> bool:
        """Bring the processor's credit to at least *size*, from the rest, then from others; False if all is
        too little.

        The caller holds the budget's lock.
        """
        credit = self._credit
        if self.must_call_in(vp, size):
            self._rest += sum(credit)
            for other in range(len(credit)):
                credit[other] = 0
        step = min(self._rest, size + STEP_BYTES - credit[vp])
        if step > 0:
            self._rest -= step
            credit[vp] += step
        return credit[vp] >= size

    def give(self, vp: VP, size: int) -> None:
        """Return *size* bytes."""
        credit = self._credit
        credit[vp] += size
        if credit[vp] > 2 * STEP_BYTES:
            self._rest += credit[vp] - STEP_BYTES
            credit[vp] = STEP_BYTES


class OneBudget(Budget):
    """As `Budget`, but nobody has credit: all processors take from one rest."""

    __slots__ = ()

    def __init__(self, limit: int, processors: int) -> None:
        super().__init__(limit, 1)
        self._rest, self._credit = 0, [limit]

    def credit(self, vp: VP) -> int:
        """Bytes anybody may use."""
        return super().credit(VP(0))

    def take(self, vp: VP, size: int) -> bool:
        """Use *size* bytes; False, and nothing changed, if that is too much."""
        return super().take(VP(0), size)

    def must_call_in(self, vp: VP, size: int) -> bool:
        """Nobody has credit that could be called in."""
        return False

    def refill(self, vp: VP, size: int) -> bool:
        """Say whether *size* bytes are left."""
        return super().credit(VP(0)) >= size

    def give(self, vp: VP, size: int) -> None:
        """Return *size* bytes."""
        self._credit[0] += size
