"""Two fields that two processors write all the time, in one cache line and apart: record both for `k42fs trace c2c`.

    python docs/examples/false_sharing.py OUT       records OUT/shared and OUT/padded
    k42fs trace c2c OUT/shared                      its first row names the pair
    k42fs trace diff OUT/shared OUT/padded          what padding changed

A queue has its head, moved by who takes, and its tail, moved by who puts. Nobody needs both; but side by side in one
line each write takes the line away from the other processor: false sharing. The runs are deterministic, and the same
but for the layout: how long a processor works between two writes comes from the seed.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Final

from k42fs.machine import Kind, Layout, Machine, Thread, preset
from k42fs.machine.tracing.mask import all_classes

ROUNDS: Final = 400
SEED: Final = 42

SHARED: Final = Layout("Queue", Kind.GLOBAL_PADDED, lock=8, head=8, tail=8, length=8)
PADDED: Final = Layout("Queue", Kind.GLOBAL_PADDED, head=128, tail=128, lock=8, length=8)


class Queue:
    """A queue as far as its memory goes. *layout* says where its fields lie."""

    def __init__(self, machine: Machine, layout: Layout) -> None:
        self.addr = machine.memory.alloc(0, layout, layout.kind, self)
        self.head, self.tail = (self.addr + layout.offset(name) for name in ("head", "tail"))

    def label(self) -> str:
        """What reports call it."""
        return "Queue of requests"

    async def take(self, th: Thread) -> None:
        """Move the head on."""
        await th.rmw(self.head)

    async def put(self, th: Thread) -> None:
        """Move the tail on."""
        await th.rmw(self.tail)


async def consume(th: Thread, queue: Queue) -> None:
    """Take from *queue*, and work a while on each."""
    dice = random.Random(SEED)
    for _ in range(ROUNDS):
        await queue.take(th)
        th.work(dice.randrange(50, 150))


async def produce(th: Thread, queue: Queue) -> None:
    """Put into *queue*, and work a while on each."""
    dice = random.Random(SEED + 1)
    for _ in range(ROUNDS):
        await queue.put(th)
        th.work(dice.randrange(50, 150))


def record(directory: Path, layout: Layout) -> int:
    """Run a producer and a consumer on two processors, recorded to *directory*; return how many cycles that took."""
    machine = Machine(preset("dir-1024", processors=2, seed=SEED))
    queue = Queue(machine, layout)
    machine.tracer.start(directory, all_classes())
    machine.spawn(0, consume, queue)
    machine.spawn(1, produce, queue)
    machine.run()
    cycles = machine.now
    machine.close()
    return cycles


if __name__ == "__main__":
    out = Path(sys.argv[1])
    for name, layout in (("shared", SHARED), ("padded", PADDED)):
        print(f"{name}: {record(out / name, layout):,} cycles")  # noqa: T201
