"""E19: how much a program's time depends on where its pages lie, direct-mapped or 4-way.

A processor visits n private pages in random order and touches some lines of each; frames are drawn at random,
anew for each layout. Only the L2 can make a difference: the L1 is shrunk to nothing, and one processor runs
at a time.

A cache of W ways has C page colours (one way's bytes / 4096). With k_c pages of colour c, a visit to one of
them finds it with probability min(1, W / k_c): least recently used or not, the set holds W of the k_c pages,
and which one comes next is independent of that. So a layout's time per reference is exactly

    h + (m - h) M / n,   M = sum over c of max(0, k_c - W),

h a hit, m a miss. The spread over layouts follows from that of M. It is the direct-mapped cache that spreads
more while n is small against its C: pairs collide. As n nears the whole cache the two come together.
"""

from __future__ import annotations

import random
from statistics import fmean, pstdev
from typing import Final

from k42fs.ids import VP
from k42fs.machine.config import MODEL_PRESET, MachineConfig, preset
from k42fs.machine.core import CoherenceCore, TraceItem
from k42fs.machine.driver import Machine
from k42fs.machine.layout import READ, WORD_BYTES
from k42fs.machine.memory import NODE_SHIFT, PAGE_BYTES, REGION_SHIFT
from k42fs.machine.validation.checks import AT_LEAST, Check, Findings, Plot, Series, relative
from k42fs.machine.validation.experiment import Effort, Experiment

LAYOUTS: Final = 10
PROCESSORS: Final = 4  # each has its own pages, in frames of its own: as many runs per layout
FRAMES: Final = 1 << 16
TOUCHES: Final = 4  # lines of a page that one visit touches
FACTOR: Final = 3.0


def no_l1(name: str, **how: int) -> MachineConfig:
    """Return preset *name* with an L1 too small to matter."""
    base = preset(name)
    return preset(name, processors=PROCESSORS, l1_bytes=base.l1_ways * base.l1_line_bytes, **how)


def colours(config: MachineConfig) -> int:
    """Return how many page colours the L2 has."""
    return config.l2_bytes // config.l2_ways // PAGE_BYTES


def predicted(config: MachineConfig, frames: list[int]) -> float:
    """Return the mean cycles per reference to pages in *frames*, by the formula."""
    count: dict[int, int] = {}
    for frame in frames:
        colour = frame % colours(config)
        count[colour] = count.get(colour, 0) + 1
    beyond = sum(max(0, pages - config.l2_ways) for pages in count.values())
    hit, miss = config.l2_cycles, config.local_cycles
    return hit + (miss - hit) * beyond / len(frames)


def observed(
    core: CoherenceCore, config: MachineConfig, vp: VP, frames: list[int], visits: int, now: int
) -> tuple[float, int]:
    """Return the same, by doing it from time *now* on, and the time after."""
    rng = random.Random(vp)  # one workload, whatever the layout
    stride = PAGE_BYTES // TOUCHES
    base = config.node(vp) << NODE_SHIFT | 1 << REGION_SHIFT

    def visit(page: int) -> list[TraceItem]:
        first = base + frames[page] * PAGE_BYTES
        return [TraceItem(vp, READ, first + n * stride, WORD_BYTES) for n in range(TOUCHES)]

    clocks = [now] * config.processors
    pages = range(len(frames))
    core.run([item for page in (*pages, *pages) for item in visit(page)], clocks)
    begin = clocks[vp]
    core.run([item for _ in range(visits) for item in visit(rng.choice(pages))], clocks)
    return (clocks[vp] - begin) / (visits * TOUCHES), clocks[vp]


def runs(config: MachineConfig, pages: int, visits: int) -> tuple[list[float], list[float]]:
    """Return cycles per reference as observed and as predicted, for each layout and processor."""
    seen, theory = [], []
    for layout in range(LAYOUTS):
        rng = random.Random(layout)
        machine, now = Machine(config), 0
        for proc in machine.processors:
            frames = rng.sample(range(FRAMES), pages)
            cycles, now = observed(machine.core, config, proc.vp, frames, visits, now)
            seen.append(cycles)
            theory.append(predicted(config, frames))
        machine.core.check()
    return seen, theory


def spread(times: list[float]) -> float:
    """Return the standard deviation as a share of the mean."""
    return pstdev(times) / fmean(times)


def theory_of(config: MachineConfig, pages: int, layouts: int) -> float:
    """Return the spread by the formula, over so many *layouts*."""
    rng = random.Random(0)
    return spread([predicted(config, rng.sample(range(FRAMES), pages)) for _ in range(layouts)])


def layout_noise(effort: Effort) -> Findings:
    """Run E19."""
    visits = effort.pick(quick=800, normal=1500)
    layouts = effort.pick(quick=100, normal=1000)  # for the formula's curve, which no check looks at
    whole = 256  # pages in an L2 of 1 MiB
    sweep = effort.pick(quick=(32,), normal=(16, 32, 64, 128, 192))
    direct, four_way = no_l1("simos-16", l2_ways=1), no_l1("simos-16")
    checks, spreads = [], dict[int, tuple[float, float]]()
    for pages in sweep:
        both = []
        for config in (direct, four_way):
            seen, theory = runs(config, pages, visits)
            both.append(spread(seen))
            label = f"time per reference, {config.l2_ways}-way, {pages} pages"
            checks.append(Check(label, fmean(theory), fmean(seen), relative(0.02), "cycles"))
        spreads[pages] = both[0], both[1]
    ratio = spreads[32][0] / spreads[32][1]
    label = "spread 1-way / 4-way, an eighth of the cache in use"
    checks.append(Check(f"{label}, simos-16", FACTOR, ratio, AT_LEAST, "times"))
    numachine = spread(runs(no_l1("numachine-64"), 32, visits)[0])
    label = f"{label}, numachine-64 / simos-16"
    checks.append(Check(label, FACTOR, numachine / spreads[32][1], AT_LEAST, "times"))
    ways = ((0, "1-way", direct), (1, "4-way", four_way))
    series = []
    for i, title, config in ways:
        points = tuple((pages / whole, 100 * both[i]) for pages, both in spreads.items())
        series.append(Series(title, points))
        law = tuple((pages / whole, 100 * theory_of(config, pages, layouts)) for pages in range(8, 200, 16))
        series.append(Series(f"by the formula, {title}", law, expected=True))
    title = f"E19: spread over {LAYOUTS} layouts"
    plot = Plot(
        title=title, x="share of the L2 in use", y="standard deviation, % of the mean", series=tuple(series)
    )
    note = "The factor is one of small working sets: near half of the cache the 4-way one spreads as much."
    label = f"{MODEL_PRESET}: the cycles of simos-16 and numachine-64 are the model's, not those of a real machine."
    return Findings(tuple(checks), (plot,), (note, label))


EXPERIMENTS: Final = (Experiment("E19", "page layouts, direct-mapped against 4-way", layout_noise, 30),)
