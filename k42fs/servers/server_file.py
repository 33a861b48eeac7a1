"""ServerFile: the object of one regular file in use. It owns the length, the list of opens, and the file's
end.

Made at first need (an open, a truncate, a second name), unmade by the free protocol when nobody used it for
a while, or when the file dies (`regular_file.py`). Until its ServerFile is unmade nobody else changes the inode's
length, contents or link count.

Every operation takes `lock`; a write keeps it while the bytes are stored, so writes and appends are atomic
among each other and a failed write changes nothing. A read keeps it only to learn the length, as K42's did.

Locks: own lock (40), then file cache (50), multi-link list (60).

K42: lib/libc/fslib/ServerFile.*, ServerFileBlock.*.
Differs: K42 reserves nothing for a write (interleaved writers lose length, appenders get one position).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

from k42fs.errors import InvalidArgumentError
from k42fs.ids import Ref
from k42fs.objects.implementations import Implementation, register
from k42fs.servers import mem_trace
from k42fs.servers.attr_changes import AttrChanges
from k42fs.servers.credentials import READ, ROOT, WRITE, Creds, check_changes, check_may
from k42fs.servers.file_layout import ATTRIBUTES, OPEN, READ_AT, RELEASE, TRUNCATE, WRITE_AT
from k42fs.servers.fs_file import FSFile
from k42fs.servers.one_rep import replacer
from k42fs.servers.open_file import NEW_CLIENT, POSITION, OpenFile
from k42fs.servers.regular_file import RegularFile

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread


class ServerFile(RegularFile):
    """The object of one regular file. Implementation ``shared``: one lock, one length.

    The length is `file.size`: while this object lives, only its methods change it.
    """

    __slots__ = ()

    implementation: ClassVar[str] = "shared"

    # Opens

    async def open(self, th: Thread, flags: int) -> OpenFile:
        """Open the file; O_TRUNC truncates it in the same step.

        Raises:
            NameNotFoundError: the file was deleted.
        """
        await self.lock.acquire(th)
        try:
            if self.closing:
                raise self.gone()
            if self.tree.check:
                _check_open(th.creds or ROOT, self.file, flags)
            await th.touch(OPEN, self.addr)
            if flags & os.O_TRUNC:
                await self._locked_truncate(th, 0, th.creds or ROOT)
            of = self.add_client(th, flags)
            await th.touch(NEW_CLIENT, of.addr)
        finally:
            self.lock.release(th)
        return of

    async def release(self, th: Thread, of: OpenFile) -> bool:
        """Close an open; whether the object is idle now and may join a free list."""
        await self.lock.acquire(th)
        try:
            await th.touch(RELEASE, self.addr)
            self.clients.remove(of)
            if of.flags & os.O_ACCMODE:
                self.writers -= 1
            self.tree.memory.free(th.vp, of.addr)
            idle = not self.clients
            dying = idle and self._locked_is_dead()
            if dying:
                self.unmake()
        finally:
            self.lock.release(th)
        if dying:
            await self._delete(th)
            return False
        return idle

    # Attributes

    async def set_attributes(self, th: Thread, changes: AttrChanges, by_open: bool) -> None:
        """Set attributes; the size first.

        *by_open*: a change of size comes through an open file (or is O_TRUNC's).
        """
        await self.lock.acquire(th)
        try:
            if self.closing:
                raise self.gone()
            if self.tree.check:
                check_changes(th.creds or ROOT, self.file, changes, by_open_file=by_open)
            if changes.size is not None:
                if by_open or changes.size != self.file.size:
                    await self._locked_truncate(th, changes.size, th.creds or ROOT)
                if changes.is_size_only():
                    return
            await th.touch(ATTRIBUTES, self.addr)
            await self.tree.ops.set_attributes(th, self.file, changes)
        finally:
            self.lock.release(th)

    # Contents

    async def read(self, th: Thread, of: OpenFile, offset: int | None, size: int) -> bytes:
        """Up to *size* bytes at *offset*; None: at the open file's own offset, which moves past them."""
        file = self.file
        await self.lock.acquire(th)
        try:
            await th.touch(READ_AT, self.addr)
            own = offset is None
            if offset is None:
                await th.touch(POSITION, of.addr)
                offset = of.offset
            if offset + size > file.size:
                size = max(file.size - offset, 0)
            cache = self.cache_ref or self._make_cache(th)
            if own:
                of.offset = offset + size
        finally:
            self.lock.release(th)
        data = await th.deref(cache).read(th, offset, size) if size else b""
        if not of.flags & os.O_NOATIME:
            await self.tree.ops.accessed(th, file)
        return data

    async def write(
        self, th: Thread, of: OpenFile, offset: int | None, data: bytes | bytearray | memoryview
    ) -> int:
        """Store *data*: at the end if the open appends, else at *offset*, or at the open file's own; how
        many bytes.

        Raises:
            FileTooBigError, NoSpaceError: nothing was stored.
        """
        if not data:
            return 0
        await self.lock.acquire(th)
        try:
            return await self._locked_write(th, of, offset, data)
        finally:
            self.lock.release(th)

    async def seek(self, th: Thread, of: OpenFile, offset: int, whence: int) -> int:
        """Move the open file's own offset; where it is now. Past the end is allowed and extends nothing.

        Raises:
            InvalidArgumentError: a negative result, or another *whence* than SEEK_SET, SEEK_CUR, SEEK_END.
        """
        await self.lock.acquire(th)
        try:
            await th.touch(READ_AT, self.addr)
            await th.touch(POSITION, of.addr)
            return self._moved(of, offset, whence)
        finally:
            self.lock.release(th)

    def _moved(self, of: OpenFile, offset: int, whence: int) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: of.offset, os.SEEK_END: self.file.size}.get(whence)
        if base is None or base + offset < 0:
            raise InvalidArgumentError(f"seek to {offset} from {whence}")
        of.offset = base + offset
        return of.offset

    async def sync(self, th: Thread, data_only: bool) -> None:
        """Make the file durable."""
        await self.exclusively(th, ATTRIBUTES, self._sync, data_only)

    async def _sync(self, th: Thread, file: FSFile, data_only: bool) -> None:
        await self.tree.fs.sync(th, file, data_only)

    # Inside

    async def _locked_write(
        self, th: Thread, of: OpenFile, offset: int | None, data: bytes | bytearray | memoryview
    ) -> int:
        await th.touch(WRITE_AT, self.addr)
        file = self.file
        own = offset is None
        if own:
            await th.touch(POSITION, of.addr)
        if of.flags & os.O_APPEND:
            offset = file.size
        elif offset is None:
            offset = of.offset
        if file.mode & 0o6000 or file.xattrs is not None:
            await self.tree.ops.clear_suid(th, file, of.creds)
        cache = self.cache_ref or self._make_cache(th)
        written: int = await th.deref(cache).write(th, offset, data)
        if own:
            of.offset = offset + written
        return written

    async def _locked_truncate(self, th: Thread, size: int, creds: Creds) -> None:
        await th.touch(TRUNCATE, self.addr)
        self.tree.ops.writable()
        if self.file.mode & 0o6000 or self.file.xattrs is not None:
            await self.tree.ops.clear_suid(th, self.file, creds)
        if self.cache_ref:
            await th.deref(self.cache_ref).truncate(th, size)
        else:
            await self.tree.fs.truncate(th, self.file, size)

    def _make_cache(self, th: Thread) -> Ref:
        """The file cache, made when a first byte moves. The caller holds the lock."""
        made = self.tree.policy.cache(self.file)(self.tree, self.file, th.vp)
        self.cache_ref = made.ref
        if th.proc.on.mem:
            mem_trace.created(th, self.ref, made.ref, made.implementation)
        return self.cache_ref


def _check_open(creds: Creds, file: FSFile, flags: int) -> None:
    """Raise unless *creds* may open *file* with *flags*."""
    access = flags & os.O_ACCMODE
    mask = (READ if access != os.O_WRONLY else 0) | (
        WRITE if access != os.O_RDONLY or flags & os.O_TRUNC else 0
    )
    check_may(creds, file, mask)


register(Implementation("ServerFile", "shared", replacer(ServerFile), "one lock, one length"))
