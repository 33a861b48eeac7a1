"""The free list of a file system as K42 had it: one for all processors, under one lock.

Locks: its own (rank 75), held for one entry at a time and never while an object is asked to go.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final

from k42fs.ids import VP, Addr, Ref
from k42fs.machine.layout import Kind, Layout, Script
from k42fs.machine.lock_choice import make_lock
from k42fs.servers.free_list import ENTRIES_MAX, FreeLists

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine
    from k42fs.machine.thread import Thread
    from k42fs.servers.fs_file import FSFile

ONE_LIST: Final = Layout("OneFreeList", Kind.GLOBAL_PADDED, lock=16, head=8, tail=8, count=8)
ENQUEUE: Final = ONE_LIST.script("enqueue", "r:tail w:tail w:count", work=30)
DEQUEUE: Final = ONE_LIST.script("dequeue", "r:head w:head w:count", work=30)
DISCARD: Final = ONE_LIST.script("discard", "w:head w:count", work=30)


class OneFreeList(FreeLists):
    """As `FreeLists`, but all processors have one list, as long as theirs would be together."""

    def __init__(self, machine: Machine, entries_max: int = ENTRIES_MAX) -> None:
        processors = len(machine.processors)
        super().__init__(machine, entries_max * processors)
        self._the_list: dict[Ref, tuple[int, FSFile]] = {}
        self._lists = [self._the_list] * processors
        for vp, addr in enumerate(self._addrs):
            machine.memory.free(vp, addr)
        self.addr = machine.memory.alloc(VP(0), ONE_LIST, owner=self)
        self._addrs = [self.addr] * processors
        lock_addr = Addr(self.addr + ONE_LIST.offset("lock"))
        self._lock = make_lock(machine.lock_kind, machine, lock_addr, rank=75, name="free list", owner=self)

    def __len__(self) -> int:
        return len(self._the_list)

    async def add(self, th: Thread, ref: Ref, file: FSFile) -> None:
        """Enter *ref*, the idle object of *file*, at the young end."""
        await self._change(th, ENQUEUE)
        self._enter(th, ref, file)

    async def discard(self, th: Thread, ref: Ref) -> None:
        """Take a dead object off."""
        await self._change(th, DISCARD)
        self._the_list.pop(ref, None)

    def _dequeue(self, th: Thread) -> Awaitable[None]:
        return self._change(th, DEQUEUE)

    async def _change(self, th: Thread, script: Script) -> None:
        """Charge one change of the list. The list itself changes in the step that follows."""
        await self._lock.acquire(th)
        try:
            await th.touch(script, self.addr)
        finally:
            self._lock.release(th)
