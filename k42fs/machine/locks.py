"""The locks of K42: SLock spins in a queue, FairBLock spins and then blocks, RWLock, RequestCount.

SLock and FairBLock are MCS-derived queueing locks: one word pair, waiters queue on nodes in their own stacks
and spin there, the releaser hands over directly, first come first served. Charges: two read-modify-writes of
the lock's line without contention. With it four coherence transactions however long the queue: the
releaser's failed compare-and-swap, its store to the waiter's node, the waiter's re-read of that node, the
waiter's fix-up of the lock's line. If the waiter has blocked, unblocking it comes on top, at a price that
grows with distance.

Locks: `await lock.acquire(th)`, `lock.release(th)`; releasing never waits, so it fits in a ``finally``.

K42: lib/libc/sync/SLock.H, FairBLock.H, FairBLock.C.
Differs: K42's FairBLock polls outside the queue first; ours queues at once, so order is by arrival. K42
never reaches its YieldProcessor branch (it needs i > 200, the loop ends there); here a processor with other
ready threads turns to them after the polling phase, one without goes on polling until the yield phase is
over too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from k42fs.machine.layout import READ, RMW, WORD_BYTES, WRITE
from k42fs.machine.lock_base import DeadlockError, LockBase
from k42fs.machine.request_count import AlreadyShutDownError, RequestCount
from k42fs.machine.rwlock import RWLock
from k42fs.machine.thread import DONE, Thread

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine


class FairBLock(LockBase):
    """A mutual exclusion lock whose waiters spin for a while and then block. K42's default BLock."""

    __slots__ = ("_queue", "holder")

    kind = "BLock"

    holder: Thread | None
    _queue: deque[Thread] | None

    def __init__(
        self,
        machine: Machine,
        addr: int,
        rank: int = 0,
        name: str = "lock",
        owner: object = None,
        spans_calls: bool = False,
    ) -> None:
        super().__init__(machine, addr, rank, name, owner, spans_calls)
        self.holder = None
        self._queue = None  # made at the first wait: most locks never see one

    def holders(self) -> tuple[Thread, ...]:
        return () if self.holder is None else (self.holder,)

    @property
    def waiting(self) -> int:
        """Number of threads in the queue."""
        return len(self._queue) if self._queue else 0

    def acquire(self, th: Thread) -> Awaitable[None]:
        """Take the lock, waiting in line if need be. Raises AssertionError on a breach of rank."""
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

    def try_acquire(self, th: Thread) -> bool:
        """Take the lock if that needs no waiting; say whether it did."""
        if th.held:
            self._check_rank(th)
        if self.holder is not None or self._is_held_by_clock(th):
            return False
        self._take(th)
        return True

    def release(self, th: Thread) -> None:
        """Give the lock up, to the first in line if there is one."""
        if self.holder is not th:
            raise AssertionError(f"{th!r} releases {self!r}, which {self.holder!r} holds")
        held = th.held
        if held[-1] is self:
            held.pop()
        else:
            held.remove(self)
        if th.level > 1:
            proc = th.proc
            end = proc.clock = self.machine.core.access(th.vp, RMW, self.addr, WORD_BYTES, proc.clock)
            self._leave(end)
        if self._queue:
            self._hand_over(th, self._queue.popleft())
        else:
            self.holder = None

    def _take(self, th: Thread) -> None:
        if th.level:
            if th.level > 1:
                proc = th.proc
                if self.last_vp == th.vp and (
                    self._history is None or (proc.clock >= self.free_at and not self.machine.pace.hot)
                ):
                    self._start = self._granted = proc.clock  # as `_enter` would: nobody was here since
                else:
                    proc.spin_until(self._enter(th))
                proc.clock = self.machine.core.access(th.vp, RMW, self.addr, WORD_BYTES, proc.clock)
            else:
                self.machine.lock_calls[self.kind, self.name] += 1
            self.acquisitions += 1
        self.holder = th
        th.held.append(self)

    async def _acquire_slowly(self, th: Thread) -> None:
        """Wait for th's turn in virtual time, then for the lock."""
        machine, proc = self.machine, th.proc
        arrival = proc.clock
        while th.level and proc.clock > machine.limit:
            await th.pause
        if self.holder is None:
            await self._take_in_turn(th)
            return
        queue = self._queue
        if queue is None:
            queue = self._queue = deque()
        if th.level > 1:
            proc.clock = machine.core.access(th.vp, WRITE, th.stack, WORD_BYTES, proc.clock)
            proc.clock = machine.core.access(th.vp, RMW, self.addr, WORD_BYTES, proc.clock)
            if queue:  # the node of whoever is last links to ours
                proc.clock = machine.core.access(th.vp, WRITE, queue[-1].stack, WORD_BYTES, proc.clock)
        queue.append(th)
        try:
            await self._park(th)
        except BaseException:
            self._give_up(th)
            raise
        if th.level > 1:
            proc.clock = machine.core.access(th.vp, READ, th.stack, WORD_BYTES, proc.clock)
            proc.clock = machine.core.access(th.vp, RMW, self.addr, WORD_BYTES, proc.clock)
            self._granted = proc.clock
        self._note_wait(proc.clock - arrival)

    async def _take_in_turn(self, th: Thread) -> None:
        """Take the lock, which is free; if its last holder has it still by its own clock, wait as one waits
        in line."""
        proc, config = th.proc, self.machine.config
        if th.level < 2:
            self._take(th)
            return
        self.holder = th
        th.held.append(self)
        granted = self._enter(th)
        patience = proc.clock + config.poll_cycles_max
        if self.blocks and proc.ready and granted > patience:
            proc.spin_until(patience)
            try:
                await self.machine.sleep(th, granted - proc.clock)
            except BaseException:
                self.release(th)
                raise
        proc.spin_until(granted)
        self._granted = proc.clock
        proc.clock = self.machine.core.access(th.vp, RMW, self.addr, WORD_BYTES, proc.clock)
        self.acquisitions += 1

    def _hand_over(self, th: Thread, heir: Thread) -> None:
        """Make *heir* the holder. The lock is never free in between."""
        proc = th.proc
        if th.level > 1:
            proc.clock = self.machine.core.access(th.vp, WRITE, heir.stack, WORD_BYTES, proc.clock)
        self.holder = heir
        heir.held.append(self)
        heir.waiting_for = None
        self.acquisitions += 1
        self.last_vp = heir.vp
        self._start = self._granted = proc.clock
        self.machine.grant(th, heir)

    def _give_up(self, th: Thread) -> None:
        """*th* dies while it waits here: leave no trace of it."""
        th.waiting_for = None
        if self.holder is th:
            self.release(th)
        elif self._queue and th in self._queue:
            self._queue.remove(th)


BLock = FairBLock
"""K42's default blocking lock is the fair one."""


class SLock(FairBLock):
    """A queueing spin lock: its waiters never block, so no other thread of their processors runs
    meanwhile."""

    __slots__ = ()

    kind = "SLock"
    blocks = False


__all__ = [
    "AlreadyShutDownError",
    "BLock",
    "DeadlockError",
    "FairBLock",
    "LockBase",
    "RWLock",
    "RequestCount",
    "SLock",
]
