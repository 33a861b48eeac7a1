"""Modelled memory: K42's allocator as far as the placement of objects goes.

Every modelled object has an address from here, so that which objects share a line, and on which node a line
is homed, follow from the allocator. Nothing is stored at these addresses. An address is node (12 bits) |
region (4) | offset (48).

Three kinds of block (`layout.Kind`): LOCAL_STRICT comes from pools of one processor, GLOBAL from pools of
one node where small blocks share lines, GLOBAL_PADDED likewise but rounded up to whole lines. Sizes are
powers of two from 16 to 2048 and whole pages above; freed blocks are reused last in, first out, as they are
the likeliest to be cached still. For the same reason a block of a line or more goes to a list of the
processor that frees it (if it is of the block's node; else to a list of that node), and the surplus of such
a list to the node's: processors that free what they allocate never pass a line between them.

K42: lib/libc/alloc/*, doc/white-papers/alloc/alloc.tex.
Differs: the traffic of the allocator's own lists is not charged (K42's fast path touches two private lines),
and memory goes back to its pool but never from a pool to the page allocator.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from k42fs.ids import Addr
from k42fs.machine.config_rules import refusal
from k42fs.machine.layout import WORD_BYTES, Kind, Layout

if TYPE_CHECKING:
    from k42fs.machine.config import MachineConfig

NODE_SHIFT: Final = 52
REGION_SHIFT: Final = 48
OFFSET_MASK: Final = (1 << REGION_SHIFT) - 1
PAGE_BYTES: Final = 4096
SMALLEST, LARGEST = 16, 2048
LIST_BYTES, LIST_MIN, LIST_MAX = 65536, 4, 4095
"""How much a processor's list of free blocks holds (at most twice that), and its limits in blocks."""

LTT_REGION: Final = 4
LTT_SHIFT: Final = 37
LTE_BYTES: Final = 16
"""Local translation tables: 2^37 bytes of addresses per processor, 16 bytes per ref."""

Piece = tuple[int, int, str, str]
"""Something in memory: where it begins, its bytes, of which object, and which field of that."""

REGION: Final = {Kind.LOCAL_STRICT: 1, Kind.GLOBAL: 2, Kind.GLOBAL_PADDED: 3}


class Block:
    """One allocated block, or one that waits for reuse (then `owner` is None and `live` false)."""

    __slots__ = ("kind", "layout", "live", "nbytes", "owner", "pool", "vp")

    def __init__(self, pool: list[Addr], nbytes: int) -> None:
        self.pool = pool
        self.nbytes = nbytes
        self.layout: Layout | None = None
        self.owner: object = None
        self.kind = Kind.GLOBAL
        self.vp = 0
        self.live = False


