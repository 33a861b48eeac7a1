"""What spin locks have in common: algorithms as references, run in turn or at once.

An algorithm is written once, as a generator: ``yield RMW, addr`` is charged, then the generator goes on and
changes what the words hold. ``yield PARK, addr`` spins on this processor's copy of a line that it has just
read. In a deterministic run every reference waits for its turn in virtual time. Live, the references of an
operation follow each other at once, and one that finds the lock really held is parked.

Spin locks have the interface of `FairBLock` and can stand in for it. `release` never waits: what it does
ahead of its turn holds from its own time on. `release_in_turn` is exact, for experiments.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Generator
from typing import Final

from k42fs.machine.exclusive_lock import ExclusiveLock
from k42fs.machine.layout import WORD_BYTES
from k42fs.machine.lock_trace import SPIN, granted, holder_of, released
from k42fs.machine.thread import Thread

PARK: Final = 3
"""In place of READ, WRITE, RMW: spin until the copy that was just read is taken away."""

Steps = Generator[tuple[int, int], None, None]


class SpinLock(ExclusiveLock):
    """A lock whose waiters keep their processors. The algorithm is in `_acquiring` and `_releasing`."""

    __slots__ = ("_ahead_until", "_queue")

    blocks = False

    def _prepare(self) -> None:
        self.holder = None
        self._ahead_until = 0  # a release that did not wait for its turn was over then
        self._queue: deque[Thread] = deque()  # live, or where no lines are modelled

    def acquire(self, th: Thread) -> Awaitable[None]:
        """Take the lock, spinning until it is there. Raises AssertionError on a breach of rank."""
        if th.held:
            self._check_rank(th)
        return self._acquire_slowly(th)

    def try_acquire(self, th: Thread) -> bool:
        """Take the lock if that needs no waiting; say whether it did."""
        if th.held:
            self._check_rank(th)
        if self.holder is not None or self._has_waiters() or self._is_held_by_clock(th):
            return False
        last = self.last_vp
        waited = 0
        if th.level > 1:
            if self.machine.live:
                waited = self._wait_by_clock(th)
            self._at_once(th, self._acquiring(th))
        self._have(th, waited, last)
        return True

    def release(self, th: Thread) -> None:
        """Give the lock up, without waiting for one's turn in virtual time."""
        self._leave_holder(th)
        if th.level > 1:
            is_ahead = th.proc.clock > self.machine.limit
            self._at_once(th, self._releasing(th))
            if is_ahead:
                self._ahead_until = th.proc.clock
            self._leave(th.proc.clock)
        if th.proc.on.lock:
            released(self, th, th.proc.clock - self._granted)
        self._hand_on(th)

    async def release_in_turn(self, th: Thread) -> None:
        """Give the lock up, each reference in its turn."""
        assert th.level > 1, "only references that are charged have a turn"
        self._leave_holder(th)
        await self._in_turn(th, self._releasing(th))
        self._leave(th.proc.clock)
        if th.proc.on.lock:
            released(self, th, th.proc.clock - self._granted)

    def _acquiring(self, th: Thread) -> Steps:
        raise NotImplementedError

    def _releasing(self, th: Thread) -> Steps:
        raise NotImplementedError

    def _has_waiters(self) -> bool:
        """Say whether somebody is on the way to having the lock, though nobody has it."""
        return False

    def _abandon(self, th: Thread) -> None:
        """*th* dies while it waits: leave no trace of it."""

    def _acquire_slowly(self, th: Thread) -> Awaitable[None]:
        if th.level > 1 and not self.machine.live:
            return self._acquire_in_turn(th)
        return self._acquire_queued(th)

    async def _acquire_in_turn(self, th: Thread) -> None:
        machine, proc = self.machine, th.proc
        while proc.clock > machine.limit:
            await th.pause
        arrival, holder = proc.clock, holder_of(self)
        was_held = self.holder is not None or self._has_waiters()
        if was_held:
            th.waiting_for = self
            self._check_cycle(th)
        try:
            await self._in_turn(th, self._acquiring(th))
        except BaseException:
            self._abandon(th)
            raise
        finally:
            th.waiting_for = None
        if proc.clock < self._ahead_until:
            proc.spin_until(self._ahead_until)
            was_held = True
        waited = proc.clock - arrival if was_held else 0
        if was_held:
            self._note_wait(waited)
        self._have(th, waited, self.last_vp, holder)

    async def _acquire_queued(self, th: Thread) -> None:
        """Take the lock, or wait in line for its real holder: live, or where no lines are modelled."""
        proc, arrival = th.proc, th.proc.clock
        last, holder, waited = self.last_vp, holder_of(self), 0
        was_held = self.holder is not None
        if was_held:
            self._queue.append(th)
            try:
                await self._park(th)
            except BaseException:
                th.waiting_for = None
                if self.holder is th:
                    self._hand_on(th)
                else:
                    self._queue.remove(th)
                raise
        elif th.level > 1:
            waited = self._wait_by_clock(th)
        if th.level > 1:
            self._at_once(th, self._acquiring(th))
        if was_held and th.level:
            waited = proc.clock - arrival
            self._note_wait(waited)
        self._have(th, waited, last, holder if was_held else None)

    def _wait_by_clock(self, th: Thread) -> int:
        """Wait for those who had the free lock at th's time; return how long."""
        start = self._enter(th)
        if waited := start - th.proc.clock:
            self._note_wait(waited)
            th.proc.spin_until(start)
        return waited

    def _hand_on(self, th: Thread) -> None:
        """Give the lock, which *th* has or was to have, to the first in line if there is one."""
        self.holder = None
        if self._queue:
            self.holder = heir = self._queue.popleft()
            heir.waiting_for = None
            self.machine.grant(th, heir)

    def _have(self, th: Thread, waited: int, last: int, holder: int | None = None) -> None:
        """Enter *th* as the holder, after *waited* cycles; *last* had it before."""
        if th.level == 1:
            self.machine.lock_calls[self.kind, self.name] += 1
        self.acquisitions += 1
        self.holder = th
        self.last_vp = th.vp
        if not self.machine.live:
            self._start = th.proc.clock
        self._granted = th.proc.clock
        th.held.append(self)
        if th.proc.on.lock:
            granted(self, th, SPIN, waited, last, 0, holder)

    def _leave_holder(self, th: Thread) -> None:
        if self.holder is not th:
            self._check_holder(th)
        th.held.remove(self)
        self.holder = None

    async def _in_turn(self, th: Thread, steps: Steps) -> None:
        """Do *steps*, each reference when no other processor is earlier.

        Also one that hits: a hit on a line that others want must not be done before they had it taken away.
        """
        machine, proc, access = self.machine, th.proc, self.machine.core.access
        for code, addr in steps:
            if code == PARK:
                await machine.watchers.wait_line(th, addr)
                continue
            while proc.clock > machine.limit:
                await th.pause
            proc.clock = access(th.vp, code, addr, WORD_BYTES, proc.clock)

    def _at_once(self, th: Thread, steps: Steps) -> None:
        """Do *steps* one after the other, whatever others do meanwhile. They end where they would park."""
        proc, access = th.proc, self.machine.core.access
        for code, addr in steps:
            if code == PARK:
                steps.close()
                return
            proc.clock = access(th.vp, code, addr, WORD_BYTES, proc.clock)
