"""The inode records of ramfs: the token, the FSFile, and the file's contents in one object.

There may be millions, most of them cold, so a record holds what its type needs and nothing else: contents,
extended attributes and directory tables come with their first use.

K42: os/servers/k42Ramfs/FileSystemK42RamFS.H (the token was a pointer to such a record).
"""

from __future__ import annotations

from typing import ClassVar, Final

from k42fs.ids import Addr, Ino
from k42fs.machine.layout import Kind, Layout
from k42fs.servers.fs_file import FSFile
from k42fs.servers.ramfs.entries import DirEntries
from k42fs.servers.ramfs.shared_dir import SharedDir
from k42fs.servers.ramfs.sparse import PAGE, SparseData

BLOCKS_PER_PAGE: Final = PAGE // 512
DIR_SIZE: Final = PAGE
"""What a directory shows as its size; its table is charged to the inode."""

LINK_IN_INODE: Final = 60
"""A target shorter than this lies in the inode itself and uses no block, as in ext4."""

INODE: Final = Layout("RamInode", Kind.GLOBAL, status=96, links=16, contents=16)
"""`status`: owner, mode, times, size. `links`: nlink. `contents`: page table, entry table, or target."""


READ_STATUS: Final = INODE.script("read_status", "r:status", work=20)
WRITE_STATUS: Final = INODE.script("write_status", "w:status", work=30)
NEW: Final = INODE.script("new", "w:status w:links w:contents w2:0 w2:32", work=100)
FREE: Final = INODE.script("free", "w:status w:links w:contents w2:0 w2:32", work=80)
LINK: Final = INODE.script("link", "x:links w:status", work=30)
READ_DATA: Final = INODE.script("read", "r:contents r:status", work=40)
WRITE_DATA: Final = INODE.script("write", "r:contents w:status", work=60)
CUT_DATA: Final = INODE.script("truncate", "w:contents w:status", work=80)
FIND: Final = INODE.script("find", "r:contents r2:0", work=50)
ADD_NAME: Final = INODE.script("add_name", "w:contents w:status w2:0", work=90)
REMOVE_NAME: Final = INODE.script("remove_name", "w:contents w:status w2:0", work=70)
SCAN: Final = INODE.script("scan", "r:contents", work=40)
READ_SHARED: Final = INODE.script("read_shared", "r:links r:contents", work=10)

FIRST_SLOTS: Final = 16


class RamFile(FSFile):
    """A regular file."""

    __slots__ = ("data",)

    data: SparseData | None

    def __init__(self, ino: Ino, generation: int, mode: int, uid: int, gid: int, now_ns: int) -> None:
        super().__init__(ino, generation, mode, uid, gid, now_ns)
        self.data = None

    @property
    def blocks(self) -> int:
        """Space in use: whole pages."""
        data = self.data
        return 0 if data is None else data.pages * BLOCKS_PER_PAGE


class RamDir(FSFile):
    """A directory. `table` is the modelled address of its entry table of `mask` + 1 slots; of no use while
    `shared` has others instead.
    """

    __slots__ = ("entries", "mask", "parent", "shared", "table")

    is_dir: ClassVar[bool] = True

    entries: DirEntries
    parent: FSFile | None
    table: Addr
    mask: int
    shared: SharedDir | None

    def __init__(self, ino: Ino, generation: int, mode: int, uid: int, gid: int, now_ns: int) -> None:
        super().__init__(ino, generation, mode, uid, gid, now_ns)
        self.nlink = 2
        self.size = DIR_SIZE
        self.entries = DirEntries()
        self.parent = None
        self.table = Addr(0)
        self.mask = FIRST_SLOTS - 1
        self.shared = None

    @property
    def blocks(self) -> int:
        """One page, as in ext4."""
        return BLOCKS_PER_PAGE


class RamLink(FSFile):
    """A symbolic link."""

    __slots__ = ("target",)

    target: bytes

    @property
    def blocks(self) -> int:
        """A page, unless the target fits in the inode."""
        return 0 if len(self.target) < LINK_IN_INODE else BLOCKS_PER_PAGE


class RamNode(FSFile):
    """A FIFO, socket or device node; the kernel does the rest."""

    __slots__ = ("rdev",)

    rdev: int
