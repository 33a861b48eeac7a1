"""One request: a thread on the caller's processor, one operation driven inline, one answer.

A handler made by `by_caller` or `by_handle` is a trio coroutine as pyfuse3 wants it, but in the usual case
it reaches no checkpoint: the operation's own coroutine is driven to its end with one ``send``, as K42's
protected procedure call hands the caller's processor to the server. Only an operation that must wait (a
lock whose holder waits outside the machine) parks its trio task, and then hands the session's baton on
first.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine
from errno import EINTR
from functools import partial
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import pyfuse3
import trio

from k42fs.ids import VP
from k42fs.machine import Machine, Suspended, Thread
from k42fs.machine.thread import INACTIVE
from k42fs.objects import COSMgr
from k42fs.objects.xhandle import Rights
from k42fs.personality.boundary import answer_for
from k42fs.personality.clients import CallerTable
from k42fs.personality.control import CONTROL_NAME
from k42fs.personality.flight_recorder import FlightRecorder
from k42fs.personality.handles import Handle, HandleTable
from k42fs.personality.nodes import CONTROL_BASE, ROOT_ID
from k42fs.personality.request_trace import RequestTrace, Span
from k42fs.personality.session import ReaderBaton
from k42fs.servers.credentials import Creds

log = logging.getLogger(__name__)

R = TypeVar("R")
P = ParamSpec("P")

WAIT_SECONDS_MAX: Final = 60.0
"""An operation parked longer than this is a bug of ours: it is logged and answered EIO, and the mount lives on."""

HOLD_SECONDS: Final = 0.005
"""How long a request waits for callers that are behind in virtual time. Who brings none by then is thinking."""


class Serving:
    """What every handler needs: the machine, its callers and its handles. Base of the operations.

    `given_up` are threads whose requests were answered EIO while their operations are parked still. `served` counts
    requests by name and `refused` those that failed by errno, without those on `.k42`.
    """

    def __init__(self, machine: Machine, cos: COSMgr, baton: ReaderBaton) -> None:
        self.machine = machine
        self.cos = cos
        self.callers = CallerTable(machine.config.processors)
        self.handles = HandleTable(cos)
        self.last_vp = VP(0)
        self.requests = 0
        self.served: defaultdict[str, int] = defaultdict(int)
        self.refused: defaultdict[int, int] = defaultdict(int)
        self.given_up: set[Thread] = set()
        self.request_trace = RequestTrace(machine)
        self.flight_recorder = FlightRecorder(machine)
        self._baton = baton

    def begin(self, vp: VP, is_housekeeping: bool = False) -> Thread:
        """Return an active thread on processor *vp*."""
        if not is_housekeeping:
            self.last_vp = vp
            self.requests += 1
        th = self.machine.enter(vp, is_housekeeping)
        self.cos.activate(th)
        return th

    def begin_control(self) -> Thread:
        """Return a thread for a request on `.k42`: not counted, and not active, so that looking changes no figure.

        What does work in the system, a command or a question, activates it first.
        """
        return self.machine.enter(self.last_vp, is_housekeeping=True)

    def end(self, th: Thread) -> None:
        """Give back what `begin` or `begin_control` gave."""
        if th.generation != INACTIVE:
            self.cos.deactivate(th)
        self.machine.leave(th)

    def serve_later(self, request: str, *args: object) -> None:
        """Serve a request of our own, as if the kernel had sent it, in a task of its own."""
        trio.lowlevel.spawn_system_task(self._serve_own, request, args, name=f"own {request}")

    async def _serve_own(self, request: str, args: tuple[object, ...]) -> None:
        try:
            await getattr(self, request)(*args)
        except pyfuse3.FUSEError as exc:
            log.warning("%s, to undo what nobody heard of, failed: %s", request, exc)

    async def run(self, th: Thread, coro: Coroutine[Any, Any, R]) -> R:
        """Run one operation for a caller that is no handler; the handlers below do the same without this coroutine."""
        try:
            effect = coro.send(None)
        except StopIteration as done:
            result: R = done.value
            return result
        return await self.wait(th, coro, effect)

    async def hold(self, th: Thread) -> int:
        """Let others, who are behind in virtual time and contend with *th*, be served before it; return how many ns
        of the host that took. In virtual time *th* has not begun.
        """
        pace, may_go, began_ns = self.machine.pace, trio.Event(), time.perf_counter_ns()
        pace.hold(th, may_go.set)
        try:
            async with self._baton.lent():
                with trio.move_on_after(HOLD_SECONDS):
                    await may_go.wait()
        finally:
            pace.resume(th)
        return time.perf_counter_ns() - began_ns

    async def wait(
        self,
        th: Thread,
        coro: Coroutine[Any, Any, R],
        effect: object,
        request: str = "housekeeping",
        args: tuple[Any, ...] = (),
    ) -> R:
        """Finish *coro*, which asked for *effect* and could not go on, without holding up other requests.

        Raises:
            TimeoutError: it takes too long. It goes on by itself, its thread in `given_up`; when it ends, the
            thread leaves and `ended_late` is told.
        """
        done = trio.Event()
        suspended = self.machine.suspend(th, coro, effect, done.set)
        async with self._baton.lent():
            with trio.move_on_after(WAIT_SECONDS_MAX):
                await done.wait()
        if not suspended.done:
            self.given_up.add(th)
            suspended.on_done = partial(self._end_late, th, suspended, request, args)
            raise TimeoutError(f"parked for {WAIT_SECONDS_MAX} s: {th!r} waits for {th.waiting_for!r}")
        result: R = suspended.result()
        return result

    def _end_late(self, th: Thread, suspended: Suspended, request: str, args: tuple[Any, ...]) -> None:
        """An operation has ended whose request was answered EIO long ago.

        Called between other operations, from within one of them: nothing may escape.
        """
        try:
            self.given_up.discard(th)
            self.end(th)  # the clean-up daemon's is not active
            try:
                answer = suspended.result()
            except Exception as exc:
                log.warning("%s, given up before, failed: %r", request, exc)
                answer = None
            else:
                log.warning("%s, given up before, ended", request)
            self.ended_late(request, args, answer)
        except Exception:
            log.exception("%s ended late, and badly", request)

    def ended_late(self, request: str, args: tuple[Any, ...], answer: object) -> None:
        """Undo what the kernel has not heard of; *answer* is None if the operation failed. For the face that has
        nodes."""

    def failure(
        self, exc: Exception, request: str, th: Thread | None = None, span: Span | None = None
    ) -> pyfuse3.FUSEError:
        """Return the answer for a request that ended in *exc*, and end its *span* in the trace and its thread.

        A thread whose operation is still parked stays active until that ends: what it uses must not be reclaimed
        under it.
        """
        answer = answer_for(exc, request, self._recent_events)
        if span is not None:
            self.request_trace.fail(span, answer.errno)
        if th is not None and th.suspended is None:
            try:
                self.end(th)
            except Exception as second:
                log.error("a thread of %s could not be ended", request, exc_info=second)
        return answer

    def _recent_events(self, count: int) -> str:
        return f"{self.machine.recent_events(count)}\n{self.flight_recorder.after_bug(count)}".rstrip("\n")


def _handler(
    operation: Callable[..., Coroutine[Any, Any, R]],
    admit: Callable[[Any, tuple[Any, ...]], tuple[Thread, tuple[Any, ...]]],
) -> Callable[..., Coroutine[Any, Any, R]]:
    """Make a handler: *admit* turns a request's arguments into an active thread and the operation's arguments."""
    request = operation.__name__
    # While names are asked for the kernel holds their directory, and nobody in it could catch up.
    may_hold = admit not in (_admit_caller, _admit_lookup) and request != "release"

    async def handler(self: Serving, /, *args: Any) -> R:  # noqa: ANN401
        th, span, is_counted = None, None, False
        try:
            th, args = admit(self, args)
            if is_counted := th.generation != INACTIVE:
                self.served[request] += 1
            unique, held_ns = self.requests, 0
            if may_hold and self.machine.pace.hot and self.machine.pace.is_ahead(th):
                held_ns = await self.hold(th)
            if is_counted and th.proc.on.fuse:
                span = self.request_trace.enter(th, unique, request, args, held_ns)
            coro = operation(self, th, *args)
            try:
                effect = coro.send(None)
            except StopIteration as done:
                answer: R = done.value
            else:
                answer = await self.wait(th, coro, effect, request, args)
            if span is not None:
                self.request_trace.leave(span, answer)
            ended, th = th, None
            self.end(ended)
            return answer
        except Exception as exc:
            answered = self.failure(exc, request, th, span)
            if is_counted:
                self.refused[answered.errno] += 1
            raise answered from None
        except BaseException:  # the mount ends
            if span is not None:
                self.request_trace.fail(span, EINTR)
            raise

    handler.__name__ = request
    handler.__doc__ = operation.__doc__
    return handler


def _admit_caller(self: Serving, args: tuple[Any, ...]) -> tuple[Thread, tuple[Any, ...]]:
    first = args[0]  # the node, or the context of a request about none
    if first.__class__ is int and first >= CONTROL_BASE:
        return _admit_to_control(self, args)
    caller = self.callers.caller(args[-1])
    th = self.begin(caller.vp)
    th.creds = caller.creds
    return th, args


def _admit_lookup(self: Serving, args: tuple[Any, ...]) -> tuple[Thread, tuple[Any, ...]]:
    if args[0] == ROOT_ID and args[1] == CONTROL_NAME:
        return _admit_to_control(self, args)
    return _admit_caller(self, args)


def _admit_to_control(self: Serving, args: tuple[Any, ...]) -> tuple[Thread, tuple[Any, ...]]:
    """Who asks for `.k42` is no caller of the machine's, and takes no processor's turn."""
    th, ctx = self.begin_control(), args[-1]
    th.creds = Creds(ctx.uid, ctx.gid, ctx.pid, ctx.umask)
    return th, args


def _admit_handle(
    needed: int = 0,
) -> Callable[[Serving, tuple[Any, ...]], tuple[Thread, tuple[Any, ...]]]:
    """Return who admits a request on a handle with the rights *needed*, as a plain number."""

    def admit(self: Serving, args: tuple[Any, ...]) -> tuple[Thread, tuple[Any, ...]]:
        handle = self.handles.use(args[0], needed)
        th = self.begin_control() if handle.node is None else self.begin(handle.vp)
        th.creds = handle.creds
        return th, (handle, *args[1:])

    return admit


_NEEDED: Final = {"read": Rights.READ.value, "readdir": Rights.READ.value, "write": Rights.WRITE.value}
"""The rights that requests on a handle need, by their names."""

S = TypeVar("S", bound=Serving)


def by_caller(
    operation: Callable[Concatenate[S, Thread, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Make a handler of an operation whose last argument is the request's context."""
    return _handler(operation, _admit_lookup if operation.__name__ == "lookup" else _admit_caller)


def by_handle(
    operation: Callable[Concatenate[S, Thread, Handle[Any], P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[S, int, P], Coroutine[Any, Any, R]]:
    """Make a handler of an operation whose first argument is a file handle; it runs where the file was opened.

    To read, readdir and write, the handle must have been opened so.
    """
    return _handler(operation, _admit_handle(_NEEDED.get(operation.__name__, 0)))
