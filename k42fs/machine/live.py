"""The live driver: operations run inline, to their end, in the order the host brings them.

An operation suspends only if it must wait for another suspended one (a real lock holder, a block) or leaves
the machine for something of the host's event loop. It is then parked as a `Suspended`, and goes on when it
is woken: at once if nobody else is running, else when the operation that runs has ended. Whoever is last to
run lets all woken ones run, lowest clock first.

There is no event loop here. The host gives two hooks: `outside(awaitable, done)` runs an awaitable elsewhere
and calls ``done(value, error)`` later; `wall_sleep(seconds)` is an awaitable that takes so long.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, TypeVar

from k42fs.machine import contexts
from k42fs.machine.thread import FINISHED, OUTSIDE, READY, RUNNING, Thread
from k42fs.machine.trace import OUTSIDE as LEFT

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine

T = TypeVar("T")


class Suspended:
    """An operation that is parked. `on_done` is called once, when it has ended; `result()` then has its
    outcome."""

    __slots__ = ("_error", "_value", "coro", "done", "on_done", "th")

    def __init__(
        self, th: Thread, coro: Coroutine[Any, Any, Any], on_done: Callable[[], object] | None
    ) -> None:
        self.th = th
        self.coro = coro
        self.on_done = on_done
        self.done = False
        self._value: Any = None
        self._error: BaseException | None = None

    @property
    def error(self) -> BaseException | None:
        """What the operation raised, if it has ended and did."""
        return self._error

    def result(self) -> Any:  # noqa: ANN401  (whatever the operation returns)
        """Return what the operation returned, or raise what it raised."""
        assert self.done, f"{self.th!r} has not finished"
        if self._error is not None:
            raise self._error
        return self._value

    def finish(self, value: object, error: BaseException | None) -> None:
        self._value, self._error, self.done = value, error, True
        if self.on_done is not None:
            self.on_done()


class OperationSuspended(Exception):
    """Raised by `drive` when the operation had to wait. `operation` is where its answer will be."""

    def __init__(self, operation: Suspended) -> None:
        super().__init__(f"{operation.th!r} must wait")
        self.operation = operation


class LiveDriver:
    """Runs operations inline and resumes the suspended ones."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.woken: list[tuple[int, int, Thread, Any, BaseException | None]] = []
        self._serial = 0
        self._is_running = False
        self.parked: set[Thread] = set()
        self.outside: Callable[[Awaitable[Any], Callable[[Any, BaseException | None], None]], None] | None = (
            None
        )
        self.wall_sleep: Callable[[float], Awaitable[Any]] | None = None

    def drive(self, coro: Coroutine[Any, Any, T]) -> T:
        """Run *coro* to its end and return its value. Raises OperationSuspended if it must wait."""
        was_running, self._is_running = self._is_running, True
        try:
            th: Thread = coro.send(None)
        except BaseException as end:
            self._is_running = was_running
            self.run_woken()
            if not isinstance(end, StopIteration):
                raise
            value: T = end.value
            return value
        self._is_running = was_running
        raise OperationSuspended(self.suspend(th, coro, None))

    def suspend(
        self, th: Thread, coro: Coroutine[Any, Any, Any], on_done: Callable[[], object] | None
    ) -> Suspended:
        """Take over *coro*, which has just yielded *th* instead of ending."""
        th.coro = coro
        th.suspended = operation = Suspended(th, coro, on_done)
        self.parked.add(th)
        if th.proc.on.control and th.proc.current is th:
            self._machine.trace.parked(th)
        if self.woken:
            self.run_woken()
        return operation

    async def leave_for(self, th: Thread, awaitable: Awaitable[T]) -> T:
        """Await something of the host's event loop on behalf of *th*.

        In a deterministic run it must be ready at once: the host's speed must not order events.
        """
        if not self._machine.live:
            return await awaitable
        assert self.outside is not None, "nobody runs awaitables of the host: see Machine.host"
        proc = th.proc
        proc.ring.append((proc.clock, LEFT, th.number))
        th.state = OUTSIDE
        self.outside(awaitable, partial(self.come_back, th))
        result: T = await th.pause
        return result

    def come_back(self, th: Thread, value: object, error: BaseException | None) -> None:
        """The host has the *value* or *error* that *th* left the machine for."""
        if th.proc.on.exception:
            th.proc.emit.exception_io_interrupt(0, 0)
        self.wake(th, th.proc.clock, value, error)
        if th.suspended is not None:  # else the host was so quick that th has not even been parked yet
            self.run_woken()

    def wake(self, th: Thread, at: int, value: object = None, error: BaseException | None = None) -> None:
        """Let *th* go on at virtual time *at*, with the *value* or *error* it waited for."""
        th.state = READY
        self._serial += 1
        heappush(self.woken, (at, self._serial, th, value, error))

    def run_woken(self) -> None:
        """Let everyone who was woken run until nobody is left, unless somebody is running already."""
        if self._is_running:
            return
        self._is_running = True
        try:
            while self.woken:
                at, _, th, value, error = heappop(self.woken)
                th.proc.idle_until(at)
                before = th.proc.current
                if th.proc.on.control:
                    contexts.run(th)
                if th.has_mail:
                    self._machine.take_mail(th)
                self._resume(th, value, error)
                if th.proc.on.control and before is not None and before is not th:
                    contexts.run(before)  # it let others run, or has not left yet
        finally:
            self._is_running = False

    def let_others_run(self) -> None:
        """Run everyone who was woken from within an operation, at a point where it might as well have waited."""
        was_running, self._is_running = self._is_running, False
        try:
            self.run_woken()
        finally:
            self._is_running = was_running

    def _resume(self, th: Thread, value: object, error: BaseException | None) -> None:
        th.state = RUNNING
        th.proc.switches += 1
        operation: Suspended = th.suspended
        try:
            if error is not None:
                th.coro.throw(error)
            else:
                th.coro.send(value)
        except StopIteration as stop:
            self._end(th, operation, stop.value, None)
        except Exception as exc:
            self._end(th, operation, None, exc)
        else:
            if th.proc.on.control:  # if it has ended it is its processor's current one until it leaves
                contexts.park(th)

    def _end(self, th: Thread, operation: Suspended, value: object, error: BaseException | None) -> None:
        self.parked.discard(th)
        th.suspended = th.coro = None
        operation.finish(value, error)

    def close(self) -> None:
        """End the operations that are still parked."""
        for th in sorted(self.parked, key=lambda th: th.number):
            th.state = FINISHED
            th.coro.close()
        self.parked.clear()
        self.woken.clear()
