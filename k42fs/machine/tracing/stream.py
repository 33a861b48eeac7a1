"""One processor's events on their way from its list of words to packets.

Emitters add an event with one `list.extend`, which nothing can divide; its first word still has the whole stamp
in it. Order is restored here: several host threads may work for one modelled processor, and what other
processors did to its cache is told late, so a stamp can be behind its predecessor's. Stock readers take such a
step for a wrap of 2**32 ticks. What comes together is sorted, stably; what is later than a packet already cut
gets the stamp of that packet's end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Final

from k42fs.machine.tracing.packets import (
    HEAD_BYTES,
    LEAD,
    MAX_GAP,
    PACKET_BYTES,
    ROOM_WORDS,
    PacketHead,
    encode,
    words_bytes,
)
from k42fs.machine.tracing.packing import ID_MASK, LENGTH_SHIFT, STAMP_BITS, WORD_MASK
from k42fs.machine.tracing.schema import MAX_WORDS, Schema

Packet = tuple[PacketHead, bytes, int]
"""A packet's head, its bytes, and how many events are in it."""

LOW_MASK: Final = (1 << STAMP_BITS) - 1


class Stream:
    """The words of one processor not yet in packets. Its list stays the same object: emitters keep its `extend`."""

    __slots__ = (
        "_host_clock",
        "_last",
        "_sequence",
        "_texts",
        "_trace_id",
        "cpu",
        "latest",
        "number",
        "words",
    )

    def __init__(
        self, schema: Schema, trace_id: bytes, number: int, cpu: int, host_clock: Callable[[], int]
    ) -> None:
        self.words: list[int] = []
        self.number = number
        self.cpu = cpu
        self.latest = b""
        self._trace_id = trace_id
        self._host_clock = host_clock
        self._sequence = 0
        self._last = 0
        self._texts = {each.id for each in schema.events() if each.fields and each.fields[-1].type.inline}

    def cut(self, everything: bool) -> Iterator[Packet]:
        """Take out full packets, and with *everything* also what does not fill one."""
        count = len(self.words)  # taken first: another host thread may be adding
        words = self.words[:count]
        del self.words[:count]
        starts = self._starts(words)
        if starts is None:
            words = self._in_order(words)
            starts = self._starts(words)
            assert starts is not None, "sorted and clamped, yet out of order"
        cuts = self._cuts(words, starts)
        if not everything and cuts:
            rest = words[starts[cuts[-1]] :]
            self.words[:0] = rest
        elif cuts and cuts[-1] < len(starts):
            cuts.append(len(starts))
        ends = [*starts, len(words)]
        for first, after in pairwise(cuts):
            packet = self._packet(words, ends[first : after + 1])
            self.latest = packet[1]
            yield packet

    def empty(self, stamp: int, sequence: int, discarded: int) -> bytes:
        """Return a packet that stands for dropped ones: no events, but a number and a count."""
        bits = 8 * HEAD_BYTES
        head = PacketHead(
            self._trace_id,
            self.number,
            stamp,
            stamp,
            bits,
            8 * PACKET_BYTES,
            sequence,
            discarded,
            self.cpu,
            LEAD,
            0,
        )
        return encode(head, b"")

    def pending(self) -> int:
        """Return how many events are in the list."""
        count = at = 0
        while at < len(self.words):
            at += self.words[at] >> LENGTH_SHIFT & MAX_WORDS
            count += 1
        return count

    def _starts(self, words: list[int]) -> list[int] | None:
        """Return where events start, or None if their stamps are not in order."""
        starts: list[int] = []
        at, last, end = 0, self._last, len(words)
        append = starts.append
        while at < end:
            head = words[at]
            stamp = head >> STAMP_BITS
            if stamp < last:
                return None
            last = stamp
            append(at)
            at += head >> LENGTH_SHIFT & MAX_WORDS
        return starts

    def _in_order(self, words: list[int]) -> list[int]:
        events, at = [], 0
        while at < len(words):
            after = at + (words[at] >> LENGTH_SHIFT & MAX_WORDS)
            events.append(words[at:after])
            at = after
        events.sort(key=lambda event: event[0] >> STAMP_BITS)
        ordered: list[int] = []
        for event in events:
            if event[0] >> STAMP_BITS < self._last:
                event[0] = self._last << STAMP_BITS | event[0] & LOW_MASK
            ordered += event
        return ordered

    def _cuts(self, words: list[int], starts: list[int]) -> list[int]:
        """Return which events begin a packet, as indices in *starts*; the last packet may not be full."""
        if not starts:
            return []
        cuts = [0]
        limit, last = ROOM_WORDS, words[0] >> STAMP_BITS
        for index, at in enumerate(starts):
            head = words[at]
            stamp = head >> STAMP_BITS
            if at + (head >> LENGTH_SHIFT & MAX_WORDS) > limit or stamp - last >= MAX_GAP:
                cuts.append(index)
                limit = at + ROOM_WORDS
            last = stamp
        return cuts

    def _packet(self, words: list[int], bounds: list[int]) -> Packet:
        """Make a packet of the events whose bounds in *words* are given."""
        first, last, after = bounds[0], bounds[-2], bounds[-1]
        begin, end = words[first] >> STAMP_BITS, words[last] >> STAMP_BITS
        ends_in_text = words[last] & ID_MASK in self._texts
        for at in bounds[:-1]:
            words[at] &= WORD_MASK
        try:
            body = words_bytes(words[first:after])
        except (OverflowError, TypeError):  # emitters do not check: most values are right
            body = words_bytes([int(word) & WORD_MASK for word in words[first:after]])
        unused = 0
        if ends_in_text:  # the zeros after the text must not be taken for an event
            tail = body[-8:]
            unused = len(tail) - tail.index(0) - 1
        self._last = end
        return self._finish(body, len(bounds) - 1, begin, end, unused)

    def _finish(self, body: bytes, events: int, begin: int, end: int, unused: int) -> Packet:
        head = PacketHead(
            self._trace_id,
            self.number,
            begin,
            end,
            8 * (HEAD_BYTES + len(body) - unused),
            8 * PACKET_BYTES,
            self._sequence,
            0,
            self.cpu,
            0,
            self._host_clock(),
        )
        self._sequence += 1
        return head, encode(head, body), events
