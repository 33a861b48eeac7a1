"""The name space as K42's clients saw it: a whole path to a file, over all servers.

The client's prefix table maps a path to (server, rest) without asking anyone, and only the rest is walked, by
its server. A walk that meets a link stops there; the client replaces the link in the text of the path, keeps it
for the next time (see symlink_cache), and begins again. ".." is lexical.

Where no server has a directory that a mount lies below, the place is synthetic: `file` is None, and it holds
nothing but the way to the mounts. The same holds where the server has something else than a directory: the
mount tree wins.

The kernel comes component by component instead, follows links and ".." by itself, and applies the covering rule
as it goes (personality/places.py). Both ways lead to one file, but for a ".." after a link, which is lexical here.

Rights: `th.creds` must be allowed to search each directory walked, whoever checks rights otherwise. A known link
is followed without looking at the directories above it again, so servers report a directory whose rights change
as they report one that is moved.

K42: lib/libc/sys/MountPointMgrClient.C (lookup, resolveSymbolicLink), lib/libc/io/FileLinux.C.
Differs: K42 follows unknown links in four calls only, and checks no rights.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass

from k42fs.errors import NameNotFoundError, NotDirectoryError
from k42fs.machine.thread import Thread
from k42fs.servers.fs_file import FSFile
from k42fs.servers.mount_client import MountPointMgrClient, Resolved
from k42fs.servers.mount_table import MountEntry, MountNode
from k42fs.servers.pathname import PathName
from k42fs.servers.trail import Trail, WalkStep


@dataclass(frozen=True, slots=True)
class NamePoint:
    """A place in the name space.

    `mount` answers for it, and `file` is the file in that mount's server, None for a synthetic directory.
    `node` is the place's own node of the mount tree; None off the tree, as nearly always.
    """

    mount: MountEntry
    file: FSFile | None
    node: MountNode | None = None

    @property
    def children(self) -> Mapping[bytes, MountNode] | None:
        """What of the mount tree goes on below the place."""
        return None if self.node is None else self.node.children

    @property
    def is_directory(self) -> bool:
        return self.file is None or self.file.is_dir

    @property
    def is_link(self) -> bool:
        return self.file is not None and stat.S_ISLNK(self.file.mode)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path leads: the point, and its path without links."""

    point: NamePoint
    path: PathName


class NameSpace:
    """One client's view of all servers. Holds no lock of its own."""

    def __init__(self, client: MountPointMgrClient) -> None:
        self.client = client

    async def resolve(
        self, th: Thread, path: PathName, *, follows_last: bool = True, trail: Trail | None = None
    ) -> Place:
        """Return where *path*, a lexical one, leads through links; the last too if *follows_last* or before a '/'.

        What was done is added to *trail*, also if it fails.

        Raises:
            NameNotFoundError, NotDirectoryError: there is no such place.
            PermissionDeniedError: a directory on the way may not be searched.
            SymlinkLoopError: more links than the client's `links_max`.
        """
        trail = Trail() if trail is None else trail
        client = self.client
        while True:
            known = await client.lookup(th, path, follows_last=follows_last, trail=trail)
            path = known.path
            point, depth = await self._walk_rest(th, known, trail)
            is_last = depth == len(path)
            if not point.is_link or (is_last and not follows_last and not path.wants_directory):
                if path.wants_directory and not point.is_directory:
                    raise NotDirectoryError(f"{path} is no directory")
                return Place(point, PathName(path.components))
            assert point.file is not None
            await client.watch_links(th)
            target: bytes = await th.deref(point.mount.server).read_link(th, point.file)
            link = PathName(path.components[:depth])
            await client.remember_link(th, link, point.file.ino, target, known.snapshot)
            path = client.follow(path, depth, target, trail, is_known=False)

    async def _walk_rest(self, th: Thread, known: Resolved, trail: Trail) -> tuple[NamePoint, int]:
        """Walk from the root of the mount to the path's end or to a link; the place, and its depth."""
        path = known.path.components
        depth = len(path) - len(known.found.rest)
        try:
            point = await self._mount_root(th, known, depth)
            while depth < len(path) and not point.is_link:
                point = await self._walk(th, point, path[depth])
                depth += 1
        finally:
            trail.add(WalkStep(PathName(path[:depth])))
        return point, depth

    async def _mount_root(self, th: Thread, known: Resolved, depth: int) -> NamePoint:
        """Return the root of the mount that answers, *depth* components down the path."""
        entry = known.found.entry
        file: FSFile = await th.deref(entry.server).resolve(th, bytes(entry.rel_path))
        if not file.is_dir:
            raise NotDirectoryError(f"{entry.rel_path} in {entry.description!r} is no directory any more")
        return NamePoint(entry, file, known.snapshot.node_at(known.path.components[:depth]))

    async def _walk(self, th: Thread, point: NamePoint, name: bytes) -> NamePoint:
        """Return the place called *name* in *point*, in the same mount: its prefix was the longest."""
        children = point.children
        node = None if children is None else children.get(name)
        if node is None:
            return NamePoint(point.mount, await self._ask(th, point, name))
        try:
            file = await self._ask(th, point, name)
        except NameNotFoundError:
            file = None
        return NamePoint(point.mount, file if file is not None and file.is_dir else None, node)

    async def _ask(self, th: Thread, point: NamePoint, name: bytes) -> FSFile:
        """Look *name* up in *point*'s directory."""
        if point.file is None:
            raise NameNotFoundError(f"{name!r} in a synthetic directory")
        if not point.file.is_dir:
            raise NotDirectoryError(f"{name!r} in something that is no directory")
        file: FSFile = await th.deref(point.mount.server).search(th, point.file, name)
        return file


__all__ = ["NamePoint", "NameSpace", "Place"]
