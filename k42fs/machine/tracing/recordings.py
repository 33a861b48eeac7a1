"""Where packets go: a directory that is a CTF trace, or memory, from which a directory can be made later."""

from __future__ import annotations

import fcntl
import os
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from k42fs.errors import ConfigError, NameExistsError
from k42fs.machine.tracing.frames import HEAD_AT, SUFFIX, pack_frames
from k42fs.machine.tracing.packets import DISCARDED_AT, NAMES_CPU, PACKET_BYTES, with_discarded
from k42fs.machine.tracing.stream import Packet, Stream

PARTS: Final = 4
"""Of a bounded recording: in how many files a stream is, the oldest of which goes when a new one begins."""

BLOCK_BYTES: Final = 4096
"""In what most file systems keep files."""

HOLE: Final = bytes(BLOCK_BYTES)
"""Zeros at a packet's end that are worth leaving out."""

ENDED: Final = b'ended = "'
"""In the metadata, before ENDED_BYTES of room for why a recording ended. Blank while it goes on."""

ENDED_BYTES: Final = 80
ENDED_WITHIN: Final = 1 << 14
AS_TOLD: Final = "as it was told to"
"""Why a recording ended of which nothing is missing."""

Dropped = Callable[[Stream, int, int, int], None]
"""Called with a stream, how many of its events were dropped, and the first's and last's stamps."""


def file_name(cpu: int) -> str:
    return "names" if cpu == NAMES_CPU else f"cpu{cpu}"


