"""One line of the table that bench/swap.py prints, and a modelled file server to take its figures from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from k42fs.ids import VP, Ref
from k42fs.machine.config import preset
from k42fs.machine.driver import Machine
from k42fs.machine.thread import Thread
from k42fs.objects.adaptation import Adapter
from k42fs.objects.cosmgr import COSMgr
from k42fs.objects.swap_record import SwapRecord
from k42fs.servers.adapt_rules import RULES, USES
from k42fs.servers.makers import MAKERS
from k42fs.servers.name_tree import NameTree
from k42fs.servers.object_policy import Kind, ObjectPolicy
from k42fs.servers.ramfs.budget import UNLIMITED
from k42fs.servers.ramfs.filesystem import RamFS

PRESET: Final = "dir-1024"
CLEANUP_CYCLES: Final = 1_000_000
STAGGER: Final = 20_000
"""Within how many cycles the processors start: in step, all would want the same lines at the same times."""

WINDOW: Final = 400_000
"""Cycles of a window of the adapter, and how many it looks at."""

WINDOWS: Final = 6

Operation = Callable[["Site", Thread, int], Awaitable[object]]
"""What a processor does over and over: (site, thread, how often it has done it)."""


@dataclass(frozen=True, slots=True)
class Row:
    """A figure and what it should be: *aim* in words, *low* and *high* its bounds; None where there is none."""

    name: str
    base: float
    other: float
    unit: str
    figure: float
    aim: str = ""
    low: float | None = None
    high: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the figure is within its bounds."""
        return (self.low is None or self.figure >= self.low) and (
            self.high is None or self.figure <= self.high
        )


class Site:
    """A ramfs behind a NameTree on a deterministic machine, its objects of chosen implementations.

    There is one processor more than *processors*: who watches the others, or swaps, works there.
    """

    def __init__(self, processors: int, chosen: Mapping[Kind, str]) -> None:
        self.processors = processors
        self.machine = Machine(preset(PRESET, processors=processors + 1))
        self.cos = COSMgr(self.machine)
        self.policy = ObjectPolicy(MAKERS, chosen)
        self.tree = NameTree(self.cos, RamFS(self.machine, UNLIMITED), policy=self.policy)
        self.root = self.tree.root_file()
        for vp in range(processors):
            self.machine.spawn(VP(vp), self.cos.daemon, CLEANUP_CYCLES, daemon=True)

    async def call(self, th: Thread, method: str, *args: object) -> Any:  # noqa: ANN401
        """Do one operation as a front end does: through the ref, active for as long as it takes."""
        self.cos.activate(th)
        try:
            return await getattr(th.deref(self.tree.ref), method)(th, *args)
        finally:
            self.cos.deactivate(th)

    def once(self, body: Callable[[Thread], Awaitable[object]]) -> None:
        """Run one thread to its end, on processor 0."""

        async def run(th: Thread) -> None:
            await body(th)

        self.machine.spawn(VP(0), run)
        self.machine.run()

    def meet(self) -> None:
        """Let all processors' clocks show the same."""
        now = self.machine.now
        for processor in self.machine.processors:
            processor.idle_until(now)

    def swap(self, ref: Ref, implementation: str) -> SwapRecord:
        """Swap an idle object, from the processor that does nothing else; what it took."""
        records = []

        async def run(th: Thread) -> None:
            self.cos.activate(th)
            swap = await self.cos.swap_to(th, ref, implementation)
            await swap.wait(th)
            self.cos.deactivate(th)
            records.append(swap.record)

        self.meet()
        self.machine.spawn(VP(self.processors), run)
        self.machine.run()
        return records[0]

    def adapt(self, operation: Operation, *rules: str) -> Adapter:
        """Let all processors do *operation* while an adapter with the shipped rules watches; that adapter.

        *rules*: those that must have had something done.
        """
        adapter = Adapter(self.cos, RULES, makers=self.policy, uses=USES)

        async def watch(th: Thread) -> None:
            for _ in range(WINDOWS):
                await th.sleep(WINDOW)
                await adapter.observe(th)

        self.machine.spawn(VP(self.processors), watch)
        self.rate(operation, WINDOWS * WINDOW // 3)
        done = [each.rule for each in adapter.decisions if each.outcome in ("completed", "chosen")]
        assert set(rules) <= set(done), f"wanted {rules}, decided {done}"
        assert len(set(done)) == len(done), f"to and fro: {done}"
        return adapter

    def rate(self, operation: Operation, stretch: int) -> float:
        """Return operations per million cycles of all processors together, over a *stretch* of virtual time after two
        to warm up.
        """
        rates = [0.0] * self.processors
        self.meet()

        async def loop(th: Thread) -> None:
            proc = th.proc
            begin = proc.clock
            th.work(Random(th.vp).randrange(STAGGER))
            turns = 0
            while proc.clock < begin + 2 * stretch:
                await operation(self, th, turns)
                turns += 1
            start, done = proc.clock, 0
            while proc.clock < start + stretch:
                await operation(self, th, turns + done)
                done += 1
            rates[th.vp] = done * 1e6 / (proc.clock - start)

        for vp in range(self.processors):
            self.machine.spawn(VP(vp), loop)
        self.machine.run()
        self.machine.check()
        return sum(rates)
