"""COSMgr, the object manager: the one face of this floor to the floors above.

It owns the translation tables and one `CleanupRep` per processor, and is itself a clustered object with
exactly one rep per processor, under ref 1. A call through a ref is `await th.deref(ref).method(th, ...)`:
the machine charges the load of the local entry and looks it up in `th.proc.ltt`; only an empty entry leads
here, to `restart_call`.

A processor joins the ring of the token when a first thread is activated or a first ref allocated on it;
processors that nobody uses cost no rounds. Whoever drives the machine calls `check_cleanup` for each
processor in `ring` now and then (K42: every 2 s, 100 ms in servers), and for processor vp as soon as
`wants_cleanup(vp)`.

K42: lib/libc/cobj/COSMgrObject.C, sys/COSMgr.H.
Differs: K42's COSMgr is reached through its ref even by the object system itself; here roots hold it directly.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from k42fs.errors import DeletedObjectError
from k42fs.ids import VP, Addr, Ref
from k42fs.machine.layout import Kind, Layout
from k42fs.objects.debug_checks import CheckedTable, check_active
from k42fs.objects.default_object import AnyRep
from k42fs.objects.destruction import STAGE1, CleanupRep, Token
from k42fs.objects.factory import Factories
from k42fs.objects.generations import INACTIVE, Generations, GlobalMarker
from k42fs.objects.interposition import Interposition
from k42fs.objects.manager_root import COSMgrRoot
from k42fs.objects.object_statistics import ObjectStatistics
from k42fs.objects.object_trace import ObjectTrace
from k42fs.objects.state_word import (
    CLEANED,
    DESTROYING,
    PENDING_DESTROY,
    Answer,
    enter_destroy,
    enter_miss,
    exit_miss,
)
from k42fs.objects.swaps import Swaps
from k42fs.objects.translation import (
    ENTRY_BYTES,
    PAGE_SHIFT,
    PAGES_PER_PART,
    SLOT_MASK,
    GlobalTable,
    LocalTable,
    MissHandler,
    WellKnown,
)

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine
    from k42fs.machine.thread import Thread
    from k42fs.objects.root import CObjRoot

GTE: Final = Layout("GlobalTransEntry", Kind.GLOBAL, handler=8, state=8)
MISS_ENTER: Final = GTE.script("mhReadEntry", "x:state r:handler", work=90)
MISS_EXIT: Final = GTE.script("mhReadExit", "x:state", work=60)
DESTROY_ENTER: Final = GTE.script("mhDestroyEntry", "x:state r:handler", work=30)

ACTIVATE_CYCLES: Final = 25  # an atomic add to a line that no other processor touches: always a hit
SPIN_CYCLES: Final = 200  # between two looks at a state word that makes us wait
DESTROYS_BEFORE_WAKE: Final = 10
STALL_FACTOR: Final = 8  # token called stalled after this many daemon turns per processor of the ring


class _Joined(dict[VP, Generations]):
    """The generations of the processors in the ring; asking for another one lets it join."""

    __slots__ = ("cos",)

    def __init__(self, cos: COSMgr) -> None:
        super().__init__()
        self.cos = cos

    def __missing__(self, vp: VP) -> Generations:
        self.cos.join(vp)
        return self[vp]


class COSMgr:
    """The clustered objects of one address space on *machine*.

    Args:
        batch: objects, and as many refs, that one clean-up round frees at most.
        pages_per_part: limit of a processor's part of the table, in pages of 256 refs.
        debug: make every lookup check that clients keep no reps (`debug_checks.py`).
    """

    def __init__(
        self,
        machine: Machine,
        *,
        batch: int = 2048,
        pages_per_part: int = PAGES_PER_PART,
        debug: bool = False,
    ) -> None:
        self.machine = machine
        self.memory = machine.memory
        self.batch = batch
        self.debug = debug
        processors = machine.processors
        self.table = GlobalTable(self.memory, len(processors), pages_per_part)
        self.token = Token(len(processors))
        self.ring: list[VP] = []  # processors in use, ascending
        self.reps: dict[VP, CleanupRep] = {}
        self._joined = _Joined(self)
        self._generations = [Generations(proc.vp, proc) for proc in processors]
        self._created = self._destroyed = self._freed = self._double_destroys = 0
        self._misses = self._deleted_answers = self._token_stalls = 0
        for proc, generations in zip(processors, self._generations, strict=True):
            proc.ltt = (
                CheckedTable(self.restart_call, generations) if debug else LocalTable(self.restart_call)
            )
        self.tracing = ObjectTrace(self)
        self.root = COSMgrRoot(self)
        self.swaps = Swaps(self)
        self.switch, self.swap_to = self.swaps.switch, self.swaps.swap_to
        self.interposition = Interposition(self)
        self.factories = Factories(self)

    # Threads

    def activate(self, th: Thread) -> None:
        """Let *th* into the system: what it can reach from now on outlives its stay. One local atomic add."""
        assert th.generation == INACTIVE, f"thread of processor {th.vp} activated twice"
        generations = self._joined[th.vp]
        th.generation = current = generations.current
        generations.counts[current] += 1
        th.work(ACTIVATE_CYCLES)

    def deactivate(self, th: Thread) -> None:
        """End *th*'s stay, for good or for a long wait. It must hold no temporary ref and no rep any more."""
        generation = th.generation
        assert generation != INACTIVE, f"thread of processor {th.vp} deactivated twice"
        counts = self._joined[th.vp].counts
        counts[generation] -= 1
        th.generation = INACTIVE
        th.work(ACTIVATE_CYCLES)

    def generations(self, vp: VP) -> Generations:
        """Return processor *vp*'s generations, for markers. The processor joins the ring."""
        return self._joined[vp]

    def global_marker(self) -> GlobalMarker:
        """Mark this instant; once it has elapsed, every thread of every processor active now has left."""
        return self.token.generation.marker()

    def global_elapsed(self, marker: GlobalMarker) -> bool:
        return self.token.generation.elapsed(marker)

    # Refs and calls

    async def call(self, th: Thread, ref: Ref, method: str, *args: object) -> Any:  # noqa: ANN401
        """Call a method as a front end does: *th* is active for as long as it takes."""
        self.activate(th)
        try:
            return await getattr(th.deref(ref), method)(th, *args)
        finally:
            self.deactivate(th)

    def publish(self, vp: VP, root: MissHandler, at: WellKnown | None) -> Ref:
        """Install *root* in the global table under a new ref owned by *vp*, or under a well-known one."""
        if vp not in self._joined:
            self.join(vp)
        ref = self.table.allocate(vp, root) if at is None else self.table.install(at, root)
        self._created += 1
        return ref

    async def restart_call(
        self, ref: Ref, method: str, th: Thread, *args: object, **kwargs: object
    ) -> object:
        """Take the miss of *th*'s processor on *ref*, then run the call on the rep found: see `miss`."""
        rep = await self.miss(th, ref, method)
        if th.proc.on.clust_obj or self.tracing.counted:  # the call that took the miss is one too
            rep = self.tracing.wrapped(th.vp, ref, rep)
        return await getattr(rep, method)(th, *args, **kwargs)

    async def miss(self, th: Thread, ref: Ref, method: str) -> AnyRep:
        """Take the miss of *th*'s processor on *ref* for a call of *method*; return the rep found.

        Raises: DeletedObjectError: the ref is free or its object destroyed; nothing has happened.
        """
        if self.debug:
            check_active(th, ref, method)
        self._misses += 1
        if self.interposition.is_general:  # objects are made that are to be captured
            await self.interposition.adopt(th, ref)
        page = self.table.pages.get(ref >> PAGE_SHIFT)
        if th.proc.on.clust_obj:
            self.tracing.missed(th, ref, method)
        if page is None:
            raise self._deleted(ref)
        slot = ref & SLOT_MASK
        entry = Addr(page.addr + slot * ENTRY_BYTES)
        await th.touch(MISS_ENTER, entry)
        while (root := page.handlers[slot]) is not None:
            answer, page.words[slot] = enter_miss(page.words[slot])
            if answer is not Answer.WAIT:
                break
            await th.sleep(SPIN_CYCLES)
        if root is None or answer is Answer.REFUSED:
            raise self._deleted(ref)
        try:
            rep = await root.handle_miss(th)
            await th.touch(MISS_EXIT, entry)
        finally:
            page.words[slot] = exit_miss(page.words[slot])
        return rep

    def _deleted(self, ref: Ref) -> DeletedObjectError:
        self._deleted_answers += 1
        return DeletedObjectError(f"the object behind ref {ref} is deleted")

    # Destruction

    async def destroy(self, th: Thread, ref: Ref) -> bool:
        """Begin to destroy the object behind *ref*; its parts go when nobody can be using them.

        The caller has removed the permanent refs to it. Calls already inside finish, calls through a filled
        entry still arrive (the object answers them as it likes), new misses get "deleted". Returns False,
        and does nothing, if somebody else has destroyed it already, which counts as success.
        Blocks: while a miss on *ref* is in progress.
        """
        assert ref != self.root.ref, "the object manager cannot be destroyed"
        page = self.table.pages.get(ref >> PAGE_SHIFT)
        slot = ref & SLOT_MASK
        if page is not None:
            await th.touch(DESTROY_ENTER, Addr(page.addr + slot * ENTRY_BYTES))
        root = page.handlers[slot] if page is not None else None
        if page is None or root is None:
            self._double_destroys += 1
            return False
        while True:
            answer, page.words[slot] = enter_destroy(page.words[slot])
            if answer is not Answer.WAIT:
                break
            await th.sleep(SPIN_CYCLES)
        if answer is Answer.REFUSED:
            self._double_destroys += 1
            return False
        if answer is Answer.GRANTED:
            await self._stage(th, root)
        return True

    async def bury(self, th: Thread, root: CObjRoot) -> None:
        """Destroy *root*, whose ref is another's: it gets one of its own, under which nobody ever finds it alive.

        Raises: RefsExhaustedError: nothing has happened.
        """
        ref = self.publish(th.vp, root, None)
        page, slot = self.table.pages[ref >> PAGE_SHIFT], ref & SLOT_MASK
        _, page.words[slot] = enter_destroy(page.words[slot])
        root.ref = ref  # its reps keep theirs, which whoever made them may still read
        if th.proc.on.control:
            self.tracing.renamed(th.proc, root)
        await self._stage(th, root)
        await th.touch(DESTROY_ENTER, self.table.entry_addr(ref))

    async def _stage(self, th: Thread, root: MissHandler) -> None:
        """Hand *root*, whose entry says "destroying", to the clean-up of th's processor."""
        self._destroyed += 1
        self.generations(th.vp)
        rep = self.reps[th.vp]
        await th.touch(STAGE1, rep.addr)
        rep.stage(root)

    def freed(self, ref: Ref) -> None:
        """A root is gone. Its entry keeps answering "deleted" until the token has been round."""
        page = self.table.pages[ref >> PAGE_SHIFT]
        slot = ref & SLOT_MASK
        assert page.words[slot] == DESTROYING, f"ref {ref} freed in state {page.words[slot]:#x}"
        page.words[slot] |= CLEANED
        page.handlers[slot] = None
        self._freed += 1

    async def check_cleanup(self, th: Thread) -> None:
        """Run one bounded clean-up round of the processor of *th*, which is not active."""
        assert th.generation == INACTIVE, f"the clean-up daemon of processor {th.vp} must not be active"
        self.generations(th.vp)
        rep = self.reps[th.vp]
        if rep.busy:
            return
        rep.busy = True
        try:
            await rep.round(th)
        finally:
            rep.busy = False
        await self.swaps.retire_rest(th)
        token = self.token
        token.turns_since_pass += 1
        token.turns_since_pass_max = max(token.turns_since_pass_max, token.turns_since_pass)
        if token.turns_since_pass == STALL_FACTOR * len(self.ring):
            self._token_stalls += 1

    def wants_cleanup(self, vp: VP) -> bool:
        """Say whether processor *vp*'s daemon should run at once: much destroyed, or a batch cut short."""
        rep = self.reps.get(vp)
        return rep is not None and (rep.destroys > DESTROYS_BEFORE_WAKE or rep.cut_short)

    async def daemon(self, th: Thread, period: int) -> None:
        """Clean up on *th*'s processor every *period* cycles, or ten times as often while much is dying.

        For deterministic runs: spawn one, as a daemon, on each processor that the run uses.
        """
        while True:
            await th.sleep(period // 10 if self.wants_cleanup(th.vp) else period)
            await self.check_cleanup(th)

    # The ring

    def join(self, vp: VP) -> None:
        """Let processor *vp* into the ring of the token. A round under way then does not count."""
        if vp in self.reps:
            return
        assert 0 <= vp < len(self._generations), f"no processor {vp}"
        self.reps[vp] = CleanupRep(self, self._generations[vp])
        self._joined[vp] = self._generations[vp]
        insort(self.ring, vp)
        if self.machine.processors[vp].on.clust_obj:
            self.tracing.joined(vp)
        if self.token.vp is None:
            self.token.vp = vp
        else:
            self.token.generation.stutter()

    def successor(self, vp: VP) -> CleanupRep:
        """Return the rep of the next processor in the ring."""
        ring = self.ring
        return self.reps[ring[bisect_right(ring, vp) % len(ring)]]

    # What there is to know

    def objects(self) -> list[MissHandler]:
        """Return the roots of all live objects in order of refs, the manager's own first."""
        return list(self.table.live_objects())

    def refs_of(self, is_wanted: Callable[[object], bool]) -> list[Ref]:
        """Return the refs of the live objects whose rep, or root if they have many, *is_wanted*."""
        return [root.ref for root in self.objects() if is_wanted(getattr(root, "speaker", None))]

    def root_at(self, ref: Ref) -> MissHandler | None:
        """Return the root behind *ref*, that of a swap under way included; None if the ref is free."""
        page = self.table.pages.get(ref >> PAGE_SHIFT)
        return None if page is None else page.handlers[ref & SLOT_MASK]

    def is_dying(self, ref: Ref) -> bool:
        """Whether the object behind *ref* is being destroyed, or will be once its swap is over."""
        page = self.table.pages.get(ref >> PAGE_SHIFT)
        return page is not None and bool(page.words[ref & SLOT_MASK] & (DESTROYING | PENDING_DESTROY))

    @property
    def pending(self) -> int:
        """Destroyed objects whose refs are not free yet, and roots that await one. If none, daemons may rest."""
        return self.table.live - 1 - (self._created - self._destroyed) + len(self.swaps.to_retire)

    def stalled_by(self) -> str | None:
        """Say what holds up the token, if it has not moved for eight turns of every daemon."""
        token = self.token
        if token.vp is None or token.turns_since_pass < STALL_FACTOR * len(self.ring):
            return None
        active = self._generations[token.vp].active
        if active:
            return f"{active} active thread(s) on processor {token.vp}"
        return f"no clean-up daemon runs on processor {token.vp}"

    def statistics(self) -> ObjectStatistics:
        """Return what has happened and what there is, ready for JSON."""
        roots = self.objects()
        token = self.token
        return {
            "created": self._created,
            "destroyed": self._destroyed,
            "freed": self._freed,
            "double_destroys": self._double_destroys,
            "misses": self._misses,
            "deleted_answers": self._deleted_answers,
            "token_rounds": token.rounds,
            "token_passes": token.passes,
            "token_waits": token.waits,
            "token_stalls": self._token_stalls,
            "token_turns_since_pass_max": token.turns_since_pass_max,
            "live": self._created - self._freed,
            "refs_in_use": self.table.live - 1,
            "pending": self.pending,
            "pages": len(self.table.pages),
            "ring": len(self.ring),
            "token_vp": token.vp,
            "token_turns_since_pass": token.turns_since_pass,
            "token_stalled_by": self.stalled_by(),
            "types": dict(Counter(root.type_name for root in roots)),
            "active_threads": {vp: self._generations[vp].active for vp in self.ring},
            "generations": {vp: self._generations[vp].count for vp in self.ring},
        }
