"""Threads of the object system itself, one on each processor that something must be done on.

They begin inactive, so that they wait for nobody who waits for them. To another processor goes a message. In a
live machine the thread runs at once, inline, until it ends or has to wait; if it fails, that is logged, and whoever
had it started goes on. In a deterministic run a failure ends the run.

K42: scheduled by MPMsgMgr (async messages) and Scheduler::ScheduleFunction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from k42fs.ids import VP
from k42fs.machine.interrupts import SoftIntr
from k42fs.machine.live import OperationSuspended, Suspended

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine
    from k42fs.machine.thread import Thread

log = logging.getLogger(__name__)

Body = Callable[["Thread"], Coroutine[Any, Any, None]]


async def start_on(machine: Machine, by: Thread, vp: VP, body: Body, name: str) -> None:
    """Let an inactive thread on processor *vp* run *body*. Waits for nothing but *by*'s turn."""
    if machine.live:
        _start_live(machine, by, vp, body, name)
    elif vp == by.vp:
        machine.spawn(vp, body, name=name)
    else:
        interrupts = machine.interrupts

        def start(dispatcher: Thread) -> None:
            interrupts.start(vp, body, name)

        await interrupts.raise_bit(by, interrupts.dispatcher(vp), SoftIntr.MP_ENABLED_SEND, start)


def start_here(machine: Machine, by: Thread, body: Body, name: str, daemon: bool = False) -> None:
    """Do so on *by*'s own processor, which takes no message."""
    if machine.live:
        _start_live(machine, by, by.vp, body, name)
    else:
        machine.spawn(by.vp, body, name=name, daemon=daemon)


def _start_live(machine: Machine, by: Thread, vp: VP, body: Body, name: str) -> None:
    th = machine.enter(vp, is_housekeeping=True)
    if vp != by.vp and by.level > 1:
        th.proc.idle_until(machine.interrupts.notify(by, th.proc))
        machine.interrupts.receive(th.proc)

    def end(failure: BaseException | None) -> None:
        if failure is not None:
            log.error("%s on processor %d failed", name, vp, exc_info=failure)
        machine.leave(th)

    try:
        machine.drive(body(th))
    except OperationSuspended as parked:
        operation: Suspended = parked.operation
        operation.on_done = lambda: end(operation.error)
    except Exception as exc:  # nobody's request: who had it started may not even know of it
        end(exc)
    else:
        end(None)
