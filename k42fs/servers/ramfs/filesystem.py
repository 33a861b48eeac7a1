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
from zlib import crc32

from k42fs.errors import (
    DirectoryNotEmptyError,
    FileTooBigError,
    NameNotFoundError,
    NoDataError,
    NoSpaceError,
    TooManyLinksError,
)
from k42fs.ids import VP, Addr
from k42fs.machine.layout import Kind, Layout
from k42fs.machine.locks import FairBLock
from k42fs.servers import posix_acl
from k42fs.servers.attr_changes import AttrChanges
from k42fs.servers.credentials import ROOT, creation_owner
from k42fs.servers.fs_file import DEAD, FileSystem, FSFile, FsStatus
from k42fs.servers.ramfs import xattr
from k42fs.servers.ramfs.budget import INODE_BYTES, UNLIMITED, Budget
from k42fs.servers.ramfs.entries import DirEntries
from k42fs.servers.ramfs.inode import (
    DIR_SIZE,
    INODE,
    LINK_IN_INODE,
    RamDir,
    RamFile,
    RamLink,
    RamNode,
)
from k42fs.servers.ramfs.numbers import InodeNumbers
from k42fs.servers.ramfs.sparse import PAGE, PAGE_SHIFT, SparseData

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine
    from k42fs.machine.thread import Thread

FILE_MAX: Final = (1 << 44) - PAGE
"""The longest file in bytes: 16 TiB less a page, as ext4 with 4 KiB blocks."""

LINKS_MAX: Final = 65000

SLOT: Final = 32
"""Modelled bytes of one entry in a directory's table."""

FIRST_SLOTS: Final = 16

READ_STATUS: Final = INODE.script("read_status", "r:status", work=20)
WRITE_STATUS: Final = INODE.script("write_status", "w:status", work=30)
NEW: Final = INODE.script("new", "w:status w:links w:contents w2:0 w2:32", work=100)
LINK: Final = INODE.script("link", "x:links w:status", work=30)
WRITE_DATA: Final = INODE.script("write", "r:contents w:status", work=60)
READ_DATA: Final = INODE.script("read", "r:contents r:status", work=40)
CUT_DATA: Final = INODE.script("truncate", "w:contents w:status", work=80)
FIND: Final = INODE.script("find", "r:contents r2:0", work=50)
ADD_NAME: Final = INODE.script("add_name", "w:contents w:status w2:0", work=90)
REMOVE_NAME: Final = INODE.script("remove_name", "w:contents w:status w2:0", work=70)
SCAN: Final = INODE.script("scan", "r:contents", work=40)
FREE: Final = INODE.script("free", "w:status w:links w:contents w2:0 w2:32", work=80)

LOCAL: Final = Layout("RamLocal", Kind.LOCAL_STRICT, numbers=32, credit=16)
"""A processor's own supply of inode numbers and of space."""
CREDIT: Final = LOCAL.script("credit", "w:credit", work=15)

SHARED: Final = Layout("RamShared", Kind.GLOBAL_PADDED, lock=16, rest=8, numbers=8)
REFILL: Final = SHARED.script("refill", "w:rest", work=40)
CALL_IN: Final = SHARED.script("call_in", "w:rest", work=400)
NUMBER_BLOCK: Final = SHARED.script("number_block", "x:numbers", work=20)


