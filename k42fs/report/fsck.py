"""Look through a recording for damage, packet by packet, and say how it can be mended.

Every packet is decoded as the readers do (decode.py), and checked beyond that for what only stock readers trip over:
text without its NUL at the end of its event, a list of another length than it says, a content size that is not
exactly the end of the last event, numbers of packets and counts of discards that jump. For each packet that gives
one to write instead: what is right of it, up to the first word that cannot be, or an empty one, with what was lost
counted as discarded, so that stock readers take the rest and report the loss.

Nothing is changed here: fsck_repair.py writes a mended copy.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from k42fs.machine.tracing import ctf
from k42fs.machine.tracing.packets import (
    HEAD_BYTES,
    LEAD,
    PACKET_BYTES,
    ROOM_WORDS,
    PacketHead,
    bytes_words,
    decode_head,
)
from k42fs.machine.tracing.schema import Event
from k42fs.report.decode import Decoder, Record
from k42fs.report.packet_files import METADATA, PacketFile, packet_files
from k42fs.report.reader import DISCARDED_MAX, MISSING_MAX, Trace, is_sane

EVENT_WORDS: Final = 3
"""How long an event is taken to be where none of a stream could be read to tell."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Damage in one place. `words` could not be used; about `events` events were in them."""

    file: str
    packet: int | None
    problem: str
    words: int = 0
    events: int = 0

    def __str__(self) -> str:
        where = self.file if self.packet is None else f"{self.file}: packet {self.packet}"
        lost = f" ({self.words:,} words lost, about {self.events:,} events)" if self.words else ""
        return f"{where}: {self.problem}{lost}"


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet as it should be: *head*, and the first `body` bytes after the old one's head."""

    file: PacketFile
    index: int
    head: PacketHead
    body: int


@dataclass(frozen=True, slots=True)
class _Slot:
    """Where a packet is, and its head if that can be one."""

    file: PacketFile
    index: int
    head: PacketHead | None


