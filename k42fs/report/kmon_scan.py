"""Packets straight into a row of kmon's: times and kinds of all events, payloads only of those that tell who runs.

Where it was built, kmon_fast.pyx reads the packets: ten million events must not take longer than a user waits.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from k42fs.machine.tracing.packets import MAX_GAP
from k42fs.machine.tracing.packing import ID_MASK, LENGTH_SHIFT
from k42fs.machine.tracing.schema import MAX_MAJOR, Schema
from k42fs.report.decode import Decoder, Record
from k42fs.report.kmon_rows import Row

try:
    from k42fs.report.kmon_fast import scan_body
except ImportError:
    scan_body = None  # type: ignore[assignment]

SKIPPED: Final = 0xFFFF
"""The kind of an event that only a later version knows."""

Special = tuple[int, int, list[int]]
"""(index in the row, event id, payload words)."""


class RowDecoder(Decoder):
    """Puts the events of one stream into *row*, and tells *special* of those whose ids are in *ids*.

    What `decode_bytes` returns has only one record, with the time of the last event.
    """

    def __init__(
        self,
        schema: Schema,
        newer: bool,
        row: Row,
        kinds: Mapping[int, int],
        ids: Collection[int],
        special: Callable[[Row, Sequence[Special]], None],
    ) -> None:
        super().__init__(schema, None, newer)
        self.row = row
        self._kinds, self._ids, self._special = kinds, frozenset(ids), special
        self._width = 1 + max(each.minor for each in schema.events())
        size = (MAX_MAJOR + 1) * self._width
        self._lows, self._numbers = array("I", bytes(4 * size)), array("H", bytes(2 * size))
        marks = bytearray(size)
        for each in schema.events():
            if each.is_fixed and each.id:
                index = each.major * self._width + each.minor
                self._lows[index] = each.words << LENGTH_SHIFT | each.id
                self._numbers[index] = kinds[each.id]
                marks[index] = each.id in self._ids
        # Never written: it would make an event of a word of zeros.
        self._lows[0] = 0
        self._marks = bytes(marks)

    def decode_bytes(self, body: bytes, cpu: int, begin: int, end: int) -> tuple[list[Record], int]:
        """Put a packet's events into the row; return the last one's time, and how many words were read."""
        row = self.row
        base = len(row.times)
        if scan_body is None or sys.byteorder == "big":
            records, read = super().decode_bytes(body, cpu, begin, end)
            self.take(records)
            return records[-1:], read
        times, kinds, specials, read = scan_body(
            body, self._lows, self._numbers, self._marks, self._width, self._other, base, begin, end, MAX_GAP
        )
        row.times += times
        row.kinds += kinds
        self._special(row, specials)
        return ([(times[-1], cpu, 0, [])] if times else []), read

    def take(self, records: Sequence[Record]) -> None:
        """Put *records* into the row."""
        if records:
            row, base = self.row, len(self.row.times)
            times, _, ids, payloads = zip(*records, strict=True)
            row.times.extend(times)
            row.kinds.extend(map(self._kinds.__getitem__, ids))
            self._special(
                row,
                [(base + at, ids[at], payloads[at]) for at in range(len(ids)) if ids[at] in self._ids],
            )

    def _other(self, low: int) -> tuple[int, bool] | None:
        """Return (kind, whether special) of an event of no fixed length, or that is not known."""
        keep = self._unusual(low)
        if keep is None:
            return None
        number = low & ID_MASK
        return self._kinds.get(number, SKIPPED), number in self._ids
