"""A recording on disk: its files, the packets in them, and what of it cannot be read.

Nothing here trusts a byte. A file that holds no packets, a torn tail, a packet that contradicts itself: each is
left out and counted in `Loss`; reading goes on at the next multiple of a packet's size. Only a directory that
holds no recording of ours at all raises TraceError.

Order within a stream is the order in the files, and of a rotated stream's files that of their first packets'
sequence numbers. Times are ticks of the processors' clocks, which is cycles; `ticks_per_second` says how many.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from k42fs.errors import InvalidArgumentError
from k42fs.machine.tracing.flushing import unwritten_seconds
from k42fs.machine.tracing.packets import (
    HEAD_BYTES,
    LEAD,
    NAMES_CPU,
    PACKET_BYTES,
    PacketHead,
    decode_head,
)
from k42fs.machine.tracing.recordings import AS_TOLD, is_being_written
from k42fs.machine.tracing.schema import Schema, load
from k42fs.report.completeness import absences, is_newer_format
from k42fs.report.decode import Decoder, Record
from k42fs.report.packet_files import METADATA, PacketFile, packet_files

OWN_EVENT: Final = '"MON::Meta::'
"""In the metadata of every recording of ours, however damaged the beginning."""

METADATA_BYTES_MAX: Final = 1 << 22
NANOSECONDS: Final = 10**9
PROCESSORS_MAX: Final = 1 << 16
PLACES_KEPT: Final = 8
MISSING_MAX: Final = 1 << 24
DISCARDED_MAX: Final = 1 << 40
"""Larger steps in a packet's numbers are taken for damage, not for so many packets or events lost."""


class TraceError(InvalidArgumentError):
    """There is no recording here that can be read at all: the text says why."""


@dataclass(slots=True)
class Loss:
    """What of a recording could not be read, or was never written. `discarded` and `unknown` are no damage."""

    packets: int = 0
    words: int = 0
    torn_bytes: int = 0
    missing_packets: int = 0
    discarded: int = 0
    unknown: int = 0
    ended: str = ""
    """Why the recording ended before it was told to."""

    killed: str = ""
    """What may be missing because the recording was never ended."""

    places: list[str] = field(default_factory=list)

    def note(self, place: str) -> None:
        """Remember where something was wrong; only the first few."""
        if len(self.places) < PLACES_KEPT and place not in self.places:
            self.places.append(place)

    @property
    def is_damage(self) -> bool:
        return bool(self.packets or self.torn_bytes or self.missing_packets or self.killed or self.places)

    def sentences(self) -> list[str]:
        """Return what a reader of the report must know, one sentence each; nothing if all is well."""
        said = []
        if self.packets:
            said.append(f"{self.packets:,} damaged packets: {self.words:,} words in them were not read")
        if self.torn_bytes:
            said.append(f"{self.torn_bytes:,} bytes at the ends of files are no whole packet")
        if self.missing_packets:
            said.append(f"{self.missing_packets:,} packets are missing")
        if self.discarded:
            said.append(f"{self.discarded:,} events were discarded while recording")
        if self.ended:
            said.append(f"the recording ended early: {self.ended}")
        if self.killed:
            said.append(f"the recording was not ended: its writer was killed; {self.killed}")
        if self.unknown:
            said.append(f"{self.unknown:,} events are of kinds that only a later version knows: left out")
        return said + self.places


@dataclass(frozen=True, slots=True)
class Place:
    """Where a packet is."""

    file: PacketFile
    index: int
    head: PacketHead


