"""The multi-link manager: all names of one inode reach one ServerFile.

An inode with several names can be reached through several directories at once, whose locks do not exclude
each other. While such an inode has a ServerFile it has a holder here, and the ServerFile is made and unmade
under the holder's lock.

```text
link makes nlink 2 of a file in use    enter        under the ServerFile's lock
a cold file with nlink > 1 is used     find_or_make under its token lock
unlink makes nlink 1                   leave        under the ServerFile's lock
the ServerFile is to be destroyed      detach       under its lock; it has no client and no parent
```

Locks: list lock (rank 60), then holder lock (61); both below the ServerFile's and token locks (40).

K42: lib/libc/fslib/MultiLinkManager.H.
Differs: K42's emptiness test is inverted, and it calls the ServerFile with both locks held, against its own
order; here the ServerFile calls us.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from k42fs.ids import VP, Addr, Ino, Ref
from k42fs.machine.layout import Kind, Layout
from k42fs.machine.lock_choice import make_lock
from k42fs.servers.fs_file import NO_REF, FSFile

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine
    from k42fs.machine.thread import Thread

BUCKETS: Final = 64
LIST: Final = Layout("MultiLinkManager", Kind.GLOBAL_PADDED, lock=16, count=8, buckets=BUCKETS * 8)
LIST_FIND: Final = LIST.script("find", "r:count r2:0", work=40)
LIST_CHANGE: Final = LIST.script("change", "w:count w2:0", work=50)

HOLDER: Final = Layout("MultiLinkHolder", Kind.GLOBAL, lock=16, ino=8, ref=8, link=8)
HOLDER_NEW: Final = HOLDER.script("new", "w:lock w:ino w:ref w:link", work=30)
HOLDER_SET: Final = HOLDER.script("set", "r:ino w:ref", work=15)


class MultiLinkHolder:
    """One inode with several names and a ServerFile."""

    __slots__ = ("addr", "lock", "ref")

    def __init__(self, machine: Machine, vp: VP) -> None:
        self.addr = machine.memory.alloc(vp, HOLDER, HOLDER.kind, owner=self)
        self.ref: Ref = NO_REF
        lock_addr = Addr(self.addr + HOLDER.offset("lock"))
        self.lock = make_lock(machine.lock_kind, machine, lock_addr, rank=61, name="multi-link", owner=self)

    def label(self) -> str:
        """What statistics and traces call it."""
        return "multi-link holder"


class MultiLinkManager:
    """The holders of one file system, by inode number."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._memory = machine.memory
        self._holders: dict[Ino, MultiLinkHolder] = {}
        self.addr = self._memory.alloc(VP(0), LIST, LIST.kind, owner=self)
        lock_addr = Addr(self.addr + LIST.offset("lock"))
        self._lock = make_lock(machine.lock_kind, machine, lock_addr, rank=60, name="multi-links", owner=self)

    def label(self) -> str:
        """What statistics and traces call it."""
        return "multi-link manager"

    def __len__(self) -> int:
        return len(self._holders)

    def find(self, file: FSFile) -> Ref:
        """The ServerFile entered for *file*, 0 for none. For tests and statistics; nothing is charged."""
        holder = self._holders.get(file.ino)
        return holder.ref if holder else NO_REF

    async def find_or_make(self, th: Thread, file: FSFile, make: Callable[[], Ref]) -> Ref:
        """The ServerFile of *file*, by calling *make* (which sets `file.obj_ref`) if it has none."""
        holder = await self._locked_holder(th, file, make_one=True)
        assert holder is not None
        try:
            await th.touch(HOLDER_SET, holder.addr)
            holder.ref = file.obj_ref or make()
            return holder.ref
        finally:
            holder.lock.release(th)

    async def enter(self, th: Thread, file: FSFile) -> None:
        """*file*, which has a ServerFile, got its second name."""
        holder = await self._locked_holder(th, file, make_one=True)
        assert holder is not None
        await th.touch(HOLDER_SET, holder.addr)
        holder.ref = file.obj_ref
        holder.lock.release(th)

    async def leave(self, th: Thread, file: FSFile) -> None:
        """*file* is down to one name: the directory entry that remains leads to its ServerFile."""
        await self._remove(th, file, None)

    async def detach(self, th: Thread, file: FSFile, unmake: Callable[[], None]) -> None:
        """Drop the holder of *file* if there is one, calling *unmake* in the step that takes its ServerFile
        away.
        """
        await self._remove(th, file, unmake)

    def _bucket(self, ino: Ino) -> Addr:
        return Addr(self.addr + LIST.offset("buckets") + ino % BUCKETS * 8)

    async def _locked_holder(self, th: Thread, file: FSFile, *, make_one: bool) -> MultiLinkHolder | None:
        """The holder with its lock held; None if there is none and none is to be made."""
        await self._lock.acquire(th)
        try:
            await th.touch(LIST_FIND, self.addr, self._bucket(file.ino))
            holder = self._holders.get(file.ino)
            if holder is None:
                if not make_one:
                    return None
                holder = MultiLinkHolder(self._machine, th.vp)
                await th.touch(HOLDER_NEW, holder.addr)
                await th.touch(LIST_CHANGE, self.addr, self._bucket(file.ino))
                self._holders[file.ino] = holder
            await holder.lock.acquire(th)
        finally:
            self._lock.release(th)
        return holder

    async def _remove(self, th: Thread, file: FSFile, unmake: Callable[[], None] | None) -> None:
        await self._lock.acquire(th)
        try:
            await th.touch(LIST_FIND, self.addr, self._bucket(file.ino))
            holder = self._holders.get(file.ino)
            if holder is not None:
                await holder.lock.acquire(th)
                await th.touch(LIST_CHANGE, self.addr, self._bucket(file.ino))
                del self._holders[file.ino]
                holder.lock.release(th)
                self._memory.free(th.vp, holder.addr)
                del holder.lock  # it names the holder as its owner
            if unmake is not None:
                unmake()
        finally:
            self._lock.release(th)
