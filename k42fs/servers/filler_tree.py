"""The server of path fillers: directories that exist only because a mount lies below them.

K42 shows them as synthetic directories of the mount tree, with synthetic inode numbers (5000 and up). They
have no entries of their own, and nothing can be made in them.

K42: lib/libc/sys/MountPointMgrCommon.C, getDents.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from typing import ClassVar, NoReturn

from k42fs.errors import NameNotFoundError, NotSupportedError, ReadOnlyError
from k42fs.ids import Ino
from k42fs.machine import Thread
from k42fs.servers.fs_file import NO_REF, FSFile


class FillerFile(FSFile):
    """One synthetic directory: constant attributes, no state. All its times are *made_ns*, since the epoch."""

    __slots__ = ()

    is_dir: ClassVar[bool] = True

    def __init__(self, ino: Ino, made_ns: int) -> None:
        self.ino = ino
        self.mode = stat.S_IFDIR | 0o555
        self.nlink = 2
        self.generation = self.uid = self.gid = self.size = 0
        self.atime_ns = self.mtime_ns = self.ctime_ns = made_ns
        self.holds = 0
        self.obj_ref = NO_REF
        self.xattrs = None


class FillerTree:
    """A NameTree with nothing in it; installed once, behind every filler."""

    async def lookup(self, th: Thread, directory: FSFile, name: bytes) -> NoReturn:
        raise NameNotFoundError

    async def get_status(self, th: Thread, file: FSFile) -> FSFile:
        return file

    async def open_dir(self, th: Thread, directory: FSFile) -> None:
        return None

    async def read_dir(
        self, th: Thread, opened: None, offset: int, limit: int
    ) -> Sequence[tuple[bytes, FSFile, int]]:
        return ()

    async def release_dir(self, th: Thread, opened: None) -> None:
        return None

    async def forget(self, th: Thread, file: FSFile) -> None:
        return None

    async def list_xattr(self, th: Thread, file: FSFile) -> list[bytes]:
        return []

    async def _refuse(self, th: Thread, *_args: object) -> NoReturn:
        raise ReadOnlyError("a directory that exists only for the mounts below it cannot be changed")

    create = mknod = mkdir = symlink = link = unlink = rmdir = rename = set_attributes = _refuse
    set_xattr = remove_xattr = _refuse

    async def get_xattr(self, th: Thread, file: FSFile, name: bytes) -> NoReturn:
        raise NotSupportedError
