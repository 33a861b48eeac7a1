"""Roots: the shared part of a clustered object, its miss handler and the registry of its representatives.

A root publishes itself in the global table when it is made and installs nothing else: reps reach a
processor at the first call made there. `SingleRepRoot` (one rep for everybody) is the default for almost
everything; `MultiRepRoot` (a rep per processor, or per cluster of neighbours) is for objects that many
processors call all the time.

Writing an object, one rep: a rep class whose external methods are `async def m(self, th, ...)`, then
`SingleRepRoot(cos, rep, vp)` and hand out `root.ref`. Many reps: a root class with the shared data and
`create_rep(vp)`; methods of the rep reach the shared data through `self.root`. `counter.py` shows both.

Locks: a single-rep miss takes none. A multi-rep miss holds the root's lock, also while `make_rep` runs,
which therefore must not call the object through its ref nor take a lock ordered before the root's. Root
lock before any lock of a rep.

K42: lib/libc/cobj/CObjRootSingleRep.C, CObjRootMultiRep.C.
Differs: K42 shifts a cluster's mask by v // s instead of s * (v // s), so that clusters are wrong for v >=
s > 1; its rep list names a rep once per processor, so that naive sums count an aliased rep twice; and
STARTCLEANUP asserts that the last processor owns a rep, though it may hold only an alias. All three are
corrected here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from typing import TYPE_CHECKING, Any, Final

from k42fs.ids import VP, Addr, Ref
from k42fs.machine.layout import Kind, Layout
from k42fs.machine.locks import FairBLock
from k42fs.objects.default_object import AnyRep
from k42fs.objects.implementations import kind_of
from k42fs.objects.transfer import NOTHING, TransferType, TransferTypes, is_first
from k42fs.objects.translation import WellKnown

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.objects.cosmgr import COSMgr

# A single-rep root is touched at a first miss and at the end: packed, it may share lines with other roots.
SINGLE: Final = Layout(
    "SingleRepRoot", Kind.GLOBAL, vtable=8, ref=8, trans_set=8, rep=8, factory=8, exported=24
)
SINGLE_CREATE: Final = SINGLE.script("create", "w:vtable w:ref w:trans_set w:rep w2:0", work=40)
SINGLE_MISS: Final = SINGLE.script("handle_miss", "r:vtable x:trans_set r:rep w2:0", work=30)
SINGLE_CLEANUP: Final = SINGLE.script("cleanup", "r:vtable r:rep w:ref", work=40)

MULTI: Final = Layout(
    "MultiRepRoot",
    Kind.GLOBAL_PADDED,
    vtable=8,
    ref=8,
    lock=16,
    trans_set=8,
    rep_set=8,
    reps=32,
    factory=8,
    exported=24,
)
MULTI_CREATE: Final = MULTI.script("create", "w:vtable w:ref w:lock w:trans_set w:reps w2:0", work=60)
MULTI_MISS: Final = MULTI.script("handle_miss", "r:vtable r:trans_set r:reps w2:0", work=60)
MULTI_ADD: Final = MULTI.script("add_rep", "w:reps w:rep_set x:trans_set", work=120)
MULTI_START: Final = MULTI.script("start_cleanup", "r:vtable w:ref r:rep_set", work=40)
MULTI_CLEAN: Final = MULTI.script("clean_rep", "r:ref r:reps x:rep_set", work=60)


FIRST_VP: Final = VP(0)


class Rep:
    """Base of representatives: the two facts a root tells each of them. A rep class need not derive from it.

    A rep may have `cleanup(th)`, plain or async: it runs once, when no call can be inside any more, on the
    processor that made the rep (of a single-rep object: on any), and gives back what the rep allocated. It
    calls no other object, as the daemon that runs it is not active.
    """

    __slots__ = ("ref", "root")

    ref: Ref
    root: Any


async def clean_rep(th: Thread, rep: AnyRep) -> None:
    """Run the rep's own clean-up, if it has one."""
    cleanup = getattr(rep, "cleanup", None)
    if cleanup is not None and (pending := cleanup(th)) is not None:
        await pending


def processors(vp_set: int) -> Iterator[VP]:
    """Yield the members of a processor set in ascending order."""
    while vp_set:
        lowest = vp_set & -vp_set
        yield VP(lowest.bit_length() - 1)
        vp_set ^= lowest


