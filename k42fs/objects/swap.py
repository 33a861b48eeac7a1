"""One hot swap: another implementation takes an object's place while it is in use.

The ref stays, clients notice nothing but time. `switch` (swaps.py) has refused what must be refused and put the
mediator (mediator.py) in the global entry; from there on:

1. FORWARD. A *worker* on each processor that may have called the object flushes the local entry, so that new
   calls meet the mediator and are counted, and waits until every thread that was active there has left: then no
   uncounted call is inside. The last worker to find that begins
2. BLOCK on all processors. New calls wait. Once the last counted call has left, be it seen by that worker or by
   that call's epilog, state moves: each worker exports and imports its processor's part, all in parallel; or one
   of them the whole, if the form is canonical.
3. The last worker to finish commits: COMPLETED, the new root is in the global entry. Each worker flushes its
   local entry again and wakes its processor's callers, who take an ordinary miss. The last of them ends the swap:
   a destroy that came meanwhile is done now, on the new object, and the old root and the mediator go the way
   of destroyed objects, under refs of their own.

A worker whose processor has no call in the meantime and no part of the state ends with step 1. A processor that
calls the object during the swap and has no worker gets one for the steps from 2 on.

**Abort.** If moving state fails, or FORWARD or BLOCK last longer than the deadline, the old root is put back, all
callers are woken and find it as it was; the new one is destroyed. So a method that never returns delays the others
no longer than that. A worker that is stuck in export or import is not waited for: the new root goes when it ends.

K42: lib/libc/cobj/CObjRootMediator.C.
Differs: K42 has no abort. Its returning call that finds the state free to move never gives phaseLock back; a destroy
during a swap waits for misses that wait for it; the destroyed old root loses all but one rep; mediators leak. A new
switch is refused until the last worker is done, not only until the new root is in place. K42 can let the old root live
on, under a ref of its own or none: nobody here has a use for that.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import EIO
from functools import partial
from typing import TYPE_CHECKING

from k42fs.errors import InTransitionError, K42Error, SwapAbortedError
from k42fs.ids import VP
from k42fs.objects.generations import INACTIVE
from k42fs.objects.implementations import implementation_name, kind_of, label_of
from k42fs.objects.mediator import COMMIT, DRAINED, END, FLUSH, MediatedCalls, MediatorRoot
from k42fs.objects.phases import OVER, Event, Phase, after
from k42fs.objects.root import CObjRoot, processors
from k42fs.objects.swap_record import SwapRecord
from k42fs.objects.transfer import PARTITIONED, TransferType
from k42fs.objects.translation import ENTRY_BYTES
from k42fs.objects.workers import start_here, start_on

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.objects.cosmgr import COSMgr
    from k42fs.objects.swaps import Swaps


class Swap:
    """A swap under way, or over. `phase` says how far it is; `record` stays when the swap is forgotten.

    `due`: when the present phase has lasted too long, in cycles, live in nanoseconds.
    """

    def __init__(
        self,
        swaps: Swaps,
        th: Thread,
        old: CObjRoot,
        new: CObjRoot,
        form: TransferType,
        deadline: int,
        callback: Callable[[Swap], object] | None,
    ) -> None:
        self.swaps = swaps
        self.cos: COSMgr = swaps.cos
        self.ref = old.ref
        self.old = old
        self.new = new
        self.form = form
        self.phase = Phase.NORMAL
        self.is_moving = False
        self.is_done = False
        self.error: SwapAbortedError | None = None
        self.calls = MediatedCalls(swaps.inside)
        self.vps = old.trans_set
        self.deadline = deadline
        self.due = swaps.now(th) + deadline
        self.record = SwapRecord(
            self.ref, kind_of(old), label_of(old), implementation_name(old), implementation_name(new),
            "normal", th.proc.clock, swaps.cos.machine.wall_clock_ns(),
        )  # fmt: skip
        self._callback = callback
        self._mediator: MediatorRoot | None = None
        self._workers: dict[VP, Thread] = {}
        self._uncounted = self.vps.bit_count()  # workers that still wait for calls that nobody counts
        self._staffed = set(processors(self.vps))  # where a worker has to end before the swap does
        self._mediating: set[VP] = set()  # where a mediator may be in the entry
        self._movers = 0  # where state moves
        self._to_move = 0  # workers whose part has not moved yet
        self._inside: set[VP] = set()  # where export or import runs
        self._stuck: set[VP] = set()  # where it ran when the swap was aborted
        self._is_ending = False
        self._waiters: dict[Thread, None] = {}
        self._failure: Exception | None = None
        self._fault: Exception | None = None  # what `committed` raised, which it must not

    @property
    def state(self) -> str:
        """The phase, in a word."""
        return self.phase.name.lower()

    @property
    def reason(self) -> str:
        """Why it was aborted."""
        return self.record.reason

    @property
    def is_over(self) -> bool:
        """Whether it is decided which implementation stays."""
        return self.phase in OVER

    @property
    def current(self) -> CObjRoot:
        """The root that the object has for now."""
        return self.new if self.phase is Phase.COMPLETED else self.old

    async def wait(self, th: Thread) -> None:
        """Wait until the swap is done. *th* must not be inside the object, nor hold locks.

        Raises:
            SwapAbortedError: the old implementation is back.
            InTransitionError: the swap waits, perhaps by way of others, for the very call that would wait.
        """
        assert not th.held, f"{th!r} waits for a swap while it holds {th.held!r}"
        swaps = self.swaps
        if swaps.would_wait_for_itself(th.chain, self):
            raise InTransitionError(
                f"the swap of {self.record.label} waits for the call that would wait for it"
            )
        was_active = th.generation != INACTIVE
        if was_active:
            self.cos.deactivate(th)
        self._waiters[th] = None
        swaps.waiting[th.chain] = self
        try:
            if th.machine.live:
                th.machine.let_others_run()
            while not self.is_done:
                await th.block()
        finally:
            del self._waiters[th], swaps.waiting[th.chain]
            if was_active:
                self.cos.activate(th)
        if self.error is not None:
            raise self.error

    # Start

    async def begin(self, th: Thread, mediator: MediatorRoot) -> None:
        """Start the workers. The mediator is in place."""
        self._mediator = mediator
        self._enter(th, Event.MEDIATOR_INSTALLED)
        self.swaps.watch(th, self)
        for vp in list(processors(self.vps)):
            await start_on(self.cos.machine, th, vp, partial(self._work, is_full=True), "swap worker")
        if th.machine.live:
            th.machine.let_others_run()

    async def move_untouched(self, th: Thread) -> None:
        """Do it all at once, on *th*: nobody ever called the object. Who would do so now waits for the miss."""
        self.vps = self._movers = 1 << th.vp
        self.is_moving = True
        self._inside.add(th.vp)
        self.swaps.watch(th, self)
        await self._export_and_import(th)
        self._inside.remove(th.vp)
        if self.is_over:  # it took too long
            self._stuck.remove(th.vp)
            await self._drop_new(th)
            return
        if self._failure is None:
            self._commit(th)
        else:
            self._give_up(th, self._failure)
        await self._end(th)

    def take_part(self, th: Thread) -> None:
        """A mediator will be in *th*'s processor's entry: somebody must flush it. State does not move yet."""
        vp = th.vp
        self._mediating.add(vp)
        if vp not in self._staffed:
            self.vps |= 1 << vp
            self._staffed.add(vp)
            start_here(self.cos.machine, th, partial(self._work, is_full=False), "partial swap worker")

    def call_left(self, by: Thread) -> None:
        """A call has left: if it was the last one that is counted, state may move."""
        if self.phase is not Phase.BLOCK or self.calls.count or self.is_moving:
            return
        self.is_moving = True
        if self.form in PARTITIONED:
            self._movers = self.vps
        elif self._workers.get(by.vp) is by:
            self._movers = 1 << by.vp
        else:
            self._movers = 1 << min(self._staffed)
        self._to_move = self._movers.bit_count()
        self._wake_workers(by)

    # Workers

    async def _work(self, th: Thread, is_full: bool) -> None:
        mediator, vp = self._mediator, th.vp
        assert mediator is not None
        self._workers[vp] = th
        if is_full and not self.is_over:
            await self._await_uncounted(th, mediator)
        # A worker with no part of the state and no entry to flush does not stay.
        while not self.is_moving and not self.is_over and (self.form in PARTITIONED or vp in self._mediating):
            await th.block()
        if self._movers >> vp & 1 and not self.is_over:
            await self._move(th, mediator)
        while not self.is_over and vp in self._mediating:
            await th.block()
        if vp in self._mediating:
            await th.touch(END, mediator.addr, th.proc.ltt_base + ENTRY_BYTES * self.ref)
            th.proc.ltt.pop(self.ref, None)
            self.calls.release(th, vp)
        del self._workers[vp]
        if vp in self._stuck:
            self._stuck.remove(vp)
            await self._drop_new(th)
            return
        self._staffed.remove(vp)
        if not self._staffed:
            await self._end(th)

    async def _await_uncounted(self, th: Thread, mediator: MediatorRoot) -> None:
        """Redirect new calls, and wait until those that came before are gone. The last worker begins BLOCK."""
        generations = self.cos.generations(th.vp)
        await th.touch(FLUSH, mediator.addr, th.proc.ltt_base + ENTRY_BYTES * self.ref)
        th.proc.ltt.pop(self.ref, None)
        marker = generations.marker()
        generations.update()
        if not generations.elapsed(marker):
            with generations.watched(th):
                while not self.is_over and not generations.elapsed(marker):
                    await th.block()
                    generations.update()
        await th.touch(DRAINED, mediator.addr)
        if self.is_over:
            return
        self._uncounted -= 1
        if not self._uncounted:
            self._enter(th, Event.UNCOUNTED_LEFT)
            self.due = self.swaps.now(th) + self.deadline
            self.call_left(th)

    async def _move(self, th: Thread, mediator: MediatorRoot) -> None:
        """Move this processor's part of the state. The last worker decides which implementation stays."""
        self._inside.add(th.vp)
        await self._export_and_import(th)
        self._inside.remove(th.vp)
        self._to_move -= 1
        if self.is_over or self._to_move:
            return
        if self._failure is not None:
            await self.abort(th, self._failure)
            return
        await th.touch(COMMIT, mediator.addr, self.cos.table.entry_addr(self.ref))
        if not self.is_over:
            self._commit(th)
            self._wake_workers(th)

    async def _export_and_import(self, th: Thread) -> None:
        was_inactive = th.generation == INACTIVE
        if was_inactive:
            self.cos.activate(th)
        try:
            state = await self.old.export_state(th, self.form, self._movers)
            await self.new.import_state(th, state, self.form, self._movers)
        except Exception as exc:
            self._failure = self._failure or exc
        finally:
            if was_inactive:
                self.cos.deactivate(th)

    # End

    def _commit(self, th: Thread) -> None:
        for root in (self.old, self.new):
            try:
                root.committed(th)
            except Exception as exc:  # the state has moved, and callers must not wait for ever
                self._fault = self._fault or exc
                self.record.reason = f"committed: {exc!r}"
        self.swaps.replace(self.ref, self.new)
        self._enter(th, Event.STATE_MOVED)

    async def abort(self, th: Thread, failure: Exception) -> None:
        """Put the old implementation back, unless the other one is in place already."""
        if self.is_over:
            return
        self._stuck = set(self._inside)
        self._staffed -= self._stuck
        self._give_up(th, failure)
        self._wake_workers(th)
        self.calls.release(th)
        if not self._staffed:
            await self._end(th)

    def _give_up(self, th: Thread, failure: Exception) -> None:
        self.swaps.replace(self.ref, self.old)
        self._enter(th, Event.FAILED)
        errno = failure.errno if isinstance(failure, K42Error) else EIO
        self.record.reason = str(failure) if isinstance(failure, K42Error) else repr(failure)
        self.error = SwapAbortedError(f"{self.record.label}: {self.record.reason}", errno)
        if not isinstance(failure, K42Error):
            self.error.__cause__ = failure  # our bug, or the implementation's: keep the traceback

    async def _end(self, th: Thread) -> None:
        """Every worker has ended that is waited for: let the next swap or a pending destroy begin.

        Raises: at last, what `committed` raised: a bug, but the swap is done.
        """
        self._is_ending = True
        self._follow(th)
        self.calls.release(th)  # those of processors that came too late to have a worker
        is_destroy_owed = self.swaps.leave(self.ref)
        if self.phase is Phase.ABORTED:
            await self._drop_new(th)
        else:
            await self.swaps.retire(th, self.old)
        if self._mediator is not None:
            if self._mediator.trans_set:
                await self.swaps.retire(th, self._mediator)
            else:  # no call has met it
                self._mediator.release_memory(th)
        if is_destroy_owed:
            await self.cos.destroy(th, self.ref)
        record = self.record
        record.processors = list(processors(self.vps))
        record.ended_cycles, record.ended_ns = th.proc.clock, th.machine.wall_clock_ns()
        self.is_done = True
        self.swaps.ended(th, self)
        for waiter in self._waiters:
            th.unblock(waiter)
        if self._callback is not None:
            self._callback(self)
        if self._fault is not None:
            raise self._fault

    async def _drop_new(self, th: Thread) -> None:
        """Destroy the new root, once the swap is over and nobody is inside it any more."""
        if self._is_ending and not self._stuck:
            await self.swaps.retire(th, self.new)

    def is_overdue(self, th: Thread) -> bool:
        """Whether the present phase has lasted too long."""
        return not self.is_over and self.swaps.now(th) >= self.due

    async def expire(self, th: Thread) -> None:
        """Abort it, as it is overdue."""
        await self.abort(th, SwapAbortedError(self._what_holds_it()))

    def _what_holds_it(self) -> str:
        if self.phase is Phase.FORWARD:
            held = [vp for vp in processors(self.vps) if self.cos.generations(vp).active]
            return f"threads that were active when it began have not left processor(s) {held}"
        if self.is_moving:
            return f"export or import has not ended on processor(s) {sorted(self._inside)}"
        return f"{self.calls.count} call(s) inside have not returned"

    def _wake_workers(self, by: Thread) -> None:
        for th in self._workers.values():
            if th is not by:
                by.unblock(th)

    def _follow(self, th: Thread) -> None:
        """Let *th*, who has seen how far the swap is, not be earlier than that. Live, clocks run apart."""
        if th.machine.live and self.record.phases:
            th.proc.idle_until(self.record.phases[-1][1] + 1)

    def _enter(self, th: Thread, event: Event) -> None:
        self._follow(th)
        self.phase = after(self.phase, event)
        self.record.state = self.state
        self.record.phases.append((self.state, th.proc.clock))
        if th.proc.on.clust_obj:
            th.proc.emit.clust_obj_swap_phase(self.ref, self.phase, th.vp)