class Check:
    """The damage in a recording. Raises TraceError if there is none in that directory."""

    def __init__(self, path: str | Path) -> None:
        self.trace = Trace(path)
        self.findings: list[Finding] = []
        self.packets = 0
        self.events = 0
        self.trace_id = b""
        self.ticks_said: int | None = None
        """Ticks per second, as the events themselves say."""
        self._decoder = Decoder(self.trace.schema, None, self.trace.newer)
        schema = self.trace.schema
        self._varying = {each.id: each for each in schema.events() if not each.is_fixed}
        self._ticks = schema.by_attribute["control_ticks_per_second"].id

    def run(self) -> Iterator[Packet]:
        """Yield the packets of a mended recording, stream by stream; `findings` grows meanwhile."""
        files = {file: self._slots(file) for file in packet_files(self.trace.path)}
        heads = [slot.head for slots in files.values() for slot in slots if slot.head is not None]
        if heads:
            self.trace_id = Counter(head.trace_id for head in heads).most_common(1)[0][0]
        streams: dict[tuple[int, int], list[list[_Slot]]] = {}
        for file, slots in files.items():
            owners = Counter(
                (slot.head.cpu, slot.head.stream) for slot in slots if slot.head and self._is_ours(slot.head)
            )
            if owners:
                streams.setdefault(owners.most_common(1)[0][0], []).append(slots)
            elif slots:
                words = ROOM_WORDS * len(slots)
                self._found(file.name, None, "holds no packet of this recording: left out", words)
        for (cpu, stream), parts in sorted(streams.items()):
            parts.sort(key=lambda slots: next(slot.head.sequence for slot in slots if slot.head))
            yield from self._stream([slot for slots in parts for slot in slots], cpu, stream)
        is_right = self.metadata() == self._metadata_now()
        for absent in self.trace.absences:
            if absent.file != METADATA or is_right:
                self._found(absent.file, None, absent.problem)
        if not is_right:
            self._found(METADATA, None, "missing or damaged: it can be made anew")

    def metadata(self) -> str:
        """Return what `metadata` should say, once every packet was seen.

        That of another revision of the schema describes its own events: it is left as it is.
        """
        now = self._metadata_now()
        trace = self.trace
        revision = trace.env.get("schema_revision", trace.schema.revision)
        if not self.trace_id or trace.newer or (now and revision != trace.schema.revision):
            return now
        said = {
            key: _unquoted(value) if isinstance(value, str) else value for key, value in trace.env.items()
        }
        is_said = re.search(r"freq\s*=\s*[1-9]\d*\s*;", now)
        ticks = trace.ticks_per_second if is_said or not self.ticks_said else self.ticks_said
        return ctf.metadata(trace.schema, self.trace_id, ticks, said)

    def _metadata_now(self) -> str:
        try:
            return (self.trace.path / METADATA).read_text("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def _is_ours(self, head: PacketHead) -> bool:
        return head.trace_id == self.trace_id

    def _found(self, file: str, packet: int | None, problem: str, words: int = 0, events: int = 0) -> None:
        if words and not events:
            events = max(words // EVENT_WORDS, 1)
        self.findings.append(Finding(file, packet, problem, words, events))

    def _slots(self, file: PacketFile) -> list[_Slot]:
        """Return the packets of *file*; what follows the last whole one is damage."""
        slots = []
        for index, start in enumerate(file.heads()):
            head = decode_head(start)
            slots.append(_Slot(file, index, head if head is not None and is_sane(head) else None))
        if file.torn:
            problem = f"torn: {file.torn:,} bytes are no whole packet"
            self._found(file.name, len(slots), problem, max(file.torn // 8, 1))
        return slots

    def _stream(self, slots: list[_Slot], cpu: int, stream: int) -> Iterator[Packet]:
        """Yield the packets of one stream, with their numbers, times and discards in order."""
        slots = [self._owned(slot, cpu, stream) for slot in slots]
        numbers, discards = self._numbers(slots), self._discards(slots)
        last = lost = words_seen = events_seen = 0
        for slot, number, discarded in zip(slots, numbers, discards, strict=True):
            self.packets += 1
            words = self._words(slot) if slot.head is not None else []
            problem, kept, end = self._kept(slot, words, last)
            events, used = len(kept), sum(1 + len(record[3]) for record in kept)
            events_seen, words_seen = events_seen + events, words_seen + used
            self.events += events
            self.ticks_said = next((each[3][0] for each in kept if each[2] == self._ticks), self.ticks_said)
            if problem:
                unused = (len(words) or self._filled(slot)) - used
                average = max(words_seen // events_seen, 1) if events_seen else EVENT_WORDS
                guess = max(unused // average, 1) if unused > 0 else 0
                lost += guess
                self._found(slot.file.name, slot.index, problem, unused, guess)
            head = self._head(slot, cpu, stream, kept[0][0] if kept else last, end, number)
            body = self._body(kept, used)
            right = replace(head, content_bits=8 * (HEAD_BYTES + body), discarded=discarded + lost)
            if not problem and slot.head is not None:
                self._compare(slot, slot.head, right, lost)
            yield Packet(slot.file, slot.index, right, body)
            last = max(last, end)

    def _owned(self, slot: _Slot, cpu: int, stream: int) -> _Slot:
        """Return *slot*, without its head if that is another stream's."""
        head = slot.head
        if head is not None and not (self._is_ours(head) and (head.cpu, head.stream) == (cpu, stream)):
            return replace(slot, head=None)
        return slot

    def _words(self, slot: _Slot) -> list[int]:
        assert slot.head is not None, "asked only of packets with a head"
        nbytes = 8 * slot.head.words
        body = slot.file.body(slot.index, nbytes)
        return bytes_words(body).tolist() if len(body) == nbytes else []

    def _filled(self, slot: _Slot) -> int:
        """Return how many words a packet that cannot be read may hold: the zeros at its end are none."""
        body = slot.file.body(slot.index, 8 * ROOM_WORDS)
        if not body and slot.head is not None:
            return slot.head.words
        return (len(body.rstrip(b"\0")) + 7) // 8

    def _kept(self, slot: _Slot, words: list[int], last: int) -> tuple[str, list[Record], int]:
        """Return what is wrong with a packet, or "", the events of it that can be used, and its end."""
        head = slot.head
        if head is None:
            return "no valid head", [], last
        if _is_lead(head):
            return "", [], max(head.end, last)
        if head.begin < last:
            return "goes back in time", [], last
        if not words:
            return "cannot be decompressed" if head.words else "", [], head.end
        records, read = self._decoder.decode(words, head.cpu, head.begin, head.end)
        good = next((at for at, record in enumerate(records) if not self._can_be(record)), len(records))
        if read == len(words) and good == len(records):
            return "", records, head.end
        kept = records[:good]
        if good == len(records) and kept and kept[-1][0] == head.end and not any(words[read:]):
            return "", kept, head.end  # only its content size is wrong
        # As readers say it: the last event before may be distrusted, too.
        at = read if good == len(records) else sum(1 + len(record[3]) for record in kept)
        return f"garbled after {at} of its words", kept, kept[-1][0] if kept else last

    def _can_be(self, record: Record) -> bool:
        """Return whether an event of varying length is as long as its own fields say."""
        event = self._varying.get(record[2])
        if event is None:
            return True
        final = event.fields[-1]
        rest = record[3][final.word :]
        if final.type.inline:
            return bool(rest) and _nul(rest) == len(rest) - 1
        return record[3][event.fields[-2].word] == len(rest)

    def _body(self, kept: Sequence[Record], used: int) -> int:
        """Return how many bytes the events take; of text, up to its NUL."""
        event: Event | None = self._varying.get(kept[-1][2]) if kept else None
        if event is None or not event.fields[-1].type.inline:
            return 8 * used
        final = kept[-1][3][-1].to_bytes(8, "little")
        return 8 * used - (len(final) - final.index(0) - 1)

    def _head(self, slot: _Slot, cpu: int, stream: int, begin: int, end: int, number: int) -> PacketHead:
        """Return a head that agrees with what is kept of a packet."""
        flags = LEAD if slot.head is not None and _is_lead(slot.head) else 0
        host = slot.head.host_ns if slot.head is not None else 0
        begin = slot.head.begin if slot.head is not None and flags else begin
        return PacketHead(
            self.trace_id, stream, min(begin, end), end, 0, 8 * PACKET_BYTES, number, 0, cpu, flags, host
        )

    def _compare(self, slot: _Slot, old: PacketHead, new: PacketHead, lost: int) -> None:
        """Note what was wrong in the head of a packet whose events are all right."""
        wrong = [
            what
            for what, one, other in (
                ("its content size", old.content_bits, new.content_bits),
                ("its flags", old.flags, new.flags),
                ("its number", old.sequence, new.sequence),
                ("its count of discards", old.discarded, new.discarded - lost),
            )
            if one != other
        ]
        if wrong:
            self._found(slot.file.name, slot.index, f"wrong in its head: {', '.join(wrong)}")

    def _numbers(self, slots: Sequence[_Slot]) -> list[int]:
        """Return the right packet numbers: those they have, but not one that no neighbour agrees with.

        A packet that is missing is a step that its successors share.
        """
        steps = [
            None if slot.head is None or _is_lead(slot.head) else slot.head.sequence - index
            for index, slot in enumerate(slots)
        ]
        known = [step for step in steps if step is not None]
        current = min(known[:2], default=0)
        numbers = []
        for index, step in enumerate(steps):
            after = next((each for each in steps[index + 1 :] if each is not None), step)
            if step is not None and step == after and current < step < current + MISSING_MAX:
                current = step
            head = slots[index].head
            is_lead = head is not None and _is_lead(head)
            numbers.append(head.sequence if head is not None and is_lead else max(index + current, 0))
        return numbers

    def _discards(self, slots: Sequence[_Slot]) -> list[int]:
        """Return the right counts of discards: they never fall, and none is above what the next packet says."""
        counts = [None if slot.head is None else slot.head.discarded for slot in slots]
        right, current = [], 0
        for index, count in enumerate(counts):
            after = [each for each in counts[index + 1 : index + 3] if each is not None]
            most = max(after) if after else current + DISCARDED_MAX
            if count is not None and current <= count <= most:
                current = count
            right.append(current)
        return right


def _is_lead(head: PacketHead) -> bool:
    """Return whether a packet only stands for what was dropped before it."""
    return bool(head.flags & LEAD) and not head.words


def _unquoted(text: str) -> str:
    """Return a string of the metadata without its escapes."""
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        return text


def _nul(words: Sequence[int]) -> int:
    """Return which of *words*, text, has its first NUL; -1 if none has."""
    for index, word in enumerate(words):
        if 0 in word.to_bytes(8, "little"):
            return index
    return -1
