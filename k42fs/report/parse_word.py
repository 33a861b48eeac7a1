"""What a word of a trace says, for somebody who has it from a memory dump: K42's traceParse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from k42fs.errors import InvalidArgumentError
from k42fs.machine.tracing.formats import formatter
from k42fs.machine.tracing.packing import WORD_MASK, split_header, unpack
from k42fs.machine.tracing.schema import MAX_WORDS, Event, Schema


@dataclass(frozen=True, slots=True)
class Parsed:
    """A header taken apart; `event` is None if no event has that number."""

    stamp: int
    length: int
    layer: int
    major: int
    minor: int
    layer_name: str
    class_name: str
    event: Event | None
    values: str = ""

    @property
    def problem(self) -> str:
        """Return why this cannot be an event's first word, or ""."""
        if self.event is None:
            return f"no event has layer {self.layer}, class {self.major}, minor {self.minor}"
        if self.event.is_fixed and self.length != self.event.words:
            return f"{self.event.qualified} is {self.event.words} words long, not {self.length}"
        if self.length < self.event.words:
            return f"{self.event.qualified} is at least {self.event.words} words long, not {self.length}"
        return ""

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "stamp": self.stamp,
            "length": self.length,
            "layer": self.layer,
            "layer_name": self.layer_name,
            "major": self.major,
            "class": self.class_name,
            "minor": self.minor,
            "event": self.event.qualified if self.event else None,
            "constant": self.event.constant if self.event else None,
            "values": self.values,
            "problem": self.problem,
        }

    def lines(self) -> Iterator[str]:
        """Yield it for people."""
        yield f"stamp    {self.stamp:#010x} ({self.stamp:,} ticks, the low 32 bits)"
        yield f"length   {self.length} words"
        yield f"layer    {self.layer} {self.layer_name}"
        yield f"class    {self.major} {self.class_name}"
        yield f"minor    {self.minor}"
        if self.event is not None:
            fields = ", ".join(
                f"{each.name} ({_size(each.type.bits, each.type.inline)})" for each in self.event.fields
            )
            yield f"event    {self.event.qualified}, {self.event.constant}"
            yield f"fields   {fields or 'none'}"
            if self.event.text:
                yield f"meaning  {self.event.text}"
        if self.values:
            yield f"values   {self.values}"


def _size(bits: int, inline: bool) -> str:
    return "text" if inline else f"{bits} bits"


def parse_words(schema: Schema, words: Sequence[int]) -> Parsed:
    """Return what the header words[0] says; further words are its payload, all of it or nothing is shown.

    Raises InvalidArgumentError for a word that has no 64 bits, or for another number of words than the event has.
    """
    for word in words:
        if not 0 <= word <= WORD_MASK:
            raise InvalidArgumentError(f"{word:#x} is no word of 64 bits")
    stamp, length, number = split_header(words[0])
    layer, major, minor = number >> 20, number >> 14 & 0x3F, number & 0x3FFF
    classes = {each.major: each for each in schema.classes}
    layers = {each.layer: each.layer_name for each in schema.classes}
    event = schema.by_id.get(number)
    class_name = classes[major].name if major in classes else "unknown"
    parsed = Parsed(stamp, length, layer, major, minor, layers.get(layer, "unknown"), class_name, event)
    if len(words) == 1 or event is None or parsed.problem:
        return parsed
    if len(words) != length or length > MAX_WORDS:
        raise InvalidArgumentError(
            f"{event.qualified} has {length - 1} words after this one, not {len(words) - 1}"
        )
    say = formatter(event, lambda number: f"string#{number}", lambda number: f"site#{number}")
    return Parsed(
        stamp, length, layer, major, minor, parsed.layer_name, class_name, event, say(unpack(event, words))
    )


def number_of(text: str) -> int:
    """Return the number that *text* says, decimal or with 0x. Raises InvalidArgumentError."""
    try:
        return int(text, 0)
    except ValueError:
        raise InvalidArgumentError(f"{text!r} is no number: give 0x... or a decimal one") from None
