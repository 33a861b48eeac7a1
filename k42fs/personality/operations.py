"""The FUSE face: decode, call the server object, encode. Thin on purpose, so that another face can stand beside it.

Every handler is made by `by_caller` or `by_handle` (serving.py): it gets the thread it runs on first, and its failures
are translated there. A name is answered by the server that the mount tree puts in charge of its directory; a node
number below CONTROL_BASE always has a server behind it, the ones above are `.k42` (control.py).

The kernel caches names, attributes and pages for CACHE_SECONDS. It knows of every change made through it; changes it
cannot know of (a directory seen through another bind, the mount table) are announced through the notifier.
"""

from __future__ import annotations

import os
import stat
from errno import ENOSYS
from typing import Any, Final

import pyfuse3
import trio

from k42fs.errors import (
    BusyError,
    CrossServerError,
    NameNotFoundError,
    NameTooLongError,
    NoDataError,
    NotPermittedError,
    NotSupportedError,
)
from k42fs.ids import VP, Ref
from k42fs.machine import Thread
from k42fs.personality.attrs import entry_attributes, negative_entry
from k42fs.personality.control import CONTROL_NAME, Control, ControlText
from k42fs.personality.control_files import control_files
from k42fs.personality.handles import Handle
from k42fs.personality.nodes import CONTROL_BASE, ROOT_ID, DirNode, Node, NodeTable
from k42fs.personality.notifier import Notifier
from k42fs.personality.object_attributes import OBJECT_PREFIX, ObjectAttributes
from k42fs.personality.options import MountOptions
from k42fs.personality.places import Places
from k42fs.personality.serving import Serving, by_caller, by_handle
from k42fs.personality.session import ReaderBaton
from k42fs.servers.attr_changes import AttrChanges
from k42fs.servers.credentials import may
from k42fs.servers.fs_file import FSFile
from k42fs.servers.mount_commands import Attach, Bind, parse_command
from k42fs.servers.system import System

NAME_BYTES_MAX: Final = 255
HEAD_COOKIES: Final = 1 << 20
"""Directory offsets below this are '.', '..' and mount children; a server's own cookies follow."""

READ_DIR_BATCH: Final = 64
DAY_NS: Final = 86_400 * 10**9
DRAIN_SECONDS: Final = 10.0

KEPT_OPEN_FLAGS: Final = ~os.O_APPEND
"""The kernel gives each append its offset, under the inode's lock; F_SETFL may clear O_APPEND without telling us, and
a server that still appended would then put a pwrite in the wrong place."""


Context = pyfuse3.RequestContext


