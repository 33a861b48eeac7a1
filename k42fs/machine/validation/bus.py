"""E5: a bus saturates.

Processors think 600 cycles and miss once; a miss takes 300 cycles and occupies the bus for 32 of them. One
processor does a turn in 900 cycles, the bus one in 32, so N* = 900 / 32 = 28.1 processors can do no more
turns than the bus carries. With exponential think times queues form before that: the curve bends.

The bus has two resources in turn, address and data. Either may be the one that takes 32 cycles; the other
takes 8 then and matters little.
"""

from __future__ import annotations

import random
from functools import partial
from heapq import heapify, heapreplace
from typing import Final

from k42fs.machine.config import preset
from k42fs.machine.memory import NODE_SHIFT, REGION_SHIFT
from k42fs.machine.validation.checks import SAME, Check, Findings, Plot, Series, relative
from k42fs.machine.validation.closed_loop import Load, run_loops
from k42fs.machine.validation.experiment import Effort, Experiment

THINK, LATENCY, OCCUPANCY, OTHER = 600, 300, 32, 8
TURN: Final = THINK + LATENCY
KNEE: Final = TURN / OCCUPANCY
NOTED: Final = {16: 15.7, 24: 23.0, 32: 27.6, 64: KNEE}
"""Speed-ups that the specification gives; the last is the asymptote."""


def bus_load(processors: int, address: int, data: int, turns: int) -> Load:
    """Return what so many processors get done on a bus with those occupancies, over about *turns* turns."""
    config = preset(
        "dir-1024",
        processors=processors,
        topology="bus",
        interconnect="bus",
        local_cycles=LATENCY,
        remote_cycles=LATENCY,
        bus_address_cycles=address,
        bus_data_cycles=data,
    )
    length = round(turns * max(TURN / processors, OCCUPANCY))
    return run_loops(config, THINK, partial(own_line, config.line_bytes), 20 * TURN, length)


def own_line(line_bytes: int, vp: int, count: int) -> int:
    """Return the address of a line that only *vp* ever touches, and only once."""
    return 1 << REGION_SHIFT | vp << (NODE_SHIFT - 16) | count * line_bytes


def single_server(processors: int, turns: int) -> float:
    """Return the speed-up of the same loops around one server, by a simulation that shares nothing with the machine."""
    rng = random.Random(0)
    ready = [(rng.expovariate(1 / THINK), vp) for vp in range(processors)]
    heapify(ready)
    free = begin = 0.0
    warm_up = 20 * processors
    for turn in range(warm_up + turns):
        at, vp = ready[0]
        free = max(at, free)
        if turn == warm_up:
            begin = free
        heapreplace(ready, (free + LATENCY + rng.expovariate(1 / THINK), vp))
        free += OCCUPANCY
    return turns * TURN / (free - begin)


def saturation(effort: Effort) -> Findings:
    """Run E5."""
    sweep = effort.pick(quick=(16, 24, 32, 64), normal=(1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 64))
    turns = effort.pick(quick=10_000, normal=30_000)
    loads = {p: bus_load(p, OTHER, OCCUPANCY, turns) for p in sweep}
    checks = []
    for p, speedup in NOTED.items():
        label = f"data phase {OCCUPANCY}, P={p}"
        checks.append(Check(label, speedup, loads[p].rate * TURN, relative(0.02), "speed-up"))
    by_address = bus_load(24, OCCUPANCY, OTHER, turns)
    label = f"address phase {OCCUPANCY}, P=24"
    checks.append(Check(label, NOTED[24], by_address.rate * TURN, relative(0.02), "speed-up"))
    late = sum(load.late for load in (*loads.values(), by_address))
    checks.append(Check("requests that came too late", 0, late, SAME))
    seen = Series("speed-up", tuple((float(p), load.rate * TURN) for p, load in loads.items()))
    server = tuple((float(p), single_server(p, 50_000)) for p in range(1, 65, 3))
    ceiling = ((1.0, KNEE), (64.0, KNEE))
    series = (
        seen,
        Series("one server", server, True),
        Series("(think + latency) / occupancy", ceiling, True),
    )
    plot = Plot(title="E5: bus saturation", x="processors", y="speed-up", series=series)
    return Findings(tuple(checks), (plot,))


EXPERIMENTS: Final = (Experiment("E5", "bus saturation", saturation, 15),)
