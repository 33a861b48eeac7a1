"""Blocking locks that are not fair: a release wakes everybody who waits, and who asks first has it.

BitBLock and PtrBLock are two bits of a data word (`bit_locks.py`): locked, and somebody waits. Without
contention taking one is a fetch-and-or, releasing it a compare-and-swap. Else a thread first polls, and then

    enters itself in BlockedThreadQueues; then over and over: fetch-and-or of the lock bit, and if that was
    clear it has the lock and leaves the queues; else compare-and-swap the wait bit in, and block.

A release that finds the wait bit set stores the data, which clears both bits, and wakes all who are queued
for the word. No wake-up is lost: a thread blocks only if it set the wait bit while the lock was held, and it
was in the queue by then, so the release that follows sees the bit and finds the thread.

UnFairBLock is one word: the list of those who wait, and bit 0. A release swaps 0 in and wakes the whole
list. No wake-up is lost: a thread pushes itself by a compare-and-swap that fails if the lock has been
released meanwhile.

K42: lib/libc/sync/BLock.H, BLockGeneric.C, BLockImp.C (BitBLock, BaseUnFairBLock), PtrBLock.H.
Differs: K42 polls 100 times and then yields 100 times whether there is anybody to yield to or not; here as
FairBLock does. Nor does K42's loop here ever come to its YieldProcessor branch.
"""

from __future__ import annotations

from k42fs.machine.bit_locks import LOCK_BITS, check_data
from k42fs.machine.exclusive_lock import ExclusiveLock
from k42fs.machine.layout import READ, RMW, WORD_BYTES, WRITE
from k42fs.machine.lock_trace import BLOCK, Wait, granted, released
from k42fs.machine.thread import BLOCKED, Thread
from k42fs.machine.trace import LOCK_WAIT


class UnfairLock(ExclusiveLock):
    """What they share: one word that is tried again after each release. The waiting is in `_wait` and
    `_wake`."""

    __slots__ = ()

    def release(self, th: Thread) -> None:
        """Give the lock up, and wake whoever waits. Never waits."""
        if self.holder is not th:
            self._check_holder(th)
        th.held.remove(self)
        self.machine.charge(th, RMW, self.addr)
        self.holder = None
        self._wake(th)

    async def _wait(self, th: Thread) -> None:
        """Wait until it may be worth another try; the lock is held. Then it is th's turn."""
        raise NotImplementedError

    def _wake(self, th: Thread) -> None:
        """The lock is free, but its holding not yet booked: end it, and wake who waits."""
        raise NotImplementedError

    def _end_holding(self, th: Thread) -> None:
        if th.level > 1:
            self._leave(th.proc.clock)
        if th.proc.on.lock:
            released(self, th, th.proc.clock - self._granted)

    async def _acquire_slowly(self, th: Thread) -> None:
        wait = Wait(self, th)
        while not await self._try_word(th, wait):
            await self._wait(th)

    async def _try_word(self, th: Thread, wait: Wait) -> bool:
        """Do the atomic operation when it is th's turn; say whether the lock is its now."""
        while th.level and th.proc.clock > self.machine.limit:
            await th.pause
        if self.holder is None:
            self._take(th, wait)
            return True
        wait.is_real = True
        self.machine.charge(th, RMW, self.addr)
        return False

    def _take(self, th: Thread, wait: Wait | None = None) -> None:
        proc, last, waited = th.proc, self.last_vp, 0
        if th.level > 1:
            start = self._enter(th)
            waited = start - proc.clock
            proc.spin_until(start)
        elif th.level:
            self.machine.lock_calls[self.kind, self.name] += 1
        self.acquisitions += 1
        self.holder = th
        th.held.append(self)
        if wait is not None and wait.is_real:
            self.machine.charge(th, RMW, self.addr)
            waited = proc.clock - wait.arrival
            if th.level:
                self._note_wait(waited)
            if proc.on.lock:
                granted(self, th, BLOCK, waited, last, 0, wait.holder, proc.switches != wait.switches)
            return
        if waited:
            self._note_wait(waited)
        if proc.on.lock:
            granted(self, th, BLOCK, waited, last)
        self.machine.charge(th, RMW, self.addr)

    async def _block(self, th: Thread) -> None:
        """Wait until a release grants another try. Raises DeadlockError."""
        proc = th.proc
        proc.ring.append((proc.clock, LOCK_WAIT, self.addr))
        th.waiting_for = self
        try:
            self._check_cycle(th)
            th.state = BLOCKED
            await th.pause
        finally:
            th.waiting_for = None


