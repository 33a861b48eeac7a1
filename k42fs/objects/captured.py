"""What stands before a captured object: an arbiter's root in the global entry, its reps in the local ones.

An `Arbiter` is asked about each call: `around(th, call)` may look at it, change its arguments, delay it, answer it
itself, or let the real object answer (`call.proceed(th)`). Like the default object, an `ArbiterRep` has whatever
method is called. What the arbiter itself calls on the object goes through without asking it again.

A captured object can be swapped: the mediator, and later the new root, take their place under the arbiters
(`put_beneath`). Each arbiter's rep knows the root that its inner rep is of. If that is not the root below any more,
the call takes an ordinary miss before it goes on, so it meets the mediator and is counted there, or the new object.
A call that has been put to the arbiters is not put to them again when it had to wait at the mediator (`beneath`).

Locks: none; the entry's state word orders captures, swaps and destroys, so a root is replaced under no other change.
K42: lib/libc/cobj/CObjRootArbiter.C, CObjRepArbiter.C.
Differs: K42 switches to one of 16 stacks per rep, which here every coroutine has; an object that it has captured
cannot be swapped; the destructor of its root deadlocks on its own lock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from types import MethodType
from typing import TYPE_CHECKING, Any, Final

from k42fs.ids import VP, Addr, Ref
from k42fs.machine.layout import Kind, Layout
from k42fs.objects.default_object import AnyRep
from k42fs.objects.implementations import label_of, label_of_rep
from k42fs.objects.root import CObjRoot

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.objects.cosmgr import COSMgr
    from k42fs.objects.interposition import Attachment
    from k42fs.objects.translation import MissHandler

ROOT: Final = Layout("ArbiterRoot", Kind.GLOBAL_PADDED, vtable=8, ref=8, trans_set=8, inner=8, arbiter=8)
MISS: Final = ROOT.script("handle_miss", "r:vtable x:trans_set r:inner w2:0", work=80)

REP: Final = Layout("ArbiterRep", Kind.GLOBAL_PADDED, vtable=8, inner=8, stacks=32, counters=64)
CALL: Final = REP.script("handleCall", "r:vtable w:stacks w:counters r:inner r2:0", work=120)
"""What an intercepted call costs beside its arbiter: the descriptor, the other stack, a counter, the root below."""

INNER_AT: Final = ROOT.offset("inner")


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
    """Stands before an object's rep on one processor. `_inner` is the rep below, `_of` the root that it is of."""

    __slots__ = ("_inner", "_of", "_root", "addr")

    def __init__(self, root: ArbiterRoot, addr: Addr) -> None:
        self._root = root
        self.addr = addr
        self._inner: AnyRep = None
        self._of: CObjRoot | None = None

    def _rest_on(self, inner: AnyRep, of: CObjRoot) -> None:
        """Stand before *inner* from now on, a rep of the root *of*."""
        self._inner, self._of = inner, of

    def label(self) -> str:
        return f"{self._root.arbiter.name} before {label_of_rep(self._inner)}"

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
        root = self._root
        asked = root.asked
        await th.touch(CALL, self.addr, root.addr + INNER_AT)
        if th.chain in asked:  # the arbiter's own call
            return await self._go_on(th, method, args, kwargs)
        asked.add(th.chain)
        try:
            call = Call(root.target, method, args, kwargs, self._make)
            return await root.arbiter.around(th, call)
        finally:
            asked.discard(th.chain)

    async def _make(self, th: Thread, call: Call) -> object:
        """Make the real call: what the object does then is no act of the arbiter's."""
        asked = self._root.asked
        asked.discard(th.chain)
        try:
            return await self._go_on(th, call.method, call.args, call.kwargs)
        finally:
            asked.add(th.chain)

    async def _go_on(
        self, th: Thread, method: str, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        inner = self._inner if self._of is self._root.inner else await self._missed(th, method)
        return await getattr(inner, method)(th, *args, **kwargs)

    async def _missed(self, th: Thread, method: str) -> AnyRep:
        """Return the rep below, whose root was replaced: take a miss, and pass by what the call has been put to."""
        root = self._root
        rep: AnyRep = self
        while True:
            while isinstance(rep, ArbiterRep) and rep._root.number >= root.number:
                if rep._of is not rep._root.inner:
                    break
                rep = rep._inner
            else:
                return rep
            rep = await root.cos.miss(th, root.target, method)


class ArbiterRoot(CObjRoot):
    """The miss handler of a captured object. `inner`: what it stands before; of a released one, what it stood before.

    `asked`: the chains of calls whose arbiter is at work. `number`: captures are numbered as they are made.
    """

    def __init__(self, cos: COSMgr, inner: CObjRoot, attachment: Attachment, vp: VP, number: int) -> None:
        super().__init__(cos, ROOT, vp, None, inner.ref)
        self.inner = inner
        self.target = inner.ref
        self.attachment = attachment
        self.arbiter = attachment.arbiter
        self.asked: set[int] = set()
        self.number = number
        self.is_released = False
        self.trans_set = inner.trans_set  # grows with it: whoever reaches it comes by here
        self._reps: dict[VP, ArbiterRep] = {}

    def label(self) -> str:
        if self.is_released:
            return f"ArbiterRoot {self.ref}"
        return f"{self.arbiter.name} before {label_of(self.inner)}"

    @property
    def type_name(self) -> str:
        return "Arbiter" if self.is_released else self.inner.type_name

    @property
    def speaker(self) -> Any:  # noqa: ANN401
        return self if self.is_released else self.inner.speaker

    @property
    def rep(self) -> Any:  # noqa: ANN401
        return self.speaker

    @property
    def cleanup_set(self) -> int:
        return 0 if self.is_released else self.inner.cleanup_set

    async def rep_for(self, th: Thread) -> AnyRep:
        """Return the arbiter's rep, in front of the object's own for th's processor."""
        self.trans_set |= 1 << th.vp
        await th.touch(MISS, self.addr, th.proc.ltt_base + 16 * self.target)
        inner = self.inner
        own = await inner.rep_for(th)
        rep = self._reps.get(th.vp)
        if rep is None:
            addr = self.cos.memory.alloc(th.vp, REP, REP.kind, owner=self)
            rep = self._reps[th.vp] = ArbiterRep(self, addr)
        rep._rest_on(own, inner)
        return rep

    async def start_cleanup(self, th: Thread) -> None:
        """Go alone, if the object was released, else with it."""
        for rep in self._reps.values():
            self.cos.memory.free(th.vp, rep.addr)
        self._reps.clear()
        if self.is_released:
            self.free(th)
            return
        self.attachment.captured.pop(self.target, None)
        self.release_memory(th)
        await self.inner.start_cleanup(th)

    async def vp_cleanup(self, th: Thread) -> bool:
        return await self.inner.vp_cleanup(th)


def object_root(root: MissHandler | None) -> MissHandler | None:
    """Return the root of the object itself, or its mediator's, whatever arbiters stand before it."""
    while isinstance(root, ArbiterRoot):
        root = root.inner
    return root


async def beneath(th: Thread, cos: COSMgr, ref: Ref, method: str) -> AnyRep:
    """Take a miss on *ref* for a call that its arbiters have been asked about; return the rep of the object itself."""
    rep = await cos.miss(th, ref, method)
    while isinstance(rep, ArbiterRep):
        rep = rep._inner if rep._of is rep._root.inner else await cos.miss(th, ref, method)
    return rep


def put_beneath(above: MissHandler | None, root: CObjRoot) -> bool:
    """Let *root* stand under the arbiters from *above* on; False if that is no arbiter. Its entry is switching."""
    if not isinstance(above, ArbiterRoot):
        return False
    while isinstance(above.inner, ArbiterRoot):
        above = above.inner
    above.inner = root
    return True
