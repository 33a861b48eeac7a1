"""The mediator: what stands in an object's place while it is swapped, and counts who is inside.

`MediatorRoot` is in the global entry from the start of a swap to its end. A processor whose calls miss into it
gets a `Mediator`, whose methods, whatever they are called, do in this order (the prolog): charge, then look at
the phase and either count the call or register as waiting, with nothing in between; run the method on the old
rep; take it off the count, also when it fails (the epilog).

In BLOCK a call waits, unless others may depend on it:

* its chain of calls is inside the old implementation already: recursion. The chain, not the thread, counts, so
  that a call which comes back by way of another processor is recognised (`Thread.chain`);
* its chain is inside another object that is being swapped, which waits for it: were it made to wait here, and
  the other way round, two swaps would wait for each other;
* it holds locks across the call that somebody waits for: that somebody may be inside.

Locks: K42's phase locks and thread table change here in one step between two awaits, so they are charged as
atomic accesses and never waited for.

K42: lib/libc/cobj/CObjRepMediator.C, MediatedThreadTable.H.
Differs: K42 recognises recursion by thread and mediator, ignores locks, and leaks mediators.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import MethodType
from typing import TYPE_CHECKING, Any, Final

from k42fs.ids import VP, Addr
from k42fs.machine.layout import RMW, Kind, Layout
from k42fs.objects.captured import beneath
from k42fs.objects.default_object import AnyRep
from k42fs.objects.implementations import label_of_rep
from k42fs.objects.phases import Phase
from k42fs.objects.root import CObjRoot

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.objects.swap import Swap

ROOT: Final = Layout(
    "MediatorRoot",
    Kind.GLOBAL_PADDED,
    vtable=8,
    ref=8,
    phase=8,
    phase_lock=16,
    workers=16,
    counts=16,
    trans_set=8,
    old=8,
    new=8,
)
MISS: Final = ROOT.script(
    "handle_miss", "r:vtable x:phase_lock r:phase w:trans_set w2:0 w:phase_lock", work=120
)
FLUSH: Final = ROOT.script("worker", "w2:0", work=60)  # what it must know came with the message
DRAINED: Final = ROOT.script("drained", "x:workers", work=30)
COMMIT: Final = ROOT.script("commit", "w:phase r:new w2:0", work=60)
END: Final = ROOT.script("end", "r:phase x:workers w2:0", work=40)

DATA: Final = Layout("Mediator", Kind.GLOBAL_PADDED, vtable=8, phase_lock=16, count=8, threads=32, old_rep=8)
PROLOG: Final = DATA.script("prolog", "x:phase_lock w:count w:threads r:old_rep w:phase_lock", work=60)
COUNT_AT: Final = DATA.offset("count")
EPILOG_WORK: Final = 40

HOLDER_LOOKS_CYCLES: Final = 500
"""Between two looks of a caller who waits with locks in its hands: does anybody want one?"""


class MediatedCalls:
    """The calls that one swap knows of.

    `chains` has how often each chain is inside the old implementation; `inside` is the same for all swaps
    together. `count` adds misses under way, which may make a rep of the old object.
    """

    __slots__ = ("blocked", "chains", "count", "inside")

    def __init__(self, inside: dict[int, int]) -> None:
        self.chains: dict[int, int] = {}
        self.inside = inside
        self.count = 0
        self.blocked: dict[Thread, None] = {}  # in order of arrival; a woken thread is no longer in it

    def enter(self, th: Thread) -> None:
        self.count += 1
        chain = th.chain
        self.chains[chain] = self.chains.get(chain, 0) + 1
        self.inside[chain] = self.inside.get(chain, 0) + 1

    def leave(self, th: Thread) -> None:
        self.count -= 1
        for table in (self.chains, self.inside):
            left = table.pop(th.chain) - 1
            if left:
                table[th.chain] = left

    def release(self, by: Thread, vp: VP | None = None) -> None:
        """Wake the callers that wait on processor *vp*, or all of them."""
        for th in [th for th in self.blocked if vp is None or th.vp == vp]:
            del self.blocked[th]
            by.unblock(th)


class Mediator:
    """The rep of an object under swap on one processor. Like the default object's, its methods are made at first
    use."""

    __slots__ = ("_old_rep", "_swap", "addr")

    def __init__(self, swap: Swap, addr: Addr, old_rep: AnyRep) -> None:
        self._swap = swap
        self.addr = addr
        self._old_rep = old_rep

    def label(self) -> str:
        return f"Mediator before {label_of_rep(self._old_rep)}"

    def __getattr__(self, method: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        if method.startswith("_"):
            raise AttributeError(f"{method} is no external method of an object that is being swapped")

        def trampoline(
            self: Mediator, th: Thread, *args: object, **kwargs: object
        ) -> Coroutine[Any, Any, Any]:
            return self._call(th, method, args, kwargs)

        setattr(Mediator, method, trampoline)
        return MethodType(trampoline, self)

    async def _call(
        self, th: Thread, method: str, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        swap = self._swap
        await th.touch(PROLOG, self.addr)
        phase = swap.phase
        if phase is Phase.FORWARD or (phase is Phase.BLOCK and await self._may_pass(th)):
            return await self._forward(th, method, args, kwargs)
        # No new call: who records calls has this one already, and so have arbiters.
        rep = await beneath(th, swap.cos, swap.ref, method)
        return await getattr(rep, method)(th, *args, **kwargs)

    async def _forward(
        self, th: Thread, method: str, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        swap = self._swap
        swap.calls.enter(th)
        try:
            return await getattr(self._old_rep, method)(th, *args, **kwargs)
        finally:
            # Also while the coroutine is being closed, so nothing here may wait.
            th.machine.charge(th, RMW, self.addr + COUNT_AT)
            th.work(EPILOG_WORK)
            swap.calls.leave(th)
            swap.call_left(th)

    async def _may_pass(self, th: Thread) -> bool:
        """Wait in BLOCK until the swap is over; True at once if the call must rather run in the old object."""
        swap = self._swap
        calls = swap.calls
        if swap.is_overdue(th):
            await swap.expire(th)
            return False
        if not swap.is_moving and th.chain in calls.inside:
            return True
        if not swap.is_moving and th.held:  # else nobody is inside any more, who could depend on it
            if th.machine.live:  # calls run inline: none of them keeps the others from leaving
                return True
            return await self._watch_locks(th)
        calls.blocked[th] = None
        try:
            while th in calls.blocked:  # stray wake-ups are legal
                await th.block()
        finally:
            calls.blocked.pop(th, None)
        return False

    async def _watch_locks(self, th: Thread) -> bool:
        """Wait with locks held; True as soon as somebody waits for one of them, who may be inside."""
        swap = self._swap
        while swap.phase is Phase.BLOCK:
            if not swap.is_moving and any(getattr(lock, "waiting", 0) for lock in th.held):
                return True
            await th.sleep(HOLDER_LOOKS_CYCLES)
        return False


class MediatorRoot(CObjRoot):
    """The miss handler of an object under swap. `reps`: the mediators, by processor."""

    def __init__(self, swap: Swap, vp: VP) -> None:
        self.swap = swap
        super().__init__(swap.cos, ROOT, vp, None, swap.ref)
        self.reps: dict[VP, Mediator] = {}
        self._gate = Mediator(swap, self.addr, None)

    def label(self) -> str:
        return f"Mediator of {self.swap.current.label()}"

    @property
    def is_retired(self) -> bool:
        """Whether the swap is over and this root has a ref of its own, to be destroyed under."""
        return self.ref != self.swap.ref

    @property
    def type_name(self) -> str:
        return "Mediator" if self.is_retired else self.swap.current.type_name

    @property
    def speaker(self) -> Any:  # noqa: ANN401
        return self if self.is_retired else self.swap.current.speaker

    @property
    def rep(self) -> Any:  # noqa: ANN401
        return self.speaker

    async def handle_miss(self, th: Thread) -> AnyRep:
        """Install a mediator, or after the swap the rep of the object that has remained."""
        await self._join(th)
        if self.swap.is_over:
            return await self.swap.current.handle_miss(th)
        mediator = self.reps.get(th.vp)
        if mediator is None:
            return self._gate
        th.proc.ltt[self.swap.ref] = mediator
        return mediator

    async def rep_for(self, th: Thread) -> AnyRep:
        """Return the same for an arbiter, which asks again when this is not the root below it any more."""
        await self._join(th)
        if self.swap.is_over:
            return await self.swap.current.rep_for(th)
        return self.reps.get(th.vp, self._gate)

    async def _join(self, th: Thread) -> None:
        """Make th's processor a mediator, and let it take part in the swap if it does not yet.

        While state moves it is too late for that: the call waits at a mediator that is not installed, and no
        rep of the old object is made.
        """
        vp, swap = th.vp, self.swap
        self.trans_set |= 1 << vp  # whoever is in here must have left before this root goes
        await th.touch(MISS, self.addr, th.proc.ltt_base + 16 * swap.ref)
        if swap.is_over or swap.is_moving or vp in self.reps:
            return
        swap.calls.count += 1  # state does not move before this miss is done
        try:
            swap.take_part(th)
            old_rep = await swap.old.rep_for(th)
            if vp not in self.reps:
                addr = self.cos.memory.alloc(vp, DATA, DATA.kind, owner=self)
                self.reps[vp] = Mediator(swap, addr, old_rep)
        finally:
            swap.calls.count -= 1
            swap.call_left(th)

    async def start_cleanup(self, th: Thread) -> None:
        for mediator in self.reps.values():
            self.cos.memory.free(th.vp, mediator.addr)
        self.reps.clear()
        self.free(th)
