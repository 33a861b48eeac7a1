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

import stat
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from k42fs.errors import (
    BusyError,
    DeletedObjectError,
    DirectoryNotEmptyError,
    InvalidArgumentError,
    NameExistsError,
    NameNotFoundError,
    NameTooLongError,
    NotDirectoryError,
    TargetIsDirectoryError,
)
from k42fs.ids import Ref
from k42fs.servers import fs_trace
from k42fs.servers.credentials import ROOT, SEARCH, check_may
from k42fs.servers.fs_file import NAME_MAX, NO_REF, FileSystem, FSFile
from k42fs.servers.makers import default_policy
from k42fs.servers.open_file import DirHandle, OpenFile
from k42fs.servers.rename import EXCHANGE, Rename, Rmdir
from k42fs.servers.supplies import PER_PROCESSOR, Supplies
from k42fs.servers.tree_files import TreeFiles
from k42fs.servers.walk import Walk

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.objects.cosmgr import COSMgr
    from k42fs.servers.object_policy import ObjectPolicy

READ_DIR_BATCH: Final = 64
TARGET_MAX: Final = 4095
_DOTS: Final = frozenset((b".", b".."))


class NameTree(TreeFiles):
    """The face of one file server. Read-only after it was made: any number of processors share it.

    Args:
        check: check rights here, for front ends other than the kernel.
        policy: which implementation each new object gets; None for the default of each kind.
        free_list_max: idle objects kept per processor.
        name_server: told of links that lose their names, because clients keep links by path; 0 for none.
        supplies: what is kept for each processor, and what once.
        serial_renames: every rename from one directory to another takes the rename mutex, not only a directory's.
    """

    __slots__ = ()

    def __init__(
        self,
        cos: COSMgr,
        fs: FileSystem,
        *,
        check: bool = False,
        policy: ObjectPolicy | None = None,
        free_list_max: int | None = None,
        name_server: Ref = NO_REF,
        supplies: Supplies = PER_PROCESSOR,
        serial_renames: bool = False,
    ) -> None:
        super().__init__(cos, fs, policy or default_policy(), check, free_list_max, name_server, supplies)
        self.tree.serial_renames = serial_renames

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
        await self._enter(th)
        while True:
            ref = directory.obj_ref or await self._directory(th, directory)
            try:
                if th.proc.on.control:
                    return await fs_trace.looked_up(th, self.tree, directory, ref, name, th.deref(ref))
                return await th.deref(ref).lookup(th, name)  # type: ignore[no-any-return]
            except DeletedObjectError:
                if directory.obj_ref == ref:
                    raise

    async def search(self, th: Thread, directory: FSFile, name: bytes) -> FSFile:
        """As `lookup`, for a caller whose right to search nobody has checked: the kernel did not walk here.

        Raises:
            PermissionDeniedError, and what `lookup` raises.
        """
        if directory.is_dir:
            check_may(th.creds or ROOT, directory, SEARCH, by_acl=self.tree.fs.acls_are_enforced)
        return await self.lookup(th, directory, name)

    async def resolve(
        self, th: Thread, path: bytes, follow: bool = True, start: FSFile | None = None
    ) -> FSFile:
        """The inode that *path* names, from the root or from *start*."""
        await self._enter(th)
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
        await self._enter(th)
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
            elif th.proc.on.fs:
                fs_trace.opened(th, self.tree, of, flags)
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
        if th.proc.on.fs:
            fs_trace.named(th, self.tree.cos, file, "link")
        await self._on_dir(th, directory, "link", file, name)
        return file

    async def unlink(self, th: Thread, directory: FSFile, name: bytes) -> FSFile:
        """Remove a name of anything but a directory; its data go with the last name, open and hold."""
        if name in _DOTS:
            raise TargetIsDirectoryError(name)
        if not directory.is_dir:
            raise NotDirectoryError(name)
        await self._enter(th)
        while True:
            ref = directory.obj_ref or await self._directory(th, directory)
            try:
                file: FSFile = await th.deref(ref).unlink(th, name)
                break
            except DeletedObjectError:
                if directory.obj_ref == ref:
                    raise
        if th.proc.on.fs:
            fs_trace.named(th, self.tree.cos, file, "unlink")
        if stat.S_ISLNK(file.mode):
            await self._report_moved(th, file)
        if not file.nlink:
            await self.tree.reap(th, file)
        return file

    async def rmdir(self, th: Thread, directory: FSFile, name: bytes) -> FSFile:
        """Remove an empty directory. If it is open, nothing can be made in it any more."""
        if name == b".":
            raise InvalidArgumentError('rmdir of "."')
        if name == b"..":
            raise DirectoryNotEmptyError('rmdir of ".."')
        await self._enter(th)
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
        await self._enter(th)
        job = Rename(self.tree, _a_directory(old_dir), old, _a_directory(new_dir), new, flags)
        moved, replaced = await job.run(th)
        if th.proc.on.control:
            self.tree.known.learn(new_dir, new, moved)
            self.tree.cos.tracing.name_again(th.proc, moved.obj_ref)
            if replaced is not None and flags & EXCHANGE:
                self.tree.known.learn(old_dir, old, replaced)
                self.tree.cos.tracing.name_again(th.proc, replaced.obj_ref)
            if th.proc.on.fs:
                fs_trace.named(th, self.tree.cos, moved, "rename")
        if not (moved.is_regular and (replaced is None or replaced.is_regular)):
            await self._report_moved(th, moved, replaced)
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
        await self._enter(th)
        target = await self.tree.fs.read_link(th, file)
        await self.tree.ops.accessed(th, file)
        return target

    # Open directories

    async def open_dir(self, th: Thread, file: FSFile) -> DirHandle:
        """Open a directory."""
        handle: DirHandle = await self._on_dir(th, file, "open_dir")
        if th.proc.on.fs:
            fs_trace.opened(th, self.tree, handle)
        return handle

    async def read_dir(
        self, th: Thread, handle: DirHandle, offset: int, limit: int = READ_DIR_BATCH
    ) -> Sequence[tuple[bytes, FSFile, int]]:
        """Up to *limit* (name, inode, next offset) after *offset* (0: from the start), without "." and "..".

        Offsets are > 2, and good for ever: what is made or removed meanwhile disturbs nothing else.
        """
        if th.proc.on.fs:
            fs_trace.used(th, handle, "read_dir")
        return await th.deref(handle.ref).read_dir(th, offset, limit)  # type: ignore[no-any-return]

    async def release_dir(self, th: Thread, handle: DirHandle) -> None:
        """Close a directory."""
        await th.deref(handle.ref).release_dir(th)
        if th.proc.on.fs:
            fs_trace.closed(th, handle)
        if not handle.file.nlink:
            await self.tree.reap(th, handle.file)

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
        await self._enter(th)
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
        file: FSFile = await self._on_dir(th, directory, "make", name, mode, rdev, target)
        if th.proc.on.control:
            self.tree.known.learn(directory, name, file)
        return file


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
