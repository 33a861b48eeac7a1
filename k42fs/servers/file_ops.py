"""What operations on one inode do, once they have it to themselves.

An inode with an object is exclusive under the object's lock, a cold one under its token lock
(`fs_global.py`); the functions here run under either. They check rights where the tree checks rights,
refuse changes to a read-only file system, and add to the file system's plain record changes what POSIX
demands around them.
"""

from __future__ import annotations

import stat
from collections.abc import Awaitable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from k42fs.errors import NotPermittedError, PermissionDeniedError, ReadOnlyError
from k42fs.machine.thread import DONE
from k42fs.servers import posix_acl
from k42fs.servers.attr_changes import AttrChanges, without_suid
from k42fs.servers.credentials import (
    READ,
    ROOT,
    WRITE,
    Creds,
    check_changes,
    check_may,
    check_owner,
)
from k42fs.servers.fs_file import FileSystem, FSFile

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread

SUID_BITS: Final = stat.S_ISUID | stat.S_ISGID
CAPABILITY: Final = b"security.capability"
DAY_NS: Final = 24 * 3600 * 10**9


def access_is_news(file: FSFile, now_ns: int) -> bool:
    """Say whether the recorded access says little: older than the last change, or than a day (relatime)."""
    atime = file.atime_ns
    return atime <= file.mtime_ns or atime <= file.ctime_ns or now_ns - atime >= DAY_NS


def loses_rights(file: FSFile) -> bool:
    """Say whether a change of contents may take set-ID bits or capabilities from *file*."""
    return bool(file.mode & SUID_BITS) or (file.xattrs is not None and CAPABILITY in file.xattrs)


class FileOps:
    """The operations for the inodes of one file system.

    *check*: rights are checked here, not by the front end.
    """

    __slots__ = ("check", "fs")

    def __init__(self, fs: FileSystem, check: bool) -> None:
        self.fs = fs
        self.check = check

    async def set_attributes(self, th: Thread, file: FSFile, changes: AttrChanges) -> None:
        """Everything but the size. chown clears set-ID bits and file capabilities of all but directories."""
        self.writable()
        creds: Creds = th.creds or ROOT
        if self.check:
            check_changes(creds, file, changes, by_open_file=True)
            if changes.mode is not None and creds.uid != 0 and not creds.in_group(file.gid):
                changes = replace(changes, mode=changes.mode & ~stat.S_ISGID)
        if (changes.uid is not None or changes.gid is not None) and not file.is_dir:
            mode = without_suid(file.mode if changes.mode is None else changes.mode)
            changes = replace(changes, mode=mode)
            await self._drop_capability(th, file)
        await self.fs.set_attributes(th, file, changes)

    async def clear_suid(self, th: Thread, file: FSFile, creds: Creds) -> None:
        """What any change of contents does to set-ID bits and capabilities, root's bits excepted."""
        if creds.uid != 0 and file.mode & SUID_BITS:
            mode = without_suid(file.mode)
            if mode != file.mode:
                await self.fs.set_attributes(th, file, AttrChanges(mode=mode))
        await self._drop_capability(th, file)

    async def get_xattr(self, th: Thread, file: FSFile, name: bytes) -> bytes:
        """An attribute's value."""
        if self.check and name.startswith(b"user."):
            check_may(th.creds or ROOT, file, READ)
        return await self.fs.get_xattr(th, file, name)

    async def set_xattr(self, th: Thread, file: FSFile, name: bytes, value: bytes, flags: int) -> None:
        """Set an attribute; *flags* as in setxattr(2)."""
        self.writable()
        self._check_xattr_write(th, file, name)
        await self.fs.set_xattr(th, file, name, value, flags)

    async def list_xattr(self, th: Thread, file: FSFile) -> list[bytes]:
        """The names of all attributes."""
        return await self.fs.list_xattr(th, file)

    async def remove_xattr(self, th: Thread, file: FSFile, name: bytes) -> None:
        """Remove an attribute."""
        self.writable()
        self._check_xattr_write(th, file, name)
        await self.fs.remove_xattr(th, file, name)

    def accessed(self, th: Thread, file: FSFile) -> Awaitable[None]:
        """Record a read, as relatime has it."""
        fs = self.fs
        if fs.updates_atime and not fs.is_read_only and access_is_news(file, now := th.now_ns()):
            return fs.set_atime(th, file, now)
        return DONE

    def writable(self) -> None:
        """Raise ReadOnlyError if nothing here may change."""
        if self.fs.is_read_only:
            raise ReadOnlyError(f"{self.fs.name} is read-only")

    def _check_xattr_write(self, th: Thread, file: FSFile, name: bytes) -> None:
        if not self.check:
            return
        creds: Creds = th.creds or ROOT
        if name in (posix_acl.ACCESS, posix_acl.DEFAULT):
            check_owner(creds, file)
        elif name.startswith(b"user."):
            check_may(creds, file, WRITE)
            if file.mode & stat.S_ISVTX and file.is_dir and creds.uid not in (0, file.uid):
                raise PermissionDeniedError(f"inode {file.ino} is sticky and another's")
        elif creds.uid != 0:
            raise NotPermittedError(f"uid {creds.uid} may not write {name!r}")

    async def _drop_capability(self, th: Thread, file: FSFile) -> None:
        if file.xattrs is not None and CAPABILITY in file.xattrs:
            await self.fs.remove_xattr(th, file, CAPABILITY)
