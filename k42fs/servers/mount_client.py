"""A client's cached prefix table: 0 calls when warm, one reload for each change that is used.

Each process has one. On every lookup it compares its version with the published one, a word in its own
processor's line, and works on its own view while that is not behind. A view is an immutable snapshot; links
that the client learned of are beside it, in its SymlinkCache.

The version is read before the table: a change in between costs one more reload later, and is never missed. A
client that moves to a processor which a publication has not reached yet keeps the newer table it has.

Locks: `lock`, only while reloading, so that threads of one process reload once; taken before the server's.

K42: lib/libc/sys/MountPointMgrClient.C.
Differs: links are invalidated one by one; a relative link's ".." may climb over any component before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from k42fs.errors import InvalidArgumentError, SymlinkLoopError
from k42fs.ids import VP, Addr, Ino, Ref
from k42fs.machine.layout import Kind, Layout
from k42fs.machine.locks import FairBLock
from k42fs.machine.thread import Thread
from k42fs.objects import COSMgr
from k42fs.servers.mount_point_mgr import NODE_CYCLES
from k42fs.servers.mount_table import Found, Snapshot
from k42fs.servers.pathname import DotDot, PathName
from k42fs.servers.symlink_cache import CachedLink, LinkKey, SymlinkCache
from k42fs.servers.trail import LinkStep, PrefixStep, Trail

LINKS_MAX: Final = 40
"""Links followed in one resolution: Linux's bound. The next one is ELOOP."""

FIRST_VP: Final = VP(0)

CLIENT: Final = Layout("MountPointMgrClient", Kind.GLOBAL_PADDED, version=8, tree=8, links=8, lock=16)
CLIENT_CHECK: Final = CLIENT.script("check", "r:version r:tree", work=10)
CLIENT_RELOAD: Final = CLIENT.script("reload", "w:tree w:links w:version", work=120)
CLIENT_LINK: Final = CLIENT.script("remember_link", "w:links", work=60)


@dataclass(slots=True)
class ClientCounts:
    """What a client has done. `calls` are calls to the name server, `reloads` those of them that fetched."""

    lookups: int = 0
    calls: int = 0
    reloads: int = 0
    links_followed: int = 0


@dataclass(frozen=True, slots=True)
class Resolved:
    """A whole-path lookup: the mount found for *path*, whose known links are replaced, and the table used.

    The table says which components of the path may be links that the client does not know.
    """

    snapshot: Snapshot
    found: Found
    path: PathName


