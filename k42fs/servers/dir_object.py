"""DirObject: the object of one directory in use. It caches names, and orders what happens to them.

`dirlock` (rank 20) protects the directory's names: held for reading by whoever looks one up, for writing by
whoever makes, removes or moves one, during the file system's own operation too. So a name is at every
instant what it was or what it becomes.

`children` are name holders of names met here; a name that was only looked up stays a token. Cold holders
are forgotten when they are many, and so are `negatives`, names known not to exist. A directory nobody used
for a while loses its DirObject (`try_destroy`); it is a cold token again.

Order: several dirlocks are taken in ascending address order (`name_locks.py`), then objects' locks (40).
Name holders' locks have no rank, because nobody waits for one while holding a dirlock: who wants one that
is taken lets go of the dirlocks, waits, and begins again. A walk that waits for a dirlock holds the name it
stands on, and only that.

K42: lib/libc/fslib/{DirLinuxFS,DentryList}.* ("DirObject" in K42's papers).
Differs: open creates and opens under the dirlock as K42's did, but an existing file is opened after it was
let go; rmdir and replaced directories are locked like any pair, not child after parent; negative names;
pruning.
"""

from __future__ import annotations

import os
import stat
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final
from zlib import crc32

from k42fs.errors import (
    DeletedObjectError,
    NameExistsError,
    NameNotFoundError,
    NotPermittedError,
    TargetIsDirectoryError,
)
from k42fs.ids import VP, Addr
from k42fs.machine.layout import Kind, Layout
from k42fs.machine.locks import RWLock
from k42fs.servers.credentials import READ, ROOT, SEARCH, WRITE, check_may, check_remove
from k42fs.servers.file_object import FileObject
from k42fs.servers.free_list import Verdict
from k42fs.servers.fs_file import FSFile
from k42fs.servers.name_holder import DROP_HOLDER, HOLDER, NEW_HOLDER, READ_HOLDER, SET_HOLDER, NameHolder
from k42fs.servers.open_file import DirHandle, OpenFile
from k42fs.servers.server_file import NEW as NEW_SERVER_FILE
from k42fs.servers.server_file import ServerFile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from k42fs.machine.thread import Thread
    from k42fs.servers.fs_global import FileSystemGlobal
    from k42fs.servers.name_locks import NameLocks

CHILDREN_MAX: Final = 1024
"""Holders of one directory before cold ones are forgotten, a quarter at a time."""

NEGATIVES_MAX: Final = 128
BUCKETS: Final = 64

DIR_OBJECT: Final = Layout(
    "DirObject",
    Kind.GLOBAL_PADDED,
    dirlock=24,
    lock=16,
    file=8,
    state=8,
    handles=8,
    count=8,
    names=BUCKETS * 8,
)
"""`dirlock` guards `count` and the hash `names`; `lock` guards `state` and `handles`."""

LOOKUP: Final = DIR_OBJECT.script("lookup", "r:state r2:0", work=60)
MISS: Final = DIR_OBJECT.script("lookup_miss", "r:file r2:0", work=60)
CREATE: Final = DIR_OBJECT.script("create", "r:state r:file r2:0", work=120)
UNLINK: Final = DIR_OBJECT.script("unlink", "r:state r:file r2:0", work=100)
LINK: Final = DIR_OBJECT.script("link", "r:state r:file r2:0", work=100)
READ_DIR: Final = DIR_OBJECT.script("read_dir", "r:state r:file", work=60)
HANDLES: Final = DIR_OBJECT.script("handles", "r:state w:handles", work=40)
STATUS: Final = DIR_OBJECT.script("get_status", "r:file r:state", work=50)
FREE_CHECK: Final = DIR_OBJECT.script("free_check", "r:state r:handles r:count", work=80)
UNMAKE: Final = DIR_OBJECT.script("unmake", "w:state w:file", work=60)
NEGATIVE: Final = DIR_OBJECT.script("negative", "w:count w2:0", work=30)

_NAMES: Final = DIR_OBJECT.offset("names")