class Operations(Serving, pyfuse3.Operations):
    """All operations that pyfuse3 passes on."""

    supports_dot_lookup = False
    enable_writeback_cache = False

    def __init__(self, system: System, baton: ReaderBaton, notifier: Notifier, options: MountOptions) -> None:
        Serving.__init__(self, system.machine, system.cos, baton)
        pyfuse3.Operations.__init__(self)
        self.enable_acl = options.acl
        self.system = system
        self.nodes = NodeTable()
        self.places = Places(self.nodes, system.filler_tree, notifier)
        self.control = Control(control_files(self, options), self.handles)
        self._attributes = ObjectAttributes(system)
        self._notifier = notifier
        self._by_id = self.nodes.by_id
        self._no_name = negative_entry()
        self._updates_atime = not (options.noatime or options.is_read_only)
        root = system.root_entry
        self.places.make_root(root.server, system.root_tree.root_file(), system.snapshot.root)

    # names

    @by_caller
    async def lookup(self, th: Thread, parent: int, name: bytes, ctx: Context) -> pyfuse3.EntryAttributes:
        """Answer one component of a path."""
        if parent >= CONTROL_BASE or (parent == ROOT_ID and name == CONTROL_NAME):
            return self.control.lookup(parent, name)
        node = self.nodes.directory(parent)
        check_name(name)
        if node.mnode is not None and node.mnode.children is not None:
            crossing = await self.places.cross(th, node, name)
            if crossing is not None:
                return self._answer(crossing)
        try:
            file = await th.deref(node.tree).lookup(th, node.file, name)
        except NameNotFoundError:
            return self._no_name
        return self._found(node, name, file)

    def _found(self, parent: DirNode, name: bytes, file: FSFile) -> pyfuse3.EntryAttributes:
        """Count one more lookup of *file*, met as *name* in *parent*, and return its attributes."""
        return self._answer(self._node_of(parent, name, file))

    def _node_of(self, parent: DirNode, name: bytes, file: FSFile) -> Node:
        """Return the node of *file*, met as *name* in *parent*, entering it if it is new."""
        if file.is_dir:
            return self.places.directory(parent, name, file)
        node_id = self.nodes.base_of(parent.tree) | file.ino
        node = self._by_id.get(node_id)
        if node is None:
            node = Node(node_id, parent.tree, file)
            self.nodes.add(node)
            file.holds += 1
        return node

    def _answer(self, node: Node) -> pyfuse3.EntryAttributes:
        node.nlookup += 1
        return entry_attributes(node.node_id, node.file)

    async def forget(self, inode_list: list[tuple[int, int]]) -> None:
        """Take lookups back; a node at zero is dropped, and its file may then be pruned or deleted."""
        th = self.begin(self.last_vp)
        try:
            for node_id, count in inode_list:
                node = self._by_id.get(node_id)
                if node is None:
                    continue  # `.k42`, which is never counted
                node.nlookup -= count
                if node.nlookup <= 0 and node_id != ROOT_ID:
                    self.nodes.remove(node)
                    await self.run(th, th.deref(node.tree).forget(th, node.file))
        except Exception as exc:
            self.failure(exc, "forget")
        finally:
            self.end(th)

    def _enter_name(self, parent: int, name: bytes) -> DirNode:
        """Return the directory in which a name is about to be made, removed or replaced."""
        if parent >= CONTROL_BASE or (parent == ROOT_ID and name == CONTROL_NAME):
            raise NotPermittedError("the entries of .k42 are fixed")
        node = self.nodes.directory(parent)
        check_name(name)
        if node.mnode is not None and node.mnode.children is not None and name in node.mnode.children:
            raise BusyError("a mount lies at or below this name")
        return node

    @by_caller
    async def create(
        self, th: Thread, parent: int, name: bytes, mode: int, flags: int, ctx: Context
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        """Make a regular file, and open it."""
        node = self._enter_name(parent, name)
        file, opened = await th.deref(node.tree).create(th, node.file, name, mode, flags & KEPT_OPEN_FLAGS)
        self.places.name_changed(node, name)
        entry = self._found(node, name, file)
        handle = self.handles.add(th.vp, th.creds, self._by_id[entry.st_ino], opened)
        return pyfuse3.FileInfo(fh=handle.number, keep_cache=True), entry

    @by_caller
    async def mknod(
        self, th: Thread, parent: int, name: bytes, mode: int, rdev: int, ctx: Context
    ) -> pyfuse3.EntryAttributes:
        """Make a file of any type but directory and link."""
        node = self._enter_name(parent, name)
        file = await th.deref(node.tree).mknod(th, node.file, name, mode, rdev)
        self.places.name_changed(node, name)
        return self._found(node, name, file)

    @by_caller
    async def mkdir(
        self, th: Thread, parent: int, name: bytes, mode: int, ctx: Context
    ) -> pyfuse3.EntryAttributes:
        """Make a directory."""
        node = self._enter_name(parent, name)
        file = await th.deref(node.tree).mkdir(th, node.file, name, mode)
        self.places.name_changed(node, name)
        return self._found(node, name, file)

    @by_caller
    async def symlink(
        self, th: Thread, parent: int, name: bytes, target: bytes, ctx: Context
    ) -> pyfuse3.EntryAttributes:
        """Make a symbolic link."""
        node = self._enter_name(parent, name)
        file = await th.deref(node.tree).symlink(th, node.file, name, target)
        self.places.name_changed(node, name)
        return self._found(node, name, file)

    @by_caller
    async def link(
        self, th: Thread, inode: int, new_parent: int, new_name: bytes, ctx: Context
    ) -> pyfuse3.EntryAttributes:
        """Give a file one more name."""
        node = self._enter_name(new_parent, new_name)
        if inode >= CONTROL_BASE:
            raise NotPermittedError("the entries of .k42 are fixed")
        source = self.nodes[inode]
        if source.tree != node.tree:
            raise CrossServerError
        file = await th.deref(node.tree).link(th, source.file, node.file, new_name)
        self.places.name_changed(node, new_name)
        return self._found(node, new_name, file)

    @by_caller
    async def unlink(self, th: Thread, parent: int, name: bytes, ctx: Context) -> None:
        """Remove a name of anything but a directory."""
        node = self._enter_name(parent, name)
        await th.deref(node.tree).unlink(th, node.file, name)
        self.places.name_changed(node, name)

    @by_caller
    async def rmdir(self, th: Thread, parent: int, name: bytes, ctx: Context) -> None:
        """Remove an empty directory."""
        node = self._enter_name(parent, name)
        await th.deref(node.tree).rmdir(th, node.file, name)
        self.places.name_changed(node, name)

    @by_caller
    async def rename(
        self, th: Thread, old_parent: int, old: bytes, new_parent: int, new: bytes, flags: int, ctx: Context
    ) -> None:
        """Move a name, or exchange two."""
        source = self._enter_name(old_parent, old)
        target = self._enter_name(new_parent, new)
        if source.tree != target.tree:
            raise CrossServerError
        moved, other = await th.deref(source.tree).rename(th, source.file, old, target.file, new, flags)
        if moved.is_dir:
            self.places.moved(source, moved, target, new)
        if flags & pyfuse3.RENAME_EXCHANGE and other is not None and other.is_dir:
            self.places.moved(target, other, source, old)
        self.places.name_changed(source, old)
        self.places.name_changed(target, new)

    @by_caller
    async def readlink(self, th: Thread, inode: int, ctx: Context) -> bytes:
        """Return a link's target."""
        node = self.nodes[inode]
        target: bytes = await th.deref(node.tree).read_link(th, node.file)
        return target

    # attributes

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
        opened = None if fh is None else self.handles[fh].opened
        return entry_attributes(
            inode, await th.deref(node.tree).set_attributes(th, node.file, changes, opened)
        )

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
            raise NoDataError
        node = self.nodes[inode]
        if name.startswith(OBJECT_PREFIX):
            return self._attributes.get(th, node, name)
        value: bytes = await th.deref(node.tree).get_xattr(th, node.file, name)
        return value

    @by_caller
    async def setxattr(self, th: Thread, inode: int, name: bytes, value: bytes, ctx: Context) -> None:
        """Set an extended attribute. pyfuse3 has checked XATTR_CREATE and XATTR_REPLACE."""
        if inode >= CONTROL_BASE:
            raise NotSupportedError
        node = self.nodes[inode]
        if name.startswith(OBJECT_PREFIX):
            self._attributes.set(th, node, name, value)
            return
        mode = node.file.mode
        await th.deref(node.tree).set_xattr(th, node.file, name, value, 0)
        if node.file.mode != mode:
            self._notifier.attributes_changed(inode)

    @by_caller
    async def listxattr(self, th: Thread, inode: int, ctx: Context) -> list[bytes]:
        """Return the names of the stored extended attributes."""
        if inode >= CONTROL_BASE:
            return []
        node = self.nodes[inode]
        names: list[bytes] = await th.deref(node.tree).list_xattr(th, node.file)
        return names

    @by_caller
    async def removexattr(self, th: Thread, inode: int, name: bytes, ctx: Context) -> None:
        """Remove an extended attribute."""
        if inode >= CONTROL_BASE:
            raise NoDataError
        node = self.nodes[inode]
        if name.startswith(OBJECT_PREFIX):
            self._attributes.refuse_removal(name)
        await th.deref(node.tree).remove_xattr(th, node.file, name)

    # the name space

    async def change_names(self, th: Thread, command: bytes) -> None:
        """Carry out one command of `.k42/mounts`; when it returns the kernel has forgotten what it outdates."""
        parsed = parse_command(command)
        if isinstance(parsed, Attach):
            await self.system.attach(th, parsed.kind, parsed.prefix, parsed.size_bytes, parsed.is_coverable)
            where = parsed.prefix
        elif isinstance(parsed, Bind):
            await self.system.bind(th, parsed.old, parsed.new, parsed.is_coverable)
            where = parsed.new
        else:
            where = parsed.prefix
            entry = self.system.entry_at(where)
            if entry is not None and not entry.is_bind and self.handles.count_for_tree(entry.server):
                raise BusyError(f"files of the server at {where} are open")
            await self.system.detach(th, where)
        self.places.table_changed(self.system.snapshot, where)
        await th.external(trio.to_thread.run_sync(self._notifier.drain, DRAIN_SECONDS))

    async def clean_up(self, vp: VP) -> None:
        """Give processor *vp*'s clean-up daemon its turn: idle objects, deferred destruction, detached servers."""
        th = self.begin(vp)
        try:
            await self.run(th, self.system.clean_up(th))
            if vp == 0:
                await self.run(th, self.system.end_retired(th, self.nodes.knows_tree))
        except Exception as exc:
            self.failure(exc, "clean-up")
        finally:
            self.end(th)
        th = self.machine.enter(vp)  # not active: it would wait for itself
        try:
            await self.run(th, self.cos.check_cleanup(th))
        except Exception as exc:
            self.failure(exc, "clean-up")
        finally:
            self.machine.leave(th)

    # files

    @by_caller
    async def open(self, th: Thread, inode: int, flags: int, ctx: Context) -> pyfuse3.FileInfo:
        """Open a file; O_TRUNC truncates here, in the same step."""
        if inode >= CONTROL_BASE:
            return self.control.open(th, inode, flags)
        node = self.nodes[inode]
        opened = await th.deref(node.tree).open(th, node.file, flags & KEPT_OPEN_FLAGS)
        handle = self.handles.add(th.vp, th.creds, node, opened)
        return pyfuse3.FileInfo(fh=handle.number, keep_cache=self._keeps_cache(th, node.file, flags))

    def _keeps_cache(self, th: Thread, file: FSFile, flags: int) -> bool:
        """False when the next read must reach us: relatime is about to move the access time."""
        if flags & os.O_ACCMODE == os.O_WRONLY or not self._updates_atime or flags & os.O_NOATIME:
            return True
        atime = file.atime_ns
        return atime > file.mtime_ns and atime > file.ctime_ns and th.now_ns() - atime < DAY_NS

    @by_handle
    async def read(self, th: Thread, handle: Handle[Any], offset: int, size: int) -> bytes:
        """Return up to *size* bytes."""
        if handle.opened.__class__ is ControlText:
            return handle.opened.read(offset, size)  # type: ignore[no-any-return]
        data: bytes = await th.deref(handle.node.tree).read(th, handle.opened, offset, size)
        return data

    @by_handle
    async def write(self, th: Thread, handle: Handle[Any], offset: int, data: bytes) -> int:
        """Write all of *data*, or what the room allows."""
        if handle.opened.__class__ is ControlText:
            return await self.control.write(th, handle.opened, offset, data)
        count: int = await th.deref(handle.node.tree).write(th, handle.opened, offset, data)
        return count

    async def flush(self, fh: int) -> None:
        """Nothing waits for close: writes are through. The kernel stops asking after this answer."""
        raise pyfuse3.FUSEError(ENOSYS)

    @by_handle
    async def release(self, th: Thread, handle: Handle[Any]) -> None:
        """Close."""
        self.handles.remove(handle.number)
        if handle.opened.__class__ is not ControlText:
            await th.deref(handle.node.tree).release(th, handle.opened)

    @by_handle
    async def fsync(self, th: Thread, handle: Handle[Any], datasync: bool) -> None:
        """Bring a file to its store."""
        if handle.opened.__class__ is not ControlText:
            await th.deref(handle.node.tree).fsync(th, handle.opened, datasync)

    # directories

    @by_caller
    async def opendir(self, th: Thread, inode: int, ctx: Context) -> int:
        """Open a directory for reading."""
        if inode >= CONTROL_BASE:
            return self.control.open_dir(th, inode)
        node = self.nodes.directory(inode)
        opened = await th.deref(node.tree).open_dir(th, node.file)
        return self.handles.add(th.vp, th.creds, node, opened).number

    @by_handle
    async def readdir(self, th: Thread, handle: Handle[Any], offset: int, token: pyfuse3.ReaddirToken) -> None:
        """Fill the kernel's buffer with entries from *offset* on."""
        node = handle.node
        if not isinstance(node, DirNode):
            self.control.read_dir(handle, offset, token)
            return
        mounts = node.mnode.children if node.mnode is not None else None
        if offset < HEAD_COOKIES:
            if not await self._read_head(th, node, sorted(mounts or ()), offset, token):
                return
            offset = HEAD_COOKIES
        tree = node.tree
        while True:
            entries = await th.deref(tree).read_dir(
                th, handle.opened, offset - HEAD_COOKIES, READ_DIR_BATCH
            )
            for name, file, cookie in entries:
                offset = cookie + HEAD_COOKIES
                if mounts is not None and name in mounts:
                    continue
                if not self._reply_entry(node, name, file, offset, token):
                    return
            if len(entries) < READ_DIR_BATCH:
                return

    def _reply_entry(
        self, parent: DirNode, name: bytes, file: FSFile, next_offset: int, token: pyfuse3.ReaddirToken
    ) -> bool:
        """Put one entry into the buffer, counting its lookup; False if it did not fit."""
        node = self._node_of(parent, name, file)
        return self._reply_node(node, name, next_offset, token)

    def _reply_node(self, node: Node, name: bytes, next_offset: int, token: pyfuse3.ReaddirToken) -> bool:
        if pyfuse3.readdir_reply(token, name, entry_attributes(node.node_id, node.file), next_offset):
            node.nlookup += 1
            return True
        if node.nlookup == 0:  # the kernel never heard of it
            self.nodes.remove(node)
            node.file.holds -= 1
        return False

    async def _read_head(
        self, th: Thread, node: DirNode, mounts: list[bytes], offset: int, token: pyfuse3.ReaddirToken
    ) -> bool:
        """Reply '.', '..' and the mounts in this directory; False if the buffer was full before the end."""
        for index, name in enumerate((b".", b"..", *mounts)):
            if index < offset:
                continue
            if index < 2:  # the kernel counts no lookup for these
                place = node if index == 0 else node.parent or node
                fits = pyfuse3.readdir_reply(token, name, entry_attributes(place.node_id, place.file), index + 1)
            else:
                child = await self.places.cross(th, node, name)
                assert child is not None
                fits = self._reply_node(child, name, index + 1, token)
            if not fits:
                return False
        return True

    @by_handle
    async def releasedir(self, th: Thread, handle: Handle[Any]) -> None:
        """Close a directory."""
        self.handles.remove(handle.number)
        if isinstance(handle.node, DirNode):
            await th.deref(handle.node.tree).release_dir(th, handle.opened)

    @by_handle
    async def fsyncdir(self, th: Thread, handle: Handle[Any], datasync: bool) -> None:
        """Names are where they will be as soon as they are changed; a store of their own may add to this."""


def check_name(name: bytes) -> None:
    """Refuse a name that is too long: the kernel passes up to 1024 bytes."""
    if len(name) > NAME_BYTES_MAX:
        raise NameTooLongError
