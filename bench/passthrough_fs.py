"""A passthrough over another directory, in the manner of pyfuse3's example, with names cached.

It shows what a Python file system costs whose state lives in the kernel: each request is a system call
more. An inode is the number the lower file system gives it (which must be one file system); a node
remembers one parent and name for it, and paths are made from those, so that a renamed directory takes its
content along.

Usage: python -m bench.passthrough_fs SOURCE MOUNTPOINT
"""

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from errno import EINVAL, ENOENT

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


@contextmanager
def os_errors() -> Iterator[None]:
    """Hand the lower file system's errno to the caller."""
    try:
        yield
    except OSError as exc:
        raise FUSEError(exc.errno or EINVAL) from exc


def attributes(status: os.stat_result) -> EntryAttributes:
    return entry_of(status, status.st_size, status.st_blocks)


class PassthroughFs(pyfuse3.Operations):
    """Every request becomes the same system call on the source."""

    supports_dot_lookup = False

    def __init__(self, source: bytes) -> None:
        super().__init__()
        self.source = source
        self.nodes: dict[int, tuple[int, bytes]] = {}  # inode to (parent inode, name)
        self.lookups: dict[int, int] = {}
        self.listings: dict[int, tuple[int, list[bytes]]] = {}
        self.next_listing = 1

    def path(self, inode: int) -> bytes:
        parts: list[bytes] = []
        while inode != pyfuse3.ROOT_INODE:
            node = self.nodes.get(inode)
            if node is None:
                raise FUSEError(ENOENT)
            inode, name = node
            parts.append(name)
        return b"/".join([self.source, *reversed(parts)])

    def known(self, parent: int, name: bytes, status: os.stat_result) -> EntryAttributes:
        inode = status.st_ino
        self.nodes[inode] = parent, name
        self.lookups[inode] = self.lookups.get(inode, 0) + 1
        return attributes(status)

    def made(self, parent: int, name: bytes, path: bytes, ctx: RequestContext) -> EntryAttributes:
        os.chown(path, ctx.uid, ctx.gid, follow_symlinks=False)
        return self.known(parent, name, os.lstat(path))

    async def lookup(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> EntryAttributes:
        with os_errors():
            return self.known(parent_inode, name, os.lstat(self.path(parent_inode) + b"/" + name))

    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        for inode, count in inode_list:
            self.lookups[inode] -= count
            if not self.lookups[inode]:
                del self.lookups[inode], self.nodes[inode]

    async def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        with os_errors():
            entry = attributes(os.lstat(self.path(inode)))
        entry.st_ino = inode  # the root's number is ours
        return entry

    async def setattr(
        self,
        inode: InodeT,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: FileHandleT | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        path = self.path(inode)
        with os_errors():
            if fields.update_size:
                os.truncate(path if fh is None else fh, attr.st_size)
            if fields.update_uid or fields.update_gid:
                uid = attr.st_uid if fields.update_uid else -1
                gid = attr.st_gid if fields.update_gid else -1
                os.chown(path, uid, gid, follow_symlinks=False)
            if fields.update_mode:
                os.chmod(path, stat.S_IMODE(attr.st_mode))
            if fields.update_atime or fields.update_mtime:
                old = os.lstat(path)
                atime_ns = attr.st_atime_ns if fields.update_atime else old.st_atime_ns
                mtime_ns = attr.st_mtime_ns if fields.update_mtime else old.st_mtime_ns
                os.utime(path, ns=(atime_ns, mtime_ns), follow_symlinks=False)
        return await self.getattr(inode, ctx)

    async def mkdir(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, ctx: RequestContext
    ) -> EntryAttributes:
        path = self.path(parent_inode) + b"/" + name
        with os_errors():
            os.mkdir(path, stat.S_IMODE(mode) & ~ctx.umask)
            return self.made(parent_inode, name, path, ctx)

    async def mknod(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        path = self.path(parent_inode) + b"/" + name
        with os_errors():
            os.mknod(path, mode & ~ctx.umask, rdev)
            return self.made(parent_inode, name, path, ctx)

    async def symlink(
        self, parent_inode: InodeT, name: FileNameT, target: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        path = self.path(parent_inode) + b"/" + name
        with os_errors():
            os.symlink(target, path)
            return self.made(parent_inode, name, path, ctx)

    async def readlink(self, inode: InodeT, ctx: RequestContext) -> FileNameT:
        with os_errors():
            return FileNameT(os.readlink(self.path(inode)))

    async def link(
        self, inode: InodeT, new_parent_inode: InodeT, new_name: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        path = self.path(new_parent_inode) + b"/" + new_name
        with os_errors():
            os.link(self.path(inode), path, follow_symlinks=False)
            return self.known(new_parent_inode, new_name, os.lstat(path))

    async def unlink(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        with os_errors():
            os.unlink(self.path(parent_inode) + b"/" + name)

    async def rmdir(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        with os_errors():
            os.rmdir(self.path(parent_inode) + b"/" + name)

    async def rename(
        self,
        parent_inode_old: InodeT,
        name_old: FileNameT,
        parent_inode_new: InodeT,
        name_new: FileNameT,
        flags: FlagT,
        ctx: RequestContext,
    ) -> None:
        if flags:
            raise FUSEError(EINVAL)  # os.rename knows no flags
        new_path = self.path(parent_inode_new) + b"/" + name_new
        with os_errors():
            os.rename(self.path(parent_inode_old) + b"/" + name_old, new_path)
            inode = os.lstat(new_path).st_ino
        if inode in self.nodes:
            self.nodes[inode] = parent_inode_new, name_new

    async def open(self, inode: InodeT, flags: FlagT, ctx: RequestContext) -> FileInfo:
        # The kernel says where to write (it has the length), so O_APPEND must not reach the lower file;
        # and O_DIRECT would ask for aligned memory, which Python's bytes are not.
        with os_errors():
            fd = os.open(self.path(inode), flags & ~(os.O_APPEND | os.O_DIRECT | os.O_NOFOLLOW))
        return FileInfo(fh=FileHandleT(fd), keep_cache=True)

    async def create(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, flags: FlagT, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        path = self.path(parent_inode) + b"/" + name
        flags = FlagT(flags & ~(os.O_APPEND | os.O_DIRECT | os.O_NOFOLLOW))
        with os_errors():
            fd = os.open(path, flags | os.O_CREAT, stat.S_IMODE(mode) & ~ctx.umask)
            os.fchown(fd, ctx.uid, ctx.gid)
            entry = self.known(parent_inode, name, os.fstat(fd))
        return FileInfo(fh=FileHandleT(fd), keep_cache=True), entry

    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        with os_errors():
            return os.pread(fh, size, off)

    async def write(self, fh: FileHandleT, off: int, buf: bytes) -> int:
        with os_errors():
            return os.pwrite(fh, buf, off)

    async def release(self, fh: FileHandleT) -> None:
        os.close(fh)

    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        handle = self.next_listing
        self.next_listing += 1
        self.listings[handle] = inode, []
        return FileHandleT(handle)

    async def readdir(self, fh: FileHandleT, start_id: int, token: ReaddirToken) -> None:
        inode, names = self.listings[fh]
        directory = self.path(inode)
        with os_errors():
            if start_id == 0:
                names[:] = os.listdir(directory)
            for index in range(start_id, len(names)):
                try:
                    status = os.lstat(directory + b"/" + names[index])
                except FileNotFoundError:
                    continue  # unlinked since the listing was made
                name = FileNameT(names[index])
                if not pyfuse3.readdir_reply(token, name, attributes(status), index + 1):
                    break
                self.known(inode, name, status)

    async def releasedir(self, fh: FileHandleT) -> None:
        del self.listings[fh]

    async def getxattr(self, inode: InodeT, name: XAttrNameT, ctx: RequestContext) -> bytes:
        with os_errors():
            return os.getxattr(self.path(inode), name, follow_symlinks=False)

    async def setxattr(self, inode: InodeT, name: XAttrNameT, value: bytes, ctx: RequestContext) -> None:
        with os_errors():
            os.setxattr(self.path(inode), name, value, follow_symlinks=False)

    async def listxattr(self, inode: InodeT, ctx: RequestContext) -> Sequence[XAttrNameT]:
        with os_errors():
            names = os.listxattr(self.path(inode), follow_symlinks=False)
        return [XAttrNameT(os.fsencode(name)) for name in names]

    async def removexattr(self, inode: InodeT, name: XAttrNameT, ctx: RequestContext) -> None:
        with os_errors():
            os.removexattr(self.path(inode), name, follow_symlinks=False)

    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        with os_errors():
            lower = os.statvfs(self.source)
        data = StatvfsData()
        for field in ("bsize", "frsize", "blocks", "bfree", "bavail", "files", "ffree", "favail", "namemax"):
            setattr(data, f"f_{field}", getattr(lower, f"f_{field}"))
        return data


if __name__ == "__main__":
    source, mount_point = sys.argv[1:]
    serve(PassthroughFs(os.fsencode(source)), mount_point, "passthrough")
