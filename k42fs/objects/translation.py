"""Refs and the two translation tables.

A ref is the index of an object's two entries. The *global* entry (GTE) is the authority: the root, called
to handle misses, and a state word (`state_word.py`). The *local* entry (LTE), one per processor, is a pure
cache of the rep that takes the calls made there; a local entry, or a whole page of them, may be dropped at
any instant.

```text
ref:    0 .. 17     | (owner + 1) * 2^19 + (0 .. 2^19 - 1)
        well known  | the part owned by processor `owner`, in pages of 256 entries
```

The part a ref lies in names its *owner*: the processor that allocated it and, much later, takes it back; it
doubles as a cheap home for per-object bookkeeping. Refs are reissued last in, first out within a page.

Shape: a page holds 256 roots and 256 state words, 16 modelled bytes each, in modelled memory of the owner's
node. A page without a live entry is given back unless it is the only one with room.
Locks: none. Allocation and release run on the owner, state words change by compare-and-swap.

K42: lib/libc/cobj/sys/{TransEntry.H,COSconsts.h,TransPageDesc*.C,COSMgr.H}, CObjGlobals.H.
Differs: K42 has pinned refs, up to 511, beside the well-known ones. It has 32 processors and keeps page
descriptors in a 32-bucket hash; we have one list of pages per processor.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, Protocol

from k42fs.errors import RefsExhaustedError
from k42fs.ids import VP, Addr, Ref
from k42fs.machine.layout import Kind, Layout
from k42fs.objects.default_object import AnyRep, DefaultObject, RestartCall

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from k42fs.machine.memory import Memory
    from k42fs.machine.thread import Thread

ENTRY_BYTES: Final = 16
PAGE_SHIFT: Final = 8
PAGE_ENTRIES: Final = 1 << PAGE_SHIFT
SLOT_MASK: Final = PAGE_ENTRIES - 1
PART_SHIFT: Final = 19
PAGES_PER_PART: Final = 1 << (PART_SHIFT - PAGE_SHIFT)
RESERVED_ENTRIES: Final = 18

GTE_PAGE: Final = Layout("GlobalTransPage", Kind.GLOBAL_PADDED, entries=PAGE_ENTRIES * ENTRY_BYTES)


class WellKnown(IntEnum):
    """Fixed indices of the objects that all know, K42's numbers. Index 0 is never one: calls on it answer "deleted"."""

    COS_MGR = 1
    MOUNT_POINT_MGR = 9


def owner_of(ref: Ref) -> VP:
    """Return the processor whose part *ref* lies in. Well-known refs report processor 0 (K42: refToVP)."""
    return VP(max(0, (ref >> PART_SHIFT) - 1))


class MissHandler(Protocol):
    """What a global entry holds: the root of a clustered object, as the object manager sees it.

    `trans_set` and `cleanup_set` are processor sets, bit vp set for processor vp.
    """

    ref: Ref
    addr: Addr
    trans_set: int  # where the local entry may be filled, or a call may be inside: grows only in handle_miss

    @property
    def type_name(self) -> str:
        """The kind of object, for statistics."""

    @property
    def cleanup_set(self) -> int:
        """Processors that must run vp_cleanup."""

    def handle_miss(self, th: Thread) -> Coroutine[Any, Any, Any]:
        """Return the rep for calls from th's processor, usually after installing it there.

        It adds th.vp to trans_set no later than it fills the local entry, and also if it declines to fill it.
        """

    def start_cleanup(self, th: Thread) -> Coroutine[Any, Any, None]:
        """No new call can come: free what this processor holds. Called once, on the last one flushed."""

    def vp_cleanup(self, th: Thread) -> Coroutine[Any, Any, bool]:
        """Free what this processor holds, if start_cleanup has run; say whether it is done."""


class TransPage:
    """One page of the global table. `free` is the stack of its free slots."""

    __slots__ = ("addr", "first", "free", "handlers", "words")

    def __init__(self, first: Ref, addr: Addr, reserved: int = 0) -> None:
        self.first = first
        self.addr = addr
        self.handlers: list[MissHandler | None] = [None] * PAGE_ENTRIES
        self.words = [0] * PAGE_ENTRIES
        self.free = list(range(PAGE_ENTRIES - 1, reserved - 1, -1))

    def label(self) -> str:
        return f"global translation page {self.first >> PAGE_SHIFT}"


class Part:
    """The refs of one owner. `open` holds its pages with free slots; the last one serves allocation."""

    __slots__ = ("first_page", "fresh", "limit", "open", "owner", "spare")

    def __init__(self, owner: VP, first_page: int, limit: int) -> None:
        self.owner = owner
        self.first_page = first_page
        self.limit = limit  # pages
        self.fresh = 0  # pages ever used; those below it that are gone are in `spare`
        self.spare: list[int] = []
        self.open: list[TransPage] = []


