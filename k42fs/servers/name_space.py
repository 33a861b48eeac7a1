"""The name space: paths to files, over all servers, by the mount table's rule.

Two ways lead down a path, and they agree.

*Incremental*: a `NamePoint` is a place on the way, and `step` says what a name means there to the mount tree.
That is what a kernel which walks component by component needs; `walk` does the step and asks the server. The
usual place has no mount below it: `children` is None, and one attribute test settles that.

*Whole path*, K42's way: a client's prefix table maps the path to (server, rest) without asking anyone, and
only the rest is walked. ".." is lexical then, and links are replaced as the client comes to know them.

`resolve` takes either, as its `DotDot` says. Where no server has a directory that a mount lies below, the
place is synthetic: `file` is None, it holds nothing but the way to the mounts, and nothing can be made in
it. The same holds where the server has something else than a directory: the mount tree wins.

K42: lib/libc/sys/MountPointMgrClient.C (lookup, resolveSymbolicLink), lib/libc/io/FileLinux.C.
Differs: K42 follows unknown links in four calls only, and lists hidden mounts as directory entries.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from k42fs.errors import (
    BusyError,
    DirectoryNotEmptyError,
    InvalidArgumentError,
    K42Error,
    NameExistsError,
    NameNotFoundError,
    NotDirectoryError,
    NotPermittedError,
    ReadOnlyError,
    SymlinkLoopError,
    TargetIsDirectoryError,
)
from k42fs.ids import Ref
from k42fs.machine.thread import Thread
from k42fs.servers.fs_file import FSFile
from k42fs.servers.mount_client import MountPointMgrClient
from k42fs.servers.mount_table import Components, MountEntry, MountNode, Snapshot, check_same_server
from k42fs.servers.pathname import DotDot, PathName

ROOT_REFUSALS: Final[Mapping[str, type[K42Error]]] = {
    "mkdir": NameExistsError,
    "rmdir": DirectoryNotEmptyError,
    "unlink": TargetIsDirectoryError,
    "truncate": TargetIsDirectoryError,
    "link": NotPermittedError,
    "rename": NotPermittedError,
    "mknod": InvalidArgumentError,
    "bind": InvalidArgumentError,
}
"""What a server answers when an operation that wants a name is given its root. K42: NameTreeLinuxFS.

"bind" is that of a socket. All other operations (open, chown, chmod, utime, stat) act on the root itself.
"""


@dataclass(frozen=True, slots=True)
class NamePoint:
    """A place in the name space. `children` is what of the mount tree goes on below it; None nearly always.

    `node` is the place's own node of the mount tree, None off the tree. `mount` is the best mount so far,
    None where none covers the place. `file` is the file in that mount's server, None for a synthetic
    directory.
    """

    node: MountNode | None
    mount: MountEntry | None
    file: FSFile | None
    children: Mapping[bytes, MountNode] | None

    @property
    def server(self) -> Ref:
        """The server that answers for this place, 0 if none does."""
        return Ref(0) if self.mount is None else self.mount.server

    @property
    def is_coverable(self) -> bool:
        """Whether a coverable mount below would be seen."""
        return self.mount is None or self.mount.is_coverable

    @property
    def is_synthetic(self) -> bool:
        return self.file is None

    @property
    def is_directory(self) -> bool:
        return self.file is None or self.file.is_dir

    @property
    def is_link(self) -> bool:
        return self.file is not None and stat.S_ISLNK(self.file.mode)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path leads: the point, and its path without links, "." and ".."."""

    point: NamePoint
    path: PathName


def step(point: NamePoint, name: bytes) -> MountNode | None:
    """Say what *name* in *point* is to the mount tree: its node, or None if the server alone knows the name.

    If the node `crosses`, the child is the root of another mount. Else it is a path filler, or a mount that
    the covering rule hides, and stays in *point*'s mount.
    """
    children = point.children
    if children is None:
        return None
    return children.get(name)


def check_can_create(point: NamePoint, name: bytes) -> None:
    """Refuse to make *name* in *point* where the mount tree has it already, or no server can hold it.

    Raises:
        NameExistsError: a mount lies at or below that name.
        ReadOnlyError: the directory is synthetic.
    """
    if step(point, name) is not None:
        raise NameExistsError(f"a mount lies at or below {name!r}")
    if point.file is None:
        raise ReadOnlyError("a directory that exists only for the mounts below it cannot be changed")


