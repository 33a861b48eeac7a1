"""Locks that one thread holds at a time: what all of them have, and the short way of taking one.

Most acquisitions find the lock free in fact and by the clock, and nobody due before: those are `_take`, a plain
function. All others are `_acquire_slowly`, a coroutine.
"""

from __future__ import annotations

from collections.abc import Awaitable

from k42fs.machine.lock_base import LockBase
from k42fs.machine.thread import DONE, Thread


class ExclusiveLock(LockBase):
    """A lock with one `holder`. How it is taken, waited for and given up is its kind's."""

    __slots__ = ("holder",)

    holder: Thread | None

    def _prepare(self) -> None:
        self.holder = None

    def holders(self) -> tuple[Thread, ...]:
        return () if self.holder is None else (self.holder,)

    def acquire(self, th: Thread) -> Awaitable[None]:
        """Take the lock, waiting if need be. Raises AssertionError on a breach of rank."""
        if th.held:
            self._check_rank(th)
        if self.holder is not None:
            return self._acquire_slowly(th)
        if th.level:
            # Others must have their turn first, or the last holder has the lock still by its own clock.
            clock, machine = th.proc.clock, self.machine
            if clock > machine.limit or (clock < self.free_at and not machine.live):
                return self._acquire_slowly(th)
        self._take(th)
        return DONE

    def release(self, th: Thread) -> None:
        """Give the lock up. Never waits, so it fits in a ``finally``."""
        raise NotImplementedError

    def try_acquire(self, th: Thread) -> bool:
        """Take the lock if that needs no waiting; say whether it did."""
        if th.held:
            self._check_rank(th)
        if self.holder is not None or self._is_held_by_clock(th):
            return False
        self._take(th)
        return True

    def _take(self, th: Thread) -> None:
        """Take the lock, which is free in fact; wait in virtual time only."""
        raise NotImplementedError

    def _acquire_slowly(self, th: Thread) -> Awaitable[None]:
        """Wait for th's turn in virtual time, then for the lock."""
        raise NotImplementedError

    def _check_holder(self, th: Thread) -> None:
        if self.holder is not th:
            raise AssertionError(f"{th!r} releases {self!r}, which {self.holder!r} holds")
