"""E18: where memory lies on dir-1024, 128 nodes in a 7-cube.

A clean miss to a home h hops away takes 200 + 40 h cycles. Memory that each processor touched first is at
home: 200. Interleaved over all nodes it is 3.5 hops away on average: 340. All on node 0 it is as far on
average, but one home serves everybody: it takes 24 cycles per miss, so with think time T throughput stops
growing at P* = (T + L) / 24 processors.
"""

from __future__ import annotations

import random
from functools import partial
from typing import Any, Final, Literal

from k42fs.machine.config import MachineConfig, preset
from k42fs.machine.driver import Machine
from k42fs.machine.layout import READ, WORD_BYTES
from k42fs.machine.memory import NODE_SHIFT, REGION_SHIFT
from k42fs.machine.validation.checks import SAME, Check, Findings, Plot, Series, relative
from k42fs.machine.validation.closed_loop import Load, run_loops
from k42fs.machine.validation.experiment import Effort, Experiment

Homes = Literal["address", "interleaved", "first"]

POLICIES: Final[dict[Homes, str]] = {
    "address": "first touch",
    "interleaved": "interleaved",
    "first": "node 0",
}
THINK: Final = 5000
APART: Final = 100_000  # cycles between two lone misses: nothing queues


def numa(processors: int, homes: Homes, **how: Any) -> MachineConfig:  # noqa: ANN401  (fields differ in type)
    """Return dir-1024 with memory placed by that policy."""
    return preset("dir-1024", processors=processors, homes=homes, **how)


def line_at(config: MachineConfig, vp: int, number: int) -> int:
    """Return the address of a line in *vp*'s own part of its node's memory."""
    node = config.node(vp)
    return node << NODE_SHIFT | 1 << REGION_SHIFT | vp << (REGION_SHIFT - 12) | number * config.line_bytes


def lone_misses(homes: Homes, samples: int) -> dict[int, list[int]]:
    """Return the latencies of misses that nothing delays, by hops from the home, from all 1024 processors."""
    config = numa(1024, homes)
    machine = Machine(config)
    rng = random.Random(18)
    latencies: dict[int, list[int]] = {}
    now = 0
    for vp in range(config.processors):
        # Lines chosen at random: else stride and interleaving would go together.
        for number in rng.sample(range(1 << 20), samples):
            addr = line_at(config, vp, number)
            hops = config.hops(config.node(vp), machine.memory.home(addr // config.line_bytes))
            now += APART
            took = machine.core.access(vp, READ, addr, WORD_BYTES, now) - now
            latencies.setdefault(hops, []).append(took)
    return dict(sorted(latencies.items()))


def loaded(processors: int, homes: Homes, fetches: int) -> Load:
    """Return what closed loops get done on so many processors, in about *fetches* fetches."""
    config = numa(processors, homes)
    busy = config.home_busy_cycles if homes == "first" else 0
    turn = max(THINK + mean_latency(config), busy * processors)
    length = max(2 * turn, round(fetches * turn / processors))
    return run_loops(config, THINK, partial(line_at, config), 3 * turn, length)


def mean_latency(config: MachineConfig) -> int:
    """Return the mean latency of a clean miss from the processors of *config* to node 0, without queueing."""
    hops = sum(config.hops(config.node(vp), 0) for vp in range(config.processors))
    return round(config.local_cycles + 2 * config.hop_cycles * hops / config.processors)


def placement(effort: Effort) -> Findings:
    """Run E18."""
    a, b = _latencies(effort.pick(quick=4, normal=16)), _saturation(effort)
    return Findings(a.checks + b.checks, a.plots + b.plots)


def _latencies(samples: int) -> Findings:
    expected = {"address": 200.0, "interleaved": 340.0, "first": 340.0}
    checks, series = [], []
    for homes, title in POLICIES.items():
        by_hops = lone_misses(homes, samples)
        every = [took for latencies in by_hops.values() for took in latencies]
        label = f"mean miss latency, {title}"
        checks.append(Check(label, expected[homes], sum(every) / len(every), relative(0.05), "cycles"))
        exact = sum(took == 200 + 40 * hops for hops, all_took in by_hops.items() for took in all_took)
        checks.append(Check(f"misses of 200 + 40 h cycles, {title}", len(every), exact, SAME))
        points = tuple((float(hops), sum(each) / len(each)) for hops, each in by_hops.items())
        series.append(Series(title, points))
    series.append(Series("200 + 40 h", tuple((float(h), 200.0 + 40 * h) for h in range(8)), expected=True))
    plot = Plot(title="E18: misses without queueing", x="hops to the home", y="cycles", series=tuple(series))
    return Findings(tuple(checks), (plot,))


def _saturation(effort: Effort) -> Findings:
    sweep = effort.pick(quick=(32, 1024), normal=(8, 32, 64, 128, 192, 256, 384, 512, 1024))
    fetches = effort.pick(quick=10_000, normal=20_000)
    first = {p: loaded(p, "first", fetches) for p in sweep}
    spread = {p: loaded(p, "interleaved", fetches) for p in sweep}
    config = numa(1024, "first")
    busy, turn = config.home_busy_cycles, THINK + mean_latency(config)
    small, large = 32, sweep[-1]
    few = THINK + mean_latency(numa(small, "first"))
    slope = first[small].rate / small * few / turn  # of the farther processors too
    late = sum(load.late for load in (*first.values(), *spread.values()))
    ceiling, free, rate = (
        f"ceiling, node 0, P={large}",
        f"no ceiling, interleaved, P={large}",
        "misses/kcycle",
    )
    checks = (
        Check("one processor's turn, node 0, P=32", few, small / first[small].rate, relative(0.05), "cycles"),
        Check(ceiling, 1000 / busy, first[large].rate * 1000, relative(0.02), rate),
        Check("knee P*, node 0", turn / busy, first[large].rate / slope, relative(0.05), "processors"),
        Check(free, large * 1000 / turn, spread[large].rate * 1000, relative(0.05), rate),
        Check("requests that came too late", 0, late, SAME),
    )
    series = (
        Series("node 0", tuple((float(p), load.rate * 1000) for p, load in first.items())),
        Series("interleaved", tuple((float(p), load.rate * 1000) for p, load in spread.items())),
        Series("1 / home busy", ((float(sweep[0]), 1000 / busy), (float(large), 1000 / busy)), expected=True),
        Series("P / (T + L)", tuple((float(p), p * 1000 / turn) for p in sweep), expected=True),
    )
    title = f"E18: one home for all, think {THINK}"
    plot = Plot(
        title=title, x="processors", y="misses per 1000 cycles", series=series, log_x=True, log_y=True
    )
    return Findings(checks, (plot,))


EXPERIMENTS: Final = (Experiment("E18", "NUMA placement on dir-1024", placement, 25),)
