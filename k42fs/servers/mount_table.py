"""The mount table: which server answers for a path. Pure data: no I/O, no locks, no costs.

`MountTable` is the master, a stack of mounts for each mounted path. Every change compiles a new `Snapshot`,
an immutable tree of components. Whoever holds a snapshot may walk it for ever, without a lock, while the
master moves on.

The covering rule (K42's "offer"): going down a path, a deeper mount wins over the best one so far, except
that a *coverable* mount below a *non-coverable* one is hidden:

    upper, lower      winner
    C, C              lower
    C, N              lower
    N, N              lower
    N, C              upper

The winner at a node depends on the chain of nodes above it and on nothing else. So compiling stores it in
the node, drops the branches which no visible mount lives in, and a lookup is a walk by name that applies no
rule at all.

Mount points need not exist in the server below: EMPTY nodes are path fillers that the name space shows as
synthetic directories. At one path the newest mount is in front and hides the others, whatever their kind;
unregistering it brings the one below back.

Callers serialise changes to one `MountTable` (see mount_point_mgr).

K42: lib/libc/sys/MountPointMgrCommon.[HC].
Differs: stacking and unregistering are new; an overlong description is an error and not an assertion;
symbolic links live in each client's own cache (symlink_cache), which the tree's nodes take precedence over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

from k42fs.errors import (
    BusyError,
    InvalidArgumentError,
    NameExistsError,
    NameNotFoundError,
)
from k42fs.ids import Ino, Ref
from k42fs.servers.pathname import ROOT, PathName

DESCRIPTION_MAX: Final = 127
"""Bytes of a mount's description. K42: less than 128."""

MOUNT_IDS_MAX: Final = 0xFFFE
"""Mounts that one table can make in its life: a directory's number in a front end has 16 bits for its mount."""

SYNTHETIC_INO_FIRST: Final = 5000
"""Inode number of the first tree node; each path that joins the tree gets the next one. K42: the same."""

Components = tuple[bytes, ...]


