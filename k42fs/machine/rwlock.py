"""RWLock: many readers or one writer, in order of arrival.

A reader waits if a writer has the lock or anybody waits for it, so writers do not starve. The last reader
out hands over to the writer at the head of the line; a writer on its way out prefers a waiting writer, else
lets all waiting readers in.

Every entry and exit of a reader modifies the lock's one line. That is K42's design and is kept: it does not
scale with readers, whatever the lock says about sharing.

A release does not wait, not even for its turn, so that it fits in a `finally`: one by a processor whose clock is
ahead holds from its own time on. `release_r_in_turn` and `release_w_in_turn` are exact, for experiments.

K42: lib/libc/sync/RWLock.H (TmpRWLock over an inner lock).
Differs: the inner lock is not modelled as a lock of its own; the line's block plays its part. Two threads
that wait to upgrade would wait for each other for ever: here the second is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable

from k42fs.machine.history import Reservations
from k42fs.machine.layout import RMW, WORD_BYTES
from k42fs.machine.lock_base import DeadlockError, LockBase
from k42fs.machine.lock_trace import NO_VP, READ, WRITE, Wait, granted, released
from k42fs.machine.thread import DONE, Thread


class RWLock(LockBase):
    """Readers-writer lock. `writer` is the thread that has it alone; `readers` those that share it."""

    __slots__ = ("_queue", "_reader_vp", "_reads", "_since", "_upgrader", "readers", "writer")

    kind = "RWLock"

    def _prepare(self) -> None:
        self.writer: Thread | None = None
        self.readers: list[Thread] = []
        self._since: list[int] = []  # when each of them came, by its own clock
        self._queue: list[tuple[Thread, bool]] = []  # (thread, wants to write), first come first
        self._upgrader: Thread | None = None
        self._reads: Reservations | None = None  # `_history` has the writers' holdings
        self._reader_vp = NO_VP  # who left last of those who read

    def holders(self) -> tuple[Thread, ...]:
        return (self.writer,) if self.writer is not None else tuple(self.readers)

    @property
    def waiting(self) -> int:
        """Number of threads in line."""
        return len(self._queue) + (self._upgrader is not None)

    def acquire_r(self, th: Thread) -> Awaitable[None]:
        """Share the lock with other readers."""
        if th.held:
            self._check_rank(th)
        if (
            self.writer is not None
            or self._queue
            or self._upgrader
            or (th.level and th.proc.clock > self.machine.limit)
        ):
            return self._acquire_slowly(th, False)
        self._take_r(th)
        return DONE

    def acquire_w(self, th: Thread) -> Awaitable[None]:
        """Have the lock alone."""
        if th.held:
            self._check_rank(th)
        if self.writer is not None or self.readers or (th.level and th.proc.clock > self.machine.limit):
            return self._acquire_slowly(th, True)
        self._take_w(th)
        return DONE

    def try_acquire_r(self, th: Thread) -> bool:
        """Share the lock if that needs no waiting; say whether it did."""
        if th.held:
            self._check_rank(th)
        is_free = not (self.writer is not None or self._queue or self._upgrader or self._is_held_by_clock(th))
        if is_free:
            self._take_r(th)
        if th.proc.on.lock:
            th.proc.emit.lock_rw_try(is_free, th.number)
        return is_free

    def try_acquire_w(self, th: Thread) -> bool:
        """Have the lock alone if that needs no waiting; say whether it did."""
        if th.held:
            self._check_rank(th)
        is_free = not (self.writer is not None or self.readers or self._is_held_by_clock(th))
        if is_free:
            self._take_w(th)
        if th.proc.on.lock:
            th.proc.emit.lock_rw_try(is_free, th.number)
        return is_free

    def release_r(self, th: Thread) -> None:
        """Stop reading."""
        if th not in self.readers:
            raise AssertionError(f"{th!r} releases {self!r}, which it does not read")
        self._let_go(th)
        self._charge(th)
        held = self._forget_reader(th)
        if th.proc.on.lock:
            released(self, th, held)
            th.proc.emit.lock_rw_rr(len(self.readers), 0, th.number)
        if self._queue or self._upgrader is not None:
            self._pass_on(th)

    def release_w(self, th: Thread) -> None:
        """Stop writing."""
        self._assert_writer(th)
        self._let_go(th)
        self._end_writing(th)
        if th.proc.on.lock:
            th.proc.emit.lock_rw_rw(0, 0, th.number)
        if self._queue or self._upgrader is not None:
            self._pass_on(th, prefer_writer=True)

    async def release_r_in_turn(self, th: Thread) -> None:
        """Stop reading once no other processor is due before it."""
        await self._turn(th)
        self.release_r(th)

    async def release_w_in_turn(self, th: Thread) -> None:
        """Stop writing once no other processor is due before it."""
        await self._turn(th)
        self.release_w(th)

    def downgrade(self, th: Thread) -> None:
        """Go from writing to reading without letting another writer in between; waiting readers at the head
        follow."""
        self._assert_writer(th)
        self._end_writing(th)
        self._add_reader(th)
        if th.proc.on.lock:
            granted(self, th, READ, 0, th.vp)
            th.proc.emit.lock_rw_dn(*self._counts, th.number)
        if self._queue:
            self._admit_readers(th)

    def try_upgrade(self, th: Thread) -> bool:
        """Go from reading to writing if *th* is the only reader; say whether it did."""
        assert th in self.readers, f"{th!r} upgrades {self!r}, which it does not read"
        if len(self.readers) > 1 or self._upgrader is not None:
            return False
        self._charge(th)
        held = self._forget_reader(th)
        self._start = self._granted = th.proc.clock
        self.acquisitions += 1
        self.last_vp = th.vp
        self.writer = th
        if th.proc.on.lock:
            released(self, th, held)
            granted(self, th, WRITE, 0, th.vp)
            th.proc.emit.lock_rw_up(*self._counts, th.number)
        return True

    async def upgrade(self, th: Thread) -> None:
        """Go from reading to writing, before anybody in line, as soon as the other readers have left.

        Raises: DeadlockError: another reader waits for the same thing; release and acquire_w instead.
        """
        if self._upgrader is not None:
            raise DeadlockError(f"{th!r} and {self._upgrader!r} both upgrade {self!r}")
        if self.try_upgrade(th):
            return
        self._upgrader = th
        wait = Wait(self, th)
        self._charge(th)
        try:
            await self._park(th)
        except BaseException:
            th.waiting_for = None
            self._upgrader = None
            raise
        self._have(th, WRITE, wait)
        if th.proc.on.lock:
            th.proc.emit.lock_rw_up(*self._counts, th.number)

    async def _turn(self, th: Thread) -> None:
        """Let all others that are due before *th* go first."""
        while th.level and th.proc.clock > self.machine.limit:
            await th.pause

    async def _acquire_slowly(self, th: Thread, wants_to_write: bool) -> None:
        await self._turn(th)
        if self.writer is None and not (self.readers if wants_to_write else self._queue or self._upgrader):
            (self._take_w if wants_to_write else self._take_r)(th)
            return
        wait = Wait(self, th)
        self._charge(th)
        self._queue.append((th, wants_to_write))
        try:
            await self._park(th)
        except BaseException:
            self._give_up(th, wants_to_write)
            raise
        self._have(th, WRITE if wants_to_write else READ, wait)
        if th.proc.on.lock:
            emit = th.proc.emit
            (emit.lock_rw_aw if wants_to_write else emit.lock_rw_ar)(*self._counts, th.number)

    def _have(self, th: Thread, kind: int, wait: Wait) -> None:
        """*th*, which was granted what it parked for, goes on."""
        self._charge(th)
        clock = th.proc.clock
        if kind == WRITE:
            self._granted = clock
        self._note_wait(clock - wait.arrival)
        if th.proc.on.lock:
            is_blocked = th.proc.switches != wait.switches
            granted(
                self, th, kind, clock - wait.arrival, self.last_vp,
                clock - th.granted_at, wait.holder, is_blocked,
            )  # fmt: skip

    def _charge(self, th: Thread) -> None:
        """One take and give of the inner lock: the first modification of the line may move it, the second
        cannot."""
        if th.level > 1:
            proc, machine = th.proc, self.machine
            cycles = machine.config.l1_cycles + machine.config.atomic_cycles
            proc.clock = cycles + machine.core.access(th.vp, RMW, self.addr, WORD_BYTES, proc.clock)
            proc.work += cycles

    def _take_r(self, th: Thread) -> None:
        since, waited, hand_off = -1, 0, 0
        proc = th.proc
        if th.level > 1:
            if proc.clock < self.free_at and self._history is not None and th.vp != self.last_vp:
                arrival = proc.clock
                start = self._history.fit(arrival, 0)
                if start > arrival:
                    # In a deterministic run who waits so long is queued and parked.
                    blocks = self.machine.live
                    hand_off = self.machine.hand_offs.cycles(
                        self.last_vp, th.vp, self.addr, start - arrival, blocks
                    )
                    proc.spin_until(start + hand_off)
                    if blocks:  # the lock is its from then on, though it has yet to wake up
                        since = start
                    waited = proc.clock - arrival
                    self._note_wait(waited)
            self._charge(th)
        self._add_reader(th)
        if since >= 0:
            self._since[-1] = since
        th.held.append(self)
        if proc.on.lock:
            granted(self, th, READ, waited, self.last_vp, hand_off)
            proc.emit.lock_rw_ar(len(self.readers), 0, th.number)

    def _take_w(self, th: Thread) -> None:
        proc, last, waited = th.proc, self.last_vp, 0
        if th.level > 1:
            if self._history is None:
                self._history = Reservations(self.machine.config.history)
            waited = self._wait_to_write(th)
        if proc.on.lock:
            granted(self, th, WRITE, waited, last, self._granted - self._start if waited else 0)
        if th.level > 1:
            self._charge(th)
        elif th.level == 1:
            self.machine.lock_calls[self.kind, self.name] += 1
        self.acquisitions += 1
        self.writer = th
        th.held.append(self)
        if proc.on.lock:
            proc.emit.lock_rw_aw(0, 1, th.number)

    def _wait_to_write(self, th: Thread) -> int:
        """Wait in virtual time for those who had the lock, which is free in fact; return how long."""
        machine, proc = self.machine, th.proc
        arrival = proc.clock
        clear = self._reads.fit(arrival, 0) if self._reads is not None else arrival
        proc.spin_until(clear)
        start = self._enter(th)
        skipped = proc.clock - clear
        if start == clear > arrival:  # it was readers that it waited for, and the last of them hands over
            start += machine.hand_offs.cycles(
                self._reader_vp, th.vp, self.addr, clear - arrival, machine.live
            )
            self._granted = start
        if waited := start - arrival - skipped:
            self._note_wait(waited)
            proc.spin_until(start)
        return waited

    def _add_reader(self, th: Thread) -> None:
        if th.level == 1:
            self.machine.lock_calls[self.kind, self.name] += 1
        self.acquisitions += 1
        self.readers.append(th)
        self._since.append(th.proc.clock)

    def _forget_reader(self, th: Thread) -> int:
        """Take *th* out of the readers; return how long it has been one."""
        index = self.readers.index(th)
        del self.readers[index]
        start, end = self._since.pop(index), th.proc.clock
        if end <= start:
            return 0
        if self._reads is None:
            self._reads = Reservations(self.machine.config.history)
        self._reads.add(start, end)
        self._reader_vp = th.vp
        self.held_cycles += end - start
        return end - start

    @property
    def _counts(self) -> tuple[int, int]:
        """How many read and write: what K42's events say."""
        return len(self.readers), int(self.writer is not None)

    def _let_go(self, th: Thread) -> None:
        held = th.held
        if held[-1] is self:
            held.pop()
        else:
            held.remove(self)

    def _assert_writer(self, th: Thread) -> None:
        if self.writer is not th:
            raise AssertionError(f"{th!r} gives up {self!r}, which {self.writer!r} writes")

    def _end_writing(self, th: Thread) -> None:
        self._charge(th)
        if th.level > 1:
            self._leave(th.proc.clock)
        if th.proc.on.lock:
            released(self, th, th.proc.clock - self._granted)
        self.writer = None

    def _pass_on(self, th: Thread, prefer_writer: bool = False) -> None:
        """Let in whoever may come in now."""
        if self._upgrader is not None:
            if len(self.readers) == 1:
                heir, self._upgrader = self._upgrader, None
                held = self._forget_reader(heir)
                if th.proc.on.lock:
                    released(self, heir, held)
                self._grant_w(th, heir)
            return
        if self.readers or self.writer is not None:
            return
        index = 0
        if prefer_writer:
            index = next((i for i, (_, writes) in enumerate(self._queue) if writes), 0)
        if self._queue and self._queue[index][1]:
            heir, _ = self._queue.pop(index)
            heir.held.append(self)
            self._grant_w(th, heir)
        else:
            self._admit_readers(th, everywhere=prefer_writer)

    def _admit_readers(self, th: Thread, everywhere: bool = False) -> None:
        """Let waiting readers in: those at the head of the line, or all of them."""
        stop = len(self._queue)
        if not everywhere:
            stop = next((i for i, (_, writes) in enumerate(self._queue) if writes), stop)
        admitted = [heir for heir, writes in self._queue[:stop] if not writes]
        self._queue[:stop] = [(heir, writes) for heir, writes in self._queue[:stop] if writes]
        for heir in admitted:
            heir.held.append(self)
            heir.waiting_for = None
            self.acquisitions += 1
            self.readers.append(heir)
            self._since.append(th.proc.clock)
            self.machine.grant(th, heir)

    def _grant_w(self, th: Thread, heir: Thread) -> None:
        self.writer = heir
        heir.waiting_for = None
        self.acquisitions += 1
        self.last_vp = heir.vp
        self._start = self._granted = th.proc.clock
        self.machine.grant(th, heir)

    def _give_up(self, th: Thread, wants_to_write: bool) -> None:
        """*th* dies while it waits here: leave no trace of it."""
        th.waiting_for = None
        if self.writer is th:
            self.release_w(th)
        elif th in self.readers:
            self.release_r(th)
        else:
            self._queue.remove((th, wants_to_write))
