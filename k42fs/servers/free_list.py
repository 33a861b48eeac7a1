"""Free lists: objects that nobody uses, per processor, oldest first, and their end.

A ServerFile joins the list of the processor that closed it last; a DirObject that of the processor that
made it. An object in use again is not taken off: whoever comes to free it asks it (`try_destroy`), and it
refuses. So reopening a file touches no list of another processor.

A list is bounded twice: `ENTRIES_MAX` entries, looked after by whoever closes one too many, and
`AGE_MAX_NS`, by a timer that calls `sweep` for each processor. What is freed is really freed: object, ref,
modelled memory.

Shape: per processor a dictionary in insertion order, ref -> (stamp, inode). Only threads of that processor
touch it, between two awaits, so it has no lock. An object may die while it is in the list of another
processor, and its ref be reissued: the inode, which says which object is its own now, tells the two apart.
Locks: none held by the caller of `trim` and `sweep`: freeing takes the locks of the object and of its
parents.

K42: lib/libc/fslib/FreeList.H, FileSystem.C (tryDestroyFreeFiles).
Differs: K42 had one locked list per file system ("will be a bottleneck, make it per-processor") and its
daemon compiled out.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from k42fs.errors import DeletedObjectError
from k42fs.ids import VP, Ref
from k42fs.machine.layout import Kind, Layout
from k42fs.machine.thread import DONE, Thread

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from k42fs.machine.driver import Machine
    from k42fs.servers.fs_file import FSFile

ENTRIES_MAX: Final = 512
AGE_MAX_NS: Final = 120 * 10**9
"""How long an object may be idle before a sweep frees it."""

TRIM_BATCH: Final = 32
"""How many entries over the bound are looked at once: freeing in a row is cheaper than one by one."""

FREE_LIST: Final = Layout("FreeList", Kind.LOCAL_STRICT, head=8, tail=8, count=8)
ENQUEUE: Final = FREE_LIST.script("enqueue", "r:tail w:tail w:count", work=30)
DEQUEUE: Final = FREE_LIST.script("dequeue", "r:head w:head w:count", work=30)


class Verdict(Enum):
    """What became of an object that was asked to go."""

    FREED = auto()  # it is a cold token again
    BUSY = auto()  # in use, or going already: whoever ends that enters it again if need be
    KEEP = auto()  # not now: ask again


class FreeLists:
    """The free lists of one file system, one per processor."""

    def __init__(self, machine: Machine, entries_max: int = ENTRIES_MAX) -> None:
        processors = len(machine.processors)
        self.entries_max = entries_max
        self.freed = 0
        self._lists: list[dict[Ref, tuple[int, FSFile]]] = [{} for _ in range(processors)]
        self._trim_at = [entries_max] * processors
        self._addrs = [
            machine.memory.alloc(vp, FREE_LIST, FREE_LIST.kind, owner=self) for vp in range(processors)
        ]

    def label(self) -> str:
        """What statistics and traces call it."""
        return "free list"

    def __len__(self) -> int:
        return sum(map(len, self._lists))

    async def add(self, th: Thread, ref: Ref, file: FSFile) -> None:
        """Enter *ref*, the idle object of *file*, at the young end.

        The caller may hold locks; `trim` is called when it holds none.
        """
        await th.touch(ENQUEUE, self._addrs[th.vp])
        self._enter(th, ref, file)

    def discard(self, th: Thread, ref: Ref) -> Awaitable[None]:
        """Take a dead object off, if it is in this processor's list.

        Elsewhere it is found dead in its turn.
        """
        self._lists[th.vp].pop(ref, None)
        return DONE

    def is_long(self, vp: VP) -> bool:
        """Whether a processor's list should be trimmed."""
        return len(self._lists[vp]) > self._trim_at[vp]

    async def trim(self, th: Thread) -> int:
        """Ask the oldest of *th*'s list until it is a batch below the bound; how many were freed."""
        mine = self._lists[th.vp]
        surplus = len(mine) - (self.entries_max - TRIM_BATCH)
        freed = await self._ask(th, mine, surplus, None)
        # Where everything is in use the next look is a batch away: an entry is never asked for each one
        # added.
        self._trim_at[th.vp] = max(self.entries_max, len(mine) + TRIM_BATCH)
        return freed

    async def sweep(self, th: Thread, age_ns: int) -> int:
        """Free what has been idle in *th*'s list for *age_ns* or longer; how many objects were freed."""
        mine = self._lists[th.vp]
        return await self._ask(th, mine, len(mine), th.now_ns() - age_ns)

    def _enter(self, th: Thread, ref: Ref, file: FSFile) -> None:
        mine = self._lists[th.vp]
        mine.pop(ref, None)
        mine[ref] = th.now_ns(), file

    def _dequeue(self, th: Thread) -> Awaitable[None]:
        """Charge taking the oldest entry off."""
        return th.touch(DEQUEUE, self._addrs[th.vp])

    async def _ask(
        self, th: Thread, mine: dict[Ref, tuple[int, FSFile]], count: int, limit: int | None
    ) -> int:
        """Ask the *count* oldest objects to go, as far as they are no younger than *limit*; how many went."""
        freed = 0
        if th.proc.on.fs:
            th.proc.emit.fs_try_destroy_free_files_started(self._addrs[th.vp])
        for _ in range(count):
            await self._dequeue(th)
            if not mine:
                break
            ref, (stamp, file) = next(iter(mine.items()))
            if limit is not None and stamp > limit:
                break
            del mine[ref]
            if file.obj_ref != ref:
                continue  # dead: the ref may be another object's by now
            try:
                verdict = await th.deref(ref).try_destroy(th)
            except DeletedObjectError:
                continue
            if verdict is Verdict.KEEP:
                mine.setdefault(ref, (th.now_ns(), file))
            freed += verdict is Verdict.FREED
        self.freed += freed
        if th.proc.on.fs:
            th.proc.emit.fs_try_destroy_free_files_finished(self._addrs[th.vp], freed)
        return freed
