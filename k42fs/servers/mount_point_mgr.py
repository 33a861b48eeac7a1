"""MountPointMgr, the name server: the mount table as a replicated clustered object.

The root owns the master table. Each representative holds the present snapshot and its version, in a line of
its own processor's memory: whoever looks up touches that line and no other. A change edits the master under
the root's lock and then stores the new snapshot into every representative, so changes pay for all the
readers. Readers take no lock: a snapshot is immutable, so they see the whole table before a change or the
whole after it.

Clients (mount_client) compare their version with the local representative's, without a call, and fetch when
it is behind. What they fetch also names the symbolic links that servers took away since, so that one link
that goes costs the others nothing. Servers report such links only while some client keeps links at all.

With *cluster* above 1, neighbours share a representative; with one cluster for all it is K42's central
server, in which the counter of lookups moves between all processors: the design to measure against.

Locks: the root's lock, while nothing else of this object is held, and never while a call through a ref is
made. A representative is made under it too, so none can appear in the midst of a publication and miss it.

K42: os/servers/mountPoint/MountPointMgrImp.C; the version word is `mountVersionNumber` of the kernel-info
page.
Differs: K42 has one server with one lock, ships the table in chunks that another change can tear, checks no
permission, and makes every client drop everything when any link goes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

from k42fs.errors import NotPermittedError
from k42fs.ids import VP, Addr, Ref
from k42fs.machine.layout import Kind, Layout
from k42fs.machine.thread import Thread
from k42fs.objects import COSMgr, MultiRepRoot, Rep, WellKnown
from k42fs.servers.mount_table import Components, Found, MountEntry, MountTable, Snapshot
from k42fs.servers.pathname import ROOT, PathName
from k42fs.servers.symlink_cache import LinkKey

T = TypeVar("T")

LINK_LOG_MAX: Final = 256
"""Reports of links kept for clients that are behind; one further behind drops all its links."""

NODE_CYCLES: Final = 12
"""Work per component walked, and per mount compiled."""

MASTER: Final = Layout("MountTable", Kind.GLOBAL_PADDED, version=8, tree=8, links=8)
MASTER_CHANGE: Final = MASTER.script("change", "r:version r:tree w:tree w:version", work=200)
MASTER_LINKS: Final = MASTER.script("note_links", "r:version w:links w:version", work=60)
MASTER_COPY: Final = MASTER.script("copy", "r:version r:tree", work=20)
MASTER_FETCH: Final = MASTER.script("fetch_links", "r:links", work=20)

REP: Final = Layout(
    "MountPointMgr", Kind.LOCAL_STRICT, version=8, snapshot=8, watched=8, lookups=8, fetches=8
)
REP_VERSION: Final = REP.script("version", "r:version", work=4)
REP_LOOKUP: Final = REP.script("lookup", "r:version r:snapshot x:lookups", work=30)
REP_FETCH: Final = REP.script("fetch", "r:version r:snapshot x:fetches", work=60)
REP_WATCHED: Final = REP.script("links_removed", "r:watched", work=6)
REP_PUBLISH: Final = REP.script("publish", "w:snapshot w:version", work=20)


@dataclass(frozen=True, slots=True)
class Reload:
    """What a client fetches. `links_gone` are those since the version it had; None means any may be."""

    snapshot: Snapshot
    links_gone: tuple[LinkKey, ...] | None


@dataclass(frozen=True, slots=True)
class Unmounted:
    """A mount that was taken away, and how many mounts of its server remain. At 0 the server may be
    destroyed.
    """

    entry: MountEntry
    mounts_left: int


class MountPointMgrRep(Rep):
    """What one cluster of processors knows of the table. Its methods are the name server's interface.

    `version` never runs ahead of `snapshot`: a client that reads the version first cannot fetch an older
    table.
    """

    __slots__ = ("addr", "fetches", "is_watched", "lookups", "snapshot", "vp")

    root: MountPointMgr

    def __init__(self, cos: COSMgr, vp: VP, snapshot: Snapshot, *, is_watched: bool) -> None:
        self.vp = vp
        self.snapshot = snapshot
        self.is_watched = is_watched
        self.lookups = self.fetches = 0
        self.addr: Addr = cos.memory.alloc(vp, REP, REP.kind, owner=self)

    def label(self) -> str:
        return f"MountPointMgr rep {self.vp}"

    async def version(self, th: Thread) -> int:
        """Return the published version: a word of memory to clients, no call to the server."""
        await th.touch(REP_VERSION, self.addr)
        return self.snapshot.version

    async def fetch(self, th: Thread, since: int) -> Reload:
        """Return the table, and the links that servers removed after version *since*."""
        await th.touch(REP_FETCH, self.addr)
        self.fetches += 1
        if self.is_watched:
            await th.touch(MASTER_FETCH, self.root.master_addr)
        return Reload(self.snapshot, self.root.links_gone(since))

    async def lookup(self, th: Thread, path: Components) -> Found:
        """Find the mount for *path* without a client's cache, as K42's server does for others.

        Raises:
            NameNotFoundError: no mount covers the path.
        """
        await th.touch(REP_LOOKUP, self.addr)
        self.lookups += 1
        th.work(NODE_CYCLES * len(path))
        return self.snapshot.lookup(path)

    async def register(
        self,
        th: Thread,
        path: PathName,
        server: Ref,
        *,
        rel_path: PathName = ROOT,
        description: bytes = b"",
        is_coverable: bool = False,
        replaces: bool = False,
    ) -> MountEntry:
        """Mount *server* at *path*: see MountTable. Every lookup that starts after this returns sees it.

        Raises:
            NotPermittedError: the caller owns neither the name space nor the machine.
        """
        return await self.root.change(
            th,
            lambda table: table.register(
                path,
                server,
                rel_path=rel_path,
                description=description,
                is_coverable=is_coverable,
                replaces=replaces,
            ),
        )

    async def bind(
        self, th: Thread, old: PathName, new: PathName, *, is_coverable: bool = True
    ) -> MountEntry:
        """Mount at *new* what *old* names now. The table knows no links: those in *old* are its server's to follow."""
        return await self.root.change(th, lambda table: table.bind(old, new, is_coverable=is_coverable))

    async def unregister(self, th: Thread, path: PathName) -> Unmounted:
        """Take away the mount in front at *path*. See MountTable.unregister."""

        def edit(table: MountTable) -> Unmounted:
            entry = table.unregister(path)
            return Unmounted(entry, table.mounts_of(entry.server))

        return await self.root.change(th, edit)

    async def watch_links(self, th: Thread) -> None:
        """Have servers report removed links from now on. A client says so before it reads its first link."""
        # Not by our own flag: while that is being published, another processor's may still be down.
        await self.root.watch_links(th, 1)

    async def unwatch_links(self, th: Thread) -> None:
        """Take one `watch_links` back: that client keeps no links any more."""
        await self.root.watch_links(th, -1)

    async def links_removed(self, th: Thread, keys: Iterable[LinkKey]) -> None:
        """Report links that a server no longer has under the names they had. Nearly free if nobody cares.

        Once this returns, every lookup that starts in any client follows none of them from its cache.
        """
        await th.touch(REP_WATCHED, self.addr)
        if self.is_watched:
            await self.root.note_links(th, tuple(keys))

    def cleanup(self, th: Thread) -> None:
        self.root.cos.memory.free(th.vp, self.addr)


