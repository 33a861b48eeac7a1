"""The supplies of one ramfs, with what taking from them costs: space and inode numbers, per processor.

A processor's record is its own (`RamLocal`); the shared one (`RamShared`) is touched when its credit or its
block of numbers runs out. The lock (rank 80) orders refills; it is held for nothing else.

Either supply can also be kept once for all (`supplies.py`). Then each change of it is one under a lock: `budget`
(80), or `inodes` (79), which orders the numbers and the list of all inodes that a kernel would keep with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k42fs.ids import VP, Addr
from k42fs.machine.layout import Kind, Layout
from k42fs.machine.lock_choice import make_lock
from k42fs.servers.ramfs.budget import Budget, OneBudget
from k42fs.servers.ramfs.numbers import InodeNumbers, OneSupply
from k42fs.servers.ramfs.sparse import PAGE_SHIFT, SparseData
from k42fs.servers.supplies import PER_PROCESSOR, Supplies

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine
    from k42fs.machine.thread import Thread

LOCAL: Final = Layout("RamLocal", Kind.LOCAL_STRICT, numbers=32, credit=16)
CREDIT: Final = LOCAL.script("credit", "w:credit", work=15)

SHARED: Final = Layout("RamShared", Kind.GLOBAL_PADDED, lock=16, rest=8, numbers=8)
INODES: Final = Layout("RamInodes", Kind.GLOBAL_PADDED, lock=16, numbers=8, list=16)
INODES_CHANGE: Final = INODES.script("change", "r:numbers w:numbers w:list w2:0", work=40)
REFILL: Final = SHARED.script("refill", "w:rest", work=40)
NUMBER_BLOCK: Final = SHARED.script("number_block", "x:numbers", work=20)


class Space:
    """What a ramfs of at most *size* bytes may still use. `local` has each processor's record's address."""

    __slots__ = (
        "_inodes",
        "_inodes_lock",
        "_lock",
        "budget",
        "has_one_budget",
        "has_one_list",
        "local",
        "numbers",
        "shared",
    )

    def __init__(self, machine: Machine, size: int, supplies: Supplies = PER_PROCESSOR) -> None:
        memory, processors = machine.memory, len(machine.processors)
        self.has_one_budget = supplies.budget == "single"
        self.has_one_list = supplies.inode_numbers == "single"
        self.budget = (OneBudget if self.has_one_budget else Budget)(size, processors)
        self.numbers = (OneSupply if self.has_one_list else InodeNumbers)(processors)
        self.shared = memory.alloc(VP(0), SHARED, owner=self)
        self.local = [memory.alloc(VP(vp), LOCAL, owner=self) for vp in range(processors)]
        lock_addr = Addr(self.shared + SHARED.offset("lock"))
        self._lock = make_lock(machine.lock_kind, machine, lock_addr, rank=80, name="budget", owner=self)
        self._inodes = memory.alloc(VP(0), INODES, owner=self)
        self._inodes_lock = make_lock(
            machine.lock_kind, machine, self._inodes, rank=79, name="inodes", owner=self
        )

    def label(self) -> str:
        """What statistics and traces call it."""
        return "ramfs space"

    async def number_taken(self, th: Thread, file: Addr) -> None:
        """Charge what taking a number from, or giving it back to, other than one's own costs; *file* is the
        record of its inode, and the budget changes with it.
        """
        if self.has_one_list:
            await self._inodes_lock.acquire(th)
            try:
                await th.touch(INODES_CHANGE, self._inodes, file)
            finally:
                self._inodes_lock.release(th)
        if self.has_one_budget:
            await self.budget_changed(th)

    async def budget_changed(self, th: Thread) -> None:
        """Charge a change of the budget that all share."""
        await self._lock.acquire(th)
        try:
            await th.touch(REFILL, self.shared)
        finally:
            self._lock.release(th)

    @property
    def is_shared(self) -> bool:
        """Whether `number_taken` has anything to charge."""
        return self.has_one_list or self.has_one_budget

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
