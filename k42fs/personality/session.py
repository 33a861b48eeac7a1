"""The session loop's waiting, made cheap: what pyfuse3 asks of trio between two requests.

pyfuse3's loop takes a trio lock, re-arms epoll and passes through trio's scheduler twice for every request:
about half of what a request costs. pyfuse3 looks its few trio names up in its own module at run time (that
is how its asyncio mode works), so this module puts a stand-in there with two differences:

* `ReaderBaton` is the lock of the loop. Uncontended it is taken without a checkpoint, and giving it back
  wakes nobody:
  the worker that has just answered reads the next request itself. Only a handler that is about to wait
  hands the baton on (`lend`), so a second request is served while the first one waits, and no scheduler
  pass is paid otherwise.
* `wait_readable` asks the kernel before it asks trio: it waits in poll(2), for a moment, on the session's
  descriptor
  alone. Trio gets its turn after `TURN_REQUESTS` requests or `TURN_SECONDS`, whichever is first, and at
  once while any handler waits; so timers, signals and other tasks are late by a few milliseconds at most.

The baton also mends pyfuse3's shutdown for this scheme: every worker that ends lends the baton, so that
parked workers see the end of the session too.
"""

from __future__ import annotations

import logging
import select
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace, TracebackType
from typing import Final

import pyfuse3
import trio

log = logging.getLogger(__name__)

TURN_REQUESTS: Final = 256
TURN_SECONDS: Final = 0.01
POLL_MILLISECONDS: Final = 2
"""How long poll(2) may hold the thread while nothing arrives. Then trio waits, with all its tasks served."""

RESTARTS_MAX: Final = 100


class ReaderBaton:
    """Who may read the next request. FIFO for those who found it taken; no wake-up on release."""

    def __init__(self) -> None:
        self._taken = False
        self._parked: deque[trio.lowlevel.Task] = deque()
        self.is_closing = False
        self.handlers_waiting = 0

    async def __aenter__(self) -> None:
        if not self._taken:
            self._taken = True
            return
        task = trio.lowlevel.current_task()
        self._parked.append(task)

        def abort(_raise: Callable[[], object]) -> trio.lowlevel.Abort:
            self._parked.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._taken = False
        if self.is_closing:
            self.lend()

    def lend(self) -> None:
        """Wake one parked worker, if the baton is free and one is parked."""
        if not self._taken and self._parked:
            self._taken = True
            trio.lowlevel.reschedule(self._parked.popleft())

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[None]:
        """Bracket a handler's wait: others read and serve meanwhile."""
        self.handlers_waiting += 1
        self.lend()
        try:
            yield
        finally:
            self.handlers_waiting -= 1


class SessionWaiting:
    """The stand-in for the trio names that pyfuse3's session loop uses. One for a mount."""

    def __init__(self) -> None:
        self.baton = ReaderBaton()
        self._poll = select.poll()
        self._polled_fd = -1
        self._turn_ends = 0.0
        self._turn_left = 0
        self._restarts = 0
        self._session_fd: int | None = None

    def install(self) -> None:
        """Put the stand-in where pyfuse3 looks for trio."""
        lowlevel = SimpleNamespace(
            wait_readable=self.wait_readable,
            notify_closing=self._notify_closing,
            current_task=trio.lowlevel.current_task,
            current_trio_token=trio.lowlevel.current_trio_token,
        )
        pyfuse3.trio = SimpleNamespace(  # type: ignore[attr-defined]
            Lock=lambda: self.baton,
            lowlevel=lowlevel,
            ClosedResourceError=trio.ClosedResourceError,
            open_nursery=self._open_nursery,
            from_thread=trio.from_thread,
        )

    @staticmethod
    def uninstall() -> None:
        """Give pyfuse3 the real trio back."""
        pyfuse3.trio = sys.modules["trio"]  # type: ignore[attr-defined]

    async def wait_readable(self, fd: int) -> None:
        """Return once *fd* has a request, by poll(2) while requests come densely, by trio otherwise."""
        if self.baton.is_closing:
            raise trio.ClosedResourceError("the session is closing")
        if self._turn_left > 0 and not self.baton.handlers_waiting and time.monotonic() < self._turn_ends:
            self._turn_left -= 1
            if self._poll.poll(POLL_MILLISECONDS):
                return
        if fd != self._polled_fd:
            self._poll.register(fd, select.POLLIN)
            self._polled_fd = fd
        self._session_fd = fd
        await trio.lowlevel.wait_readable(fd)
        self._turn_left = TURN_REQUESTS
        self._turn_ends = time.monotonic() + TURN_SECONDS

    def _notify_closing(self, fd: int) -> None:
        self.baton.is_closing = True
        trio.lowlevel.notify_closing(fd)
        self.baton.lend()

    @asynccontextmanager
    async def _open_nursery(self) -> AsyncIterator[SimpleNamespace]:
        async with trio.open_nursery() as nursery:

            def start_soon(worker: Callable[..., Awaitable[None]], *args: object, name: str) -> None:
                nursery.start_soon(self._run_worker, worker, args, name=name)

            yield SimpleNamespace(start_soon=start_soon)

    async def _run_worker(self, worker: Callable[..., Awaitable[None]], args: tuple[object, ...]) -> None:
        """Run one of pyfuse3's workers; what escapes a handler's boundary must not end the mount.

        Such an exception can only come from pyfuse3's own conversion of an answer: that one request stays
        unanswered, and the worker starts again. A mount that does nothing else is ended instead.
        """
        try:
            while True:
                try:
                    await worker(*args)
                except OSError:
                    raise  # the session's descriptor itself failed
                except Exception:
                    self._restarts += 1
                    if self._restarts > RESTARTS_MAX:
                        raise
                    log.exception("a request could not be answered; its worker starts again")
                else:
                    return
        finally:
            self.baton.lend()
