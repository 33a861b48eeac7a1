"""The names of a ramfs: directories, and the making and naming of inodes.

Half of the file system; `filesystem.py` adds what is done to one inode. Each operation charges first and then
changes names, link counts and times in one step.

K42: os/servers/k42Ramfs/*.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Final
from zlib import crc32

from k42fs.errors import DirectoryNotEmptyError, NameNotFoundError, NoSpaceError, TooManyLinksError
from k42fs.ids import VP, Addr
from k42fs.machine.layout import Kind, Script
from k42fs.machine.thread import DONE, Thread
from k42fs.servers import fs_trace, posix_acl
from k42fs.servers.credentials import ROOT, creation_owner
from k42fs.servers.fs_file import FileSystem, FSFile
from k42fs.servers.ramfs import xattr
from k42fs.servers.ramfs.budget import INODE_BYTES
from k42fs.servers.ramfs.inode import (
    ADD_NAME,
    FIND,
    FIRST_SLOTS,
    INODE,
    LINK,
    LINK_IN_INODE,
    NEW,
    READ_SHARED,
    REMOVE_NAME,
    SCAN,
    RamDir,
    RamFile,
    RamLink,
    RamNode,
)
from k42fs.servers.ramfs.numbers import is_fresh_block
from k42fs.servers.ramfs.shared_dir import SLOT, SharedDir
from k42fs.servers.ramfs.space import NUMBER_BLOCK, Space
from k42fs.servers.ramfs.sparse import PAGE

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from k42fs.machine.driver import Machine
    from k42fs.servers.supplies import Supplies

LINKS_MAX: Final = 65000
TYPE_BITS: Final = 0o170000

_KINDS: Final[dict[int, type[FSFile]]] = {stat.S_IFREG: RamFile, stat.S_IFDIR: RamDir, stat.S_IFLNK: RamLink}


class RamNames(FileSystem):
    """The root, the name operations, and the supplies that inodes come from."""

    can_share_names = True

    def __init__(
        self, machine: Machine, size: int, mode: int, uid: int, gid: int, supplies: Supplies
    ) -> None:
        self._memory = machine.memory
        self._line_bytes = machine.config.line_bytes
        self._modelled = machine.model == "full"
        self._space = Space(machine, size, supplies)
        self._budget = self._space.budget
        self._numbers = self._space.numbers
        self._local = self._space.local
        self._files = 0
        self._budget.refill(VP(0), INODE_BYTES)
        self._budget.take(VP(0), INODE_BYTES)
        now = machine.wall_clock_ns() if machine.live else 0
        root = RamDir(*self._numbers.take(VP(0)), stat.S_IFDIR | mode, uid, gid, now)
        self._place(root, VP(0))
        root.parent = root
        self._root = root

    @property
    def root(self) -> FSFile:
        """The root directory."""
        return self._root

    def share_names(self, vp: VP, directory: FSFile, is_shared: bool) -> None:
        """Spread what is kept about *directory* over processors and buckets, or gather it again."""
        assert type(directory) is RamDir
        if is_shared == (directory.shared is not None):
            return
        if directory.shared is not None:
            directory.shared.free(vp)
            directory.shared = None
            slots = FIRST_SLOTS
            while 2 * slots < len(directory.entries):
                slots *= 2
            directory.mask = slots - 1
            directory.table = self._memory.alloc(vp, slots * SLOT, Kind.GLOBAL_PADDED, owner=directory)
        else:
            self._memory.free(vp, directory.table)
            directory.shared = SharedDir(self._memory, vp, directory.entries, self._line_bytes)

    async def gather_status(self, th: Thread, directory: FSFile) -> None:
        """Charge what must be read besides the record to know *directory*'s attributes."""
        assert type(directory) is RamDir
        await self._touch_all(th, directory)

    async def lookup(self, th: Thread, directory: FSFile, name: bytes) -> FSFile | None:
        """The inode called *name*, or None."""
        assert type(directory) is RamDir
        if th.proc.on.fs:
            fs_trace.ram_lookup(th, directory, name)
        await th.touch(FIND, directory.addr, self._slot(directory, name))
        entry = directory.entries.by_name.get(name)
        file = None if entry is None else entry.file
        if th.proc.on.fs:
            fs_trace.ram_found(th, directory, name, file)
        return file

    async def make(
        self, th: Thread, directory: FSFile, name: bytes, mode: int, rdev: int = 0, target: bytes = b""
    ) -> FSFile:
        """Make an inode of the type in *mode* and name it."""
        assert type(directory) is RamDir
        creds = th.creds or ROOT
        vp = th.vp
        kind = mode & TYPE_BITS
        gid, size = creds.gid, INODE_BYTES
        xattrs: dict[bytes, bytes] | None = None
        if directory.mode & stat.S_ISGID:
            mode, gid = creation_owner(creds, directory, mode)
        if kind == stat.S_IFLNK:
            if len(target) >= LINK_IN_INODE:
                size += PAGE
        elif directory.xattrs is None or posix_acl.DEFAULT not in directory.xattrs:
            mode &= ~creds.umask
        else:
            mode, xattrs = _inherit(directory.xattrs[posix_acl.DEFAULT], mode)
            size += xattr.footprint(xattrs)
        if not self._budget.take(vp, size) and not await self._space.take_slowly(th, size):
            raise NoSpaceError("no space for another inode")
        if directory.nlink == 0:
            self._budget.give(vp, size)
            raise NameNotFoundError(f"inode {directory.ino} was removed")
        ino, generation = self._numbers.take(vp)
        if is_fresh_block(ino, generation) and not self._space.has_one_list:
            await th.touch(NUMBER_BLOCK, self._space.shared)
        file = _KINDS.get(kind, RamNode)(ino, generation, mode, creds.uid, gid, th.now_ns())
        file.xattrs = xattrs
        if th.proc.on.fs:
            fs_trace.ram_make(th, directory, name, file)
        self._place(file, vp)
        if kind == stat.S_IFDIR:
            assert type(file) is RamDir
            file.parent = directory
        elif type(file) is RamLink:
            file.target = target
            file.size = len(target)
        elif type(file) is RamNode:
            file.rdev = rdev
        if self._space.is_shared:
            await self._space.number_taken(th, file.addr)
        await th.touch(NEW, file.addr, self._local[vp])
        await self._touch_name(th, ADD_NAME, directory, name, is_new=True)
        self._enter(th, directory, name, file)
        if kind == stat.S_IFDIR:
            directory.nlink += 1
        directory.mtime_ns = directory.ctime_ns = file.ctime_ns
        return file

    async def link(self, th: Thread, file: FSFile, directory: FSFile, name: bytes) -> None:
        """Add a name to *file*."""
        assert type(directory) is RamDir
        if th.proc.on.fs:
            th.proc.emit.fs_ramfs_link(file.ino, directory.ino, fs_trace.text(th, name))
        await th.touch(LINK, file.addr)
        await self._touch_name(th, ADD_NAME, directory, name, is_new=True)
        if file.nlink == 0 or directory.nlink == 0:
            raise NameNotFoundError(f"inode {file.ino if file.nlink == 0 else directory.ino} was removed")
        if file.nlink >= LINKS_MAX:
            raise TooManyLinksError(f"inode {file.ino} has {file.nlink} links")
        self._enter(th, directory, name, file)
        file.nlink += 1
        file.ctime_ns = directory.mtime_ns = directory.ctime_ns = th.now_ns()

    async def unlink(self, th: Thread, file: FSFile, directory: FSFile, name: bytes) -> int:
        """Take a name of *file* away; the links that remain."""
        assert type(directory) is RamDir
        if th.proc.on.fs:
            th.proc.emit.fs_ramfs_unlink(directory.ino, file.ino, fs_trace.text(th, name))
        await th.touch(LINK, file.addr)
        await self._touch_name(th, REMOVE_NAME, directory, name)
        self._remove(th, directory, name)
        file.nlink -= 1
        file.ctime_ns = directory.mtime_ns = directory.ctime_ns = th.now_ns()
        return file.nlink

    async def rmdir(self, th: Thread, directory: FSFile, name: bytes, child: FSFile) -> None:
        """Take an empty directory's name away."""
        assert type(directory) is RamDir
        assert type(child) is RamDir
        if th.proc.on.fs:
            th.proc.emit.fs_ramfs_rmdir(directory.ino, fs_trace.text(th, name))
        await th.touch(LINK, child.addr)
        await self._touch_name(th, REMOVE_NAME, directory, name)
        await self._touch_all(th, child)
        if child.entries.by_name:
            raise DirectoryNotEmptyError(f"{name!r} has {len(child.entries)} entries")
        self._remove(th, directory, name)
        _remove_dir(directory, child)
        child.ctime_ns = directory.mtime_ns = directory.ctime_ns = th.now_ns()

    async def rename(
        self,
        th: Thread,
        old_dir: FSFile,
        old: bytes,
        file: FSFile,
        new_dir: FSFile,
        new: bytes,
        replaced: FSFile | None,
    ) -> None:
        """Move a name; what it replaces loses a link in the same step."""
        assert type(old_dir) is RamDir
        assert type(new_dir) is RamDir
        if th.proc.on.fs:
            fs_trace.ram_rename(th, old_dir, old, file, new_dir, new)
        await th.touch(LINK, file.addr)
        if replaced is not None:
            await th.touch(LINK, replaced.addr)
        await self._touch_name(th, REMOVE_NAME, old_dir, old)
        await self._touch_name(th, ADD_NAME, new_dir, new, is_new=replaced is None)
        if type(replaced) is RamDir:
            await self._touch_all(th, replaced)
        if new_dir.nlink == 0:
            raise NameNotFoundError(f"inode {new_dir.ino} was removed")
        now = th.now_ns()
        if replaced is None:
            self._enter(th, new_dir, new, file)
        else:
            if type(replaced) is RamDir:
                if replaced.entries.by_name:
                    raise DirectoryNotEmptyError(f"{new!r} has {len(replaced.entries)} entries")
                _remove_dir(new_dir, replaced)
            else:
                replaced.nlink -= 1
            replaced.ctime_ns = now
            new_dir.entries.replace(new, file)
        self._remove(th, old_dir, old)
        _move_dir(file, old_dir, new_dir)
        file.ctime_ns = now
        old_dir.mtime_ns = old_dir.ctime_ns = now
        new_dir.mtime_ns = new_dir.ctime_ns = now

    async def exchange(
        self,
        th: Thread,
        old_dir: FSFile,
        old: bytes,
        file: FSFile,
        new_dir: FSFile,
        new: bytes,
        other: FSFile,
    ) -> None:
        """Swap what two names mean."""
        assert type(old_dir) is RamDir
        assert type(new_dir) is RamDir
        if th.proc.on.fs:
            fs_trace.ram_rename(th, old_dir, old, file, new_dir, new)
            fs_trace.ram_rename(th, new_dir, new, other, old_dir, old)
        await th.touch(LINK, file.addr)
        await th.touch(LINK, other.addr)
        await self._touch_name(th, ADD_NAME, old_dir, old)
        await self._touch_name(th, ADD_NAME, new_dir, new)
        old_dir.entries.replace(old, other)
        new_dir.entries.replace(new, file)
        _move_dir(file, old_dir, new_dir)
        _move_dir(other, new_dir, old_dir)
        now = th.now_ns()
        file.ctime_ns = other.ctime_ns = now
        old_dir.mtime_ns = old_dir.ctime_ns = now
        new_dir.mtime_ns = new_dir.ctime_ns = now

    async def get_dents(
        self, th: Thread, directory: FSFile, cookie: int, limit: int
    ) -> list[tuple[bytes, FSFile, int]]:
        """Up to *limit* entries after *cookie*, oldest first."""
        assert type(directory) is RamDir
        if th.proc.on.fs:
            th.proc.emit.fs_ramfs_get_dents(directory.ino, cookie)
        await th.touch(SCAN, directory.addr)
        await self._touch_all(th, directory)
        found = directory.entries.after(cookie, limit)
        if directory.shared is not None:
            for name, _, _ in found:
                await th.load(directory.shared.slot(name), SLOT)
        elif self._modelled and found:
            await th.load(directory.table, min(len(found), directory.mask + 1) * SLOT)
        return found

    # Inside

    def _slot(self, directory: RamDir, name: bytes) -> Addr:
        """The modelled address of a name's slot. crc32, because Python's own hash differs from run to run."""
        if not self._modelled:
            return Addr(0)
        if directory.shared is not None:
            return directory.shared.slot(name)
        return Addr(directory.table + (crc32(name) & directory.mask) * SLOT)

    def _touch_name(
        self, th: Thread, script: Script, directory: RamDir, name: bytes, *, is_new: bool = False
    ) -> Awaitable[None]:
        """Charge what changing what *name* means touches of *directory*: *script*, where that is not shared.

        *is_new*: it will be entered.
        """
        if directory.shared is not None:
            return _touch_shared(th, directory, directory.shared, name, is_new=is_new)
        return th.touch(script, directory.addr, self._slot(directory, name))

    def _touch_all(self, th: Thread, directory: RamDir) -> Awaitable[None]:
        """Charge what must be read besides the record to know the whole of *directory*."""
        return DONE if directory.shared is None else directory.shared.gather(th)

    def _enter(self, th: Thread, directory: RamDir, name: bytes, file: FSFile) -> None:
        shared = directory.shared
        if shared is None:
            directory.entries.add(name, file)
            self._grow(th, directory)
        else:
            directory.entries.add_at(name, file, shared.cookie(th.vp, directory.entries))
            th.work(20 * shared.count(th.vp, name, 1))

    def _remove(self, th: Thread, directory: RamDir, name: bytes) -> None:
        directory.entries.remove(name)
        if directory.shared is not None:
            directory.shared.count(th.vp, name, -1)

    def _grow(self, th: Thread, directory: RamDir) -> None:
        """Double the modelled entry table when two names share a slot on average."""
        names = len(directory.entries.by_name)
        if names > 2 * (directory.mask + 1):
            self._memory.free(th.vp, directory.table)
            directory.mask = 2 * directory.mask + 1
            nbytes = (directory.mask + 1) * SLOT
            directory.table = self._memory.alloc(th.vp, nbytes, Kind.GLOBAL_PADDED, owner=directory)
            th.work(20 * names)

    def _place(self, file: FSFile, vp: VP) -> None:
        """Give a new record its modelled memory, near *vp*."""
        file.addr = self._memory.alloc(vp, INODE, owner=file)
        if type(file) is RamDir:
            file.table = self._memory.alloc(vp, FIRST_SLOTS * SLOT, Kind.GLOBAL_PADDED, owner=file)
        self._files += 1


