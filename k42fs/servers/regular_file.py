"""What the object of a regular file is besides its contents: its opens, its names, its end, and what it hands on.

Deletion: the data goes when the last name, the last open and the last hold of the kernel are gone, whichever comes
last; `unlink`, `release` and `delete_if_unused` each end with that question.

Free protocol (`try_destroy`): an obstacle is removed with the lock dropped, and then everything is checked
again from the top. An obstacle that was removed once and is back means that the file is in use.

```text
phase  obstacle            removed by
  -    a client            nobody: in use
  1    a file cache        destroying it
  2    a multi-link entry  leaving it, in the step that unmakes the object
```

Locks: own lock (40), then multi-link list (60).

K42: lib/libc/fslib/ServerFile.*, ServerFileBlock.*.
Differs: K42 ignores the file cache's return to life between phases in its block variant, and never destroys at all
there. K42's names led to the ServerFile, so each of its directories had to be locked before it could go
(detachChild); here a name leads to the inode, which alone says what its object is.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, ClassVar, Concatenate, Final, NamedTuple, ParamSpec

from k42fs.errors import NameNotFoundError
from k42fs.ids import VP, Ref
from k42fs.machine.layout import Layout
from k42fs.objects.transfer import TransferType, TransferTypes
from k42fs.servers import fs_trace
from k42fs.servers.credentials import ROOT
from k42fs.servers.file_layout import ADD_LINK, CLOSE, FREE_CHECK, GET_STATUS, NEW, SERVER_FILE, UNLINK
from k42fs.servers.file_object import FileObject
from k42fs.servers.free_list import Verdict
from k42fs.servers.fs_file import NO_REF, FSFile
from k42fs.servers.open_file import CLIENT, OpenFile

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


class RegularFile(FileObject):
    """The object of one regular file, whatever serves its contents.

    Shape: `clients` holds every open; `writers` counts those that may write. `cache_ref` is 0 until a first byte
    moves. `most_clients`: open at once, since `activity` was last asked.
    """

    __slots__ = ("cache_ref", "clients", "most_clients", "writers")

    status_script = GET_STATUS
    client_layout: ClassVar[Layout] = CLIENT
    kind: ClassVar[str] = "ServerFile"
    exports: ClassVar[TransferTypes] = frozenset((TransferType.FILE_CANONICAL,))
    imports: ClassVar[TransferTypes] = exports

    def __init__(self, tree: FileSystemGlobal, file: FSFile, vp: VP) -> None:
        super().__init__(tree, file, SERVER_FILE, _LOCK, vp)
        self.clients: set[OpenFile] = set()
        self.writers = 0
        self.most_clients = 0
        self.cache_ref: Ref = NO_REF

    @property
    def is_read_only(self) -> bool:
        """No open may write."""
        return self.writers == 0

    def activity(self) -> dict[str, int]:
        """Who has it open, and since this was last asked who had; for monitors."""
        clients = self.clients
        most, self.most_clients = max(self.most_clients, len(clients)), len(clients)
        return {
            "clients": len(clients),
            "most_clients": most,
            "writers": self.writers,
            "appenders": sum(1 for of in clients if of.flags & os.O_APPEND and of.is_writable),
            "length": self.file.size,
        }

    # Opens

    def add_client(self, th: Thread, flags: int) -> OpenFile:
        """Enter an open; the caller holds the lock, or nobody else knows this object yet."""
        of = OpenFile(self.file, self.ref, flags, th.creds or ROOT, th.vp)
        layout = self.client_layout
        of.addr = self.tree.memory.alloc(th.vp, layout, layout.kind, owner=self)
        clients = self.clients
        clients.add(of)
        if len(clients) > self.most_clients:
            self.most_clients = len(clients)
        if flags & os.O_ACCMODE:
            self.writers += 1
        return of

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
