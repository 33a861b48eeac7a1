"""The file cache manager of one file: which of its pages are in memory, and where.

The bytes live in the file system (ramfs is memory; a store keeps its own buffers). What is here is the page
hash that every access goes through, and the page frames, so that a machine which models memory sees the
bytes move: a read loads the lines of each page it covers, a write stores them.

Shape: `_frames` maps page numbers to modelled frame addresses, kept only in a machine that models memory;
in others an access charges one page, whatever its size.
Locks: one lock (rank 50) around the page hash, held for the look-ups of one access and not while bytes are
copied. Calls of `write` and `truncate` come under the ServerFile's lock, which orders them; reads come
without.

K42: os/kernel/mem/FCMDefault.C (single rep, one lock around a page hash).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from k42fs.ids import VP, Addr, Ref
from k42fs.machine.layout import Kind, Layout
from k42fs.machine.locks import FairBLock
from k42fs.servers.fs_file import FSFile

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.servers.fs_global import FileSystemGlobal

PAGE: Final = 4096
BUCKETS: Final = 64
CACHE: Final = Layout("FileCache", Kind.GLOBAL_PADDED, lock=16, file=8, count=8, pages=BUCKETS * 8)
FIND_PAGE: Final = CACHE.script("find_page", "r:file r2:0", work=60)
ADD_PAGE: Final = CACHE.script("add_page", "w:count w2:0", work=120)
DROP_PAGE: Final = CACHE.script("drop_page", "w:count w2:0", work=80)


class FileCache:
    """The page cache of one file."""

    __slots__ = ("_frames", "_lock", "_tree", "addr", "file", "ref", "root")

    ref: Ref
    root: Any

    def __init__(self, tree: FileSystemGlobal, file: FSFile, vp: VP) -> None:
        self.file = file
        self.addr = tree.memory.alloc(vp, CACHE, CACHE.kind, owner=self)
        self._tree = tree
        self._lock = FairBLock(
            tree.machine, Addr(self.addr + CACHE.offset("lock")), rank=50, name="pages", owner=self
        )
        self._frames: dict[int, Addr] = {}

    def label(self) -> str:
        """What statistics and traces call it."""
        return f"FileCache {self.file.ino}"

    async def read(self, th: Thread, offset: int, size: int) -> bytes:
        """Bytes of the file; the caller clipped the range to its length, which may have changed since."""
        await self._lock.acquire(th)
        try:
            frames = await self._locked_frames(th, offset, size)
        finally:
            self._lock.release(th)
        for at, nbytes in frames:
            await th.load(at, nbytes)
        return await self._tree.fs.read(th, self.file, offset, size)

    async def write(self, th: Thread, offset: int, data: bytes | bytearray | memoryview) -> int:
        """Store bytes; how many. A page that the file system has no room for is not cached either."""
        written = await self._tree.fs.write(th, self.file, offset, data)
        await self._lock.acquire(th)
        try:
            frames = await self._locked_frames(th, offset, written)
        finally:
            self._lock.release(th)
        for at, nbytes in frames:
            await th.store(at, nbytes)
        return written

    async def truncate(self, th: Thread, size: int) -> None:
        """Cut the file, then forget the pages past its end."""
        await self._tree.fs.truncate(th, self.file, size)
        await self._lock.acquire(th)
        try:
            end = -(-size // PAGE)
            for page in [page for page in self._frames if page >= end]:
                await th.touch(DROP_PAGE, self.addr, self._bucket(page))
                self._tree.memory.free(th.vp, self._frames.pop(page))
        finally:
            self._lock.release(th)

    async def cleanup(self, th: Thread) -> None:
        """Give back frames and memory: no call is inside any more."""
        for frame in self._frames.values():
            self._tree.memory.free(th.vp, frame)
        self._frames.clear()
        self._tree.memory.free(th.vp, self.addr)

    def _bucket(self, page: int) -> Addr:
        return Addr(self.addr + CACHE.offset("pages") + page % BUCKETS * 8)

    async def _locked_frames(self, th: Thread, offset: int, size: int) -> list[tuple[Addr, int]]:
        """Look up every page of a range, adding those that are missing; (address, bytes) of each piece."""
        if not self._tree.modelled:
            await th.touch(FIND_PAGE, self.addr, self.addr)
            return []
        pieces: list[tuple[Addr, int]] = []
        end = offset + size
        for page in range(offset // PAGE, -(-end // PAGE)):
            bucket = self._bucket(page)
            await th.touch(FIND_PAGE, self.addr, bucket)
            frame = self._frames.get(page)
            if frame is None:
                await th.touch(ADD_PAGE, self.addr, bucket)
                frame = self._frames[page] = self._tree.memory.alloc(
                    th.vp, PAGE, Kind.GLOBAL_PADDED, owner=self
                )
            low, high = max(offset - page * PAGE, 0), min(end - page * PAGE, PAGE)
            pieces.append((Addr(frame + low), high - low))
        return pieces
