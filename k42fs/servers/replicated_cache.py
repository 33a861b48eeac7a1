"""A file cache with a replica of its page hash on each processor that uses the file.

Implementation ``replicated`` of FileCache: a distributed hash table. The root has the master, which alone makes,
frees and moves frames; a processor's replica holds what was asked for there. A hit takes the replica's lock and
touches the replica's lines, which no other processor does. A miss finds the page in the master, or adds it
there, and copies the entry. Cutting the file, and frames that move because an extent outgrew its one page, visit
every replica.

Costs: a first touch on each processor is dearer than with one hash, memory grows with processors, truncate is
linear in replicas. It pays where many processors touch the same pages often and nobody cuts the file.

Locks: master (rank 50), then a replica's (51). A reader that misses lets its replica go first.

K42: os/kernel/mem/FCMDefaultMultiRep.C, DHashTable.H.
Differs: K42 has a lock per entry; here one per replica, which only its processor's requests and whole-file
operations take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from k42fs.ids import VP, Addr, Ref
from k42fs.machine.layout import Kind, Layout
from k42fs.machine.lock_choice import make_lock
from k42fs.objects.implementations import Implementation, register
from k42fs.objects.root import MultiRepRoot, Rep
from k42fs.objects.transfer import TransferType, TransferTypes, is_first
from k42fs.servers import mem_trace
from k42fs.servers.cached_file import CachedFile
from k42fs.servers.file_cache import (
    ADD_PAGES,
    CACHE,
    DROP_PAGES,
    EXTENT,
    EXTENT_SHIFT,
    FIND_PAGES,
    PAGE,
    Extents,
    Frames,
    bucket_of,
    free_frames,
    new_frames,
    pieces_of,
)
from k42fs.servers.fs_file import FSFile

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.objects.cosmgr import COSMgr
    from k42fs.objects.root import CObjRoot
    from k42fs.servers.fs_global import FileSystemGlobal

BUCKETS: Final = 16
REPLICA: Final = Layout("CacheReplica", Kind.LOCAL_STRICT, lock=16, root=8, count=8, pages=BUCKETS * 8)
FIND: Final = REPLICA.script("find_pages", "r:root r2:0", work=60)
COPY: Final = REPLICA.script("copy_entry", "w:count w2:0", work=60)
DROP: Final = REPLICA.script("drop_entry", "w:count w2:0", work=40)

_PAGES: Final = REPLICA.offset("pages")
_UNMODELLED: Final = Frames(Addr(0), EXTENT)


class Replica(CachedFile, Rep):
    """One processor's copies of entries of the master."""

    __slots__ = ("addr", "extents", "file", "lock", "tree")

    root: ReplicatedCacheRoot

    def __init__(self, root: ReplicatedCacheRoot, vp: VP) -> None:
        self.tree = root.tree
        self.file = root.file
        self.addr = root.tree.memory.alloc(vp, REPLICA, REPLICA.kind, owner=self)
        machine = root.tree.machine
        self.lock = make_lock(machine.lock_kind, machine, self.addr, rank=51, name="replica", owner=self)
        self.extents: Extents = {}

    async def truncate(self, th: Thread, size: int) -> None:
        """Cut the file, then forget the pages past its end, here and everywhere."""
        await self.tree.fs.truncate(th, self.file, size)
        await self.root.forget_from(th, -(-size >> EXTENT_SHIFT))

    async def cleanup(self, th: Thread) -> None:
        """Give back the replica's memory: no call is inside any more."""
        self.tree.memory.free(th.vp, self.addr)
        self.extents = {}
        del self.lock  # it names this object as its owner: without the cycle both go at once

    def bucket(self, extent: int) -> Addr:
        """The modelled address of an extent's hash chain."""
        return Addr(self.addr + _PAGES + extent % BUCKETS * 8)

    async def drop(self, th: Thread, extents: list[int]) -> None:
        """Forget *extents*, as far as they are here. The master's lock is held."""
        await self.lock.acquire(th)
        try:
            for extent in extents:
                if extent in self.extents:
                    await th.touch(DROP, self.addr, self.bucket(extent))
                    del self.extents[extent]
        finally:
            self.lock.release(th)

    async def _charge(self, th: Thread, code: int, offset: int, size: int) -> None:
        """Look the pages of a range up, extent by extent; then copy."""
        end = offset + size
        modelled = self.tree.modelled
        first = offset >> EXTENT_SHIFT
        pieces: list[tuple[int, int]] = []
        for extent in range(first, max(-(-end >> EXTENT_SHIFT), first + 1)):
            low, high = pieces_of(extent, offset, end)
            if th.proc.on.mem:
                th.proc.emit.mem_fcm_default_multi_rep_map_page_start(extent << EXTENT_SHIFT, self.ref)
            frames = await self._find(th, extent, high)
            if frames is None:
                if th.proc.on.mem:
                    th.proc.emit.mem_fcm_default_multi_rep_map_page_retry(extent << EXTENT_SHIFT, self.ref)
                frames = await self.root.find_or_add(th, self, extent, high)
            if th.proc.on.mem:
                th.proc.emit.mem_fcm_default_multi_rep_map_page_end(extent << EXTENT_SHIFT, self.ref)
            if not modelled:
                return
            pieces.append((frames.addr + low, high - low))
        for at, nbytes in pieces:
            await th.copy(code, at, nbytes)

    async def _find(self, th: Thread, extent: int, high: int) -> Frames | None:
        """The frames of *extent* if they are known here and reach to *high*."""
        await self.lock.acquire(th)
        try:
            await th.touch(FIND, self.addr, self.bucket(extent))
            if not self.tree.modelled:
                return _UNMODELLED
            found = self.extents.get(extent)
        finally:
            self.lock.release(th)
        return found if found is not None and high <= found.nbytes else None


