"""What all implementations of a directory's object share: how names are made and taken away.

An operation on a name holds the lock of that name (`lock_of`) for writing, during the file system's own
operation too. So a name is at every instant what it was or what it becomes. What else the lock covers is the
implementation's affair: the whole directory (`dir_object.py`), or the names of one bucket
(`dir_distributed.py`).

Before the file system changes what a name means, copies of the name that look-ups find without its lock are
taken away (`names.recall`): nobody then sees the old name once somebody saw the new one. A walk can stand on a
name only by way of a copy or of the lock, so whether one does is asked after that.

Order: locks of names (rank 20), several in ascending address order (`name_locks.py`), then objects' locks (40).
Name holders' locks have no rank, because nobody waits for one while holding a name's lock: who wants one that
is taken lets go of the names' locks, waits, and begins again. A walk that waits for a name's lock holds the
name it stands on, and only that.

K42: lib/libc/fslib/DirLinuxFS.*.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, Final, NamedTuple, ParamSpec

from k42fs.errors import (
    DeletedObjectError,
    NameExistsError,
    NameNotFoundError,
    NotPermittedError,
    TargetIsDirectoryError,
)
from k42fs.machine.layout import Script
from k42fs.servers import fs_trace
from k42fs.servers.credentials import ROOT, SEARCH, WRITE, check_may, check_remove
from k42fs.servers.file_layout import NEW as NEW_SERVER_FILE
from k42fs.servers.file_object import FileObject
from k42fs.servers.free_list import Verdict
from k42fs.servers.fs_file import FSFile
from k42fs.servers.name_holder import wait_for_walkers
from k42fs.servers.open_file import OpenFile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from k42fs.machine.rwlock import RWLock
    from k42fs.machine.thread import Thread

P = ParamSpec("P")

KIND: Final = "DirObject"


class NameScripts(NamedTuple):
    """What making and taking away a name touches of the object; the second address is the name's bucket."""

    create: Script
    link: Script
    unlink: Script


