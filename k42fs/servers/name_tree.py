"""NameTree: the clustered object through which everything else uses a file server.

One per file system instance, reached by its ref. A call names inodes by their FSFile and files within a
directory by (directory, name); the FUSE face never has more than that. `resolve` walks a whole path, for
the native face.

A method finds the object of the inode (making it if the operation needs one), calls it, and calls again if
the object was unmade meanwhile: an inode says at any time which object is its own. What an operation leaves
behind is settled when no lock is held any more: a nameless, unused inode is deleted (`reap`), an overlong
free list trimmed.

Credentials are `th.creds`. Names are bytes; the empty name, "/" and NUL in names are the front end's to
refuse.

K42: lib/libc/fslib/NameTreeLinuxFS.*.
Differs: K42's methods took paths and found credentials by the caller's process id.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from k42fs.errors import (
    BadHandleError,
    BusyError,
    DeletedObjectError,
    DirectoryNotEmptyError,
    InvalidArgumentError,
    NameExistsError,
    NameNotFoundError,
    NameTooLongError,
    NoDeviceError,
    NotDirectoryError,
    SymlinkLoopError,
    TargetIsDirectoryError,
)
from k42fs.ids import VP, Ref
from k42fs.machine.layout import Kind, Layout
from k42fs.objects.root import SingleRepRoot
from k42fs.servers.attr_changes import AttrChanges
from k42fs.servers.credentials import ROOT, SEARCH, check_changes, check_may
from k42fs.servers.dir_object import DirObject
from k42fs.servers.fs_file import NAME_MAX, FileSystem, FSFile, FsStatus
from k42fs.servers.fs_global import FileSystemGlobal, MakeObject
from k42fs.servers.open_file import DirHandle, OpenFile
from k42fs.servers.rename import Rename, Rmdir
from k42fs.servers.server_file import ATTRIBUTES, ServerFile
from k42fs.servers.walk import Walk

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.objects.cosmgr import COSMgr

NAME_TREE: Final = Layout("NameTree", Kind.GLOBAL, file_system=8, root=8, flags=8)
CALL: Final = NAME_TREE.script("call", "r:file_system r:flags", work=30)

READ_DIR_BATCH: Final = 64
TARGET_MAX: Final = 4095
_DOTS: Final = frozenset((b".", b".."))


class NameTree:
    """The face of one file server. Read-only after it was made: any number of processors share it.

    Args:
        check: check rights here, for front ends other than the kernel.
        make_file, make_dir: the object classes of this instance.
        free_list_max: idle objects kept per processor.
    """

    __slots__ = ("addr", "ref", "root", "tree")

    ref: Ref
    root: Any

    def __init__(
        self,
        cos: COSMgr,
        fs: FileSystem,
        *,
        check: bool = False,
        make_file: MakeObject = ServerFile,
        make_dir: MakeObject = DirObject,
        free_list_max: int | None = None,
    ) -> None:
        self.tree = FileSystemGlobal(cos, fs, make_file, make_dir, check=check, free_list_max=free_list_max)
        self.addr = cos.memory.alloc(VP(0), NAME_TREE, NAME_TREE.kind, owner=self)
        SingleRepRoot(cos, self)

    def label(self) -> str:
        """What statistics and traces call it."""
        return f"NameTree {self.tree.fs.name}"

    # Without a call: for those who made it

    def root_file(self) -> FSFile:
        """The root directory."""
        return self.tree.fs.root

    def hold(self, file: FSFile) -> None:
        """The kernel knows the inode now: it stays until `forget`, whatever becomes of its names."""
        assert file.holds >= 0, f"{file!r} was deleted"
        file.holds += 1

    # Names

    async def lookup(self, th: Thread, directory: FSFile, name: bytes) -> FSFile:
        """The inode called *name*; "." and ".." too.

        Raises:
            NameNotFoundError, NameTooLongError
        """
        if len(name) > NAME_MAX:
            raise NameTooLongError(f"name of {len(name)} bytes")
        if not directory.is_dir:
            raise NotDirectoryError(name)
        if name in _DOTS:
            return self._dot(th, directory, name)
        await th.touch(CALL, self.addr)
        while True:
            ref = directory.obj_ref or await self._directory(th, directory)
            try:
                return await th.deref(ref).lookup(th, name)  # type: ignore[no-any-return]
            except DeletedObjectError:
                if directory.obj_ref == ref:
                    raise

    async def resolve(
        self, th: Thread, path: bytes, follow: bool = True, start: FSFile | None = None
    ) -> FSFile:
        """The inode that *path* names, from the root or from *start*."""
        await th.touch(CALL, self.addr)
        return await Walk(self.tree, start or self.tree.fs.root).run(th, path, follow)

    async def create(
        self, th: Thread, directory: FSFile, name: bytes, mode: int, flags: int
    ) -> tuple[FSFile, OpenFile]:
        """Open the regular file *name*, made with *mode* if it does not exist (O_EXCL: it must not).

        Raises:
            NameExistsError, and what `open` raises.
        """
        _check_new(name)
        if not directory.is_dir:
            raise NotDirectoryError(name)
        await th.touch(CALL, self.addr)
        while True:
            ref = directory.obj_ref or await self._directory(th, directory)
            try:
                file, of = await th.deref(ref).create(th, name, mode, flags)
            except DeletedObjectError:
                if directory.obj_ref == ref:
                    raise
                continue
            if of is None:
                try:
                    of = await self.open(th, file, flags)
                except NameNotFoundError:
                    if file.nlink:
                        raise
                    continue  # it was removed since
            return file, of

    async def mknod(self, th: Thread, directory: FSFile, name: bytes, mode: int, rdev: int = 0) -> FSFile:
        """Make a file, FIFO, socket or device node."""
        kind = stat.S_IFMT(mode) or stat.S_IFREG
        if kind in (stat.S_IFDIR, stat.S_IFLNK):
            raise InvalidArgumentError(f"mknod cannot make type {kind:o}")
        return await self._make(th, directory, name, kind | mode & 0o7777, rdev, b"")

    async def mkdir(self, th: Thread, directory: FSFile, name: bytes, mode: int) -> FSFile:
        """Make a directory."""
        return await self._make(th, directory, name, stat.S_IFDIR | mode & 0o7777, 0, b"")

    async def symlink(self, th: Thread, directory: FSFile, name: bytes, target: bytes) -> FSFile:
        """Make a symbolic link to *target*, which may be anything of up to 4095 bytes."""
        if not target:
            raise NameNotFoundError("empty link target")
        if len(target) > TARGET_MAX:
            raise NameTooLongError(f"link target of {len(target)} bytes: at most {TARGET_MAX}")
        return await self._make(th, directory, name, stat.S_IFLNK | 0o777, 0, target)

    async def link(self, th: Thread, file: FSFile, directory: FSFile, name: bytes) -> FSFile:
        """Give *file* another name.

        Raises:
            NameExistsError, NotPermittedError (a directory), TooManyLinksError
        """
        _check_new(name)
        await self._on_dir(th, directory, "link", file, name)
        return file

    async def unlink(self, th: Thread, directory: FSFile, name: bytes) -> FSFile:
        """Remove a name of anything but a directory; its data go with the last name, open and hold."""
        if name in _DOTS:
            raise TargetIsDirectoryError(name)
        if not directory.is_dir:
            raise NotDirectoryError(name)
        await th.touch(CALL, self.addr)
        while True:
            ref = directory.obj_ref or await self._directory(th, directory)
            try:
                file: FSFile = await th.deref(ref).unlink(th, name)
                break
            except DeletedObjectError:
                if directory.obj_ref == ref:
                    raise
        if not file.nlink:
            await self.tree.reap(th, file)
        return file

    async def rmdir(self, th: Thread, directory: FSFile, name: bytes) -> FSFile:
        """Remove an empty directory. If it is open, nothing can be made in it any more."""
        if name == b".":
            raise InvalidArgumentError('rmdir of "."')
        if name == b"..":
            raise DirectoryNotEmptyError('rmdir of ".."')
        await th.touch(CALL, self.addr)
        file = await Rmdir(self.tree, _a_directory(directory), name).run(th)
        await self.tree.reap(th, file)
        return file

    async def rename(
        self, th: Thread, old_dir: FSFile, old: bytes, new_dir: FSFile, new: bytes, flags: int = 0
    ) -> tuple[FSFile, FSFile | None]:
        """Rename; what moved, and the inode that lost the name to it. *flags*: NOREPLACE 1, EXCHANGE 2."""
        if len(new) > NAME_MAX or len(old) > NAME_MAX:
            raise NameTooLongError(f"names of {len(old)} and {len(new)} bytes")
        if old in _DOTS or new in _DOTS:
            raise BusyError("rename of a dot name")
        await th.touch(CALL, self.addr)
        job = Rename(self.tree, _a_directory(old_dir), old, _a_directory(new_dir), new, flags)
        moved, replaced = await job.run(th)
        if replaced is not None and not replaced.nlink:
            await self.tree.reap(th, replaced)
        return moved, replaced

    async def read_link(self, th: Thread, file: FSFile) -> bytes:
        """A symbolic link's target.

        Raises:
            InvalidArgumentError: it is none.
        """
        if not stat.S_ISLNK(file.mode):
            raise InvalidArgumentError(f"{file!r} is no symbolic link")
        await th.touch(CALL, self.addr)
        target = await self.tree.fs.read_link(th, file)
        await self.tree.ops.accessed(th, file)
        return target

    # Attributes

    async def get_status(self, th: Thread, file: FSFile) -> FSFile:
        """The inode, its attributes agreeing with each other. A cold inode stays a token."""
        await th.touch(CALL, self.addr)
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
        await th.touch(CALL, self.addr)
        if changes.size is not None:
            if file.is_dir:
                raise TargetIsDirectoryError("truncate of a directory")
            if not file.is_regular or changes.size < 0:
                raise InvalidArgumentError(f"size {changes.size} for {file!r}")
            if open_file is not None and self.tree.check and not open_file.is_writable:
                raise InvalidArgumentError("truncate through a file opened for reading")
        if file.is_regular and (changes.size is not None or file.obj_ref):
            while True:
                ref = await self.tree.object_ref(th, file)
                try:
                    await th.deref(ref).set_attributes(th, changes, open_file is not None)
                    return file
                except DeletedObjectError:
                    if file.obj_ref == ref:
                        raise
        if self.tree.check:
            check_changes(th.creds or ROOT, file, changes, by_open_file=False)
        await self.tree.exclusively(th, ATTRIBUTES, file, self.tree.ops.set_attributes, changes)
        return file

    async def get_xattr(self, th: Thread, file: FSFile, name: bytes) -> bytes:
        """An extended attribute's value, or NoDataError."""
        await th.touch(CALL, self.addr)
        return await self.tree.exclusively(th, ATTRIBUTES, file, self.tree.ops.get_xattr, name)

    async def set_xattr(self, th: Thread, file: FSFile, name: bytes, value: bytes, flags: int = 0) -> None:
        """Set an extended attribute; *flags*: XATTR_CREATE 1, XATTR_REPLACE 2."""
        await th.touch(CALL, self.addr)
        await self.tree.exclusively(th, ATTRIBUTES, file, self.tree.ops.set_xattr, name, value, flags)

    async def list_xattr(self, th: Thread, file: FSFile) -> list[bytes]:
        """The names of all extended attributes."""
        await th.touch(CALL, self.addr)
        return await self.tree.exclusively(th, ATTRIBUTES, file, self.tree.ops.list_xattr)

    async def remove_xattr(self, th: Thread, file: FSFile, name: bytes) -> None:
        """Remove an extended attribute, or NoDataError."""
        await th.touch(CALL, self.addr)
        await self.tree.exclusively(th, ATTRIBUTES, file, self.tree.ops.remove_xattr, name)

    async def stat_fs(self, th: Thread) -> FsStatus:
        """How full the file system is."""
        await th.touch(CALL, self.addr)
        return await self.tree.fs.stat_fs(th)

    # Open files

    async def open(self, th: Thread, file: FSFile, flags: int) -> OpenFile:
        """Open a regular file; O_TRUNC truncates it.

        Raises:
            TargetIsDirectoryError, SymlinkLoopError, NoDeviceError: it is no regular file.
            NameNotFoundError: it was deleted.
            ReadOnlyError
        """
        await th.touch(CALL, self.addr)
        if not file.is_regular:
            raise _not_openable(file)
        if flags & (os.O_ACCMODE | os.O_TRUNC):
            self.tree.ops.writable()
        while True:
            if file.holds < 0:
                raise NameNotFoundError(f"{file!r} was deleted")
            ref = file.obj_ref or await self.tree.object_ref(th, file)
            try:
                return await th.deref(ref).open(th, flags)  # type: ignore[no-any-return]
            except DeletedObjectError:
                if file.obj_ref == ref:
                    raise

    async def read(self, th: Thread, of: OpenFile, offset: int | None, size: int) -> bytes:
        """Up to *size* bytes at *offset*; None: at the open file's own offset, which moves."""
        if self.tree.check and not of.is_readable:
            raise BadHandleError("not open for reading")
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
        return await th.deref(of.ref).write(th, of, offset, data)  # type: ignore[no-any-return]

    async def seek(self, th: Thread, of: OpenFile, offset: int, whence: int) -> int:
        """Move the open file's own offset; where it is now."""
        return await th.deref(of.ref).seek(th, of, offset, whence)  # type: ignore[no-any-return]

    async def fsync(self, th: Thread, of: OpenFile, datasync: bool = False) -> None:
        """Make an open file durable."""
        await th.deref(of.ref).sync(th, datasync)

    async def release(self, th: Thread, of: OpenFile) -> None:
        """Close an open file."""
        if await th.deref(of.ref).release(th, of):
            lists = self.tree.free_lists
            await lists.add(th, of.ref, of.file)
            if lists.is_long(th.vp):
                await lists.trim(th)

    # Open directories

    async def open_dir(self, th: Thread, file: FSFile) -> DirHandle:
        """Open a directory."""
        return await self._on_dir(th, file, "open_dir")  # type: ignore[no-any-return]

    async def read_dir(
        self, th: Thread, handle: DirHandle, offset: int, limit: int = READ_DIR_BATCH
    ) -> Sequence[tuple[bytes, FSFile, int]]:
        """Up to *limit* (name, inode, next offset) after *offset* (0: from the start), without "." and "..".

        Offsets are > 2, and good for ever: what is made or removed meanwhile disturbs nothing else.
        """
        return await th.deref(handle.ref).read_dir(th, offset, limit)  # type: ignore[no-any-return]

    async def release_dir(self, th: Thread, handle: DirHandle) -> None:
        """Close a directory."""
        await th.deref(handle.ref).release_dir(th)
        if not handle.file.nlink:
            await self.tree.reap(th, handle.file)

    # Housekeeping

    async def forget(self, th: Thread, file: FSFile) -> None:
        """The kernel no longer knows the inode: a nameless one that nobody has open is deleted."""
        assert file.holds > 0, f"{file!r} is not held"
        file.holds -= 1
        if not file.nlink:
            await self.tree.reap(th, file)

    async def sweep(self, th: Thread, age_ns: int) -> int:
        """Free what *th*'s processor has not used for *age_ns*; how many objects. For a timer."""
        return await self.tree.free_lists.sweep(th, age_ns)

    async def trim(self, th: Thread, entries: int) -> int:
        """Free idle objects of *th*'s processor until *entries* are left; how many were freed."""
        return await self.tree.free_lists.trim(th, entries)

    # Inside

    def _dot(self, th: Thread, directory: FSFile, name: bytes) -> FSFile:
        if self.tree.check:
            check_may(th.creds or ROOT, directory, SEARCH)
        found = directory if name == b"." else directory.parent
        if found is None:
            raise NameNotFoundError(f"directory {directory.ino} was removed")
        return found

    async def _directory(self, th: Thread, directory: FSFile) -> Ref:
        """The ref of a directory's object, made if need be."""
        ref = await self.tree.object_ref(th, _a_directory(directory))
        lists = self.tree.free_lists
        if lists.is_long(th.vp):
            await lists.trim(th)
        return ref

    async def _on_dir(self, th: Thread, directory: FSFile, method: str, *args: object) -> Any:  # noqa: ANN401
        """Call *method* of a directory's object."""
        await th.touch(CALL, self.addr)
        while True:
            ref = _a_directory(directory).obj_ref or await self._directory(th, directory)
            try:
                return await getattr(th.deref(ref), method)(th, *args)
            except DeletedObjectError:
                if directory.obj_ref == ref:
                    raise

    async def _make(
        self, th: Thread, directory: FSFile, name: bytes, mode: int, rdev: int, target: bytes
    ) -> FSFile:
        _check_new(name)
        return await self._on_dir(th, directory, "make", name, mode, rdev, target)  # type: ignore[no-any-return]


def _check_new(name: bytes) -> None:
    """Raise if nothing of this name can be made."""
    if len(name) > NAME_MAX:
        raise NameTooLongError(f"name of {len(name)} bytes")
    if name in _DOTS:
        raise NameExistsError(name)


def _a_directory(file: FSFile) -> FSFile:
    if not file.is_dir:
        raise NotDirectoryError(f"{file!r}")
    return file


def _not_openable(file: FSFile) -> Exception:
    """Why *file* cannot be opened here."""
    if file.is_dir:
        return TargetIsDirectoryError(f"{file!r}")
    if stat.S_ISLNK(file.mode):
        return SymlinkLoopError(f"{file!r}")
    return NoDeviceError(f"{file!r}")
