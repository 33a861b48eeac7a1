"""The half of a NameTree that works on one inode: attributes, open files, the kernel's holds.

K42: lib/libc/fslib/NameTreeLinuxFS.*, FileLinuxServer.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

from k42fs.errors import (
    BadHandleError,
    DeletedObjectError,
    InvalidArgumentError,
    NameNotFoundError,
    NoDeviceError,
    NotSwappableError,
    SymlinkLoopError,
    TargetIsDirectoryError,
)
from k42fs.ids import VP, Ref
from k42fs.objects.root import SingleRepRoot
from k42fs.servers import fs_trace, posix_acl
from k42fs.servers.attr_changes import AttrChanges
from k42fs.servers.call_counts import NAME_TREE, CallCounts
from k42fs.servers.credentials import ROOT, check_changes
from k42fs.servers.file_layout import ATTRIBUTES
from k42fs.servers.free_list import AGE_MAX_NS
from k42fs.servers.fs_file import FileSystem, FSFile, FsStatus
from k42fs.servers.fs_global import FileSystemGlobal
from k42fs.servers.open_file import OpenFile
from k42fs.servers.symlink_cache import ALL_LINKS, LinkKey

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from k42fs.machine.thread import Thread
    from k42fs.objects.cosmgr import COSMgr
    from k42fs.servers.object_policy import ObjectPolicy
    from k42fs.servers.supplies import Supplies


class TreeFiles:
    """What is shared by all calls on one file server, and the calls that name an inode or an open file.

    Args:
        check: check rights here, for front ends other than the kernel.
        policy: which implementation each new object gets.
        free_list_max: idle objects kept per processor.
        name_server: told of links that lose their names, 0 for none.
        supplies: what is kept for each processor, and what once.
    """

    __slots__ = ("_name_server", "addr", "calls", "ref", "root", "tree")

    ref: Ref
    root: Any

    def __init__(
        self,
        cos: COSMgr,
        fs: FileSystem,
        policy: ObjectPolicy,
        check: bool,
        free_list_max: int | None,
        name_server: Ref,
        supplies: Supplies,
    ) -> None:
        self._name_server = name_server
        self.tree = FileSystemGlobal(
            cos, fs, policy, check=check, free_list_max=free_list_max, supplies=supplies
        )
        self.calls = CallCounts(cos.machine, supplies.statistics)
        self.addr = cos.memory.alloc(VP(0), NAME_TREE, NAME_TREE.kind, owner=self)
        SingleRepRoot(cos, self)

    def label(self) -> str:
        """What statistics and traces call it."""
        return f"NameTree {self.tree.fs.name}"

    def forget_names(self) -> None:
        """A recording has ended: what the next one finds may be called otherwise."""
        self.tree.known.forget()

    # Without a call: for those who made it

    def root_file(self) -> FSFile:
        """The root directory."""
        return self.tree.fs.root

    # Attributes

    async def get_status(self, th: Thread, file: FSFile) -> FSFile:
        """The inode, its attributes agreeing with each other. A cold inode stays a token."""
        if th.proc.on.fs:
            fs_trace.named(th, self.tree.cos, file, "get_status")
        await self._enter(th)
        while True:
            ref = file.obj_ref
            if not ref:
                await th.load(file.addr)
                return file
            try:
                return await th.deref(ref).get_status(th)  # type: ignore[no-any-return]
            except DeletedObjectError:
                if file.obj_ref == ref:
                    raise

    async def set_attributes(
        self, th: Thread, file: FSFile, changes: AttrChanges, open_file: OpenFile | None = None
    ) -> FSFile:
        """Set attributes; a new size goes first. *open_file*: the change came through it (ftruncate).

        Raises:
            TargetIsDirectoryError, InvalidArgumentError: a size for what is no regular file.
        """
        if th.proc.on.fs:
            if open_file is not None:
                fs_trace.used(th, open_file, "set_attributes")
            else:
                fs_trace.named(th, self.tree.cos, file, "set_attributes")
        await self._enter(th)
        if changes.size is not None:
            if file.is_dir:
                raise TargetIsDirectoryError("truncate of a directory")
            if not file.is_regular or changes.size < 0:
                raise InvalidArgumentError(f"size {changes.size} for {file!r}")
            if open_file is not None and self.tree.check and not open_file.is_writable:
                raise InvalidArgumentError("truncate through a file opened for reading")
        if file.is_regular and (changes.size is not None or file.obj_ref):
            await self.tree.call(th, file, "set_attributes", changes, open_file is not None)
            return file
        if self.tree.check:
            check_changes(th.creds or ROOT, file, changes, by_open_file=False)
        await self.tree.exclusively(th, ATTRIBUTES, file, self.tree.ops.set_attributes, changes)
        if file.is_dir and changes.touches_rights():
            await self._report_moved(th, file)
        return file

    async def get_xattr(self, th: Thread, file: FSFile, name: bytes) -> bytes:
        """An extended attribute's value, or NoDataError."""
        if th.proc.on.fs and not name.startswith(b"security."):  # which the kernel asks for at each write
            fs_trace.named(th, self.tree.cos, file, "get_xattr")
        await self._enter(th)
        return await self.tree.looking(th, ATTRIBUTES, file, self.tree.ops.get_xattr, name)

    async def set_xattr(self, th: Thread, file: FSFile, name: bytes, value: bytes, flags: int = 0) -> None:
        """Set an extended attribute; *flags*: XATTR_CREATE 1, XATTR_REPLACE 2."""
        if th.proc.on.fs:
            fs_trace.named(th, self.tree.cos, file, "set_xattr")
        await self._enter(th)
        await self.tree.exclusively(th, ATTRIBUTES, file, self.tree.ops.set_xattr, name, value, flags)
        if file.is_dir and name == posix_acl.ACCESS:
            await self._report_moved(th, file)

    async def list_xattr(self, th: Thread, file: FSFile) -> list[bytes]:
        """The names of all extended attributes."""
        if th.proc.on.fs:
            fs_trace.named(th, self.tree.cos, file, "list_xattr")
        await self._enter(th)
        return await self.tree.looking(th, ATTRIBUTES, file, self.tree.ops.list_xattr)

    async def remove_xattr(self, th: Thread, file: FSFile, name: bytes) -> None:
        """Remove an extended attribute, or NoDataError."""
        if th.proc.on.fs:
            fs_trace.named(th, self.tree.cos, file, "remove_xattr")
        await self._enter(th)
        await self.tree.exclusively(th, ATTRIBUTES, file, self.tree.ops.remove_xattr, name)
        if file.is_dir and name == posix_acl.ACCESS:
            await self._report_moved(th, file)

    async def stat_fs(self, th: Thread) -> FsStatus:
        """How full the file system is."""
        await self._enter(th)
        return await self.tree.fs.stat_fs(th)

    # Open files

    async def open(self, th: Thread, file: FSFile, flags: int) -> OpenFile:
        """Open a regular file; O_TRUNC truncates it.

        Raises:
            TargetIsDirectoryError, SymlinkLoopError, NoDeviceError: it is no regular file.
            NameNotFoundError: it was deleted.
            ReadOnlyError
        """
        await self._enter(th)
        if not file.is_regular:
            raise _not_openable(file)
        if flags & (os.O_ACCMODE | os.O_TRUNC):
            self.tree.ops.writable()
        while True:
            if file.holds < 0:
                raise NameNotFoundError(f"{file!r} was deleted")
            ref = file.obj_ref or await self.tree.object_ref(th, file)
            try:
                of: OpenFile = await th.deref(ref).open(th, flags)
            except DeletedObjectError:
                if file.obj_ref == ref:
                    raise
                continue
            if th.proc.on.fs:
                fs_trace.opened(th, self.tree, of, flags)
            return of

    async def read(self, th: Thread, of: OpenFile, offset: int | None, size: int) -> bytes:
        """Up to *size* bytes at *offset*; None: at the open file's own offset, which moves."""
        if self.tree.check and not of.is_readable:
            raise BadHandleError("not open for reading")
        if th.proc.on.fs:
            fs_trace.used(th, of, "read")
        return await th.deref(of.ref).read(th, of, offset, size)  # type: ignore[no-any-return]

    async def write(
        self, th: Thread, of: OpenFile, offset: int | None, data: bytes | bytearray | memoryview
    ) -> int:
        """Store *data* at *offset* (None: the open file's own), with O_APPEND always at the end; how many
        bytes.

        Raises:
            FileTooBigError, NoSpaceError: nothing was stored.
        """
        if self.tree.check and not of.is_writable:
            raise BadHandleError("not open for writing")
        if th.proc.on.fs:
            fs_trace.used(th, of, "write")
        return await th.deref(of.ref).write(th, of, offset, data)  # type: ignore[no-any-return]

    async def seek(self, th: Thread, of: OpenFile, offset: int, whence: int) -> int:
        """Move the open file's own offset; where it is now."""
        if th.proc.on.fs:
            fs_trace.used(th, of, "seek")
        return await th.deref(of.ref).seek(th, of, offset, whence)  # type: ignore[no-any-return]

    async def fsync(self, th: Thread, of: OpenFile, datasync: bool = False) -> None:
        """Make an open file durable."""
        if th.proc.on.fs:
            fs_trace.used(th, of, "sync")
        await th.deref(of.ref).sync(th, datasync)

    async def release(self, th: Thread, of: OpenFile) -> None:
        """Close an open file."""
        if th.proc.on.fs:
            fs_trace.closed(th, of)
        if await th.deref(of.ref).release(th, of):
            lists = self.tree.free_lists
            await lists.add(th, of.ref, of.file)
            if lists.is_long(th.vp):
                await lists.trim(th)

    async def object_of(self, th: Thread, file: FSFile) -> Ref:
        """The ref of *file*'s object, made if it is cold: for those who want to change what serves it.

        Raises:
            NotSwappableError: it is neither a regular file nor a directory, and never has an object.
        """
        await self._enter(th)
        if not (file.is_dir or file.is_regular):
            raise NotSwappableError(f"{file!r} has no object")
        if file.obj_ref:
            return file.obj_ref
        ref = await self.tree.object_ref(th, file)
        if not file.is_dir:
            await self.tree.free_lists.add(th, ref, file)
        return ref

    # Housekeeping

    async def forget(self, th: Thread, file: FSFile) -> None:
        """The kernel no longer knows the inode: a nameless one that nobody has open is deleted."""
        assert file.holds > 0, f"{file!r} is not held"
        file.holds -= 1
        if not file.nlink:
            await self.tree.reap(th, file)

    async def sweep(self, th: Thread, age_ns: int = AGE_MAX_NS) -> int:
        """Free what *th*'s processor has not used for *age_ns*; how many objects. For a timer."""
        return await self.tree.free_lists.sweep(th, age_ns)

    # Inside

    def _enter(self, th: Thread) -> Awaitable[None]:
        """Charge a call of this server, and count it."""
        calls = self.calls
        calls.counts[th.vp] += 1
        return th.touch(calls.script, self.addr, calls.addrs[th.vp])

    async def _report_moved(self, th: Thread, *files: FSFile | None) -> None:
        """Tell the name server which links are no longer where clients may have found them. No lock is held.

        Of a directory that was moved, or that others may search from now on than before, all of this server's
        links are reported: which of them lie below it would take a walk to tell.
        """
        keys = [
            LinkKey(self.ref, ALL_LINKS if file.is_dir else file.ino)
            for file in files
            if file is not None and (file.is_dir or stat.S_ISLNK(file.mode))
        ]
        if keys and self._name_server:
            await th.deref(self._name_server).links_removed(th, keys)


def _not_openable(file: FSFile) -> Exception:
    """Why *file* cannot be opened here."""
    if file.is_dir:
        return TargetIsDirectoryError(f"{file!r}")
    if stat.S_ISLNK(file.mode):
        return SymlinkLoopError(f"{file!r}")
    return NoDeviceError(f"{file!r}")
