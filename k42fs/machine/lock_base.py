"""What all locks share: rank checks, their place in virtual time, statistics.

A lock is real and timed. Real: a holder and a FIFO of waiting threads; nobody enters while the holder has
not released, whatever the clocks say. Timed: a list of recent holdings [start, end). An acquirer that finds
the lock free may still come, by its clock, while an earlier holder had it: it then waits in virtual time
only, for the first gap that is long enough for a holding of this lock's usual length.

Ranks: a thread takes locks in ascending rank; two of one rank in ascending address. Rank 0 is outside the
order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k42fs.machine.history import Reservations
from k42fs.machine.lock_trace import NO_VP, LockTrace
from k42fs.machine.thread import BLOCKED, SPINNING, Thread
from k42fs.machine.trace import LOCK_WAIT

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine

CONTENDED: Final = 0.45
"""Share of a live lock's acquisitions that had to wait, above which callers who are behind are left room."""

USERS_KEPT: Final = 64
"""Acquisitions after which a live lock forgets who used it."""


class DeadlockError(RuntimeError):
    """Threads wait for each other. Our bug: the text names threads and locks."""


class LockBase:
    """A lock's identity, statistics and holdings. *owner* may have `label()`; else the memory knows who is
    at *addr*.

    `spans_calls`: it may be held while its holder calls another object (documented pair by pair where it is
    made). `waited_cycles` and `max_wait` count waiting, hand-off included; `held_cycles` the time from grant
    to release.
    """

    __slots__ = (
        "__weakref__",
        "_granted",
        "_history",
        "_other_vp",
        "_start",
        "_users",
        "acquisitions",
        "addr",
        "contentions",
        "free_at",
        "held_cycles",
        "last_vp",
        "machine",
        "max_wait",
        "name",
        "owner",
        "rank",
        "spans_calls",
        "trace",
        "waited_cycles",
    )

    kind = "lock"
    blocks = True
    """A waiter blocks after a while, so that others of its processor can run. Else it spins for ever."""

    def __init__(
        self,
        machine: Machine,
        addr: int,
        rank: int = 0,
        name: str = "lock",
        owner: object = None,
        spans_calls: bool = False,
    ) -> None:
        self.machine = machine
        self.addr = addr
        self.rank = rank
        self.name = name
        self.owner = owner
        self.spans_calls = spans_calls
        self.acquisitions = 0
        self.contentions = 0
        self.waited_cycles = 0
        self.held_cycles = 0
        self.max_wait = 0
        self.last_vp = NO_VP
        self.free_at = 0
        self._start = 0  # of the present holding: when nobody else can have the lock any more,
        self._granted = 0  # and when the holder really has it, the hand-off being over
        self._history: Reservations | None = None
        self._other_vp = NO_VP  # who had it last before `last_vp`
        self._users = 0  # live: processors that had it lately
        self.trace: LockTrace | None = None  # what a recording is to know of it, from its first event on
        self._prepare()

    def _prepare(self) -> None:
        """Set what a kind of lock has of its own. A hook, so that no kind repeats the constructor."""

    def __del__(self) -> None:
        if self.contentions:
            self.machine.contended.fold(self)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.label()}.{self.name} at {self.addr:#x}>"

    @property
    def late(self) -> int:
        """Acquisitions that came before what this lock remembers."""
        return self._history.late if self._history else 0

    def label(self) -> str:
        """Name the object this lock belongs to."""
        label = getattr(self.owner, "label", None)
        return str(label()) if label else self.machine.memory.describe(self.addr)[0]

    def holders(self) -> tuple[Thread, ...]:
        """Return the threads that have it now."""
        raise NotImplementedError

    def reset_statistics(self) -> None:
        self.acquisitions = self.contentions = self.waited_cycles = self.held_cycles = self.max_wait = 0

    def _check_rank(self, th: Thread) -> None:
        rank = self.rank
        for other in th.held:
            if other is self:
                raise AssertionError(f"{th!r} acquires {self!r}, which it holds")
            if (
                rank
                and other.rank
                and (other.rank > rank or (other.rank == rank and other.addr >= self.addr))
            ):
                raise AssertionError(
                    f"{th!r} acquires {self!r} of rank {rank} while it holds {other!r} of rank {other.rank}"
                )

    def _note_wait(self, cycles: int) -> None:
        if not self.contentions:
            self.machine.contended.add(self)
        self.contentions += 1
        self.waited_cycles += cycles
        self.max_wait = max(self.max_wait, cycles)

    def _enter(self, th: Thread) -> int:
        """Find th's place in virtual time for a lock that is free in fact; return when it has the lock.

        If that is later than th's clock, the caller notes the wait, and lets the clock reach that time.
        """
        now, machine = th.proc.clock, self.machine
        if self._history is None and self.last_vp not in (th.vp, NO_VP):
            # A second processor: from now on clocks may come out of order. One's own clock never does.
            self._history = Reservations(machine.config.history)
            if self.free_at > self._start:
                self._history.add(self._start, self.free_at)
        self._start = now
        if self._history is not None:
            ahead = self._ahead_of(th) if machine.live and machine.pace.hot else 0
            if ahead or now < self.free_at:
                now = self._wait_in_past(th, self._history, ahead)
        if self.last_vp != th.vp:
            self._other_vp = self.last_vp
            self.last_vp = th.vp
        self._granted = now
        return now

    def _is_held_by_clock(self, th: Thread) -> bool:
        """Say whether the lock, free in fact, is still some earlier holder's at th's time."""
        now = th.proc.clock
        if th.level < 2 or now >= self.free_at or self.last_vp in (th.vp, NO_VP):
            return False
        return self._start <= now if self._history is None else self._history.fit(now, 1) > now

    def _ahead_of(self, th: Thread) -> int:
        """Return how many others th leaves behind in virtual time that will want this lock before th's time.

        The host may bring several of th's operations before one of theirs (its kernel lets one at a time into
        a directory). Where many have to wait, each of those is left a holding's room, which it takes when it
        comes: its clock says that it was in line before th.
        """
        if self.acquisitions % USERS_KEPT == 0:
            self._users = 0
        self._users |= 1 << th.vp
        if self.contentions <= CONTENDED * self.acquisitions:
            return 0
        return self.machine.pace.behind(th, self._users)

    def _wait_in_past(self, th: Thread, history: Reservations, ahead: int = 0) -> int:
        """Take the first gap from th's clock on; return when the hand-off is over. What lies before the
        history is skipped, but is no waiting. Room is left for *ahead* others.
        """
        machine, proc = self.machine, th.proc
        proc.idle_until(history.clamp(proc.clock))
        arrival = proc.clock
        usual = self.held_cycles // self.acquisitions if self.acquisitions else 0
        self._start = history.fit(arrival, usual)
        if self._start == arrival and not ahead:
            return arrival
        waited = self._start - arrival
        # Who brought the last holding is not always whose holding th waits for: th's own is never in its way.
        giver = self.last_vp
        if giver == th.vp and self._other_vp != NO_VP:
            giver = self._other_vp
        if ahead:
            waited += ahead * (usual + machine.hand_off_cycles(giver, th.vp, self.addr))
        hand_off = machine.hand_offs.cycles(giver, th.vp, self.addr, waited, self.blocks)
        self._start = history.fit(arrival + ahead * (usual + hand_off), usual + hand_off)
        proc.ring.append((arrival, LOCK_WAIT, self.addr))
        return self._start + hand_off

    def _leave(self, end: int) -> None:
        """Book the holding that ends at *end*."""
        self.held_cycles += end - self._granted
        if self._history is not None:
            self._history.add(self._start, end)
        if end > self.free_at:
            self.free_at = end

    async def _park(self, th: Thread) -> None:
        """Wait until a releaser grants the lock; `th.granted_at` is then when. The caller has queued *th*."""
        machine, proc = self.machine, th.proc
        proc.ring.append((proc.clock, LOCK_WAIT, self.addr))
        th.waiting_for = self
        th.granted_at = -1
        self._check_cycle(th)
        th.state = BLOCKED if machine.live else SPINNING
        await th.pause

    def _check_cycle(self, th: Thread) -> None:
        """Raise DeadlockError if some holder waits, perhaps through others, for a lock that *th* holds.

        In a deterministic run a holder also waits while another thread spins on its processor, and keeps it.
        """
        seen: list[LockBase] = [self]
        links = [f"{th!r} waits for {self!r}"]
        for lock in seen:
            for holder in lock.holders():
                waiter = self._who_waits(holder)
                wanted = waiter.waiting_for
                if wanted is None or (wanted in seen and waiter is not th) or holder is th:
                    continue
                seen.append(wanted)
                links.append(
                    f"{holder!r} holds {lock!r} and waits for {wanted!r}"
                    if waiter is holder
                    else f"{holder!r} holds {lock!r} and cannot run while {waiter!r} spins for {wanted!r}"
                )
                if waiter is th or th in wanted.holders():
                    raise DeadlockError("; ".join(links))

    def _who_waits(self, holder: Thread) -> Thread:
        """Return *holder*, or who keeps it from running: a spinner on its processor."""
        current = holder.proc.current
        if current is None or holder.waiting_for is not None or self.machine.live:
            return holder
        wanted = current.waiting_for
        return holder if wanted is None or wanted.blocks else current