class CObjRoot:
    """What all roots share: a ref, an address, and the set of processors that calls may have reached.

    Roots with another idea of reps derive from it and implement `rep_for`. With *ref*, that of another object
    which this one is to replace, nothing is published (K42: skipInstall).
    """

    __slots__ = ("__weakref__", "addr", "cos", "ref", "trans_set")

    def __init__(
        self, cos: COSMgr, layout: Layout, vp: VP, at: WellKnown | None, ref: Ref | None = None
    ) -> None:
        self.cos = cos
        self.trans_set = 0
        self.ref: Ref = cos.publish(vp, self, at) if ref is None else ref  # first: it may refuse
        self.addr: Addr = cos.memory.alloc(vp, layout, layout.kind, owner=self)
        if ref is None and cos.machine.processors[vp].on.clust_obj:
            cos.tracing.created(vp, self)

    def label(self) -> str:
        """Name this object in statistics and traces."""
        return f"{type(self).__name__} {self.ref}"

    @property
    def type_name(self) -> str:
        return kind_of(self) or type(self).__name__.removesuffix("Root")

    @property
    def speaker(self) -> Any:  # noqa: ANN401
        """Whose class tells the object's kind and implementation: the root's, or that of its only rep."""
        return self

    @property
    def cleanup_set(self) -> int:
        """Processors that must run `vp_cleanup`: none, unless reps are bound to their processor."""
        return 0

    async def handle_miss(self, th: Thread) -> AnyRep:
        """Install the rep for th's processor in its entry; see `MissHandler`."""
        rep = await self.rep_for(th)
        th.proc.ltt[self.ref] = rep
        return rep

    async def rep_for(self, th: Thread) -> AnyRep:
        """Return the rep for th's processor, made if need be, and leave the processor's entry as it is."""
        raise NotImplementedError(f"{type(self).__name__} must implement rep_for or handle_miss")

    # Replacement by another implementation: see `transfer.py`. By default there is none.

    @property
    def exports(self) -> TransferTypes:
        return NOTHING

    @property
    def imports(self) -> TransferTypes:
        return NOTHING

    async def export_state(self, th: Thread, kind: TransferType, vps: int) -> object | None:
        """Return what th's processor hands on, None for nothing. It stays valid here until `committed`."""
        raise NotImplementedError(f"{type(self).__name__} must implement export_state")

    async def import_state(self, th: Thread, state: object | None, kind: TransferType, vps: int) -> None:
        """Take in what was exported on th's processor. Whatever it raises, the old object goes on."""
        raise NotImplementedError(f"{type(self).__name__} must implement import_state")

    def committed(self, th: Thread) -> None:
        """The new implementation is in force: the old one forgets what it has handed over."""

    async def start_cleanup(self, th: Thread) -> None:
        """Free what there is, as no call can come any more. Subclasses free their reps first."""
        self.free(th)

    async def vp_cleanup(self, th: Thread) -> bool:
        """Free the reps made on th's processor, if `start_cleanup` has run; say whether they are gone."""
        raise AssertionError(f"{self.label()} has no per-processor clean-up")

    def release_memory(self, th: Thread) -> None:
        """Give back the root's modelled memory. Subclasses add what else the root owns."""
        self.cos.memory.free(th.vp, self.addr)

    def free(self, th: Thread) -> None:
        if th.proc.on.control:
            self.cos.tracing.freed(th.proc, self)
        self.release_memory(th)
        self.cos.freed(self.ref)


class SingleRepRoot(CObjRoot):
    """One rep, shared by all processors. *vp* is the processor that makes it and owns its ref.

    Cost: `charge_create` is for makers that have a thread; objects made while the system is being built
    cost nothing.
    """

    __slots__ = ("rep",)

    def __init__(
        self,
        cos: COSMgr,
        rep: AnyRep,
        vp: VP = FIRST_VP,
        at: WellKnown | None = None,
        ref: Ref | None = None,
    ) -> None:
        super().__init__(cos, SINGLE, vp, at, ref)
        self.rep = rep
        rep.root = self
        rep.ref = self.ref
        if cos.machine.processors[vp].on.control:
            cos.tracing.made_rep(vp, self, rep)

    def charge_create(self, th: Thread) -> Awaitable[None]:
        """Charge the making of the root and its global entry to *th*."""
        return th.touch(SINGLE_CREATE, self.addr, self.cos.table.entry_addr(self.ref))

    @property
    def type_name(self) -> str:
        return kind_of(self) or type(self.rep).__name__

    @property
    def speaker(self) -> Any:  # noqa: ANN401
        return self.rep

    async def rep_for(self, th: Thread) -> AnyRep:
        """Return the rep. Racing misses on one processor repeat idempotent work, so no lock is needed."""
        if th.proc.on.clust_obj:
            th.proc.emit.clust_obj_mh_shared1(th.vp, self.ref)
        await th.touch(SINGLE_MISS, self.addr, th.proc.ltt_base + 16 * self.ref)
        self.trans_set |= 1 << th.vp  # no later than the entry: destroy reads it to find whom to flush
        return self.rep

    @property
    def exports(self) -> TransferTypes:
        return getattr(type(self.rep), "exports", NOTHING)

    @property
    def imports(self) -> TransferTypes:
        return getattr(type(self.rep), "imports", NOTHING)

    async def export_state(self, th: Thread, kind: TransferType, vps: int) -> object | None:
        return await self.rep.export_state(th, kind) if is_first(th, vps) else None

    async def import_state(self, th: Thread, state: object | None, kind: TransferType, vps: int) -> None:
        if state is not None:
            await self.rep.import_state(th, state, kind)

    def committed(self, th: Thread) -> None:
        committed = getattr(self.rep, "committed", None)
        if committed is not None:
            committed(th)

    async def start_cleanup(self, th: Thread) -> None:
        await th.touch(SINGLE_CLEANUP, self.addr)
        rep, self.rep = self.rep, None  # breaks the cycle: memory goes back without the cycle collector
        await clean_rep(th, rep)
        self.free(th)