class MountPointMgrClient:
    """The name space as one process sees it. *mgr* is the ref of its MountPointMgr."""

    def __init__(self, cos: COSMgr, mgr: Ref, vp: VP = FIRST_VP, *, links_max: int = LINKS_MAX) -> None:
        self.mgr = mgr
        self.links_max = links_max
        self.links = SymlinkCache()
        self.counts = ClientCounts()
        self.addr: Addr = cos.memory.alloc(vp, CLIENT, CLIENT.kind, owner=self)
        self.lock = FairBLock(
            cos.machine, Addr(self.addr + CLIENT.offset("lock")), name="clientlock", owner=self
        )
        self._memory = cos.memory
        self._snapshot: Snapshot | None = None
        self._is_watching = False

    def label(self) -> str:
        return f"MountPointMgrClient of {self.mgr}"

    async def refresh(self, th: Thread) -> Snapshot:
        """Return a table no older than any change that returned before this began."""
        published: int = await th.deref(self.mgr).version(th)
        await th.touch(CLIENT_CHECK, self.addr)
        snapshot = self._snapshot
        if snapshot is not None and snapshot.version >= published:
            return snapshot
        server = th.deref(self.mgr)  # before the lock: no lock is held across a dereference
        await self.lock.acquire(th)
        try:
            snapshot = self._snapshot
            if snapshot is None or snapshot.version < published:
                self.counts.calls += 1
                self.counts.reloads += 1
                news = await server.fetch(th, snapshot.version if snapshot is not None else 0)
                await th.touch(CLIENT_RELOAD, self.addr)
                self._snapshot = snapshot = news.snapshot
                if news.links_gone is None:
                    self.links.clear()
                else:
                    self.links.drop(news.links_gone)
                self.links.check(snapshot)
        finally:
            self.lock.release(th)
        return snapshot

    async def lookup(
        self, th: Thread, path: PathName, *, follows_last: bool = True, trail: Trail | None = None
    ) -> Resolved:
        """Find the mount for *path*, replacing the links that this client knows. No call when warm.

        *path* is lexical, K42's form. *trail* has the links that this resolution has followed already.

        Raises:
            NameNotFoundError: no mount covers the path.
            SymlinkLoopError: more links than `links_max`.
            InvalidArgumentError: a ".." is left in *path*.
        """
        if path.has_dotdot:
            raise InvalidArgumentError(f"whole-path lookups need a lexical path: {path}")
        trail = Trail() if trail is None else trail
        snapshot = await self.refresh(th)
        self.counts.lookups += 1
        follows_last = follows_last or path.wants_directory
        while True:
            th.work(NODE_CYCLES * len(path))
            on_tree = snapshot.depth_at(path.components)
            known = self.links.first(path.components, on_tree, follows_last=follows_last)
            if known is None:
                found = snapshot.lookup(path.components)
                trail.add(PrefixStep(path, found))
                return Resolved(snapshot, found, path)
            depth, link = known
            path = self.follow(path, depth, link.target, trail, is_known=True)

    def follow(self, path: PathName, depth: int, target: bytes, trail: Trail, *, is_known: bool) -> PathName:
        """Replace the link at *depth* of *path* by its *target*, and count it in *trail*.

        Raises:
            SymlinkLoopError: *trail* has as many as allowed.
        """
        if trail.links >= self.links_max:
            raise SymlinkLoopError(f"more than {self.links_max} links, the last at {path}")
        self.counts.links_followed += 1
        result = replace_link(path, depth, target)
        trail.add(LinkStep(PathName(path.components[:depth]), target, is_known, result))
        return result

    async def watch_links(self, th: Thread) -> None:
        """Make sure that removed links are reported, until `destroy`. Called before reading a link to remember."""
        if not self._is_watching:
            self.counts.calls += 1
            await th.deref(self.mgr).watch_links(th)
            if self._is_watching:  # another thread of this process was faster: it counts once
                await th.deref(self.mgr).unwatch_links(th)
            self._is_watching = True

    async def remember_link(
        self, th: Thread, path: PathName, ino: Ino, target: bytes, seen: Snapshot
    ) -> None:
        """Keep the target of the link at *path*, read while the table was *seen*. Else it is used only
        once.
        """
        assert self._is_watching, "links are remembered only while servers report removed ones"
        await th.touch(CLIENT_LINK, self.addr)
        winner = seen.winner_at(path.components)
        # The link may have gone since it was read: then the version moved, and it is not kept.
        if winner is not None and await self.refresh(th) is seen:
            self.links.add(path.components, CachedLink(target, LinkKey(winner.server, ino), winner.mount_id))

    async def destroy(self, th: Thread) -> None:
        """Keep links no more and give the modelled memory back: the process ends."""
        if self._is_watching:
            self._is_watching = False
            self.counts.calls += 1
            await th.deref(self.mgr).unwatch_links(th)
        self._memory.free(th.vp, self.addr)


def replace_link(path: PathName, depth: int, target: bytes) -> PathName:
    """Replace the first *depth* components of *path*, which name a link, by its *target*; K42's lexical rule.

    Raises:
        NameNotFoundError: the target is empty.
        NameTooLongError: the new path is.
    """
    start = PathName.parse(target, PathName(path.components[: depth - 1]), DotDot.LEXICAL)
    rest = path.components[depth:]
    return PathName(
        start.components + rest, wants_directory=path.wants_directory or (start.wants_directory and not rest)
    )


__all__ = [
    "LINKS_MAX",
    "ClientCounts",
    "MountPointMgrClient",
    "Resolved",
    "replace_link",
]
