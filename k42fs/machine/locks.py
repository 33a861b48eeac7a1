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

from k42fs.machine.exclusive_lock import ExclusiveLock
from k42fs.machine.layout import READ, RMW, WORD_BYTES, WRITE
from k42fs.machine.lock_base import DeadlockError, LockBase
from k42fs.machine.lock_trace import NO_VP, granted, holder_of, released
from k42fs.machine.request_count import AlreadyShutDownError, RequestCount
from k42fs.machine.rwlock import RWLock
from k42fs.machine.thread import Thread


class FairBLock(ExclusiveLock):
    """A mutual exclusion lock whose waiters spin for a while and then block. K42's default BLock."""

    __slots__ = ("_queue",)

    kind = "BLock"

    _queue: deque[Thread] | None

    def _prepare(self) -> None:
        self.holder = None
        self._queue = None  # made at the first wait: most locks never see one

    @property
    def waiting(self) -> int:
        """Number of threads in the queue."""
        return len(self._queue) if self._queue else 0

    def release(self, th: Thread) -> None:
        """Give the lock up, to the first in line if there is one."""
        if self.holder is not th:
            self._check_holder(th)
        held = th.held
        if held[-1] is self:
            held.pop()
        else:
            held.remove(self)
        proc = th.proc
        if th.level > 1:
            end = proc.clock = self.machine.core.access(th.vp, RMW, self.addr, WORD_BYTES, proc.clock)
            self._leave(end)
        if proc.on.lock:
            released(self, th, proc.clock - self._granted)
        if self._queue:
            self._hand_over(th, self._queue.popleft())
        else:
            self.holder = None

    def _take(self, th: Thread) -> None:
        proc = th.proc
        last = self.last_vp
        if th.level > 1:
            waited = 0
            if last == th.vp and (
                self._history is None or (proc.clock >= self.free_at and not self.machine.pace.hot)
            ):
                self._start = self._granted = proc.clock  # as `_enter` would: nobody was here since
            else:
                start = self._enter(th)
                if waited := start - proc.clock:
                    self._note_wait(waited)
                    proc.spin_until(start)
            if proc.on.lock:
                granted(self, th, self.blocks, waited, last, self._granted - self._start)
            proc.clock = self.machine.core.access(th.vp, RMW, self.addr, WORD_BYTES, proc.clock)
            self.acquisitions += 1
        else:
            if th.level:
                self.machine.lock_calls[self.kind, self.name] += 1
                self.acquisitions += 1
            if proc.on.lock:
                granted(self, th, self.blocks, 0, last)
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
        queue, holder, switches = self._queue, holder_of(self), proc.switches
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
        waited = proc.clock - arrival
        self._note_wait(waited)
        if proc.on.lock:
            is_blocked = self.blocks and proc.switches != switches
            hand_off = proc.clock - th.granted_at
            granted(self, th, self.blocks, waited, NO_VP, hand_off, holder, is_blocked)

    async def _take_in_turn(self, th: Thread) -> None:
        """Take the lock, which is free; if its last holder has it still by its own clock, wait as one waits
        in line."""
        proc, config = th.proc, self.machine.config
        if th.level < 2:
            self._take(th)
            return
        self.holder = th
        th.held.append(self)
        last = self.last_vp
        start = self._enter(th)
        hand_off = start - self._start
        if waited := start - proc.clock:
            self._note_wait(waited)
        patience = proc.clock + config.poll_cycles_max
        is_blocked = self.blocks and bool(proc.ready) and start > patience
        if is_blocked:
            proc.spin_until(patience)
            try:
                await self.machine.sleep(th, start - proc.clock)
            except BaseException:
                self._granted = proc.clock
                if proc.on.lock:
                    granted(self, th, self.blocks, waited, last, is_blocked=True)
                self.release(th)
                raise
        proc.spin_until(start)
        self._granted = proc.clock
        if proc.on.lock:
            granted(self, th, self.blocks, waited, last, hand_off, is_blocked=is_blocked or None)
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