class MultiRepRoot(CObjRoot):
    """A rep per cluster of *cluster* neighbouring processors; 1 is a rep each. Subclasses implement
    `create_rep`.

    Shape: `_reps` maps each processor in `trans_set` to its rep; `rep_set` holds the processors that made
    theirs, the others have an alias of their cluster's.
    """

    def __init__(
        self,
        cos: COSMgr,
        cluster: int = 1,
        vp: VP = FIRST_VP,
        at: WellKnown | None = None,
        ref: Ref | None = None,
    ) -> None:
        assert cluster >= 1, f"a cluster holds at least one processor, not {cluster}"
        self.cluster = cluster
        self.rep_set = 0
        self._reps: dict[VP, Any] = {}
        self._maker: Thread | None = None
        self._started = False  # the global phase of clean-up is over (K42 zeroes myRef)
        super().__init__(cos, MULTI, vp, at, ref)
        lock_addr = Addr(self.addr + MULTI.offset("lock"))
        self.lock = FairBLock(cos.machine, lock_addr, name="rootlock", owner=self)

    def create_rep(self, vp: VP) -> AnyRep:
        """Make the rep that *vp*'s cluster will share. Runs under the root's lock."""
        raise NotImplementedError(f"{type(self).__name__} must implement create_rep or make_rep")

    async def make_rep(self, th: Thread) -> AnyRep:
        """Make a rep with *th* at hand, for roots whose reps start from shared state that must be charged."""
        return self.create_rep(th.vp)

    def charge_create(self, th: Thread) -> Awaitable[None]:
        """Charge the making of the root and its global entry to *th*."""
        return th.touch(MULTI_CREATE, self.addr, self.cos.table.entry_addr(self.ref))

    def reps(self) -> Iterator[tuple[VP, Any]]:
        """Yield each distinct rep once, with the processor that made it. The caller holds `lock`."""
        for vp in processors(self.rep_set):
            yield vp, self._reps[vp]

    def rep_made_on(self, vp: VP) -> Any:  # noqa: ANN401
        """Return the rep that processor *vp*, a member of `rep_set`, has made."""
        return self._reps[vp]

    @property
    def cleanup_set(self) -> int:
        return self.rep_set

    async def rep_for(self, th: Thread) -> AnyRep:
        assert self._maker is not th, f"{self.label()}: make_rep called the object it is making a rep of"
        if th.proc.on.clust_obj:
            th.proc.emit.clust_obj_mh_hand_miss(th.vp, self.ref)
        await self.lock.acquire(th)
        try:
            await th.touch(MULTI_MISS, self.addr, th.proc.ltt_base + 16 * self.ref)
            rep = self._reps.get(th.vp)  # present: the entry was merely flushed
            if rep is None:
                rep = await self._locked_first_touch(th)
        finally:
            self.lock.release(th)
        return rep

    async def start_cleanup(self, th: Thread) -> None:
        await th.touch(MULTI_START, self.addr)
        self._started = True
        # The last processor flushed may hold but an alias: then the owners come by themselves.
        if self.rep_set >> th.vp & 1:
            await self.vp_cleanup(th)
        elif not self.rep_set:
            self.free(th)

    async def vp_cleanup(self, th: Thread) -> bool:
        if not self._started:
            return False
        await th.touch(MULTI_CLEAN, self.addr)
        bit = 1 << th.vp
        assert self.rep_set & bit, f"{self.label()} has no rep made on processor {th.vp}"
        await clean_rep(th, self._reps.pop(th.vp))
        self.rep_set ^= bit
        if not self.rep_set:  # whoever cleans the last rep frees the root
            self._reps.clear()
            self.free(th)
        return True

    async def _locked_first_touch(self, th: Thread) -> AnyRep:
        vp, size = th.vp, self.cluster
        mates = self.rep_set & ((1 << size) - 1) << size * (vp // size)
        if mates:
            rep = self._reps[next(processors(mates))]
            if th.proc.on.clust_obj:
                th.proc.emit.clust_obj_mh_shared(vp, self.ref)
            await th.touch(MULTI_ADD, self.addr)
        else:
            self._maker = th
            try:
                rep = await self.make_rep(th)
            finally:
                self._maker = None
            await th.touch(MULTI_ADD, self.addr)
            rep.root, rep.ref = self, self.ref
            self.rep_set |= 1 << vp
            if th.proc.on.control:
                if th.proc.on.clust_obj:
                    th.proc.emit.clust_obj_mh_repl(vp, self.ref)
                self.cos.tracing.made_rep(vp, self, rep)
        self._reps[vp] = rep
        self.trans_set |= 1 << vp
        return rep
