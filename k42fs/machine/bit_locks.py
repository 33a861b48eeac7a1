"""Bit locks that spin: the lock is a bit of a data word, so that the head of a hash bucket carries its own.

Bit 0 of the word says that it is locked. Taking it is a fetch-and-or of that bit, again and again while it
was set already (test-and-set). Releasing it is one plain store of the word without the bit. So who gets the
lock has got the data, and who gives it up has written them: no other line moves.

`BitSLock` keeps any number that leaves the low bits free, `PtrSLock` an address, whose alignment does. The
interface is that of the other locks, and beside it: `acquire_data` returns the word, `release` may take a
new one, `get` and `set` look at it and change it meanwhile.

K42: lib/libc/sync/Lock.H, PtrSLock.H.
"""

from __future__ import annotations

from typing import Final

from k42fs.machine.layout import READ, WORD_BYTES, WRITE
from k42fs.machine.lock_base import LockBase
from k42fs.machine.spin_locks import TasLock
from k42fs.machine.thread import Thread

LOCK_BITS: Final = 0b11
"""Bit 0: locked. Bit 1: somebody waits, in the locks that block."""


def check_data(lock: LockBase, data: int, free_bits: int) -> int:
    """Return *data*. Raises AssertionError if it uses bits that must be free in the word of *lock*."""
    assert not data & free_bits, f"{lock!r}: {data:#x} uses the bits {free_bits:#b}, which are the lock's"
    return data


class BitSLock(TasLock):
    """A test-and-set lock in the low bits of a data word, 0 at first."""

    __slots__ = ("_data",)

    kind = "BitSLock"
    free_bits = LOCK_BITS

    def _prepare(self) -> None:
        super()._prepare()
        self._data = 0

    async def acquire_data(self, th: Thread) -> int:
        """Take the lock; return the word without its lock bits, which the fetch-and-or has read."""
        await self.acquire(th)
        return self._data

    def get(self, th: Thread) -> int:
        """Read the word, which *th* has locked."""
        self._assert_holder(th)
        self.machine.charge(th, READ, self.addr)
        return self._data

    def set(self, th: Thread, data: int) -> None:
        """Write the word, which *th* has locked and keeps locked."""
        self._assert_holder(th)
        self._data = check_data(self, data, self.free_bits)
        self.machine.charge(th, WRITE, self.addr)

    def release(self, th: Thread, data: int | None = None) -> None:
        """Give the lock up, without waiting for one's turn; write *data* by the same store."""
        self._put(th, data)
        super().release(th)

    async def release_in_turn(self, th: Thread, data: int | None = None) -> None:
        """Give the lock up when it is one's turn; write *data* by the same store."""
        self._put(th, data)
        await super().release_in_turn(th)

    def _put(self, th: Thread, data: int | None) -> None:
        self._assert_holder(th)
        if data is not None:
            self._data = check_data(self, data, self.free_bits)

    def _assert_holder(self, th: Thread) -> None:
        if self.holder is not th:
            raise AssertionError(f"{th!r} uses or releases {self!r}, which {self.holder!r} holds")


class PtrSLock(BitSLock):
    """The same with an address as its data: words are aligned, so their addresses leave the bits free."""

    __slots__ = ()

    kind = "PtrSLock"
    free_bits = WORD_BYTES - 1