class NodeKind(Enum):
    """What a component of the mount tree is. Links are not in the tree: see symlink_cache."""

    EMPTY = auto()  # path filler
    MOUNT = auto()  # not coverable: hides coverable mounts below
    COVMOUNT = auto()  # coverable: any mount below wins over it


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One mount: the server, and the path inside it that its root is.

    `mount_id` counts from 1 and is not used again in the life of its table. `server` is the ref of a
    NameTree.
    """

    mount_id: int
    server: Ref
    rel_path: PathName
    description: bytes
    is_coverable: bool
    is_bind: bool


@dataclass(frozen=True, slots=True, eq=False)
class MountNode:
    """One component of a compiled tree. Immutable, and so is all below it.

    `stack` holds the mounts at this very path, the newest last; it is empty for a path filler. `winner` is
    the mount that answers for paths ending here, found `winner_depth` components below the root; None if no
    mount covers them. `crosses` says that the winner is this node's own newest mount: a walk that arrives
    here changes mounts. `children` has the nodes that lead to a visible mount or are one, in name order; it
    is None if there are none.
    """

    path: Components
    ino: Ino
    stack: tuple[MountEntry, ...]
    winner: MountEntry | None
    winner_depth: int
    crosses: bool
    children: Mapping[bytes, MountNode] | None

    @property
    def kind(self) -> NodeKind:
        if not self.stack:
            return NodeKind.EMPTY
        return NodeKind.COVMOUNT if self.stack[-1].is_coverable else NodeKind.MOUNT


@dataclass(frozen=True, slots=True)
class Found:
    """Answer to a lookup: the mount, the components its server must resolve, and the deepest tree node
    passed.
    """

    entry: MountEntry
    rest: Components
    node: MountNode

    @property
    def server_path(self) -> PathName:
        """The path inside the server. K42: what the caller's buffer is rewritten to."""
        return self.entry.rel_path.joined(self.rest)


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A whole mount table at one version. Never changes."""

    version: int
    root: MountNode
    mounts: Mapping[Components, tuple[MountEntry, ...]]

    def node_at(self, path: Components) -> MountNode | None:
        """Return the tree node at exactly *path*, if a walk by name can reach it."""
        node = self.deepest(path)
        return node if len(node.path) == len(path) else None

    def lookup(self, path: Components) -> Found:
        """Find the mount that answers for *path*, by the covering rule.

        Raises:
            NameNotFoundError: no mount covers the path.
        """
        node = self.deepest(path)
        if node.winner is None:
            raise NameNotFoundError(f"no mount covers {PathName(path)}")
        return Found(node.winner, path[node.winner_depth :], node)

    def winner_at(self, path: Components) -> MountEntry | None:
        """Return the mount that answers for *path*, None if no mount does."""
        return self.deepest(path).winner

    def depth_at(self, path: Components) -> int:
        """Return how many components of *path* lie on the tree."""
        return len(self.deepest(path).path)

    def deepest(self, path: Components) -> MountNode:
        """Return the last tree node that a walk along *path* meets."""
        node = self.root
        for name in path:
            children = node.children
            child = children.get(name) if children is not None else None
            if child is None:
                break
            node = child
        return node


def is_accepted(best: MountEntry | None, offered: MountEntry) -> bool:
    """Apply the covering rule: does *offered*, further down the path, win over the *best* mount so far?"""
    return best is None or best.is_coverable or not offered.is_coverable


class MountTable:
    """The master table. Every method either changes the table by one version, or raises and changes
    nothing.
    """

    def __init__(self) -> None:
        self._mounts: dict[Components, tuple[MountEntry, ...]] = {}
        self._inos: dict[Components, Ino] = {}
        self._next_ino = SYNTHETIC_INO_FIRST
        self._next_mount_id = 1
        self._snapshot = self._compiled(self._mounts, 1)

    @property
    def snapshot(self) -> Snapshot:
        """The present table. Its version counts the changes, from 1."""
        return self._snapshot

    def copy(self) -> MountTable:
        """Return an independent table with the same mounts, ids and version: a new name space."""
        twin = MountTable()
        twin._mounts, twin._inos = dict(self._mounts), dict(self._inos)
        twin._next_ino, twin._next_mount_id = self._next_ino, self._next_mount_id
        twin._snapshot = self._snapshot
        return twin

    def register(
        self,
        path: PathName,
        server: Ref,
        *,
        rel_path: PathName = ROOT,
        description: bytes = b"",
        is_coverable: bool = False,
        is_bind: bool = False,
        replaces: bool = False,
    ) -> MountEntry:
        """Mount *rel_path* of *server* at *path*, in front of what is mounted there.

        With *replaces* the mount in front is dropped instead, as K42's re-registration does.

        Raises:
            InvalidArgumentError: no server, a ".." in a path, a bad description, or nothing there to replace.
            BusyError: MOUNT_IDS_MAX mounts were made before it.
        """
        where = _checked_path(path)
        if not server:
            raise InvalidArgumentError("server ref 0 is never a live object")
        stack = self._mounts.get(where, ())
        if replaces and not stack:
            raise InvalidArgumentError(f"no mount at {path} to replace")
        if self._next_mount_id > MOUNT_IDS_MAX:
            raise BusyError(f"{MOUNT_IDS_MAX} mounts were made here, which used up all mount ids: start anew")
        _checked_path(rel_path)
        entry = MountEntry(
            self._next_mount_id, server, rel_path, _checked_description(description), is_coverable, is_bind
        )
        self._next_mount_id += 1
        kept = stack[:-1] if replaces else stack
        self._change({**self._mounts, where: (*kept, entry)})
        return entry

    def bind(self, old: PathName, new: PathName, *, is_coverable: bool = True) -> MountEntry:
        """Mount at *new* what *old* names now. Later mounts over *old* do not move it.

        Raises:
            NameNotFoundError: no mount covers *old*.
            NameExistsError: *old* and *new* are one path.
            InvalidArgumentError: a ".." in a path.
        """
        found = self._snapshot.lookup(_checked_path(old))
        if old == new:
            raise NameExistsError(f"bind of {old} to itself")
        return self.register(
            new,
            found.entry.server,
            rel_path=found.server_path,
            description=bind_description(old),
            is_coverable=is_coverable,
            is_bind=True,
        )

    def unregister(self, path: PathName) -> MountEntry:
        """Take away the mount in front at *path*, and the fillers that led only to it. Mounts below it stay.

        Raises:
            InvalidArgumentError: nothing is mounted at *path* (as umount(2) answers).
            BusyError: it is the last mount at the root.
        """
        where = _checked_path(path)
        stack = self._mounts.get(where, ())
        if not stack:
            raise InvalidArgumentError(f"nothing is mounted at {path}")
        if not where and len(stack) == 1:
            raise BusyError("the last mount at / cannot be taken away")
        self._change(_without_empty({**self._mounts, where: stack[:-1]}))
        return stack[-1]

    def renew(self) -> None:
        """Start a new version with the same mounts, so that every client comes back for other news."""
        self._snapshot = replace(self._snapshot, version=self._snapshot.version + 1)

    def mounts_of(self, server: Ref) -> int:
        """Return how many mounts, binds too, hold *server*. It may be destroyed when there are none."""
        return sum(entry.server == server for stack in self._mounts.values() for entry in stack)

    def _change(self, mounts: dict[Components, tuple[MountEntry, ...]]) -> None:
        self._snapshot = self._compiled(mounts, self._snapshot.version + 1)
        self._mounts = mounts

    def _compiled(self, mounts: Mapping[Components, tuple[MountEntry, ...]], version: int) -> Snapshot:
        """Build the tree of *mounts*: winners from the root down, then nodes from the leaves up."""
        paths = sorted({path[:n] for path in mounts for n in range(len(path) + 1)} | {()}, key=_by_depth)
        self._inos = {path: self._ino(path) for path in paths}
        winners: dict[Components, tuple[MountEntry | None, int]] = {}
        for path in paths:
            best = winners[path[:-1]] if path else (None, 0)
            stack = mounts.get(path)
            if stack and is_accepted(best[0], stack[-1]):
                best = (stack[-1], len(path))
            winners[path] = best

        below: dict[Components, dict[bytes, MountNode]] = {}
        node: MountNode | None = None
        for path in reversed(paths):
            winner, depth = winners[path]
            stack = mounts.get(path, ())
            children = below.pop(path, None)
            crosses = bool(stack) and winner is stack[-1]
            # Paths come in falling name order, the tree lists them rising.
            ordered = dict(reversed(children.items())) if children else None
            node = MountNode(path, self._inos[path], stack, winner, depth, crosses, ordered)
            if path and (crosses or ordered):
                below.setdefault(path[:-1], {})[path[-1]] = node
        assert node is not None  # the root is always there, and last
        return Snapshot(version, node, dict(mounts))

    def _ino(self, path: Components) -> Ino:
        """Return *path*'s inode number: its old one while it stays in the tree, else a fresh one."""
        known = self._inos.get(path)
        if known is not None:
            return known
        self._next_ino += 1
        return Ino(self._next_ino - 1)


