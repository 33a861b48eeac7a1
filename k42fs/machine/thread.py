"""Thread: one K42 thread pinned to one processor, and the argument `th` of every modelled method.

What a method does to the machine it says through `th`: `await th.touch(SCRIPT, self.addr)` and then changes
its Python state. Charge first, mutate after: while a charge waits for its turn in virtual time others may
run; between two awaits nobody does. A charge that need not wait returns the shared `DONE`, so that the live
path makes no coroutine and never suspends. An operation that must wait yields its thread to whoever drives
it.

Three variants with one interface: `FullThread` charges lines and cycles, `CallsThread` counts calls and
instruction cycles, `OffThread` does nothing at all but keep the semantics of waiting.

K42: lib/libc/scheduler/Thread.H (block and unblock commute; activeCnt is `generation` here).
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Iterator
from types import coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from k42fs.ids import VP, Addr, Ref
from k42fs.machine.contexts import BASE_SERVER
from k42fs.machine.layout import READ, RMW, WORD_BYTES, WRITE, Kind, Layout, Refs, Script
from k42fs.machine.trace import BLOCK

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine
    from k42fs.machine.lock_base import LockBase

T = TypeVar("T")

STACK: Final = Layout("Thread", Kind.LOCAL_STRICT, queue_node=16, frame=48)
LTE_BYTES: Final = 16
INACTIVE: Final = -1

RUNNING, READY, SPINNING, BLOCKED, SLEEPING, OUTSIDE, FINISHED = range(7)
STATE_NAMES: Final = ("running", "ready", "spinning", "blocked", "sleeping", "outside", "finished")


@coroutine
def _done() -> Generator[Any, None, None]:
    return
    yield


def _exhausted() -> Awaitable[None]:
    """Make an awaitable that is already done. It has no state left, so one serves all, as often as they like.

    An ended generator answers without any Python code, which an object's ``__await__`` cannot: half the awaits
    of a request are of this one.
    """
    done = _done()
    for _ in done:
        raise AssertionError("it yields nothing")
    return done


class _Answer:
    """An awaitable that already has its answer; it is its own iterator."""

    __slots__ = ("_value",)

    def __init__(self, value: bool) -> None:
        self._value = value

    def __await__(self) -> Generator[Any, None, bool]:
        return cast("Generator[Any, None, bool]", self)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:  # noqa: ANN401
        raise StopIteration(self._value)


DONE: Final[Awaitable[None]] = _exhausted()
YES: Final[Awaitable[bool]] = _Answer(True)
NO: Final[Awaitable[bool]] = _Answer(False)


class _Pause:
    """Gives the thread to its driver once, and returns what that sends. Why it stopped is in the thread's
    state."""

    __slots__ = ("_th",)

    def __init__(self, th: Thread) -> None:
        self._th = th

    def __await__(self) -> Generator[Thread, Any, Any]:
        return (yield self._th)


class Thread:
    """One K42 thread. `held`: locks it holds, oldest first. `creds`: on whose behalf it runs, set by the
    front end.

    `generation` belongs to the objects floor, which counts active threads, `depth` too: traced calls it is in.
    `number` is dense per machine; `chain` is the number of the thread whose call this one serves, itself at first.
    For the trace: `pid`, the process it is of; `server`, the one it calls, or 0; `awaits_dispatch`, whether that
    was recorded.
    """

    __slots__ = (
        "_access",
        "_charger",
        "_refs",
        "_script",
        "awaits_dispatch",
        "chain",
        "coro",
        "creds",
        "daemon",
        "depth",
        "generation",
        "granted_at",
        "has_mail",
        "held",
        "machine",
        "name",
        "number",
        "outcome",
        "pause",
        "pid",
        "proc",
        "server",
        "stack_addr",
        "state",
        "suspended",
        "unblocked",
        "vp",
        "waiting_for",
        "wake_at",
    )

    level = 0
    """0: nothing is counted, 1: calls and instruction cycles are, 2: lines and locks too."""

    def __init__(self, machine: Machine, vp: VP, number: int, name: str = "") -> None:
        self.machine = machine
        self.vp = vp
        self.proc = machine.processors[vp]
        self.number = self.chain = number
        self.name = name or f"thread {number}"
        self.held: list[LockBase] = []
        self.creds: Any = None
        self.generation = INACTIVE
        self.state = RUNNING
        self.pause = _Pause(self)
        self.waiting_for: LockBase | None = None
        self.granted_at = 0
        self.wake_at = 0
        self.unblocked = False
        self.has_mail = False
        self.daemon = False
        self.depth = 0
        self.pid = BASE_SERVER
        self.server = 0
        self.awaits_dispatch = False
        self.coro: Any = None
        self.outcome: tuple[Any, BaseException | None] = (None, None)
        self.suspended: Any = None
        self.stack_addr: Addr | None = None

    def __repr__(self) -> str:
        return f"<{self.name} on vp {self.vp}, {STATE_NAMES[self.state]}>"

    @property
    def stack(self) -> Addr:
        """Address of this thread's own line, where its queue nodes are."""
        if self.stack_addr is None:
            self.stack_addr = self.machine.memory.alloc(self.vp, STACK)
        return self.stack_addr

    def now_ns(self) -> int:
        """Return the time for files: wall time in live mode, else virtual time."""
        machine = self.machine
        if machine.live:
            return machine.wall_clock_ns()
        return self.proc.clock * 1000 // machine.config.mhz

    def touch(self, script: Script, base: int, other: int = 0) -> Awaitable[None]:
        """Charge one method's references to the object at *base*, and to *other* as the script says."""
        return DONE

    def load(self, addr: int, nbytes: int = WORD_BYTES) -> Awaitable[None]:
        """Charge a read of every line in a range of bytes."""
        return DONE

    def store(self, addr: int, nbytes: int = WORD_BYTES) -> Awaitable[None]:
        """Charge a write of every line in a range of bytes."""
        return DONE

    def rmw(self, addr: int) -> Awaitable[None]:
        """Charge an atomic read-modify-write of one word."""
        return DONE

    def copy(self, code: int, addr: int, nbytes: int) -> Awaitable[None]:
        """Charge the copy of file data from (READ) or to (WRITE) memory, by the block: see `blocks.py`."""
        return DONE

    def work(self, cycles: int) -> None:
        """Charge instructions. Never waits: others see their effect only through the next reference."""

    def deref(self, ref: Ref) -> Any:  # noqa: ANN401  (a rep is whatever the object says it is)
        """Return this processor's rep of the object *ref*, to make one call on it.

        Asserts that no lock is held, except such as were made to be held across calls.
        """
        if self.held:
            self._check_calls_out(ref)
        return self.proc.ltt[ref]

    def sleep(self, cycles: int) -> Awaitable[None]:
        """Let *cycles* of virtual time pass; other threads of the processor run meanwhile."""
        return self.machine.sleep(self, cycles)

    def block(self) -> Awaitable[None]:
        """Wait until some thread unblocks this one. An `unblock` that came first makes it return at once."""
        if self.unblocked:
            self.unblocked = False
            return DONE
        return self._block()

    def unblock(self, other: Thread) -> None:
        """Let *other* go on; on another processor that takes a message and an interrupt."""
        self.machine.unblock(self, other)

    async def external(self, awaitable: Awaitable[T]) -> T:
        """Leave the machine until *awaitable*, something of the host's event loop, is done; return its
        result."""
        return cast("T", await self.machine.leave_for(self, awaitable))

    async def _block(self) -> None:
        self.proc.ring.append((self.proc.clock, BLOCK, self.number))
        self.state = BLOCKED
        await self.pause

    def _check_calls_out(self, ref: Ref) -> None:
        for lock in self.held:
            if not lock.spans_calls:
                raise AssertionError(f"{self!r} calls through ref {ref} while it holds {lock!r}")


