"""The last events of every processor in words: what to print with a failed assertion, as K42's console does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from k42fs.machine.tracing.formats import formatter
from k42fs.machine.tracing.packets import HEAD_BYTES, bytes_words, decode_head
from k42fs.machine.tracing.packing import STAMP_BITS, Value, split_header, unpack
from k42fs.machine.tracing.schema import Event, load
from k42fs.machine.tracing.split import STAMP_AT, event_items

if TYPE_CHECKING:
    from k42fs.machine.tracing.stream import Stream
    from k42fs.machine.tracing.tracer import Tracer

Told = tuple[int, Event, tuple[Value, ...]]


def last_events(tracer: Tracer, count: int = 20) -> list[str]:
    """Return the latest *count* events of each processor, at most, merged by time, a line for each."""
    string, site = tracer.numbers.text, tracer.numbers.place
    told = [
        (stamp, vp, event, values)
        for vp, stream in enumerate(tracer.streams())
        for stamp, event, values in [*_of(stream)][-count:]
    ]
    told.sort(key=lambda each: each[:2])
    rate = tracer.ticks_per_second
    return [
        f"{stamp / rate:14.9f} cpu{vp} {event.constant:<35} {formatter(event, string, site)(values)}".rstrip()
        for stamp, vp, event, values in told
    ]


def _of(stream: Stream) -> Iterator[Told]:
    """Yield what is in the stream's latest packet and in its list."""
    schema = load()
    head = decode_head(stream.latest)
    if head is not None:
        words = bytes_words(stream.latest[HEAD_BYTES : HEAD_BYTES + 8 * head.words])
        at, stamp = 0, head.begin
        while at < len(words):
            low, length, number = split_header(words[at])
            stamp += (low - stamp) % (1 << STAMP_BITS)
            yield stamp, schema.by_id[number], unpack(schema.by_id[number], words[at : at + length])
            at += length
    items, at = stream.words[:], 0
    while at < len(items):
        after = at + event_items(items[at])
        _, _, number = split_header(items[at])
        payload = [items[at], *items[at + STAMP_AT + 1 : after]]
        yield items[at + STAMP_AT], schema.by_id[number], unpack(schema.by_id[number], payload)
        at = after
