"""Events out of a list of words, as emitters put them there (words.py), into bodies of packets.

Where it was built, fast_words.pyx does this on words of its own.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from k42fs.machine.tracing.packets import MAX_GAP, ROOM_WORDS, words_bytes
from k42fs.machine.tracing.packing import ID_MASK, LENGTH_SHIFT, STAMP_BITS, STAMP_MASK, WORD_MASK
from k42fs.machine.tracing.schema import MAX_WORDS

STAMP_AT: Final = 1
"""Where in an event in a list its stamp is."""


class Body(NamedTuple):
    """What goes into one packet. `start` is the index of its first event in the list."""

    start: int
    data: bytes
    begin: int
    end: int
    events: int
    last_id: int


def split(words: list[int], last: int) -> list[Body] | None:
    """Return what is in *words* in bodies, the last one perhaps not full.

    None if a stamp is before its predecessor's, or the first before *last*.
    """
    bodies: list[Body] = []
    body: list[int] = []
    start = at = events = 0
    begin = last
    room, end, head = ROOM_WORDS, len(words), 0
    while at < end:
        event_id, stamp = head, words[at + 1]
        head = words[at]
        length = head >> LENGTH_SHIFT & MAX_WORDS
        if stamp < last:
            return None
        if events and (length > room or stamp - last >= MAX_GAP):
            bodies.append(Body(start, _bytes(body), begin, last, events, event_id & ID_MASK))
            body, start, events, room = [], at, 0, ROOM_WORDS
        if not events:
            begin = stamp
        body.append((stamp & STAMP_MASK) << STAMP_BITS | head)
        body += words[at + 2 : at + 1 + length]
        events += 1
        room -= length
        last = stamp
        at += 1 + length
    if events:
        bodies.append(Body(start, _bytes(body), begin, last, events, head & ID_MASK))
    return bodies


def _bytes(body: list[int]) -> bytes:
    try:
        return words_bytes(body)
    except (OverflowError, TypeError):  # emitters do not look at values: most are right
        return words_bytes([int(word) & WORD_MASK for word in body])


def in_order(words: list[int], last: int) -> list[int]:
    """Return *words* with the events sorted by stamp, stably; stamps before *last* become *last*."""
    events, at = [], 0
    while at < len(words):
        after = at + event_items(words[at])
        events.append(words[at:after])
        at = after
    events.sort(key=lambda event: event[STAMP_AT])
    ordered: list[int] = []
    for event in events:
        event[STAMP_AT] = max(event[STAMP_AT], last)
        ordered += event
    return ordered


def event_items(head: int) -> int:
    """Return how many items of a list the event with *head* takes."""
    return 1 + (head >> LENGTH_SHIFT & MAX_WORDS)


def count_events(words: list[int]) -> int:
    count = at = 0
    while at < len(words):
        at += event_items(words[at])
        count += 1
    return count