def blocks(nbytes: int) -> int:
    """Return what a disk keeps of *nbytes*, in bytes."""
    return -(-nbytes // BLOCK_BYTES) * BLOCK_BYTES


def write_whole(fd: int, packet: bytes) -> int:
    """Append *packet*, or its frames, to the file, or nothing: a reader refuses a torn one. Raises OSError.

    Of a packet that is mostly empty, as those of an idle processor are, the disk need not keep the zeros.
    Returns how many bytes it keeps.
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
    return blocks(start + len(content)) - blocks(start)


def is_being_written(metadata: Path) -> bool:
    """Tell whether somebody records now to the directory of *metadata*: a lock says so, which ends with its process.

    Raises OSError.
    """
    with metadata.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


class Recording(Protocol):
    """Takes packets. `bytes_written` is what it holds now."""

    bytes_written: int

    def take(self, stream: Stream, packet: Packet) -> None:
        """Keep *packet*. Raises OSError if it cannot be kept."""
        ...

    def close(self) -> None: ...


class DirectoryRecording:
    """A directory that anybody can read at any time: only whole packets are added. With *zstd* they are compressed.

    With *limit_bytes* each processor's stream keeps to its share: it is written in parts, and the oldest part
    is dropped for a new one. An empty packet then stands in its place, numbered 0, so that a reader sees a gap
    in the numbers, and *dropped* is told. Definitions are always kept.
    `bytes_written` is what the disk keeps of it. The metadata is locked until `close`.
    Raises NameExistsError if the directory is there and not empty, ConfigError for too small a limit, OSError.
    """

    def __init__(
        self,
        path: Path,
        metadata: str,
        processors: int,
        limit_bytes: int = 0,
        dropped: Dropped | None = None,
        zstd: bool = False,
    ) -> None:
        self.path = path
        self._part_bytes = limit_bytes // (PARTS * processors)
        if limit_bytes and self._part_bytes < PACKET_BYTES:
            least = PACKET_BYTES * PARTS * processors
            raise ConfigError(
                f"size bound: {limit_bytes:,} bytes is too little: {processors} processors need {least >> 10:,}k"
            )
        path.mkdir(exist_ok=True)
        if any(path.iterdir()):
            raise NameExistsError(f"{path} is not empty")
        self._zstd = zstd
        self._why = AS_TOLD
        self._dropped = dropped
        self._files: dict[int, int] = {}  # stream -> descriptor
        self._last: dict[int, int] = {}  # stream -> where in its file the latest packet begins
        self._parts: dict[int, deque[_Part]] = {}
        self._gone: Counter[int] = Counter()  # stream -> events dropped
        self._lost: Mapping[int, int] = {}  # stream -> events dropped or never written
        self._metadata = os.open(path / "metadata", os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._metadata, fcntl.LOCK_EX)
            self.bytes_written = write_whole(self._metadata, metadata.encode())
        except OSError:
            os.close(self._metadata)
            raise

    def take(self, stream: Stream, packet: Packet) -> None:
        data = pack_frames(packet[1]) if self._zstd else packet[1]
        fd = self._file(stream, len(data))
        start = os.lseek(fd, 0, os.SEEK_END)
        kept = write_whole(fd, data)
        self.bytes_written += kept
        self._last[stream.number] = start
        if parts := self._parts.get(stream.number):
            parts[-1].add(packet, start, len(data), kept)

    def close(self) -> None:
        """Close the files. What is left of a bounded stream is told how many events are not there."""
        for number, parts in self._parts.items():
            if count := self._lost.get(number, self._gone[number]):
                for part in parts:
                    with part.path.open("r+b") as file:
                        self._set_discarded(file.fileno(), part.starts, count)
        for number, fd in self._files.items():
            if number not in self._parts and number in self._last and (count := self._lost.get(number, 0)):
                self._set_discarded(fd, [self._last[number]], count)
            os.close(fd)
        self._files.clear()
        self._gone.clear()
        if self._metadata >= 0:
            self._say_why()
            os.close(self._metadata)
            self._metadata = -1

    def end_early(self, why: str, lost: Mapping[int, int]) -> None:
        """Say at `close` in the metadata *why* the recording ends, and in the packets what of their streams is *lost*,
        by processor. Nothing grows by that, so a full disk takes it.
        """
        self._why, self._lost = why, lost

    def _say_why(self) -> None:
        said = bytes(byte for byte in self._why.encode("ascii", "replace") if byte not in b'"\\')[
            :ENDED_BYTES
        ]
        at = os.pread(self._metadata, ENDED_WITHIN, 0).find(ENDED)
        if at >= 0:
            os.pwrite(self._metadata, said.ljust(ENDED_BYTES), at + len(ENDED))

    def _set_discarded(self, fd: int, starts: Sequence[int], count: int) -> None:
        """Let the packets that begin at *starts* say that *count* events are not there."""
        within = DISCARDED_AT + (HEAD_AT if self._zstd else 0)
        for start in starts:
            os.pwrite(fd, count.to_bytes(8, "little"), start + within)

    def _file(self, stream: Stream, nbytes: int) -> int:
        """Return the descriptor of the file that takes the stream's next packet, *nbytes* long."""
        number = stream.number
        bounded = self._part_bytes and stream.cpu != NAMES_CPU
        parts = self._parts.setdefault(number, deque()) if bounded else None
        if number in self._files and (parts is None or parts[-1].nbytes + nbytes <= self._part_bytes):
            return self._files[number]
        path = self._path(stream, parts[-1].number + 1 if parts else 1 if bounded else "")
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

    def _path(self, stream: Stream, part: int | str) -> Path:
        """Return the name of the file of a stream, or of a *part* of it."""
        name = f"{file_name(stream.cpu)}.{part}" if part else file_name(stream.cpu)
        return self.path / (name + SUFFIX if self._zstd else name)

    def _drop(self, stream: Stream, part: _Part) -> None:
        lead = self._path(stream, "lead")
        if not lead.exists():
            fd = os.open(lead, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
            try:
                empty = stream.empty(part.begin, 0, 0)
                self.bytes_written += write_whole(fd, pack_frames(empty) if self._zstd else empty)
            finally:
                os.close(fd)
        part.path.unlink()
        self._gone[stream.number] += part.events
        self.bytes_written -= part.kept
        if self._dropped is not None:
            self._dropped(stream, part.events, part.begin, part.end)


class _Part:
    """What is in one file of a bounded stream: where its packets begin, its length, and what the disk keeps."""

    __slots__ = ("begin", "end", "events", "kept", "nbytes", "number", "path", "starts")

    def __init__(self, path: Path, number: int) -> None:
        self.path, self.number = path, number
        self.starts: list[int] = []
        self.events = self.begin = self.end = self.nbytes = self.kept = 0

    def add(self, packet: Packet, start: int, nbytes: int, kept: int) -> None:
        if not self.starts:
            self.begin = packet[0].begin
        self.end = packet[0].end
        self.starts.append(start)
        self.events += packet[2]
        self.nbytes += nbytes
        self.kept += kept


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
