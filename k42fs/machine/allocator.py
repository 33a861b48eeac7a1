"""K42's memory allocator with its own traffic charged: lists per processor, pools per node, remote lists.

`Memory` decides where objects lie and charges nothing for deciding it. These allocators hand out blocks of
one size and charge what finding them costs:

    LocalAllocator   per processor a free list, and a second one so that a processor on the edge does not go
                     back and forth; an empty one is filled, a full one emptied, by a whole list from or to
                     the pool of the node, under that pool's lock. A block of another node is put on a list
                     for that node; when the list is full it is spliced as a whole to the node's returned
                     lists with one compare-and-swap, and taken from there by the node's next miss with one
                     fetch-and-clear.
    PoolAllocator    one list under one lock, for comparison.

Charge of a hit: a read and a write of the list's word, which is the processor's own, and the block's first
line, where the link is.

K42: lib/libc/alloc/LMalloc, GMalloc, doc/white-papers/alloc/alloc.tex. The count of a list is packed into
the node bits of its head: 12 bits on PowerPC, 6 on amd64, hence `LIST_MAX`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k42fs.ids import Addr
from k42fs.machine.layout import WORD_BYTES, Kind, Layout
from k42fs.machine.locks import FairBLock
from k42fs.machine.memory import LIST_BYTES, LIST_MAX, LIST_MIN, NODE_SHIFT

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine
    from k42fs.machine.thread import Thread

LMALLOC: Final = Layout("LMalloc", Kind.LOCAL_STRICT, free=8, spare=8, pad=112)
GMALLOC: Final = Layout("GMalloc", Kind.GLOBAL_PADDED, lock=16, lists=8, pad=104, returned=8)


class _Local:
    """One processor's lists."""

    __slots__ = ("addr", "free", "remote", "spare")

    def __init__(self, addr: Addr) -> None:
        self.addr = addr
        self.free: list[Addr] = []
        self.spare: list[Addr] = []
        self.remote: dict[int, list[Addr]] = {}  # node -> blocks that go back there


class _Global:
    """One node's pool. `splices`: compare-and-swaps by which other nodes gave lists back."""

    __slots__ = ("addr", "lists", "lock", "returned", "splices")

    def __init__(self, machine: Machine, addr: Addr) -> None:
        self.addr = addr
        self.lock = FairBLock(machine, addr, name="GMalloc")
        self.lists: list[list[Addr]] = []
        self.returned: list[list[Addr]] = []
        self.splices = 0


class LocalAllocator:
    """Blocks of *nbytes* each. *list_max*: how many a list's head can count."""

    def __init__(self, machine: Machine, nbytes: int, list_max: int = LIST_MAX) -> None:
        self._machine = machine
        self._nbytes = nbytes
        self.list_max = list_max
        self.target = max(LIST_MIN, min(list_max, LIST_BYTES // nbytes))
        self._locals: dict[int, _Local] = {}
        self._globals: dict[int, _Global] = {}

    async def alloc(self, th: Thread) -> Addr:
        """Take a block from th's processor's list."""
        local = self._local(th.vp)
        await th.load(local.addr)
        if not local.free:
            local.free, local.spare = local.spare, local.free
            if not local.free:
                local.free = await self._fetch(th)
        block = local.free.pop()
        await th.load(block)
        await th.store(local.addr)
        return block

    async def free(self, th: Thread, block: Addr) -> None:
        """Give a block back: to th's processor's list, or towards its own node."""
        local = self._local(th.vp)
        node = block >> NODE_SHIFT
        await th.store(block)
        await th.load(local.addr)
        if node != th.proc.node:
            await self._free_remote(th, local, node, block)
            return
        if len(local.free) >= self.target:
            full, local.free, local.spare = local.spare, [], local.free
            if full:
                pool = self._global(th.proc.node)
                await pool.lock.acquire(th)
                await th.store(pool.addr + GMALLOC.offset("lists"))
                pool.lists.append(full)
                pool.lock.release(th)
        local.free.append(block)
        await th.store(local.addr)

    def splices(self, node: int) -> int:
        """Return how many atomic operations on *node*'s word of returned lists other nodes have made."""
        return self._global(node).splices

    async def _free_remote(self, th: Thread, local: _Local, node: int, block: Addr) -> None:
        blocks = local.remote.setdefault(node, [])
        blocks.append(block)
        await th.store(local.addr)
        if len(blocks) < self.list_max:
            return
        local.remote[node] = []
        pool = self._global(node)
        await th.rmw(pool.addr + GMALLOC.offset("returned"))
        pool.splices += 1
        pool.returned.append(blocks)

    async def _fetch(self, th: Thread) -> list[Addr]:
        """Get a list from the node's pool: one that was returned, one that overflowed, or a new one."""
        pool = self._global(th.proc.node)
        await pool.lock.acquire(th)
        try:
            await th.load(pool.addr + GMALLOC.offset("lists"))
            if not pool.lists:
                await th.load(pool.addr + GMALLOC.offset("returned"))
                if pool.returned:
                    await th.rmw(pool.addr + GMALLOC.offset("returned"))
                    pool.lists.extend(pool.returned)
                    pool.returned.clear()
            if pool.lists:
                await th.store(pool.addr + GMALLOC.offset("lists"))
                return pool.lists.pop()
        finally:
            pool.lock.release(th)
        alloc = self._machine.memory.alloc
        return [alloc(th.vp, self._nbytes, Kind.GLOBAL_PADDED) for _ in range(self.target)]

    def _local(self, vp: int) -> _Local:
        local = self._locals.get(vp)
        if local is None:
            local = self._locals[vp] = _Local(self._machine.memory.alloc(vp, LMALLOC))
        return local

    def _global(self, node: int) -> _Global:
        pool = self._globals.get(node)
        if pool is None:
            vp = node * self._machine.config.processors_per_node
            pool = self._globals[node] = _Global(self._machine, self._machine.memory.alloc(vp, GMALLOC))
        return pool


class PoolAllocator:
    """Blocks of *nbytes* each, on one list under one lock."""

    def __init__(self, machine: Machine, nbytes: int) -> None:
        self._machine = machine
        self._nbytes = nbytes
        addr = machine.memory.alloc(0, 64, Kind.GLOBAL_PADDED)
        self.lock = FairBLock(machine, addr, name="pool")
        self._head = addr + 2 * WORD_BYTES
        self._blocks: list[Addr] = []

    async def alloc(self, th: Thread) -> Addr:
        """Take a block."""
        await self.lock.acquire(th)
        try:
            await th.load(self._head)
            if not self._blocks:
                return self._machine.memory.alloc(th.vp, self._nbytes, Kind.GLOBAL_PADDED)
            block = self._blocks.pop()
            await th.load(block)
            await th.store(self._head)
            return block
        finally:
            self.lock.release(th)

    async def free(self, th: Thread, block: Addr) -> None:
        """Give a block back."""
        await self.lock.acquire(th)
        try:
            await th.store(block)
            await th.store(self._head)
            self._blocks.append(block)
        finally:
            self.lock.release(th)
