"""Closed loops: processors that think, then fetch a line nobody has, over and over.

The simplest load on an interconnect or a home, and one whose outcome queueing theory knows. Think times are
exponential, drawn per processor from a seed of its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from k42fs.machine.config import MachineConfig
from k42fs.machine.driver import Machine
from k42fs.machine.thread import Thread


class Load(NamedTuple):
    """What closed loops did between warm-up and end."""

    rate: float  # references per cycle, of all processors
    latency: float  # cycles per reference, queueing included
    late: int  # requests the model could not place in time


class _Loops:
    """The loops of one run, and what they counted from time *begin* to *end*."""

    def __init__(self, think: float, line: Callable[[int, int], int], begin: int, end: int) -> None:
        self.think, self.line, self.begin, self.end = think, line, begin, end
        self.done = self.waited = 0

    async def loop(self, th: Thread) -> None:
        rng, proc = random.Random(th.vp), th.proc
        count = 0
        while proc.clock < self.end:
            th.work(round(rng.expovariate(1 / self.think)))
            start = proc.clock
            await th.load(self.line(th.vp, count))
            count += 1
            if self.begin <= proc.clock < self.end:
                self.done += 1
                self.waited += proc.clock - start


def run_loops(
    config: MachineConfig,
    think: float,
    line: Callable[[int, int], int],
    warm_up: int,
    length: int,
) -> Load:
    """Run one loop per processor for *warm_up* cycles, then *length* that count.

    ``line(vp, n)`` is the address of processor vp's nth fetch; for each to be a miss, all must differ.
    """
    machine = Machine(config)
    loops = _Loops(think, line, warm_up, warm_up + length)
    for proc in machine.processors:
        machine.spawn(proc.vp, loops.loop)
    machine.run()
    machine.check()
    return Load(loops.done / length, loops.waited / max(1, loops.done), machine.late)
