"""Directories in the mount tree: where a lookup changes servers, and what the kernel must hear when the
tree changes.

The kernel walks a path component by component, so the covering rule is applied incrementally. A compiled
mount tree (servers/mount_table.py) makes that a walk by name: a directory node that lies on the way to a
mount carries its tree node, all others carry None, and one attribute test in `lookup` tells them apart.
"""

from __future__ import annotations

from time import time_ns

from k42fs.errors import NameNotFoundError, NotDirectoryError
from k42fs.ids import Ref
from k42fs.machine import Thread
from k42fs.personality.nodes import FILLER_BASE, MOUNT_SHIFT, ROOT_ID, DirNode, NodeTable
from k42fs.personality.notifier import Notifier
from k42fs.servers.filler_tree import FillerFile
from k42fs.servers.fs_file import FSFile
from k42fs.servers.mount_client import MountPointMgrClient
from k42fs.servers.mount_table import MOUNT_IDS_MAX, MountNode, Snapshot
from k42fs.servers.pathname import PathName


class Places:
    """Directory nodes and their mount tree nodes."""

    def __init__(
        self, nodes: NodeTable, filler_tree: Ref, notifier: Notifier, client: MountPointMgrClient
    ) -> None:
        self._nodes = nodes
        self._client = client
        self._filler_tree = filler_tree
        self._notifier = notifier
        self._started_ns = time_ns()

    def make_root(self, tree: Ref, file: FSFile, mnode: MountNode) -> DirNode:
        """Enter the root of the mount, which the kernel holds from the start without a lookup."""
        assert (self._nodes.base_of(tree) | file.ino) == ROOT_ID, "the first server's root is inode 1"
        root = DirNode(ROOT_ID, tree, file, mnode, None, b"")
        root.nlookup = 1
        self._nodes.add(root)
        file.holds += 1
        return root

    def directory(self, parent: DirNode, name: bytes, file: FSFile) -> DirNode:
        """Return the node of *file*, found by its server as *name* in *parent*: the same mount, off the mount tree."""
        mount_bits = parent.node_id >> MOUNT_SHIFT << MOUNT_SHIFT
        return self._node(mount_bits, parent.tree, file, None, parent, name)

    async def cross(self, th: Thread, parent: DirNode, name: bytes) -> DirNode | None:
        """Return the directory *name* in *parent* if the mount tree has a node there, else None.

        Where a mount lies below a name that the server has no directory for, a filler stands: the tree wins.

        Raises:
            NotDirectoryError: what a mount should show is no directory any more.
        """
        assert parent.mnode is not None
        assert parent.mnode.children is not None
        mnode = parent.mnode.children.get(name)
        if mnode is None:
            return None
        await self._client.refresh(th)  # one read of this processor's version word while nothing changes
        if mnode.crosses:
            assert mnode.winner is not None
            entry = mnode.winner
            assert entry.mount_id <= MOUNT_IDS_MAX, "its bits would run into those of FILLER"
            file = await th.deref(entry.server).resolve(th, bytes(entry.rel_path))
            if not file.is_dir:
                raise NotDirectoryError(f"{entry.rel_path} is not a directory")
            return self._node((entry.mount_id - 1) << MOUNT_SHIFT, entry.server, file, mnode, parent, name)
        try:
            file = await th.deref(parent.tree).lookup(th, parent.file, name)
        except NameNotFoundError:
            file = None
        if file is None or not file.is_dir:
            return self._node(
                FILLER_BASE, self._filler_tree, FillerFile(mnode.ino, self._started_ns), mnode, parent, name
            )
        mount_bits = parent.node_id >> MOUNT_SHIFT << MOUNT_SHIFT
        return self._node(mount_bits, parent.tree, file, mnode, parent, name)

    def _node(
        self, mount_bits: int, tree: Ref, file: FSFile, mnode: MountNode | None, parent: DirNode, name: bytes
    ) -> DirNode:
        node_id = mount_bits | (0 if mount_bits == FILLER_BASE else self._nodes.base_of(tree)) | file.ino
        node = self._nodes.by_id.get(node_id)
        if node is None:
            node = DirNode(node_id, tree, file, mnode, parent, name)
            self._nodes.add(node)
            file.holds += 1
        assert isinstance(node, DirNode)
        node.parent = parent
        node.name = name
        node.mnode = mnode
        return node

    def moved(self, old_parent: DirNode, file: FSFile, new_parent: DirNode, new_name: bytes) -> None:
        """Follow a rename of the directory *file*, if the kernel holds it there."""
        mount_bits = old_parent.node_id >> MOUNT_SHIFT << MOUNT_SHIFT
        node = self._nodes.by_id.get(mount_bits | self._nodes.base_of(old_parent.tree) | file.ino)
        if isinstance(node, DirNode):
            node.parent = new_parent
            node.name = new_name

    def name_changed(self, parent: DirNode, name: bytes) -> bool:
        """Tell the kernel of a change to *name*, at the other places where *parent*'s directory is seen.

        Returns whether there are any and this news is the only one on its way: then it may be waited for.
        """
        others = self._nodes.other_places(parent)
        was_idle = self._notifier.is_idle
        for other in others:
            self._notifier.entry_changed(other.node_id, name)
            self._notifier.attributes_changed(other.node_id)
        return bool(others) and was_idle

    def table_changed(self, snapshot: Snapshot, path: PathName) -> None:
        """Re-derive every directory's tree node after a change at *path*, and make the kernel look it up
        again.

        Only the entry below the deepest directory that the kernel holds on the way is dropped: dropping one
        above would cut off the processes whose current directory lies below it.
        """
        memo: dict[int, MountNode | None] = {}
        for node in self._nodes.directories():
            node.mnode = _derive(node, snapshot, memo)
        wanted = tuple(path)
        deepest: DirNode | None = None
        for node in self._nodes.directories():
            here = node.components()
            is_gone = node.mnode is None and node.node_id >= FILLER_BASE  # a filler that leads nowhere now
            is_above = len(here) < len(wanted) and wanted[: len(here)] == here and not is_gone
            if is_above and (deepest is None or len(here) > len(deepest.components())):
                deepest = node
        if deepest is not None:
            self._notifier.entry_changed(deepest.node_id, wanted[len(deepest.components())])
            self._notifier.attributes_changed(deepest.node_id)


def _derive(node: DirNode, snapshot: Snapshot, memo: dict[int, MountNode | None]) -> MountNode | None:
    """Return the tree node for *node*: None off the tree, and for a directory that a mount now covers."""
    if node.node_id in memo:
        return memo[node.node_id]
    memo[node.node_id] = None  # for a cycle, which a broken parent chain would be
    found: MountNode | None
    if node.parent is None:
        found = snapshot.root
    else:
        above = _derive(node.parent, snapshot, memo)
        found = None if above is None or above.children is None else above.children.get(node.name)
    if found is not None and found.crosses and found.winner is not None:
        is_here = node.tree == found.winner.server and node.mount_id == found.winner.mount_id
        found = found if is_here else None
    memo[node.node_id] = found
    return found
