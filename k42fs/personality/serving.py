"""One request: a thread on the caller's processor, one operation driven inline, one answer.

A handler made by `by_caller` or `by_handle` is a trio coroutine as pyfuse3 wants it, but in the usual case
it reaches no checkpoint: the operation's own coroutine is driven to its end with one ``send``, as K42's
protected procedure call hands the caller's processor to the server. Only an operation that must wait (a
lock whose holder waits outside the machine) parks its trio task, and then hands the session's baton on
first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import pyfuse3
import trio

from k42fs.ids import VP
from k42fs.machine import Machine, Thread
from k42fs.objects import COSMgr
from k42fs.personality.boundary import answer_for
from k42fs.personality.clients import CallerTable
from k42fs.personality.handles import Handle, HandleTable
from k42fs.personality.session import ReaderBaton

log = logging.getLogger(__name__)

R = TypeVar("R")
P = ParamSpec("P")

WAIT_SECONDS_MAX: Final = 60.0
"""An operation parked longer than this is a bug of ours: it is logged and answered EIO, and the mount lives on."""


class Serving:
    """What every handler needs: the machine, its callers and its handles. Base of the operations."""

    def __init__(self, machine: Machine, cos: COSMgr, baton: ReaderBaton) -> None:
        self.machine = machine
        self.cos = cos
        self.callers = CallerTable(machine.config.processors)
        self.handles = HandleTable()
        self.last_vp = VP(0)
        self.requests = 0
        self._baton = baton

    def begin(self, vp: VP, is_housekeeping: bool = False) -> Thread:
        """Return an active thread on processor *vp*."""
        if not is_housekeeping:
            self.last_vp = vp
            self.requests += 1
        th = self.machine.enter(vp, is_housekeeping)
        self.cos.activate(th)
        return th

    def end(self, th: Thread) -> None:
        """Give back what `begin` gave."""
        self.cos.deactivate(th)
        self.machine.leave(th)

    async def run(self, th: Thread, coro: Coroutine[Any, Any, R]) -> R:
        """Run one operation for a caller that is no handler; the handlers below do the same without this coroutine."""
        try:
            effect = coro.send(None)
        except StopIteration as done:
            result: R = done.value
            return result
        return await self.wait(th, coro, effect)

    async def wait(self, th: Thread, coro: Coroutine[Any, Any, R], effect: object) -> R:
        """Finish *coro*, which asked for *effect* and could not go on, without holding up other requests."""
        done = trio.Event()
        suspended = self.machine.suspend(th, coro, effect, done.set)
        async with self._baton.lent():
            with trio.fail_after(WAIT_SECONDS_MAX):
                await done.wait()
        result: R = suspended.result()
        return result

    def failure(self, exc: Exception, request: str, th: Thread | None = None) -> pyfuse3.FUSEError:
        """Return the answer for a request that ended in *exc*, and end its thread.

        A thread whose operation is still parked stays active: what it uses must not be reclaimed under it.
        """
        if th is not None and th.suspended is None:
            try:
                self.end(th)
            except Exception as second:
                log.error("a thread of %s could not be ended", request, exc_info=second)
        return answer_for(exc, request, self.machine.recent_events)


S = TypeVar("S", bound=Serving)


def by_caller(
    operation: Callable[Concatenate[S, Thread, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Make a handler of an operation whose last argument is the request's context."""
    request = operation.__name__

    async def handler(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        th = None
        try:
            caller = self.callers.caller(args[-1])  # type: ignore[arg-type]
            th = self.begin(caller.vp)
            th.creds = caller.creds
            coro = operation(self, th, *args, **kwargs)
            try:
                effect = coro.send(None)
            except StopIteration as done:
                answer: R = done.value
            else:
                answer = await self.wait(th, coro, effect)
            ended, th = th, None
            self.end(ended)
            return answer
        except Exception as exc:
            raise self.failure(exc, request, th) from None

    handler.__name__ = request
    handler.__doc__ = operation.__doc__
    return handler


def by_handle(
    operation: Callable[Concatenate[S, Thread, Handle[Any], P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[S, int, P], Coroutine[Any, Any, R]]:
    """Make a handler of an operation whose first argument is a file handle; it runs where the file was opened."""
    request = operation.__name__

    async def handler(self: S, fh: int, /, *args: P.args, **kwargs: P.kwargs) -> R:
        th = None
        try:
            handle = self.handles[fh]
            th = self.begin(handle.vp)
            th.creds = handle.creds
            coro = operation(self, th, handle, *args, **kwargs)
            try:
                effect = coro.send(None)
            except StopIteration as done:
                answer: R = done.value
            else:
                answer = await self.wait(th, coro, effect)
            ended, th = th, None
            self.end(ended)
            return answer
        except Exception as exc:
            raise self.failure(exc, request, th) from None

    handler.__name__ = request
    handler.__doc__ = operation.__doc__
    return handler
