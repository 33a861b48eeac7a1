"""Contexts, for the trace: whom each processor works for from when on.

A processor runs a thread, or is idle, or handles an interrupt. A thread runs in a process, on behalf of one: a
live operation in the base server's, for its client; a spawned one in a process of its own; either in a server's
while it calls that (`ppc.py`). Between two such events of one processor it does what the earlier one says, so
the slots between them add up to all its time.

K42: a commID is pid << 32 | resource domain << 16 | processor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from k42fs.machine.processor import Processor
    from k42fs.machine.thread import Thread

KERNEL: Final = 0
BASE_SERVER: Final = 1
FIRST_SERVER: Final = 1 << 22
"""The process numbers of servers that are called begin here, above all that Linux gives to clients."""

PID_SHIFT: Final = 32
IDLE_DOMAIN: Final = 1
USER, IDLE, PPC_SERVER, SYSCALL, MESSAGE = 0, 1, 6, 7, 14
"""Modes: the meanings of type `mode` in schema.toml, by number."""

Context = tuple[int, int, int]
"""commID, mode, commID on behalf of which."""


def commid(pid: int, vp: int) -> int:
    return pid << PID_SHIFT | vp


def idle(vp: int) -> Context:
    return IDLE_DOMAIN << 16 | vp, IDLE, KERNEL


def context_of(th: Thread) -> Context:
    """Return what th's processor does while it runs *th*."""
    vp = th.vp
    if th.machine.live:
        owner, mode = getattr(th.creds, "pid", BASE_SERVER), SYSCALL
    else:
        owner, mode = th.pid, USER
    if th.server:
        return commid(th.server, vp), PPC_SERVER, commid(owner, vp)
    return commid(th.pid, vp), mode, commid(owner, vp)


def tell(proc: Processor) -> None:
    """Say what *proc* does now."""
    proc.emit.exception_context(*(idle(proc.vp) if proc.current is None else context_of(proc.current)))


def put_on(th: Thread) -> None:
    """*th* begins or goes on, on its processor."""
    proc = th.proc
    on, emit = proc.on, proc.emit
    if on.scheduler:
        emit.scheduler_cur_thread(th.number)
    if on.exception:
        if th.awaits_dispatch:
            th.awaits_dispatch = False
            emit.exception_await_dispatch_done(commid(th.pid, th.vp))
        emit.exception_context(*context_of(th))


def run(th: Thread) -> None:
    """Live: *th* goes on, on its processor."""
    th.proc.current = th
    put_on(th)


def park(th: Thread) -> None:
    """Live: *th* waits."""
    th.proc.current = None
    take_off(th, is_over=False)


def take_off(th: Thread, is_over: bool) -> None:
    """*th* has ended, or waits; nobody else runs on its processor yet."""
    proc = th.proc
    if proc.on.exception:
        if not is_over:
            th.awaits_dispatch = True
            proc.emit.exception_await_dispatch(th.number)
        proc.emit.exception_context(*idle(proc.vp))


def handled(proc: Processor, began: int, ended: int) -> None:
    """*proc* handled interrupts from *began* to *ended*, its own time; then it goes on with what it did."""
    if proc.on.exception:
        tell_at = proc.emit.stamped("exception_context")
        tell_at(began, commid(KERNEL, proc.vp), MESSAGE, commid(KERNEL, proc.vp))
        tell_at(ended, *(idle(proc.vp) if proc.current is None else context_of(proc.current)))
