"""What the two file systems measured against have in common: how long names are cached, what is answered, the loop.

Both use pyfuse3 as it comes.
"""

from typing import Protocol

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, InodeT, ModeT

TIMEOUT_SECONDS = 1.0


class Status(Protocol):
    """The attributes of an inode, named as in os.stat_result."""

    @property
    def st_ino(self) -> int: ...
    @property
    def st_mode(self) -> int: ...
    @property
    def st_nlink(self) -> int: ...
    @property
    def st_uid(self) -> int: ...
    @property
    def st_gid(self) -> int: ...
    @property
    def st_rdev(self) -> int: ...
    @property
    def st_atime_ns(self) -> int: ...
    @property
    def st_mtime_ns(self) -> int: ...
    @property
    def st_ctime_ns(self) -> int: ...


def entry_of(status: Status, size: int, blocks: int) -> EntryAttributes:
    """Return what the kernel keeps of an inode; *size* in bytes, *blocks* of 512."""
    entry = EntryAttributes()
    entry.st_ino = InodeT(status.st_ino)
    entry.st_mode = ModeT(status.st_mode)
    entry.st_nlink = status.st_nlink
    entry.st_uid = status.st_uid
    entry.st_gid = status.st_gid
    entry.st_rdev = status.st_rdev
    entry.st_size = size
    entry.st_blocks = blocks
    entry.st_atime_ns = status.st_atime_ns
    entry.st_mtime_ns = status.st_mtime_ns
    entry.st_ctime_ns = status.st_ctime_ns
    entry.attr_timeout = entry.entry_timeout = TIMEOUT_SECONDS
    return entry


def serve(filesystem: pyfuse3.Operations, mount_point: str, name: str) -> None:
    """Mount *filesystem* and answer until it is unmounted."""
    pyfuse3.init(filesystem, mount_point, {*pyfuse3.default_options, f"fsname=k42fs-{name}"})
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close()
