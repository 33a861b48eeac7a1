"""The file cache manager of one file: which of its pages are in memory, and where.

The bytes live in the file system (ramfs is memory; a store keeps its own buffers). What is here is the page
hash that every access goes through, and the page frames, so that a machine which models memory sees the
bytes move (machine/blocks.py prices the copies).

Shape: `_extents` maps the number of a 64 KiB extent to its modelled frames (address, bytes), kept only in a
machine that models memory. The hash is looked up once for each extent that an access covers: pages that lie
together are found together. A file of one page has frames for one page only.
Locks: one lock (rank 50) around the page hash, held for the look-ups of one access and not while bytes are
copied. Calls of `write` and `truncate` come under the ServerFile's lock, which orders them (a `ranged` one lets
writes of different bytes come together, but no `truncate` beside them); reads come without.

The class here is the implementation ``single``; `partitioned_cache.py` and `replicated_cache.py` hold the others.

K42: os/kernel/mem/FCMDefault.C (single rep, one lock around a page hash).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from k42fs.ids import VP, Addr, Ref
from k42fs.machine.layout import Kind, Layout
from k42fs.machine.lock_choice import make_lock
from k42fs.objects.implementations import Implementation, register
from k42fs.objects.transfer import TransferType, TransferTypes
from k42fs.servers import mem_trace
from k42fs.servers.cached_file import CachedFile
from k42fs.servers.fs_file import FSFile
from k42fs.servers.one_rep import replacer

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.servers.fs_global import FileSystemGlobal

PAGE: Final = 4096
EXTENT_SHIFT: Final = 16
EXTENT: Final = 1 << EXTENT_SHIFT
BUCKETS: Final = 64
CACHE: Final = Layout("FileCache", Kind.GLOBAL_PADDED, lock=16, file=8, count=8, pages=BUCKETS * 8)
FIND_PAGES: Final = CACHE.script("find_pages", "r:file r2:0", work=60)
ADD_PAGES: Final = CACHE.script("add_pages", "w:count w2:0", work=120)
DROP_PAGES: Final = CACHE.script("drop_pages", "w:count w2:0", work=80)

_PAGES: Final = CACHE.offset("pages")


class Frames(NamedTuple):
    """Where the pages of an extent lie that are there: *nbytes* from its start, together, at *addr*."""

    addr: Addr
    nbytes: int


Extents = dict[int, Frames]
"""The frames of a file by the numbers of its extents: what implementations hand each other (CACHE_CANONICAL)."""


def pieces_of(extent: int, offset: int, end: int) -> tuple[int, int]:
    """Return from where to where in *extent* the range from *offset* to *end* goes."""
    start = extent << EXTENT_SHIFT
    return offset - start if offset > start else 0, end - start if end - start < EXTENT else EXTENT


def bucket_of(addr: Addr, extent: int) -> Addr:
    """The modelled address of an extent's hash chain in the page hash at *addr*."""
    return Addr(addr + _PAGES + extent % BUCKETS * 8)