class Directory(FileObject):
    """The object of one directory: the half that is the same in every implementation.

    `names` is what the directory knows of its names (`NameCache`, `NameBuckets`). `used` says that somebody
    came since the free list last asked.
    """

    __slots__ = ("names", "used")

    kind: ClassVar[str] = KIND
    scripts: ClassVar[NameScripts]

    names: Any
    used: bool

    def label(self) -> str:
        """What statistics and traces call it: the kind, whatever the implementation."""
        return f"{KIND} {self.file.ino}"

    def teach_names(self) -> None:
        """Tell a recording that begins the names that are known here."""
        self.tree.known.learn_all(self.file, self.names.children)

    @property
    def place(self) -> int:
        """Where the locks of its names come in the order of locks."""
        raise NotImplementedError(f"{type(self).__name__} must implement place")

    def lock_of(self, name: bytes) -> RWLock:
        """Return the lock that *name* is made and taken away under."""
        raise NotImplementedError(f"{type(self).__name__} must implement lock_of")

    async def unmake_if(self, th: Thread, *, dead: bool) -> Verdict:
        """Unmake this object if the inode is dead, or (not *dead*) if nobody uses it."""
        raise NotImplementedError(f"{type(self).__name__} must implement unmake_if")

    # Making and removing names

    async def create(self, th: Thread, name: bytes, mode: int, flags: int) -> tuple[FSFile, OpenFile | None]:
        """Make a regular file and open it, in one step; or the inode that has the name, and None.

        Raises:
            NameExistsError: it has, and *flags* hold O_EXCL.
        """
        lock = self.lock_of(name)
        await lock.acquire_w(th)
        try:
            self.check_alive()
            await th.touch(self.scripts.create, self.addr, self.names.bucket(name))
            file = await self.names.find(th, name, is_to_be_made=True)
            if file is not None:
                if flags & os.O_EXCL:
                    raise NameExistsError(name)
                return file, None
            self._check_add(th)
            await self.names.recall(th, name)
            file = await self.tree.fs.make(th, self.file, name, stat.S_IFREG | mode & 0o7777)
            if th.proc.on.control:
                self.tree.known.learn(self.file, name, file)
            made = self.tree.make_object(th, file)
            # In one step with its making, and without its lock: from then on it may be replaced at any time.
            of = made.add_client(th, flags)
            await made.root.charge_create(th)
            await th.touch(NEW_SERVER_FILE, made.addr, of.addr)
            await self.names.bind(th, name, file)
            return file, of
        finally:
            lock.release_w(th)

    async def make(self, th: Thread, name: bytes, mode: int, rdev: int, target: bytes) -> FSFile:
        """Make an inode of the type in *mode* (mknod, mkdir, symlink); its name is a token.

        Raises:
            NameExistsError: the name is taken.
        """
        lock = self.lock_of(name)
        await lock.acquire_w(th)
        try:
            self.check_alive()
            await th.touch(self.scripts.create, self.addr, self.names.bucket(name))
            if await self.names.find(th, name, is_to_be_made=True) is not None:
                raise NameExistsError(name)
            self._check_add(th)
            await self.names.recall(th, name)
            file = await self.tree.fs.make(th, self.file, name, mode, rdev, target)
            await self.names.bind(th, name, file)
            return file
        finally:
            lock.release_w(th)

    async def link(self, th: Thread, file: FSFile, name: bytes) -> None:
        """Give *file* the name *name* here.

        Raises:
            NameExistsError: the name is taken.
            NotPermittedError: *file* is a directory.
        """
        lock = self.lock_of(name)
        await lock.acquire_w(th)
        try:
            self.check_alive()
            await th.touch(self.scripts.link, self.addr, self.names.bucket(name))
            if await self.names.find(th, name, is_to_be_made=True) is not None:
                raise NameExistsError(name)
            if file.is_dir:
                raise NotPermittedError("directories have one name")
            self._check_add(th)
            await self.names.recall(th, name)
            if file.is_regular:
                await self.tree.call(th, file, "link", self.file, name)
            else:
                await self.tree.with_token(th, file, self.tree.fs.link, self.file, name)
            await self.names.bind(th, name, file)
        finally:
            lock.release_w(th)

    async def unlink(self, th: Thread, name: bytes) -> FSFile:
        """Take *name* away; whose it was. The caller then asks whether the inode is to die (`reap`).

        Raises:
            TargetIsDirectoryError: it names a directory.
        """
        lock = self.lock_of(name)
        while True:
            await lock.acquire_w(th)
            try:
                self.check_alive()
                await th.touch(self.scripts.unlink, self.addr, self.names.bucket(name))
                file: FSFile | None = await self.names.find(th, name)
                if file is None:
                    raise NameNotFoundError(name)
                if file.is_dir:
                    raise TargetIsDirectoryError(name)
                self.tree.ops.writable()
                if self.tree.check:
                    check_remove(th.creds or ROOT, self.file, file)
                await self.names.recall(th, name)
                busy = self.names.walkers(name)
                if busy is None:
                    await self.locked_take(th, file, self.tree.fs.unlink, self.file, name)
                    await self.names.unbind(th, name)
                    return file
            finally:
                lock.release_w(th)
            await wait_for_walkers(th, busy)

    def check_alive(self) -> None:
        """Raise unless names can be made and removed here. The caller holds the name's lock for writing."""
        if self.closing:
            raise self.gone()
        self.used = True
        if self.file.nlink == 0:
            raise NameNotFoundError(f"directory {self.file.ino} was removed")

    async def locked_take(
        self,
        th: Thread,
        file: FSFile,
        take: Callable[Concatenate[Thread, FSFile, P], Awaitable[object]],
        *args: P.args,
        **kw: P.kwargs,
    ) -> None:
        """Run *take*, which costs *file* its name here, with the inode locked.

        The name's lock is held for writing.
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

    # The end

    async def delete_if_unused(self, th: Thread) -> None:
        """Delete the directory if its name, last handle and last hold are gone."""
        if await self.unmake_if(th, dead=True) is Verdict.FREED:
            if th.proc.on.fs:
                fs_trace.unmade(th, self.tree, self.file, self.ref, "delete_file")
            await self.tree.fs.delete_file(th, self.file)
            await self.tree.free_lists.discard(th, self.ref)
            await self.tree.cos.destroy(th, self.ref)

    async def try_destroy(self, th: Thread) -> Verdict:
        """Make a cold token of the directory, unless it was used lately."""
        verdict = await self.unmake_if(th, dead=False)
        if verdict is Verdict.FREED:
            if th.proc.on.fs:
                fs_trace.unmade(th, self.tree, self.file, self.ref, "try_destroy")
            await self.tree.cos.destroy(th, self.ref)
        return verdict

    # Inside

    def _check_add(self, th: Thread) -> None:
        self.tree.ops.writable()
        if self.tree.check:
            check_may(th.creds or ROOT, self.file, WRITE | SEARCH)
