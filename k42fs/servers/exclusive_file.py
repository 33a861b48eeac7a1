"""ServerFile ``exclusive``: who has a file to itself works on it without the file's lock, and a small file without
a file cache.

An open owns length and offset (NON_SHARED) if it is the only one, or if its first read or write finds that no other
client writes, and it does not write where others work: then its operations take only its own lock, on its own line.
Else the file becomes SHARED: each client that owned it is told to give it up, which waits for the operation that it is
in, and from then on all work under the file's lock. Any number of clients that only read may be NON_SHARED together.
A later open that has done no I/O disturbs nobody (LAZY_INIT).

```text
              first I/O, nobody in the way                    first I/O of another, one of the two writing
 LAZY_INIT ---------------------------------> NON_SHARED ----------------------------------------------> SHARED
                                                  ^                                                        |
                                                  +----------- the next I/O, once the others have closed --+
```

So nobody waits in a state TRANSITION: whoever makes the file SHARED holds the file's lock until all owners have given
it up, and an owner never asks for the file's lock while it holds its own.

Up to 16 KiB an owned file's bytes lie in the *window*, frames that client and server share, and no file cache is made
as long as the object lives; sharing or growing moves them to one.

Costs against ``shared``: stat asks the owners; sharing visits each. It pays for files that one process at a time uses,
most of them.

Locks: file's lock (40), then clients' locks (42) in ascending order of address, then the file cache. The window
belongs to whoever holds an owner's lock, or the file's and all owners'.

K42: lib/libc/fslib/ServerFileSharing.C, lib/libc/io/{FileLinuxFile,Buffer}.*.
Differs: K42 forgets whether a registering client writes, so that a reader and a writer may both think that they own
the file; overwrites a client's state with the file's; has no way back while the file is open; and waits for a client
that does not answer until an assertion fails. Its client is another process, reached by an asynchronous call, and gives
its small buffer up at each close.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar, Final

from k42fs.ids import VP, Addr
from k42fs.machine.layout import READ, WRITE, Layout
from k42fs.objects.implementations import Implementation, register
from k42fs.objects.transfer import TransferType
from k42fs.servers.credentials import Creds
from k42fs.servers.file_cache import PAGE, Frames, free_frames, new_frames
from k42fs.servers.file_client import ASK, MOVE, OWN_READ, OWN_WRITE, RECORD, TELL, FileClient, UseType
from k42fs.servers.file_layout import SERVER_FILE
from k42fs.servers.file_ops import loses_rights
from k42fs.servers.fs_file import FSFile
from k42fs.servers.one_rep import replacer
from k42fs.servers.open_file import OpenFile
from k42fs.servers.regular_file import FileState
from k42fs.servers.server_file import ServerFile

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.servers.fs_global import FileSystemGlobal

SMALL_MAX: Final = 4 * PAGE
"""Files of up to this many bytes are kept in a window rather than in a file cache (K42: 4 pages)."""

REGISTER: Final = SERVER_FILE.script("register", "r:clients w:state", work=80)
NEW_WINDOW: Final = SERVER_FILE.script("new_window", "w:cache", work=60)


class ExclusiveServerFile(ServerFile):
    """The object of one regular file that one client at a time writes. `_window` is where its bytes are while it is
    small and owned, None if nobody has touched them or they are in a file cache.
    """

    __slots__ = ("_most_sharers", "_window")

    implementation: ClassVar[str] = "exclusive"
    holder_blocks: ClassVar[bool] = True  # for clients' locks
    client_layout: ClassVar[Layout] = RECORD

    def __init__(self, tree: FileSystemGlobal, file: FSFile, vp: VP) -> None:
        super().__init__(tree, file, vp)
        self._window: Frames | None = None
        self._most_sharers = 0

    # Opens

    def add_client(self, th: Thread, flags: int) -> OpenFile:
        """Enter an open, which owns the file if it is the only one; the caller holds the lock, or nobody else
        knows this object yet."""
        of = super().add_client(th, flags)
        of.client = FileClient(self.tree.machine, of.addr, self)
        if len(self.clients) == 1:
            of.client.use = UseType.NON_SHARED
        return of

    async def release(self, th: Thread, of: OpenFile) -> bool:
        """Close an open; whether the object is idle now and may join a free list."""
        client: FileClient | None = of.client
        if (
            client is not None and client.stream.holder is not None
        ):  # it is in an operation, of another thread
            await client.stream.acquire(th)
            client.use = UseType.LAZY_INIT
            client.stream.release(th)
        return await super().release(th, of)

    async def cleanup(self, th: Thread) -> None:
        """Give back the modelled memory: no call is inside any more."""
        self._drop_window(th)
        await super().cleanup(th)

    def activity(self) -> dict[str, int]:
        """Who has it open; and how many clients shared it at once, and worked under its lock, since last asked."""
        sharers = self._sharers()
        most, self._most_sharers = max(self._most_sharers, sharers), sharers
        return super().activity() | {"sharers": most}

    # Attributes

    async def get_status(self, th: Thread) -> FSFile:
        """The inode; an owner is asked for its length."""
        file = await super().get_status(th)
        for client in self._owners():
            await th.touch(ASK, client.addr)
        return file

    # Contents

    async def read(self, th: Thread, of: OpenFile, offset: int | None, size: int) -> bytes:
        """Up to *size* bytes at *offset*; None: at the open file's own offset, which moves past them."""
        client = of.client or self._new_client(th, of)
        if client.use is not UseType.NON_SHARED:
            await self._ask_to_own(th, of, client)
        await client.stream.acquire(th)
        try:
            if client.use is UseType.NON_SHARED:
                return await self._own_read(th, of, client, offset, size)
        finally:
            client.stream.release(th)
        return await super().read(th, of, offset, size)

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
        client = of.client or self._new_client(th, of)
        if client.use is not UseType.NON_SHARED:
            await self._ask_to_own(th, of, client)
        if not loses_rights(self.file):
            await client.stream.acquire(th)
            try:
                if client.use is UseType.NON_SHARED:
                    return await self._own_write(th, of, client, offset, data)
            finally:
                client.stream.release(th)
        await self.lock.acquire(th)
        try:
            taken = await self._take_streams(th)
            try:
                await self._empty_window(th)
                return await self._locked_write(th, of, offset, data)
            finally:
                _give_streams(th, taken)
        finally:
            self.lock.release(th)

    async def seek(self, th: Thread, of: OpenFile, offset: int, whence: int) -> int:
        """Move the open file's own offset; where it is now. Past the end is allowed and extends nothing.

        Raises:
            InvalidArgumentError: a negative result, or another *whence* than SEEK_SET, SEEK_CUR, SEEK_END.
        """
        client = of.client or self._new_client(th, of)
        await client.stream.acquire(th)
        try:
            if client.use is UseType.NON_SHARED:
                await th.touch(MOVE, client.addr)
                return self._moved(of, offset, whence)
        finally:
            client.stream.release(th)
        return await super().seek(th, of, offset, whence)

    # Replacement

    async def export_state(self, th: Thread, kind: TransferType) -> FileState:
        """Hand the file on. Whom nobody asked is nobody's owner: clients' records stay with their opens."""
        await self._empty_window(th)
        return await super().export_state(th, kind)

    def committed(self, _th: Thread) -> None:
        """Let opens begin anew with the successor, whatever it is."""
        for of in self.clients:
            of.client = None

    # Owned

    async def _own_read(
        self, th: Thread, of: OpenFile, client: FileClient, offset: int | None, size: int
    ) -> bytes:
        """Read for the owner, whose lock is held."""
        await th.touch(OWN_READ, client.addr)
        file = self.file
        own = offset is None
        if offset is None:
            offset = of.offset
        size = max(min(size, file.size - offset), 0)
        data = b""
        if size:
            window = await self._window_for(th, offset + size)
            if window is not None:
                await th.copy(READ, window.addr + offset, size)
                data = await self.tree.fs.read(th, file, offset, size)
            else:
                data = await th.deref(self.cache_ref or self._make_cache(th)).read(th, offset, size)
        if own:
            await th.touch(MOVE, client.addr)
            of.offset = offset + size
        if not of.flags & os.O_NOATIME:
            await self.tree.ops.accessed(th, file)
        return data

    async def _own_write(
        self,
        th: Thread,
        of: OpenFile,
        client: FileClient,
        offset: int | None,
        data: bytes | bytearray | memoryview,
    ) -> int:
        """Write for the owner, whose lock is held."""
        await th.touch(OWN_WRITE, client.addr)
        file = self.file
        own = offset is None
        if of.flags & os.O_APPEND:
            offset = file.size
        elif offset is None:
            offset = of.offset
        window = await self._window_for(th, offset + len(data))
        if window is not None:
            written = await self.tree.fs.write(th, file, offset, data, keeps_times=True)
            await th.copy(WRITE, window.addr + offset, written)
        else:
            cache = self.cache_ref or self._make_cache(th)
            written = await th.deref(cache).write(th, offset, data, keeps_times=True)
        if own:
            await th.touch(MOVE, client.addr)
            of.offset = offset + written
        return written

    async def _window_for(self, th: Thread, end: int) -> Frames | None:
        """The window, if bytes up to *end* are worked on there. The caller owns the file."""
        window = self._window
        if window is not None and end <= window.nbytes:
            return window
        if self.cache_ref:
            return None
        length = self.file.size
        wanted = max(end, length)
        if wanted > SMALL_MAX:
            await self._empty_window(th)
            return None
        await th.touch(NEW_WINDOW, self.addr)
        if self._window is None or wanted > self._window.nbytes:  # another reader may have come first
            new = new_frames(self.tree, th, PAGE if wanted <= PAGE else SMALL_MAX, self)
            old, self._window = self._window, new
            if old is not None:
                if length:
                    await th.copy(READ, old.addr, min(length, old.nbytes))
                free_frames(self.tree, th, old)
            if length:  # the server puts there what the file has
                await th.copy(WRITE, new.addr, min(length, new.nbytes))
            return new
        return self._window

    async def _empty_window(self, th: Thread) -> None:
        """Move what is in the window to where a file cache finds it, and give it up."""
        window, self._window = self._window, None
        if window is not None:
            length = min(self.file.size, window.nbytes)
            if length:
                await th.copy(READ, window.addr, length)
            free_frames(self.tree, th, window)

    def _drop_window(self, th: Thread) -> None:
        window, self._window = self._window, None
        if window is not None:
            free_frames(self.tree, th, window)

    # Sharing

    def _new_client(self, th: Thread, of: OpenFile) -> FileClient:
        """The client of an open that another implementation had entered: its record has no room for a lock."""
        self.tree.memory.free(th.vp, of.addr)
        of.addr = self.tree.memory.alloc(th.vp, RECORD, RECORD.kind, owner=self)
        of.client = client = FileClient(self.tree.machine, of.addr, self)
        return client

    async def _ask_to_own(self, th: Thread, of: OpenFile, client: FileClient) -> None:
        """Let *of* own the file if nobody is in the way; else have all share it."""
        if client.use is UseType.SHARED and len(self.clients) > 1:
            return  # as it was
        await self.lock.acquire(th)
        try:
            await th.touch(REGISTER, self.addr)
            others = [each for each in self._by_address() if each is not of]
            active = [each for each in others if each.client.use is not UseType.LAZY_INIT]
            if of.is_writable:
                in_the_way = bool(active)
            else:
                in_the_way = any(each.is_writable or each.client.use is UseType.SHARED for each in active)
            if not in_the_way:
                client.use = UseType.NON_SHARED
                return
            client.use = UseType.SHARED
            owners = [each.client for each in active if each.client.use is UseType.NON_SHARED]
            for owner in owners:
                await owner.stream.acquire(th)  # it may be in an operation
                try:
                    await th.touch(TELL, owner.addr)
                    owner.use = UseType.SHARED
                finally:
                    owner.stream.release(th)
            self._most_sharers = max(self._most_sharers, self._sharers())
            await self._empty_window(th)
        finally:
            self.lock.release(th)

    async def _locked_truncate(self, th: Thread, size: int, creds: Creds) -> None:
        taken = await self._take_streams(th)
        try:
            if size > SMALL_MAX:
                await self._empty_window(th)
            await super()._locked_truncate(th, size, creds)
        finally:
            _give_streams(th, taken)

    async def _take_streams(self, th: Thread) -> list[FileClient]:
        """Keep all owners out. The file's lock is held: nobody becomes one."""
        taken: list[FileClient] = []
        try:
            for client in self._owners():
                await client.stream.acquire(th)
                taken.append(client)
        except BaseException:
            _give_streams(th, taken)
            raise
        return taken

    def _by_address(self) -> list[OpenFile]:
        """The opens with clients, in the order in which clients' locks are taken."""
        return sorted((of for of in self.clients if of.client is not None), key=_client_address)

    def _sharers(self) -> int:
        return sum(1 for of in self.clients if of.client is not None and of.client.use is UseType.SHARED)

    def _owners(self) -> list[FileClient]:
        return [of.client for of in self._by_address() if of.client.use is UseType.NON_SHARED]


def _client_address(of: OpenFile) -> Addr:
    address: Addr = of.client.addr
    return address


def _give_streams(th: Thread, clients: list[FileClient]) -> None:
    for client in reversed(clients):
        client.stream.release(th)


register(
    Implementation(
        "ServerFile",
        "exclusive",
        replacer(ExclusiveServerFile),
        "one client at a time owns it; small files in a window",
    )
)