class Memory:
    """The allocator of all modelled addresses of one machine."""

    def __init__(self, config: MachineConfig) -> None:
        self._config = config
        self._line_bytes = config.line_bytes
        self._home_shift = NODE_SHIFT - (config.line_bytes.bit_length() - 1)
        self._nodes, self._homes = config.nodes, config.homes
        self._processors_per_node = config.processors_per_node
        self._pools: dict[tuple[Kind, int, int], list[Addr]] = {}  # (kind, processor or ~node, bytes)
        self._sources: dict[
            tuple[int, Layout, Kind | None], tuple[list[Addr], int, Kind]
        ] = {}  # of `_source`
        self._tops: dict[int, int] = {}  # node and region -> first offset never used
        self._pages: dict[int, tuple[Addr, int]] = {}  # page number -> first block in it, bytes of its blocks
        self._blocks: dict[Addr, Block] = {}
        self.on_free: Callable[[Addr, int], None] | None = None  # called with each block before it goes
        self.live_bytes = 0
        self.live_blocks = 0

    def alloc(self, vp: int, layout: Layout | int, kind: Kind | None = None, owner: object = None) -> Addr:
        """Take a block for *layout* (or of that many bytes) near processor *vp*.

        *owner* is named in statistics if it has `label()`; it is kept alive until the block is freed.
        Raises: ConfigError: no such processor, or fewer bytes than one.
        """
        if isinstance(layout, Layout):
            form, wanted = layout, (vp, layout, kind)
            source = self._sources.get(wanted)
            if source is None:
                source = self._sources[wanted] = self._source(vp, layout.size, kind or layout.kind)
        else:
            form, source = None, self._source(vp, layout, kind or Kind.GLOBAL)
        pool, size, kind = source
        if not pool:
            spare = self._pools.get((kind, ~self._config.node(vp), size))
            if spare:
                _move(spare, pool, _list_blocks(size))
            else:
                self._carve(vp, kind, size, pool)
        addr = pool.pop()
        block = self._blocks[addr]
        block.layout, block.owner, block.kind, block.vp, block.live = form, owner, kind, vp, True
        self.live_bytes += size
        self.live_blocks += 1
        return addr

    def free(self, vp: int, addr: Addr) -> None:
        """Give back the block at *addr*. A LOCAL_STRICT block must be freed on the processor that allocated
        it."""
        block = self._blocks.get(addr)
        if block is None or not block.live:
            raise AssertionError(f"free of {addr:#x}, which is not an allocated block")
        if block.kind is Kind.LOCAL_STRICT and block.vp != vp:
            what = f"{self.describe(addr)[0]} at {addr:#x}"
            raise AssertionError(f"{what}: local strict memory of processor {block.vp} freed on {vp}")
        if self.on_free is not None:
            self.on_free(addr, block.nbytes)
        block.live = False
        block.owner = None
        if block.kind is Kind.LOCAL_STRICT or block.nbytes < self._line_bytes:
            block.pool.append(addr)
        else:
            self._put(vp, block, addr)
        self.live_bytes -= block.nbytes
        self.live_blocks -= 1

    def ltt_base(self, vp: int) -> Addr:
        """Return the address of processor *vp*'s local translation table."""
        return Addr(self._config.node(vp) << NODE_SHIFT | LTT_REGION << REGION_SHIFT | vp << LTT_SHIFT)

    def home(self, line: int) -> int:
        """Return the node that holds the directory entry of *line* (an address divided by the line size):
        that of the address's node bits, or the next one line by line, or node 0, as `config.homes` has it.
        """
        if self._homes == "address":
            return (line >> self._home_shift) % self._nodes
        return line % self._nodes if self._homes == "interleaved" else 0

    def describe(self, addr: int) -> tuple[str, str]:
        """Return which object and field lie at *addr*: ("", "") if nothing was ever there."""
        if addr >> REGION_SHIFT & 0xF == LTT_REGION:
            offset = addr & OFFSET_MASK
            return f"LTT of processor {offset >> LTT_SHIFT}", f"ref {(offset & (1 << LTT_SHIFT) - 1) >> 4}"
        page = self._pages.get(addr // PAGE_BYTES)
        if page is None:
            return "", ""
        first, nbytes = page
        start = Addr(first + (addr - first) // nbytes * nbytes)
        block = self._blocks[start]
        field = block.layout.field_at(addr - start) if block.layout else ""
        return _label(block), field or f"+{addr - start}"

    def owner_at(self, addr: int) -> object:
        """Return whose block lies at *addr*: None if nothing was ever there, or its block is free now."""
        page = self._pages.get(addr // PAGE_BYTES)
        if page is None:
            return None
        first, nbytes = page
        return self._blocks[Addr(first + (addr - first) // nbytes * nbytes)].owner

    def is_free(self, addr: int) -> bool:
        """Say whether *addr* lies in a block that waits for reuse."""
        page = self._pages.get(addr // PAGE_BYTES)
        if page is None:
            return False
        first, nbytes = page
        return not self._blocks[Addr(first + (addr - first) // nbytes * nbytes)].live

    def piece_at(self, addr: int) -> Piece | None:
        """Return what lies at *addr*: None if nothing was ever there."""
        if addr >> REGION_SHIFT & 0xF == LTT_REGION:
            return (addr // LTE_BYTES * LTE_BYTES, LTE_BYTES, *self.describe(addr))
        page = self._pages.get(addr // PAGE_BYTES)
        if page is None:
            return None
        first, nbytes = page
        start = first + (addr - first) // nbytes * nbytes
        block = self._blocks[Addr(start)]
        for name, offset, width in () if block.layout is None else block.layout.spans():
            if offset <= addr - start < offset + width:
                return start + offset, width, _label(block), name
        return addr, WORD_BYTES, _label(block), f"+{addr - start}"

    def _source(self, vp: int, size: int, kind: Kind) -> tuple[list[Addr], int, Kind]:
        """Return the pool for such blocks, with the size and the kind that they have. Raises ConfigError."""
        if not 0 <= vp < self._config.processors:
            raise refusal("vp", vp, f"must be from 0 to {self._config.processors - 1}")
        if size < 1:
            raise refusal("bytes", size, "must be at least 1")
        if size < self._line_bytes and kind is Kind.GLOBAL_PADDED:
            size = self._line_bytes
        size = _rounded(size)
        shares_lines = size < self._line_bytes and kind is Kind.GLOBAL
        place = ~self._config.node(vp) if shares_lines else vp
        return self._pools.setdefault((kind, place, size), []), size, kind

    def _put(self, vp: int, block: Block, addr: Addr) -> None:
        """Put a free block that shares no line where *vp* will reuse it, or else its home node."""
        home = addr >> NODE_SHIFT
        if vp // self._processors_per_node != home:
            self._pools.setdefault((block.kind, ~home, block.nbytes), []).append(addr)
            return
        own = self._pools.get((block.kind, vp, block.nbytes))
        if own is None:
            own = self._pools[block.kind, vp, block.nbytes] = []
        own.append(addr)
        if len(own) > (limit := _list_blocks(block.nbytes)) * 2:
            _move(own, self._pools.setdefault((block.kind, ~home, block.nbytes), []), limit)

    def _carve(self, vp: int, kind: Kind, size: int, pool: list[Addr]) -> None:
        """Put one fresh page, or one fresh block if that is larger, into *pool*: lowest address on top."""
        where = self._config.node(vp) << 4 | REGION[kind]
        span = max(size, PAGE_BYTES)
        offset = self._tops.get(where, 0)
        self._tops[where] = offset + span
        first = Addr(where << REGION_SHIFT | offset)
        for page in range(first // PAGE_BYTES, (first + span) // PAGE_BYTES):
            self._pages[page] = first, size
        for at in range(first + span - size, first - 1, -size):
            self._blocks[Addr(at)] = Block(pool, size)
            pool.append(Addr(at))


class UnmodelledMemory(Memory):
    """Addresses that are only distinct, for machines without a memory model. Nothing is checked or
    described."""

    def __init__(self, config: MachineConfig) -> None:
        super().__init__(config)
        self._top = PAGE_BYTES

    def alloc(self, vp: int, layout: Layout | int, kind: Kind | None = None, owner: object = None) -> Addr:
        addr = Addr(self._top)
        self._top = addr + (layout if isinstance(layout, int) else layout.size)
        return addr

    def free(self, vp: int, addr: Addr) -> None:
        return None


def _label(block: Block) -> str:
    """Name what has the block, or had it last."""
    name_itself = getattr(block.owner, "label", None)
    if name_itself is not None:
        return str(name_itself())
    return block.layout.name if block.layout is not None else f"{block.nbytes} bytes"


@lru_cache(maxsize=256)
def _list_blocks(size: int) -> int:
    return min(max(LIST_BYTES // size, LIST_MIN), LIST_MAX)


def _move(source: list[Addr], target: list[Addr], count: int) -> None:
    """Move up to *count* blocks, the ones that have lain longest."""
    target += source[:count]
    del source[:count]


def _rounded(size: int) -> int:
    if size > LARGEST:
        return -(-size // PAGE_BYTES) * PAGE_BYTES
    return max(SMALLEST, 1 << (size - 1).bit_length())
