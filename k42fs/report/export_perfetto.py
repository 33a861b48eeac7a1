"""Export to Perfetto's own format: exact nanoseconds, half the size of JSON.

One process, the machine; a thread track per modelled processor with the tracks of its requests, calls and locks
below it; counter tracks. All packets are one sequence; each carries the names it uses first, all of them in one
interned_data message: readers take only the last of several.
Field numbers: perfetto's trace_packet.proto, track_event.proto, track_descriptor.proto, interned_data.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from k42fs.report.export_args import Args
from k42fs.report.export_protobuf import block, fixed64, number, text
from k42fs.report.export_timeline import RUNNING, Level, Moment, Slice, Timeline

PID: Final = 1
FIRST_TID: Final = 10
SEQUENCE: Final = 1
CLEARED, NEEDED = 1, 2
"""sequence_flags: names begin anew here; names given before are needed."""

BEGIN, END, INSTANT, COUNTER = 1, 2, 3, 4
CATEGORIES, NAMES, ANNOTATIONS = 1, 2, 3
"""Fields of interned_data."""

PROCESS_TRACK: Final = 1
FIRST_TRACK: Final = 100
FIRST_COUNTER: Final = 1 << 32
ENCODED_MAX: Final = 100_000

_NEEDED: Final = number(10, SEQUENCE) + number(13, NEEDED)


def perfetto(made: Timeline) -> Iterator[bytes]:
    """Yield the file, a packet at a time."""
    return _Writer(made).packets()


class _Writer:
    def __init__(self, made: Timeline) -> None:
        self.made = made
        self.running = made.running_tracks()
        self.known: dict[tuple[int, str], int] = {}
        self.new: list[bytes] = []
        self.heads: dict[tuple[int, int, str, str], bytes] = {}
        self.encoded: dict[tuple[str, int | str], bytes] = {}
        self.counters: dict[tuple[int, str], int] = {}

    def packets(self) -> Iterator[bytes]:
        process = number(1, PID) + text(6, f"k42fs {self.made.title}")
        first = number(1, PROCESS_TRACK) + block(3, process)
        yield self._packet(0, block(60, first), CLEARED)
        for track in self.made.tracks:
            about = number(1, FIRST_TRACK + track.number)
            if track.kind == RUNNING:
                thread = number(1, PID) + number(2, FIRST_TID + track.processor) + text(5, track.name)
                about += block(4, thread)
            else:
                parent = FIRST_TRACK + self.running[track.processor]
                about += text(2, track.name) + number(5, parent)
            yield self._packet(0, block(60, about))
        for time, _, what, item in self.made.items():
            if what == "begin":
                yield self._event(time, self._begin(item))
            elif what == "end":
                yield self._event(time, number(9, END) + number(11, FIRST_TRACK + item.track))
            elif what == "moment":
                yield self._event(time, self._moment(item))
            else:
                yield from self._level(item)

    def _packet(self, time: int, content: bytes, flags: int = NEEDED) -> bytes:
        interned = block(12, b"".join(self.new)) if self.new else b""
        self.new = []
        tail = _NEEDED if flags == NEEDED else number(10, SEQUENCE) + number(13, flags)
        return block(1, number(8, time) + tail + interned + content)

    def _event(self, time: int, event: bytes) -> bytes:
        return self._packet(time, block(11, event))

    def _iid(self, kind: int, name: str) -> int:
        """Return the number of a name; a new one is told with the next packet."""
        found = self.known.get((kind, name))
        if found is None:
            found = self.known[kind, name] = len(self.known) + 1
            self.new.append(block(kind, number(1, found) + text(2, name)))
        return found

    def _common(self, kind: int, track: int, name: str, category: str, args: Args) -> bytes:
        """Return the parts that slices and moments share. Most were encoded before."""
        key = (kind, track, name, category)
        head = self.heads.get(key)
        if head is None:
            head = self.heads[key] = (
                number(3, self._iid(CATEGORIES, category))
                + number(9, kind)
                + number(10, self._iid(NAMES, name))
                + number(11, track)
            )
        encoded = self.encoded
        if len(encoded) > ENCODED_MAX:
            encoded.clear()
        parts = [head]
        for pair in args.items():
            found = encoded.get(pair)
            if found is None:
                found = encoded[pair] = self._annotation(*pair)
            parts.append(found)
        return b"".join(parts)

    def _annotation(self, name: str, value: int | str) -> bytes:
        shown = text(6, value) if isinstance(value, str) else number(4, value)
        return block(4, number(1, self._iid(ANNOTATIONS, name)) + shown)

    def _begin(self, each: Slice) -> bytes:
        return self._common(BEGIN, FIRST_TRACK + each.track, each.name, each.category, each.args)

    def _moment(self, each: Moment) -> bytes:
        track = FIRST_TRACK + self.running[each.processor]
        event = self._common(INSTANT, track, each.name, each.category, each.args)
        if each.flow:  # the end of an arrow may be used up: the number is another's next
            event += fixed64(47 if each.is_out else 48, each.flow)
        return event

    def _level(self, each: Level) -> Iterator[bytes]:
        key = (each.processor, each.name)
        if key not in self.counters:
            self.counters[key] = FIRST_COUNTER + len(self.counters)
            about = number(1, self.counters[key]) + text(2, f"cpu{each.processor} {each.name}")
            yield self._packet(0, block(60, about + number(5, PROCESS_TRACK) + block(8, b"")))
        value = number(9, COUNTER) + number(11, self.counters[key]) + number(30, each.value)
        yield self._event(each.time, value)
