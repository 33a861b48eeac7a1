"""Traces made by hand: events of known stamps and values, written as the tracer writes them."""

from __future__ import annotations

from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from k42fs.machine.tracing.ctf import metadata
from k42fs.machine.tracing.packets import NAMES_CPU
from k42fs.machine.tracing.packing import STAMP_BITS, Value, pack
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
        words = pack(event, stamp, numbers)
        words[0] |= stamp >> STAMP_BITS << 2 * STAMP_BITS
        (self.names if event.is_name else self.streams[vp]).words.extend(words)

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
            self.names.words.extend(
                pack(self.schema.by_attribute["meta_string"], 0, (self._strings[text], text))
            )
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
