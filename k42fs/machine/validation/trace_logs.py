"""E23: what logging costs: a trace buffer for each processor, as in K42, against one for all.

Every step of K42's protocol is charged to the line it is done to (`tracing/modelled.py`). With buffers of its own
a processor finds all of them in its cache. In a shared one each event must get the index's line once at least, so
one transfer per event is a ceiling for all processors together; and as whoever comes between a reader of the index
and its compare-and-swap makes it begin anew, the more there are the less is logged.
"""

from __future__ import annotations

from typing import Final

from k42fs.ids import VP
from k42fs.machine.driver import Machine
from k42fs.machine.thread import Thread
from k42fs.machine.tracing.modelled import ModelledLog
from k42fs.machine.validation.checks import AT_MOST, Check, Findings, Plot, Series, relative
from k42fs.machine.validation.experiment import Effort, Experiment
from k42fs.machine.validation.lock_loop import DIRTY, prototype

EVENTS: Final = 60
"""By each processor."""

EVENT: Final = 0x20C003
BUFFER_WORDS: Final = 64


def rate(processors: int, is_shared: bool) -> float:
    """Return how many events of two words per thousand cycles all processors log."""
    machine = Machine(prototype(processors))
    logs = [ModelledLog(machine, vp, BUFFER_WORDS) for vp in range(1 if is_shared else processors)]

    async def body(th: Thread) -> None:
        log = logs[0 if is_shared else th.vp]
        for number in range(EVENTS):
            await log.log(th, EVENT, (th.vp, number))

    for vp in range(processors):
        machine.spawn(VP(vp), body)
    machine.run()
    machine.check()
    return 1000 * processors * EVENTS / machine.now


def one_or_many(effort: Effort) -> Findings:
    """E23: one log for all, or one for each."""
    sweep = effort.pick(quick=(1, 2, 8, 32), normal=(1, 2, 4, 8, 16, 32, 64))
    own = {n: rate(n, is_shared=False) for n in sweep}
    shared = {n: rate(n, is_shared=True) for n in sweep}
    alone, ceiling = own[1], 1000 / DIRTY
    checks = [Check(f"own logs, P={n}, to P=1", n, own[n] / alone, relative(0.01)) for n in sweep if n > 1]
    checks.append(Check("one log, P=1, to its own", 1, shared[1] / alone, relative(0.01)))
    checks += [Check(f"one log, P={n}", ceiling, shared[n], AT_MOST, "events/kcycle") for n in sweep if n > 1]
    checks += [Check(f"one log, P={n}, to P=2", 1, shared[n] / shared[2], AT_MOST) for n in sweep if n > 2]
    curves = (
        Series("one log", tuple(shared.items())),
        Series("own logs", tuple(own.items())),
        Series("linear", tuple((n, n * alone) for n in sweep), expected=True),
        Series("1 / dirty transfer", tuple((n, ceiling) for n in sweep if n > 1), expected=True),
    )
    plot = Plot(
        title="E23: events logged", x="processors", y="per kcycle", series=curves, log_x=True, log_y=True
    )
    return Findings(tuple(checks), (plot,))


EXPERIMENTS = (Experiment("E23", "trace buffers: one for all against one for each", one_or_many, weight=3),)
