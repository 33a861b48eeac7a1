"""ServerFile ``ranged``: reads take no lock, and writes of different bytes of a file do not meet.

A write passes its processor's *gate*, takes the locks of its range (`range_locks.py`), stores its bytes and notes
the time in the gate's line. What needs the file to itself (truncate, an append, a write that clears set-ID bits,
the last close) takes the file's lock and shuts all gates, one after the other. The length is changed by an atomic
maximum, so a write that extends the file meets only others that do.

A gate is a reader-writer lock in memory of its processor: passing changes a line that nobody else touches.

Costs against ``shared``: stat reads the line of every gate for the time of the last write, a truncate or append
takes them all, each file has 256 range locks. So it pays for files that many write at once.

Locks: file's lock (40), gates (42) in ascending order of address, range locks (45) likewise, then the file cache.
A write that needs the file's lock (first write on a processor, file cache to be made) takes it before its gate.

K42: lib/libc/sync/RequestCount.H (RequestCountWithStop per representative, as in RegionReplicated) for gates. It
has no ranges: every write goes under the file's lock.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, ClassVar, Concatenate, Final, ParamSpec, TypeVar

from k42fs.ids import VP, Addr, Ref
from k42fs.machine.layout import Kind, Layout, Script
from k42fs.machine.locks import RWLock
from k42fs.objects.implementations import Implementation, register
from k42fs.servers.credentials import Creds
from k42fs.servers.file_layout import READ_AT, SERVER_FILE
from k42fs.servers.file_ops import loses_rights
from k42fs.servers.fs_file import FSFile
from k42fs.servers.one_rep import replacer
from k42fs.servers.open_file import OpenFile
from k42fs.servers.range_locks import RangeLocks, give, take
from k42fs.servers.server_file import ServerFile

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.servers.fs_global import FileSystemGlobal

P = ParamSpec("P")
T = TypeVar("T")

GATE: Final = Layout("FileGate", Kind.GLOBAL_PADDED, lock=16, written=8)  # near its processor; freed anywhere
STAMP: Final = GATE.script("stamp", "w:written", work=10)
WRITE_IN: Final = SERVER_FILE.script("write_inside", "r:state r:length r:cache", work=90)
EXTEND: Final = SERVER_FILE.script("extend", "r:state x:length r:cache", work=90)
STATUS: Final = SERVER_FILE.script("status_version", "r:file r:state r:length", work=30)
NEW_GATE: Final = SERVER_FILE.script("new_gate", "w:state", work=60)


class _Gate:
    """A processor's gate; *addr* is in its memory."""

    __slots__ = ("addr", "lock")

    def __init__(self, tree: FileSystemGlobal, vp: VP, owner: object) -> None:
        self.addr = tree.memory.alloc(vp, GATE, GATE.kind, owner=owner)
        self.lock = RWLock(tree.machine, self.addr, 42, "gate", owner, spans_calls=True)


