"""E9: independent requests are independent down to the cache lines.

As many processes as processors, each with files of its own in a directory of its own, all in one ramfs
behind one NameTree. K42's (and Tornado's) thesis: what requests do not share, their service does not share
either, so throughput is P times that of one processor.

Variants: reads and writes of an open file; look-ups; opening, reading and closing a file anew; making,
writing and deleting one. Rates are taken over a stretch of virtual time after a warm-up, in which tables and
caches fill. The last one is also timed cold: begun by all in the same cycle and counted from the first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final

from k42fs.ids import VP
from k42fs.machine.config import preset
from k42fs.machine.driver import Machine
from k42fs.machine.thread import Thread
from k42fs.machine.validation.checks import AT_LEAST, Check, Findings, Plot, Series
from k42fs.machine.validation.experiment import Effort, Experiment
from k42fs.objects.cosmgr import COSMgr
from k42fs.servers.fs_file import FSFile
from k42fs.servers.name_tree import NameTree
from k42fs.servers.open_file import OpenFile
from k42fs.servers.ramfs.budget import UNLIMITED
from k42fs.servers.ramfs.filesystem import RamFS

FILE_BYTES: Final = 4096
NAME: Final = b"file"
CLEANUP_CYCLES: Final = 1_000_000
STAGGER: Final = 20_000
"""Within how many cycles the processes start: in step, all of a node would want their home at the same times."""

BURST: Final = 40_000
"""Cycles of the cold burst."""

SHARE_MIN: Final = 0.95

Operation = Callable[[Thread], Awaitable[None]]


class Process:
    """One process's directory, file and open file, on one processor."""

    def __init__(self, site: Site, vp: VP) -> None:
        self.site, self.vp = site, vp
        self.directory: FSFile
        self.file: FSFile
        self.open: OpenFile
        self.rate = 0.0  # operations per million cycles

    async def prepare(self, th: Thread) -> None:
        """Make the directory and in it the file with its data, and leave the file open."""
        call = self.site.call
        self.directory = await call(th, "mkdir", self.site.root, b"process%d" % self.vp, 0o755)
        self.file, self.open = await call(th, "create", self.directory, NAME, 0o644, 2)
        await call(th, "write", self.open, 0, bytes(FILE_BYTES))

    async def read_write(self, th: Thread) -> None:
        await self.site.call(th, "read", self.open, 0, FILE_BYTES)
        await self.site.call(th, "write", self.open, 0, bytes(256))

    async def look_up(self, th: Thread) -> None:
        await self.site.call(th, "lookup", self.directory, NAME)

    async def open_close(self, th: Thread) -> None:
        opened = await self.site.call(th, "open", self.file, 0)
        await self.site.call(th, "read", opened, 0, FILE_BYTES)
        await self.site.call(th, "release", opened)

    async def make_remove(self, th: Thread) -> None:
        call = self.site.call
        _, opened = await call(th, "create", self.directory, b"new", 0o644, 2)
        await call(th, "write", opened, 0, bytes(256))
        await call(th, "release", opened)
        await call(th, "unlink", self.directory, b"new")

    async def loop(self, th: Thread, operation: Operation, stretch: int) -> None:
        """Do *operation* over and over: for two stretches of time to warm up, for another that counts."""
        start = th.proc.clock
        th.work(Random(th.vp).randrange(STAGGER))
        while th.proc.clock < start + 2 * stretch:
            await operation(th)
        await self.burst(th, operation, stretch)

    async def burst(self, th: Thread, operation: Operation, stretch: int) -> None:
        """Do *operation* over and over for one stretch of time, all of which counts."""
        proc = th.proc
        start, done = proc.clock, 0
        while proc.clock < start + stretch:
            await operation(th)
            done += 1
        self.rate = done * 1e6 / (proc.clock - start)


class Site:
    """A ramfs behind a NameTree on a deterministic machine, with one process per processor."""

    def __init__(self, processors: int) -> None:
        self.machine = Machine(preset("dir-1024", processors=processors))
        self.cos = COSMgr(self.machine)
        self.tree = NameTree(self.cos, RamFS(self.machine, UNLIMITED))
        self.root = self.tree.root_file()
        self.processes = [Process(self, proc.vp) for proc in self.machine.processors]
        for process in self.processes:
            self.machine.spawn(process.vp, self.cos.daemon, CLEANUP_CYCLES, daemon=True)
            self.machine.spawn(process.vp, process.prepare)
        self.machine.run()

    async def call(self, th: Thread, method: str, *args: object) -> Any:  # noqa: ANN401
        """Do one operation as a front end does: through the ref, active for as long as it takes."""
        return await self.cos.call(th, self.tree.ref, method, *args)

    def rate(self, operation: str, stretch: int, is_cold: bool = False) -> float:
        """Return operations per million cycles, of all processes together. *is_cold*: all begin in the same
        cycle and count from their first operation."""
        now = self.machine.now
        for proc in self.machine.processors:
            proc.idle_until(now)
        for process in self.processes:
            body = process.burst if is_cold else process.loop
            self.machine.spawn(process.vp, body, getattr(process, operation), stretch)
        self.machine.run()
        self.machine.check()
        return sum(process.rate for process in self.processes)


VARIANTS: Final = {
    "read_write": "read and write",
    "look_up": "look up",
    "open_close": "open, read, close",
    "make_remove": "create, write, unlink",
}


def private_files(effort: Effort) -> Findings:
    """Run E9."""
    sweep = effort.pick(quick=(1, 4, 16), normal=(1, 2, 4, 8, 16, 32, 64))
    stretch = effort.pick(quick=40_000, normal=140_000)
    sites = [Site(p) for p in sweep]
    checks, series = [], [Series("P times one", tuple((float(p), float(p)) for p in sweep), expected=True)]
    # First of all, as later nothing is cold.
    cold = [site.rate("make_remove", BURST, is_cold=True) for site in sites]
    found = {f"{VARIANTS['make_remove']}, cold": cold}
    found |= {title: [site.rate(name, stretch) for site in sites] for name, title in VARIANTS.items()}
    for title, rates in found.items():
        speedups = [rate / rates[0] for rate in rates]
        for p, speedup in list(zip(sweep, speedups, strict=True))[1:]:
            checks.append(Check(f"{title}, P={p}", SHARE_MIN * p, speedup, AT_LEAST, "speed-up"))
        points = tuple((float(p), speedup) for p, speedup in zip(sweep, speedups, strict=True))
        series.append(Series(title, points))
    title = "E9: P processes on private files"
    plot = Plot(title=title, x="processors", y="speed-up", series=tuple(series), log_x=True, log_y=True)
    return Findings(tuple(checks), (plot,))


EXPERIMENTS: Final = (Experiment("E9", "private files: independent requests", private_files, 60),)
