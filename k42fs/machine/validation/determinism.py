"""E21: a run is a function of its configuration, seed included, and of nothing else.

A mixed program on 16 processors (locks of all kinds, shared and private data, sleep, block and unblock) is run
again in processes of its own, with other hash seeds and on each core that there is. What must agree to the
last digit is the SHA-256 of the event log, of all counters and of all clocks. Run as a module, this file is
one such process: it prints the digest for the seed in its argument.

Other seeds settle ties otherwise: 20 of them give 20 logs, yet the same throughput of the locks of E1 within
2 %.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
from hashlib import sha256
from typing import Final

from k42fs.ids import VP
from k42fs.machine.config import preset
from k42fs.machine.cores import COMPILED, PURE, VARIABLE
from k42fs.machine.driver import Machine
from k42fs.machine.layout import Kind, Layout
from k42fs.machine.locks import FairBLock, RWLock, SLock
from k42fs.machine.thread import Thread
from k42fs.machine.validation.checks import AT_MOST, SAME, Check, Findings, Plot, Series
from k42fs.machine.validation.experiment import Effort, Experiment
from k42fs.machine.validation.lock_loop import ALL, lock_loop

PROCESSORS: Final = 16
TURNS: Final = 30
SEEDS: Final = range(20)
SPREAD_MAX: Final = 2.0
HASH_SEEDS: Final = ("0", "1", "4242")
BOX: Final = Layout("Box", Kind.GLOBAL, count=8, total=8, data=112)
CHANGE: Final = BOX.script("change", "r:count w:total w:data", work=30)
READ_IT: Final = BOX.script("read", "r:count r:data", work=10)


class Mix:
    """The program: threads that do a bit of everything to a few boxes, and a neighbour each to wake."""

    def __init__(self, seed: int) -> None:
        self.machine = machine = Machine(preset("dir-1024", processors=PROCESSORS, seed=seed))
        self.boxes = [machine.memory.alloc(vp, BOX) for vp in range(0, PROCESSORS, 5)]
        block, spin, rw = (machine.memory.alloc(vp, 16, Kind.GLOBAL_PADDED) for vp in range(3))
        self.block, self.spin, self.rw = FairBLock(machine, block), SLock(machine, spin), RWLock(machine, rw)
        self.threads = [machine.spawn(VP(vp), self.body) for vp in range(PROCESSORS)]
        machine.run()
        machine.check()

    async def body(self, th: Thread) -> None:
        rng = random.Random(th.vp)
        for turn in range(TURNS):
            box = self.boxes[rng.randrange(len(self.boxes))]
            lock = self.spin if turn % 3 else self.block
            await lock.acquire(th)
            try:
                await th.touch(CHANGE, box)
            finally:
                lock.release(th)
            await self.rw.acquire_r(th)
            await th.touch(READ_IT, box)
            self.rw.release_r(th)
            await th.rmw(self.boxes[0])
            th.work(rng.randrange(2000))
            neighbour = self.threads[(th.vp + 1) % PROCESSORS]
            if turn % 10 == 9:
                await th.sleep(rng.randrange(5000))
            elif turn % 10 == 4 and th.vp % 2:
                await th.block()
            elif turn % 10 == 5 and not th.vp % 2:
                th.unblock(neighbour)

    def digest(self) -> str:
        """Return the SHA-256 of what happened: events, counters, clocks."""
        machine = self.machine
        statistics = machine.statistics()
        del statistics["core"]  # it says which one, and nothing else may depend on that
        facts = [machine.event_hash(), statistics, [proc.clock for proc in machine.processors]]
        return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def digest_elsewhere(seed: int, core: str, hash_seed: str) -> str:
    """Return the digest from a process of its own."""
    environment = {**os.environ, VARIABLE: core, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-m", __name__, str(seed)]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


def spread_of(kind: str, cycles: int) -> tuple[float, tuple[tuple[float, float], ...]]:
    """Return how far apart the seeds' throughputs of that lock are, and each one's distance from the mean, in %."""
    each = [lock_loop(kind, PROCESSORS, cycles, seed=seed).per_mcycle for seed in SEEDS]
    mean = sum(each) / len(each)
    points = ((float(seed), 100 * (value / mean - 1)) for seed, value in zip(SEEDS, each, strict=True))
    return 100 * (max(each) - min(each)) / mean, tuple(points)


def determinism(effort: Effort) -> Findings:
    """Run E21."""
    is_compiled = importlib.util.find_spec("k42fs.machine.fast_core") is not None
    cores = (PURE, COMPILED) if is_compiled else (PURE,)
    here = Mix(0).digest()
    checks = [
        Check(f"digest, {core} core, hash seed {hash_seed}", here[:16], digest_elsewhere(0, core, hash_seed)[:16], SAME)
        for core in cores
        for hash_seed in effort.pick(quick=HASH_SEEDS[:1], normal=HASH_SEEDS)
    ]  # fmt: skip
    checks.append(Check("digests of 20 seeds", len(SEEDS), len({Mix(seed).digest() for seed in SEEDS}), SAME))
    kinds = effort.pick(quick=("mcs",), normal=ALL)
    cycles = effort.pick(quick=1_000_000, normal=2_000_000)  # enough for one more or less not to count
    series = []
    for kind in kinds:
        spread, points = spread_of(kind, cycles)
        checks.append(Check(f"{kind}, P={PROCESSORS}: spread of 20 seeds", SPREAD_MAX, spread, AT_MOST, "%"))
        series.append(Series(kind, points))
    title, y = "E21: throughput of 20 seeds", "% from the mean"
    plot = Plot(title=title, x="seed", y=y, series=tuple(series))
    notes = [f"Python {sys.version.split()[0]}: digest of seed 0 is {here}."]
    if not is_compiled:
        notes.append("The compiled core was not built: nothing was compared with it.")
    if not any(value for each in series for _, value in each.points):
        notes.append(f"All seeds give {', '.join(kinds)} the same throughput: there is no curve to draw.")
        return Findings(tuple(checks), (), tuple(notes))
    return Findings(tuple(checks), (plot,), tuple(notes))


EXPERIMENTS: Final = (Experiment("E21", "determinism", determinism, 45),)

if __name__ == "__main__":
    sys.stdout.write(Mix(int(sys.argv[1])).digest() + "\n")