class RangedServerFile(ServerFile):
    """The object of one regular file that many write at once."""

    __slots__ = ("_gates", "_ranges")

    implementation: ClassVar[str] = "ranged"
    holder_blocks: ClassVar[bool] = True  # at the gates

    def __init__(self, tree: FileSystemGlobal, file: FSFile, vp: VP) -> None:
        super().__init__(tree, file, vp)
        self._gates: dict[VP, _Gate] = {}
        self._ranges = RangeLocks(tree.machine, vp, self)

    async def get_status(self, th: Thread) -> FSFile:
        """The inode; the time of its last write is the latest of all gates'. Takes no lock, unless somebody has it
        who may be changing attributes: before or after the record was read.
        """
        if self.closing:
            raise self.gone()
        if self.lock.holder is None:
            await th.touch(STATUS, self.addr)
            for gate in list(self._gates.values()):
                await th.load(gate.addr + GATE.offset("written"))
            await th.touch(STATUS, self.addr)
            if self.lock.holder is None and not self.closing:
                return self.file
        return await super().get_status(th)

    async def looking(
        self,
        th: Thread,
        script: Script,
        op: Callable[Concatenate[Thread, FSFile, P], Awaitable[T]],
        *args: P.args,
        **kw: P.kwargs,
    ) -> T:
        """Run *op*, which only looks at the inode, without the lock: its record is read in one step."""
        if self.closing:
            raise self.gone()
        await th.touch(script, self.addr)
        return await op(th, self.file, *args, **kw)

    async def read(self, th: Thread, of: OpenFile, offset: int | None, size: int) -> bytes:
        """Up to *size* bytes at *offset*; None: at the open file's own offset, which moves past them."""
        if offset is None:
            return await super().read(th, of, offset, size)
        await th.touch(READ_AT, self.addr)
        file = self.file
        if offset + size > file.size:
            size = max(file.size - offset, 0)
        data = b""
        if size:
            data = await th.deref(self.cache_ref or await self._cache(th)).read(th, offset, size)
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
        file = self.file
        if not data:
            return 0
        if offset is None or of.flags & os.O_APPEND or loses_rights(file):
            return await self._write_alone(th, of, offset, data)
        cache = self.cache_ref or await self._cache(th)
        gate = self._gates.get(th.vp) or await self._gate(th)
        await gate.lock.acquire_r(th)
        try:
            locks = self._ranges.span(offset, len(data))
            await take(th, locks)
            try:
                await th.touch(WRITE_IN if offset + len(data) <= file.size else EXTEND, self.addr)
                written: int = await th.deref(cache).write(th, offset, data, keeps_times=True)
                await th.touch(STAMP, gate.addr)
                return written
            finally:
                give(th, locks)
        finally:
            gate.lock.release_r(th)

    async def release(self, th: Thread, of: OpenFile) -> bool:
        """Close an open; whether the object is idle now. The last close waits for writes that are under way."""
        if len(self.clients) == 1:
            await self.lock.acquire(th)
            try:
                self._open_gates(th, await self._shut_gates(th))
            finally:
                self.lock.release(th)
        return await super().release(th, of)

    async def cleanup(self, th: Thread) -> None:
        """Give back the modelled memory: no call is inside any more."""
        self._ranges.end(th.vp)
        for gate in self._gates.values():
            self.tree.memory.free(th.vp, gate.addr)
        self._gates.clear()
        await super().cleanup(th)

    # Inside

    async def _write_alone(
        self, th: Thread, of: OpenFile, offset: int | None, data: bytes | bytearray | memoryview
    ) -> int:
        """A write that nothing else may come beside."""
        await self.lock.acquire(th)
        try:
            shut = await self._shut_gates(th)
            try:
                return await self._locked_write(th, of, offset, data)
            finally:
                self._open_gates(th, shut)
        finally:
            self.lock.release(th)

    async def _locked_truncate(self, th: Thread, size: int, creds: Creds) -> None:
        shut = await self._shut_gates(th)
        try:
            await super()._locked_truncate(th, size, creds)
        finally:
            self._open_gates(th, shut)

    async def _shut_gates(self, th: Thread) -> list[_Gate]:
        """Wait until no write is under way, and let none begin. The file's lock is held: no gate is made."""
        gates = sorted(self._gates.values(), key=_address)
        shut = 0
        try:
            for gate in gates:
                await gate.lock.acquire_w(th)
                shut += 1
        except BaseException:
            self._open_gates(th, gates[:shut])
            raise
        return gates

    def _open_gates(self, th: Thread, gates: list[_Gate]) -> None:
        for gate in reversed(gates):
            gate.lock.release_w(th)

    async def _gate(self, th: Thread) -> _Gate:
        """Make the gate of *th*'s processor, which has none."""
        await self.lock.acquire(th)
        try:
            gate = self._gates.get(th.vp)
            if gate is None:
                await th.touch(NEW_GATE, self.addr)
                gate = self._gates[th.vp] = _Gate(self.tree, th.vp, self)
            return gate
        finally:
            self.lock.release(th)

    async def _cache(self, th: Thread) -> Ref:
        """Make the file cache unless somebody else has."""
        await self.lock.acquire(th)
        try:
            return self.cache_ref or self._make_cache(th)
        finally:
            self.lock.release(th)


def _address(gate: _Gate) -> Addr:
    return gate.addr


register(
    Implementation(
        "ServerFile",
        "ranged",
        replacer(RangedServerFile),
        "range locks, a gate per processor, no lock to read",
    )
)
