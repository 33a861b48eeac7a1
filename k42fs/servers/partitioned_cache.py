"""A file cache in partitions: accesses to different parts of a file meet in no lock and no line.

Implementation ``partitioned`` of FileCache. Extents are dealt out to partitions in turn; each has a lock, a
count and a page hash of its own, alone on their lines, made by and near the processor that first comes there.

Costs: an access looks up each of its extents under another lock; a cut of the file visits every partition.

Locks: a partition's (rank 50), one at a time.

K42: os/kernel/mem/FCMPartitioned.C, FCMPartitionedTrivial.C.
Differs: there each processor's representative owns a part of the offsets, and an access from elsewhere goes
through it; here any processor takes the partition's lock itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from k42fs.ids import VP, Addr
from k42fs.machine.layout import Kind, Layout
from k42fs.machine.lock_choice import make_lock
from k42fs.objects.implementations import Implementation, register
from k42fs.objects.transfer import TransferType, TransferTypes
from k42fs.servers import mem_trace
from k42fs.servers.cached_file import CachedFile
from k42fs.servers.file_cache import (
    CACHE,
    EXTENT,
    EXTENT_SHIFT,
    PAGE,
    Extents,
    Frames,
    free_frames,
    new_frames,
    pieces_of,
)
from k42fs.servers.fs_file import FSFile
from k42fs.servers.one_rep import replacer

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.servers.fs_global import FileSystemGlobal

PARTITIONS: Final = 256
BUCKETS: Final = 8
PARTITION: Final = Layout("CachePartition", Kind.GLOBAL_PADDED, lock=16, count=8, pages=BUCKETS * 8)
GO: Final = CACHE.script("go", "r:file r:pages", work=20)
FIND: Final = PARTITION.script("find_pages", "r2:0", work=60)
ADD: Final = PARTITION.script("add_pages", "w:count w2:0", work=120)
DROP: Final = PARTITION.script("drop_pages", "w:count w2:0", work=80)

_PAGES: Final = PARTITION.offset("pages")


class Partition:
    """One partition: its lock, and the frames of every PARTITIONS-th extent."""

    __slots__ = ("addr", "extents", "file", "lock")

    def __init__(self, tree: FileSystemGlobal, file: FSFile, vp: VP) -> None:
        self.file = file
        self.addr = tree.memory.alloc(vp, PARTITION, PARTITION.kind, owner=self)
        machine = tree.machine
        self.lock = make_lock(machine.lock_kind, machine, self.addr, rank=50, name="pages", owner=self)
        self.extents: Extents = {}

    def label(self) -> str:
        """What statistics and traces call it."""
        return f"FileCache {self.file.ino}"

    def bucket(self, extent: int) -> Addr:
        """The modelled address of an extent's hash chain."""
        return Addr(self.addr + _PAGES + extent // PARTITIONS % BUCKETS * 8)


class PartitionedFileCache(CachedFile):
    """The page cache of one file, in partitions."""

    __slots__ = ("_incoming", "_partitions", "addr", "file", "ref", "root", "tree")

    kind: ClassVar[str] = "FileCache"
    implementation: ClassVar[str] = "partitioned"
    exports: ClassVar[TransferTypes] = frozenset((TransferType.CACHE_CANONICAL,))
    imports: ClassVar[TransferTypes] = exports

    def __init__(self, tree: FileSystemGlobal, file: FSFile, vp: VP) -> None:
        self.tree = tree
        self.file = file
        self.addr = tree.memory.alloc(vp, CACHE, CACHE.kind, owner=self)
        self._partitions: dict[int, Partition] = {}
        self._incoming: Extents | None = None

    async def truncate(self, th: Thread, size: int) -> None:
        """Cut the file, then forget the pages past its end."""
        await self.tree.fs.truncate(th, self.file, size)
        end = -(-size >> EXTENT_SHIFT)
        for partition in list(self._partitions.values()):
            await partition.lock.acquire(th)
            try:
                for extent in [extent for extent in partition.extents if extent >= end]:
                    await th.touch(DROP, partition.addr, partition.bucket(extent))
                    if th.proc.on.mem:
                        mem_trace.dropped(th, self.ref, extent, *partition.extents[extent])
                    free_frames(self.tree, th, partition.extents.pop(extent))
            finally:
                partition.lock.release(th)

    async def cleanup(self, th: Thread) -> None:
        """Give back frames and memory: no call is inside any more."""
        if th.proc.on.mem:
            th.proc.emit.mem_fcm_common_destroy(self.ref)
        for partition in self._partitions.values():
            for frames in partition.extents.values():
                free_frames(self.tree, th, frames)
            self.tree.memory.free(th.vp, partition.addr)
            del partition.lock  # it names the partition as its owner: without the cycle both go at once
        self._partitions.clear()
        self.tree.memory.free(th.vp, self.addr)

    # Replacement

    async def export_state(self, _th: Thread, _kind: TransferType) -> Extents:
        return {n: frames for part in self._partitions.values() for n, frames in part.extents.items()}

    async def import_state(self, th: Thread, state: Extents, _kind: TransferType) -> None:
        for extent in state:
            partition = self._partition(th.vp, extent)
            await th.touch(ADD, partition.addr, partition.bucket(extent))
        self._incoming = state

    def committed(self, th: Thread) -> None:
        """Take the frames over that were handed on; who was handed none forgets its own, which are another's."""
        state, self._incoming = self._incoming, None
        for partition in self._partitions.values():
            partition.extents = {}
        for extent, frames in (state or {}).items():
            self._partition(th.vp, extent).extents[extent] = frames

    # Inside

    def _partition(self, vp: VP, extent: int) -> Partition:
        number = extent % PARTITIONS
        found = self._partitions.get(number)
        if found is None:
            found = self._partitions[number] = Partition(self.tree, self.file, vp)
        return found

    async def _charge(self, th: Thread, code: int, offset: int, size: int) -> None:
        """Look the pages of a range up, extent by extent, adding those that are missing; then copy."""
        pieces: list[tuple[int, int]] = []
        end = offset + size
        await th.touch(GO, self.addr)
        for extent in range(
            offset >> EXTENT_SHIFT, max(-(-end >> EXTENT_SHIFT), (offset >> EXTENT_SHIFT) + 1)
        ):
            partition = self._partition(th.vp, extent)
            await partition.lock.acquire(th)
            try:
                low, high = pieces_of(extent, offset, end)
                frames = await self._frames(th, partition, extent, high)
                pieces.append((frames.addr + low, high - low))
            finally:
                partition.lock.release(th)
            if not self.tree.modelled:
                return
        for at, nbytes in pieces:
            await th.copy(code, at, nbytes)

    async def _frames(self, th: Thread, partition: Partition, extent: int, high: int) -> Frames:
        """The frames of *extent*, which reach at least to *high*. The partition's lock is held."""
        bucket = partition.bucket(extent)
        await th.touch(FIND, partition.addr, bucket)
        found = partition.extents.get(extent)
        if found is None or high > found.nbytes:
            if not self.tree.modelled:
                return Frames(partition.addr, EXTENT)
            await th.touch(ADD, partition.addr, bucket)
            if found is not None:
                free_frames(self.tree, th, found)
            found = new_frames(self.tree, th, PAGE if high <= PAGE else EXTENT, self)
            partition.extents[extent] = found
            if th.proc.on.mem:
                mem_trace.added(th, extent, found.addr)
        elif th.proc.on.mem:
            mem_trace.found(th, extent, found.addr)
        return found


register(
    Implementation(
        "FileCache",
        "partitioned",
        replacer(PartitionedFileCache),
        f"{PARTITIONS} partitions by extent of 64 KiB, a lock each",
    )
)