class MountPointMgr(MultiRepRoot):
    """The root: master table and publication. Made once per name space.

    Args:
        table: the mounts to start with; a copy of another name space's makes a private one.
        cluster: processors that share a representative.
        at: the well-known ref for the name space of the system, None for any other.
        owner_uid: who, besides root and the system itself, may change the table; None lets everyone.
    """

    def __init__(
        self,
        cos: COSMgr,
        table: MountTable | None = None,
        *,
        cluster: int = 1,
        at: WellKnown | None = WellKnown.MOUNT_POINT_MGR,
        owner_uid: int | None = None,
    ) -> None:
        super().__init__(cos, cluster, at=at)
        self._table = table if table is not None else MountTable()
        self._owner_uid = owner_uid
        self._watchers = 0
        self._gone: deque[tuple[int, LinkKey]] = deque()
        self._forgotten = self._table.snapshot.version  # reports up to here are no longer in the log
        self.master_addr: Addr = cos.memory.alloc(VP(0), MASTER, MASTER.kind, owner=self)

    @property
    def snapshot(self) -> Snapshot:
        """The master's table, for listings: costs nothing in the model."""
        return self._table.snapshot

    async def make_rep(self, th: Thread) -> MountPointMgrRep:
        await th.touch(MASTER_COPY, self.master_addr)
        return MountPointMgrRep(self.cos, th.vp, self._table.snapshot, is_watched=self._watchers > 0)

    async def change(self, th: Thread, edit: Callable[[MountTable], T]) -> T:
        """Apply *edit* to the master and publish what comes of it. If it raises, nothing has changed.

        Raises:
            NotPermittedError: the caller may not change this name space.
        """
        self._check_permission(th)
        await self.lock.acquire(th)
        try:
            await th.touch(MASTER_CHANGE, self.master_addr)
            th.work(NODE_CYCLES * len(self._table.snapshot.mounts))
            before = self._table.snapshot
            result = edit(self._table)
            if self._table.snapshot is not before:
                await self._locked_publish(th)
        finally:
            self.lock.release(th)
        return result

    async def watch_links(self, th: Thread, clients: int) -> None:
        """Count *clients* more that keep links: servers report removed ones while there are any.

        Clients that came before have no links, so no version is needed.
        """
        await self.lock.acquire(th)
        try:
            await th.touch(MASTER_LINKS, self.master_addr)
            was_watched = self._watchers > 0
            self._watchers += clients
            if (self._watchers > 0) != was_watched:
                await self._locked_publish(th)
        finally:
            self.lock.release(th)

    async def note_links(self, th: Thread, keys: tuple[LinkKey, ...]) -> None:
        """Log *keys* under a new version, which makes every client fetch."""
        await self.lock.acquire(th)
        try:
            await th.touch(MASTER_LINKS, self.master_addr)
            self._table.renew()
            self._gone.extend((self._table.snapshot.version, key) for key in keys)
            while len(self._gone) > LINK_LOG_MAX:
                self._forgotten, _ = self._gone.popleft()
            await self._locked_publish(th)
        finally:
            self.lock.release(th)

    def links_gone(self, since: int) -> tuple[LinkKey, ...] | None:
        """Return the links removed after version *since*; None if the log is too short.

        It may run ahead of the caller's snapshot: to drop a link early, and again later, does no harm.
        """
        if since < self._forgotten:
            return None
        return tuple(key for version, key in self._gone if since < version)

    def release_memory(self, th: Thread) -> None:
        self.cos.memory.free(th.vp, self.master_addr)
        super().release_memory(th)

    async def _locked_publish(self, th: Thread) -> None:
        """Store the master's table into every representative, one after the other.

        Readers may meanwhile find the new table on one processor and the old on another: the change has not
        returned yet, so both answers are right.
        """
        assert self.lock.holder is th, "publication without the root's lock"
        reps = [rep for _, rep in self.reps()]
        try:
            for rep in reps:
                await th.touch(REP_PUBLISH, rep.addr)
                self._install(rep)
        finally:
            # Even if th dies half way: the master has changed, nobody may lag behind for ever.
            for rep in reps:
                self._install(rep)

    def _install(self, rep: MountPointMgrRep) -> None:
        rep.snapshot = self._table.snapshot
        rep.is_watched = self._watchers > 0

    def _check_permission(self, th: Thread) -> None:
        creds = th.creds
        if self._owner_uid is not None and creds is not None and creds.uid not in (0, self._owner_uid):
            raise NotPermittedError(
                f"user {creds.uid} may not change the name space of user {self._owner_uid}"
            )


__all__ = ["LINK_LOG_MAX", "MountPointMgr", "MountPointMgrRep", "Reload", "Unmounted"]
