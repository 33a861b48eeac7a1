"""The words of one packet, taken apart and checked.

A record is (time, processor, event id, payload words): a tuple, because millions of them are made. Every word is
looked at: an event's id and length must be known together, its stamp must not go back nor beyond the packet's
end, and the lengths must add up to the packet's. Where one fails the rest of the packet is given up; the next
one starts anew. What a flipped bit does to a payload nobody can see: there is no checksum in CTF.

Where it was built, fast_decode.pyx does this, some four times faster.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Collection

from k42fs.machine.tracing.packets import MAX_GAP, bytes_words
from k42fs.machine.tracing.packing import ID_MASK, LENGTH_SHIFT, STAMP_BITS, STAMP_MASK
from k42fs.machine.tracing.schema import MAX_MAJOR, Schema

try:
    from k42fs.report.fast_decode import decode_body
except ImportError:
    decode_body = None  # type: ignore[assignment]

IS_COMPILED = decode_body is not None

Record = tuple[int, int, int, list[int]]
"""(ticks, processor, event id, payload words)."""


class Decoder:
    """Decodes packets; keeps only the events whose ids are in *wanted* (all, if None), but checks the others too.

    With *newer* an unknown event is not garbled: a later version made the recording; it is skipped and counted.
    """

    def __init__(self, schema: Schema, wanted: Collection[int] | None = None, newer: bool = False) -> None:
        self._known: dict[int, bool] = {}
        self._least: dict[int, tuple[int, bool]] = {}
        self._newer = newer
        self.unknown = 0
        for each in schema.events():
            keep = wanted is None or each.id in wanted
            if each.is_fixed:
                self._known[each.words << LENGTH_SHIFT | each.id] = keep
            else:
                self._least[each.id] = each.words, keep
        # The same by class and number, for the compiled decoder.
        self._minors = 1 + max(each.minor for each in schema.events())
        self._heads = array("I", bytes(4 * (MAX_MAJOR + 1) * self._minors))
        keeps = bytearray(len(self._heads))
        for each in schema.events():
            if each.is_fixed:
                index = each.major * self._minors + each.minor
                self._heads[index] = each.words << LENGTH_SHIFT | each.id
                keeps[index] = wanted is None or each.id in wanted
        self._keeps = bytes(keeps)

    def decode_bytes(self, body: bytes, cpu: int, begin: int, end: int) -> tuple[list[Record], int]:
        """Return what `decode` does of the words in *body*."""
        if decode_body is None or sys.byteorder == "big":
            return self.decode(bytes_words(body).tolist(), cpu, begin, end)
        return decode_body(
            body, self._heads, self._keeps, self._minors, self._unusual, cpu, begin, end, MAX_GAP
        )

    def decode(self, words: list[int], cpu: int, begin: int, end: int) -> tuple[list[Record], int]:
        """Return the records of a packet, and how many of its words were read before one that cannot be right.

        *begin* and *end* are the stamps of its first and last event, as its head says. If these do not agree
        with the events none is returned: no time in it can be trusted.
        """
        records: list[Record] = []
        append, known = records.append, self._known
        at, count, time = 0, len(words), begin
        while at < count:
            head = words[at]
            low = head & STAMP_MASK
            keep = known.get(low)
            if keep is None:
                keep = self._unusual(low)
                if keep is None:
                    return records, at
            step = ((head >> STAMP_BITS) - time) & STAMP_MASK
            after = at + (low >> LENGTH_SHIFT)
            if step >= MAX_GAP or after > count or (not at and step):
                if step >= MAX_GAP and records and records[-1][0] == time:
                    records.pop()  # the wrong stamp may be its own
                return records, at
            time += step
            if keep:
                append((time, cpu, low & ID_MASK, words[at + 1 : after]))
            at = after
        if count and time != end:
            return [], 0
        return records, count

    def _unusual(self, low: int) -> bool | None:
        """Return whether to keep an event whose length is not fixed, or not known; None if it cannot be one."""
        length = low >> LENGTH_SHIFT
        least, keep = self._least.get(low & ID_MASK, (0, False))
        if least:
            return keep if length >= least else None
        if self._newer and length:
            self.unknown += 1
            return False
        return None
