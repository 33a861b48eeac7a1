"""The names that a directory object knows: name holders by name, and names known not to exist.

A name that was only looked up is a holder with a token behind it. Holders are forgotten when they are many,
oldest first, unless a walk stands on them; so are negative names. What is not known is asked of the file
system.

Locks: none of its own. Every method runs under the directory's dirlock, held for writing by all but `peek`.

K42: lib/libc/fslib/DentryList.* (DentryListHash).
Differs: K42 has no negative names and forgets nothing.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, ClassVar, Final
from zlib import crc32

from k42fs.ids import VP, Addr
from k42fs.machine.layout import Script
from k42fs.machine.thread import DONE, Thread
from k42fs.servers import fs_trace
from k42fs.servers.dir_layout import BUCKETS, DIR_OBJECT, MISS, NEGATIVE
from k42fs.servers.fs_file import FSFile
from k42fs.servers.name_holder import (
    DROP_HOLDER,
    HOLDER,
    NEW_HOLDER,
    READ_HOLDER,
    SET_HOLDER,
    NameHolder,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from k42fs.machine.rwlock import RWLock
    from k42fs.servers.fs_global import FileSystemGlobal

CHILDREN_MAX: Final = 1024
"""Holders of one directory before cold ones are forgotten, a quarter at a time."""

NEGATIVES_MAX: Final = 128
_NAMES: Final = DIR_OBJECT.offset("names")


class NameCache:
    """The cached names of one directory.

    Shape: `children` name -> holder; `negatives` is a set in order of entry.
    """

    __slots__ = ("_addr", "_file", "_tree", "children", "negatives")

    children_max: ClassVar[int] = CHILDREN_MAX
    negatives_max: ClassVar[int] = NEGATIVES_MAX
    miss: ClassVar[Script] = MISS
    negative: ClassVar[Script] = NEGATIVE

    def __init__(self, tree: FileSystemGlobal, file: FSFile, addr: Addr) -> None:
        self._tree = tree
        self._file = file
        self._addr = addr  # of the DirObject that this is a part of
        self.children: dict[bytes, NameHolder] = {}
        self.negatives: dict[bytes, None] = {}

    def bucket(self, name: bytes) -> Addr:
        """The modelled address of a name's hash chain.

        By crc32: Python's own hash differs from run to run.
        """
        if not self._tree.modelled:
            return self._addr
        return Addr(self._addr + _NAMES + crc32(name) % BUCKETS * 8)

    async def find(self, th: Thread, name: bytes, *, is_to_be_made: bool = False) -> FSFile | None:
        """The inode called *name*; what the file system says about an unknown one is remembered.

        That it does not exist is not, if the caller is about to make it.
        """
        holder = self.children.get(name)
        if holder is not None:
            await th.touch(READ_HOLDER, holder.addr)
            return holder.file
        if name in self.negatives:
            return None
        if not is_to_be_made:
            bucket = self.bucket(name)
            await th.touch(self.miss, self._addr, bucket)
        if th.proc.on.fs:
            th.proc.emit.fs_ext_lookup_st(self._file.obj_ref, fs_trace.text(th, name))
        file = await self._tree.fs.lookup(th, self._file, name)
        if file is not None:
            await self._add(th, name, file)
        elif not is_to_be_made:
            await th.touch(self.negative, self._addr, bucket)
            if len(self.negatives) >= self.negatives_max:
                await self._forget_negatives(th)
            self.negatives[name] = None
        if th.proc.on.fs:
            found = self.children.get(name)
            th.proc.emit.fs_ext_lookup_fi(self._file.obj_ref, 0 if found is None else found.addr)
        return file

    def recall(self, th: Thread, name: bytes) -> Awaitable[None]:
        """Take copies of *name* away. There are none: all look-ups take the lock."""
        return DONE

    async def bind(self, th: Thread, name: bytes, file: FSFile) -> None:
        """Let *name* mean *file*."""
        holder = self.children.get(name)
        if holder is not None:
            await th.touch(SET_HOLDER, holder.addr)
            holder.file = file
            return
        if self.negatives:
            self.negatives.pop(name, None)
        await self._add(th, name, file)

    async def unbind(self, th: Thread, name: bytes) -> None:
        """Forget *name*."""
        holder = self.children.get(name)
        if holder is not None:
            if th.proc.on.fs:
                th.proc.emit.fs_directory_purge(self._file.obj_ref, holder.file.obj_ref)
            await th.touch(DROP_HOLDER, holder.addr, self.bucket(name))
            self._drop(th.vp, holder)

    def walkers(self, name: bytes) -> RWLock | None:
        """The lock of *name* if somebody walks through it just now, else None."""
        holder = self.children.get(name)
        if holder is None or holder.lock is None:
            return None
        return holder.lock if holder.has_walkers else None

    def has_walkers(self) -> bool:
        """Whether somebody walks through any of the names."""
        return any(holder.lock is not None and holder.has_walkers for holder in self.children.values())

    def hand_over(self) -> None:
        """Forget everything without giving any memory back: it is somebody else's now."""
        self.children, self.negatives = {}, {}

    def clear(self, vp: VP) -> None:
        """Forget everything."""
        for holder in list(self.children.values()):
            self._drop(vp, holder)
        self.negatives.clear()

    async def _add(self, th: Thread, name: bytes, file: FSFile) -> None:
        if len(self.children) >= self.children_max:
            await self._forget_cold(th)
        holder = NameHolder(name, file)
        holder.addr = self._tree.memory.alloc(th.vp, HOLDER, owner=holder)
        await th.touch(NEW_HOLDER, holder.addr, self.bucket(name))
        self.children[name] = holder

    def _drop(self, vp: VP, holder: NameHolder) -> None:
        del self.children[holder.name]
        holder.lock = None  # it names the holder as its owner: without the cycle both go at once
        self._tree.memory.free(vp, holder.addr)

    async def _forget_negatives(self, th: Thread) -> None:
        """Make room for a negative name."""
        self.negatives.clear()

    async def _forget_cold(self, th: Thread) -> None:
        """Drop the oldest quarter of the holders as far as nobody walks through them."""
        for holder in list(islice(self.children.values(), self.children_max // 4)):
            await self.recall(th, holder.name)
            if holder.lock is None or not holder.has_walkers:
                self._drop(th.vp, holder)
            else:  # to the young end, or it would be looked at each time
                self.children[holder.name] = self.children.pop(holder.name)
