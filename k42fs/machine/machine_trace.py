"""A machine and its tracer: made when it is first asked for, told about the machine, and kept going.

What runs operations looks at `proc.on.control`, which is on whenever anything is, and then calls `poll`. The tracer
observes: nothing here touches a clock, a cache or a count.

With model=off clocks stand still, so stamps come from the host's clock; in a deterministic run, which must not
know that, they only count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Final

from k42fs.machine import contexts
from k42fs.machine.contexts import BASE_SERVER, KERNEL
from k42fs.machine.tracing.switches import ALL_OFF, SILENT

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine
    from k42fs.machine.processor import Processor
    from k42fs.machine.thread import Thread
    from k42fs.machine.tracing.emitters import Emitters
    from k42fs.machine.tracing.switches import Switches
    from k42fs.machine.tracing.tracer import Traced, Tracer

HEARTBEAT_CYCLES: Final = 10**9
POLL_EVERY: Final = 32
"""Live operations from one poll to the next."""


def _no_number(text: str | bytes) -> int:
    raise AssertionError(f"{text!r} is to have a number, but nothing is recorded")


class _Clockless:
    """What the tracer has for a processor whose clock stands still."""

    __slots__ = ("_now", "emit", "on")

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self.on: Switches = ALL_OFF
        self.emit: Emitters = SILENT

    @property
    def clock(self) -> int:
        return self._now()


class MachineTrace:
    """The tracer of *machine*, and who has a part in its recordings.

    Floors above add to these at any time. `describers` are called at each change to on, to name what is alive;
    `sources` before packets are made, to emit what they have kept back; `on_mask` after each change of the mask,
    with it. `settings`, for the metadata, must be there before the tracer is first asked for. `calls` gives the next
    number of a call, of objects or of servers; `string` that of a text, while something is on. `name_of` tells what
    recordings call the object of a ref, "" if it has no such name.
    """

    def __init__(self, machine: Machine) -> None:
        config = machine.config
        self.settings: dict[str, str | int] = {
            "preset": config.name,
            "model": machine.model,
            "nodes": config.nodes,
            "processors_per_node": config.processors_per_node,
            "mhz": config.mhz,
            "line_bytes": config.line_bytes,
            "protocol": config.protocol,
            "interconnect": config.interconnect,
            "seed": config.seed,
            "live": int(machine.live),
        }
        self.describers: list[Callable[[Tracer], None]] = [self._describe_machine]
        self.sources: list[Callable[[], None]] = []
        self.on_mask: list[Callable[[int], None]] = []
        self.name_of: Callable[[int], str] = lambda _: ""
        self.calls = count(1)
        self._machine = machine
        self._tracer: Tracer | None = None
        self._beat_at = 0
        self._until_poll = 0
        self.string: Callable[[str | bytes], int] = _no_number
        self._told_contexts = self._told_processes = False
        self._named_threads: set[int] = set()
        self._outer: dict[Thread, Thread] = {}  # live: amid which operation of its processor one began

    @property
    def tracer(self) -> Tracer:
        """The machine's tracer. Until somebody asks for it nothing of tracing is even loaded."""
        if self._tracer is None:
            self._tracer = self._make()
        return self._tracer

    def _make(self) -> Tracer:
        # Imported here, for most machines are not traced and need not wait for it.
        from k42fs.machine.tracing.tracer import Tracer

        machine, processors = self._machine, self._machine.processors
        traced: Sequence[Traced] = processors
        if machine.model == "off":
            traced = [_Clockless(self._time_source()) for _ in processors]
        ticks = machine.config.mhz * 10**6
        host_clock = self._host_clock if machine.live else None
        tracer = Tracer(traced, ticks, self.settings, host_clock, self._describe)
        self.string = tracer.numbers.string
        for proc, each in zip(processors, traced, strict=True):
            proc.on, proc.emit = each.on, each.emit
        tracer.sources.append(self._flush)
        tracer.on_mask.append(self._mask_changed)
        return tracer

    def _time_source(self) -> Callable[[], int]:
        machine = self._machine
        if not machine.live:
            return count().__next__
        start = machine.wall_clock_ns()
        mhz = machine.config.mhz
        return lambda: max(0, machine.wall_clock_ns() - start) * mhz // 1000

    def _host_clock(self) -> int:
        return self._machine.wall_clock_ns()

    def _describe(self, tracer: Tracer) -> None:
        for describe in self.describers:
            describe(tracer)

    def _flush(self) -> None:
        for flush in self.sources:
            flush()

    def _describe_machine(self, tracer: Tracer) -> None:
        """Say who runs, then name the threads that are on processors, or will be again."""
        self._tell_contexts()
        self._named_threads = {th.number for th in self._threads()}
        for th in self._threads():
            th.proc.emit.scheduler_thread_name(th.number, tracer.numbers.string(th.name))

    def _threads(self) -> list[Thread]:
        """Return the threads that run, wait, or are free for the next operation."""
        machine = self._machine
        found = {*machine.unfinished()}
        for proc in machine.processors:
            found.update(proc.free_threads)
            if proc.current is not None:
                found.add(proc.current)
        return sorted(found, key=lambda th: th.number)

    def _mask_changed(self, mask: int) -> None:
        """Say who runs and what processes there are, if that was not recorded so far."""
        on = self.tracer.on
        machine = self._machine
        self._tell_contexts()
        if on.user and not self._told_processes:
            self._tell_processes()
        self._told_contexts, self._told_processes = on.exception, on.user
        if machine.live and not mask:
            for proc in machine.processors:  # nobody keeps it while nothing is recorded
                proc.current = None
            self._outer.clear()
        for changed in self.on_mask:
            changed(mask)

    def _tell_contexts(self) -> None:
        """Say what each processor does, if that was not recorded so far."""
        if self.tracer.on.exception and not self._told_contexts:
            self._told_contexts = True
            for proc in self._machine.processors:
                contexts.tell(proc)

    def _tell_processes(self) -> None:
        machine, string = self._machine, self.tracer.numbers.string
        emit = machine.processors[0].emit
        emit.user_spawn(BASE_SERVER, KERNEL, 0, string("k42fs"))
        for th in self._threads():
            if th.pid == BASE_SERVER + th.number:
                th.proc.emit.user_spawn(th.pid, BASE_SERVER, 0, string(th.name))
        for pid, name in machine.ppc.servers.items():
            emit.user_spawn(pid, BASE_SERVER, 0, string(name))

    def made(self, th: Thread, fn: Callable[..., object] | None = None) -> None:
        """*th* is new, to run *fn*, or whatever comes."""
        on, emit, numbers = th.proc.on, th.proc.emit, self.tracer.numbers
        name = numbers.string(th.name)
        emit.scheduler_thread_name(th.number, name)
        if on.scheduler:
            emit.scheduler_thread_create(th.number, 0 if fn is None else numbers.site_of_function(fn))
        if on.user and th.pid == BASE_SERVER + th.number:
            emit.user_spawn(th.pid, BASE_SERVER, 0, name)

    def entered(self, th: Thread) -> None:
        """A live operation begins."""
        if th.number not in self._named_threads:
            self._named_threads.add(th.number)
            self.made(th)
        proc = th.proc
        if proc.current is not None:
            self._outer[th] = proc.current
        proc.current = th
        on = proc.on
        if on.scheduler:
            proc.emit.scheduler_cur_thread(th.number)
        if on.exception:  # nobody has said yet for whom it is
            server = contexts.commid(BASE_SERVER, proc.vp)
            proc.emit.exception_context(server, contexts.SYSCALL, server)

    def _forget(self, th: Thread, outer: Thread | None) -> None:
        """*th* ends, perhaps before one that began amid it: who ends then goes back to *outer*, and not to *th*."""
        for inner in [each for each, before in self._outer.items() if before is th]:
            if outer is None:
                del self._outer[inner]
            else:
                self._outer[inner] = outer

    def left(self, th: Thread) -> None:
        """A live operation has ended."""
        proc = th.proc
        outer = None
        if self._outer:
            outer = self._outer.pop(th, None)
            self._forget(th, outer)
        if proc.current is th:
            if outer is not None:
                contexts.run(outer)
            else:
                proc.current = None
                if proc.on.exception:
                    proc.emit.exception_context(*contexts.idle(proc.vp))
        self._until_poll -= 1
        if self._until_poll <= 0:
            self._until_poll = POLL_EVERY
            self.tracer.poll_all()
            self._beat(proc)

    def parked(self, th: Thread) -> None:
        """A live operation must wait; if it began amid another one of its processor, that goes on."""
        contexts.park(th)
        if (outer := self._outer.pop(th, None)) is not None:
            contexts.run(outer)

    def served(self, pid: int, name: str) -> None:
        """There is a new server that can be called."""
        emit = self._machine.processors[0].emit
        emit.user_spawn(pid, BASE_SERVER, 0, self.tracer.numbers.string(name))

    def poll(self, proc: Processor) -> None:
        """Keep a recording going, *proc* being between two operations. Only while something is on."""
        self.tracer.poll(proc.vp)
        self._beat(proc)

    def _beat(self, proc: Processor) -> None:
        if proc.clock >= self._beat_at:
            self._beat_at = proc.clock + HEARTBEAT_CYCLES
            self.tracer.heartbeat()

    def last(self, count: int) -> list[str]:
        """Return the last *count* traced events of each processor in words: none if nothing is on."""
        if not self._machine.processors[0].on.control:
            return []
        from k42fs.machine.tracing.tail import last_events

        self._flush()
        return last_events(self.tracer, count)

    def close(self) -> None:
        """End what is being recorded; a directory is complete then."""
        if self._tracer is not None:
            self._tracer.stop()