class UnFairBLock(UnfairLock):
    """One word with a list of those who wait, the last first. K42: BaseUnFairBLock."""

    __slots__ = ("_waiting",)

    kind = "UnFairBLock"

    def _prepare(self) -> None:
        super()._prepare()
        self._waiting: list[Thread] = []

    async def _wait(self, th: Thread) -> None:
        if th.level > 1:
            await th.store(th.stack)  # the node's link
        await th.rmw(self.addr)
        if self.holder is None:
            return  # the word has changed: the compare-and-swap fails
        self._waiting.append(th)
        try:
            await self._block(th)
        except BaseException:
            if th in self._waiting:
                self._waiting.remove(th)
            raise

    def _wake(self, th: Thread) -> None:
        self._end_holding(th)
        waiting, self._waiting = self._waiting, []
        for waiter in reversed(waiting):
            if th.level > 1:
                self.machine.charge(th, READ, waiter.stack)
            self.machine.grant(th, waiter)


class BitBLock(UnfairLock):
    """A blocking lock in the low two bits of a data word, 0 at first."""

    __slots__ = ("_data", "has_waiters")

    kind = "BitBLock"
    free_bits = LOCK_BITS

    def _prepare(self) -> None:
        super()._prepare()
        self._data = 0
        self.has_waiters = False

    async def acquire_data(self, th: Thread) -> int:
        """Take the lock; return the word without its lock bits."""
        await self.acquire(th)
        return self._data

    def get(self, th: Thread) -> int:
        """Read the word, which *th* has locked."""
        assert self.holder is th, f"{th!r} reads {self!r}, which {self.holder!r} holds"
        self.machine.charge(th, READ, self.addr)
        return self._data

    def set(self, th: Thread, data: int) -> None:
        """Write the word, which *th* has locked and keeps locked: a compare-and-swap, for the wait bit may
        come."""
        assert self.holder is th, f"{th!r} writes {self!r}, which {self.holder!r} holds"
        self._data = check_data(self, data, self.free_bits)
        self.machine.charge(th, RMW, self.addr)

    def release(self, th: Thread, data: int | None = None) -> None:
        """Give the lock up and wake all who wait; write *data* by the same operation."""
        if data is not None and self.holder is th:
            self._data = check_data(self, data, self.free_bits)
        super().release(th)

    async def _acquire_slowly(self, th: Thread) -> None:
        wait = Wait(self, th)
        if not await self._try_word(th, wait) and not await self._poll(th, wait):
            await self._queue_up(th, wait)

    async def _poll(self, th: Thread, wait: Wait) -> bool:
        """Look at the word as long as patience lasts; say whether th has the lock now."""
        machine, proc = self.machine, th.proc
        if th.level < 2:
            return False
        patience = machine.config.poll_cycles_max if proc.ready else machine.config.patience_cycles
        deadline = proc.clock + patience
        while not self.has_waiters and await machine.watchers.spin_until(
            th, self.addr, lambda: self.holder is None or self.has_waiters, deadline
        ):
            if not self.has_waiters and await self._try_word(th, wait):
                return True
        return False

    async def _queue_up(self, th: Thread, wait: Wait) -> None:
        """Queue up; return when th has the lock."""
        machine = self.machine
        queues = machine.watchers.blocked
        while th.level and th.proc.clock > machine.limit:
            await th.pause
        queues.enter(th, self.addr)
        try:
            while not await self._try_word(th, wait):
                await th.rmw(self.addr)
                if self.holder is None:
                    continue  # the word has changed: the compare-and-swap fails
                self.has_waiters = True
                await self._block(th)
        finally:
            queues.leave(th, self.addr)

    def _wake(self, th: Thread) -> None:
        if not self.has_waiters:
            self._end_holding(th)
            return
        self.has_waiters = False
        self.machine.charge(th, WRITE, self.addr)  # the compare-and-swap failed
        self._end_holding(th)
        self.machine.watchers.blocked.wake_all(th, self.addr)


class PtrBLock(BitBLock):
    """The same with an address as its data."""

    __slots__ = ()

    kind = "PtrBLock"
    free_bits = WORD_BYTES - 1
