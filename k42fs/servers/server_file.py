"""ServerFile: the object of one regular file in use. It owns the length, the list of opens, and the file's
end.

Made at first need (an open, a truncate, a second name), unmade by the free protocol when nobody used it for
a while, or when the file dies. Until its ServerFile is unmade nobody else changes the inode's length,
contents or link count.

Every operation takes `lock`; a write keeps it while the bytes are stored, so writes and appends are atomic
among each other and a failed write changes nothing. A read keeps it only to learn the length, as K42's did.

Deletion: the data goes when the last name, the last open and the last hold of the kernel are gone,
whichever comes last; `unlink`, `release` and `delete_if_unused` each end with that question.

Free protocol (`try_destroy`): an obstacle is removed with the lock dropped, and then everything is checked
again from the top. An obstacle that was removed once and is back means that the file is in use.

```text
phase  obstacle            removed by
  -    a client            nobody: in use
  1    a file cache        destroying it
  2    a multi-link entry  leaving it, in the step that unmakes the object
```

Locks: own lock (40), then file cache (50), multi-link list (60).

K42: lib/libc/fslib/ServerFile.*, ServerFileBlock.*.
Differs: K42 reserves nothing for a write (interleaved writers lose length, appenders get one position),
ignores the file cache's return to life between phases in its block variant, and never destroys at all
there. K42's names led to the ServerFile, so each of its directories had to be locked before it could go
(detachChild); here a name leads to the inode, which alone says what its object is.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, ClassVar, Concatenate, Final, NamedTuple, ParamSpec

from k42fs.errors import InvalidArgumentError, NameNotFoundError
from k42fs.ids import VP, Ref
from k42fs.machine.layout import Layout
from k42fs.objects.implementations import Implementation, register
from k42fs.objects.transfer import TransferType, TransferTypes
from k42fs.servers import fs_trace, mem_trace
from k42fs.servers.attr_changes import AttrChanges
from k42fs.servers.credentials import READ, ROOT, WRITE, Creds, check_changes, check_may
from k42fs.servers.file_layout import (
    ADD_LINK,
    ATTRIBUTES,
    CLOSE,
    FREE_CHECK,
    GET_STATUS,
    NEW,
    OPEN,
    READ_AT,
    RELEASE,
    SERVER_FILE,
    TRUNCATE,
    UNLINK,
    WRITE_AT,
)
from k42fs.servers.file_object import FileObject
from k42fs.servers.free_list import Verdict
from k42fs.servers.fs_file import NO_REF, FSFile
from k42fs.servers.one_rep import replacer
from k42fs.servers.open_file import CLIENT, NEW_CLIENT, POSITION, OpenFile

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.servers.fs_global import FileSystemGlobal

P = ParamSpec("P")

_LOCK: Final = SERVER_FILE.offset("lock")


class FileState(NamedTuple):
    """What implementations hand each other (FILE_CANONICAL): see `ServerFile` for what it means."""

    clients: set[OpenFile]
    writers: int
    cache_ref: Ref
    closing: bool


class ServerFile(FileObject):
    """The object of one regular file. Implementation ``shared``: one lock, one length.

    The length is `file.size`: while this object lives, only its methods change it.

    Shape: `clients` holds every open; `writers` counts those that may write. `cache_ref` is 0 until a first
    byte moves.
    """

    __slots__ = ("cache_ref", "clients", "writers")

    status_script = GET_STATUS
    client_layout: ClassVar[Layout] = CLIENT
    kind: ClassVar[str] = "ServerFile"
    implementation: ClassVar[str] = "shared"
    exports: ClassVar[TransferTypes] = frozenset((TransferType.FILE_CANONICAL,))
    imports: ClassVar[TransferTypes] = exports

    def __init__(self, tree: FileSystemGlobal, file: FSFile, vp: VP) -> None:
        super().__init__(tree, file, SERVER_FILE, _LOCK, vp)
        self.clients: set[OpenFile] = set()
        self.writers = 0
        self.cache_ref: Ref = NO_REF

    @property
    def is_read_only(self) -> bool:
        """No open may write."""
        return self.writers == 0

    def activity(self) -> dict[str, int]:
        """Who has it open, for monitors."""
        return {"clients": len(self.clients), "writers": self.writers}

    # Opens

    def add_client(self, th: Thread, flags: int) -> OpenFile:
        """Enter an open; the caller holds the lock, or nobody else knows this object yet."""
        of = OpenFile(self.file, self.ref, flags, th.creds or ROOT, th.vp)
        layout = self.client_layout
        of.addr = self.tree.memory.alloc(th.vp, layout, layout.kind, owner=self)
        self.clients.add(of)
        if flags & os.O_ACCMODE:
            self.writers += 1
        return of

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

    # Names

    async def lose_name(
        self,
        th: Thread,
        take: Callable[Concatenate[Thread, FSFile, P], Awaitable[object]],
        *args: P.args,
        **kw: P.kwargs,
    ) -> None:
        """Run *take*, which takes a name away (unlink) or gives it to another file (rename).

        The caller holds the directory's dirlock for writing, and asks `delete_if_unused` when it has let go
        of it.
        """
        await self.lock.acquire(th)
        try:
            if self.closing:
                raise self.gone()
            await th.touch(UNLINK, self.addr)
            await take(th, self.file, *args, **kw)
            if self.file.nlink == 1:
                await self.tree.multi_links.leave(th, self.file)
        finally:
            self.lock.release(th)

    async def link(self, th: Thread, directory: FSFile, name: bytes) -> None:
        """Give the file another name.

        Raises:
            NameNotFoundError: it has no name any more, and may not get one again.
        """
        await self.lock.acquire(th)
        try:
            if self.closing:
                raise self.gone()
            await th.touch(ADD_LINK, self.addr)
            if self.file.nlink == 0:
                raise NameNotFoundError(f"inode {self.file.ino} was removed")
            await self.tree.fs.link(th, self.file, directory, name)
            if self.file.nlink == 2:
                await self.tree.multi_links.enter(th, self.file)
        finally:
            self.lock.release(th)

    # The end

    async def delete_if_unused(self, th: Thread) -> None:
        """Delete the file if its last name, last open and last hold are gone."""
        await self.lock.acquire(th)
        try:
            await th.touch(FREE_CHECK, self.addr)
            dying = not self.closing and not self.clients and self._locked_is_dead()
            if dying:
                self.unmake()
        finally:
            self.lock.release(th)
        if dying:
            await self._delete(th)

    async def try_destroy(self, th: Thread) -> Verdict:
        """The free protocol: make a cold token of the inode again."""
        done = 0
        while True:
            await self.lock.acquire(th)
            try:
                await th.touch(FREE_CHECK, self.addr)
                if self.closing or self.clients:
                    return Verdict.BUSY
                cache = self.cache_ref
                if not cache:
                    await th.touch(CLOSE, self.addr)
                    if self.file.nlink > 1:
                        await self.tree.multi_links.detach(th, self.file, self.unmake)
                    else:
                        self.unmake()
                    break
                if done >= 1:
                    return Verdict.BUSY
                self.cache_ref = NO_REF
            finally:
                self.lock.release(th)
            await self.tree.cos.destroy(th, cache)
            done = 1
        if th.proc.on.fs:
            fs_trace.unmade(th, self.tree, self.file, self.ref, "try_destroy")
        await self.tree.cos.destroy(th, self.ref)
        return Verdict.FREED

    # Replacement by another implementation

    async def export_state(self, th: Thread, _kind: TransferType) -> FileState:
        await th.touch(FREE_CHECK, self.addr)
        return FileState(self.clients, self.writers, self.cache_ref, self.closing)

    async def import_state(self, th: Thread, state: FileState, _kind: TransferType) -> None:
        await th.touch(NEW, self.addr, self.addr)
        self.clients, self.writers, self.cache_ref, self.closing = state

    # Inside

    def _locked_is_dead(self) -> bool:
        return self.file.nlink == 0 and self.file.holds == 0

    def named_after(self) -> list[Ref]:
        """Refs of the objects that recordings call by this file's path."""
        return [self.cache_ref] if self.cache_ref else []

    async def _delete(self, th: Thread) -> None:
        """Free the inode, which nothing leads to, and this object, which is unmade."""
        if th.proc.on.fs:
            fs_trace.unmade(th, self.tree, self.file, self.ref, "delete_file")
        await self.tree.fs.delete_file(th, self.file)
        if self.cache_ref:
            await self.tree.cos.destroy(th, self.cache_ref)
            self.cache_ref = NO_REF
        await self.tree.free_lists.discard(th, self.ref)
        await self.tree.cos.destroy(th, self.ref)

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
