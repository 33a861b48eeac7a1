"""What goes into kmon's page: every event if they fit, else columns fine enough to zoom into.

Three levels of detail, the finest that fits is taken: each event with its text; each event; columns. A column of
the last level still says how many events and entities it hides (kmon_rows.py), and counts of each kind of event
are kept per span. All is packed into one block of bytes, deflated, in base64:

    text, event     per row: gaps between stamps (varints), kinds (u16 each), entities after each event (u16 each);
                    with text also the lines of text
    column          per row: entities (u16 each), states (u8 each); then per kind: (gap in spans, count) as varints
"""

from __future__ import annotations

import base64
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from k42fs.report.kmon_rows import UNKNOWN, Row, columns, edge

ROOM_BYTES: Final = 4_500_000
"""Characters of base64 in a page; the rest of it is small."""

TEXT_EVENTS_MAX: Final = 60_000
EVENTS_MAX: Final = 600_000
COLUMNS_MAX: Final = 1 << 21
SPANS_MAX: Final = 1 << 10


@dataclass(frozen=True, slots=True)
class Payload:
    """A page's block in base64, and how to read it: JSON values for the page's script."""

    level: str
    rows: list[dict[str, Any]]
    columns: int
    spans: int
    data: str


def pack_rows(
    rows: Sequence[Row], begin: int, end: int, texts: Mapping[int, Sequence[str]] | None = None
) -> Payload:
    """Return the payload of *rows* from tick *begin* to before *end*; *texts* has a line per event, by processor."""
    events = sum(len(row.times) for row in rows)
    if events <= EVENTS_MAX:
        for lines in (texts, None) if texts is not None and events <= TEXT_EVENTS_MAX else (None,):
            payload = _events(rows, begin, lines)
            if len(payload.data) <= ROOM_BYTES:
                return payload
    count = max(COLUMNS_MAX // max(len(rows), 1), 1)
    while True:
        payload = _columns(rows, begin, end, count, min(SPANS_MAX, count))
        if len(payload.data) <= ROOM_BYTES or count == 1:
            return payload
        count = max(min(count // 2, count * ROOM_BYTES // len(payload.data)), 1)


def _packed(blocks: Iterable[bytes]) -> str:
    return base64.b64encode(zlib.compress(b"".join(blocks), 6)).decode("ascii")


def _events(rows: Sequence[Row], begin: int, texts: Mapping[int, Sequence[str]] | None) -> Payload:
    blocks: list[bytes] = []
    shapes = []
    for row in rows:
        gaps = varints(after - before for before, after in pairwise([begin, *row.times]))
        lines = "\n".join(texts[row.cpu]).encode("utf-8", "replace") if texts is not None else b""
        blocks += [gaps, little(row.kinds), little(_entities(row)), lines]
        shapes.append({"cpu": row.cpu, "events": len(row.times), "gaps": len(gaps), "text": len(lines)})
    return Payload("event" if texts is None else "text", shapes, 0, 0, _packed(blocks))


def _entities(row: Row) -> array[int]:
    """Return which entity runs after each event."""
    after = array("H")
    bounds = [0, *row.switches, len(row.times)]
    for entity, (first, last) in zip([UNKNOWN, *row.switch_entities], pairwise(bounds), strict=True):
        after.extend([entity] * (last - first))
    return after


def _columns(rows: Sequence[Row], begin: int, end: int, count: int, spans: int) -> Payload:
    blocks: list[bytes] = []
    shapes = []
    for row in rows:
        cut = columns(row, begin, end, count)
        kinds = kinds_by_span(row, begin, end, spans)
        packed = {kind: varints(_sparse(counts)) for kind, counts in kinds.items()}
        blocks += [little(cut.entities), bytes(cut.states), *packed.values()]
        shapes.append(
            {
                "cpu": row.cpu,
                "events": len(row.times),
                "kinds": [[kind, len(each)] for kind, each in packed.items()],
            }
        )
    return Payload("column", shapes, count, spans, _packed(blocks))


def kinds_by_span(row: Row, begin: int, end: int, spans: int) -> dict[int, list[tuple[int, int]]]:
    """Return, for each kind of event, (span, how many are in it) wherever there are any; spans divide the time."""
    found: dict[int, list[tuple[int, int]]] = {}
    at = bisect_left(row.times, begin)
    for span in range(spans):
        after = bisect_left(row.times, edge(begin, end, spans, span + 1), at)
        for kind, count in Counter(row.kinds[at:after]).items():
            found.setdefault(kind, []).append((span, count))
        at = after
    return found


def _sparse(counts: Iterable[tuple[int, int]]) -> Iterable[int]:
    last = 0
    for span, count in counts:
        yield span - last
        yield count
        last = span


def varints(values: Iterable[int]) -> bytes:
    """Return *values*, none negative, seven bits a byte, lowest first."""
    out = bytearray()
    append = out.append
    for value in values:
        while value > 127:
            append(value & 127 | 128)
            value >>= 7
        append(value)
    return bytes(out)


def little(values: array[int]) -> bytes:
    """Return the numbers of *values* with their lowest byte first, as a browser's DataView is told to read them."""
    return (
        b"".join(value.to_bytes(values.itemsize, "little") for value in values) if _BIG else values.tobytes()
    )


_BIG: Final = array("H", [1]).tobytes() != b"\1\0"


def counts_by_kind(rows: Iterable[Row], begin: int, end: int) -> Counter[int]:
    """Return how many events of each kind there are from *begin* to before *end*."""
    total: Counter[int] = Counter()
    for row in rows:
        first, after = bisect_left(row.times, begin), bisect_right(row.times, end - 1)
        total.update(row.kinds[first:after])
    return total
