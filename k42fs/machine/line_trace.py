"""Lines, for the trace: which misses there were, in whose caches, for which field of what, from which place in the
program.

While the class Cache is on the core keeps a log (`miss_log.py`), which becomes events before packets are made, or
when it is half full. Whoever charged the machine says from where, if that made records: from the nearest frame that
is not of a lock or of the machine itself. Threads look whether it did; locks and others use `machine.core`, in whose
place stands one that looks for them. When the class is off there is neither.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from k42fs.machine.callers import PlainCaller
from k42fs.machine.miss_log import NO_CPU

try:
    from k42fs.machine.fast_core import FastCore
    from k42fs.machine.fast_trace import FastSitedCore
except ImportError:
    FastCore = FastSitedCore = None  # type: ignore[assignment, misc]

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from k42fs.ids import Addr
    from k42fs.machine.core import CoherenceCore
    from k42fs.machine.driver import Machine
    from k42fs.machine.layout import Refs
    from k42fs.machine.tracing.tracer import Tracer

LOG_RECORDS: Final = 1 << 16
"""Room of the log: 5 MB."""

HERE: Final = Path(__file__).parent
CHARGING: Final = frozenset(
    str(HERE / f"{name}.py")
    for name in (
        "bit_locks", "blocked_threads", "callers", "driver", "exclusive_lock", "hand_offs", "line_trace", "lock_base",
        "lock_trace", "locks", "rec_lock", "request_count", "rwlock", "semaphore", "spin_lock", "spin_locks",
        "thread", "unfair_locks", "watch",
    )
)  # fmt: skip
"""Files that charge the machine on behalf of whoever calls them."""


class SitedCore:
    """A core whose records are told from where in the program they come. All else is the core's."""

    __slots__ = ("_core", "_place")

    _core: CoherenceCore
    _place: Callable[[int], None]

    def __init__(self, core: CoherenceCore, place: Callable[[int], None]) -> None:
        object.__setattr__(self, "_core", core)
        object.__setattr__(self, "_place", place)

    def access(self, cpu: int, code: int, addr: int, nbytes: int, now: int) -> int:
        core = self._core
        logged = core.logged
        end = core.access(cpu, code, addr, nbytes, now)
        if core.logged > logged:
            self._place(logged)
        return end

    def script(
        self, cpu: int, refs: Refs, base: int, other: int, now: int, limit: int, start: int
    ) -> tuple[int, int]:
        core = self._core
        logged = core.logged
        ended = core.script(cpu, refs, base, other, now, limit, start)
        if core.logged > logged:
            self._place(logged)
        return ended

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._core, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._core, name, value)


def sited(core: CoherenceCore, place: Callable[[int], None]) -> CoherenceCore:
    """Return *core* as who stands in its place: compiled if it is."""
    if FastCore is not None and isinstance(core, FastCore):
        return cast("CoherenceCore", FastSitedCore(core, place))
    return cast("CoherenceCore", SitedCore(core, place))


def _nowhere(frame: FrameType) -> int:
    """Take the tracer's part until there is one."""
    return 0


class LineTrace:
    """Turns the log of *machine*'s core into events. `core` is that core itself."""

    def __init__(self, machine: Machine) -> None:
        self.core = machine.core
        self._machine = machine
        self._said: dict[int, tuple[str, str]] = {}  # object and field, by address: what was said last
        self._forgotten = 0
        self._counted: dict[int, tuple[int, ...]] = {}
        self._caller = PlainCaller(CHARGING, _nowhere)
        machine.trace.sources.append(self.flush)
        machine.trace.on_mask.append(self._mask_changed)

    @property
    def _tracer(self) -> Tracer:
        return self._machine.tracer

    def place(self, first: int) -> None:
        """What the core has logged from record *first* on comes from whoever charges the machine now."""
        core = self.core
        if core.logged > first:
            core.set_sites(first, self._caller.site())
            if core.logged > LOG_RECORDS // 2:
                self.flush()

    def _mask_changed(self, mask: int) -> None:
        machine, core, is_on = self._machine, self.core, self._tracer.on.cache
        if not mask:
            self._said.clear()
            self._counted.clear()
        if is_on == (core.log_room > 0):
            return
        core.log_room = LOG_RECORDS if is_on else 0
        self._caller = self._tracer.numbers.caller(CHARGING)
        core.take_log()
        machine.core = sited(core, self.place) if is_on else core
        machine.memory.on_free = self._freed if is_on else None

    def flush(self) -> None:
        """Emit what the core has logged."""
        if not self.core.log_room:
            return
        from k42fs.machine.tracing.coherence import emit_records  # here: see machine_trace.py

        tracer, line_bytes = self._tracer, self._machine.config.line_bytes
        if self._forgotten != tracer.forgotten:  # a recording begins, or no longer knows what it was told
            self._forgotten = tracer.forgotten
            self._said.clear()
        records, dropped = self.core.take_log()
        emit_records(tracer, records, line_bytes, self._name)
        if dropped:
            clocks = [proc.clock for proc in self._machine.processors]
            tracer.lose(NO_CPU, dropped, min(clocks), max(clocks))
        self._count()

    def _count(self) -> None:
        """Say how much each processor's caches have done, where that has changed."""
        for proc in self._machine.processors:
            counters = self.core.counters(proc.vp)
            misses = counters.misses
            said = (
                counters.loads,
                counters.stores + counters.rmws,
                counters.l1_hits + counters.l2_hits + counters.l3_hits,
                sum(misses.values()),
                misses["upgrade"],
                counters.invalidations,
            )
            if any(said) and self._counted.get(proc.vp) != said:
                self._counted[proc.vp] = said
                proc.emit.cache_counters(*said)

    def _name(self, line: int, offset: int) -> None:
        """Say which field lies in the line at address *line* there, unless that was said last too."""
        piece = self._machine.memory.piece_at(line + offset)
        if piece is None:
            return
        start, nbytes, label, field = piece
        owner = self._machine.memory.owner_at(line + offset)
        if (told := getattr(owner, "trace_name", None)) is not None:
            label = f"{label.partition(' ')[0]} {told()}"
        elif (path := self._machine.trace.name_of(getattr(owner, "obj_ref", 0))).startswith("/"):
            label = f"{label.partition(' ')[0]} {path}"  # an inode is called as its file's object
        start = max(start, line)
        if self._said.get(start) == (label, field):
            return
        if start in self._said and self._machine.memory.is_free(line + offset):
            return  # what was missed on is gone: what it was called is more than what its place was made for
        self._said[start] = label, field
        string = self._tracer.numbers.string
        end = min(piece[0] + nbytes, line + self._machine.config.line_bytes)
        self._tracer.emit[0].cache_line_name(line, start - line, end - start, string(label), string(field))

    def _freed(self, addr: Addr, nbytes: int) -> None:
        """A block goes, and something else may come in its place: then its lines have other names."""
        line_bytes, named = self._machine.config.line_bytes, self._tracer.named_lines
        if not named:
            return
        for line in range(addr // line_bytes * line_bytes, addr + nbytes, line_bytes):
            named.pop(line, None)
