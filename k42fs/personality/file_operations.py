"""Operations on open files."""

from __future__ import annotations

import os
from collections.abc import Coroutine
from errno import ENOSYS
from typing import Any, Final

import pyfuse3

from k42fs.machine import Thread
from k42fs.personality.control import ControlText
from k42fs.personality.face import Context, Face
from k42fs.personality.handles import Handle
from k42fs.personality.nodes import CONTROL_BASE
from k42fs.personality.serving import by_caller, by_handle
from k42fs.servers.file_ops import access_is_news
from k42fs.servers.fs_file import FSFile

KEPT_OPEN_FLAGS: Final = ~os.O_APPEND
"""The kernel gives each append its offset, under the inode's lock; F_SETFL may clear O_APPEND without
telling us, and a server that still appended would then put a pwrite in the wrong place."""


class FileOperations(Face):
    """Run on the processor that opened the file: the kernel does not say who reads and writes."""

    @by_caller
    async def open(self, th: Thread, inode: int, flags: int, ctx: Context) -> pyfuse3.FileInfo:
        """Open a file; O_TRUNC truncates here, in the same step."""
        if inode >= CONTROL_BASE:
            return self.control.open(th, inode, flags)
        node = self.nodes[inode]
        opened = await th.deref(node.tree).open(th, node.file, flags & KEPT_OPEN_FLAGS)
        handle = self.handles.add(th.vp, th.creds, node, opened)
        return pyfuse3.FileInfo(fh=handle.number, keep_cache=self._keeps_cache(th, node.file, flags))

    def _keeps_cache(self, th: Thread, file: FSFile, flags: int) -> bool:
        """False when the next read must reach us: relatime is about to move the access time."""
        if flags & os.O_ACCMODE == os.O_WRONLY or not self.updates_atime or flags & os.O_NOATIME:
            return True
        return not access_is_news(file, th.now_ns())

    # These two hand the server's coroutine on as it is: one less for each to run through.

    @by_handle
    def read(self, th: Thread, handle: Handle[Any], offset: int, size: int) -> Coroutine[Any, Any, bytes]:
        """Return up to *size* bytes."""
        if handle.opened.__class__ is ControlText:
            return _read_text(handle.opened, offset, size)
        return th.deref(handle.tree).read(th, handle.opened, offset, size)  # type: ignore[no-any-return]

    @by_handle
    def write(self, th: Thread, handle: Handle[Any], offset: int, data: bytes) -> Coroutine[Any, Any, int]:
        """Write all of *data*, or what the room allows."""
        if handle.opened.__class__ is ControlText:
            if handle.opened.does_work:
                self.cos.activate(th)
            return self.control.write(th, handle.opened, offset, data)
        return th.deref(handle.tree).write(th, handle.opened, offset, data)  # type: ignore[no-any-return]

    async def flush(self, fh: int) -> None:
        """Nothing waits for close: writes are through. The kernel stops asking after this answer."""
        raise pyfuse3.FUSEError(ENOSYS)

    @by_handle
    async def release(self, th: Thread, handle: Handle[Any]) -> None:
        """Close."""
        self.handles.remove(handle.number)
        if handle.opened.__class__ is ControlText:
            if handle.opened.transaction is not None and handle.opened.does_work:
                self.cos.activate(th)
            await self.control.release(th, handle.opened)
        else:
            await th.deref(handle.tree).release(th, handle.opened)

    @by_handle
    async def fsync(self, th: Thread, handle: Handle[Any], datasync: bool) -> None:
        """Bring a file to its store; of `.k42/trace`, what has been recorded to its directory."""
        if handle.opened.__class__ is ControlText:
            if handle.opened.file.sync is not None:
                handle.opened.file.sync()
        else:
            await th.deref(handle.tree).fsync(th, handle.opened, datasync)


async def _read_text(text: ControlText, offset: int, size: int) -> bytes:
    return text.read(offset, size)