class OffThread(Thread):
    """Charges nothing: every charge is the base's bare return."""

    __slots__ = ()


class CallsThread(Thread):
    """Counts calls and charges instruction cycles only."""

    __slots__ = ()

    level = 1

    def touch(self, script: Script, base: int, other: int = 0) -> Awaitable[None]:
        proc = self.proc
        proc.ring.append((proc.clock, script, base))
        self.machine.script_calls[script] += 1
        proc.calls += 1
        proc.clock += script.work
        proc.work += script.work
        return DONE

    def work(self, cycles: int) -> None:
        self.proc.clock += cycles
        self.proc.work += cycles


class FullThread(CallsThread):
    """Charges every reference to the coherence core and every cycle to the processor's clock."""

    __slots__ = ()

    level = 2

    def __init__(self, machine: Machine, vp: VP, number: int, name: str = "") -> None:
        super().__init__(machine, vp, number, name)
        self._script = machine.lines.core.script
        self._access = machine.lines.core.access
        self._refs = machine.refs

    def touch(self, script: Script, base: int, other: int = 0) -> Awaitable[None]:
        proc, machine = self.proc, self.machine
        now = proc.clock
        proc.ring.append((now, script, base))
        machine.script_calls[script] += 1
        proc.calls += 1
        refs = self._refs.get(script) or machine.cut(script)
        logged = machine.lines.core.logged if proc.on.cache else -1
        now, stopped = self._script(self.vp, refs, base, other, now, machine.limit, 0)
        if logged >= 0:
            machine.lines.place(logged)
        if stopped >= 0:
            proc.clock = now
            return self._go_on(refs, base, other, stopped, script.work)
        work = script.work
        proc.clock = now + work
        proc.work += work
        return DONE

    def load(self, addr: int, nbytes: int = WORD_BYTES) -> Awaitable[None]:
        return self._range(READ, addr, nbytes)

    def store(self, addr: int, nbytes: int = WORD_BYTES) -> Awaitable[None]:
        return self._range(WRITE, addr, nbytes)

    def rmw(self, addr: int) -> Awaitable[None]:
        return self._range(RMW, addr, WORD_BYTES)

    def copy(self, code: int, addr: int, nbytes: int) -> Awaitable[None]:
        proc, machine = self.proc, self.machine
        if proc.clock > machine.limit:
            return self._copy_in_turn(code, addr, nbytes)
        cycles = machine.blocks.copy(self.vp, code, addr, nbytes)
        proc.clock += cycles
        proc.work += cycles
        return DONE

    def deref(self, ref: Ref) -> Any:  # noqa: ANN401
        if self.held:
            self._check_calls_out(ref)
        proc = self.proc
        logged = self.machine.lines.core.logged if proc.on.cache else -1
        # No turn is waited for, as this is no await: only this processor ever uses its table.
        now = self._access(self.vp, READ, proc.ltt_base + LTE_BYTES * ref, WORD_BYTES, proc.clock)
        if logged >= 0:
            self.machine.lines.place(logged)
        proc.clock = now
        return proc.ltt[ref]

    def _range(self, code: int, addr: int, nbytes: int) -> Awaitable[None]:
        refs = self.machine.range_refs(code, addr, nbytes)
        proc = self.proc
        logged = self.machine.lines.core.logged if proc.on.cache else -1
        now, stopped = self._script(self.vp, refs, addr, 0, proc.clock, self.machine.limit, 0)
        if logged >= 0:
            self.machine.lines.place(logged)
        proc.clock = now
        return DONE if stopped < 0 else self._go_on(refs, addr, 0, stopped, 0)

    async def _copy_in_turn(self, code: int, addr: int, nbytes: int) -> None:
        await self.pause
        self.work(self.machine.blocks.copy(self.vp, code, addr, nbytes))

    async def _go_on(self, refs: Refs, base: int, other: int, stopped: int, work: int) -> None:
        """Do the rest of a script that came to a visible reference ahead of its turn."""
        proc, lines = self.proc, self.machine.lines
        while stopped >= 0:
            await self.pause
            logged = lines.core.logged if proc.on.cache else -1
            now, stopped = self._script(self.vp, refs, base, other, proc.clock, self.machine.limit, stopped)
            if logged >= 0:  # whoever awaits this is still where the charge comes from
                lines.place(logged)
            proc.clock = now
        self.work(work)
