"""The lean reference: an in-memory file system over stock pyfuse3, a dictionary of inodes and nothing else.

What structure costs is judged against this. It is what a careful author writes first: stock session loop,
stock defaults, attributes and names cached by the kernel, the page cache kept over opens, extended
attributes answered (an ENOSYS for getxattr would spare the kernel its question at each write, and no real
file system can afford it). It checks what the kernel leaves to it; it has no locks, no layers and no
statistics. `flush` and `fsync` are pyfuse3's default answer, ENOSYS, after which the kernel asks no more:
nothing is left to do at close.

Usage: python -m bench.reference_fs MOUNTPOINT
"""

import os
import stat
import sys
import time
from collections.abc import Sequence
from errno import EEXIST, EINVAL, EISDIR, ENAMETOOLONG, ENODATA, ENOENT, ENOTDIR, ENOTEMPTY

import pyfuse3
from pyfuse3 import (
    EntryAttributes,
    FileHandleT,
    FileInfo,
    FileNameT,
    FlagT,
    FUSEError,
    InodeT,
    ModeT,
    ReaddirToken,
    RequestContext,
    SetattrFields,
    StatvfsData,
    XAttrNameT,
)

from bench.daemons import entry_of, serve

BLOCK_BYTES = 4096
CAPACITY_BYTES = 1 << 34


class Inode:
    """One file, directory or symlink. `lookups` is what the kernel holds, `opens` the file handles."""

    __slots__ = (
        *(
            "st_ino",
            "st_mode",
            "st_uid",
            "st_gid",
            "st_rdev",
            "st_nlink",
            "st_atime_ns",
            "st_mtime_ns",
            "st_ctime_ns",
            "lookups",
            "opens",
        ),
        *("parent", "data", "target", "children", "cookies", "next_cookie", "xattrs"),
    )

    def __init__(self, ino: int, mode: int, uid: int, gid: int, parent: "Inode | None") -> None:
        self.st_ino, self.st_mode, self.st_uid, self.st_gid = ino, mode, uid, gid
        self.st_atime_ns = self.st_mtime_ns = self.st_ctime_ns = time.time_ns()
        self.st_nlink = 2 if stat.S_ISDIR(mode) else 1
        self.lookups = self.opens = self.st_rdev = 0
        self.parent = parent or self
        self.data = bytearray()
        self.target = b""
        self.children: dict[bytes, Inode] = {}
        self.cookies: dict[bytes, int] = {}  # name to its place in readdir: stable while others come and go
        self.next_cookie = 1
        self.xattrs: dict[bytes, bytes] = {}


