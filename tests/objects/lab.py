"""A machine with an object manager on it, and objects that tell what happens to them."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from k42fs.ids import VP, Ref
from k42fs.machine.config import MachineConfig
from k42fs.machine.driver import Machine, Model
from k42fs.machine.thread import Thread
from k42fs.objects import COSMgr, MultiRepRoot, Rep, SingleRepRoot
from k42fs.objects.translation import PAGE_SHIFT, SLOT_MASK

T = TypeVar("T")


class Lab:
    """A live machine: each step runs to its end when the test says so, which forces any schedule of steps."""

    def __init__(self, processors: int = 4, model: Model = "full", **options: Any) -> None:  # noqa: ANN401
        self.machine = Machine(MachineConfig(processors=processors), model=model, live=True)
        self.cos = COSMgr(self.machine, **options)
        self.events: list[str] = []
        self._cleaners: dict[int, Thread] = {}

    def run(self, coro: Coroutine[Any, Any, T]) -> T:
        """Run a step, which fails if it has to wait."""
        return self.machine.drive(coro)

    def enter(self, vp: int) -> Thread:
        """Return a fresh active thread on processor *vp*."""
        th = self.machine.enter(VP(vp))
        self.cos.activate(th)
        return th

    def leave(self, *threads: Thread) -> None:
        for th in threads:
            self.cos.deactivate(th)
            self.machine.leave(th)

    def call(self, th: Thread, ref: Ref, method: str, *args: object) -> Any:  # noqa: ANN401
        """Call through the ref as clients do."""
        return self.run(getattr(th.deref(ref), method)(th, *args))

    def call_on(self, vp: int, ref: Ref, method: str, *args: object) -> Any:  # noqa: ANN401
        """Make one call from processor *vp* in a thread of its own."""
        th = self.enter(vp)
        try:
            return self.call(th, ref, method, *args)
        finally:
            self.leave(th)

    def destroy_on(self, vp: int, ref: Ref) -> bool:
        th = self.enter(vp)
        started = self.run(self.cos.destroy(th, ref))
        self.leave(th)
        return started

    def clean(self, *vps: int) -> None:
        """One turn of the clean-up daemon of each of *vps*."""
        for vp in vps:
            th = self._cleaners.get(vp)
            if th is None:
                th = self._cleaners[vp] = self.machine.enter(VP(vp))
            self.run(self.cos.check_cleanup(th))

    def sweep(self, times: int = 1) -> None:
        """Turns of all daemons in the order of the ring."""
        for _ in range(times):
            self.clean(*self.cos.ring)

    def root_of(self, ref: Ref) -> Any:  # noqa: ANN401
        """Return the root behind *ref*, also while it is being destroyed, or None."""
        page = self.cos.table.pages.get(ref >> PAGE_SHIFT)
        return None if page is None else page.handlers[ref & SLOT_MASK]

    def word_of(self, ref: Ref) -> int:
        """Return the state word of *ref*; 0 for a free one."""
        page = self.cos.table.pages.get(ref >> PAGE_SHIFT)
        return 0 if page is None else page.words[ref & SLOT_MASK]

    def drop_ltt_page(self, vp: int, page: int) -> int:
        """Forget one page of a processor's local table, a cache as any; say how many entries it held."""
        ltt = self.machine.processors[vp].ltt
        held = [ref for ref in ltt if ref >> PAGE_SHIFT == page]
        for ref in held:
            del ltt[ref]
        return len(held)

    def join(self, *vps: int) -> None:
        for vp in vps:
            self.cos.join(VP(vp))


class Probe(Rep):
    """A rep that logs its clean-up and answers with its name and where it was called."""

    def __init__(self, lab: Lab, name: str, vp: int) -> None:
        self.lab = lab
        self.name = name
        self.vp = vp
        self.calls = 0

    async def hello(self, th: Thread) -> str:
        assert self.name, "a rep was called after its clean-up"
        self.calls += 1
        return f"{self.name} on {th.vp}"

    async def who(self, th: Thread) -> Probe:
        return self

    async def cleanup(self, th: Thread) -> None:
        self.lab.events.append(f"{self.name} cleaned on {th.vp}")
        self.name = ""


class ProbeRoot(MultiRepRoot):
    """Replicated probes. Counts its misses and logs its own end."""

    def __init__(self, lab: Lab, name: str, cluster: int = 1, vp: int = 0, ref: Ref | None = None) -> None:
        super().__init__(lab.cos, cluster, VP(vp), ref=ref)
        self.lab = lab
        self.name = name
        self.misses = 0
        self.made: list[int] = []

    def create_rep(self, vp: VP) -> Probe:
        self.made.append(vp)
        return Probe(self.lab, f"{self.name}{vp}", vp)

    async def handle_miss(self, th: Thread) -> Any:  # noqa: ANN401
        self.misses += 1
        return await super().handle_miss(th)

    def release_memory(self, th: Thread) -> None:
        self.lab.events.append(f"{self.name} freed on {th.vp}")
        super().release_memory(th)


def single(lab: Lab, name: str = "one", vp: int = 0) -> Ref:
    """Make a probe with one rep."""
    return SingleRepRoot(lab.cos, Probe(lab, name, vp), VP(vp)).ref


def replicated(lab: Lab, name: str = "many", cluster: int = 1, vp: int = 0) -> Ref:
    """Make a probe with a rep per cluster."""
    return ProbeRoot(lab, name, cluster, vp).ref