def bind_description(old: PathName) -> bytes:
    """Describe a bind of *old*, cut in the middle to fit."""
    text = b"bind to " + bytes(old)
    if len(text) <= DESCRIPTION_MAX:
        return text
    head = (DESCRIPTION_MAX - 3) // 2
    return text[:head] + b"..." + text[head + 3 - DESCRIPTION_MAX :]


def _by_depth(path: Components) -> tuple[int, Components]:
    return len(path), path


def _without_empty(
    mounts: Mapping[Components, tuple[MountEntry, ...]],
) -> dict[Components, tuple[MountEntry, ...]]:
    return {where: stack for where, stack in mounts.items() if stack}


def _checked_path(path: PathName) -> Components:
    if path.has_dotdot:
        raise InvalidArgumentError(f"a mount path must be resolved first, it has '..': {path}")
    return path.components


def _checked_description(text: bytes) -> bytes:
    if len(text) > DESCRIPTION_MAX:
        raise InvalidArgumentError(f"description of {len(text)} bytes: at most {DESCRIPTION_MAX}")
    if b"\n" in text or b"\0" in text:
        raise InvalidArgumentError(f"description must be one line: {text!r}")
    return text


__all__ = [
    "DESCRIPTION_MAX",
    "MOUNT_IDS_MAX",
    "Components",
    "Found",
    "MountEntry",
    "MountNode",
    "MountTable",
    "NodeKind",
    "Snapshot",
    "bind_description",
    "is_accepted",
]
