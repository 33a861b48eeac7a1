"""Interposition: an arbiter in front of objects in use, which sees every call and decides what becomes of it.

    attachment = await cos.interposition.attach(th, CallCounter(), Wanted.parse("type DirObject"))
    ...
    await cos.interposition.release(th, attachment)

An `Arbiter` is asked about each call: `around(th, call)` may look at it, change its arguments, delay it, answer it
itself, or let the real object answer (`call.proceed(th)`). It is attached to one object, to all of a type, or to
all; objects that are made later are captured at their first miss. To capture an object is to put an `ArbiterRoot` in
its global entry, whose `ArbiterRep` on each processor has, like the default object, whatever method is called.
What the arbiter itself calls on the object goes through without asking it again.

State does not move, so nothing waits for calls to end: while local entries are being flushed, on other processors by
messages, some calls go through the arbiter and some do not. Captures nest, the last first: only the outermost one
can be released. A captured object cannot be swapped; one that is being swapped is captured at the next miss.

Locks: one for attaching and releasing; the entry's state word orders captures, swaps and destroys.
K42: lib/libc/cobj/CObjRootArbiter.C, CObjRepArbiter.C, COSMgr::substitute.
Differs: K42 switches to one of 16 stacks per rep, which here every coroutine has; its arbiters cannot be attached
to a type; the destructor of its root deadlocks on its own lock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from types import MethodType
from typing import TYPE_CHECKING, Any, Final

from k42fs.errors import BusyError, DeletedObjectError, InTransitionError, K42Error, NotSupportedError
from k42fs.ids import VP, Addr, Ref
from k42fs.machine.layout import Kind, Layout
from k42fs.machine.locks import FairBLock
from k42fs.objects.default_object import AnyRep
from k42fs.objects.implementations import label_of
from k42fs.objects.root import CObjRoot, processors
from k42fs.objects.traced_table import Wanted
from k42fs.objects.translation import RESERVED_ENTRIES

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.objects.cosmgr import COSMgr
    from k42fs.objects.translation import MissHandler

ROOT: Final = Layout("ArbiterRoot", Kind.GLOBAL_PADDED, vtable=8, ref=8, trans_set=8, inner=8, arbiter=8)
MANAGER: Final = Layout("Interposition", Kind.GLOBAL_PADDED, lock=16)
MISS: Final = ROOT.script("handle_miss", "r:vtable x:trans_set r:inner w2:0", work=80)

REP: Final = Layout("ArbiterRep", Kind.GLOBAL_PADDED, vtable=8, inner=8, stacks=32, counters=64)
SPIN_CYCLES: Final = 200
"""Between two looks at an entry that somebody else is switching."""

CALL: Final = REP.script("handleCall", "r:vtable w:stacks w:counters r:inner", work=120)
"""What an intercepted call costs beside its arbiter: the descriptor, the other stack, a counter."""


@dataclass(slots=True)
class Call:
    """One call that an arbiter is asked about. Method and arguments may be changed before it proceeds."""

    ref: Ref
    method: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    make: Callable[[Thread, Call], Awaitable[Any]]

    def proceed(self, th: Thread) -> Awaitable[Any]:
        """Let the real object answer, or the arbiter that was attached before."""
        return self.make(th, self)


class Arbiter:
    """Decides what becomes of calls. One serves all objects that it is attached to. Subclasses say more."""

    name = "arbiter"

    async def around(self, th: Thread, call: Call) -> Any:  # noqa: ANN401
        """Answer *call* on its processor: here, the real object does."""
        return await call.proceed(th)

    def report(self) -> dict[str, Any]:
        """Return what it has found out, ready for JSON."""
        return {}


class ArbiterRep:
    """Stands before an object's rep on one processor."""

    __slots__ = ("_addr", "_inner", "_root")

    def __init__(self, root: ArbiterRoot, addr: Addr, inner: AnyRep) -> None:
        self._root = root
        self._addr = addr
        self._inner = inner

    def __getattr__(self, method: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        if method.startswith("_"):
            raise AttributeError(f"{method} is no external method of a captured object")

        def trampoline(
            self: ArbiterRep, th: Thread, *args: object, **kwargs: object
        ) -> Coroutine[Any, Any, Any]:
            return self._call(th, method, args, kwargs)

        setattr(ArbiterRep, method, trampoline)
        return MethodType(trampoline, self)

    async def _call(
        self, th: Thread, method: str, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        asked = self._root.asked
        await th.touch(CALL, self._addr)
        if th.chain in asked:  # the arbiter's own call
            return await getattr(self._inner, method)(th, *args, **kwargs)
        asked.add(th.chain)
        try:
            call = Call(self._root.target, method, args, kwargs, self._make)
            return await self._root.arbiter.around(th, call)
        finally:
            asked.discard(th.chain)

    async def _make(self, th: Thread, call: Call) -> object:
        """Make the real call: what the object does then is no act of the arbiter's."""
        asked = self._root.asked
        asked.discard(th.chain)
        try:
            return await getattr(self._inner, call.method)(th, *call.args, **call.kwargs)
        finally:
            asked.add(th.chain)


class ArbiterRoot(CObjRoot):
    """The miss handler of a captured object. `inner`: its own, None once the object is released.

    `asked`: the chains of calls whose arbiter is at work.
    """

    def __init__(self, cos: COSMgr, inner: CObjRoot, attachment: Attachment, vp: VP) -> None:
        super().__init__(cos, ROOT, vp, None, inner.ref)
        self.inner: CObjRoot | None = inner
        self.target = inner.ref
        self.attachment = attachment
        self.arbiter = attachment.arbiter
        self.asked: set[int] = set()
        self.trans_set = inner.trans_set  # grows with it: whoever reaches it comes by here
        self._reps: dict[VP, ArbiterRep] = {}
        self._past: list[ArbiterRep] = []  # calls may still be in them

    def rest_on(self, inner: CObjRoot) -> None:
        """Stand before *inner* from now on: the arbiter between is released. No miss is in progress."""
        self.inner = inner
        self._past.extend(self._reps.values())
        self._reps.clear()

    def label(self) -> str:
        return (
            f"{self.arbiter.name} before {self.speaker.label()}" if self.inner else f"ArbiterRoot {self.ref}"
        )

    @property
    def type_name(self) -> str:
        return "Arbiter" if self.inner is None else self.inner.type_name

    @property
    def speaker(self) -> Any:  # noqa: ANN401
        return self if self.inner is None else self.inner.speaker

    @property
    def rep(self) -> Any:  # noqa: ANN401
        return self.speaker

    @property
    def cleanup_set(self) -> int:
        return 0 if self.inner is None else self.inner.cleanup_set

    async def rep_for(self, th: Thread) -> AnyRep:
        """Return the arbiter's rep, in front of the object's own for th's processor."""
        self.trans_set |= 1 << th.vp
        await th.touch(MISS, self.addr, th.proc.ltt_base + 16 * self.target)
        inner = self.inner
        assert inner is not None, "a root is not replaced under a miss"
        own = await inner.rep_for(th)
        rep = self._reps.get(th.vp)
        if rep is None:
            addr = self.cos.memory.alloc(th.vp, REP, REP.kind, owner=self)
            rep = self._reps[th.vp] = ArbiterRep(self, addr, own)
        return rep

    async def start_cleanup(self, th: Thread) -> None:
        """Go alone, if the object was released, else with it."""
        for rep in (*self._reps.values(), *self._past):
            self.cos.memory.free(th.vp, rep._addr)
        self._reps.clear()
        self._past.clear()
        if self.inner is None:
            self.free(th)
            return
        self.attachment.captured.pop(self.target, None)
        self.release_memory(th)
        await self.inner.start_cleanup(th)

    async def vp_cleanup(self, th: Thread) -> bool:
        assert self.inner is not None
        return await self.inner.vp_cleanup(th)


@dataclass(eq=False)
class Attachment:
    """An arbiter, and the objects it is attached to. `captured` has None where a capture is under way."""

    arbiter: Arbiter
    wanted: Wanted
    captured: dict[Ref, ArbiterRoot | None] = field(default_factory=dict)
    is_released: bool = False

    def wants(self, root: CObjRoot) -> bool:
        wanted = self.wanted
        return wanted.everything or root.ref in wanted.refs or root.type_name in wanted.types


class Interposition:
    """The arbiters of one address space. `is_general`: some want objects that are yet to be made."""

    def __init__(self, cos: COSMgr) -> None:
        self.cos = cos
        self.attachments: list[Attachment] = []
        self.is_general = False
        addr = cos.memory.alloc(VP(0), MANAGER, MANAGER.kind, owner=self)
        self._lock = FairBLock(cos.machine, addr, name="attachments", owner=self)

    async def attach(self, th: Thread, arbiter: Arbiter, wanted: Wanted) -> Attachment:
        """Put *arbiter* before all objects that are *wanted*, now and later.

        Raises, if one of the refs wanted cannot be captured, and then nothing is:
            DeletedObjectError, InTransitionError, NotSupportedError.
        """
        attachment = Attachment(arbiter, wanted)
        await self._lock.acquire(th)
        try:
            try:
                for ref in sorted(wanted.refs):
                    # Arbiters lie before each object in the order of their attachment.
                    await self.adopt(th, Ref(ref))
                    await self._capture(th, Ref(ref), attachment)
            except K42Error:
                attachment.is_released = True
                await self._uncapture_all(th, attachment)
                raise
            self._list(attachment, is_attached=True)
            if self.is_general:
                for root in self.cos.objects():
                    await self.adopt(th, root.ref)
        finally:
            self._lock.release(th)
        return attachment

    async def release(self, th: Thread, attachment: Attachment) -> None:
        """Take the arbiter away from everything it is attached to.

        Raises: BusyError: another one was attached to one of the objects later; nothing has changed.
        """
        await self._lock.acquire(th)
        try:
            for ref in attachment.captured:
                top = self.cos.root_at(ref)
                if isinstance(top, ArbiterRoot) and top.attachment is not attachment:
                    name, label = top.arbiter.name, label_of(top)
                    raise BusyError(f"{name} was attached to {label} later: release it first")
            if not attachment.is_released:
                attachment.is_released = True
                self._list(attachment, is_attached=False)
            await self._uncapture_all(th, attachment)
        finally:
            self._lock.release(th)

    async def _uncapture_all(self, th: Thread, attachment: Attachment) -> None:
        for ref, arbiter in list(attachment.captured.items()):
            if arbiter is not None:
                await self._uncapture(th, ref, arbiter)

    def _list(self, attachment: Attachment, is_attached: bool) -> None:
        (self.attachments.append if is_attached else self.attachments.remove)(attachment)
        self.is_general = any(each.wanted.everything or each.wanted.types for each in self.attachments)

    def label(self) -> str:
        """Name the owner of the lock."""
        return "Interposition"

    async def adopt(self, th: Thread, ref: Ref) -> None:
        """Capture the object behind *ref* for every arbiter that wants it and does not have it."""
        root = self.cos.root_at(ref)
        if ref < RESERVED_ENTRIES or not isinstance(root, CObjRoot):
            return
        for attachment in list(self.attachments):
            if ref not in attachment.captured:
                if attachment.wants(root):
                    try:
                        await self._capture(th, ref, attachment)
                    except K42Error:
                        return  # in transition: at the next miss
            elif attachment.captured[ref] is None:
                return  # somebody is at it, and its miss after that will come here again

    async def _capture(self, th: Thread, ref: Ref, attachment: Attachment) -> None:
        attachment.captured[ref] = None
        try:
            old = await self.cos.swaps.enter(th, ref)
        except K42Error:
            del attachment.captured[ref]
            raise
        if ref < RESERVED_ENTRIES or not isinstance(old, CObjRoot):
            del attachment.captured[ref]
            await self._finish(th, ref, 0)
            raise NotSupportedError(f"calls of the object behind ref {ref} cannot be intercepted")
        root = attachment.captured[ref] = ArbiterRoot(self.cos, old, attachment, th.vp)
        self.cos.swaps.install(ref, root)
        await self._finish(th, ref, old.trans_set)
        if attachment.is_released:  # meanwhile
            await self._uncapture(th, ref, root)

    async def _uncapture(self, th: Thread, ref: Ref, arbiter: ArbiterRoot) -> None:
        top: MissHandler | None = None
        while top is None:
            try:
                top = await self.cos.swaps.enter(th, ref)
            except DeletedObjectError:
                return
            except InTransitionError:
                if self.cos.is_dying(ref):  # and its arbiters with it
                    return
                await th.sleep(SPIN_CYCLES)  # another arbiter is just being put there
        above: ArbiterRoot | None = None
        while top is not arbiter and isinstance(top, ArbiterRoot):  # captured again since `release` looked
            above, top = top, top.inner
        vps = arbiter.trans_set
        if top is arbiter and arbiter.inner is not None:
            if above is None:
                self.cos.swaps.install(ref, arbiter.inner)
            else:
                above.rest_on(arbiter.inner)
            arbiter.inner = None
            del arbiter.attachment.captured[ref]
            await self._finish(th, ref, vps)
            await self.cos.swaps.retire(th, arbiter)
        else:
            await self._finish(th, ref, 0)

    async def _finish(self, th: Thread, ref: Ref, vps: int) -> None:
        """Let calls go by the new handler: flush the entries on *vps*, then let misses go on."""

        def flush(dispatcher: Thread) -> None:
            dispatcher.proc.ltt.pop(ref, None)

        if vps >> th.vp & 1:
            th.proc.ltt.pop(ref, None)
        for vp in processors(vps & ~(1 << th.vp)):
            await self.cos.machine.messages.send(th, vp, flush)
        if self.cos.swaps.leave(ref):
            await self.cos.destroy(th, ref)
