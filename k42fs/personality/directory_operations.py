"""Operations on open directories."""

from __future__ import annotations

from typing import Any, Final

import pyfuse3

from k42fs.errors import K42Error
from k42fs.machine import Thread
from k42fs.personality.attrs import blank_entry, fill_entry
from k42fs.personality.face import Context, Face
from k42fs.personality.handles import Handle
from k42fs.personality.nodes import CONTROL_BASE, DirNode, Node
from k42fs.personality.serving import by_caller, by_handle

HEAD_COOKIES: Final = 1 << 20
"""Directory offsets below this are '.', '..' and mount children; a server's own cookies follow."""

BATCH_MIN, BATCH_FIRST, BATCH_MAX = 8, 32, 2048
"""Entries asked of the server at once. A request's buffer takes 25 or so with 4 KiB, eight times as many with
the 32 KiB that newer kernels send."""


class _Reply:
    """What one readdir request was answered so far. `nodes` are those whose lookups it counted."""

    __slots__ = ("entry", "has_room", "nodes", "token")

    def __init__(self, token: pyfuse3.ReaddirToken) -> None:
        self.token = token
        self.entry = blank_entry()
        self.has_room = True
        self.nodes: list[Node] = []

    def put(self, node: Node, name: bytes, next_offset: int) -> bool:
        """Put one entry into the buffer; False if it did not fit."""
        fill_entry(self.entry, node.node_id, node.file)
        self.has_room = pyfuse3.readdir_reply(self.token, name, self.entry, next_offset)
        return self.has_room


class DirectoryOperations(Face):
    """Names that the mount tree has in a directory come first; the server's own entries follow, without them."""

    _batch = BATCH_FIRST

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
        """Fill the kernel's buffer with entries from *offset* on.

        What fails after the first entry ends the answer, not the request: the kernel counts the lookups of what
        it is given and never hears of a lookup in an answer that is an error. The next request meets the failure.
        """
        node = handle.node
        if not isinstance(node, DirNode):
            self.control.read_dir(handle, offset, token)
            return
        reply = _Reply(token)
        try:
            if offset < HEAD_COOKIES:
                await self._read_head(th, node, offset, reply)
                offset = HEAD_COOKIES
            if reply.has_room:
                await self._read_entries(th, handle, node, offset, reply)
        except Exception as exc:
            if not reply.nodes:
                raise
            self.failure(exc, "readdir")
        if th in self.given_up:
            self.serve_later("forget", [(node.node_id, 1) for node in reply.nodes])

    async def _read_entries(
        self, th: Thread, handle: Handle[Any], parent: DirNode, offset: int, reply: _Reply
    ) -> None:
        """Reply the server's own entries, without those that a mount covers, until the end or no room is left.

        A batch is what the last full buffer took and a little more, so that one call of the server usually does.
        """
        mounts = None if parent.mnode is None else parent.mnode.children
        tree, by_id = parent.tree, self.nodes.by_id
        entry, token, nodes = reply.entry, reply.token, reply.nodes
        while True:
            limit = self._batch
            entries = await th.deref(tree).read_dir(th, handle.opened, offset - HEAD_COOKIES, limit)
            if th in self.given_up:
                return
            base = self.nodes.base_of(tree) if entries else 0  # a filler tree has none, and needs no index
            for name, file, cookie in entries:
                offset = cookie + HEAD_COOKIES
                if mounts is not None and name in mounts:
                    continue
                node = None if file.is_dir else by_id.get(base | file.ino)
                if node is None:
                    node = self.node_of(parent, name, file)
                    node.vp = th.vp
                # `_Reply.put` without the call: a listing of many names is a matter of this loop.
                fill_entry(entry, node.node_id, file)
                if not pyfuse3.readdir_reply(token, name, entry, offset):
                    self._drop_unknown(node)
                    fitted = len(nodes)
                    self._batch = max(BATCH_MIN, min(fitted + fitted // 8, BATCH_MAX))
                    return
                node.nlookup += 1
                nodes.append(node)
            if len(entries) < limit:
                return

    def _drop_unknown(self, node: Node) -> None:
        """Forget a node that was made for an entry that did not fit: the kernel never heard of it."""
        if node.nlookup == 0:
            self.nodes.remove(node)
            node.file.holds -= 1

    async def _read_head(self, th: Thread, node: DirNode, offset: int, reply: _Reply) -> None:
        """Reply '.', '..' and the mounts in this directory."""
        mounts = sorted(node.mnode.children or ()) if node.mnode is not None else []
        for index, name in enumerate((b".", b"..", *mounts)):
            if index < offset:
                continue
            if index < 2:  # the kernel counts no lookup for these
                place = node if index == 0 else node.parent or node
                reply.put(place, name, index + 1)
            else:
                try:
                    child = await self.places.cross(th, node, name)
                except K42Error:
                    continue  # what the mount showed is gone: so is its name, but not those of its neighbours
                assert child is not None
                if th in self.given_up:
                    reply.has_room = False
                elif reply.put(child, name, index + 1):
                    child.nlookup += 1
                    reply.nodes.append(child)
                if not reply.has_room:
                    self._drop_unknown(child)
            if not reply.has_room:
                return

    @by_handle
    async def releasedir(self, th: Thread, handle: Handle[Any]) -> None:
        """Close a directory."""
        self.handles.remove(handle.number)
        if isinstance(handle.node, DirNode):
            await th.deref(handle.tree).release_dir(th, handle.opened)

    @by_handle
    async def fsyncdir(self, th: Thread, handle: Handle[Any], datasync: bool) -> None:
        """Names are where they will be as soon as they are changed; a store of their own may add to this."""
