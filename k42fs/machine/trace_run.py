"""Runs traces on a coherence core: files of one processor each by lowest clock first, or one file in its order.

With a file per processor, each step takes the processor with the smallest clock and does its next record;
ties go by the scheduler's seeded hash of (seed, processor, records done). A file for all processors is done
in the order in which it was written, each record at its own processor's clock. A reference that crosses lines
is one reference to each.

Files are read in pieces while they are run, so that memory is bounded. A bad line ends the run when its
processor gets there; everything counted up to there stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heapreplace
from typing import TYPE_CHECKING, Any

from k42fs.machine.reference_trace import WORK, Records, TraceError

if TYPE_CHECKING:
    from k42fs.machine.core import CoherenceCore
    from k42fs.machine.reference_log import LoggedCore
    from k42fs.machine.reference_trace_files import TraceFile

try:
    from k42fs.machine import trace_merge
    from k42fs.machine.fast_core import FastCore
except ImportError:  # no compiler when k42fs was installed: the loops below do it
    COMPILED: tuple[type[Any], ...] = ()
else:
    COMPILED = (FastCore,)

OnRecords = Callable[[Records, "int | None"], None]
"""Told of records before they are run, with their processor if they are all of one."""


class Stream:
    """One processor's records: the piece at hand, and how far it was run.

    `at`: the next record of the piece; `done`: records of earlier pieces and this one; `work`: cycles of work;
    `error`: what comes after the piece.
    """

    __slots__ = ("at", "clock", "cpu", "done", "error", "records", "work")

    def __init__(self, cpu: int) -> None:
        self.cpu = cpu
        self.error: TraceError | None = None
        self.records = Records()
        self.at = self.done = self.clock = self.work = 0


@dataclass(slots=True)
class TraceOutcome:
    """Where a run came to: per processor the clock and the cycles of work. *error* cut it short, if any."""

    clocks: list[int]
    work: list[int]
    records: int = 0
    error: TraceError | None = field(default=None)


def advance(core: CoherenceCore | LoggedCore, streams: list[Stream], line_bytes: int, seed: int) -> Stream:
    """Run *streams*, none of them dry, by lowest clock first until one is; return that one."""
    if isinstance(core, COMPILED):
        return trace_merge.advance(core, streams, line_bytes, seed)
    from k42fs.machine.scheduler import tie_break  # not loaded where the compiled loop serves

    heap = [
        (stream.clock, tie_break(seed, stream.cpu, stream.done), stream.cpu, stream) for stream in streams
    ]
    heapify(heap)
    access = core.access
    while True:
        stream = heap[0][3]
        records, at = stream.records, stream.at
        code, value = records.codes[at], records.values[at]
        if code == WORK:
            stream.clock += value
            stream.work += value
        else:
            for addr, nbytes in _pieces(value, records.sizes[at], line_bytes):
                stream.clock = access(stream.cpu, code, addr, nbytes, stream.clock)
        stream.at += 1
        stream.done += 1
        if stream.at == len(records):
            return stream
        heapreplace(heap, (stream.clock, tie_break(seed, stream.cpu, stream.done), stream.cpu, stream))


def run_in_order(
    core: CoherenceCore | LoggedCore, records: Records, clocks: list[int], work: list[int], line_bytes: int
) -> None:
    """Run *records*, which say whose they are, one after the other."""
    if isinstance(core, COMPILED):
        trace_merge.run_in_order(core, records, clocks, work, line_bytes)
        return
    access = core.access
    for cpu, code, value, size in zip(
        records.cpus, records.codes, records.values, records.sizes, strict=True
    ):
        if code == WORK:
            clocks[cpu] += value
            work[cpu] += value
            continue
        for addr, nbytes in _pieces(value, size, line_bytes):
            clocks[cpu] = access(cpu, code, addr, nbytes, clocks[cpu])


def _pieces(addr: int, nbytes: int, line_bytes: int) -> Iterator[tuple[int, int]]:
    """Cut a range of bytes into lines."""
    end = addr + nbytes
    while addr < end:
        stop = min(end, addr - addr % line_bytes + line_bytes)
        yield addr, stop - addr
        addr = stop


def run_files(
    core: CoherenceCore | LoggedCore,
    files: Sequence[TraceFile],
    processors: int,
    line_bytes: int,
    seed: int = 0,
    on_records: OnRecords | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> TraceOutcome:
    """Run *files*, file i on processor i, on a *core* of *processors*; *on_progress* gets bytes read so far."""
    outcome = TraceOutcome([0] * processors, [0] * processors)
    streams = [Stream(cpu) for cpu in range(len(files))]
    pieces = [file.pieces() for file in files]

    def refill(stream: Stream) -> bool:
        if stream.error is not None:
            raise stream.error
        try:
            records = next(pieces[stream.cpu], None)
        except TraceError as exc:
            # The others go on up to where this one meets its bad line: it does nothing at its next turn.
            stream.error, records = exc, Records()
            records.add(None, WORK, 0, 0)
            stream.done -= 1
            stream.records, stream.at = records, 0
            return True
        if on_progress is not None:
            on_progress(sum(file.bytes_read for file in files))
        if records is None:
            return False
        if on_records is not None:
            on_records(records, stream.cpu)
        stream.records, stream.at = records, 0
        return True

    running = list(streams)
    try:
        for stream in streams:
            if not refill(stream):
                running.remove(stream)
        while running:
            dry = advance(core, running, line_bytes, seed)
            if not refill(dry):
                running.remove(dry)
    except TraceError as exc:
        outcome.error = exc
    for stream in streams:
        outcome.clocks[stream.cpu], outcome.work[stream.cpu] = stream.clock, stream.work
        outcome.records += stream.done
    return outcome


def run_file(
    core: CoherenceCore | LoggedCore,
    file: TraceFile,
    processors: int,
    line_bytes: int,
    on_records: OnRecords | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> TraceOutcome:
    """Run one *file* whose records say which processor they are of."""
    outcome = TraceOutcome([0] * processors, [0] * processors)
    try:
        for records in file.pieces():
            if on_records is not None:
                on_records(records, None)
            run_in_order(core, records, outcome.clocks, outcome.work, line_bytes)
            outcome.records += len(records)
            if on_progress is not None:
                on_progress(file.bytes_read)
    except TraceError as exc:
        outcome.error = exc
    return outcome
