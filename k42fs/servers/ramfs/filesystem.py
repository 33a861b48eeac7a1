"""ramfs: a file system in memory, complete in POSIX terms and bounded in size.

Inodes and names live in Python objects (`inode.py`, `entries.py`), bytes in `sparse.py`, space in
`budget.py`. As the library runs no two conflicting operations at once, the only lock here is the budget's,
taken when a processor's credit runs out. Every method charges first and then changes everything in one
step, or raises and changes nothing.

Times come from the thread: wall time on a live mount, virtual time in a deterministic run.

K42: os/servers/k42Ramfs/*.
Differs: K42's ramfs had no sizes, no limits, no timestamps of its own, and lent its directories' contents
to the library's cache; files lived in unpageable kernel pages until unlinked.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Final

from k42fs.errors import FileTooBigError, NoDataError, NoSpaceError
from k42fs.servers import fs_trace, posix_acl
from k42fs.servers.attr_changes import AttrChanges
from k42fs.servers.credentials import ROOT
from k42fs.servers.fs_file import DEAD, FSFile, FsStatus
from k42fs.servers.ramfs import xattr
from k42fs.servers.ramfs.budget import INODE_BYTES, UNLIMITED
from k42fs.servers.ramfs.inode import (
    CUT_DATA,
    FREE,
    LINK_IN_INODE,
    READ_DATA,
    READ_STATUS,
    WRITE_DATA,
    WRITE_STATUS,
    RamDir,
    RamFile,
    RamLink,
)
from k42fs.servers.ramfs.names import RamNames
from k42fs.servers.ramfs.space import CREDIT, REFILL
from k42fs.servers.ramfs.sparse import PAGE, PAGE_SHIFT, SparseData
from k42fs.servers.supplies import PER_PROCESSOR, Supplies

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine
    from k42fs.machine.thread import Thread

FILE_MAX: Final = (1 << 44) - PAGE
"""The longest file in bytes: 16 TiB less a page, as ext4 with 4 KiB blocks."""


class RamFS(RamNames):
    """One ramfs of at most *size* bytes: its data pages, and `INODE_BYTES` for each inode.

    Raises:
        ConfigError: *size* is too small to be of use.
    """

    name = "ramfs"

    def __init__(
        self,
        machine: Machine,
        size: int = UNLIMITED,
        mode: int = 0o755,
        uid: int = 0,
        gid: int = 0,
        supplies: Supplies = PER_PROCESSOR,
    ) -> None:
        super().__init__(machine, size, mode, uid, gid, supplies)

    async def read_link(self, th: Thread, file: FSFile) -> bytes:
        """A symbolic link's target."""
        assert type(file) is RamLink
        await th.touch(READ_DATA, file.addr)
        return file.target

    async def delete_file(self, th: Thread, file: FSFile) -> None:
        """Free an inode with its data and give its number back."""
        if th.proc.on.fs:
            th.proc.emit.fs_ramfs_delete_file(file.ino)
        assert file.nlink == 0, f"{file!r} still has names"
        assert file.holds == 0, f"{file!r} is held {file.holds} times"
        file.holds = DEAD
        await th.touch(FREE, file.addr, self._local[th.vp])
        if self._space.is_shared:
            await self._space.number_taken(th, file.addr)
        size = INODE_BYTES + xattr.footprint(file.xattrs)
        if type(file) is RamFile:
            if file.data is not None:
                size += file.data.pages << PAGE_SHIFT
                file.data = None
        elif type(file) is RamDir:
            self._memory.free(th.vp, file.table)
        elif type(file) is RamLink and len(file.target) >= LINK_IN_INODE:
            size += PAGE
        file.xattrs = None
        self._memory.free(th.vp, file.addr)
        self._budget.give(th.vp, size)
        self._numbers.give(th.vp, file.ino, file.generation)
        self._files -= 1

    # Attributes

    async def set_attributes(self, th: Thread, file: FSFile, changes: AttrChanges) -> None:
        """Set mode, owner and times as given, and ctime."""
        if th.proc.on.fs:
            fs_trace.ram_set_attributes(th, file, changes)
        await th.touch(WRITE_STATUS, file.addr)
        if changes.mtime_ns is not None and type(file) is RamDir and file.shared is not None:
            await file.shared.set_times(th)
        if changes.mode is not None:
            if file.xattrs is not None:
                xattr.follow_chmod(file, changes.mode)
            file.mode = stat.S_IFMT(file.mode) | changes.mode & 0o7777
        if changes.uid is not None:
            file.uid = changes.uid
        if changes.gid is not None:
            file.gid = changes.gid
        if changes.atime_ns is not None:
            file.atime_ns = changes.atime_ns
        if changes.mtime_ns is not None:
            file.mtime_ns = changes.mtime_ns
        file.ctime_ns = th.now_ns()

    async def set_atime(self, th: Thread, file: FSFile, now_ns: int) -> None:
        """Record an access."""
        await th.touch(WRITE_STATUS, file.addr)
        file.atime_ns = now_ns

    async def get_xattr(self, th: Thread, file: FSFile, name: bytes) -> bytes:
        """An extended attribute's value."""
        await th.touch(READ_STATUS, file.addr)
        return xattr.get(file, name)

    async def set_xattr(self, th: Thread, file: FSFile, name: bytes, value: bytes, flags: int) -> None:
        """Set an extended attribute; an access ACL sets the mode with it."""
        await th.touch(WRITE_STATUS, file.addr)
        growth = xattr.check_set(file, name, value, flags)
        mode = file.mode
        if name in (posix_acl.ACCESS, posix_acl.DEFAULT):
            stored, mode = xattr.acl_value(file, name, value, th.creds or ROOT)
            if stored is None:
                self._drop_xattr(th, file, name)
                file.mode = mode
                file.ctime_ns = th.now_ns()
                return
        if (
            growth > 0
            and not self._budget.take(th.vp, growth)
            and not await self._space.take_slowly(th, growth)
        ):
            raise NoSpaceError(f"no space for {growth} bytes of attributes")
        if growth < 0:
            self._budget.give(th.vp, -growth)
        if file.xattrs is None:
            file.xattrs = {}
        file.xattrs[name] = bytes(value)
        file.mode = mode
        file.ctime_ns = th.now_ns()

    async def list_xattr(self, th: Thread, file: FSFile) -> list[bytes]:
        """The names of a file's extended attributes."""
        await th.touch(READ_STATUS, file.addr)
        return list(file.xattrs) if file.xattrs else []

    async def remove_xattr(self, th: Thread, file: FSFile, name: bytes) -> None:
        """Remove an extended attribute. An access ACL's mode bits stay."""
        await th.touch(WRITE_STATUS, file.addr)
        xattr.check_name(file, name)
        xattr.check_user(file, name)
        if file.xattrs is None or name not in file.xattrs:
            raise NoDataError(f"no attribute {name!r}")
        self._drop_xattr(th, file, name)
        file.ctime_ns = th.now_ns()

    # Contents

    async def read(self, th: Thread, file: FSFile, offset: int, size: int) -> bytes:
        """Bytes of a file, clipped to its length."""
        assert type(file) is RamFile
        await th.touch(READ_DATA, file.addr)
        end = file.size
        if offset + size > end:
            size = end - offset
            if size <= 0:
                return b""
        data = file.data
        return bytes(size) if data is None else data.read(offset, size)

    async def write(
        self,
        th: Thread,
        file: FSFile,
        offset: int,
        data: bytes | bytearray | memoryview,
        keeps_times: bool = False,
    ) -> int:
        """Store bytes, growing the file; fewer than given where the limits cut in.

        Writes of different bytes may come at once: what a charge let others do meanwhile is looked at again.
        """
        assert type(file) is RamFile
        size = len(data)
        if th.proc.on.fs:
            th.proc.emit.fs_ramfs_start_write(file.ino, offset, size, 1)
        if offset + size > FILE_MAX:
            if offset >= FILE_MAX:
                raise FileTooBigError(f"offset {offset}: files end at {FILE_MAX}")
            data = memoryview(data)[: FILE_MAX - offset]
            size = len(data)
        store = file.data
        if store is None:
            store = SparseData()
        needed = store.new_pages(offset, size)
        if needed:
            await th.touch(CREDIT, self._local[th.vp])
            if self._space.has_one_budget:
                await self._space.budget_changed(th)
            wanted = needed << PAGE_SHIFT
            if not self._budget.take(th.vp, wanted) and not await self._space.take_slowly(th, wanted):
                size = self._space.take_what_is_left(th.vp, store, offset, size)
                if not size:
                    raise NoSpaceError("no page left")
                data = memoryview(data)[:size]
                needed = store.new_pages(offset, size)
        is_inside = keeps_times and not needed and offset + size <= file.size
        await th.touch(READ_DATA if is_inside else WRITE_DATA, file.addr)
        if needed:
            if file.data is not None:
                store = file.data
            if surplus := needed - store.new_pages(offset, size):  # others have made them meanwhile
                self._budget.give(th.vp, surplus << PAGE_SHIFT)
        store.write(offset, data)
        file.data = store
        if offset + size > file.size:
            file.size = offset + size
        file.mtime_ns = file.ctime_ns = th.now_ns()
        return size

    async def truncate(self, th: Thread, file: FSFile, size: int) -> None:
        """Set the length; what lies past it is given back."""
        assert type(file) is RamFile
        if th.proc.on.fs:
            th.proc.emit.fs_ramfs_f_truncate(file.ino, size)
        if size > FILE_MAX:
            raise FileTooBigError(f"length {size}: files end at {FILE_MAX}")
        await th.touch(CUT_DATA, file.addr)
        if self._space.has_one_budget and file.data is not None:
            await self._space.budget_changed(th)
        store = file.data
        if store is not None and size < file.size:
            before = store.pages
            store.truncate(size)
            freed = before - store.pages
            if not store.pages:
                file.data = None
            if freed:
                self._budget.give(th.vp, freed << PAGE_SHIFT)
        file.size = size
        file.mtime_ns = file.ctime_ns = th.now_ns()

    async def stat_fs(self, th: Thread) -> FsStatus:
        """How full it is: the shared rest and every processor's credit."""
        await th.touch(REFILL, self._space.shared)
        free = self._budget.free()
        free_files = free // INODE_BYTES
        return FsStatus(PAGE, self._budget.limit // PAGE, free // PAGE, self._files + free_files, free_files)

    # Inside

    def _drop_xattr(self, th: Thread, file: FSFile, name: bytes) -> None:
        value = file.xattrs.pop(name, None) if file.xattrs else None
        if value is not None:
            self._budget.give(th.vp, len(name) + len(value))
            if not file.xattrs:
                file.xattrs = None
