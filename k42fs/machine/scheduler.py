"""The deterministic driver: one heap of processors, lowest clock first.

Each entry is (time, tie, serial, processor). Ties are settled by a hash of (seed, processor, serial): the
only randomness of a run, so that seeds explore interleavings and runs repeat exactly. The thread of the
processor taken from the heap runs until it comes to something others could notice while some other
processor's time is earlier: `machine.limit`. With `lookahead_cycles` it may run ahead by so much: fewer
switches, but mistimed by as much, so event hashes compare only between runs of equal lookahead.

A processor runs one thread at a time; its others wait in a queue by the time they became ready. A thread
that spins keeps its processor; one that waits for a blocking lock does so only until its patience ends, then
the next one runs. One that spins on a line (`watch.py`) keeps it until the line is taken, or its deadline.

Interrupts have entries of their own. A processor whose thread has run ahead of one on its private memory
takes it at its time all the same: the handler's cycles are put in and the thread ends so much later.

Source: SimPy's kernel (heap with a serial that settles ties); K42 lib/libc/scheduler for the ready queue.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Coroutine
from hashlib import sha256
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final

from k42fs.ids import VP
from k42fs.machine import contexts
from k42fs.machine.contexts import BASE_SERVER
from k42fs.machine.core import NEVER
from k42fs.machine.interrupts import interrupt
from k42fs.machine.lock_base import DeadlockError
from k42fs.machine.processor import Processor
from k42fs.machine.thread import BLOCKED, FINISHED, READY, RUNNING, SLEEPING, SPINNING, Thread

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine

Entry = tuple[int, int, int, "Processor | Interrupt"]

MASK64: Final = (1 << 64) - 1
FLUSH_AT: Final = 4096
STALL_CYCLES: Final = 10_000_000_000
"""With only daemons running for so long, all other threads blocked, the run is taken for dead."""


def tie_break(seed: int, vp: int, serial: int) -> int:
    """Return 64 well-mixed bits of the three numbers (splitmix64's finalizer)."""
    x = (seed * 0x9E3779B97F4A7C15 + vp * 0xD1B54A32D192ED03 + serial * 0x8CB92BA72F3D8DD7) & MASK64
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & MASK64
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & MASK64
    return x ^ x >> 31


class Interrupt:
    """Something that a processor must do at a given time, whatever it is at. *handle* charges it."""

    __slots__ = ("handle", "proc")

    def __init__(self, proc: Processor, handle: Callable[[], None]) -> None:
        self.proc = proc
        self.handle = handle


def is_stalled(threads: list[Thread]) -> bool:
    """Say whether all but daemons are blocked."""
    return all(th.state == BLOCKED for th in threads if not th.daemon)


def put_on(th: Thread) -> None:
    """Trace that *th* begins or goes on."""
    if th.state == SLEEPING and th.proc.on.exception:
        th.proc.emit.exception_timer_interrupt(0, 0)
    contexts.put_on(th)


def stuck(threads: list[Thread]) -> str:
    """Return what each of them but daemons waits for, as text."""
    return "; ".join(f"{th!r} waits for {th.waiting_for!r}" for th in threads if not th.daemon)


class Scheduler:
    """Runs spawned threads in order of virtual time. `unfinished` counts those that are no daemons, and
    interrupts on their ways."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._heap: list[Entry] = []
        self._lookahead = machine.config.lookahead_cycles
        self._serial = 0
        self._log = array("q")
        self._hash = sha256()
        self._progress_at = 0
        self.threads: list[Thread] = []
        self.unfinished = 0

    def spawn(
        self,
        vp: VP,
        fn: Callable[..., Coroutine[Any, Any, Any]],
        args: tuple[Any, ...],
        daemon: bool,
        name: str,
        pid: int = 0,
    ) -> Thread:
        """Make a thread on *vp* that will run ``fn(th, *args)`` from its processor's present time on."""
        th = self._machine.new_thread(vp, name or getattr(fn, "__name__", ""))
        th.daemon = daemon
        th.pid = pid or (BASE_SERVER if daemon else BASE_SERVER + th.number)
        if th.proc.on.control:
            self._machine.trace.made(th, fn)
        th.coro = fn(th, *args)
        self.threads.append(th)
        self.unfinished += not daemon
        self.make_ready(th, th.proc.clock)
        return th

    def run(self) -> None:
        """Run until all threads but daemons have finished.

        Raises: DeadlockError: nobody can go on. Whatever a thread raises ends the run.
        """
        heap, machine = self._heap, self._machine
        try:
            while self.unfinished:
                if not heap:
                    raise DeadlockError(f"no thread can go on: {stuck(self.threads)}")
                at, _, serial, what = heappop(heap)
                if isinstance(what, Interrupt):
                    self._interrupt(what, at, serial)
                elif serial == what.serial:
                    what.posted_at = -1
                    self._dispatch(what, at)
        finally:
            machine.limit = NEVER

    def make_ready(self, th: Thread, at: int) -> None:
        """Queue *th* on its processor, to run at time *at* at the earliest."""
        proc = th.proc
        th.state = READY
        self._serial += 1
        heappush(proc.ready, (at, self._serial, th))
        current = proc.current
        if current is None:
            start = max(at, proc.clock)
        elif current.state == SPINNING and current.granted_at < 0 and self._blocks(current):
            start = max(at, proc.clock + self._patience(polls_only=True))
        else:
            return
        if proc.posted_at < 0 or start < proc.posted_at:
            self._post(proc, start)

    def interrupt(self, proc: Processor, at: int, handle: Callable[[], None]) -> None:
        """Let *proc* do *handle* at time *at*. A run does not end before."""
        self.unfinished += 1
        self._serial = serial = self._serial + 1
        self._push(at, proc.vp, serial, Interrupt(proc, handle))

    def granted(self, th: Thread) -> None:
        """*th* spins and now has what it spins for, since `th.granted_at`."""
        self._post(th.proc, max(th.proc.clock, th.granted_at))

    def event_hash(self) -> str:
        """Return the hash of everything that ran so far, in order."""
        self._flush()
        return self._hash.hexdigest()

    def close(self) -> None:
        """End the threads that have not finished, as at the end of a run that failed, or daemons."""
        for th in self.threads:
            if th.state != FINISHED:
                th.state = FINISHED
                th.coro.close()
        self._heap.clear()
        self.unfinished = 0

    def _post(self, proc: Processor, at: int) -> None:
        """Let the heap wake *proc* at time *at* instead of whenever it would have."""
        self._serial = serial = self._serial + 1
        proc.serial = serial
        proc.posted_at = at
        self._push(at, proc.vp, serial, proc)

    def _push(self, at: int, vp: VP, serial: int, what: Processor | Interrupt) -> None:
        machine = self._machine
        heappush(self._heap, (at, tie_break(machine.config.seed, vp, serial), serial, what))
        machine.limit = min(machine.limit, at + self._lookahead)

    def _interrupt(self, entry: Interrupt, at: int, serial: int) -> None:
        proc, th = entry.proc, entry.proc.current
        self.unfinished -= 1
        self._log.extend((serial, proc.vp, at, 0))
        is_spinning = th is not None and th.state == SPINNING
        ahead = interrupt(entry.proc, at, entry.handle, is_spinning)
        if ahead and th is not None and proc.posted_at >= 0:
            self._post(proc, max(proc.clock, proc.posted_at))

    def _dispatch(self, proc: Processor, at: int) -> None:
        th = proc.current
        if th is None:
            ready_at, _, th = heappop(proc.ready)
            proc.idle_until(max(at, ready_at))
            proc.current = th
            proc.switches += 1
            if proc.on.control:
                put_on(th)
            if th.has_mail:
                self._machine.take_mail(th)
        elif th.state == SPINNING:
            proc.spin_until(at)
            if th.granted_at < 0 and th.waiting_for is not None:  # else it spun until a deadline
                th.state = BLOCKED
                self._next(proc)
                return
        th.state = RUNNING
        heap = self._heap
        self._machine.limit = max(proc.clock, heap[0][0] + self._lookahead) if heap else NEVER
        self._log.extend((proc.serial, proc.vp, proc.clock, th.number))
        if len(self._log) >= FLUSH_AT:
            self._flush()
        if proc.on.control:
            self._machine.trace.poll(proc)
        self._step(th, proc)

    def _step(self, th: Thread, proc: Processor) -> None:
        try:
            th.coro.send(None)
        except StopIteration as stop:
            th.outcome = (stop.value, None)
            self._finish(th, proc)
            return
        except BaseException as exc:
            th.outcome = (None, exc)
            self._finish(th, proc)
            raise
        if not th.daemon:
            self._progress_at = proc.clock
        elif proc.clock - self._progress_at > STALL_CYCLES and is_stalled(self.threads):
            raise DeadlockError(f"only daemons run: {stuck(self.threads)}")
        if th.state == RUNNING:
            self._post(proc, proc.clock)
        elif th.state == SPINNING:
            if self._blocks(th):
                self._post(proc, proc.clock + self._patience(polls_only=bool(proc.ready)))
            elif th.wake_at < NEVER and th.waiting_for is None:
                self._post(proc, max(proc.clock, th.wake_at))
        else:
            if th.state == SLEEPING:
                self._serial += 1
                heappush(proc.ready, (th.wake_at, self._serial, th))
            self._next(proc)

    def _next(self, proc: Processor) -> None:
        """The processor's thread is out of the way: let its next one run, when it is ready."""
        if proc.on.control and proc.current is not None:
            contexts.take_off(proc.current, proc.current.state == FINISHED)
        proc.current = None
        if proc.ready:
            self._post(proc, max(proc.clock, proc.ready[0][0]))

    def _finish(self, th: Thread, proc: Processor) -> None:
        th.state = FINISHED
        self.threads.remove(th)
        self._machine.retire(th)
        self.unfinished -= not th.daemon
        self._next(proc)

    def _blocks(self, th: Thread) -> bool:
        return th.waiting_for is not None and th.waiting_for.blocks

    def _patience(self, polls_only: bool) -> int:
        """Return how long a waiter keeps its processor: shorter if another thread could use it."""
        config = self._machine.config
        return config.poll_cycles_max if polls_only else config.patience_cycles

    def _flush(self) -> None:
        if sys.byteorder == "big":
            self._log.byteswap()
        self._hash.update(self._log.tobytes())
        del self._log[:]