class RamFS(FileSystem):
    """One ramfs of at most *size* bytes: its data pages, and `INODE_BYTES` for each inode.

    Raises:
        ConfigError: *size* is too small to be of use.
    """

    name = "ramfs"

    def __init__(
        self, machine: Machine, size: int = UNLIMITED, mode: int = 0o755, uid: int = 0, gid: int = 0
    ) -> None:
        processors = len(machine.processors)
        self._machine = machine
        self._memory = machine.memory
        self._modelled = machine.model == "full"
        self._budget = Budget(size, processors)
        self._numbers = InodeNumbers(processors)
        self._files = 0
        self._shared = self._memory.alloc(VP(0), SHARED, SHARED.kind)
        self._local = [self._memory.alloc(VP(vp), LOCAL, LOCAL.kind) for vp in range(processors)]
        lock_addr = Addr(self._shared + SHARED.offset("lock"))
        self._lock = FairBLock(machine, lock_addr, rank=80, name="budget", owner=None)
        self._budget.refill(VP(0), INODE_BYTES)
        self._budget.take(VP(0), INODE_BYTES)
        now = machine.wall_clock_ns() if machine.live else 0
        root = self._inode(VP(0), now, stat.S_IFDIR | mode, uid, gid, 0, b"")
        assert isinstance(root, RamDir)
        root.parent = root
        self._root = root

    @property
    def root(self) -> FSFile:
        """The root directory."""
        return self._root

    # Names

    async def lookup(self, th: Thread, directory: FSFile, name: bytes) -> FSFile | None:
        """The inode called *name*, or None."""
        assert type(directory) is RamDir
        await th.touch(FIND, directory.addr, self._slot(directory, name))
        entry = directory.entries.by_name.get(name)
        return None if entry is None else entry.file

    async def make(
        self, th: Thread, directory: FSFile, name: bytes, mode: int, rdev: int = 0, target: bytes = b""
    ) -> FSFile:
        """Make an inode of the type in *mode* and name it."""
        assert type(directory) is RamDir
        creds = th.creds or ROOT
        mode, gid = creation_owner(creds, directory, mode)
        xattrs: dict[bytes, bytes] | None = None
        if not stat.S_ISLNK(mode):
            default = directory.xattrs.get(posix_acl.DEFAULT) if directory.xattrs else None
            if default is None:
                mode &= ~creds.umask
            else:
                mode, xattrs = _inherit(default, mode)
        size = INODE_BYTES + (PAGE if len(target) >= LINK_IN_INODE else 0)
        if xattrs is not None:
            size += sum(len(key) + len(value) for key, value in xattrs.items())
        if self._numbers.needs_block(th.vp):
            await th.touch(NUMBER_BLOCK, self._shared)
        if not self._budget.take(th.vp, size) and not await self._take_slowly(th, size):
            raise NoSpaceError("no space for another inode")
        if directory.nlink == 0:
            self._budget.give(th.vp, size)
            raise NameNotFoundError(f"inode {directory.ino} was removed")
        file = self._inode(th.vp, th.now_ns(), mode, creds.uid, gid, rdev, target)
        file.xattrs = xattrs
        if type(file) is RamDir:
            file.parent = directory
        await th.touch(NEW, file.addr, self._local[th.vp])
        await th.touch(ADD_NAME, directory.addr, self._slot(directory, name))
        directory.entries.add(name, file)
        if file.is_dir:
            directory.nlink += 1
        directory.mtime_ns = directory.ctime_ns = file.ctime_ns
        self._grow(th, directory)
        return file

    async def link(self, th: Thread, file: FSFile, directory: FSFile, name: bytes) -> None:
        """Add a name to *file*."""
        assert type(directory) is RamDir
        await th.touch(LINK, file.addr)
        await th.touch(ADD_NAME, directory.addr, self._slot(directory, name))
        if file.nlink == 0 or directory.nlink == 0:
            raise NameNotFoundError(f"inode {file.ino if file.nlink == 0 else directory.ino} was removed")
        if file.nlink >= LINKS_MAX:
            raise TooManyLinksError(f"inode {file.ino} has {file.nlink} links")
        directory.entries.add(name, file)
        file.nlink += 1
        file.ctime_ns = directory.mtime_ns = directory.ctime_ns = th.now_ns()
        self._grow(th, directory)

    async def unlink(self, th: Thread, directory: FSFile, name: bytes, file: FSFile) -> int:
        """Take a name away; the links that remain."""
        assert type(directory) is RamDir
        await th.touch(LINK, file.addr)
        await th.touch(REMOVE_NAME, directory.addr, self._slot(directory, name))
        directory.entries.remove(name)
        file.nlink -= 1
        file.ctime_ns = directory.mtime_ns = directory.ctime_ns = th.now_ns()
        return file.nlink

    async def rmdir(self, th: Thread, directory: FSFile, name: bytes, child: FSFile) -> None:
        """Take an empty directory's name away."""
        assert type(directory) is RamDir
        assert type(child) is RamDir
        await th.touch(LINK, child.addr)
        await th.touch(REMOVE_NAME, directory.addr, self._slot(directory, name))
        if child.entries.by_name:
            raise DirectoryNotEmptyError(f"{name!r} has {len(child.entries)} entries")
        directory.entries.remove(name)
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
        await th.touch(LINK, file.addr)
        if replaced is not None:
            await th.touch(LINK, replaced.addr)
        await th.touch(REMOVE_NAME, old_dir.addr, self._slot(old_dir, old))
        await th.touch(ADD_NAME, new_dir.addr, self._slot(new_dir, new))
        if new_dir.nlink == 0:
            raise NameNotFoundError(f"inode {new_dir.ino} was removed")
        now = th.now_ns()
        if replaced is None:
            new_dir.entries.add(new, file)
        else:
            if type(replaced) is RamDir:
                if replaced.entries.by_name:
                    raise DirectoryNotEmptyError(f"{new!r} has {len(replaced.entries)} entries")
                _remove_dir(new_dir, replaced)
            else:
                replaced.nlink -= 1
            replaced.ctime_ns = now
            new_dir.entries.replace(new, file)
        old_dir.entries.remove(old)
        _move_dir(file, old_dir, new_dir)
        file.ctime_ns = now
        old_dir.mtime_ns = old_dir.ctime_ns = now
        new_dir.mtime_ns = new_dir.ctime_ns = now
        self._grow(th, new_dir)

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
        await th.touch(LINK, file.addr)
        await th.touch(LINK, other.addr)
        await th.touch(ADD_NAME, old_dir.addr, self._slot(old_dir, old))
        await th.touch(ADD_NAME, new_dir.addr, self._slot(new_dir, new))
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
        await th.touch(SCAN, directory.addr)
        found = directory.entries.after(cookie, limit)
        if self._modelled and found:
            await th.load(directory.table, min(len(found), directory.mask + 1) * SLOT)
        return found

    async def read_link(self, th: Thread, file: FSFile) -> bytes:
        """A symbolic link's target."""
        assert type(file) is RamLink
        await th.touch(READ_DATA, file.addr)
        return file.target

    async def delete_file(self, th: Thread, file: FSFile) -> None:
        """Free an inode with its data and give its number back."""
        assert file.nlink == 0, f"{file!r} still has names"
        assert file.holds == 0, f"{file!r} is held {file.holds} times"
        file.holds = DEAD
        await th.touch(FREE, file.addr, self._local[th.vp])
        size = INODE_BYTES + xattr.footprint(file)
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
        await th.touch(WRITE_STATUS, file.addr)
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
        if name in (posix_acl.ACCESS, posix_acl.DEFAULT):
            stored, mode = xattr.acl_value(file, name, value)
            creds = th.creds or ROOT
            if mode != file.mode and creds.uid != 0 and not creds.in_group(file.gid):
                mode &= ~stat.S_ISGID
            if stored is None:
                self._drop_xattr(th, file, name)
                file.mode = mode
                file.ctime_ns = th.now_ns()
                return
            file.mode = mode
        if growth > 0 and not self._budget.take(th.vp, growth) and not await self._take_slowly(th, growth):
            raise NoSpaceError(f"no space for {growth} bytes of attributes")
        if growth < 0:
            self._budget.give(th.vp, -growth)
        if file.xattrs is None:
            file.xattrs = {}
        file.xattrs[name] = bytes(value)
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

    async def write(self, th: Thread, file: FSFile, offset: int, data: bytes | bytearray | memoryview) -> int:
        """Store bytes, growing the file; fewer than given where the limits cut in."""
        assert type(file) is RamFile
        size = len(data)
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
            wanted = needed << PAGE_SHIFT
            if not self._budget.take(th.vp, wanted) and not await self._take_slowly(th, wanted):
                size = self._take_what_is_left(th.vp, store, offset, size)
                if not size:
                    raise NoSpaceError("no page left")
                data = memoryview(data)[:size]
        await th.touch(WRITE_DATA, file.addr)
        store.write(offset, data)
        file.data = store
        if offset + size > file.size:
            file.size = offset + size
        file.mtime_ns = file.ctime_ns = th.now_ns()
        return size

    async def truncate(self, th: Thread, file: FSFile, size: int) -> None:
        """Set the length; what lies past it is given back."""
        assert type(file) is RamFile
        if size > FILE_MAX:
            raise FileTooBigError(f"length {size}: files end at {FILE_MAX}")
        await th.touch(CUT_DATA, file.addr)
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
        await th.touch(REFILL, self._shared)
        free = self._budget.free()
        free_files = free // INODE_BYTES
        return FsStatus(PAGE, self._budget.limit // PAGE, free // PAGE, self._files + free_files, free_files)

    # Inside

    def _slot(self, directory: RamDir, name: bytes) -> Addr:
        """The modelled address of a name's slot. crc32, because Python's own hash differs from run to run."""
        if not self._modelled:
            return Addr(0)
        return Addr(directory.table + (crc32(name) & directory.mask) * SLOT)

    def _grow(self, th: Thread, directory: RamDir) -> None:
        """Double the modelled entry table when two names share a slot on average."""
        if len(directory.entries.by_name) > 2 * (directory.mask + 1):
            self._memory.free(th.vp, directory.table)
            directory.mask = 2 * directory.mask + 1
            directory.table = self._memory.alloc(
                th.vp, (directory.mask + 1) * SLOT, Kind.GLOBAL_PADDED, owner=directory
            )
            th.work(20 * len(directory.entries.by_name))

    def _inode(self, vp: VP, now: int, mode: int, uid: int, gid: int, rdev: int, target: bytes) -> FSFile:
        """A new record with one link and a number; the space for it is taken already."""
        ino, generation = self._numbers.take(vp)
        file: FSFile
        kind = stat.S_IFMT(mode)
        if kind == stat.S_IFREG:
            file = RamFile(ino, generation, mode, uid, gid, now)
            file.data = None
        elif kind == stat.S_IFDIR:
            file = RamDir(ino, generation, mode, uid, gid, now)
            file.nlink = 2
            file.size = DIR_SIZE
            file.entries = DirEntries()
            file.parent = None
            file.mask = FIRST_SLOTS - 1
            file.table = self._memory.alloc(vp, FIRST_SLOTS * SLOT, Kind.GLOBAL_PADDED, owner=file)
        elif kind == stat.S_IFLNK:
            file = RamLink(ino, generation, mode, uid, gid, now)
            file.target = target
            file.size = len(target)
        else:
            file = RamNode(ino, generation, mode, uid, gid, now)
            file.rdev = rdev
        file.addr = self._memory.alloc(vp, INODE, INODE.kind, owner=file)
        self._files += 1
        return file

    async def _take_slowly(self, th: Thread, size: int) -> bool:
        """Take *size* bytes with the help of the shared rest, or of everyone's credit; False if all is too
        little.
        """
        await self._lock.acquire(th)
        try:
            await th.touch(REFILL, self._shared)
            if not self._budget.refill(th.vp, size):
                await th.touch(CALL_IN, self._shared)
                return False
            return self._budget.take(th.vp, size)
        finally:
            self._lock.release(th)

    def _take_what_is_left(self, vp: VP, store: SparseData, offset: int, size: int) -> int:
        """Take pages for as much of a write as has room, after `_take_slowly` called everything in."""
        fitting = store.fitting(offset, size, self._budget.credit(vp) >> PAGE_SHIFT)
        taken = self._budget.take(vp, store.new_pages(offset, fitting) << PAGE_SHIFT)
        assert taken, f"{fitting} bytes were said to fit"
        return fitting

    def _drop_xattr(self, th: Thread, file: FSFile, name: bytes) -> None:
        value = file.xattrs.pop(name, None) if file.xattrs else None
        if value is not None:
            self._budget.give(th.vp, len(name) + len(value))
            if not file.xattrs:
                file.xattrs = None


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