class DirObject(FileObject):
    """The object of one directory.

    Shape: `children` name -> holder; `negatives` is a set in order of entry. `handles` counts open handles.
    `used` says that somebody came since the free list last asked.
    """

    __slots__ = ("children", "dirlock", "handles", "negatives", "used")

    def __init__(self, tree: FileSystemGlobal, file: FSFile, vp: VP) -> None:
        super().__init__(tree, file, DIR_OBJECT, vp)
        lock_addr = Addr(self.addr + DIR_OBJECT.offset("dirlock"))
        self.dirlock = RWLock(tree.machine, lock_addr, 20, "dirlock", self, spans_calls=True)
        self.children: dict[bytes, NameHolder] = {}
        self.negatives: dict[bytes, None] = {}
        self.handles = 0
        self.used = True

    # Looking names up

    async def lookup(self, th: Thread, name: bytes) -> FSFile:
        """The inode called *name*.

        Raises:
            NameNotFoundError: there is none.
        """
        await self.dirlock.acquire_r(th)
        try:
            if self.closing:
                raise self.gone()
            self.used = True
            if self.tree.check:
                check_may(th.creds or ROOT, self.file, SEARCH)
            await th.touch(LOOKUP, self.addr, self._bucket(name))
            holder = self.children.get(name)
            if holder is not None:
                await th.touch(READ_HOLDER, holder.addr)
                return holder.file
            if name in self.negatives:
                raise NameNotFoundError(name)
        finally:
            self.dirlock.release_r(th)
        await self.dirlock.acquire_w(th)
        try:
            if self.closing:
                raise self.gone()
            file = await self.locked_find(th, name)
        finally:
            self.dirlock.release_w(th)
        if file is None:
            raise NameNotFoundError(name)
        return file

    async def step(self, th: Thread, name: bytes) -> tuple[FSFile, RWLock | None]:
        """A walk's step: the inode called *name*; and if it is a directory the name's lock, held for
        reading.
        """
        while True:
            await self.dirlock.acquire_r(th)
            try:
                if self.closing:
                    raise self.gone()
                self.used = True
                if self.tree.check:
                    check_may(th.creds or ROOT, self.file, SEARCH)
                await th.touch(LOOKUP, self.addr, self._bucket(name))
                holder = self.children.get(name)
                if holder is not None:
                    await th.touch(READ_HOLDER, holder.addr)
                    if not holder.file.is_dir:
                        return holder.file, None
                    lock = holder.walk_lock(self.tree.machine)
                    if lock.try_acquire_r(th):
                        return holder.file, lock
            finally:
                self.dirlock.release_r(th)
            if holder is None:
                await self.lookup(th, name)  # enters a holder, or raises
            else:
                await lock.acquire_r(th)  # somebody renames or removes it; see then what it is
                lock.release_r(th)

    async def read_dir(self, th: Thread, cookie: int, limit: int) -> Sequence[tuple[bytes, FSFile, int]]:
        """Up to *limit* (name, inode, cookie) after *cookie*; nothing once the directory was removed."""
        await self.dirlock.acquire_r(th)
        try:
            if self.closing:
                raise self.gone()
            self.used = True
            await th.touch(READ_DIR, self.addr)
            found = await self.tree.fs.get_dents(th, self.file, cookie, limit)
        finally:
            self.dirlock.release_r(th)
        await self.tree.ops.accessed(th, self.file)
        return found

    # Making and removing names

    async def create(self, th: Thread, name: bytes, mode: int, flags: int) -> tuple[FSFile, OpenFile | None]:
        """Make a regular file and open it, in one step; or the inode that has the name, and None.

        Raises:
            NameExistsError: it has, and *flags* hold O_EXCL.
        """
        await self.dirlock.acquire_w(th)
        try:
            self.check_alive()
            bucket = self._bucket(name)
            await th.touch(CREATE, self.addr, bucket)
            file = await self.locked_find(th, name)
            if file is not None:
                if flags & os.O_EXCL:
                    raise NameExistsError(name)
                return file, None
            self._check_add(th)
            file = await self.tree.fs.make(th, self.file, name, stat.S_IFREG | mode & 0o7777)
            sf = self.tree.make_object(th, file)
            assert isinstance(sf, ServerFile)
            await sf.root.charge_create(th)
            of = sf.add_client(th, flags)  # without its lock: nobody can know it before the dirlock is free
            await th.touch(NEW_SERVER_FILE, sf.addr, of.addr)
            await self.locked_bind(th, name, file)
            return file, of
        finally:
            self.dirlock.release_w(th)

    async def make(self, th: Thread, name: bytes, mode: int, rdev: int, target: bytes) -> FSFile:
        """Make an inode of the type in *mode* (mknod, mkdir, symlink); its name is a token.

        Raises:
            NameExistsError: the name is taken.
        """
        await self.dirlock.acquire_w(th)
        try:
            self.check_alive()
            await th.touch(CREATE, self.addr, self._bucket(name))
            if await self.locked_find(th, name) is not None:
                raise NameExistsError(name)
            self._check_add(th)
            file = await self.tree.fs.make(th, self.file, name, mode, rdev, target)
            await self.locked_bind(th, name, file)
            return file
        finally:
            self.dirlock.release_w(th)

    async def link(self, th: Thread, file: FSFile, name: bytes) -> None:
        """Give *file* the name *name* here.

        Raises:
            NameExistsError: the name is taken.
            NotPermittedError: *file* is a directory.
        """
        await self.dirlock.acquire_w(th)
        try:
            self.check_alive()
            await th.touch(LINK, self.addr, self._bucket(name))
            if await self.locked_find(th, name) is not None:
                raise NameExistsError(name)
            if file.is_dir:
                raise NotPermittedError("directories have one name")
            self._check_add(th)
            if file.is_regular:
                await self._link_object(th, file, name)
            else:
                await self.tree.with_token(th, file, self.tree.ops.link, self.file, name)
            await self.locked_bind(th, name, file)
        finally:
            self.dirlock.release_w(th)

    async def unlink(self, th: Thread, name: bytes) -> FSFile:
        """Take *name* away; whose it was. The caller then asks whether the inode is to die (`reap`).

        Raises:
            TargetIsDirectoryError: it names a directory.
        """
        while True:
            await self.dirlock.acquire_w(th)
            try:
                self.check_alive()
                await th.touch(UNLINK, self.addr, self._bucket(name))
                file = await self.locked_find(th, name)
                if file is None:
                    raise NameNotFoundError(name)
                if file.is_dir:
                    raise TargetIsDirectoryError(name)
                self.tree.ops.writable()
                if self.tree.check:
                    check_remove(th.creds or ROOT, self.file, file)
                busy = self.locked_walkers(name)
                if busy is None:
                    await self.locked_take(th, file, partial(self.tree.fs.unlink, th, self.file, name, file))
                    await self.locked_unbind(th, name)
                    return file
            finally:
                self.dirlock.release_w(th)
            await wait_for_walkers(th, busy)

    # For operations on several directories

    async def lock_order(self, th: Thread) -> int:
        """Where this directory's dirlock comes among those of others."""
        await th.touch(STATUS, self.addr)
        return self.dirlock.addr

    async def with_names_locked(self, th: Thread, chain: NameLocks) -> None:
        """Take the dirlock for writing and let *chain* go on, which calls the next directory or does its
        work.
        """
        await self.dirlock.acquire_w(th)
        try:
            if self.closing:
                raise self.gone()
            self.used = True
            await th.touch(LOOKUP, self.addr, self.addr)
            chain.reps[self.file] = self
            await chain.proceed(th)
        finally:
            self.dirlock.release_w(th)

    def check_alive(self) -> None:
        """Raise unless names can be made and removed here. The dirlock is held for writing."""
        if self.closing:
            raise self.gone()
        self.used = True
        if self.file.nlink == 0:
            raise NameNotFoundError(f"directory {self.file.ino} was removed")

    async def locked_find(self, th: Thread, name: bytes) -> FSFile | None:
        """The inode called *name*, asking the file system if the name is not cached.

        The dirlock is held for writing.
        """
        holder = self.children.get(name)
        if holder is not None:
            await th.touch(READ_HOLDER, holder.addr)
            return holder.file
        if name in self.negatives:
            return None
        bucket = self._bucket(name)
        await th.touch(MISS, self.addr, bucket)
        file = await self.tree.fs.lookup(th, self.file, name)
        if file is not None:
            await self._add(th, name, file)
            return file
        await th.touch(NEGATIVE, self.addr, bucket)
        if len(self.negatives) >= NEGATIVES_MAX:
            self.negatives.clear()
        self.negatives[name] = None
        return None

    async def locked_bind(self, th: Thread, name: bytes, file: FSFile) -> None:
        """Let *name* mean *file*. The dirlock is held for writing."""
        holder = self.children.get(name)
        if holder is None:
            self.negatives.pop(name, None)
            await self._add(th, name, file)
        else:
            await th.touch(SET_HOLDER, holder.addr)
            holder.file = file

    async def locked_unbind(self, th: Thread, name: bytes) -> None:
        """Forget *name*. The dirlock is held for writing."""
        holder = self.children.get(name)
        if holder is not None:
            await th.touch(DROP_HOLDER, holder.addr, self._bucket(name))
            del self.children[name]
            self.tree.memory.free(th.vp, holder.addr)

    def locked_walkers(self, name: bytes) -> RWLock | None:
        """The lock of *name* if somebody walks through it just now, else None.

        The dirlock is held for writing.
        """
        holder = self.children.get(name)
        return holder.lock if holder is not None and holder.has_walkers else None

    # The end

    async def open_dir(self, th: Thread) -> DirHandle:
        """Open the directory for reading."""
        await self.lock.acquire(th)
        try:
            if self.closing:
                raise self.gone()
            if self.tree.check:
                check_may(th.creds or ROOT, self.file, READ)
            await th.touch(HANDLES, self.addr)
            self.handles += 1
            self.used = True
        finally:
            self.lock.release(th)
        return DirHandle(self.file, self.ref, th.creds or ROOT, th.vp)

    async def release_dir(self, th: Thread) -> None:
        """Close a handle. The caller then asks whether the inode is to die."""
        await self.lock.acquire(th)
        try:
            await th.touch(HANDLES, self.addr)
            assert self.handles > 0, f"{self.label()}: more handles closed than opened"
            self.handles -= 1
        finally:
            self.lock.release(th)

    async def get_status(self, th: Thread) -> FSFile:
        """The inode, whose attributes agree with each other at this moment."""
        await self.lock.acquire(th)
        try:
            if self.closing:
                raise self.gone()
            await th.touch(STATUS, self.addr)
        finally:
            self.lock.release(th)
        return self.file

    async def delete_if_unused(self, th: Thread) -> None:
        """Delete the directory if its name, last handle and last hold are gone."""
        if await self._unmake_if(th, dead=True) is Verdict.FREED:
            await self.tree.fs.delete_file(th, self.file)
            self.tree.free_lists.discard(th.vp, self.ref)
            await self.tree.cos.destroy(th, self.ref)

    async def try_destroy(self, th: Thread) -> Verdict:
        """Make a cold token of the directory, unless it was used lately."""
        verdict = await self._unmake_if(th, dead=False)
        if verdict is Verdict.FREED:
            await self.tree.cos.destroy(th, self.ref)
        return verdict

    async def cleanup(self, th: Thread) -> None:
        """Give back the modelled memory: no call is inside any more."""
        for holder in self.children.values():
            self.tree.memory.free(th.vp, holder.addr)
        self.children.clear()
        await super().cleanup(th)

    # Inside

    def _check_add(self, th: Thread) -> None:
        self.tree.ops.writable()
        if self.tree.check:
            check_may(th.creds or ROOT, self.file, WRITE | SEARCH)

    def _bucket(self, name: bytes) -> Addr:
        """The modelled address of a name's hash chain.

        crc32, because Python's own hash differs from run to run.
        """
        if not self.tree.modelled:
            return self.addr
        return Addr(self.addr + _NAMES + crc32(name) % BUCKETS * 8)

    async def _add(self, th: Thread, name: bytes, file: FSFile) -> NameHolder:
        if len(self.children) >= CHILDREN_MAX:
            self._forget_cold(th.vp)
        holder = NameHolder(name, file, self.tree.memory.alloc(th.vp, HOLDER, HOLDER.kind, owner=self))
        await th.touch(NEW_HOLDER, holder.addr, self._bucket(name))
        self.children[name] = holder
        return holder

    def _forget_cold(self, vp: VP) -> None:
        """Drop the oldest quarter of the holders as far as it is cold."""
        for holder in list(islice(self.children.values(), CHILDREN_MAX // 4)):
            if holder.is_cold:
                del self.children[holder.name]
                self.tree.memory.free(vp, holder.addr)
            else:  # to the young end, or it would be looked at each time
                self.children[holder.name] = self.children.pop(holder.name)

    async def _link_object(self, th: Thread, file: FSFile, name: bytes) -> None:
        while True:
            ref = await self.tree.object_ref(th, file)
            try:
                await th.deref(ref).link(th, self.file, name)
                return
            except DeletedObjectError:
                if file.obj_ref == ref:
                    raise

    async def locked_take(self, th: Thread, file: FSFile, take: Callable[[], Awaitable[object]]) -> None:
        """Run *take*, which costs *file* its name here, with the inode locked.

        The dirlock is held for writing.
        """
        while True:
            ref = file.obj_ref
            try:
                if ref and file.is_regular:
                    await th.deref(ref).lose_name(th, take)
                else:
                    await self.tree.with_token(th, file, _run, take)
                return
            except DeletedObjectError:
                if file.obj_ref == ref:
                    raise

    async def _unmake_if(self, th: Thread, *, dead: bool) -> Verdict:
        """Unmake this object if the inode is dead, or (not *dead*) if nobody uses it."""
        await self.dirlock.acquire_w(th)
        try:
            await self.lock.acquire(th)
            try:
                await th.touch(FREE_CHECK, self.addr)
                if self.closing:
                    return Verdict.BUSY
                if self.handles:
                    return Verdict.KEEP
                if dead:
                    if self.file.nlink or self.file.holds:
                        return Verdict.KEEP
                elif self.used or any(not child.is_cold for child in self.children.values()):
                    self.used = False
                    return Verdict.KEEP
                await th.touch(UNMAKE, self.addr)
                self.unmake()
                return Verdict.FREED
            finally:
                self.lock.release(th)
        finally:
            self.dirlock.release_w(th)


async def _run(th: Thread, file: FSFile, take: Callable[[], Awaitable[object]]) -> None:
    await take()


async def wait_for_walkers(th: Thread, lock: RWLock) -> None:
    """Wait until nobody walks through a name. The caller holds no lock, and looks again afterwards."""
    await lock.acquire_w(th)
    lock.release_w(th)
