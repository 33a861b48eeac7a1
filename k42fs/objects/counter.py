"""An integer counter, shared or replicated: the smallest worked clustered object.

Clients hold a ref and cannot tell which one they have:

    ref = await create_shared(th, cos)            # or create_replicated(th, cos, cluster=4)
    await th.deref(ref).increment(th, 3)
    total = await th.deref(ref).value(th)
    await cos.destroy(th, ref)

Shared: an add moves the one line, a read costs one load. Replicated: adds stay local, a read visits every
rep. Each can be swapped for the other while it is used:

    swap = await cos.swap_to(th, ref, "replicated")

Forms of state: partitioned, each processor hands on what was added there, the first one what the counter
started from as well; canonical, the first processor hands on the sum.

Locks: `value` of the replicated counter holds the root's lock, so that no rep appears while it sums.
K42: lib/libc/cobj/missHandlingtest.C, usr/intctr.*.
Differs: K42's replicated sum walks the list of mappings and counts a rep once per processor of its cluster.
"""

from __future__ import annotations

from typing import ClassVar, Final

from k42fs.ids import VP, Addr, Ref
from k42fs.machine.layout import Kind, Layout
from k42fs.machine.thread import Thread
from k42fs.objects.cosmgr import COSMgr
from k42fs.objects.implementations import Implementation, register
from k42fs.objects.root import FIRST_VP, CObjRoot, MultiRepRoot, Rep, SingleRepRoot
from k42fs.objects.transfer import TransferType, TransferTypes, is_first

SHARED: Final = Layout("SharedCounter", Kind.GLOBAL_PADDED, value=8)
SHARED_ADD: Final = SHARED.script("increment", "x:value", work=10)
SHARED_VALUE: Final = SHARED.script("value", "r:value", work=10)

LOCAL: Final = Layout("ReplicatedCounter", Kind.LOCAL_STRICT, value=8)
LOCAL_ADD: Final = LOCAL.script("increment", "x:value", work=10)
LOCAL_VALUE: Final = LOCAL.script("value", "r:value", work=10)


VALUES: Final[TransferTypes] = frozenset(
    (TransferType.COUNTER_PARTITIONED_VAL, TransferType.COUNTER_CANONICAL_VAL)
)


class SharedCounter(Rep):
    """The one rep of a shared counter."""

    __slots__ = ("addr", "count")

    kind: ClassVar[str] = "Counter"
    implementation: ClassVar[str] = "shared"
    exports: ClassVar[TransferTypes] = frozenset((TransferType.COUNTER_CANONICAL_VAL,))
    imports: ClassVar[TransferTypes] = VALUES

    def __init__(self, cos: COSMgr, vp: VP, initial: int) -> None:
        self.count = initial
        self.addr: Addr = cos.memory.alloc(vp, SHARED, SHARED.kind, owner=self)

    def label(self) -> str:
        return f"SharedCounter {self.ref}"

    async def increment(self, th: Thread, amount: int = 1) -> None:
        await th.touch(SHARED_ADD, self.addr)
        self.count += amount

    async def value(self, th: Thread) -> int:
        await th.touch(SHARED_VALUE, self.addr)
        return self.count

    async def export_state(self, th: Thread, form: TransferType) -> int:
        return await self.value(th)

    async def import_state(self, th: Thread, state: int, form: TransferType) -> None:
        """Add a part, or the sum: parts arrive on all processors at once."""
        await self.increment(th, state)

    def cleanup(self, th: Thread) -> None:
        self.root.cos.memory.free(th.vp, self.addr)


class ReplicatedCounterRoot(MultiRepRoot):
    """Registry of the reps of a replicated counter, and the value it started from."""

    kind: ClassVar[str] = "Counter"
    implementation: ClassVar[str] = "replicated"

    def __init__(
        self, cos: COSMgr, initial: int, cluster: int, vp: VP = FIRST_VP, ref: Ref | None = None
    ) -> None:
        super().__init__(cos, cluster, vp, ref=ref)
        self.initial = initial

    @property
    def exports(self) -> TransferTypes:
        return VALUES

    @property
    def imports(self) -> TransferTypes:
        return VALUES

    async def export_state(self, th: Thread, kind: TransferType, vps: int) -> int | None:
        if kind is TransferType.COUNTER_CANONICAL_VAL:
            return await self.total(th) if is_first(th, vps) else None
        part = self.initial if is_first(th, vps) else 0
        if self.rep_set >> th.vp & 1:  # of a cluster, the processor that made the rep
            rep = self.rep_made_on(th.vp)
            await th.touch(LOCAL_VALUE, rep.addr)
            part += rep.count
        return part

    async def import_state(self, th: Thread, state: object | None, kind: TransferType, vps: int) -> None:
        if isinstance(state, int):
            rep = await self.rep_for(th)
            await rep.increment(th, state)

    def create_rep(self, vp: VP) -> ReplicatedCounter:
        return ReplicatedCounter(self.cos, vp)

    async def total(self, th: Thread) -> int:
        await self.lock.acquire(th)
        try:
            total = self.initial
            for _, rep in self.reps():
                await th.touch(LOCAL_VALUE, rep.addr)
                total += rep.count
        finally:
            self.lock.release(th)
        return total


class ReplicatedCounter(Rep):
    """What was added on the processors of one cluster."""

    __slots__ = ("addr", "count", "vp")

    def __init__(self, cos: COSMgr, vp: VP) -> None:
        self.vp = vp
        self.count = 0
        self.addr: Addr = cos.memory.alloc(vp, LOCAL, LOCAL.kind, owner=self)

    def label(self) -> str:
        return f"ReplicatedCounter {self.ref} rep {self.vp}"

    async def increment(self, th: Thread, amount: int = 1) -> None:
        await th.touch(LOCAL_ADD, self.addr)
        self.count += amount

    async def value(self, th: Thread) -> int:
        root: ReplicatedCounterRoot = self.root
        return await root.total(th)

    def cleanup(self, th: Thread) -> None:
        self.root.cos.memory.free(th.vp, self.addr)


def _make_shared(cos: COSMgr, th: Thread, old: CObjRoot) -> CObjRoot:
    return SingleRepRoot(cos, SharedCounter(cos, th.vp, 0), th.vp, ref=old.ref)


def _make_replicated(cos: COSMgr, th: Thread, old: CObjRoot) -> CObjRoot:
    return ReplicatedCounterRoot(cos, 0, 1, th.vp, ref=old.ref)


register(
    Implementation("Counter", "shared", _make_shared, "one number: adds move its line, a read is one load")
)
register(
    Implementation("Counter", "replicated", _make_replicated, "a number per processor: a read adds them up")
)


async def create_shared(th: Thread, cos: COSMgr, initial: int = 0) -> Ref:
    """Make a counter with one rep for all processors."""
    root = SingleRepRoot(cos, SharedCounter(cos, th.vp, initial), th.vp)
    await root.charge_create(th)
    return root.ref


async def create_replicated(th: Thread, cos: COSMgr, initial: int = 0, cluster: int = 1) -> Ref:
    """Make a counter with a rep per *cluster* neighbouring processors."""
    root = ReplicatedCounterRoot(cos, initial, cluster, th.vp)
    await root.charge_create(th)
    return root.ref
