"""The supplies of one ramfs, with what taking from them costs: space and inode numbers, per processor.

A processor's record is its own (`RamLocal`); the shared one (`RamShared`) is touched when its credit or its
block of numbers runs out. The lock (rank 80) orders refills; it is held for nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k42fs.ids import VP, Addr
from k42fs.machine.layout import Kind, Layout
from k42fs.machine.lock_choice import make_lock
from k42fs.servers.ramfs.budget import Budget
from k42fs.servers.ramfs.numbers import InodeNumbers
from k42fs.servers.ramfs.sparse import PAGE_SHIFT, SparseData

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine
    from k42fs.machine.thread import Thread

LOCAL: Final = Layout("RamLocal", Kind.LOCAL_STRICT, numbers=32, credit=16)
CREDIT: Final = LOCAL.script("credit", "w:credit", work=15)

SHARED: Final = Layout("RamShared", Kind.GLOBAL_PADDED, lock=16, rest=8, numbers=8)
REFILL: Final = SHARED.script("refill", "w:rest", work=40)
NUMBER_BLOCK: Final = SHARED.script("number_block", "x:numbers", work=20)


class Space:
    """What a ramfs of at most *size* bytes may still use. `local` has each processor's record's address."""

    __slots__ = ("_lock", "budget", "local", "numbers", "shared")

    def __init__(self, machine: Machine, size: int) -> None:
        memory, processors = machine.memory, len(machine.processors)
        self.budget = Budget(size, processors)
        self.numbers = InodeNumbers(processors)
        self.shared = memory.alloc(VP(0), SHARED, owner=self)
        self.local = [memory.alloc(VP(vp), LOCAL, owner=self) for vp in range(processors)]
        lock_addr = Addr(self.shared + SHARED.offset("lock"))
        self._lock = make_lock(machine.lock_kind, machine, lock_addr, rank=80, name="budget", owner=self)

    def label(self) -> str:
        """What statistics and traces call it."""
        return "ramfs space"

    async def take_slowly(self, th: Thread, size: int) -> bool:
        """Take *size* bytes with the help of the shared rest, then of everyone's credit; False: too little."""
        await self._lock.acquire(th)
        try:
            await th.touch(REFILL, self.shared)
            if self.budget.must_call_in(th.vp, size):
                for addr in self.local:
                    await th.rmw(addr + LOCAL.offset("credit"))
            return self.budget.refill(th.vp, size) and self.budget.take(th.vp, size)
        finally:
            self._lock.release(th)

    def take_what_is_left(self, vp: VP, store: SparseData, offset: int, size: int) -> int:
        """Take pages for as much of a write as has room, after `take_slowly` called everything in; how
        much.
        """
        fitting = store.fitting(offset, size, self.budget.credit(vp) >> PAGE_SHIFT)
        taken = self.budget.take(vp, store.new_pages(offset, fitting) << PAGE_SHIFT)
        assert taken, f"{fitting} bytes were said to fit"
        return fitting