class GlobalTable:
    """The global translation table of one address space, and the allocator of its refs."""

    def __init__(self, memory: Memory, vp_count: int, pages_per_part: int = PAGES_PER_PART) -> None:
        assert 0 < pages_per_part <= PAGES_PER_PART, f"pages_per_part: {pages_per_part}"
        self._memory = memory
        self.pages: dict[int, TransPage] = {}
        self._parts = [
            Part(VP(vp), (vp + 1) << (PART_SHIFT - PAGE_SHIFT), pages_per_part) for vp in range(vp_count)
        ]
        self._well_known = Part(VP(0), 0, 1)
        self.live = 0

    def allocate(self, vp: VP, handler: MissHandler) -> Ref:
        """Take a ref from processor *vp*'s part and publish *handler* under it.

        Raises: RefsExhaustedError: the part is full, because of too many live objects or a token that is
        held up.
        """
        return self._take(self._parts[vp], handler)

    def install(self, ref: WellKnown, handler: MissHandler) -> Ref:
        """Publish *handler* under a reserved index."""
        page = self.pages.get(0) or self._grow(self._well_known)
        assert page.handlers[ref] is None, f"well-known ref {ref.name} is taken"
        page.handlers[ref] = handler
        self.live += 1
        return Ref(ref)

    def release(self, ref: Ref) -> None:
        """Make *ref* free for reissue. The caller has waited until nobody can hold it."""
        page = self.pages[ref >> PAGE_SHIFT]
        slot = ref & SLOT_MASK
        assert page.words[slot], f"ref {ref} released though it was not destroyed"
        page.handlers[slot] = None
        page.words[slot] = 0
        self.live -= 1
        if ref < RESERVED_ENTRIES:
            return
        part = self._parts[(ref >> PART_SHIFT) - 1]
        free = page.free
        free.append(slot)
        if len(free) == 1:
            part.open.append(page)
            if len(part.open) > 1 and len(part.open[-2].free) == PAGE_ENTRIES:
                self._drop(part, part.open[-2])
        elif len(free) == PAGE_ENTRIES and len(part.open) > 1:
            self._drop(part, page)

    def entry_addr(self, ref: Ref) -> Addr:
        """Return the modelled address of the global entry."""
        return Addr(self.pages[ref >> PAGE_SHIFT].addr + (ref & SLOT_MASK) * ENTRY_BYTES)

    def live_objects(self) -> Iterator[MissHandler]:
        """Yield every root published now, in order of refs. The table must not change meanwhile."""
        for number in sorted(self.pages):
            for handler in self.pages[number].handlers:
                if handler is not None:
                    yield handler

    def _take(self, part: Part, handler: MissHandler) -> Ref:
        page = part.open[-1] if part.open else self._grow(part)
        slot = page.free.pop()
        if not page.free:
            part.open.pop()
        assert not page.words[slot], f"slot {slot} of {page.label()} reissued in state {page.words[slot]:#x}"
        page.handlers[slot] = handler
        self.live += 1
        return Ref(page.first + slot)

    def _grow(self, part: Part) -> TransPage:
        if part.spare:
            index = part.spare.pop()
        elif part.fresh < part.limit:
            index = part.fresh
            part.fresh += 1
        else:
            raise RefsExhaustedError(
                f"all {part.limit} translation pages of processor {part.owner} are in use"
            )
        number = part.first_page + index
        reserved = RESERVED_ENTRIES if number == 0 else 0
        page = TransPage(Ref(number << PAGE_SHIFT), Addr(0), reserved)
        page.addr = self._memory.alloc(part.owner, GTE_PAGE, GTE_PAGE.kind, owner=page)
        self.pages[number] = page
        part.open.append(page)
        return page

    def _drop(self, part: Part, page: TransPage) -> None:
        part.open.remove(page)  # short: pages with holes, at most 2^11
        number = page.first >> PAGE_SHIFT
        del self.pages[number]
        part.spare.append(number - part.first_page)
        self._memory.free(part.owner, page.addr)


class LocalTable(dict[Ref, Any]):
    """The local translation table of one processor: its filled entries. Others give a `DefaultObject`."""

    __slots__ = ("restart",)

    def __init__(self, restart: RestartCall) -> None:
        super().__init__()
        self.restart = restart

    def __missing__(self, ref: Ref) -> AnyRep:
        return DefaultObject(self.restart, ref)

    def rep_at(self, ref: Ref) -> AnyRep:
        """Return the rep in the entry of *ref*, also while its calls are traced; None if it is empty."""
        return self.get(ref)
