"""Sem: a counting semaphore with P, V and a wait for zero, under a lock that its owner gives.

P takes n units when there are so many and nobody came before; V gives n back and serves those who wait,
first come first served, for as long as the first of them can be served. Z waits until there are no units at
all; all who wait for that go on together. `fail` wakes everybody with an error, as when the semaphore is
removed.

State transitions: only under the lock. Whoever cannot go on enters a list, gives the lock up and blocks
until it has been served; who serves it takes it off the list under the lock, so it is served once. That
unblock and block may come in either order (`Thread.block`), so no wake-up is lost.

Charges: the lock's; one write of the value's line for each P and V; for each that waits a write of its
entry, on its stack, by itself and by who serves it, and the way to wake it.

K42: lib/libc/sync/Sem.H.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Protocol

from k42fs.machine.layout import WORD_BYTES, WRITE
from k42fs.machine.thread import Thread

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine


class Mutex(Protocol):
    """What the locks of this floor have in common."""

    def acquire(self, th: Thread) -> Awaitable[None]: ...

    def release(self, th: Thread) -> None: ...


class _Waiter:
    """One that waits: for *units*, or for zero if that is 0."""

    __slots__ = ("error", "is_served", "th", "units")

    def __init__(self, th: Thread, units: int) -> None:
        self.th = th
        self.units = units
        self.is_served = False
        self.error: Exception | None = None


class Sem:
    """A semaphore of *value* units at *addr*, under *lock*, which callers do not hold. `value` is never
    negative."""

    def __init__(self, machine: Machine, addr: int, lock: Mutex, value: int = 0) -> None:
        assert value >= 0, f"a semaphore cannot begin with {value} units"
        self._machine = machine
        self._addr = addr
        self._lock = lock
        self.value = value
        self._takers: deque[_Waiter] = deque()
        self._for_zero: list[_Waiter] = []

    @property
    def waiting(self) -> int:
        """How many wait, in P and in Z."""
        return len(self._takers) + len(self._for_zero)

    async def p(self, th: Thread, units: int = 1) -> None:
        """Take *units*, or wait for them. Raises what `fail` was given."""
        assert units > 0, f"P({units}) takes nothing: use Z"
        if th.proc.on.lock:
            th.proc.emit.lock_sem_p(units, th.number)
        await self._lock.acquire(th)
        self._machine.charge(th, WRITE, self._addr)
        if not self._takers and self.value >= units:
            self.value -= units
            zeroed = self._serve_zero(th)
            self._lock.release(th)
            _unblock(th, zeroed)
            return
        await self._wait(th, _Waiter(th, units))

    async def v(self, th: Thread, units: int = 1) -> None:
        """Give *units*, and serve those who can go on now."""
        assert units > 0, f"V({units}) gives nothing"
        if th.proc.on.lock:
            th.proc.emit.lock_sem_v(units, th.number)
        await self._lock.acquire(th)
        self._machine.charge(th, WRITE, self._addr)
        self.value += units
        served = self._serve_takers(th)
        self._lock.release(th)
        _unblock(th, served)

    async def z(self, th: Thread) -> None:
        """Wait until there are no units. Raises what `fail` was given."""
        await self._lock.acquire(th)
        await th.load(self._addr, WORD_BYTES)
        if not self.value:
            self._lock.release(th)
            return
        await self._wait(th, _Waiter(th, 0))

    async def fail(self, th: Thread, error: Exception) -> None:
        """Wake everybody who waits: they raise *error*."""
        await self._lock.acquire(th)
        failed = [*self._takers, *self._for_zero]
        self._takers.clear()
        self._for_zero.clear()
        for waiter in failed:
            waiter.error = error
            self._serve(th, waiter)
        self._lock.release(th)
        _unblock(th, failed)

    async def _wait(self, th: Thread, waiter: _Waiter) -> None:
        """Enter *waiter*, give the lock up, and block until it has been served."""
        waiters = self._takers if waiter.units else self._for_zero
        if th.level > 1:
            self._machine.charge(th, WRITE, th.stack)
        waiters.append(waiter)
        self._lock.release(th)
        try:
            while not waiter.is_served:  # stray unblocks are legal
                await th.block()
        except BaseException:
            self._give_up(th, waiter)
            raise
        if waiter.error is not None:
            raise waiter.error

    def _give_up(self, th: Thread, waiter: _Waiter) -> None:
        """*th* dies: leave no trace of it. What it had been served goes to the next; what it was first to
        wait for may now do for those behind."""
        if not waiter.is_served:
            (self._takers if waiter.units else self._for_zero).remove(waiter)
        elif waiter.error is None:
            self.value += waiter.units
        _unblock(th, self._serve_takers(th))

    def _serve_takers(self, th: Thread) -> list[_Waiter]:
        served = []
        while self._takers and self._takers[0].units <= self.value:
            waiter = self._takers.popleft()
            self.value -= waiter.units
            self._serve(th, waiter)
            served.append(waiter)
        return served + self._serve_zero(th)

    def _serve_zero(self, th: Thread) -> list[_Waiter]:
        if self.value:
            return []
        served, self._for_zero = self._for_zero, []
        for waiter in served:
            self._serve(th, waiter)
        return served

    def _serve(self, th: Thread, waiter: _Waiter) -> None:
        if th.level > 1:
            self._machine.charge(th, WRITE, waiter.th.stack)
        waiter.is_served = True


def _unblock(th: Thread, served: list[_Waiter]) -> None:
    for waiter in served:
        th.unblock(waiter.th)
