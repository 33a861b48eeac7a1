"""Interposition: an arbiter in front of objects in use, which sees every call and decides what becomes of it.

    attachment = await cos.interposition.attach(th, CallCounter(), Wanted.parse("type DirObject"))
    ...
    await cos.interposition.release(th, attachment)

An arbiter is attached to one object, to all of a type, or to all; objects that are made later are captured at their
first miss. To capture an object is to put an `ArbiterRoot` in its global entry (captured.py).

State does not move, so nothing waits for calls to end: while local entries are being flushed, on other processors by
messages, some calls go through the arbiter and some do not. Captures nest, the last first: only the outermost one
can be released. A captured object can be swapped, its arbiters stay before it; while that is
under way none comes or goes: who releases one waits, an object of a type that is wanted is captured at its next miss.

Locks: one for attaching and releasing; the entry's state word orders captures, swaps and destroys. Who waits for
either is not active meanwhile: a swap would wait for it.
K42: lib/libc/cobj/COSMgr.C (substitute).
Differs: K42's arbiters cannot be attached to a type.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Final

from k42fs.errors import BusyError, DeletedObjectError, InTransitionError, K42Error, NotSupportedError
from k42fs.ids import VP, Ref
from k42fs.machine.layout import Kind, Layout
from k42fs.machine.locks import FairBLock
from k42fs.objects.captured import Arbiter, ArbiterRoot
from k42fs.objects.generations import INACTIVE
from k42fs.objects.implementations import label_of
from k42fs.objects.root import CObjRoot, processors
from k42fs.objects.traced_table import Wanted
from k42fs.objects.translation import RESERVED_ENTRIES

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.objects.cosmgr import COSMgr
    from k42fs.objects.translation import MissHandler

MANAGER: Final = Layout("Interposition", Kind.GLOBAL_PADDED, lock=16)
SPIN_CYCLES: Final = 200
"""Between two looks at an entry that somebody else is switching."""


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
        self._numbers = count(1)
        self.is_general = False
        addr = cos.memory.alloc(VP(0), MANAGER, MANAGER.kind, owner=self)
        self._lock = FairBLock(cos.machine, addr, name="attachments", owner=self)

    async def attach(self, th: Thread, arbiter: Arbiter, wanted: Wanted) -> Attachment:
        """Put *arbiter* before all objects that are *wanted*, now and later.

        Raises, if one of the refs wanted cannot be captured, and then nothing is:
            DeletedObjectError, InTransitionError, NotSupportedError.
        """
        attachment = Attachment(arbiter, wanted)
        async with self._locked(th):
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
        return attachment

    async def release(self, th: Thread, attachment: Attachment) -> None:
        """Take the arbiter away from everything it is attached to.

        Raises: BusyError: another one was attached to one of the objects later; nothing has changed.
        """
        async with self._locked(th):
            for ref, arbiter in attachment.captured.items():
                top = self.cos.root_at(ref)
                if arbiter is not None and isinstance(top, ArbiterRoot) and top is not arbiter:
                    name, label = top.arbiter.name, label_of(top)
                    raise BusyError(f"{name} was attached to {label} later: release it first")
            if not attachment.is_released:
                attachment.is_released = True
                self._list(attachment, is_attached=False)
            await self._uncapture_all(th, attachment)

    @asynccontextmanager
    async def _locked(self, th: Thread) -> AsyncIterator[None]:
        was_active = th.generation != INACTIVE
        if was_active:
            self.cos.deactivate(th)
        try:
            await self._lock.acquire(th)
        finally:
            if was_active:
                self.cos.activate(th)
        try:
            yield
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
            await self._leave(th, ref)
            raise NotSupportedError(f"calls of the object behind ref {ref} cannot be intercepted")
        root = ArbiterRoot(self.cos, old, attachment, th.vp, next(self._numbers))
        self.cos.swaps.install(ref, root)
        await self._flush(th, ref, old.trans_set)
        if attachment.is_released:  # meanwhile; nobody has met the arbiter
            self.cos.swaps.install(ref, old)
            del attachment.captured[ref]
            root.is_released = True
        else:
            attachment.captured[ref] = root
        await self._leave(th, ref)
        if root.is_released:
            await self.cos.swaps.retire(th, root)

    async def _uncapture(self, th: Thread, ref: Ref, arbiter: ArbiterRoot) -> None:
        top = await self._enter(th, ref)
        above: ArbiterRoot | None = None
        while top is not arbiter and isinstance(top, ArbiterRoot):  # captured again since `release` looked
            above, top = top, top.inner
        if top is None:
            return
        if top is not arbiter or arbiter.is_released:
            await self._leave(th, ref)
            return
        if above is None:
            self.cos.swaps.install(ref, arbiter.inner)
        else:
            above.inner = arbiter.inner
        arbiter.is_released = True
        del arbiter.attachment.captured[ref]
        await self._flush(th, ref, arbiter.trans_set)
        await self._leave(th, ref)
        await self.cos.swaps.retire(th, arbiter)

    async def _enter(self, th: Thread, ref: Ref) -> MissHandler | None:
        """Begin to switch *ref*, whatever is done to it now, and return its handler; None if it is gone."""
        while True:
            try:
                return await self.cos.swaps.enter(th, ref)
            except DeletedObjectError:
                return None
            except InTransitionError:
                if self.cos.is_dying(ref):  # and its arbiters with it
                    return None
            was_active = th.generation != INACTIVE
            if was_active:  # a swap of it would wait for us
                self.cos.deactivate(th)
            await th.sleep(SPIN_CYCLES)
            if was_active:
                self.cos.activate(th)

    async def _flush(self, th: Thread, ref: Ref, vps: int) -> None:
        """Empty the local entries of *vps*: calls are to go by the new handler."""

        def flush(dispatcher: Thread) -> None:
            dispatcher.proc.ltt.pop(ref, None)

        if vps >> th.vp & 1:
            th.proc.ltt.pop(ref, None)
        for vp in processors(vps & ~(1 << th.vp)):
            await self.cos.machine.messages.send(th, vp, flush)

    async def _leave(self, th: Thread, ref: Ref) -> None:
        if self.cos.swaps.leave(ref):
            await self.cos.destroy(th, ref)