class ReplicatedCacheRoot(MultiRepRoot):
    """The master of a replicated file cache. `_extents` are all frames of the file."""

    kind: ClassVar[str] = "FileCache"
    implementation: ClassVar[str] = "replicated"

    def __init__(self, tree: FileSystemGlobal, file: FSFile, vp: VP, ref: Ref | None = None) -> None:
        self.tree = tree
        self.file = file
        super().__init__(tree.cos, vp=vp, ref=ref)
        self._extents: Extents = {}
        self._incoming: Extents | None = None
        self._at = tree.memory.alloc(vp, CACHE, CACHE.kind, owner=self)
        lock_addr = Addr(self._at + CACHE.offset("lock"))
        machine = tree.machine
        self._master = make_lock(machine.lock_kind, machine, lock_addr, rank=50, name="pages", owner=self)

    def label(self) -> str:
        """What statistics and traces call it."""
        return f"FileCache {self.file.ino}"

    def trace_name(self) -> str:
        """What recordings call it: by its file's path, where that is known."""
        return self.tree.known.describe(self.file)

    def create_rep(self, vp: VP) -> Replica:
        return Replica(self, vp)

    async def find_or_add(self, th: Thread, replica: Replica, extent: int, high: int) -> Frames:
        """The frames of *extent*, which reach at least to *high*; *replica* has them too from now on."""
        bucket = bucket_of(self._at, extent)
        if th.proc.on.mem:
            th.proc.emit.mem_fcm_default_multi_rep_get_page_internal_start(extent << EXTENT_SHIFT, self.ref)
        await self._master.acquire(th)
        try:
            await th.touch(FIND_PAGES, self._at, bucket)
            found = self._extents.get(extent)
            if found is None or high > found.nbytes:
                await th.touch(ADD_PAGES, self._at, bucket)
                if found is not None:
                    await self._drop_everywhere(th, [extent])
                    free_frames(self.tree, th, self._extents.pop(extent))
                found = new_frames(self.tree, th, PAGE if high <= PAGE else EXTENT, self)
                self._extents[extent] = found
                if th.proc.on.mem:
                    mem_trace.added(th, extent, found.addr)
            elif th.proc.on.mem:
                mem_trace.found(th, extent, found.addr)
            await replica.lock.acquire(th)
            try:
                await th.touch(COPY, replica.addr, replica.bucket(extent))
                replica.extents[extent] = found
            finally:
                replica.lock.release(th)
        finally:
            self._master.release(th)
            if th.proc.on.mem:
                th.proc.emit.mem_fcm_default_multi_rep_get_page_internal_end(extent << EXTENT_SHIFT, self.ref)
        return found

    async def forget_from(self, th: Thread, end: int) -> None:
        """Forget extents *end* and later."""
        await self._master.acquire(th)
        try:
            gone = [extent for extent in self._extents if extent >= end]
            if gone:
                await self._drop_everywhere(th, gone)
            for extent in gone:
                await th.touch(DROP_PAGES, self._at, bucket_of(self._at, extent))
                if th.proc.on.mem:
                    mem_trace.dropped(th, self.ref, extent, *self._extents[extent])
                free_frames(self.tree, th, self._extents.pop(extent))
        finally:
            self._master.release(th)

    async def _drop_everywhere(self, th: Thread, extents: list[int]) -> None:
        # Who becomes a replica after this look has nothing yet, and gets nothing without the master's lock.
        for _, replica in list(self.reps()):
            await replica.drop(th, extents)

    # Replacement

    @property
    def exports(self) -> TransferTypes:
        return frozenset((TransferType.CACHE_CANONICAL,))

    @property
    def imports(self) -> TransferTypes:
        return self.exports

    async def export_state(self, th: Thread, _kind: TransferType, vps: int) -> Extents | None:
        if not is_first(th, vps):
            return None
        return self._extents

    async def import_state(self, th: Thread, state: object | None, _kind: TransferType, _vps: int) -> None:
        if not isinstance(state, dict):
            return  # not the first processor
        for extent in state:
            await th.touch(ADD_PAGES, self._at, bucket_of(self._at, extent))
        self._incoming = state

    def committed(self, _th: Thread) -> None:
        """Take the frames over that were handed on; who was handed none forgets its own, which are another's."""
        state, self._incoming = self._incoming, None
        self._extents = {} if state is None else state

    # The end

    def release_memory(self, th: Thread) -> None:
        """Give back the frames, the master and the root."""
        if th.proc.on.mem:
            th.proc.emit.mem_fcm_default_multi_rep_destroy(self.ref)
        for frames in self._extents.values():
            free_frames(self.tree, th, frames)
        self._extents = {}
        self.tree.memory.free(th.vp, self._at)
        del self._master  # it names this object as its owner: without the cycle both go at once
        super().release_memory(th)


def _make(_cos: COSMgr, th: Thread, old_root: CObjRoot) -> CObjRoot:
    old = old_root.speaker
    return ReplicatedCacheRoot(old.tree, old.file, th.vp, ref=old_root.ref)


register(
    Implementation("FileCache", "replicated", _make, "a replica of the page hash per processor, one master")
)
