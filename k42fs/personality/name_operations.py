"""Operations on names: lookup and forget, and whatever makes, moves or removes a name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pyfuse3

from k42fs.errors import CrossServerError, NameNotFoundError, NotPermittedError
from k42fs.machine import Thread
from k42fs.personality.attrs import negative_entry
from k42fs.personality.control import CONTROL_NAME
from k42fs.personality.face import Context, Face, check_name
from k42fs.personality.file_operations import KEPT_OPEN_FLAGS
from k42fs.personality.nodes import CONTROL_BASE, ROOT_ID, DirNode
from k42fs.personality.serving import by_caller
from k42fs.servers.fs_file import FSFile

_NO_NAME: Final = negative_entry()


class NameOperations(Face):
    """A name is answered by the server that the mount tree puts in charge of its directory."""

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
                return self.answer(th, crossing)
        try:
            file = await th.deref(node.tree).lookup(th, node.file, name)
        except NameNotFoundError:
            return _NO_NAME
        return self.found(th, node, name, file)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        """Take lookups back; a node at zero is dropped, and its file may then be pruned or deleted.

        The kernel does not say who forgets, and often tells of many at once. Each is dropped where it was last
        answered for: elsewhere all lines of file and inode would change processors, now and at their next use.
        """
        th = span = first = None
        unique = 0
        try:
            for node_id, count in inode_list:
                node = self.nodes.by_id.get(node_id)
                if node is None:
                    continue  # `.k42`, which is never counted
                if first is None:
                    first = node
                    self.requests += 1
                    self.served["forget"] += 1
                    unique = self.requests
                node.nlookup -= count
                if node.nlookup <= 0 and node_id != ROOT_ID:
                    self.nodes.remove(node)
                    if th is not None and th.vp != node.vp:
                        ended, th = th, None
                        if span is not None:
                            self.request_trace.leave(span)  # the rest of it is housekeeping to a reader
                        self.end(ended)
                    if th is None:
                        th = self.begin(node.vp, is_housekeeping=True)
                        if span is None and th.proc.on.fuse:
                            span = self.request_trace.enter_forget(th.proc, th, unique, first.node_id)
                    await self.run(th, th.deref(node.tree).forget(th, node.file))
        except Exception as exc:
            self.failure(exc, "forget", th, span)
        else:
            if first is not None and span is None and (proc := self.machine.processors[first.vp]).on.fuse:
                span = self.request_trace.enter_forget(proc, None, unique, first.node_id)
            if span is not None:
                self.request_trace.leave(span)
            if th is not None:
                self.end(th)

    @by_caller
    async def create(
        self, th: Thread, parent: int, name: bytes, mode: int, flags: int, ctx: Context
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        """Make a regular file, and open it."""
        node = self.enter_name(parent, name)
        file, opened = await th.deref(node.tree).create(th, node.file, name, mode, flags & KEPT_OPEN_FLAGS)
        entry = self.found(th, node, name, file)
        handle = self.handles.add(th.vp, th.creds, self.nodes.by_id[entry.st_ino], opened)
        if self.places.name_changed(node, name):
            await self.settle(th)
        return pyfuse3.FileInfo(fh=handle.number, keep_cache=True), entry

    @by_caller
    async def mknod(
        self, th: Thread, parent: int, name: bytes, mode: int, rdev: int, ctx: Context
    ) -> pyfuse3.EntryAttributes:
        """Make a file of any type but directory and link."""
        node = self.enter_name(parent, name)
        file = await th.deref(node.tree).mknod(th, node.file, name, mode, rdev)
        return await self._named(th, node, name, file)

    @by_caller
    async def mkdir(
        self, th: Thread, parent: int, name: bytes, mode: int, ctx: Context
    ) -> pyfuse3.EntryAttributes:
        """Make a directory."""
        node = self.enter_name(parent, name)
        file = await th.deref(node.tree).mkdir(th, node.file, name, mode)
        return await self._named(th, node, name, file)

    @by_caller
    async def symlink(
        self, th: Thread, parent: int, name: bytes, target: bytes, ctx: Context
    ) -> pyfuse3.EntryAttributes:
        """Make a symbolic link."""
        node = self.enter_name(parent, name)
        file = await th.deref(node.tree).symlink(th, node.file, name, target)
        return await self._named(th, node, name, file)

    @by_caller
    async def link(
        self, th: Thread, inode: int, new_parent: int, new_name: bytes, ctx: Context
    ) -> pyfuse3.EntryAttributes:
        """Give a file one more name."""
        node = self.enter_name(new_parent, new_name)
        if inode >= CONTROL_BASE:
            raise NotPermittedError("the entries of .k42 are fixed")
        source = self.nodes[inode]
        if source.tree != node.tree:
            raise CrossServerError
        file = await th.deref(node.tree).link(th, source.file, node.file, new_name)
        return await self._named(th, node, new_name, file)

    async def _named(self, th: Thread, node: DirNode, name: bytes, file: FSFile) -> pyfuse3.EntryAttributes:
        """Answer for *file*, which has the new name *name* in *node*."""
        # Held before anything is waited for: who sees the name may remove it.
        entry = self.found(th, node, name, file)
        if self.places.name_changed(node, name):
            await self.settle(th)
        return entry

    @by_caller
    async def unlink(self, th: Thread, parent: int, name: bytes, ctx: Context) -> None:
        """Remove a name of anything but a directory."""
        node = self.enter_name(parent, name)
        await th.deref(node.tree).unlink(th, node.file, name)
        if self.places.name_changed(node, name):
            await self.settle(th)

    @by_caller
    async def rmdir(self, th: Thread, parent: int, name: bytes, ctx: Context) -> None:
        """Remove an empty directory."""
        node = self.enter_name(parent, name)
        await th.deref(node.tree).rmdir(th, node.file, name)
        if self.places.name_changed(node, name):
            await self.settle(th)

    @by_caller
    async def rename(
        self, th: Thread, old_parent: int, old: bytes, new_parent: int, new: bytes, flags: int, ctx: Context
    ) -> None:
        """Move a name, or exchange two."""
        source = self.enter_name(old_parent, old)
        target = self.enter_name(new_parent, new)
        if source.tree != target.tree:
            raise CrossServerError
        moved, other = await th.deref(source.tree).rename(th, source.file, old, target.file, new, flags)
        if moved.is_dir:
            self.places.moved(source, moved, target, new)
        if flags & pyfuse3.RENAME_EXCHANGE and other is not None and other.is_dir:
            self.places.moved(target, other, source, old)
        may_wait = [self.places.name_changed(source, old), self.places.name_changed(target, new)]
        if any(may_wait):
            await self.settle(th)

    @by_caller
    async def readlink(self, th: Thread, inode: int, ctx: Context) -> bytes:
        """Return a link's target."""
        node = self.nodes[inode]
        target: bytes = await th.deref(node.tree).read_link(th, node.file)
        return target
