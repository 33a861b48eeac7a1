"""Where packets go: a directory that is a CTF trace, or memory, from which a directory can be made later."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from k42fs.errors import ConfigError, NameExistsError
from k42fs.machine.tracing.packets import DISCARDED_AT, NAMES_CPU, PACKET_BYTES, with_discarded
from k42fs.machine.tracing.stream import Packet, Stream

PARTS: Final = 4
"""Of a bounded recording: in how many files a stream is, the oldest of which goes when a new one begins."""

HOLE: Final = bytes(4096)
"""Zeros at a packet's end that are worth leaving out: a block of most file systems."""

ENDED: Final = b'ended = "'
"""In the metadata, before ENDED_BYTES of room for why a recording ended before it was told to."""

ENDED_BYTES: Final = 80
ENDED_WITHIN: Final = 1 << 14

Dropped = Callable[[Stream, int, int, int], None]
"""Called with a stream, how many of its events were dropped, and the first's and last's stamps."""


def file_name(cpu: int) -> str:
    return "names" if cpu == NAMES_CPU else f"cpu{cpu}"


def write_whole(fd: int, packet: bytes) -> None:
    """Append *packet* to the file, or nothing: a reader refuses a torn one. Raises OSError.

    Of a packet that is mostly empty, as those of an idle processor are, the disk need not keep the zeros.
    """
    start = os.lseek(fd, 0, os.SEEK_END)
    content = packet.rstrip(b"\0") if packet.endswith(HOLE) else packet
    try:
        written = os.write(fd, content)
        while written < len(content):  # what is missing now says why at the next try
            written += os.write(fd, content[written:])
        if content is not packet:
            os.ftruncate(fd, start + len(packet))
    except OSError:
        os.ftruncate(fd, start)
        raise


class Recording(Protocol):
    """Takes packets. `bytes_written` is what it holds now."""

    bytes_written: int

    def take(self, stream: Stream, packet: Packet) -> None:
        """Keep *packet*. Raises OSError if it cannot be kept."""
        ...

    def close(self) -> None: ...


