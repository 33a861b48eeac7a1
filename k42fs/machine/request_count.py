"""RequestCount: an existence guard. Requests enter and leave; shutdown refuses new ones and waits for the
last to leave.

State transitions: one word `count`, one word `closer`. enter: +1; if the result is negative it was shut
down: -1 again, refused. leave: -1; the one that finds the count at the bottom after a shutdown unblocks the
closer. shutdown: claims `closer` by compare-and-swap, subtracts a bias larger than any number of requests,
and blocks unless nobody was inside. That is safe because entering and refusing are one atomic addition:
whoever saw a non-negative count is counted in the sum that the closer waits for.

Charge: one read-modify-write of a shared line per enter and per leave. A genuine serial point on hot objects.

Leaving does not wait, not even for its turn, so that it fits in a `finally`: a processor whose clock is ahead
leaves ahead of its turn, finds the line where its own enter left it, and many processors may together get up
to twice as much done as the line allows. `leave_in_turn` is exact, for experiments.

K42: lib/libc/sync/RequestCount.H, RequestCount.C.
Differs: K42's shutdown returns non-zero to the loser of a race; here it raises. `stop` and `restart` are in
the same class.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING

from k42fs.machine.layout import RMW
from k42fs.machine.thread import NO, YES, Thread

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine


class AlreadyShutDownError(RuntimeError):
    """Another caller shut the count down first."""


class RequestCount:
    """Counts the requests inside. `inside` >= 0; `is_shut` once a shutdown has begun."""

    __slots__ = ("_closer", "addr", "inside", "is_shut", "machine", "name")

    def __init__(self, machine: Machine, addr: int, name: str = "requests") -> None:
        self.machine = machine
        self.addr = addr
        self.name = name
        self.inside = 0
        self.is_shut = False
        self._closer: Thread | None = None

    def enter(self, th: Thread) -> Awaitable[bool]:
        """Count a request in; the answer is False if it must not go on."""
        if th.level and th.proc.clock > self.machine.limit:
            return self._enter_slowly(th)
        return self._enter_now(th)

    def leave(self, th: Thread) -> None:
        """Count a request out. Never waits, and so may run ahead of its turn."""
        assert self.inside > 0, f"{self.name}: {th!r} leaves, nobody is inside"
        self._charge(th)
        self.inside -= 1
        if th.proc.on.lock:
            th.proc.emit.lock_sem_v(1, th.number)
        if self.is_shut and not self.inside and self._closer is not None:
            closer, self._closer = self._closer, None
            th.unblock(closer)

    async def leave_in_turn(self, th: Thread) -> None:
        """Count a request out once no other processor is due before it."""
        while th.level and th.proc.clock > self.machine.limit:
            await th.pause
        self.leave(th)

    async def shutdown(self, th: Thread) -> None:
        """Refuse new requests, then wait until the last has left. The caller is not inside itself.

        Raises: AlreadyShutDownError: another caller came first.
        """
        await th.rmw(self.addr)
        if self.is_shut:
            raise AlreadyShutDownError(self.name)
        self.is_shut = True
        self._charge(th)
        if self.inside:
            self._closer = th
            while self._closer is th:  # stray unblocks are legal
                await th.block()

    def restart(self, th: Thread) -> None:
        """Let requests in again after a shutdown that has finished. K42: RequestCountWithStop."""
        assert self.is_shut, f"{self.name}: restarted but not shut down"
        assert not self.inside, f"{self.name}: restarted with {self.inside} requests inside"
        self._charge(th)
        self.is_shut = False

    async def _enter_slowly(self, th: Thread) -> bool:
        while th.proc.clock > self.machine.limit:
            await th.pause
        return await self._enter_now(th)

    def _enter_now(self, th: Thread) -> Awaitable[bool]:
        self._charge(th)
        if self.is_shut:
            self._charge(th)  # takes its addition back
            return NO
        self.inside += 1
        if th.proc.on.lock:
            th.proc.emit.lock_sem_p(1, th.number)
        return YES

    def _charge(self, th: Thread) -> None:
        self.machine.charge(th, RMW, self.addr)