async def _touch_shared(
    th: Thread, directory: RamDir, shared: SharedDir, name: bytes, *, is_new: bool
) -> None:
    await th.touch(READ_SHARED, directory.addr)
    if is_new:
        await shared.add(th, directory.entries, name)
    else:
        await shared.remove(th, name)


def _inherit(default: bytes, mode: int) -> tuple[int, dict[bytes, bytes] | None]:
    """Mode and attributes of what is made in a directory whose default ACL is *default*."""
    acl, mode = posix_acl.inherited(posix_acl.parse(default), mode)
    xattrs = {} if posix_acl.is_minimal(acl) else {posix_acl.ACCESS: posix_acl.build(acl)}
    if stat.S_ISDIR(mode):
        xattrs[posix_acl.DEFAULT] = default
    return mode, xattrs or None


def _remove_dir(directory: RamDir, child: RamDir) -> None:
    """The links an empty directory takes with it."""
    child.nlink = 0
    child.parent = None
    directory.nlink -= 1


def _move_dir(file: FSFile, old_dir: RamDir, new_dir: RamDir) -> None:
    """What moving *file* means for "..", if it is a directory."""
    if type(file) is RamDir and old_dir is not new_dir:
        file.parent = new_dir
        old_dir.nlink -= 1
        new_dir.nlink += 1
