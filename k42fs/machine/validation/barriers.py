"""E20: a central barrier against a tree."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Final

from k42fs.ids import VP
from k42fs.machine.barrier import CentralBarrier, TreeBarrier
from k42fs.machine.driver import Machine
from k42fs.machine.thread import Thread
from k42fs.machine.validation.checks import AT_LEAST, Check, Findings, Plot, Series, relative
from k42fs.machine.validation.experiment import Effort, Experiment
from k42fs.machine.validation.lock_loop import DIRTY, prototype

Wait = Callable[[Thread], Awaitable[None]]

ROUNDS: Final = 6
READ_AGAIN: Final = 20 + 40
EACH: Final = DIRTY + READ_AGAIN
"""What one more processor adds to a central round: its read-modify-write moves the line, and at the end its
copy of the other line is invalidated and read again."""
EACH_ON_ONE_LINE: Final = EACH + READ_AGAIN
"""The same if it counts where it spins: its first look has lost the line to the next arrival."""
FIT: Final = (16, 64)
"""Processors whose rounds define the line that all others' are held against."""
FULL: Final = (5, 21, 85, 341)
"""Parties of full trees of 2, 3, 4 and 5 levels."""


def round_cycles(processors: int, make: Callable[[Machine], Wait]) -> float:
    """Return the cycles from one round's end to the next, nobody doing anything between."""
    machine = Machine(prototype(processors))
    wait = make(machine)
    ends = [0] * ROUNDS

    async def body(th: Thread) -> None:
        for i in range(ROUNDS):
            await wait(th)
            ends[i] = max(ends[i], th.proc.clock)

    for vp in range(processors):
        machine.spawn(VP(vp), body)
    machine.run()
    machine.check()
    return (ends[-1] - ends[1]) / (ROUNDS - 2)


def central(machine: Machine) -> Wait:
    return CentralBarrier(machine, machine.config.processors, is_apart=True).wait


def on_one_line(machine: Machine) -> Wait:
    return CentralBarrier(machine, machine.config.processors).wait


def tree(machine: Machine) -> Wait:
    barrier = TreeBarrier(machine, machine.config.processors)
    return lambda th: barrier.wait(th, th.vp)


def barriers(effort: Effort) -> Findings:
    """E20: cycles per round of both barriers by processors."""
    sweep = effort.pick(quick=(4, 5, 16, 21, 64, 85), normal=(2, 4, 5, 8, 16, 21, 32, 64, 85, 128, 256, 341))
    at_once = {n: round_cycles(n, central) for n in sweep}
    one_line = {n: round_cycles(n, on_one_line) for n in sweep}
    by_tree = {n: round_cycles(n, tree) for n in sweep}
    less, more = FIT
    slope = (at_once[more] - at_once[less]) / (more - less)
    start = at_once[less] - less * slope
    checks = [Check("central, for each more processor", EACH, slope, relative(0.02), "cycles")]
    slope_on_one = (one_line[more] - one_line[less]) / (more - less)
    checks.append(
        Check(
            "on one line, for each more processor", EACH_ON_ONE_LINE, slope_on_one, relative(0.02), "cycles"
        )
    )
    checks += [
        Check(f"central, P={n}, to a + b P", start + n * slope, at_once[n], relative(0.05), "cycles")
        for n in sweep
        if n not in FIT
    ]
    full = [n for n in FULL if n in sweep]
    level = by_tree[full[1]] - by_tree[full[0]]
    checks += [
        Check(f"tree: level {i + 2}", level, by_tree[more] - by_tree[less], relative(0.05), "cycles")
        for i, (less, more) in enumerate(pairwise(full[1:]), start=2)
    ]
    checks.append(Check("tree to central, P=4", 1.0, by_tree[4] / at_once[4], AT_LEAST))
    checks.append(Check("central to tree, P=16", 1.0, at_once[16] / by_tree[16], AT_LEAST))
    curves = (
        Series("central", tuple(at_once.items())),
        Series("central, on one line", tuple(one_line.items())),
        Series("tree of 4", tuple(by_tree.items())),
    )
    title = "E20: cycles per round of a barrier"
    plot = Plot(title=title, x="processors", y="cycles", series=curves, log_x=True, log_y=True)
    return Findings(tuple(checks), (plot,))


EXPERIMENTS = (Experiment("E20", "central barrier against a tree", barriers, weight=5),)