def check_can_remove(point: NamePoint, name: bytes) -> None:
    """Refuse to unlink, remove or rename *name* in *point* while a mount lies there.

    Raises:
        BusyError: a mount lies at or below that name.
    """
    if step(point, name) is not None:
        raise BusyError(f"a mount lies at or below {name!r}")


def check_same_mounts(one: NamePoint, other: NamePoint) -> None:
    """Refuse a link or rename between two places of different servers.

    Raises:
        CrossServerError: the servers differ. Two binds into one server do not.
        ReadOnlyError: one of them is synthetic.
    """
    for point in (one, other):
        if point.mount is None or point.file is None:
            raise ReadOnlyError("a directory that exists only for the mounts below it cannot be changed")
    assert one.mount is not None
    assert other.mount is not None
    check_same_server(one.mount, other.mount)


def refusal_at_root(operation: str) -> K42Error:
    """Return what a server answers if *operation* is asked of its root directory itself."""
    return ROOT_REFUSALS[operation](f"{operation} of a server's root")


def merge_names(point: NamePoint, names: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what a listing of *point* shows: the mounts below it, then the server's *names*, none twice."""
    children = point.children
    if children is None:
        yield from names
        return
    yield from children
    for name in names:
        if name not in children:
            yield name


class NameSpace:
    """One client's view of all servers. Holds no lock of its own."""

    def __init__(self, client: MountPointMgrClient) -> None:
        self.client = client

    async def root(self, th: Thread) -> NamePoint:
        """Return the root of the present table."""
        return await self._point_at(th, (await self.client.refresh(th)).root)

    async def walk(self, th: Thread, point: NamePoint, name: bytes) -> NamePoint:
        """Return the place that *name* leads to from *point*, by the table that *point* came from.

        Links are not followed, and ".." is not served: a place does not know the one above it.

        Raises:
            NameNotFoundError, NotDirectoryError: there is no such place.
        """
        node = step(point, name)
        if node is None:
            if point.file is None:
                raise NameNotFoundError(f"{name!r} in a synthetic directory")
            return NamePoint(None, point.mount, await self._ask(th, point, name), None)
        if node.crosses:
            return await self._point_at(th, node)
        try:
            file = await self._ask(th, point, name)
        except NameNotFoundError:
            file = None
        return NamePoint(node, point.mount, file if file is not None and file.is_dir else None, node.children)

    async def resolve(
        self, th: Thread, path: PathName, *, follows_last: bool = True, dotdot: DotDot = DotDot.POSIX
    ) -> Place:
        """Return where *path* leads through links; the last too if *follows_last* or before a '/'.

        Raises:
            NameNotFoundError, NotDirectoryError: there is no such place.
            SymlinkLoopError: more links than the client's `links_max`.
        """
        if dotdot is DotDot.LEXICAL:
            return await self._resolve_whole(th, path.lexical(), follows_last)
        return await self._descend(th, path, follows_last, allows_missing=False)

    async def canonical(self, th: Thread, path: PathName) -> PathName:
        """Return *path* without links and "..", as far as it exists; what does not is appended as it stands.

        Raises:
            NameNotFoundError: a ".." follows a name that does not exist.
        """
        return (await self._descend(th, path, True, allows_missing=True)).path

    async def bind(
        self, th: Thread, old: PathName, new: PathName, *, is_coverable: bool = True
    ) -> MountEntry:
        """Mount at *new* what *old* leads to now: links in both are followed now and never again.

        Raises:
            NotDirectoryError: *old* is no directory.
            InvalidArgumentError: *old* is a synthetic directory, which no server holds.
        """
        place = await self.resolve(th, old)
        if place.point.file is None:
            raise InvalidArgumentError(f"{old} exists only for the mounts below it")
        if not place.point.file.is_dir:
            raise NotDirectoryError(f"bind of {old}, which is no directory")
        target = await self.canonical(th, new)
        self.client.counts.calls += 1
        entry: MountEntry = await th.deref(self.client.mgr).bind(
            th, place.path, target, is_coverable=is_coverable
        )
        return entry

    async def _point_at(self, th: Thread, node: MountNode) -> NamePoint:
        """Return the place of a node whose own mount answers, or of the tree's root, which may have none."""
        entry = node.winner
        if entry is None:
            return NamePoint(node, None, None, node.children)
        assert node.crosses, f"{node.path!r} is not the root of its mount"
        file: FSFile = await th.deref(entry.server).resolve(th, bytes(entry.rel_path), False)
        if not file.is_dir:
            raise NotDirectoryError(f"{entry.rel_path} in {entry.description!r} is no directory any more")
        return NamePoint(node, entry, file, node.children)

    async def _ask(self, th: Thread, point: NamePoint, name: bytes) -> FSFile | None:
        """Look *name* up in *point*'s directory; None if *point* is synthetic."""
        if point.file is None:
            return None
        if not point.file.is_dir:
            raise NotDirectoryError(f"{name!r} in something that is no directory")
        file: FSFile = await th.deref(point.server).lookup(th, point.file, name)
        return file

    async def _read_link(self, th: Thread, point: NamePoint) -> bytes:
        assert point.file is not None
        target: bytes = await th.deref(point.server).read_link(th, point.file)
        return target

    async def _descend(
        self, th: Thread, path: PathName, follows_last: bool, *, allows_missing: bool
    ) -> Place:
        """Walk *path* name by name. A "." among the names says that the place must be a directory."""
        trail = [await self.root(th)]
        names: list[bytes] = []
        todo = [b".", *reversed(path.components)] if path.wants_directory else list(reversed(path.components))
        links = 0
        while todo:
            name = todo.pop()
            if name in (b".", b".."):
                if not trail[-1].is_directory:
                    raise NotDirectoryError(f"{PathName(tuple(names))} is no directory")
                if name == b".." and names:
                    names.pop()
                    trail.pop()
                continue
            try:
                point = await self.walk(th, trail[-1], name)
            except NameNotFoundError:
                if not allows_missing or b".." in todo:
                    raise
                rest = [word for word in reversed(todo) if word != b"."]
                return Place(trail[-1], PathName((*names, name, *rest)))
            if point.is_link and (todo or follows_last):
                links += 1
                if links > self.client.links_max:
                    raise SymlinkLoopError(f"more than {self.client.links_max} links in {path}")
                target = await self._read_link(th, point)
                if target.startswith(b"/"):
                    del trail[1:], names[:]
                todo += _words(target)
                continue
            trail.append(point)
            names.append(name)
        return Place(trail[-1], PathName(tuple(names)))

    async def _resolve_whole(self, th: Thread, path: PathName, follows_last: bool) -> Place:
        """K42's loop: look the whole path up, let the server walk the rest, replace a link met there,
        again.
        """
        client = self.client
        links = 0
        while True:
            known = await client.replace_known_links(th, path, follows_last=follows_last, links=links)
            path = known.path
            point, depth = await self._walk_rest(th, known.snapshot, path.components)
            is_last = depth == len(path)
            if not point.is_link or (is_last and not follows_last and not path.wants_directory):
                if path.wants_directory and not point.is_directory:
                    raise NotDirectoryError(f"{path} is no directory")
                return Place(point, PathName(path.components))
            assert point.file is not None
            await client.watch_links(th)
            target = await self._read_link(th, point)
            link = PathName(path.components[:depth])
            await client.remember_link(th, link, point.file.ino, target, known.snapshot)
            path, links = client.follow(path, depth, target, known.links)

    async def _walk_rest(self, th: Thread, seen: Snapshot, path: Components) -> tuple[NamePoint, int]:
        """Walk *path* from the root of its mount to its end or to a link; the place, and its depth."""
        deepest = seen.deepest(path)
        depth = deepest.winner_depth
        start = seen.node_at(path[:depth])
        assert start is not None  # the winner lies on the way to the deepest node
        point = await self._point_at(th, start)
        while depth < len(path) and not point.is_link:
            point = await self.walk(th, point, path[depth])
            depth += 1
        return point, depth


def _words(target: bytes) -> list[bytes]:
    """Split a link's target into the names to walk, last first; "." stands for a trailing '/'.

    Raises:
        NameNotFoundError: the target is empty.
    """
    if not target:
        raise NameNotFoundError("a link with an empty target")
    words = target.split(b"/")
    kept = [word for word in words if word not in (b"", b".")]
    if words[-1] in (b"", b"."):
        kept.append(b".")
    return kept[::-1]


__all__ = [
    "ROOT_REFUSALS",
    "NamePoint",
    "NameSpace",
    "Place",
    "check_can_create",
    "check_can_remove",
    "check_same_mounts",
    "merge_names",
    "refusal_at_root",
    "step",
]
