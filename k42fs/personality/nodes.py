"""What the kernel knows: node numbers, lookup counts, and the server file behind each.

A node number is unique in one mount. For anything but a directory it names (server, inode), so that one
file reached through two binds is one file to the kernel, with one page cache. A directory's also names the
mount it was reached by: the kernel keeps a directory at one place only, and would move it there if two
places answered with one number.

    bits 63..48  mount id for directories (0 for the root mount), else 0
    bits 47..40  the server's index
    bits 39..0   the inode number in that server

Mount ids count from 1 and are stored less 1; the table refuses a mount whose id would have no room. The two
highest values are reserved: FILLER for directories that exist only because a mount lies below them, CONTROL
for `.k42`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from k42fs.errors import BusyError, DeletedObjectError
from k42fs.ids import VP, Ref
from k42fs.servers.fs_file import FSFile
from k42fs.servers.mount_table import MountNode

MOUNT_SHIFT: Final = 48
SERVER_SHIFT: Final = 40
FILLER_BASE: Final = 0xFFFE << MOUNT_SHIFT
CONTROL_BASE: Final = 0xFFFF << MOUNT_SHIFT
ROOT_ID: Final = 1


class Node:
    """A file that the kernel holds. `nlookup` is exact: each answer that names it adds one, each forget subtracts.

    `vp`: the processor of the last answer that named it. What a forget ends is in that one's cache.
    """

    __slots__ = ("file", "nlookup", "node_id", "tree", "vp")

    def __init__(self, node_id: int, tree: Ref, file: FSFile) -> None:
        self.node_id = node_id
        self.tree = tree
        self.file = file
        self.nlookup = 0
        self.vp = VP(0)


class DirNode(Node):
    """A directory that the kernel holds, with its place in the mount tree.

    `mnode` is its node of the compiled mount tree, None for the many that no mount lies below. `parent` and
    `name` follow renames; they lead from a change in the mount table to the kernel's entry for it.
    """

    __slots__ = ("mnode", "name", "parent")

    def __init__(
        self,
        node_id: int,
        tree: Ref,
        file: FSFile,
        mnode: MountNode | None,
        parent: DirNode | None,
        name: bytes,
    ) -> None:
        super().__init__(node_id, tree, file)
        self.mnode = mnode
        self.parent = parent
        self.name = name

    @property
    def mount_id(self) -> int:
        """The mount it was reached by, counted from 1 as the mount table does."""
        return (self.node_id >> MOUNT_SHIFT) + 1

    def components(self) -> tuple[bytes, ...]:
        """Return the path from the root of the mount, () for the root itself."""
        names: list[bytes] = []
        node: DirNode | None = self
        while node is not None and node.parent is not None:
            names.append(node.name)
            node = node.parent
        return tuple(reversed(names))


class NodeTable:
    """All nodes of a mount, by number; and the directories that have more than one."""

    def __init__(self) -> None:
        self.by_id: dict[int, Node] = {}
        self._bases: dict[Ref, int] = {}
        self._aliases: dict[FSFile, list[DirNode]] = {}

    def base_of(self, tree: Ref) -> int:
        """Return the server bits of *tree*'s node numbers, giving it the lowest free index at first use."""
        base = self._bases.get(tree)
        if base is None:
            taken = set(self._bases.values())
            bases = range(0, 1 << MOUNT_SHIFT, 1 << SERVER_SHIFT)
            base = next((base for base in bases if base not in taken), None)
            if base is None:
                raise BusyError(f"{len(taken)} servers at once are all that node numbers have room for")
            self._bases[tree] = base
        return base

    def end_tree(self, tree: Ref) -> None:
        """Give *tree*'s index back: it has ended, and the kernel holds none of its files."""
        self._bases.pop(tree, None)

    def __getitem__(self, node_id: int) -> Node:
        try:
            return self.by_id[node_id]
        except KeyError:
            raise DeletedObjectError(f"the kernel named node {node_id:#x}, which was forgotten") from None

    def directory(self, node_id: int) -> DirNode:
        """Return the directory *node_id*; the kernel never asks this of anything else."""
        node = self[node_id]
        assert isinstance(node, DirNode), f"node {node_id:#x} is not a directory"
        return node

    def add(self, node: Node) -> None:
        """Enter a node met for the first time."""
        self.by_id[node.node_id] = node
        if isinstance(node, DirNode):
            self._aliases.setdefault(node.file, []).append(node)

    def remove(self, node: Node) -> None:
        """Drop a node whose last lookup was forgotten."""
        del self.by_id[node.node_id]
        if isinstance(node, DirNode):
            nodes = self._aliases[node.file]
            nodes.remove(node)
            if not nodes:
                del self._aliases[node.file]

    def other_places(self, node: Node) -> list[DirNode]:
        """Return the other nodes of *node*'s directory: the same one reached through binds."""
        nodes = self._aliases.get(node.file)
        return [] if nodes is None or len(nodes) == 1 else [other for other in nodes if other is not node]

    def path_of(self, file: FSFile) -> tuple[bytes, ...] | None:
        """Return where in the mount the kernel first met the directory *file*, None if it holds none of it."""
        nodes = self._aliases.get(file)
        return nodes[0].components() if nodes else None

    def knows_tree(self, tree: Ref) -> bool:
        """Say whether the kernel holds a file of the server *tree*."""
        return any(node.tree == tree for node in self.by_id.values())

    def directories(self) -> Iterator[DirNode]:
        """Yield every directory node, in the order met."""
        for nodes in self._aliases.values():
            yield from nodes
