"""Machine: the modelled multiprocessor as the floors above see it.

Live, the host brings operations: ``th = machine.enter(vp)``, run a coroutine inline (`drive`, or one
``send`` and `suspend`), ``machine.leave(th)``. Deterministic, a workload brings threads: ``machine.spawn(vp,
fn, ...)``, then ``machine.run()``.

In live mode each processor has its own clock and nothing waits for its turn: `limit` is never reached. A
processor that was idle is pulled to within `live_window_cycles` of the furthest; closed-loop callers thus
overlap in virtual time though the host serves one after the other, because locks, lines and homes remember
when they were busy.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from k42fs.ids import VP
from k42fs.machine.baseline import Baseline
from k42fs.machine.blocks import BlockTraffic
from k42fs.machine.config import MachineConfig
from k42fs.machine.config_rules import refusal
from k42fs.machine.core import NEVER
from k42fs.machine.cores import make_core
from k42fs.machine.hand_offs import HandOffs
from k42fs.machine.interrupts import Interrupts
from k42fs.machine.latencies import Latencies
from k42fs.machine.layout import WORD_BYTES, RangeCuts, Refs, Script
from k42fs.machine.line_trace import LineTrace
from k42fs.machine.live import LiveDriver, Suspended
from k42fs.machine.machine_trace import MachineTrace
from k42fs.machine.memory import Memory, UnmodelledMemory
from k42fs.machine.messages import Messages
from k42fs.machine.pace import Pace
from k42fs.machine.ppc import Ppc
from k42fs.machine.processor import Processor
from k42fs.machine.runners import Model as Model
from k42fs.machine.runners import parts_for
from k42fs.machine.statistics import TOP, ContendedLocks, statistics
from k42fs.machine.thread import BLOCKED, DONE, SLEEPING, SPINNING, Thread
from k42fs.machine.trace import ENTER, LOCK_GRANT, UNBLOCK, lines
from k42fs.machine.watch import Watchers

if TYPE_CHECKING:
    from k42fs.machine.tracing.tracer import Tracer

T = TypeVar("T")


async def _nothing() -> None:
    """What a thread does that was given nothing to do."""


class Machine:
    """Processors, caches, memory and virtual time. *model* is how much is charged, see `Thread.level`.

    `limit`: the time beyond which a thread must let others go first. `wall_clock_ns`, `outside` and
    `wall_sleep` are the host's part in live mode and may be replaced.
    """

    __slots__ = ("__dict__", "__weakref__", "limit")  # a slot is where compiled threads find it

    def __init__(
        self,
        config: MachineConfig,
        model: Model = "full",
        live: bool = False,
        wall_clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Make it. Raises ConfigError: *config* is none, or there is no such *model*."""
        if not isinstance(config, MachineConfig):
            raise refusal("config", config, "must be a MachineConfig, such as preset('dir-1024')")
        if model not in get_args(Model):
            raise refusal("model", model, f"must be one of {', '.join(get_args(Model))}")
        self.config = config
        self.model = model
        self.live = live
        self.wall_clock_ns = wall_clock_ns
        self.memory = UnmodelledMemory(config) if model == "off" else Memory(config)
        self.core = make_core(config, self.memory)
        self.trace = MachineTrace(self)
        self.lines = LineTrace(self)
        self._latencies = Latencies(config)
        self.blocks = BlockTraffic(config, self.memory)
        self.limit = NEVER
        parts = parts_for(model, self.core.name)
        self.processors = [
            Processor(VP(vp), config.node(vp), self.memory.ltt_base(vp), parts.make_ring(config.ring_events))
            for vp in range(config.processors)
        ]
        self.contended = ContendedLocks()
        self.lock_kind = "block"  # which locks servers make: see lock_choice.py
        self.script_calls: defaultdict[Script, int] = defaultdict(int)
        self.lock_calls: defaultdict[tuple[str, str], int] = defaultdict(int)  # model=calls: (kind, name)
        self.refs: dict[Script, Refs] = {}  # cut for this machine's lines
        self.range_refs = RangeCuts(config.line_bytes).refs
        self._thread_class = parts.thread
        self.charger = parts.make_charger(self) if parts.make_charger else None
        self._threads = self._furthest = 0
        self._window = config.live_window_cycles
        self.baseline = Baseline()
        self._scheduler = parts.make_scheduler(self)
        self._live = LiveDriver(self)
        self.let_others_run = self._live.let_others_run
        self.leave_for = self._live.leave_for
        self.pace = Pace()
        self.hand_offs = HandOffs(self)
        self.interrupts = Interrupts(self, self._scheduler.interrupt)
        self.messages = Messages(self, self.interrupts)
        self.ppc = Ppc(self)
        self.watchers = Watchers(self, self._spun_enough)
        self.core.on_taken = self.watchers.taken

    # --- live

    def enter(self, vp: VP, is_housekeeping: bool = False) -> Thread:
        """Begin an operation on processor *vp*: return a thread, the one used last if several are free.

        Housekeeping is charged like any other work, but not counted as an operation.
        """
        proc = self.processors[vp]
        if proc.clock < self._furthest - self._window:
            proc.idle_until(self._furthest - self._window)
        th = proc.free_threads.pop() if proc.free_threads else self.new_thread(vp)
        proc.operations += not is_housekeeping
        if self.pace.hot and not is_housekeeping:
            self.pace.entered(proc)
        proc.ring.append((proc.clock, ENTER, th.number))
        if proc.on.control:
            self.trace.entered(th)
        return th

    def leave(self, th: Thread) -> None:
        """End th's operation. A thread that is still parked goes on by itself and is not used again."""
        proc = th.proc
        if proc.clock > self._furthest:
            self._furthest = proc.clock
        if self.pace.hot or proc.spin != proc.spin_seen:
            self.pace.left(proc)
        if proc.on.control:
            self.trace.left(th)
        if th.suspended is None:
            if th.held:
                raise AssertionError(f"{th!r} leaves while it holds {th.held!r}")
            th.creds = None
            th.unblocked = False
            proc.free_threads.append(th)
        if self._live.woken:
            self._live.run_woken()

    def drive(self, coro: Coroutine[Any, Any, T]) -> T:
        """Run an operation to its end and return its value.

        Raises: OperationSuspended: it must wait; its `operation` tells when it has ended, and how.
        """
        return self._live.drive(coro)

    def suspend(
        self,
        th: Thread,
        coro: Coroutine[Any, Any, Any],
        effect: object,
        on_done: Callable[[], object] | None = None,
    ) -> Suspended:
        """Take over *coro*, th's operation, which yielded *effect* to the caller's ``send`` instead of
        ending.

        *on_done* is called, from within whichever operation lets it finish, when `result()` is there.
        """
        assert effect is th, f"{th!r} yielded {effect!r}, which is no effect of this machine"
        return self._live.suspend(th, coro, on_done)

    @property
    def can_sleep(self) -> bool:
        """Whether `Thread.sleep` takes its time: live, a host must have brought a way to."""
        return not self.live or self._live.wall_sleep is not None

    def host(
        self,
        outside: Callable[[Awaitable[Any], Callable[[Any, BaseException | None], None]], None],
        wall_sleep: Callable[[float], Awaitable[Any]],
    ) -> None:
        """Set the host's hooks: run an awaitable and report its outcome, and sleep for some seconds."""
        self._live.outside, self._live.wall_sleep = outside, wall_sleep

    # --- deterministic

    def spawn(
        self,
        vp: VP,
        fn: Callable[..., Coroutine[Any, Any, Any]],
        *args: Any,  # noqa: ANN401
        daemon: bool = False,
        name: str = "",
        pid: int = 0,
    ) -> Thread:
        """Make a thread on *vp* for ``fn(th, *args)``. `run` does not wait for a *daemon*.

        *pid*: the process it is of, in the trace; 0: one of its own, or the base server's if it is a daemon.
        Raises: ConfigError: no such processor, or *fn* is no coroutine function (it has been called then).
        """
        assert not self.live, "a live machine takes operations, not threads"
        if type(vp) is not int or not 0 <= vp < self.config.processors:
            raise refusal("vp", vp, f"must be from 0 to {self.config.processors - 1}")
        if not callable(fn):
            raise refusal("fn", fn, "must be a coroutine function, async def fn(th, ...)")
        th = self._scheduler.spawn(vp, fn, args, daemon, name, pid)
        if not hasattr(th.coro, "send"):
            th.coro = _nothing()
            raise refusal("fn", fn, "must be a coroutine function, async def fn(th, ...)")
        return th

    def run(self) -> None:
        """Run all threads to their ends in order of virtual time. Raises DeadlockError, or what a thread
        raised."""
        self._scheduler.run()

    def event_hash(self) -> str:
        """Return a SHA-256 of the order and times in which everything ran so far."""
        return self._scheduler.event_hash()

    def close(self) -> None:
        """End all threads that have not ended, and what is being recorded."""
        self._scheduler.close()
        self._live.close()
        self.trace.close()

    # --- what threads and locks ask for

    def new_thread(self, vp: VP, name: str = "") -> Thread:
        """Make a thread of this machine's model."""
        self._threads += 1
        return self._thread_class(self, vp, self._threads, name)

    def unfinished(self) -> list[Thread]:
        """Return the threads that were spawned, and live those that are parked."""
        return [*self._scheduler.threads, *self._live.parked]

    def retire(self, th: Thread) -> None:
        """Give back the stack of a thread that has ended, for the next one on its processor."""
        if th.stack_addr is not None:
            self.memory.free(th.vp, th.stack_addr)
            th.stack_addr = None

    def cut(self, script: Script) -> Refs:
        """Return the script's references for this machine's lines, and remember them."""
        refs = self.refs[script] = script.for_line(self.config.line_bytes)
        return refs

    def charge(self, th: Thread, code: int, addr: int) -> None:
        """Charge a reference to one word that must not wait for its turn."""
        if th.level > 1:
            proc = th.proc
            proc.clock = self.core.access(th.vp, code, addr, WORD_BYTES, proc.clock)

    def hand_off_cycles(self, giver: int, taker: int, addr: int) -> int:
        """Return how long the hand-off of the lock at *addr* takes, but for the taker's own access to its
        line.

        That is three transfers: the giver's compare-and-swap on the lock's line, its store to the taker's
        node, and the taker's re-read of it. Used where the giver had gone on before the taker, later in
        virtual time, was known.
        """
        config = self.config
        a, b = config.node(giver), config.node(taker)
        home = self.memory.home(addr // config.line_bytes)
        return self._latencies.dirty(a, home, b) + 2 * self._latencies.dirty(a, b, b)

    def unblock_cycles(self, waker: int, sleeper: int) -> int:
        """Return how long a blocked thread of processor *sleeper* takes to run once *waker* unblocks it, if
        both are otherwise idle: the message's two lines and the interrupt, and their receipt.
        """
        config = self.config
        if waker == sleeper:
            return config.unblock_cycles
        a, b = config.node(waker), config.node(sleeper)
        interrupt = config.ipi_cycles + 2 * config.hop_cycles * config.hops(a, b)
        return config.unblock_cycles + 3 * self._latencies.dirty(a, b, b) + interrupt

    def grant(self, by: Thread, heir: Thread) -> None:
        """*heir*, which waits for a lock, has it now from *by*."""
        proc = by.proc
        heir.granted_at = proc.clock
        heir.proc.ring.append((proc.clock, LOCK_GRANT, by.number))
        if heir.state == SPINNING:
            self._scheduler.granted(heir)
        else:
            self._wake(by, heir)

    def _spun_enough(self, th: Thread) -> None:
        """*th* spins on a line and has lost its copy, as it notices at `th.granted_at`."""
        if self.live:
            self._live.wake(th, th.granted_at)
        else:
            self._scheduler.granted(th)

    def unblock(self, by: Thread, other: Thread) -> None:
        """Let *other* return from its present or else its next `block`."""
        if other.state != BLOCKED or other.waiting_for is not None:
            other.unblocked = True
            return
        by.proc.ring.append((by.proc.clock, UNBLOCK, other.number))
        self._wake(by, other)

    def take_mail(self, th: Thread) -> None:
        """Charge the receipt of the message that woke *th*."""
        th.has_mail = False
        self.interrupts.receive(th.proc)

    def sleep(self, th: Thread, cycles: int) -> Awaitable[None]:
        """Let *cycles* pass for *th*. Live without a host that can sleep, they pass at once."""
        if not self.live:
            return self._sleep(th, cycles)
        if self._live.wall_sleep is None:
            th.proc.idle_until(th.proc.clock + cycles)
            return DONE
        return self.leave_for(th, self._live.wall_sleep(cycles / (self.config.mhz * 1e6)))

    async def _sleep(self, th: Thread, cycles: int) -> None:
        th.wake_at = th.proc.clock + cycles
        th.state = SLEEPING
        await th.pause

    def _wake(self, by: Thread, other: Thread) -> None:
        """Make *other* ready: a queue insert in the same dispatcher; a call of the scheduler's service in
        another one of the same processor; else a message and perhaps an interrupt."""
        proc, target, interrupts = by.proc, other.proc, self.interrupts
        at = proc.clock
        if by.level > 1:
            by.work(self.config.unblock_cycles)
            if target is not proc:
                at = interrupts.notify(by, target)
                other.has_mail = True
            else:
                if interrupts.domain(by) != interrupts.domain(other):
                    self.ppc.charge_call(by)
                at = proc.clock
        if self.live:
            self._live.wake(other, at)
        else:
            self._scheduler.make_ready(other, at)

    # --- looking at it

    @cached_property
    def tracer(self) -> Tracer:
        """What records events of this machine."""
        return self.trace.tracer

    @property
    def now(self) -> int:
        """The furthest clock."""
        return max(proc.clock for proc in self.processors)

    def statistics(self, top: int = TOP) -> dict[str, Any]:
        """Return all counts since the start or the last reset, with the *top* locks and lines."""
        return statistics(self, top)

    def reset_statistics(self) -> None:
        """Zero all counts. Clocks go on."""
        self.baseline.begin(self)
        self.script_calls.clear()
        if self.charger is not None:
            self.charger.reset_calls()
        self.lock_calls.clear()
        self.contended.reset()
        self.core.reset_counters()
        self.hand_offs.reset()
        self.blocks.reset_counters()

    def calls(self) -> dict[Script, int]:
        """Return how often each script was charged since the last reset."""
        return dict(self.script_calls) if self.charger is None else self.charger.calls()

    @property
    def reset_at(self) -> int:
        """The furthest clock at the last reset."""
        return self.baseline.at

    @property
    def late(self) -> int:
        """Requests since the last reset that came too late in virtual time for a line's or home's history."""
        return self.core.late - self.baseline.late

    def recent_events(self, count: int = 20) -> str:
        """Return the last *count* events of each processor that has any, as text; those traced too, if any are."""
        found = [line for proc in self.processors for line in lines(proc.vp, proc.ring.last(count))]
        return "\n".join([*found, *self.trace.last(count)])

    def check(self) -> None:
        """Raise AssertionError unless the core's invariants hold and every processor's accounts add up."""
        self.core.check()
        if self.model != "full":
            return
        for proc in self.processors:
            spent = proc.clock - self.baseline.clock(proc)
            memory = self.core.counters(proc.vp).cycles
            parts = {"memory": memory, "work": proc.work, "spin": proc.spin, "idle": proc.idle}
            assert spent == sum(parts.values()), f"processor {proc.vp}: {spent} cycles are not {parts}"
