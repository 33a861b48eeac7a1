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

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from k42fs.machine.bit_locks import LOCK_BITS, check_data
from k42fs.machine.layout import READ, RMW, WORD_BYTES, WRITE
from k42fs.machine.lock_base import LockBase
from k42fs.machine.thread import BLOCKED, DONE, Thread
from k42fs.machine.trace import LOCK_WAIT

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine


class UnfairLock(LockBase):
    """What they share: one word that is tried again after each release. The waiting is in `_wait` and
    `_wake`."""

    __slots__ = ("holder",)

    holder: Thread | None

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

    def holders(self) -> tuple[Thread, ...]:
        return () if self.holder is None else (self.holder,)

    def acquire(self, th: Thread) -> Awaitable[None]:
        """Take the lock, whenever it can be had. Raises AssertionError on a breach of rank."""
        if th.held:
            self._check_rank(th)
        if self.holder is not None:
            return self._acquire_slowly(th)
        if th.level:
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
        """Give the lock up, and wake whoever waits. Never waits."""
        if self.holder is not th:
            raise AssertionError(f"{th!r} releases {self!r}, which {self.holder!r} holds")
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

    async def _acquire_slowly(self, th: Thread) -> None:
        proc = th.proc
        arrival, had_to_wait = proc.clock, False
        while not await self._try_word(th):
            had_to_wait = True
            await self._wait(th)
        if had_to_wait and th.level:
            self._note_wait(proc.clock - arrival)

    async def _try_word(self, th: Thread) -> bool:
        """Do the atomic operation when it is th's turn; say whether the lock is its now."""
        while th.level and th.proc.clock > self.machine.limit:
            await th.pause
        if self.holder is None:
            self._take(th)
            return True
        self.machine.charge(th, RMW, self.addr)
        return False

    def _take(self, th: Thread) -> None:
        if th.level > 1:
            th.proc.spin_until(self._enter(th))
            self.machine.charge(th, RMW, self.addr)
        elif th.level:
            self.machine.lock_calls[self.kind, self.name] += 1
        self.acquisitions += 1
        self.holder = th
        th.held.append(self)

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
        proc = th.proc
        arrival = proc.clock
        if await self._try_word(th):
            return
        if not await self._poll(th):
            await self._wait(th)
        if th.level:
            self._note_wait(proc.clock - arrival)

    async def _poll(self, th: Thread) -> bool:
        """Look at the word as long as patience lasts; say whether th has the lock now."""
        machine, proc = self.machine, th.proc
        if th.level < 2:
            return False
        patience = machine.config.poll_cycles_max if proc.ready else machine.config.patience_cycles
        deadline = proc.clock + patience
        while not self.has_waiters and await machine.watchers.spin_until(
            th, self.addr, lambda: self.holder is None or self.has_waiters, deadline
        ):
            if not self.has_waiters and await self._try_word(th):
                return True
        return False

    async def _wait(self, th: Thread) -> None:
        """Queue up; return when th has the lock."""
        machine = self.machine
        queues = machine.watchers.blocked
        while th.level and th.proc.clock > machine.limit:
            await th.pause
        queues.enter(th, self.addr)
        try:
            while not await self._try_word(th):
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
