"""The inode records of ramfs: the token, the FSFile, and the file's contents in one object.

There may be millions, most of them cold, so a record holds what its type needs and nothing else: contents,
extended attributes and directory tables come with their first use.

K42: os/servers/k42Ramfs/FileSystemK42RamFS.H (the token was a pointer to such a record).
"""

from __future__ import annotations

from typing import ClassVar, Final

from k42fs.ids import Addr
from k42fs.machine.layout import Kind, Layout
from k42fs.servers.fs_file import FSFile
from k42fs.servers.ramfs.entries import DirEntries
from k42fs.servers.ramfs.sparse import PAGE, SparseData

BLOCKS_PER_PAGE: Final = PAGE // 512
DIR_SIZE: Final = PAGE
"""What a directory shows as its size; its table is charged to the inode."""

LINK_IN_INODE: Final = 60
"""A target shorter than this lies in the inode itself and uses no block, as in ext4."""

INODE: Final = Layout("RamInode", Kind.GLOBAL, status=96, links=16, contents=16)
"""`status`: owner, mode, times, size. `links`: nlink. `contents`: page table, entry table, or target."""


class RamFile(FSFile):
    """A regular file."""

    __slots__ = ("data",)

    data: SparseData | None

    @property
    def blocks(self) -> int:
        """Space in use: whole pages."""
        data = self.data
        return 0 if data is None else data.pages * BLOCKS_PER_PAGE


class RamDir(FSFile):
    """A directory. `table` is the modelled address of its entry table of `mask` + 1 slots."""

    __slots__ = ("entries", "mask", "parent", "table")

    is_dir: ClassVar[bool] = True

    entries: DirEntries
    parent: FSFile | None
    table: Addr
    mask: int

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