class Trace:
    """A recording: its streams, by processor, and the stream of definitions."""

    def __init__(self, path: str | Path) -> None:
        """Look at the recording in directory *path*; reads no events yet. Raises TraceError, OSError."""
        self.path = Path(path)
        if not self.path.is_dir():
            what = "is not a directory" if self.path.exists() else "does not exist"
            raise TraceError(f"{path} {what}: a recording is a directory with a file per processor")
        self.schema: Schema = load()
        self.loss = Loss()
        self._seen: set[str] = set()
        self._headless: Counter[PacketFile] = Counter()
        self.discarded: dict[int, int] = {}
        """Events that each processor discarded while recording, as its packets say."""
        self._text = ""
        self.env, self.ticks_per_second = self._metadata()
        self.newer = self._revision() > self.schema.revision or is_newer_format(self._text)
        streams, definitions = self._index()
        self.absences = absences(self._text, self.env, streams, bool(definitions), self.schema)
        for absent in self.absences:
            self.loss.note(str(absent))
        self.loss.discarded = sum(self.discarded.values())
        self.streams: dict[int, list[Place]] = dict(sorted(streams.items()))
        self.definitions = definitions
        places = [
            place for stream in self.streams.values() for place in stream if not place.head.flags & LEAD
        ]
        self.begin = min((place.head.begin for place in places), default=0)
        self.end = max((place.head.end for place in places), default=0)

    @property
    def processors(self) -> list[int]:
        """The processors that recorded anything."""
        return list(self.streams)

    def seconds(self, ticks: int) -> float:
        return ticks / self.ticks_per_second

    def nanoseconds(self, ticks: int) -> int:
        return ticks * NANOSECONDS // self.ticks_per_second

    def records(
        self,
        places: Collection[Place],
        wanted: Collection[int] | None = None,
        since: int = 0,
        until: int | None = None,
        decoder: Decoder | None = None,
    ) -> Iterator[list[Record]]:
        """Yield the records of one stream, packet by packet, of those that touch the time from *since* to *until*.

        *decoder* takes packets apart in another way than usual, whatever is *wanted*.
        Times never go back: a packet that begins before its predecessor's end is left out and counted.
        """
        decoder = decoder or Decoder(self.schema, wanted, self.newer)
        last = 0
        for place in places:
            head = place.head
            if head.end < since or (until is not None and head.begin > until):
                last = max(last, head.end) if head.begin >= last else last
                continue
            if head.begin < last:
                self._garbled(place, head.words, "goes back in time")
                continue
            body = self._body(place)
            words = len(body) // 8
            records, read = decoder.decode_bytes(body, head.cpu, head.begin, head.end)
            if read < words or (not words and head.words):
                self._garbled(place, head.words - read, f"garbled after {read} of its words")
            last = head.end if read == words else records[-1][0] if records else last
            if records:
                yield records
        self.loss.unknown = max(self.loss.unknown, decoder.unknown)

    def _body(self, place: Place) -> bytes:
        """Return the words of a packet; none if the file has shrunk since it was looked at."""
        body = place.file.body(place.index, 8 * place.head.words)
        return body if len(body) == 8 * place.head.words else b""

    def _garbled(self, place: Place, words: int, why: str) -> None:
        """Count a damaged packet, once however often it is read."""
        where = f"{place.file.name}: packet {place.index} {why}"
        if where in self._seen:
            return
        self._seen.add(where)
        self.loss.packets += 1
        self.loss.words += words
        self.loss.note(where)

    def _metadata(self) -> tuple[dict[str, str | int], int]:
        """Return what the recording says of itself, and the ticks in a second."""
        try:
            with (self.path / METADATA).open("rb") as file:
                text = file.read(METADATA_BYTES_MAX).decode("utf-8", "replace")
        except FileNotFoundError:
            self.loss.note("no metadata: one tick is taken for a nanosecond")
            return {}, NANOSECONDS
        self._text = text
        env: dict[str, str | int] = {}
        if block := re.search(r"env\s*\{(.*?)\};", text, re.DOTALL):
            for key, number, words in re.findall(
                r'(\w+)\s*=\s*(?:(-?\d+)|"((?:[^"\\]|\\.)*)")\s*;', block[1]
            ):
                env[key] = int(number) if number else words
        is_foreign = not env and "trace" in text and "event" in text and OWN_EVENT not in text
        if env.get("domain", "k42fs") != "k42fs" or is_foreign:
            maker = env.get("tracer_name", "another tracer")
            raise TraceError(f"{self.path} was recorded by {maker}, not by k42fs: babeltrace2 may read it")
        ticks = re.search(r"freq\s*=\s*(\d+)\s*;", text)
        if not env or not ticks or not int(ticks[1]):
            self.loss.note("metadata is damaged: one tick is taken for a nanosecond")
            return env, NANOSECONDS
        return env, int(ticks[1])

    def _revision(self) -> int:
        revision = self.env.get("schema_revision", 0)
        return revision if isinstance(revision, int) else 0

    def _index(self) -> tuple[dict[int, list[Place]], list[Place]]:
        """Find the packets: by processor, and those of the definitions."""
        files = packet_files(self.path)
        packets = [place for file in files for place in self._of_one_stream(file)]
        if not packets:
            self._nothing(files)
        self._ending(any(place.head.host_ns for place in packets))
        ids = Counter(place.head.trace_id for place in packets)
        ours = ids.most_common(1)[0][0] if ids else b""
        streams: dict[int, list[Place]] = {}
        for place in packets:
            if place.head.trace_id == ours:
                streams.setdefault(place.head.cpu, []).append(place)
            else:
                self._garbled(place, place.head.words, "belongs to another recording")
        for cpu, places in streams.items():
            streams[cpu] = self._in_order(places)
        return streams, streams.pop(NAMES_CPU, [])

    def _ending(self, has_host_time: bool) -> None:
        """Find out why the recording ended. One that goes on has not, and nothing is to be said of it."""
        ended = self.env.get("ended")
        if not isinstance(ended, str) or ended.strip() == AS_TOLD:
            return
        self.loss.ended = ended.strip()
        if self.loss.ended or is_being_written(self.path / METADATA):
            return
        count = self.env.get("processors", 1)
        seconds = unwritten_seconds(count if isinstance(count, int) else 1)
        self.loss.killed = (
            f"up to {seconds:g} s before that may be missing"
            if has_host_time
            else "what was not on disk yet is missing"
        )

    def _nothing(self, files: list[PacketFile]) -> None:
        """Decide whether a directory without packets is an empty recording, or none."""
        if not (self.path / METADATA).exists() or not self.env:
            raise TraceError(f"{self.path} holds no recording: no file in it has packets that k42fs can read")
        if any(file.path.stat().st_size for file in files):
            self.loss.note("no file has a packet that can be read")

    def _of_one_stream(self, file: PacketFile) -> list[Place]:
        """Return the packets of *file*, without those that say they are of another processor than most."""
        places = list(self._packets(file))
        of_most = Counter((place.head.cpu, place.head.stream) for place in places).most_common(1)
        kept = []
        for place in places:
            if (place.head.cpu, place.head.stream) == of_most[0][0]:
                kept.append(place)
            else:
                self._garbled(place, place.head.words, "is of another processor")
        return kept

    def _packets(self, file: PacketFile) -> Iterator[Place]:
        """Yield the packets of *file* whose heads can be right; count what is between and after them."""
        for index, start in enumerate(file.heads()):
            head = decode_head(start)
            if head is not None and is_sane(head):
                yield Place(file, index, head)
            else:
                self._headless[file] += 1
                self.loss.packets += 1
                self.loss.words += (PACKET_BYTES - HEAD_BYTES) // 8
                self.loss.note(f"{file.name}: packet {index} has no valid head")
        if file.torn:
            self.loss.torn_bytes += file.torn
            self.loss.note(f"{file.name} ends within a packet")

    def _in_order(self, places: list[Place]) -> list[Place]:
        """Put the files of a stream in order; count the packets that are missing between, and the discards."""
        first: dict[PacketFile, int] = {}
        for place in places:
            first.setdefault(place.file, place.head.sequence)
        ordered = sorted(places, key=lambda place: (first[place.file], place.file.name, place.index))
        numbers = [place.head.sequence for place in ordered if not place.head.flags & LEAD]
        known = len(numbers) + sum(self._headless[file] for file in first)
        if numbers and known < (span := numbers[-1] - numbers[0] + 1) < known + MISSING_MAX:
            self.loss.missing_packets += span - known
        discarded = 0
        for place in ordered:
            if discarded < place.head.discarded < discarded + DISCARDED_MAX:
                discarded = place.head.discarded
        if discarded:
            self.discarded[ordered[0].head.cpu] = discarded
        return ordered


def is_sane(head: PacketHead) -> bool:
    """Return whether a head's own numbers agree with each other."""
    bits = 8 * PACKET_BYTES
    return (
        head.packet_bits == bits
        and 8 * HEAD_BYTES <= head.content_bits <= bits
        and head.content_bits % 8 == 0
        and head.begin <= head.end
        and (head.cpu < PROCESSORS_MAX or head.cpu == NAMES_CPU)
    )
