"""Operations on open directories."""

from __future__ import annotations

from typing import Any, Final

import pyfuse3

from k42fs.errors import K42Error
from k42fs.machine import Thread
from k42fs.personality.attrs import entry_attributes
from k42fs.personality.face import Context, Face
from k42fs.personality.handles import Handle
from k42fs.personality.nodes import CONTROL_BASE, DirNode, Node
from k42fs.personality.serving import by_caller, by_handle
from k42fs.servers.fs_file import FSFile

HEAD_COOKIES: Final = 1 << 20
"""Directory offsets below this are '.', '..' and mount children; a server's own cookies follow."""

READ_DIR_BATCH: Final = 64


class DirectoryOperations(Face):
    """Names that the mount tree has in a directory come first; the server's own entries follow, without them."""

    @by_caller
    async def opendir(self, th: Thread, inode: int, ctx: Context) -> int:
        """Open a directory for reading."""
        if inode >= CONTROL_BASE:
            return self.control.open_dir(th, inode)
        node = self.nodes.directory(inode)
        opened = await th.deref(node.tree).open_dir(th, node.file)
        return self.handles.add(th.vp, th.creds, node, opened).number

    @by_handle
    async def readdir(
        self, th: Thread, handle: Handle[Any], offset: int, token: pyfuse3.ReaddirToken
    ) -> None:
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
            entries = await th.deref(tree).read_dir(th, handle.opened, offset - HEAD_COOKIES, READ_DIR_BATCH)
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
        node = self.node_of(parent, name, file)
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
                fits = pyfuse3.readdir_reply(
                    token, name, entry_attributes(place.node_id, place.file), index + 1
                )
            else:
                try:
                    child = await self.places.cross(th, node, name)
                except K42Error:
                    continue  # what the mount showed is gone: so is its name, but not those of its neighbours
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
            await th.deref(handle.tree).release_dir(th, handle.opened)

    @by_handle
    async def fsyncdir(self, th: Thread, handle: Handle[Any], datasync: bool) -> None:
        """Names are where they will be as soon as they are changed; a store of their own may add to this."""