class FileCache(CachedFile):
    """The page cache of one file, one lock around its page hash."""

    __slots__ = ("_extents", "_incoming", "_lock", "addr", "file", "ref", "root", "tree")

    kind: ClassVar[str] = "FileCache"
    implementation: ClassVar[str] = "single"
    exports: ClassVar[TransferTypes] = frozenset((TransferType.CACHE_CANONICAL,))
    imports: ClassVar[TransferTypes] = exports

    ref: Ref
    root: Any

    def __init__(self, tree: FileSystemGlobal, file: FSFile, vp: VP) -> None:
        self.file = file
        self.addr = tree.memory.alloc(vp, CACHE, CACHE.kind, owner=self)
        self.tree = tree
        machine, lock_addr = tree.machine, Addr(self.addr + CACHE.offset("lock"))
        self._lock = make_lock(machine.lock_kind, machine, lock_addr, rank=50, name="pages", owner=self)
        self._extents: Extents = {}
        self._incoming: Extents | None = None

    async def truncate(self, th: Thread, size: int) -> None:
        """Cut the file, then forget the pages past its end."""
        await self.tree.fs.truncate(th, self.file, size)
        await self._lock.acquire(th)
        try:
            end = -(-size >> EXTENT_SHIFT)
            for extent in [extent for extent in self._extents if extent >= end]:
                await th.touch(DROP_PAGES, self.addr, bucket_of(self.addr, extent))
                if th.proc.on.mem:
                    mem_trace.dropped(th, self.ref, extent, *self._extents[extent])
                self._free(th, extent)
        finally:
            self._lock.release(th)

    async def cleanup(self, th: Thread) -> None:
        """Give back frames and memory: no call is inside any more."""
        if th.proc.on.mem:
            th.proc.emit.mem_fcm_common_destroy(self.ref)
        for extent in list(self._extents):
            self._free(th, extent)
        self.tree.memory.free(th.vp, self.addr)
        del self._lock  # it names this object as its owner: without the cycle both go at once

    # Replacement by another implementation, which is given the frames as they are

    async def export_state(self, _th: Thread, _kind: TransferType) -> Extents:
        return self._extents

    async def import_state(self, th: Thread, state: Extents, _kind: TransferType) -> None:
        for extent in state:
            await th.touch(ADD_PAGES, self.addr, bucket_of(self.addr, extent))
        self._incoming = state

    def committed(self, _th: Thread) -> None:
        """Take the frames over that were handed on; who was handed none forgets its own, which are another's."""
        state, self._incoming = self._incoming, None
        self._extents = {} if state is None else state

    def _free(self, th: Thread, extent: int) -> None:
        free_frames(self.tree, th, self._extents.pop(extent))

    async def _charge(self, th: Thread, code: int, offset: int, size: int) -> None:
        """Look the pages of a range up under the lock, adding those that are missing; then copy without it.

        An extent that outgrew its one page gets new frames.
        """
        pieces: list[tuple[int, int]] = []  # address and bytes of what lies together
        end = offset + size
        await self._lock.acquire(th)
        try:
            if not self.tree.modelled:
                await th.touch(FIND_PAGES, self.addr, self.addr)
                return
            for extent in range(offset >> EXTENT_SHIFT, -(-end >> EXTENT_SHIFT)):
                bucket = bucket_of(self.addr, extent)
                await th.touch(FIND_PAGES, self.addr, bucket)
                low, high = pieces_of(extent, offset, end)
                found = self._extents.get(extent)
                if found is None or high > found[1]:
                    await th.touch(ADD_PAGES, self.addr, bucket)
                    found = self._add(th, extent, PAGE if high <= PAGE else EXTENT)
                    if th.proc.on.mem:
                        mem_trace.added(th, extent, found.addr)
                elif th.proc.on.mem:
                    mem_trace.found(th, extent, found.addr)
                pieces.append((found[0] + low, high - low))
        finally:
            self._lock.release(th)
        for at, nbytes in pieces:
            await th.copy(code, at, nbytes)

    def _add(self, th: Thread, extent: int, nbytes: int) -> Frames:
        if extent in self._extents:
            self._free(th, extent)
        found = self._extents[extent] = new_frames(self.tree, th, nbytes, self)
        return found


def new_frames(tree: FileSystemGlobal, th: Thread, nbytes: int, owner: object) -> Frames:
    """Take frames for *nbytes* that lie together."""
    return Frames(tree.memory.alloc(th.vp, nbytes, Kind.GLOBAL_PADDED, owner=owner), nbytes)


def free_frames(tree: FileSystemGlobal, th: Thread, frames: Frames) -> None:
    """Give frames back."""
    if th.proc.on.mem:
        th.proc.emit.mem_page_dealloc(frames.addr)
    tree.machine.blocks.forget(frames.addr, frames.nbytes)
    tree.memory.free(th.vp, frames.addr)


register(Implementation("FileCache", "single", replacer(FileCache), "one lock around one page hash"))
