"""Traces made by hand, the plainest reader there can be, and processors that are only a clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from k42fs.machine.tracing.ctf import metadata
from k42fs.machine.tracing.packets import (
    HEAD_BYTES,
    NAMES_CPU,
    PACKET_BYTES,
    PacketHead,
    bytes_words,
    decode_head,
)
from k42fs.machine.tracing.packing import STAMP_BITS, Value, pack, split_header, unpack
from k42fs.machine.tracing.schema import Schema, load
from k42fs.machine.tracing.stream import Stream

TRACE_ID = uuid5(NAMESPACE_URL, "k42fs:trace made by hand").bytes


class HandTrace:
    """A trace directory filled by hand. `event` takes any stamps, in any order within a processor."""

    def __init__(
        self,
        directory: Path,
        processors: int = 1,
        ticks_per_second: int = 10**9,
        schema: Schema | None = None,
        env: dict[str, str | int] | None = None,
    ) -> None:
        self.directory = directory
        self.schema = schema or load()
        directory.mkdir(parents=True, exist_ok=True)
        text = metadata(self.schema, TRACE_ID, ticks_per_second, {"processors": processors, **(env or {})})
        (directory / "metadata").write_text(text)
        self.streams = [Stream(self.schema, TRACE_ID, vp, vp, lambda: 0) for vp in range(processors)]
        self.names = Stream(self.schema, TRACE_ID, NAMES_CPU, NAMES_CPU, lambda: 0)
        self._strings = {"": 0}
        self._sites: dict[str, int] = {}

    def event(self, vp: int, stamp: int, attribute: str, *values: Value) -> None:
        """Add the event with that emitter name, "lock_acquire".

        Where a field is not text, a str stands for its number: of a call site if the field is one.
        """
        event = self.schema.by_attribute[attribute]
        numbers = [
            self._number(value, each.type.role) if isinstance(value, str) and not each.type.inline else value
            for each, value in zip(event.fields, values, strict=True)
        ]
        head, *payload = pack(event, 0, numbers)
        (self.names if event.is_name else self.streams[vp]).words.extend((head, stamp, *payload))

    def _number(self, text: str, role: str) -> int:
        return self.site(text) if role == "site" else self.string(text)

    def site(self, place: str) -> int:
        """Return the number of the call site *place*, "file:line function", defined at its first use."""
        if place not in self._sites:
            self._sites[place] = len(self._sites) + 1
            self.event(0, 0, "lock_site", self._sites[place], place)
        return self._sites[place]

    def string(self, text: str) -> int:
        """Return the number of *text*, defined at its first use."""
        if text not in self._strings:
            self._strings[text] = len(self._strings)
            self.event(0, 0, "meta_string", self._strings[text], text)
        return self._strings[text]

    def flush(self, vp: int) -> None:
        """Write out what *vp* has so far: the next event begins a packet."""
        self._write(f"cpu{vp}", self.streams[vp])

    def close(self) -> Path:
        for vp in range(len(self.streams)):
            self.flush(vp)
        self._write("names", self.names)
        return self.directory

    def _write(self, name: str, stream: Stream) -> None:
        with (self.directory / name).open("ab") as file:
            for _, packet, _ in stream.cut(everything=True):
                file.write(packet)


@dataclass
class Cpu:
    """A processor, as far as tracing goes."""

    clock: int = 0
    on: Any = field(default=None, repr=False)
    emit: Any = field(default=None, repr=False)


Seen = tuple[int, int, str, tuple[Value, ...]]
"""Processor, stamp, emitter name, values."""


def packets(path: Path) -> Iterator[tuple[PacketHead, bytes]]:
    """Yield the packets of one file, which must be whole ones."""
    data = path.read_bytes()
    assert len(data) % PACKET_BYTES == 0, f"{path.name} has a torn packet"
    for at in range(0, len(data), PACKET_BYTES):
        packet = data[at : at + PACKET_BYTES]
        head = decode_head(packet)
        assert head is not None, f"{path.name}: no packet at {at}"
        assert head.packet_bits == 8 * PACKET_BYTES
        yield head, packet


def events_in(packet: bytes, schema: Schema | None = None) -> Iterator[Seen]:
    """Yield the events of one packet, without any other, and check whatever it promises about them."""
    known = schema or load()
    head = decode_head(packet)
    assert head is not None
    words = bytes_words(packet[HEAD_BYTES : HEAD_BYTES + 8 * head.words])
    at, stamp = 0, head.begin
    while at < len(words):
        low, length, number = split_header(words[at])
        event = known.by_id[number]
        assert length == event.words if event.is_fixed else length >= event.words
        stamp += (low - stamp) % (1 << STAMP_BITS)
        yield head.cpu, stamp, event.attribute, unpack(event, words[at : at + length])
        at += length
    assert at == len(words), "the events do not fill the content"
    assert stamp == head.end, "the last stamp is not the packet's end"


def read(directory: Path) -> dict[int, list[Seen]]:
    """Return the events of each processor, in the order of their packets."""
    found: dict[int, list[tuple[PacketHead, bytes]]] = {}
    for path in directory.iterdir():
        if path.name != "metadata":
            for head, packet in packets(path):
                found.setdefault(head.cpu, []).append((head, packet))
    return {
        cpu: [
            seen for _, packet in sorted(of, key=lambda each: each[0].sequence) for seen in events_in(packet)
        ]
        for cpu, of in found.items()
    }


def strings(seen: list[Seen]) -> dict[int, str]:
    """Return what numbers of strings stand for."""
    return {values[0]: values[1] for _, _, name, values in seen if name == "meta_string"}  # type: ignore[misc]
