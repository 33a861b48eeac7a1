"""A machine on which everything happens, recorded or not, and what to compare afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from filecmp import cmpfiles
from pathlib import Path
from typing import Any

from k42fs.ids import VP, Ref
from k42fs.machine import Machine, Thread
from k42fs.machine.messages import Level
from k42fs.machine.ppc import PpcServer
from k42fs.machine.tracing.mask import all_classes
from tests.machine.lab import ADD, BOX, a_lock, machine
from tests.machine.tracing.lab import read

PROCESSORS = 4


class Storm:
    """Threads that do everything there is on one machine: locks, sleeps, blocks, calls, messages."""

    def __init__(self, **how: Any) -> None:  # noqa: ANN401
        self.machine = m = machine(PROCESSORS, **how)
        self.lock = a_lock(m)
        self.box = m.memory.alloc(0, BOX)
        self.server = PpcServer(m.ppc, "echo")
        self.waiting: list[Thread] = []
        for proc in m.processors:
            proc.ltt = {7: proc.vp}

    async def serve(self, th: Thread) -> None:
        th.work(150)
        await th.sleep(100)

    async def work(self, th: Thread, rounds: int) -> None:
        m = self.machine
        for number in range(rounds):
            await self.lock.acquire(th)
            await th.touch(ADD, self.box)
            self.lock.release(th)
            th.deref(Ref(7))
            await th.load(self.box, 200)
            if number % 5 == 0:
                await self.server.call(th, self.serve, payload=100)
            elif number % 5 == 1:
                await m.messages.call(th, (th.vp + 1) % PROCESSORS, lambda there: there.work(30))
            elif number % 5 == 2:
                await self.server.remote(th, (th.vp + 2) % PROCESSORS, self.serve)
            elif number % 5 == 3:
                await m.messages.call(th, (th.vp + 1) % PROCESSORS, self.serve, Level.ENABLED)
            await self.pair(th)
        for other in self.waiting:
            th.unblock(other)
        self.waiting.clear()

    async def pair(self, th: Thread) -> None:
        """Wait until somebody else comes; from time to time there is somebody already."""
        if self.waiting:
            th.unblock(self.waiting.pop())
        elif sum(each.state != 6 for each in self.machine.unfinished()) > len(self.waiting) + PROCESSORS:
            self.waiting.append(th)
            while th in self.waiting:
                await th.block()

    def run(self, rounds: int = 12) -> Storm:
        for number in range(2 * PROCESSORS):
            self.machine.spawn(VP(number % PROCESSORS), self.work, rounds, name=f"worker {number}")
        self.machine.run()
        self.machine.check()
        return self


def stormy(to: Path | None = None, mask: int | None = None, **how: Any) -> Storm:  # noqa: ANN401
    """Run a storm, recorded to a directory if one is given."""
    storm = Storm(**how)
    if to is not None:
        storm.machine.tracer.start(to, all_classes() if mask is None else mask)
    storm.run()
    storm.machine.close()
    return storm


def counted(m: Machine) -> dict[str, Any]:
    """Return all there is to compare of two runs."""
    return {
        "hash": m.event_hash(),
        "statistics": m.statistics(),
        "clocks": [(proc.clock, proc.idle, proc.spin, proc.work) for proc in m.processors],
        "counters": [m.core.counters(proc.vp) for proc in m.processors],
    }


def events(directory: Path, name: str) -> Iterator[tuple[int, int, tuple[Any, ...]]]:
    """Yield (processor, stamp, values) of each event of that name."""
    for cpu, seen in read(directory).items():
        yield from ((cpu, stamp, values) for _, stamp, what, values in seen if what == name)


def same_files(one: Path, other: Path) -> bool:
    names = sorted(path.name for path in one.iterdir())
    _, differ, missing = cmpfiles(one, other, names, shallow=False)
    return names == sorted(path.name for path in other.iterdir()) and not differ and not missing
