"""One client's known symbolic links, by path: so that a warm path through links asks no server. Pure data.

Servers never follow links. A client that learns of one keeps path -> target here and substitutes it from
then on. Three rules keep that right:

- The mount tree wins: a link that a mount or a path filler now lies at or below is passed over.
- A link is known by the mount it was read through, and dropped when another mount answers for its path.
- A server that removes or renames a link says so; that link is dropped and the others stay. Renaming a
  directory may move any number of links: all of that server's are dropped.

K42: the SYMLINK nodes of MountPointMgrClient's tree, lib/libc/sys/MountPointMgrClient.C.
Differs: K42 drops every link of every process whenever one link goes, and keeps links under a renamed
directory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from k42fs.ids import Ino, Ref
from k42fs.servers.mount_table import Components, Snapshot

LINKS_CACHED_MAX: Final = 4096
"""Links one client keeps; the next one empties the cache first."""

ALL_LINKS: Final = Ino(0)
"""In a `LinkKey`: every link of the server. No file has inode number 0."""


class LinkKey(NamedTuple):
    """A link as its server knows it."""

    server: Ref
    ino: Ino


@dataclass(frozen=True, slots=True)
class CachedLink:
    """A link's target, its identity, and the id of the mount that its path was answered by."""

    target: bytes
    key: LinkKey
    mount_id: int


class SymlinkCache:
    """Links by path. Every method is one atomic step."""

    def __init__(self) -> None:
        self._links: dict[Components, CachedLink] = {}
        self._depths: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self._links)

    def add(self, path: Components, link: CachedLink) -> None:
        assert path, "the root of a name space is never a link"
        if len(self._links) >= LINKS_CACHED_MAX:
            self.clear()
        self._links[path] = link
        if len(path) not in self._depths:
            self._count_depths()

    def first(self, path: Components, above: int, *, follows_last: bool) -> tuple[int, CachedLink] | None:
        """Find the first known link on *path* deeper than *above* components; (depth, link) or None.

        The last component counts only if *follows_last*.
        """
        below = len(path) + 1 if follows_last else len(path)
        for depth in self._depths:
            if above < depth < below:
                link = self._links.get(path[:depth])
                if link is not None:
                    return depth, link
        return None

    def drop(self, keys: Iterable[LinkKey]) -> None:
        """Forget the links that *keys* name."""
        gone = frozenset(keys)
        whole = {key.server for key in gone if key.ino == ALL_LINKS}
        self._keep(
            {
                path: link
                for path, link in self._links.items()
                if link.key not in gone and link.key.server not in whole
            }
        )

    def check(self, snapshot: Snapshot) -> None:
        """Forget the links whose path the table *snapshot* gives to another mount."""
        kept = {}
        for path, link in self._links.items():
            winner = snapshot.winner_at(path)
            if winner is not None and winner.mount_id == link.mount_id:
                kept[path] = link
        self._keep(kept)

    def clear(self) -> None:
        self._keep({})

    def _keep(self, links: dict[Components, CachedLink]) -> None:
        if len(links) != len(self._links) or not links:
            self._links = links
            self._count_depths()

    def _count_depths(self) -> None:
        self._depths = tuple(sorted({len(path) for path in self._links}))


__all__ = ["ALL_LINKS", "LINKS_CACHED_MAX", "CachedLink", "LinkKey", "SymlinkCache"]
