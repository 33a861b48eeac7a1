"""DirObject: the object of one directory in use. It caches names, and orders what happens to them.

`dirlock` (rank 20) protects the directory's names: held for reading by whoever looks one up, for writing by
whoever makes, removes or moves one, during the file system's own operation too. So a name is at every
instant what it was or what it becomes.

Names are kept in a `NameCache`, whose holders lead to inodes, not to objects. A directory nobody used for a
while loses its DirObject (`try_destroy`); it is a cold token again.

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
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec

from k42fs.errors import (
    DeletedObjectError,
    NameExistsError,
    NameNotFoundError,
    NotPermittedError,
    TargetIsDirectoryError,
)
from k42fs.ids import VP
from k42fs.machine.locks import RWLock
from k42fs.servers.credentials import READ, ROOT, SEARCH, WRITE, check_may, check_remove
from k42fs.servers.dir_layout import (
    CREATE,
    DIR_OBJECT,
    FREE_CHECK,
    HANDLES,
    LINK,
    LOOKUP,
    READ_DIR,
    STATUS,
    UNLINK,
    UNMAKE,
)
from k42fs.servers.file_object import FileObject
from k42fs.servers.free_list import Verdict
from k42fs.servers.fs_file import FSFile
from k42fs.servers.name_cache import NameCache
from k42fs.servers.name_holder import READ_HOLDER, wait_for_walkers
from k42fs.servers.open_file import DirHandle, OpenFile
from k42fs.servers.server_file import NEW as NEW_SERVER_FILE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from k42fs.machine.thread import Thread
    from k42fs.servers.fs_global import FileSystemGlobal
    from k42fs.servers.name_locks import NameLocks

P = ParamSpec("P")

_LOCK: Final = DIR_OBJECT.offset("lock")
_DIRLOCK: Final = DIR_OBJECT.offset("dirlock")


class DirObject(FileObject):
    """The object of one directory.

    `names` is under the dirlock. `handles` counts open handles. `used` says that somebody came since the free
    list last asked.
    """

    __slots__ = ("dirlock", "handles", "names", "used")

    status_script = STATUS

    def __init__(self, tree: FileSystemGlobal, file: FSFile, vp: VP) -> None:
        super().__init__(tree, file, DIR_OBJECT, _LOCK, vp)
        self.dirlock = RWLock(tree.machine, self.addr + _DIRLOCK, 20, "dirlock", self, spans_calls=True)
        self.names = NameCache(tree, file, self.addr)
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
            await th.touch(LOOKUP, self.addr, self.names.bucket(name))
            holder = self.names.children.get(name)
            if holder is not None:
                await th.touch(READ_HOLDER, holder.addr)
                return holder.file
            if name in self.names.negatives:
                raise NameNotFoundError(name)
        finally:
            self.dirlock.release_r(th)
        await self.dirlock.acquire_w(th)
        try:
            if self.closing:
                raise self.gone()
            file = await self.names.find(th, name)
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
            file = await self.lookup(th, name)
            if not file.is_dir:
                return file, None
            # Nothing was awaited since `lookup` let the dirlock go: whoever has it next finds us on the name.
            lock = self.names.children[name].walk_lock(self.tree.machine)
            if lock.try_acquire_r(th):
                return file, lock
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
            await th.touch(CREATE, self.addr, self.names.bucket(name))
            file = await self.names.find(th, name, is_to_be_made=True)
            if file is not None:
                if flags & os.O_EXCL:
                    raise NameExistsError(name)
                return file, None
            self._check_add(th)
            file = await self.tree.fs.make(th, self.file, name, stat.S_IFREG | mode & 0o7777)
            sf = self.tree.make_object(th, file)
            await sf.root.charge_create(th)
            of = sf.add_client(th, flags)  # without its lock: nobody can know it before the dirlock is free
            await th.touch(NEW_SERVER_FILE, sf.addr, of.addr)
            await self.names.bind(th, name, file)
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
            await th.touch(CREATE, self.addr, self.names.bucket(name))
            if await self.names.find(th, name, is_to_be_made=True) is not None:
                raise NameExistsError(name)
            self._check_add(th)
            file = await self.tree.fs.make(th, self.file, name, mode, rdev, target)
            await self.names.bind(th, name, file)
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
            await th.touch(LINK, self.addr, self.names.bucket(name))
            if await self.names.find(th, name, is_to_be_made=True) is not None:
                raise NameExistsError(name)
            if file.is_dir:
                raise NotPermittedError("directories have one name")
            self._check_add(th)
            if file.is_regular:
                await self.tree.call(th, file, "link", self.file, name)
            else:
                await self.tree.with_token(th, file, self.tree.fs.link, self.file, name)
            await self.names.bind(th, name, file)
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
                await th.touch(UNLINK, self.addr, self.names.bucket(name))
                file = await self.names.find(th, name)
                if file is None:
                    raise NameNotFoundError(name)
                if file.is_dir:
                    raise TargetIsDirectoryError(name)
                self.tree.ops.writable()
                if self.tree.check:
                    check_remove(th.creds or ROOT, self.file, file)
                busy = self.names.walkers(name)
                if busy is None:
                    await self.locked_take(th, file, self.tree.fs.unlink, self.file, name)
                    await self.names.unbind(th, name)
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
        self.names.clear(th.vp)
        await super().cleanup(th)
        del self.dirlock

    # Inside

    def _check_add(self, th: Thread) -> None:
        self.tree.ops.writable()
        if self.tree.check:
            check_may(th.creds or ROOT, self.file, WRITE | SEARCH)

    async def locked_take(
        self,
        th: Thread,
        file: FSFile,
        take: Callable[Concatenate[Thread, FSFile, P], Awaitable[object]],
        *args: P.args,
        **kw: P.kwargs,
    ) -> None:
        """Run *take*, which costs *file* its name here, with the inode locked.

        The dirlock is held for writing.
        """
        while True:
            ref = file.obj_ref
            try:
                if ref and file.is_regular:
                    await th.deref(ref).lose_name(th, take, *args, **kw)
                else:
                    await self.tree.with_token(th, file, take, *args, **kw)
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
                elif self.used or self.names.has_walkers():
                    self.used = False
                    return Verdict.KEEP
                await th.touch(UNMAKE, self.addr)
                self.unmake()
                return Verdict.FREED
            finally:
                self.lock.release(th)
        finally:
            self.dirlock.release_w(th)
