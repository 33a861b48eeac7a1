"""The tracer of a machine: its mask, its recording, and what goes in between.

Off (mask 0) nothing is recorded. On, events go to memory, of which the last packets are kept (the flight
recorder, `dump` writes it out), or between `start` and `stop` to a directory. Whoever runs operations calls
`poll` after each while the mask is on: it makes packets when there is enough for some.

At each change from off to on every processor says what a reader must know; K42's preamble. A recording that
fails (a full disk) ends, everything is off, `status` says why, and what was written stays readable.
K42: os/servers/traced, os/kernel/trace, bin/traceControl.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol
from uuid import NAMESPACE_URL, uuid5

from k42fs.errors import BusyError, ConfigError
from k42fs.machine.tracing.ctf import metadata
from k42fs.machine.tracing.definitions import Definitions, Numbers
from k42fs.machine.tracing.emitters import Emitters, make_emitters
from k42fs.machine.tracing.losses import Losses
from k42fs.machine.tracing.mask import CONTROL, INFO, META, with_control
from k42fs.machine.tracing.packets import NAMES_CPU, ROOM_WORDS
from k42fs.machine.tracing.recordings import ENDED_BYTES, DirectoryRecording, Recording, RingRecording
from k42fs.machine.tracing.schema import load
from k42fs.machine.tracing.stream import Packet, Stream
from k42fs.machine.tracing.switches import Switches

DRAIN_WORDS: Final = 4 * ROOM_WORDS
RING_PACKETS: Final = 16


class Traced(Protocol):
    """A processor: its clock in cycles, and where call sites find their guard and their emitters."""

    @property
    def clock(self) -> int: ...

    on: Switches
    emit: Emitters


@dataclass(frozen=True, slots=True)
class TraceStatus:
    """`mode` is "off", "ring" or "directory"; events are those of processors, definitions not counted."""

    mask: int
    mode: str
    path: Path | None
    events: int
    pending_words: int
    discarded: int
    bytes_written: int
    failure: str


def _no_clock() -> int:
    """A deterministic run knows no host time."""
    return 0


class Tracer:
    """Traces *processors*. *settings* go into the metadata and into the preamble: preset, seed, policies.

    *describe* is called at each change to on, to name what is alive (`tracer.emit[0].clust_obj_object_name`).
    *host_clock* gives ns since the epoch; a deterministic run has none. `on_mask` functions are called after each
    change of the mask, with it; `sources` before packets are made, to emit what they have kept back.
    """

    def __init__(
        self,
        processors: Sequence[Traced],
        ticks_per_second: int,
        settings: Mapping[str, str | int] | None = None,
        host_clock: Callable[[], int] | None = None,
        describe: Callable[[Tracer], None] | None = None,
        ring_packets: int = RING_PACKETS,
        ring_wraps: bool = True,
    ) -> None:
        self.mask = 0
        self.ticks_per_second = ticks_per_second
        self.settings = dict(settings or {})
        # What was named since the recording began: offsets in lines, by the line's address; other addresses; refs.
        self.named_lines: dict[int, set[int]] = {}
        self.named: set[int] = set()
        self.named_objects: set[int] = set()
        self.forgotten = 0  # how often these were cleared
        self.on_mask: list[Callable[[int], None]] = []
        self.sources: list[Callable[[], None]] = []
        self._processors = processors
        self._host_clock = host_clock or _no_clock
        self._describe = describe
        self._ring_packets, self._ring_wraps = ring_packets, ring_wraps
        self._serial = 0
        self._failure = ""
        self._bytes = 0  # of the last recording
        self._recording: Recording | None = None
        self.on = Switches()
        self.emit = make_emitters(processors)
        self.numbers = Numbers(self.emit[0])
        # Made when something is on for the first time: a machine that is never traced does without.
        self._streams: list[Stream] = []
        self._events = 0
        self._losses = Losses()
        for cpu, emit in zip(processors, self.emit, strict=True):
            cpu.on, cpu.emit = self.on, emit

    def _new_id(self) -> bytes:
        """Return the name of the next trace: another one each time, the same in each run of one seed."""
        self._serial += 1
        said = f"{sorted(self.settings.items())} {self._host_clock()} {self._serial}"
        return uuid5(NAMESPACE_URL, f"k42fs:{said}").bytes

    def _new_streams(self, trace_id: bytes) -> None:
        """Begin a trace with empty lists."""
        self._trace_id = trace_id
        self._streams = [self._new_stream(vp) for vp in range(len(self._processors))]
        self._names = self._new_stream(NAMES_CPU)
        for emit, stream in zip(self.emit, self._streams, strict=True):
            emit.bind(stream.words, self._names.words)
        self._definitions = Definitions()
        self._forget_names()
        self._events = 0
        self._losses = Losses()

    def _new_stream(self, cpu: int) -> Stream:
        apart = -(-self.ticks_per_second // 10**9)
        return Stream(load(), self._trace_id, cpu, cpu, self._host_clock, apart)

    def set_mask(self, mask: int) -> None:
        """Let the classes in *mask* be recorded, and Control with them; 0 ends it. Each change is recorded.

        If somebody who has a part in that fails, everything is off afterwards, and there is no recording.
        """
        try:
            self._set_mask(with_control(mask))
        except BaseException:
            self._turn(0)
            with suppress(Exception):  # what failed first is what matters
                self._end()
            for changed in self.on_mask:
                with suppress(Exception):
                    changed(0)
            raise

    def _set_mask(self, mask: int) -> None:
        old = self.mask
        if old:  # what is kept back belongs to the classes that are on now
            self._flush_sources()
        if mask and not old:
            if self._recording is None:
                self._new_streams(self._new_id())
                self._recording = RingRecording(self._ring_packets, self._ring_wraps, self._dropped)
                self._failure = ""
            self._turn(mask)
            self._preamble()
        if mask or old:
            for emit in self.emit:
                emit.control_trace_mask(mask)
        if mask != self.mask:
            self._turn(mask)
        self._tell()

    def _turn(self, mask: int) -> None:
        self.mask = mask
        self.on.set(mask)
        self.emit[0].switch(mask)

    def _tell(self) -> None:
        for changed in self.on_mask:
            changed(self.mask)

    def _preamble(self) -> None:
        """Say on every processor what a reader must know, whatever classes are on; then name what is alive."""
        wanted = self.mask
        self._turn(wanted | CONTROL | INFO | META)
        for vp, (cpu, emit) in enumerate(zip(self._processors, self.emit, strict=True)):
            emit.control_heartbeat(cpu.clock, vp, self._host_clock())
            emit.control_ticks_per_second(self.ticks_per_second)
            emit.info_number_processors(len(self._processors))
            emit.info_cpu_clock_frequency(self.ticks_per_second)
        self.numbers.forget_strings()
        self._define()
        self._turn(wanted)

    def _define(self) -> None:
        """Say what numbers stand for that are good for ever, and name what is alive."""
        self.numbers.restate()
        for key, value in self.settings.items():
            self.emit[0].meta_setting(self.numbers.constant(key), self.numbers.constant(str(value)))
        if self._describe is not None:
            self._describe(self)

    def _forget_names(self) -> None:
        """Let everything be defined again at its next use: old definitions are gone."""
        self.numbers.forget_strings()
        self.named_lines.clear()
        self.named.clear()
        self.named_objects.clear()
        self.forgotten += 1

    def heartbeat(self) -> None:
        """Say the time on every processor, virtual and of the host."""
        for vp, (cpu, emit) in enumerate(zip(self._processors, self.emit, strict=True)):
            emit.control_heartbeat(cpu.clock, vp, self._host_clock())

    def start(self, path: Path, mask: int, limit_bytes: int = 0, zstd: bool = False) -> None:
        """Record to the directory *path*, which must be empty or not there yet; 0: without bound. *zstd*: compressed.

        What a flight recorder holds is gone. Raises BusyError if there is a recording to a directory already,
        NameExistsError, ConfigError, OSError: then nothing has changed.
        """
        if not mask:
            raise ConfigError("trace: with the mask 0 nothing is recorded")
        self._no_directory()
        trace_id = self._new_id()
        text = self._metadata(trace_id)
        recording = DirectoryRecording(path, text, len(self._processors), limit_bytes, self._dropped, zstd)
        self.set_mask(0)
        self._end()
        self._new_streams(trace_id)
        self._recording = recording
        self._failure = ""
        self.emit[0].switch(CONTROL)
        for emit in self.emit:
            emit.control_traced_start()
        self.set_mask(mask)

    def _metadata(self, trace_id: bytes) -> str:
        env = {"processors": len(self._processors), **self.settings, "ended": " " * ENDED_BYTES}
        return metadata(load(), trace_id, self.ticks_per_second, env)

    def stop(self) -> TraceStatus:
        """Turn everything off, complete the directory if there is one, and return how it went.

        A flight recorder keeps what it holds until the next `start` or `reset`.
        """
        if isinstance(self._recording, DirectoryRecording):
            for emit in self.emit:
                emit.control_traced_stop()
        self.set_mask(0)
        self.drain(everything=True)
        status = self.status()
        if isinstance(self._recording, DirectoryRecording):
            try:
                self._end()
            except OSError as exc:
                self._failure = f"the last of it could not be written: {exc.strerror or exc}"
                status = replace(status, failure=self._failure)
        return status

    def dump(self, path: Path) -> None:
        """Write what the flight recorder holds to the directory *path*; it goes on.

        Raises BusyError if there is no flight recorder, NameExistsError, OSError.
        """
        self._no_directory()
        ring = self._recording
        if not isinstance(ring, RingRecording):
            raise BusyError("trace: nothing has been recorded")
        wanted = self.mask
        self._turn(wanted | META)
        self._define()  # long ago it was said before, and may be gone
        self._turn(wanted)
        self.drain(everything=True)
        recording = DirectoryRecording(path, self._metadata(self._trace_id), len(self._processors))
        try:
            names = self._new_stream(NAMES_CPU)
            for words in self._definitions.events():
                names.words.extend(words)
            self._losses.tell_all(names)
            for packet in names.cut(everything=True):
                recording.take(names, packet)
            ring.write(recording)
        except OSError as exc:
            recording.end_early(exc.strerror or str(exc), {})
            raise
        finally:
            recording.close()

    def reset(self) -> None:
        """Forget what the flight recorder holds; the mask stays. Raises BusyError while recording to a directory."""
        self._no_directory()
        mask = self.mask
        self.set_mask(0)
        self._end()
        self.set_mask(mask)

    def _no_directory(self) -> None:
        if isinstance(self._recording, DirectoryRecording):
            raise BusyError(f"trace: recording to {self._recording.path}")

    def _end(self) -> None:
        recording, self._recording = self._recording, None
        if recording is not None:
            self._bytes = recording.bytes_written
            recording.close()

    def poll(self, vp: int) -> None:
        """Make packets if this processor has enough for some. Cheap: for after each operation."""
        if len(self._streams[vp].words) > DRAIN_WORDS:
            self.drain()

    def poll_all(self) -> None:
        """Do what `poll` does, for all processors: for after some operations, whosever they were."""
        if any(len(stream.words) > DRAIN_WORDS for stream in self._streams):
            self.drain()

    def drain(self, everything: bool = False) -> None:
        """Make packets of what has come; *everything*: also of what does not fill one, for sync and unmount."""
        recording = self._recording
        if recording is None:
            return
        self._flush_sources()
        # The others have no packet full, and would only be looked through.
        streams = [stream for stream in self._streams if everything or len(stream.words) > ROOM_WORDS]
        packets = [(stream, packet) for stream in streams for packet in stream.cut(everything)]
        if isinstance(recording, RingRecording):
            if gone := self._definitions.take(self._names):
                self.lose(NAMES_CPU, gone, 0, 0)
                self._forget_names()
        elif packets or everything:  # what an event's numbers mean is on disk before it
            packets[:0] = self._definition_packets()
        if self._write(packets) and everything and isinstance(recording, DirectoryRecording):
            self._write(self._definition_packets())  # what has been dropped by writing

    def _definition_packets(self) -> list[tuple[Stream, Packet]]:
        self._losses.tell(self._names)
        return [(self._names, packet) for packet in self._names.cut(everything=True)]

    def _write(self, packets: list[tuple[Stream, Packet]]) -> bool:
        """Record *packets*; say whether that went well."""
        recording = self._recording
        assert recording is not None, "packets without a recording"
        for index, (stream, packet) in enumerate(packets):
            try:
                recording.take(stream, packet)
            except OSError as exc:
                self._fail(exc, packets[index:])
                return False
            if stream is not self._names:
                self._events += packet[2]
        return True

    def _flush_sources(self) -> None:
        for flush in self.sources:
            flush()

    def _fail(self, error: OSError, unwritten: list[tuple[Stream, Packet]]) -> None:
        """End a recording that cannot go on: everything off, what is lost counted."""
        self._turn(0)
        for stream, (head, _, events) in unwritten:
            if stream is not self._names:
                self._dropped(stream, events, head.begin, head.end)
        for stream in self._streams:
            count = stream.pending()
            stream.words.clear()
            if count:
                self._dropped(stream, count, 0, 0)
        reason = error.strerror or str(error)
        self._failure = f"recording ended: {reason}"
        if isinstance(self._recording, DirectoryRecording):
            self._recording.end_early(reason, self._losses.by_cpu())
        with suppress(OSError):
            self._end()
        self._tell()

    def _dropped(self, stream: Stream, count: int, begin: int, end: int) -> None:
        self.lose(stream.cpu, count, begin, end)

    def lose(self, cpu: int, count: int, begin: int, end: int) -> None:
        """Count events of *cpu* that will be in no file, with the stamps of the first and the last."""
        self._losses.add(cpu, count, begin, end)

    def status(self) -> TraceStatus:
        recording = self._recording
        path = recording.path if isinstance(recording, DirectoryRecording) else None
        mode = "off" if recording is None else "ring" if path is None else "directory"
        return TraceStatus(
            self.mask,
            mode,
            path,
            self._events,
            sum(len(stream.words) for stream in self._streams),
            self._losses.count,
            self._bytes if recording is None else recording.bytes_written,
            self._failure,
        )

    def pending_events(self) -> int:
        """Count the events that are in no packet yet; takes the longer the more there are."""
        return sum(stream.pending() for stream in self._streams)

    def streams(self) -> Sequence[Stream]:
        """Return the processors' streams, for whoever shows their latest events."""
        return self._streams