class ReferenceFs(pyfuse3.Operations):
    """A dictionary of inodes."""

    supports_dot_lookup = True

    def __init__(self) -> None:
        super().__init__()
        root = Inode(pyfuse3.ROOT_INODE, stat.S_IFDIR | 0o755, os.getuid(), os.getgid(), None)
        root.lookups = 1
        self.inodes: dict[int, Inode] = {root.st_ino: root}
        self.next_ino = root.st_ino + 1
        self.used_bytes = 0
        # One listing per open directory, so that a long readdir sees every name once.
        self.listings: dict[int, tuple[Inode, list[tuple[bytes, int]]]] = {}
        self.next_listing = 1

    # -- inodes and names

    def attributes(self, inode: Inode) -> EntryAttributes:
        size = len(inode.data) or len(inode.target)
        return entry_of(inode, size, (size + 511) >> 9)

    def child(self, parent: int, name: bytes) -> Inode:
        directory = self.inodes[parent]
        found = directory.children.get(name)
        if found is None:
            if name == b".":
                return directory
            if name == b"..":
                return directory.parent
            raise FUSEError(ENAMETOOLONG if len(name) > 255 else ENOENT)
        return found

    def add(self, directory: Inode, name: bytes, inode: Inode) -> None:
        directory.children[name] = inode
        directory.cookies[name] = directory.next_cookie
        directory.next_cookie += 1
        if stat.S_ISDIR(inode.st_mode):
            directory.st_nlink += 1
            inode.parent = directory
        directory.st_mtime_ns = directory.st_ctime_ns = time.time_ns()

    def drop(self, directory: Inode, name: bytes) -> Inode:
        inode = directory.children.pop(name)
        del directory.cookies[name]
        directory.st_mtime_ns = directory.st_ctime_ns = inode.st_ctime_ns = time.time_ns()
        if stat.S_ISDIR(inode.st_mode):
            directory.st_nlink -= 1
        return inode

    def unlinked(self, inode: Inode) -> None:
        """One name fewer; the inode itself goes with the last name, lookup and open."""
        inode.st_nlink = 0 if stat.S_ISDIR(inode.st_mode) else inode.st_nlink - 1
        self.reap(inode)

    def reap(self, inode: Inode) -> None:
        if not inode.st_nlink and not inode.lookups and not inode.opens:
            del self.inodes[inode.st_ino]
            self.used_bytes -= len(inode.data)

    def make(self, parent: int, name: bytes, mode: int, ctx: RequestContext) -> Inode:
        directory = self.inodes[parent]
        if len(name) > 255:
            raise FUSEError(ENAMETOOLONG)
        if name in directory.children:
            raise FUSEError(EEXIST)
        if not directory.st_nlink:
            raise FUSEError(ENOENT)
        gid = ctx.gid
        if directory.st_mode & stat.S_ISGID:
            gid = directory.st_gid
            if stat.S_ISDIR(mode):
                mode |= stat.S_ISGID
        if not stat.S_ISLNK(mode):
            mode &= ~ctx.umask
        inode = self.inodes[self.next_ino] = Inode(self.next_ino, mode, ctx.uid, gid, directory)
        self.next_ino += 1
        self.add(directory, name, inode)
        inode.lookups = 1
        return inode

    # -- requests about names

    async def lookup(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> EntryAttributes:
        inode = self.child(parent_inode, name)
        inode.lookups += 1
        return self.attributes(inode)

    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        for ino, count in inode_list:
            inode = self.inodes[ino]
            inode.lookups -= count
            self.reap(inode)

    async def mknod(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        inode = self.make(parent_inode, name, mode, ctx)
        inode.st_rdev = rdev
        return self.attributes(inode)

    async def mkdir(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, ctx: RequestContext
    ) -> EntryAttributes:
        return self.attributes(self.make(parent_inode, name, stat.S_IFDIR | stat.S_IMODE(mode), ctx))

    async def symlink(
        self, parent_inode: InodeT, name: FileNameT, target: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        inode = self.make(parent_inode, name, stat.S_IFLNK | 0o777, ctx)
        inode.target = target
        return self.attributes(inode)

    async def readlink(self, inode: InodeT, ctx: RequestContext) -> FileNameT:
        return FileNameT(self.inodes[inode].target)

    async def link(
        self, inode: InodeT, new_parent_inode: InodeT, new_name: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        directory, target = self.inodes[new_parent_inode], self.inodes[inode]
        if len(new_name) > 255:
            raise FUSEError(ENAMETOOLONG)
        if new_name in directory.children:
            raise FUSEError(EEXIST)
        self.add(directory, new_name, target)
        target.st_nlink += 1
        target.lookups += 1
        target.st_ctime_ns = time.time_ns()
        return self.attributes(target)

    async def unlink(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        if stat.S_ISDIR(self.child(parent_inode, name).st_mode):
            raise FUSEError(EISDIR)
        self.unlinked(self.drop(self.inodes[parent_inode], name))

    async def rmdir(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        inode = self.child(parent_inode, name)
        if not stat.S_ISDIR(inode.st_mode):
            raise FUSEError(ENOTDIR)
        if inode.children:
            raise FUSEError(ENOTEMPTY)
        self.unlinked(self.drop(self.inodes[parent_inode], name))

    async def rename(
        self,
        parent_inode_old: InodeT,
        name_old: FileNameT,
        parent_inode_new: InodeT,
        name_new: FileNameT,
        flags: FlagT,
        ctx: RequestContext,
    ) -> None:
        old, new = self.inodes[parent_inode_old], self.inodes[parent_inode_new]
        moved, replaced = self.child(parent_inode_old, name_old), new.children.get(name_new)
        if len(name_new) > 255:
            raise FUSEError(ENAMETOOLONG)
        if flags == pyfuse3.RENAME_EXCHANGE:
            if replaced is None:
                raise FUSEError(ENOENT)
            self.drop(old, name_old)
            self.drop(new, name_new)
            self.add(old, name_old, replaced)
            self.add(new, name_new, moved)
            return
        if flags & ~pyfuse3.RENAME_NOREPLACE:
            raise FUSEError(EINVAL)
        if replaced is moved:
            return
        if replaced is not None:
            if flags:
                raise FUSEError(EEXIST)
            if replaced.children:
                raise FUSEError(ENOTEMPTY)
            self.unlinked(self.drop(new, name_new))
        self.drop(old, name_old)
        self.add(new, name_new, moved)

    # -- requests about one inode

    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        return self.attributes(self.inodes[inode])

    async def setattr(
        self,
        inode: InodeT,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: FileHandleT | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        target = self.inodes[inode]
        now = time.time_ns()
        if fields.update_mode:
            target.st_mode = stat.S_IFMT(target.st_mode) | stat.S_IMODE(attr.st_mode)
        if fields.update_uid:
            target.st_uid = attr.st_uid
        if fields.update_gid:
            target.st_gid = attr.st_gid
        if fields.update_size:
            self.resize(target, attr.st_size)
            target.st_mtime_ns = now
        if fields.update_atime:
            target.st_atime_ns = attr.st_atime_ns
        if fields.update_mtime:
            target.st_mtime_ns = attr.st_mtime_ns
        target.st_ctime_ns = now
        return self.attributes(target)

    def resize(self, inode: Inode, size: int) -> None:
        data = inode.data
        self.used_bytes += size - len(data)
        if size < len(data):
            del data[size:]
        else:
            data.extend(bytes(size - len(data)))

    async def getxattr(self, inode: InodeT, name: XAttrNameT, ctx: RequestContext) -> bytes:
        value = self.inodes[inode].xattrs.get(name)
        if value is None:
            raise FUSEError(ENODATA)
        return value

    async def setxattr(self, inode: InodeT, name: XAttrNameT, value: bytes, ctx: RequestContext) -> None:
        self.inodes[inode].xattrs[name] = value

    async def listxattr(self, inode: InodeT, ctx: RequestContext) -> Sequence[XAttrNameT]:
        return [XAttrNameT(name) for name in self.inodes[inode].xattrs]

    async def removexattr(self, inode: InodeT, name: XAttrNameT, ctx: RequestContext) -> None:
        if self.inodes[inode].xattrs.pop(name, None) is None:
            raise FUSEError(ENODATA)

    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        data = StatvfsData()
        data.f_bsize = data.f_frsize = BLOCK_BYTES
        data.f_blocks = CAPACITY_BYTES // BLOCK_BYTES
        data.f_bfree = data.f_bavail = (CAPACITY_BYTES - self.used_bytes) // BLOCK_BYTES
        data.f_files = data.f_ffree = data.f_favail = 1 << 20
        data.f_namemax = 255
        return data

    # -- open files

    async def open(self, inode: InodeT, flags: FlagT, ctx: RequestContext) -> FileInfo:
        target = self.inodes[inode]
        if flags & os.O_TRUNC:
            self.resize(target, 0)
            target.st_mtime_ns = target.st_ctime_ns = time.time_ns()
        target.opens += 1
        return FileInfo(fh=FileHandleT(inode), keep_cache=True)

    async def create(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, flags: FlagT, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        inode = self.make(parent_inode, name, stat.S_IFREG | stat.S_IMODE(mode), ctx)
        inode.opens = 1
        return FileInfo(fh=FileHandleT(inode.st_ino), keep_cache=True), self.attributes(inode)

    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        with memoryview(self.inodes[fh].data) as view:
            return bytes(view[off : off + size])

    async def write(self, fh: FileHandleT, off: int, buf: bytes) -> int:
        inode = self.inodes[fh]
        data, end = inode.data, off + len(buf)
        if off > len(data):
            self.resize(inode, off)
        if end > len(data):
            self.used_bytes += end - len(data)
        data[off:end] = buf
        inode.st_mtime_ns = inode.st_ctime_ns = time.time_ns()
        return len(buf)

    async def release(self, fh: FileHandleT) -> None:
        inode = self.inodes[fh]
        inode.opens -= 1
        self.reap(inode)

    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        directory, handle = self.inodes[inode], self.next_listing
        self.next_listing += 1
        self.listings[handle] = directory, []
        return FileHandleT(handle)

    async def readdir(self, fh: FileHandleT, start_id: int, token: ReaddirToken) -> None:
        directory, listing = self.listings[fh]
        if (
            start_id == 0
        ):  # the first call, or a rewind: cookies only grow, so the dictionary is in their order
            listing[:] = directory.cookies.items()
        # Bisect by cookie: names that came after the listing was made may be missed, which POSIX allows.
        low, high = 0, len(listing)
        while low < high:
            middle = (low + high) // 2
            if listing[middle][1] <= start_id:
                low = middle + 1
            else:
                high = middle
        for index in range(low, len(listing)):
            name, cookie = listing[index]
            inode = directory.children.get(name)
            if inode is None:
                continue
            if not pyfuse3.readdir_reply(token, FileNameT(name), self.attributes(inode), cookie):
                break
            inode.lookups += 1

    async def releasedir(self, fh: FileHandleT) -> None:
        del self.listings[fh]


if __name__ == "__main__":
    serve(ReferenceFs(), sys.argv[1], "reference")
