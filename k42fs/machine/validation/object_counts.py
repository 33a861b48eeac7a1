"""E10, E11: readers of one lock and requests on one hot object, against a copy on each processor.

All releases are in turn: one that runs ahead of its turn finds the line still in its own cache.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from k42fs.ids import VP
from k42fs.machine.driver import Machine
from k42fs.machine.layout import Kind
from k42fs.machine.locks import RequestCount, RWLock
from k42fs.machine.thread import Thread
from k42fs.machine.validation.checks import AT_MOST, Check, Findings, Plot, Series, relative
from k42fs.machine.validation.experiment import Effort, Experiment
from k42fs.machine.validation.lock_loop import DIRTY, LINE, prototype

CYCLES: Final = 240_000
WARM: Final = 24_000
READ_WORK: Final = 60
ROUNDS: Final = 20

Operation = Callable[[Thread], Coroutine[Any, Any, None]]


def rate(processors: int, make: Callable[[Machine], Operation], rounds: int = 0) -> float:
    """Return how many operations per thousand cycles all *processors* do. *make* makes the operation.

    *rounds*: count for so many turns of everybody at a line, each of two transfers, as they come in convoys.
    """
    machine = Machine(prototype(processors))
    operation = make(machine)
    cycles = rounds * processors * 2 * DIRTY or CYCLES
    warm = max(WARM, 4 * processors * DIRTY)
    done = [0]

    async def body(th: Thread) -> None:
        while th.proc.clock <= warm + cycles:
            await operation(th)
            done[0] += warm < th.proc.clock <= warm + cycles

    for vp in range(processors):
        machine.spawn(VP(vp), body)
    machine.run()
    machine.check()
    return 1000 * done[0] / cycles


def one_lock(machine: Machine) -> Operation:
    """Readers of one lock: each entry and exit modifies its line."""
    lock = RWLock(machine, machine.memory.alloc(0, LINE, Kind.GLOBAL_PADDED))
    data = machine.memory.alloc(0, LINE, Kind.GLOBAL_PADDED)

    async def read(th: Thread) -> None:
        await lock.acquire_r(th)
        await th.load(data)
        th.work(READ_WORK)
        await lock.release_r_in_turn(th)

    return read


def replicas(machine: Machine) -> Operation:
    """Readers of a copy on each processor, each behind a lock of its own."""
    nodes = range(machine.config.processors)
    locks = [RWLock(machine, machine.memory.alloc(vp, LINE, Kind.LOCAL_STRICT)) for vp in nodes]
    data = [machine.memory.alloc(vp, LINE, Kind.LOCAL_STRICT) for vp in nodes]

    async def read(th: Thread) -> None:
        await locks[th.vp].acquire_r(th)
        await th.load(data[th.vp])
        th.work(READ_WORK)
        await locks[th.vp].release_r_in_turn(th)

    return read


def one_count(machine: Machine) -> Operation:
    """Requests that enter and leave one object."""
    count = RequestCount(machine, machine.memory.alloc(0, LINE, Kind.GLOBAL_PADDED))

    async def request(th: Thread) -> None:
        assert await count.enter(th)
        await count.leave_in_turn(th)

    return request


def counts_by_rep(machine: Machine) -> Operation:
    """Requests that enter and leave the rep of their own processor."""
    counts = [
        RequestCount(machine, machine.memory.alloc(vp, LINE, Kind.LOCAL_STRICT))
        for vp in range(machine.config.processors)
    ]

    async def request(th: Thread) -> None:
        assert await counts[th.vp].enter(th)
        await counts[th.vp].leave_in_turn(th)

    return request


def readers(effort: Effort) -> Findings:
    """E10: a readers-writer lock with readers only, against replicated data."""
    sweep = effort.pick(quick=(1, 2, 8, 32), normal=(1, 2, 4, 8, 16, 32, 64))
    shared = {n: rate(n, one_lock) for n in sweep}
    copies = {n: rate(n, replicas) for n in sweep}
    checks = [Check(f"one lock, P={n}, to P=2", 1.2, shared[n] / shared[2], AT_MOST) for n in sweep if n > 2]
    checks += [
        Check(f"copies, P={n}, to P=1", n, copies[n] / copies[1], relative(0.01)) for n in sweep if n > 1
    ]
    return Findings(tuple(checks), (_plot("E10: readers", "one lock", shared, "copies", copies),))


def requests(effort: Effort) -> Findings:
    """E11: entering and leaving one object, against one rep per processor."""
    sweep = effort.pick(quick=(1, 2, 16), normal=(1, 2, 4, 8, 16, 32, 64))
    shared = {n: rate(n, one_count, ROUNDS) for n in sweep}
    own = {n: rate(n, counts_by_rep) for n in sweep}
    ceiling = 1000 / (2 * DIRTY)
    checks = [
        Check(f"one count, P={n}", ceiling, shared[n], relative(0.02), "requests/kcycle")
        for n in sweep
        if n > 1
    ]
    checks += [
        Check(f"own counts, P={n}, to P=1", n, own[n] / own[1], relative(0.01)) for n in sweep if n > 1
    ]
    return Findings(tuple(checks), (_plot("E11: requests", "one count", shared, "own counts", own),))


def _plot(title: str, one: str, shared: dict[int, float], many: str, own: dict[int, float]) -> Plot:
    curves = (Series(one, tuple(shared.items())), Series(many, tuple(own.items())))
    return Plot(title=title, x="processors", y="per kcycle", series=curves, log_x=True, log_y=True)


EXPERIMENTS = (
    Experiment("E10", "readers of one lock against copies", readers, weight=8),
    Experiment("E11", "requests on one hot object against reps", requests, weight=6),
)
