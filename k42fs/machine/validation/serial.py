"""E6: what a serial fraction f of a program's work costs, when memory costs nothing.

(a) Fork and join: one thread works alone for f of the work, then all processors share the rest. Amdahl:
speed-up 1 / (f + (1 - f) / P).

(b) Independent loops that each spend f of their time under one FIFO lock. That is not Amdahl's program but a
machine-repairman queue: P customers, exponential think times of mean (1 - f) T, one server with exponential
service times of mean f T. Mean-value analysis solves it exactly: with n customers a visit takes
R(n) = f T (1 + Q(n-1)), throughput is X(n) = n / ((1 - f) T + R(n)), and Q(n) = X(n) R(n) are at the server.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final

from k42fs.ids import VP
from k42fs.machine.config import MachineConfig, preset
from k42fs.machine.driver import Machine
from k42fs.machine.layout import Kind
from k42fs.machine.locks import SLock
from k42fs.machine.thread import Thread
from k42fs.machine.validation.checks import AT_MOST, Check, Findings, Plot, Series, relative
from k42fs.machine.validation.experiment import Effort, Experiment

FREE_MEMORY: Final[dict[str, Any]] = dict.fromkeys(
    (
        "local_cycles",
        "remote_cycles",
        "dirty_cycles",
        "upgrade_cycles",
        "hop_cycles",
        "home_busy_cycles",
        "inval_issue_cycles",
        "atomic_cycles",
        "ipi_cycles",
        "unblock_cycles",
    ),
    0,
)
"""Overrides under which a reference takes no time, but for the one cycle of a hit."""

ROUNDS: Final = 3
ROUND_CYCLES: Final = 100_000_000
TURN_CYCLES: Final = 1_000_000  # T: long against the few cycles that taking a lock still costs


def free_memory(processors: int) -> MachineConfig:
    """Return a machine on which only instructions cost time."""
    return preset("dir-1024", processors=processors, l1_cycles=1, l2_cycles=1, **FREE_MEMORY)


# --- (a)


def amdahl(fraction: float, processors: int) -> float:
    """Return the speed-up of a program with that serial fraction."""
    return 1 / (fraction + (1 - fraction) / processors)


class ForkJoin:
    """A team: a master that works alone and then with its workers, round after round."""

    def __init__(self, machine: Machine, serial: int, parallel: int) -> None:
        """*serial* and *parallel*: cycles of work in each of the two phases, the latter in all."""
        self.serial = serial
        self.share = -(-parallel // len(machine.processors))
        self.counter = machine.memory.alloc(0, 8, Kind.GLOBAL_PADDED)
        self.working = 0
        self.master = machine.spawn(VP(0), self.lead)
        self.workers = [machine.spawn(p.vp, self.follow) for p in machine.processors[1:]]

    async def lead(self, th: Thread) -> None:
        for _ in range(ROUNDS):
            th.work(self.serial)
            self.working = len(self.workers)
            for worker in self.workers:
                th.unblock(worker)
            th.work(self.share)
            if self.workers:
                await th.block()

    async def follow(self, th: Thread) -> None:
        for _ in range(ROUNDS):
            await th.block()
            th.work(self.share)
            await th.rmw(self.counter)
            self.working -= 1
            if not self.working:
                th.unblock(self.master)


def fork_join_cycles(fraction: float, processors: int) -> int:
    """Return how long the fork-join program runs on so many processors."""
    machine = Machine(free_memory(processors))
    serial = round(fraction * ROUND_CYCLES)
    ForkJoin(machine, serial, ROUND_CYCLES - serial)
    machine.run()
    machine.check()
    return machine.processors[0].clock


def fork_join(effort: Effort) -> Findings:
    """Run E6 (a)."""
    sweep = effort.pick(quick=(1, 4, 32, 1024), normal=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024))
    checks, series = [], []
    for fraction in (0.005, 0.01, 0.05):
        alone = fork_join_cycles(fraction, 1)
        points = [(float(p), alone / fork_join_cycles(fraction, p)) for p in sweep]
        for p, speedup in points[1:]:
            label = f"f={fraction:.1%}, P={p:g}"
            checks.append(Check(label, amdahl(fraction, int(p)), speedup, relative(0.01), "speed-up"))
        series.append(Series(f"f={fraction:.1%}", tuple(points)))
        law = tuple((float(1 << n), amdahl(fraction, 1 << n)) for n in range(11))
        series.append(Series(f"Amdahl, {fraction:.1%}", law, expected=True))
    title = "E6a: fork and join with a serial phase"
    plot = Plot(title=title, x="processors", y="speed-up", series=tuple(series), log_x=True, log_y=True)
    return Findings(tuple(checks), (plot,))


# --- (b)


def repairman(processors: int, think: float, service: float) -> float:
    """Return the throughput of the closed queue with exponential times: turns per unit of time."""
    queue = throughput = 0.0
    for customers in range(1, processors + 1):
        visit = service * (1 + queue)
        throughput = customers / (think + visit)
        queue = throughput * visit
    return throughput


class Turns:
    """Independent loops of think and locked work, counted between a warm-up and an end."""

    def __init__(self, machine: Machine, fraction: float, begin: int, end: int) -> None:
        self.lock = SLock(machine, machine.memory.alloc(0, 16, Kind.GLOBAL_PADDED))
        self.think, self.service = (1 - fraction) * TURN_CYCLES, fraction * TURN_CYCLES
        self.begin, self.end = begin, end
        self.done = 0
        for proc in machine.processors:
            machine.spawn(proc.vp, self.loop, random.Random(proc.vp))

    async def loop(self, th: Thread, rng: random.Random) -> None:
        while th.proc.clock < self.end:
            th.work(round(rng.expovariate(1 / self.think)))
            await self.lock.acquire(th)
            th.work(round(rng.expovariate(1 / self.service)))
            self.lock.release(th)
            self.done += self.begin <= th.proc.clock < self.end


def locked_speedup(fraction: float, processors: int, turns: int) -> float:
    """Return how many turns are done in the time that one processor takes on average for one."""
    per_turn = repairman(processors, (1 - fraction) * TURN_CYCLES, fraction * TURN_CYCLES)
    begin = 20 * TURN_CYCLES
    length = round(turns / per_turn)
    machine = Machine(free_memory(processors))
    loops = Turns(machine, fraction, begin, begin + length)
    machine.run()
    machine.check()
    return loops.done * TURN_CYCLES / length


def locked_loops(effort: Effort) -> Findings:
    """Run E6 (b)."""
    sweeps: Sequence[tuple[float, tuple[int, ...]]] = effort.pick(
        quick=((0.05, (8, 20, 64)),),
        normal=((0.05, (2, 4, 8, 16, 20, 24, 32, 64)), (0.01, (16, 64, 100, 256)), (0.005, (64, 200, 512))),
    )
    turns = effort.pick(quick=20_000, normal=40_000)
    checks, series = [], []
    for fraction, sweep in sweeps:
        points = [(1.0, 1.0)]
        for p in sweep:
            speedup = locked_speedup(fraction, p, turns)
            closed = repairman(p, 1 - fraction, fraction)
            label = f"f={fraction:.1%}, P={p}"
            checks.append(Check(label, closed, speedup, relative(0.02), "speed-up"))
            points.append((float(p), speedup))
        of_bound = max(speedup / min(p, 1 / fraction) for p, speedup in points)
        checks.append(Check(f"f={fraction:.1%}, largest share of min(P, 1/f)", 1.02, of_bound, AT_MOST))
        series.append(Series(f"f={fraction:.1%}", tuple(points)))
        between = sorted({round(2 ** (n / 4)) for n in range(4 * sweep[-1].bit_length())} | {*sweep})
        law = tuple((float(p), repairman(p, 1 - fraction, fraction)) for p in between if p <= sweep[-1])
        series.append(Series(f"repairman, {fraction:.1%}", law, expected=True))
    title = "E6b: independent loops, a fraction under one lock"
    plot = Plot(title=title, x="processors", y="speed-up", series=tuple(series), log_x=True, log_y=True)
    note = "The bound min(P, 1/f) has 2 % of room: turns are counted over a finite time."
    return Findings(tuple(checks), (plot,), (note,))


def serial_fraction(effort: Effort) -> Findings:
    """Run both parts of E6."""
    a, b = fork_join(effort), locked_loops(effort)
    return Findings(a.checks + b.checks, a.plots + b.plots, a.notes + b.notes)


EXPERIMENTS: Final = (Experiment("E6", "serial fraction: Amdahl and machine repairman", serial_fraction, 30),)
