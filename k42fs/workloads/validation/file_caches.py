"""E8: one file whose pages many processors use, in three file caches.

Each of P threads has pages of its own in one file that all have open: it touches each of them once (a fault:
the cache makes frames), then looks one up after the other. The cache with one lock saturates at one look-up
per holding and hand-off; with replicas, or in partitions, look-ups meet no shared line once the first touch is
over, which costs more with replicas: the master's entry is made and then copied.

The warm rates are of a stretch of virtual time; the first touch is timed on one processor alone. Then the cache
with one lock is watched while all use it: the rule of contention must replace it, once, and the look-ups after
that be as good as those of a file that had replicas from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from k42fs.ids import VP, Ref
from k42fs.machine.config import preset
from k42fs.machine.driver import Machine
from k42fs.machine.thread import Thread
from k42fs.machine.validation.checks import AT_LEAST, AT_MOST, SAME, Check, Findings, Plot, Series, between
from k42fs.machine.validation.experiment import Effort, Experiment
from k42fs.objects.adapt_rules import ThresholdRule
from k42fs.objects.adaptation import Adapter
from k42fs.objects.cosmgr import COSMgr
from k42fs.servers.file_cache import EXTENT
from k42fs.servers.fs_file import FSFile
from k42fs.servers.makers import MAKERS, default_policy
from k42fs.servers.name_tree import NameTree
from k42fs.servers.ramfs.budget import UNLIMITED
from k42fs.servers.ramfs.filesystem import RamFS

CACHES: Final = tuple(MAKERS["FileCache"])
EXTENTS: Final = 4
"""Pieces of the file that each thread has to itself."""

LOOKUP_BYTES: Final = 64
SINGLE_MAX: Final = 3.0
SPREAD_MIN: Final = 0.9
FIRST_TOUCH: Final = (1.5, 3.0)


CONTENTION: Final = ThresholdRule(
    "contention", "FileCache", ("single",), "replicated", {"contended_share": 0.3, "contentions": 10}
)
WINDOW: Final = 50_000
"""Cycles of a window of the adapter, which looks at eight of them."""

WINDOWS: Final = 8


class SharedFile:
    """One file on a deterministic machine, and a thread per processor that uses its own part of it."""

    def __init__(self, processors: int, cache: str, watchers: int = 0) -> None:
        self.machine = Machine(preset("dir-1024", processors=processors + watchers))
        self._users = self.machine.processors[:processors]
        self.cos = COSMgr(self.machine)
        policy = default_policy()
        policy.choose("FileCache", cache)
        self.tree = NameTree(self.cos, RamFS(self.machine, UNLIMITED), policy=policy)
        self.cache: Ref
        self.rates: list[float] = []
        self.machine.spawn(VP(0), self._prepare, processors)
        self.machine.run()

    async def _prepare(self, th: Thread, processors: int) -> None:
        self.cos.activate(th)
        tree = self.tree.tree
        file: FSFile
        file, _ = await th.deref(self.tree.ref).create(th, self.tree.root_file(), b"file", 0o644, 2)
        # Its data are holes: what is measured is the look-up of frames, not the file system's store.
        await tree.fs.truncate(th, file, processors * EXTENTS * EXTENT)
        made = tree.policy.cache(file)(tree, file, th.vp)
        self.cache = made.ref
        self.cos.deactivate(th)

    async def _round(self, th: Thread) -> None:
        """Look up each of the thread's own pieces once, in a stay of its own."""
        self.cos.activate(th)
        start = th.vp * EXTENTS * EXTENT
        for number in range(EXTENTS):
            await th.deref(self.cache).read(th, start + number * EXTENT, LOOKUP_BYTES)
        self.cos.deactivate(th)

    async def _loop(self, th: Thread, stretch: int) -> None:
        """Go round for one stretch that does not count, then for one that does."""
        proc = th.proc
        end = proc.clock + stretch
        while proc.clock < end:
            await self._round(th)
        start, done = proc.clock, 0
        while proc.clock < start + stretch:
            await self._round(th)
            done += EXTENTS
        self.rates.append(done * 1e6 / (proc.clock - start))

    def first_touch(self) -> float:
        """Return the cycles of a first look-up, on processor 0 alone."""
        start = self.machine.processors[0].clock
        self.machine.spawn(VP(0), self._round)
        self.machine.run()
        return (self.machine.processors[0].clock - start) / EXTENTS

    async def _watch(self, th: Thread, adapter: Adapter) -> None:
        for _ in range(WINDOWS):
            await th.sleep(WINDOW)
            await adapter.observe(th)

    def _all(self, body: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        """Run *body* on every processor from one time on."""
        now = self.machine.now
        for proc in self._users:
            proc.idle_until(now)
            self.machine.spawn(proc.vp, body, *args)
        self.machine.run()
        self.machine.check()

    def rate(self, stretch: int) -> float:
        """Return look-ups per million cycles of all threads together, once every page is there."""
        self._all(self._round)
        self.rates.clear()
        self._all(self._loop, stretch)
        return sum(self.rates)

    def adapt(self) -> Adapter:
        """Let all use the file while an adapter watches from the last processor; return it."""
        adapter = Adapter(self.cos, (CONTENTION,))
        self.machine.spawn(self.machine.processors[-1].vp, self._watch, adapter)
        self._all(self._loop, WINDOWS * WINDOW // 2)
        return adapter


def file_caches(effort: Effort) -> Findings:
    """Run E8."""
    sweep = effort.pick(quick=(1, 4, 16), normal=(1, 2, 4, 8, 16, 32, 64))
    stretch = effort.pick(quick=30_000, normal=100_000)
    rates = {cache: [SharedFile(p, cache).rate(stretch) for p in sweep] for cache in CACHES}
    touch = {cache: SharedFile(1, cache).first_touch() for cache in CACHES}
    alone = rates["single"][0]
    checks, series = [], [Series("P times one", tuple((float(p), float(p)) for p in sweep), expected=True)]
    for cache in CACHES:
        speedups = [rate / (alone if cache == "single" else rates[cache][0]) for rate in rates[cache]]
        for p, speedup in list(zip(sweep, speedups, strict=True))[1:]:
            limit, gate = (SINGLE_MAX, AT_MOST) if cache == "single" else (SPREAD_MIN * p, AT_LEAST)
            checks.append(Check(f"{cache}, P={p}", limit, speedup, gate, "speed-up"))
        points = tuple((float(p), speedup) for p, speedup in zip(sweep, speedups, strict=True))
        series.append(Series(cache, points))
    dearer = touch["replicated"] / touch["single"]
    checks.append(Check("first touch, replicated", "1.5..3", dearer, between(*FIRST_TOUCH), "x single"))
    most = sweep[-1]
    watched = SharedFile(most, "single", watchers=1)
    adapter = watched.adapt()
    checks.append(Check(f"switches under contention, P={most}", 1, adapter.decided, SAME))
    outcomes = ", ".join(decision.outcome for decision in adapter.decisions)
    checks.append(Check("what became of it", "completed", outcomes, SAME))
    speedup = watched.rate(stretch) / rates["replicated"][0]
    checks.append(Check(f"after the switch, P={most}", SPREAD_MIN * most, speedup, AT_LEAST, "speed-up"))
    plot = Plot(
        title="E8: look-ups in one file by P threads",
        x="processors",
        y="speed-up",
        series=tuple(series),
        log_x=True,
        log_y=True,
    )
    return Findings(tuple(checks), (plot,))


EXPERIMENTS: Final = (
    Experiment("E8", "page look-ups and faults in one shared file: three file caches", file_caches, 40),
)
