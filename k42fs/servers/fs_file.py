"""The seam between the file library and a file system: `FSFile`, one live inode; `FileSystem`, what a
server does.

The library (NameTree, DirObject, ServerFile) caches names, orders operations and decides when an inode
dies; the file system keeps inodes and their bytes. The library never runs two conflicting operations at
once: two on one directory's names exclude each other through its dirlock, two on one inode's data and
attributes through its ServerFile (or, for an inode that is only a token, through a striped token lock). So
a file system may be written almost without locks.

What a file system must do itself: set times as each method says, refuse what its format cannot hold, and
change nothing when it raises. Every method charges first and mutates after.

K42: lib/libc/fslib/{FSFile,FileSystem}.H.
Differs: K42's FSFile is a handle that may exist twice for one inode, around an opaque token. Here there is
one FSFile per live inode and it *is* the token, so that two names of one inode meet in one object without
asking the disk.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from k42fs.errors import NotImplementedByServerError, NotPermittedError, NotSupportedError
from k42fs.ids import VP, Addr, Ino, Ref
from k42fs.servers.attr_changes import AttrChanges

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread

NAME_MAX: Final = 255
NO_REF: Final = Ref(0)

DEAD: Final = -1
"""`FSFile.holds` of an inode that was deleted: nothing reaches it by name, by handle or through the kernel.
"""


class FSFile:
    """One live inode of one file system, the same object for everyone. Compared by identity.

    The attributes may be read by anyone at any time without a call; only the file system writes them.
    `mode` holds the type too. `obj_ref` is the ServerFile or DirObject, 0 while the inode is a cold token.
    `holds` counts who keeps a nameless inode alive from outside the library: the kernel. `addr` is the
    inode record's modelled address.
    """

    __slots__ = (
        "addr",
        "atime_ns",
        "ctime_ns",
        "generation",
        "gid",
        "holds",
        "ino",
        "mode",
        "mtime_ns",
        "nlink",
        "obj_ref",
        "size",
        "uid",
        "xattrs",
    )

    is_dir: ClassVar[bool] = False

    ino: Ino
    generation: int
    mode: int
    uid: int
    gid: int
    nlink: int
    size: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    obj_ref: Ref
    holds: int
    addr: Addr
    xattrs: dict[bytes, bytes] | None

    def __init__(self, ino: Ino, generation: int, mode: int, uid: int, gid: int, now_ns: int) -> None:
        self.ino = ino
        self.generation = generation
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.nlink = 1
        self.size = 0
        self.atime_ns = self.mtime_ns = self.ctime_ns = now_ns
        self.obj_ref = NO_REF
        self.holds = 0
        self.addr = Addr(0)
        self.xattrs = None

    @property
    def rdev(self) -> int:
        """The device number; 0 for all but device nodes."""
        return 0

    @property
    def blocks(self) -> int:
        """Space in use, in units of 512 bytes."""
        return 0

    @property
    def parent(self) -> FSFile | None:
        """The directory that holds this directory; its own for the root, None once removed or for other
        files.
        """
        return None

    @property
    def is_regular(self) -> bool:
        """Whether this is a regular file."""
        return stat.S_ISREG(self.mode)

    def label(self) -> str:
        """What statistics and traces call it."""
        return f"inode {self.ino}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.ino}.{self.generation} mode {self.mode:o} nlink {self.nlink}>"


@dataclass(frozen=True, slots=True)
class FsStatus:
    """What statvfs tells. Sizes in blocks of `block_bytes`."""

    block_bytes: int
    blocks: int
    free_blocks: int
    files: int
    free_files: int
    name_max: int = NAME_MAX


class FileSystem:
    """What a file server provides to the library. The answers here are those of a server that has nothing
    to offer.

    The caller's credentials are `th.creds`. *directory* arguments are directories, names are checked, and
    the caller holds the locks the module docstring tells of.
    """

    is_read_only: bool = False
    updates_atime: bool = True
    can_share_names: bool = False
    """Whether operations on different names of one directory may come at once (`share_names`)."""

    acls_are_enforced: bool = True
    name: str = "fs"

    @property
    def root(self) -> FSFile:
        """The root directory's inode."""
        raise NotImplementedError(f"{type(self).__name__} has no root")

    def share_names(self, vp: VP, directory: FSFile, is_shared: bool) -> None:
        """From now on operations on different names of *directory* come at once, or they no longer do.

        Asked only if `can_share_names`, while no operation on the directory is under way. Then a name's own
        operations still exclude each other, and removing the directory all of them; `get_dents` comes at any
        time, and takes each batch in one step.
        """
        raise NotImplementedByServerError("share_names")

    async def gather_status(self, th: Thread, directory: FSFile) -> None:
        """Called before the attributes of a directory that shares its names are read."""

    async def lookup(self, th: Thread, directory: FSFile, name: bytes) -> FSFile | None:
        """The inode called *name*, or None. K42: getFSFileOrServerFile."""
        raise NotImplementedByServerError("lookup")

    async def make(
        self, th: Thread, directory: FSFile, name: bytes, mode: int, rdev: int = 0, target: bytes = b""
    ) -> FSFile:
        """Make an inode of the type in *mode* and name it; *name* is known to be free.

        Owner, group and inherited bits, umask and default ACL are applied here
        (`credentials.creation_owner`). Sets the directory's mtime and ctime. K42: createFile, mkdir,
        symlink.
        """
        raise NotPermittedError("nothing can be made here")

    async def link(self, th: Thread, file: FSFile, directory: FSFile, name: bytes) -> None:
        """Add a name: nlink + 1, the file's ctime, the directory's mtime and ctime."""
        raise NotPermittedError("no hard links here")

    async def unlink(self, th: Thread, file: FSFile, directory: FSFile, name: bytes) -> int:
        """Take a name of *file* away; the links that remain.

        Never frees data. Sets ctime, and the directory's mtime, ctime.
        """
        raise NotPermittedError("nothing can be unlinked here")

    async def rmdir(self, th: Thread, directory: FSFile, name: bytes, child: FSFile) -> None:
        """Take an empty directory's name away: its nlink becomes 0, the parent's falls.

        ENOTEMPTY is decided here.
        """
        raise NotPermittedError("nothing can be removed here")

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
        """Move a name, in one step for every observer; *replaced* loses its last or one link as in unlink
        or rmdir.
        """
        raise NotPermittedError("nothing can be renamed here")

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
        """Swap what two names mean, in one step."""
        raise NotSupportedError("names cannot be exchanged here")

    async def delete_file(self, th: Thread, file: FSFile) -> None:
        """Free the inode and its data: the last name, the last open and the last hold are gone.

        Called once.
        """
        raise NotPermittedError("nothing can be deleted here")

    async def get_dents(
        self, th: Thread, directory: FSFile, cookie: int, limit: int
    ) -> Sequence[tuple[bytes, FSFile, int]]:
        """Up to *limit* (name, inode, cookie) after *cookie*, without "." and ".."; 0 starts, empty ends.

        Cookies are > 2 and grow; one stays a valid place to go on from whatever is made or removed meanwhile.
        """
        raise NotImplementedByServerError("readdir")

    async def read_link(self, th: Thread, file: FSFile) -> bytes:
        """A symbolic link's target."""
        raise NotImplementedByServerError("readlink")

    async def set_attributes(self, th: Thread, file: FSFile, changes: AttrChanges) -> None:
        """Set mode, owner and times as given (never the size) and ctime."""
        raise NotPermittedError("attributes cannot be changed here")

    async def read(self, th: Thread, file: FSFile, offset: int, size: int) -> bytes:
        """Bytes of a file, clipped to its length. atime is the library's to ask for."""
        raise NotImplementedByServerError("read")

    async def write(
        self,
        th: Thread,
        file: FSFile,
        offset: int,
        data: bytes | bytearray | memoryview,
        keeps_times: bool = False,
    ) -> int:
        """Store bytes, growing the file; how many. Sets mtime and ctime.

        *keeps_times*: the caller keeps the times, per processor, of writes that change nothing else in the
        inode's record, so that such a one need not touch what all others do.

        Raises:
            FileTooBigError: no byte can be stored at *offset*.
            NoSpaceError: no byte could be stored; with room for some, the count falls short instead.
        """
        raise NotPermittedError("nothing can be written here")

    async def truncate(self, th: Thread, file: FSFile, size: int) -> None:
        """Set the length; bytes past it are gone for good. Sets mtime and ctime."""
        raise NotPermittedError("nothing can be truncated here")

    async def set_atime(self, th: Thread, file: FSFile, now_ns: int) -> None:
        """Record an access. Nothing else changes."""

    async def get_xattr(self, th: Thread, file: FSFile, name: bytes) -> bytes:
        """An extended attribute's value, or NoDataError."""
        raise NotSupportedError("no extended attributes here")

    async def set_xattr(self, th: Thread, file: FSFile, name: bytes, value: bytes, flags: int) -> None:
        """Set an extended attribute; *flags* as in setxattr(2)."""
        raise NotSupportedError("no extended attributes here")

    async def list_xattr(self, th: Thread, file: FSFile) -> list[bytes]:
        """The names of a file's extended attributes."""
        return []

    async def remove_xattr(self, th: Thread, file: FSFile, name: bytes) -> None:
        """Remove an extended attribute, or NoDataError."""
        raise NotSupportedError("no extended attributes here")

    async def stat_fs(self, th: Thread) -> FsStatus:
        """How full the file system is."""
        raise NotImplementedByServerError("statfs")

    async def sync(self, th: Thread, file: FSFile | None, data_only: bool) -> None:
        """Make a file, or everything, durable. Nothing to do for a server without a store."""
