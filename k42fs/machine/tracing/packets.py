"""Packets: 64 KiB each, at multiples of 64 KiB in the file, each readable without the others.

A packet is CTF's header and context, 96 bytes, then the words of whole events, then zeros. `content_bits` ends
right after the last event; stock readers take whatever is before it for events. Stamps in headers are the low
32 bits: the first event's full stamp is `begin`, and each next one is less than 2**31 ticks later.
`discarded` counts this stream's events that are in no packet, from the recording's start to this packet's end.

Sources: CTF 1.8, 5 and 8; K42's buffers, at whose boundaries an event always starts.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

PACKET_BYTES: Final = 1 << 16
MAGIC: Final = 0xC1FC1FC1
HEAD: Final = struct.Struct("<I16sIQ" + "QQQQQQIIQ")
"""magic, uuid, stream class, stream number | begin, end, content bits, packet bits, sequence, discarded, cpu,
flags, host ns."""

HEAD_BYTES: Final = HEAD.size
ROOM_WORDS: Final = (PACKET_BYTES - HEAD_BYTES) // 8
MAX_GAP: Final = 1 << 31
"""Ticks between neighbours from which on a new packet begins: a stamp of 32 bits could not say it safely."""

NAMES_CPU: Final = 0xFFFF_FFFF
"""The processor of the stream of definitions."""

DISCARDED_AT: Final = 72
"""Where in a packet its `discarded` is."""

LEAD: Final = 1
"""Flag: an empty packet that stands for what was dropped beside it."""


@dataclass(frozen=True, slots=True)
class PacketHead:
    """What a packet says of itself. Times in ticks of its processor's clock; `host_ns` when it was made, or 0."""

    trace_id: bytes
    stream: int
    begin: int
    end: int
    content_bits: int
    packet_bits: int
    sequence: int
    discarded: int
    cpu: int
    flags: int
    host_ns: int

    @property
    def words(self) -> int:
        """The number of words of events, the last perhaps used in part."""
        return (self.content_bits - 8 * HEAD_BYTES + 63) // 64


def encode(head: PacketHead, body: bytes) -> bytes:
    """Return the packet of *head* and the words in *body*."""
    assert len(body) <= 8 * ROOM_WORDS, f"{len(body)} bytes do not fit in a packet"
    packed = HEAD.pack(
        MAGIC,
        head.trace_id,
        0,
        head.stream,
        head.begin,
        head.end,
        head.content_bits,
        head.packet_bits,
        head.sequence,
        head.discarded,
        head.cpu,
        head.flags,
        head.host_ns,
    )
    return b"".join((packed, body, bytes(PACKET_BYTES - HEAD_BYTES - len(body))))


def with_discarded(packet: bytes, count: int) -> bytes:
    """Return *packet* with *count* as its count of discarded events."""
    return packet[:DISCARDED_AT] + count.to_bytes(8, "little") + packet[DISCARDED_AT + 8 :]


def decode_head(packet: bytes | memoryview) -> PacketHead | None:
    """Return the head of the packet at the start of *packet*, or None if none is there. Sizes are not checked."""
    if len(packet) < HEAD_BYTES:
        return None
    magic, trace_id, stream_class, *rest = HEAD.unpack_from(packet)
    return PacketHead(trace_id, *rest) if (magic, stream_class) == (MAGIC, 0) else None


def words_bytes(words: Sequence[int]) -> bytes:
    """Return *words* in the byte order of the file. Raises OverflowError for what is not 0..2**64 - 1."""
    packed = array("Q", words)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def bytes_words(body: bytes | memoryview) -> array[int]:
    """Return the words in *body*, whose length is a multiple of 8."""
    words = array("Q")
    words.frombytes(body)
    if sys.byteorder == "big":
        words.byteswap()
    return words
