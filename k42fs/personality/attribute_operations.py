"""Operations on attributes, plain and extended, and the room left."""

from __future__ import annotations

import os
import stat
from dataclasses import replace

import pyfuse3

from k42fs.errors import NoDataError, NotSupportedError
from k42fs.machine import Thread
from k42fs.personality.attrs import entry_attributes
from k42fs.personality.clients import supplementary_groups
from k42fs.personality.face import Context, Face
from k42fs.personality.nodes import CONTROL_BASE
from k42fs.personality.object_attributes import OBJECT_PREFIX
from k42fs.personality.serving import by_caller
from k42fs.servers.attr_changes import AttrChanges
from k42fs.servers.credentials import may
from k42fs.servers.posix_acl import ACCESS


class AttributeOperations(Face):
    """Answered by the object behind a node, or by its token."""

    @by_caller
    async def getattr(self, th: Thread, inode: int, ctx: Context) -> pyfuse3.EntryAttributes:
        """Return a file's attributes."""
        if inode >= CONTROL_BASE:
            return self.control.attributes(inode)
        node = self.nodes[inode]
        return entry_attributes(inode, await th.deref(node.tree).get_status(th, node.file))

    @by_caller
    async def setattr(
        self,
        th: Thread,
        inode: int,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: Context,
    ) -> pyfuse3.EntryAttributes:
        """Change the attributes that *fields* names, all or none."""
        if inode >= CONTROL_BASE:
            return self.control.set_attributes(inode, fields)
        node = self.nodes[inode]
        changes = AttrChanges(
            mode=stat.S_IMODE(attr.st_mode) if fields.update_mode else None,
            uid=attr.st_uid if fields.update_uid else None,
            gid=attr.st_gid if fields.update_gid else None,
            size=attr.st_size if fields.update_size else None,
            atime_ns=attr.st_atime_ns if fields.update_atime else None,
            mtime_ns=attr.st_mtime_ns if fields.update_mtime else None,
        )
        opened = None if fh is None else self.handles.use(fh).opened
        status = await th.deref(node.tree).set_attributes(th, node.file, changes, opened)
        self.attributes_changed(node)
        return entry_attributes(inode, status)

    @by_caller
    async def access(self, th: Thread, inode: int, mode: int, ctx: Context) -> bool:
        """Say whether the caller may; the kernel asks only when mounted without default_permissions."""
        if inode >= CONTROL_BASE:
            return not mode & os.X_OK
        return may(th.creds, self.nodes[inode].file, mode)

    @by_caller
    async def statfs(self, th: Thread, ctx: Context) -> pyfuse3.StatvfsData:
        """Return the root server's room; the kernel does not say which file it was asked about."""
        status = await th.deref(self.system.root_entry.server).stat_fs(th)
        answer = pyfuse3.StatvfsData()
        answer.f_bsize = answer.f_frsize = status.block_bytes
        answer.f_blocks = status.blocks
        answer.f_bfree = answer.f_bavail = status.free_blocks
        answer.f_files = status.files
        answer.f_ffree = answer.f_favail = status.free_files
        answer.f_namemax = status.name_max
        return answer

    @by_caller
    async def getxattr(self, th: Thread, inode: int, name: bytes, ctx: Context) -> bytes:
        """Return an extended attribute; `user.k42.*` is answered from the object behind the file."""
        if inode >= CONTROL_BASE:
            return self.control.refusal(inode, name)
        node = self.nodes[inode]
        if name.startswith(OBJECT_PREFIX):
            return self.object_attributes.get(node, name)
        value: bytes = await th.deref(node.tree).get_xattr(th, node.file, name)
        return value

    @by_caller
    async def setxattr(self, th: Thread, inode: int, name: bytes, value: bytes, ctx: Context) -> None:
        """Set an extended attribute. pyfuse3 has checked XATTR_CREATE and XATTR_REPLACE."""
        if inode >= CONTROL_BASE:
            raise NotSupportedError
        node = self.nodes[inode]
        if name.startswith(OBJECT_PREFIX):
            await self.object_attributes.set(th, node, name, value)
            return
        mode = node.file.mode
        if name == ACCESS and mode & stat.S_ISGID and th.creds.uid != 0:
            th.creds = replace(
                th.creds, groups=supplementary_groups(th.creds.pid)
            )  # whether it may keep the bit
        await th.deref(node.tree).set_xattr(th, node.file, name, value, 0)
        if node.file.mode != mode:
            self.notifier.attributes_changed_now(inode)
        self.attributes_changed(node)

    @by_caller
    async def listxattr(self, th: Thread, inode: int, ctx: Context) -> list[bytes]:
        """Return the names of the stored extended attributes."""
        if inode >= CONTROL_BASE:
            return []
        node = self.nodes[inode]
        names: list[bytes] = await th.deref(node.tree).list_xattr(th, node.file)
        return names if th.creds.uid == 0 else [name for name in names if not name.startswith(b"trusted.")]

    @by_caller
    async def removexattr(self, th: Thread, inode: int, name: bytes, ctx: Context) -> None:
        """Remove an extended attribute."""
        if inode >= CONTROL_BASE:
            raise NoDataError
        node = self.nodes[inode]
        if name.startswith(OBJECT_PREFIX):
            self.object_attributes.refuse_removal(name)
        await th.deref(node.tree).remove_xattr(th, node.file, name)
        self.attributes_changed(node)
