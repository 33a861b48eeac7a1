"""The file cache manager of one file: which of its pages are in memory, and where.

The bytes live in the file system (ramfs is memory; a store keeps its own buffers). What is here is the page
hash that every access goes through, and the page frames, so that a machine which models memory sees the
bytes move (machine/blocks.py prices the copies).

Shape: `_extents` maps the number of a 64 KiB extent to its modelled frames (address, bytes), kept only in a
machine that models memory. The hash is looked up once for each extent that an access covers: pages that lie
together are found together. A file of one page has frames for one page only.
Locks: one lock (rank 50) around the page hash, held for the look-ups of one access and not while bytes are
copied. Calls of `write` and `truncate` come under the ServerFile's lock, which orders them; reads come
without.

K42: os/kernel/mem/FCMDefault.C (single rep, one lock around a page hash).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from k42fs.ids import VP, Addr, Ref
from k42fs.machine.layout import READ, WRITE, Kind, Layout
from k42fs.machine.locks import FairBLock
from k42fs.servers.fs_file import FSFile

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


class FileCache:
    """The page cache of one file."""

    __slots__ = ("_extents", "_lock", "addr", "file", "ref", "root", "tree")

    ref: Ref
    root: Any

    def __init__(self, tree: FileSystemGlobal, file: FSFile, vp: VP) -> None:
        self.file = file
        self.addr = tree.memory.alloc(vp, CACHE, CACHE.kind, owner=self)
        self.tree = tree
        self._lock = FairBLock(
            tree.machine, Addr(self.addr + CACHE.offset("lock")), rank=50, name="pages", owner=self
        )
        self._extents: dict[int, tuple[Addr, int]] = {}

    def label(self) -> str:
        """What statistics and traces call it."""
        return f"FileCache {self.file.ino}"

    async def read(self, th: Thread, offset: int, size: int) -> bytes:
        """Bytes of the file; the caller clipped the range to its length, which may have changed since."""
        await self._charge(th, READ, offset, size)
        return await self.tree.fs.read(th, self.file, offset, size)

    async def write(self, th: Thread, offset: int, data: bytes | bytearray | memoryview) -> int:
        """Store bytes; how many. A page that the file system has no room for is not cached either."""
        written = await self.tree.fs.write(th, self.file, offset, data)
        await self._charge(th, WRITE, offset, written)
        return written

    async def truncate(self, th: Thread, size: int) -> None:
        """Cut the file, then forget the pages past its end."""
        await self.tree.fs.truncate(th, self.file, size)
        await self._lock.acquire(th)
        try:
            end = -(-size >> EXTENT_SHIFT)
            for extent in [extent for extent in self._extents if extent >= end]:
                await th.touch(DROP_PAGES, self.addr, self._bucket(extent))
                self._free(th, extent)
        finally:
            self._lock.release(th)

    async def cleanup(self, th: Thread) -> None:
        """Give back frames and memory: no call is inside any more."""
        for extent in list(self._extents):
            self._free(th, extent)
        self.tree.memory.free(th.vp, self.addr)
        del self._lock  # it names this object as its owner: without the cycle both go at once

    def _free(self, th: Thread, extent: int) -> None:
        addr, nbytes = self._extents.pop(extent)
        self.tree.machine.blocks.forget(addr, nbytes)
        self.tree.memory.free(th.vp, addr)

    def _bucket(self, extent: int) -> Addr:
        return Addr(self.addr + _PAGES + extent % BUCKETS * 8)

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
                bucket = self._bucket(extent)
                await th.touch(FIND_PAGES, self.addr, bucket)
                start = extent << EXTENT_SHIFT
                low = offset - start if offset > start else 0
                high = end - start if end - start < EXTENT else EXTENT
                found = self._extents.get(extent)
                if found is None or high > found[1]:
                    await th.touch(ADD_PAGES, self.addr, bucket)
                    found = self._add(th, extent, PAGE if high <= PAGE else EXTENT)
                pieces.append((found[0] + low, high - low))
        finally:
            self._lock.release(th)
        for at, nbytes in pieces:
            await th.copy(code, at, nbytes)

    def _add(self, th: Thread, extent: int, nbytes: int) -> tuple[Addr, int]:
        if extent in self._extents:
            self._free(th, extent)
        addr = self.tree.memory.alloc(th.vp, nbytes, Kind.GLOBAL_PADDED, owner=self)
        found = self._extents[extent] = (addr, nbytes)
        return found
