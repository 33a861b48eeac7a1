"""What every file cache does with an access: it looks pages up in its own way; the file system does the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k42fs.ids import Addr, Ref
from k42fs.machine.layout import READ, WRITE
from k42fs.servers.fs_file import FSFile

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.servers.fs_global import FileSystemGlobal


class CachedFile:
    """Base of file caches and of their parts on a processor: reads and writes of one file's pages."""

    __slots__ = ()

    tree: FileSystemGlobal
    file: FSFile
    addr: Addr
    ref: Ref
    root: Any

    def label(self) -> str:
        """What statistics and traces call it."""
        return f"FileCache {self.file.ino}"

    def trace_name(self) -> str:
        """What recordings call it: by its file's path, where that is known."""
        return self.tree.known.describe(self.file)

    async def read(self, th: Thread, offset: int, size: int) -> bytes:
        """Bytes of the file; the caller clipped the range to its length, which may have changed since."""
        await self._charge(th, READ, offset, size)
        if th.proc.on.mem:
            th.proc.emit.mem_fr_start_fill_page(self.addr, offset)
        return await self.tree.fs.read(th, self.file, offset, size)

    async def write(
        self,
        th: Thread,
        offset: int,
        data: bytes | bytearray | memoryview,
        keeps_times: bool = False,
    ) -> int:
        """Store bytes; how many. A page that the file system has no room for is not cached either.

        *keeps_times*: as in `FileSystem.write`.
        """
        if th.proc.on.mem:
            th.proc.emit.mem_fr_start_write(self.addr, offset, len(data))
        written = await self.tree.fs.write(th, self.file, offset, data, keeps_times)
        await self._charge(th, WRITE, offset, written)
        return written

    async def _charge(self, th: Thread, code: int, offset: int, size: int) -> None:
        """Look up the pages of a range, adding those that are missing, then copy: *code* is READ or WRITE."""
        raise NotImplementedError
