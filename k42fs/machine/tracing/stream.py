"""One processor's events on their way from its words to packets.

Emitters add an event with one call, which nothing can divide. Order is restored here: several host
threads may work for one modelled processor, and what other processors did to its cache is told late, so a stamp
can be behind its predecessor's. Stock readers take such a step for a wrap of 2**32 ticks. What comes together is
sorted, stably; what is later than a packet already cut gets the stamp of that packet's end.

No two packets of a stream begin in the same nanosecond: of a stream in several files babeltrace2 puts them in order
by that alone. After a packet in which no time passes the next one begins a nanosecond later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from k42fs.machine.tracing.packets import HEAD_BYTES, LEAD, PACKET_BYTES, PacketHead, encode
from k42fs.machine.tracing.schema import Schema
from k42fs.machine.tracing.split import Body
from k42fs.machine.tracing.words import new_words

Packet = tuple[PacketHead, bytes, int]
"""A packet's head, its bytes, and how many events are in it."""


class Stream:
    """The words of one processor not yet in packets. `words` stays the same object: emitters keep it.

    *apart*: ticks that are a nanosecond at least.
    """

    __slots__ = (
        "_apart",
        "_earliest",
        "_host_clock",
        "_sequence",
        "_texts",
        "_trace_id",
        "cpu",
        "latest",
        "number",
        "words",
    )

    def __init__(
        self,
        schema: Schema,
        trace_id: bytes,
        number: int,
        cpu: int,
        host_clock: Callable[[], int],
        apart: int = 1,
    ) -> None:
        self.words = new_words()
        self.number = number
        self.cpu = cpu
        self.latest = b""
        self._trace_id = trace_id
        self._host_clock = host_clock
        self._sequence = 0
        self._apart = apart
        self._earliest = 0
        self._texts = {each.id for each in schema.events() if each.fields and each.fields[-1].type.inline}

    def cut(self, everything: bool) -> Iterator[Packet]:
        """Take out full packets, and with *everything* also what does not fill one."""
        for body in self.words.cut(self._earliest, everything):
            packet = self._packet(body)
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
        """Return how many events are in no packet yet."""
        return self.words.events()

    def _packet(self, body: Body) -> Packet:
        unused = 0
        if body.last_id in self._texts:  # the zeros after the text must not be taken for an event
            tail = body.data[-8:]
            unused = len(tail) - tail.index(0) - 1
        head = PacketHead(
            self._trace_id,
            self.number,
            body.begin,
            body.end,
            8 * (HEAD_BYTES + len(body.data) - unused),
            8 * PACKET_BYTES,
            self._sequence,
            0,
            self.cpu,
            0,
            self._host_clock(),
        )
        self._sequence += 1
        self._earliest = max(body.end, body.begin + self._apart)
        return head, encode(head, body.data), body.events
