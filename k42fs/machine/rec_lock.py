"""RecLock: a lock that its owner may take again, and must give up as often.

Owner and depth are words beside a lock that blocks, on its line: *addr* has room for 32 bytes. Only the
owner changes them, and nobody else can mistake himself for it, so the second and further acquisitions take
no atomic operation: a read of the owner, a write of the depth.

K42: lib/libc/sync/RecLock.H, which also calls it CountLock.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final

from k42fs.machine.layout import READ, WORD_BYTES, WRITE
from k42fs.machine.locks import FairBLock
from k42fs.machine.thread import DONE, Thread

OWNER: Final = 2 * WORD_BYTES
DEPTH: Final = 3 * WORD_BYTES
BYTES: Final = 4 * WORD_BYTES


class RecLock(FairBLock):
    """`depth`: how often its holder has it, 0 if nobody does. Statistics count first acquisitions only."""

    __slots__ = ("depth",)

    kind = "RecLock"

    def _prepare(self) -> None:
        super()._prepare()
        self.depth = 0

    def acquire(self, th: Thread) -> Awaitable[None]:
        """Take the lock, once more if *th* has it."""
        self.machine.charge(th, READ, self.addr + OWNER)
        if self.holder is th:
            self._deepen(th)
            return DONE
        return self._acquire_first(th)

    def try_acquire(self, th: Thread) -> bool:
        """Take the lock if that needs no waiting; say whether it did."""
        self.machine.charge(th, READ, self.addr + OWNER)
        if self.holder is th:
            self._deepen(th)
            return True
        if not super().try_acquire(th):
            return False
        self._begin(th)
        return True

    def release(self, th: Thread) -> None:
        """Give the lock up once; it is free when its holder has done so as often as it took it."""
        if self.holder is th:
            self.depth -= 1
            self.machine.charge(th, WRITE, self.addr + DEPTH)
            if self.depth:
                return
            self.machine.charge(th, WRITE, self.addr + OWNER)
        super().release(th)

    async def _acquire_first(self, th: Thread) -> None:
        await super().acquire(th)
        self._begin(th)

    def _begin(self, th: Thread) -> None:
        self.machine.charge(th, WRITE, self.addr + OWNER)
        self.machine.charge(th, WRITE, self.addr + DEPTH)
        self.depth = 1

    def _deepen(self, th: Thread) -> None:
        self.machine.charge(th, WRITE, self.addr + DEPTH)
        self.depth += 1


CountLock = RecLock