class DirectoryRecording:
    """A directory that anybody can read at any time: only whole packets are added.

    With *limit_bytes* each processor's stream keeps to its share: it is written in parts, and the oldest part
    is dropped for a new one. An empty packet then stands in its place, numbered 0, so that a reader sees a gap
    in the numbers, and *dropped* is told. Definitions are always kept.
    Raises NameExistsError if the directory is there and not empty, ConfigError for too small a limit, OSError.
    """

    def __init__(
        self, path: Path, metadata: str, processors: int, limit_bytes: int = 0, dropped: Dropped | None = None
    ) -> None:
        self.path = path
        self.bytes_written = 0
        self._part_packets = limit_bytes // (PACKET_BYTES * PARTS * processors)
        if limit_bytes and not self._part_packets:
            least = PACKET_BYTES * PARTS * processors
            raise ConfigError(
                f"size bound: {limit_bytes:,} bytes is too little: {processors} processors need {least >> 10:,}k"
            )
        path.mkdir(exist_ok=True)
        if any(path.iterdir()):
            raise NameExistsError(f"{path} is not empty")
        (path / "metadata").write_text(metadata)
        self._dropped = dropped
        self._files: dict[int, int] = {}  # stream -> descriptor
        self._parts: dict[int, deque[_Part]] = {}
        self._gone: Counter[int] = Counter()  # stream -> events dropped
        self._lost: Mapping[int, int] = {}  # stream -> events dropped or never written

    def take(self, stream: Stream, packet: Packet) -> None:
        write_whole(self._file(stream), packet[1])
        self.bytes_written += PACKET_BYTES
        if parts := self._parts.get(stream.number):
            parts[-1].add(packet)

    def close(self) -> None:
        """Close the files. What is left of a bounded stream is told how many events are not there."""
        for number, parts in self._parts.items():
            if count := self._lost.get(number, self._gone[number]):
                for part in parts:
                    part.set_discarded(count)
        for number, fd in self._files.items():
            last = os.fstat(fd).st_size - PACKET_BYTES
            if number not in self._parts and last >= 0 and (count := self._lost.get(number, 0)):
                os.pwrite(fd, count.to_bytes(8, "little"), last + DISCARDED_AT)
            os.close(fd)
        self._files.clear()
        self._gone.clear()

    def end_early(self, why: str, lost: Mapping[int, int]) -> None:
        """Say in the metadata *why* the recording ends, and at `close` in the packets what of their streams is
        *lost*, by processor. Nothing grows by that, so a full disk takes it. Raises OSError.
        """
        self._lost = lost
        said = bytes(byte for byte in why.encode("ascii", "replace") if byte not in b'"\\')[:ENDED_BYTES]
        with (self.path / "metadata").open("r+b") as file:
            at = file.read(ENDED_WITHIN).find(ENDED)
            if at >= 0:
                file.seek(at + len(ENDED))
                file.write(said.ljust(ENDED_BYTES))

    def _file(self, stream: Stream) -> int:
        """Return the descriptor of the file that takes the stream's next packet."""
        number = stream.number
        bounded = self._part_packets and stream.cpu != NAMES_CPU
        parts = self._parts.setdefault(number, deque()) if bounded else None
        if number in self._files and (parts is None or parts[-1].packets < self._part_packets):
            return self._files[number]
        path = self.path / file_name(stream.cpu)
        if parts is not None:
            path = path.with_suffix(f".{parts[-1].number + 1 if parts else 1}")
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        if number in self._files:
            os.close(self._files[number])
        self._files[number] = fd
        if parts is not None:
            parts.append(_Part(path, parts[-1].number + 1 if parts else 1))
            # The new part counts as full: the bound holds at every moment.
            while len(parts) > PARTS:
                self._drop(stream, parts.popleft())
        return fd

    def _drop(self, stream: Stream, part: _Part) -> None:
        lead = self.path / f"{file_name(stream.cpu)}.lead"
        if not lead.exists():
            fd = os.open(lead, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
            try:
                write_whole(fd, stream.empty(part.begin, 0, 0))
            finally:
                os.close(fd)
        part.path.unlink()
        self._gone[stream.number] += part.events
        self.bytes_written -= part.packets * PACKET_BYTES
        if self._dropped is not None:
            self._dropped(stream, part.events, part.begin, part.end)


class _Part:
    """What is in one file of a bounded stream."""

    __slots__ = ("begin", "end", "events", "number", "packets", "path")

    def __init__(self, path: Path, number: int) -> None:
        self.path, self.number = path, number
        self.packets = self.events = self.begin = self.end = 0

    def add(self, packet: Packet) -> None:
        if not self.packets:
            self.begin = packet[0].begin
        self.end = packet[0].end
        self.packets += 1
        self.events += packet[2]

    def set_discarded(self, count: int) -> None:
        with self.path.open("r+b") as file:
            for index in range(self.packets):
                file.seek(index * PACKET_BYTES + DISCARDED_AT)
                file.write(count.to_bytes(8, "little"))


class RingRecording:
    """The flight recorder: the last packets of each processor, in memory.

    When a stream's ring is full, *wrap* drops its oldest packet; without it what comes is dropped. Both count.
    """

    def __init__(self, packets: int, wrap: bool = True, dropped: Dropped | None = None) -> None:
        if packets < 1:
            raise ConfigError(f"ring: {packets} packets; it needs at least 1 for each processor")
        self.bytes_written = 0
        self._room, self._wrap, self._dropped = packets, wrap, dropped
        self._rings: dict[int, _Ring] = {}

    def take(self, stream: Stream, packet: Packet) -> None:
        ring = self._rings.setdefault(stream.number, _Ring(stream, packet[0].begin))
        gone: Packet | None = None
        if len(ring.packets) == self._room:
            gone = ring.packets.popleft() if self._wrap else packet
            ring.gone += gone[2]
            if self._dropped is not None:
                self._dropped(stream, gone[2], gone[0].begin, gone[0].end)
        else:
            self.bytes_written += PACKET_BYTES
        if gone is not packet:
            ring.packets.append(packet)

    def write(self, recording: DirectoryRecording) -> None:
        """Add everything to *recording*. Raises OSError."""
        for ring in self._rings.values():
            before = ring.gone if self._wrap else 0
            if before:
                recording.take(ring.stream, (ring.packets[0][0], ring.stream.empty(ring.began, 0, 0), 0))
            for head, data, events in ring.packets:
                recording.take(ring.stream, (head, with_discarded(data, before), events))
            if ring.gone and not self._wrap:
                head = ring.packets[-1][0]
                last = ring.stream.empty(head.end, head.sequence + 1, ring.gone)
                recording.take(ring.stream, (head, last, 0))

    def close(self) -> None:
        self._rings.clear()
        self.bytes_written = 0


class _Ring:
    """One stream's last packets, when it began, and how many events it has lost."""

    __slots__ = ("began", "gone", "packets", "stream")

    def __init__(self, stream: Stream, began: int) -> None:
        self.stream, self.began, self.gone = stream, began, 0
        self.packets: deque[Packet] = deque()
