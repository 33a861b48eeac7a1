"""All hot swaps of one object manager: what begins them, what ends them in time, and what is known of them.

`switch` refuses, and changes nothing, if the object is deleted, being destroyed or being swapped, or if its
implementation and the new one have no form of state in common. Else it returns as soon as the swap is under way;
`Swap.wait` waits for its end. So an object may have itself swapped from inside one of its methods.

A watchdog aborts the swaps that exceed their deadlines: a thread that sleeps while there are any.

K42: COSMgrObject.C (switchCObj).
Differs: K42 reads and negotiates with the old root before it has the right to switch, when another swap may still
replace it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypedDict

from k42fs.errors import DeletedObjectError, InTransitionError, NotSwappableError, RefsExhaustedError
from k42fs.ids import Ref
from k42fs.machine.layout import Kind, Layout
from k42fs.objects.captured import object_root, put_beneath
from k42fs.objects.implementations import find, kind_of, label_of
from k42fs.objects.mediator import MediatorRoot
from k42fs.objects.phases import Phase
from k42fs.objects.root import CObjRoot
from k42fs.objects.state_word import WRITING, Answer, enter_switch, exit_switch, write_complete
from k42fs.objects.swap import Swap
from k42fs.objects.swap_record import SwapRecord
from k42fs.objects.transfer import agreed_type
from k42fs.objects.translation import PAGE_SHIFT, SLOT_MASK
from k42fs.objects.workers import start_here

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.objects.cosmgr import COSMgr
    from k42fs.objects.translation import MissHandler

SPIN_CYCLES: Final = 200
"""Between two looks at a state word that makes us wait."""

RECENT: Final = 256
"""Swaps that are remembered when they are over."""

DEADLINE_US: Final = 10_000
"""How long FORWARD and BLOCK may last each, in a deterministic run."""

LIVE_DEADLINE_NS: Final = 1_000_000_000

GTE: Final = Layout("GlobalTransEntry", Kind.GLOBAL, handler=8, state=8)
SWITCH_ENTER: Final = GTE.script("mhSwitchEntry", "x:state r:handler", work=60)
SWITCH_WRITE: Final = GTE.script("mhWriteComplete", "w:handler x:state", work=30)


class SwapStatistics(TypedDict):
    """Counts since the manager was made."""

    started: int
    completed: int
    aborted: int
    refused: int
    under_way: int


class Swaps:
    """The swaps of one address space.

    `inside`: for every chain of calls, how often it is inside objects under swap. `waiting`: the swap that a
    chain waits for. `deadline`: the usual one, in cycles, live in nanoseconds.
    """

    def __init__(self, cos: COSMgr) -> None:
        self.cos = cos
        machine = cos.machine
        self.deadline = LIVE_DEADLINE_NS if machine.live else DEADLINE_US * machine.config.mhz
        self.under_way: dict[Swap, None] = {}
        self.recent: deque[SwapRecord] = deque(maxlen=RECENT)
        self.inside: dict[int, int] = {}
        self.waiting: dict[int, Swap] = {}
        self.started = self.completed = self.aborted = self.refused = 0
        self._watched_until: int | None = None
        self.to_retire: deque[CObjRoot] = deque()  # for which there was no ref

    async def switch(
        self,
        th: Thread,
        ref: Ref,
        new: CObjRoot,
        deadline: int | None = None,
        callback: Callable[[Swap], object] | None = None,
    ) -> Swap:
        """Begin to replace the object behind *ref* by *new*, which was built on this ref. Waits for misses only.

        *callback* is called once, when the swap is done, by whoever ends it.

        Raises: nothing has changed then, and *new* will be destroyed:
            DeletedObjectError: there is no object.
            InTransitionError: it is being swapped or destroyed.
            NotSwappableError: the two implementations have no form of state in common.
        """
        assert new.ref == ref, f"{new.label()} was not built on ref {ref}"
        try:
            old = object_root(await self.enter(th, ref))
        except Exception:
            self.refused += 1
            await self.retire(th, new)
            raise
        form = agreed_type(old.exports, new.imports) if isinstance(old, CObjRoot) else None
        if form is None or not isinstance(old, CObjRoot):
            self.refused += 1
            if self.leave(ref):
                await self.cos.destroy(th, ref)
            await self.retire(th, new)
            raise NotSwappableError(f"{label_of(old)} has no form of state that {new.label()} can take")
        if th.machine.live:  # clocks run apart, but who switches an entry comes after who switched it before
            th.proc.idle_until(
                max((past.ended_cycles + 1 for past in self.recent if past.ref == ref), default=0)
            )
        limit = self.deadline if deadline is None else deadline
        swap = Swap(self, th, old, new, form, limit, callback)
        self.started += 1
        if th.proc.on.clust_obj:
            th.proc.emit.clust_obj_swap_start(ref)
        if swap.vps:
            mediator = MediatorRoot(swap, th.vp)
            self.replace(ref, mediator)
            await th.touch(SWITCH_WRITE, self.cos.table.entry_addr(ref))
            self._let_misses_go_on(ref)
            await swap.begin(th, mediator)
        else:
            await swap.move_untouched(th)
        return swap

    async def swap_to(
        self,
        th: Thread,
        ref: Ref,
        name: str,
        deadline: int | None = None,
        callback: Callable[[Swap], object] | None = None,
    ) -> Swap:
        """Begin to replace the implementation of the object behind *ref* by the one named *name*.

        Raises: UnknownImplementationError, and what `switch` raises.
        """
        old = self.settled_root(ref)
        kind = kind_of(old)
        if not kind:
            raise NotSwappableError(f"{label_of(old)} has no other implementations")
        new = find(kind, name).make(self.cos, th, old)
        return await self.switch(th, ref, new, deadline=deadline, callback=callback)

    def settled_root(self, ref: Ref) -> MissHandler:
        """Return the root of the object behind *ref*, whatever arbiters stand before it.

        Raises:
            DeletedObjectError: there is none, or it is being destroyed.
            InTransitionError: it is being swapped.
        """
        root = object_root(self.cos.root_at(ref))
        if root is None or self.cos.is_dying(ref):
            raise DeletedObjectError(f"the object behind ref {ref} is deleted")
        if isinstance(root, MediatorRoot):
            raise InTransitionError(f"{root.swap.record.label} is being swapped")
        return root

    def would_wait_for_itself(self, chain: int, swap: Swap) -> bool:
        """Say whether *swap* waits for *chain*, because it is inside, or for chains that wait for such a swap."""
        seen: set[Swap] = set()
        todo = [swap]
        while todo:
            each = todo.pop()
            if chain in each.calls.chains:
                return True
            if each not in seen:
                seen.add(each)
                todo.extend(self.waiting[other] for other in each.calls.chains if other in self.waiting)
        return False

    def statistics(self) -> SwapStatistics:
        """Return the counts, ready for JSON."""
        return {
            "started": self.started,
            "completed": self.completed,
            "aborted": self.aborted,
            "refused": self.refused,
            "under_way": len(self.under_way),
        }

    # For swaps

    def now(self, th: Thread) -> int:
        """Return the time by which deadlines are kept."""
        machine = self.cos.machine
        return machine.wall_clock_ns() if machine.live else th.proc.clock

    def install(self, ref: Ref, root: MissHandler) -> None:
        """Make *root* the handler of *ref*, whose entry is switching."""
        self.cos.table.pages[ref >> PAGE_SHIFT].handlers[ref & SLOT_MASK] = root

    def replace(self, ref: Ref, root: CObjRoot) -> None:
        """Make *root* what stands behind *ref*, under its arbiters if it has some."""
        if not put_beneath(self.cos.root_at(ref), root):
            self.install(ref, root)

    def leave(self, ref: Ref) -> bool:
        """End the switching of *ref*; say whether a destroy is owed."""
        self._let_misses_go_on(ref)
        page, slot = self.cos.table.pages[ref >> PAGE_SHIFT], ref & SLOT_MASK
        answer, page.words[slot] = exit_switch(page.words[slot])
        return answer is Answer.PENDING

    def _let_misses_go_on(self, ref: Ref) -> None:
        page, slot = self.cos.table.pages[ref >> PAGE_SHIFT], ref & SLOT_MASK
        if page.words[slot] & WRITING:
            page.words[slot] = write_complete(page.words[slot])

    async def retire(self, th: Thread, root: CObjRoot) -> None:
        """Destroy *root*, which is in no entry, when nobody can be using it; later, if there is no ref for it now."""
        self.to_retire.append(root)
        await self.retire_rest(th)

    async def retire_rest(self, th: Thread) -> None:
        """Destroy the roots that no ref was found for, as far as there are refs by now."""
        while self.to_retire:
            first = self.to_retire.popleft()
            try:
                await self.cos.bury(th, first)
            except RefsExhaustedError:
                self.to_retire.append(first)
                return

    def ended(self, th: Thread, swap: Swap) -> None:
        """*swap* is done."""
        del self.under_way[swap]
        self.recent.append(swap.record)
        if swap.phase is Phase.COMPLETED:
            self.completed += 1
        else:
            self.aborted += 1
        if th.proc.on.clust_obj:
            th.proc.emit.clust_obj_swap_done(swap.ref)

    async def expire(self, th: Thread) -> None:
        """Abort the swaps that are overdue."""
        for swap in [swap for swap in self.under_way if swap.is_overdue(th)]:
            await swap.expire(th)

    async def enter(self, th: Thread, ref: Ref) -> MissHandler:
        """Begin to switch *ref*: no miss is in progress until `leave`; return its handler.

        Raises: DeletedObjectError: there is none. InTransitionError: it is being swapped or destroyed.
        """
        page, slot = self.cos.table.pages.get(ref >> PAGE_SHIFT), ref & SLOT_MASK
        if page is not None:
            await th.touch(SWITCH_ENTER, self.cos.table.entry_addr(ref))
        while page is not None and (root := page.handlers[slot]) is not None:
            answer, page.words[slot] = enter_switch(page.words[slot])
            if answer is Answer.GRANTED:
                return root
            if answer is Answer.REFUSED:
                raise InTransitionError(f"{label_of(root)} is being swapped or destroyed")
            await th.sleep(SPIN_CYCLES)
        raise DeletedObjectError(f"the object behind ref {ref} is deleted")

    # Deadlines

    def watch(self, th: Thread, swap: Swap) -> None:
        """See to it that somebody looks after *swap*, which begins, when it is due."""
        self.under_way[swap] = None
        until = self._watched_until
        if th.machine.can_sleep and (until is None or swap.due < until):
            start_here(th.machine, th, self._watchdog, "swap watchdog", daemon=True)

    async def _watchdog(self, th: Thread) -> None:
        machine = th.machine
        while due := [swap.due for swap in self.under_way if not swap.is_over]:
            self._watched_until = first = min(due)
            left = first - self.now(th)
            if left > 0:
                await th.sleep(left * machine.config.mhz // 1000 + 1 if machine.live else left)
            await self.expire(th)
        self._watched_until = None
