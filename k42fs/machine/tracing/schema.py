"""The events a trace can hold: read from schema.toml, checked, and looked up by number or by name.

An event is 64-bit words. The first, as in K42: stamp (32 bits) | length in words (8) | layer (4) | major (6) |
minor (14). The others are the fields in their order: a field smaller than a word is packed into the current
one from the top down, one that does not fit starts a new word; inline text starts a word, ends in NUL and
takes strlen // 8 + 1 words.

Everything else about tracing (emitters, CTF metadata, formats, the reference page) is derived from here.
K42: lib/libc/trace/k42-trace-xml, tools/misc/pem. Differs: strings are numbers defined by Meta::String.
"""

from __future__ import annotations

import keyword
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, Final

WORD_BITS: Final = 64
MAX_WORDS: Final = 255
MAX_MAJOR: Final = 63
MAX_MINOR: Final = (1 << 14) - 1
BY_DEFAULT: Final = "x64"
PARTS: Final = {"minor", "fields", "text", "format", "interval", "state", "flow", "counter", "stream"}


class SchemaError(ValueError):
    """The schema contradicts itself, or what was promised about it."""


@dataclass(frozen=True, slots=True)
class FieldType:
    """What a field can be. `values` names 0, 1, ...; `role` says what readers may filter or name by."""

    name: str
    bits: int = WORD_BITS
    base: int = 10
    signed: bool = False
    inline: bool = False
    list: bool = False
    role: str = ""
    values: tuple[str, ...] = ()

    @property
    def is_fixed(self) -> bool:
        return not (self.inline or self.list)


@dataclass(frozen=True, slots=True)
class Field:
    """One field. Word 0 is the first of the payload; `shift` is where its lowest bit is in that word."""

    name: str
    type: FieldType
    word: int
    shift: int

    @property
    def mask(self) -> int:
        return (1 << self.type.bits) - 1


@dataclass(frozen=True, slots=True)
class Interval:
    """An end of an interval; the two ends have equal values in `match`."""

    is_start: bool
    name: str
    match: tuple[str, ...]


@dataclass(frozen=True)
class Event:
    """One kind of event. `words` is its length with the header, or the least where `is_fixed` is false."""

    class_name: str
    layer_name: str
    layer: int
    major: int
    minor: int
    name: str
    fields: tuple[Field, ...]
    text: str = ""
    format: str = ""
    interval: Interval | None = None
    context: str | None = None
    """State change: the field that says whom the processor works for now, "0" for the kernel."""
    flow: tuple[str, str] | None = None
    """("out" or "in", field)."""
    counters: tuple[str, ...] = ()
    is_name: bool = False
    """A definition: kept in the file `names`."""

    @cached_property
    def id(self) -> int:
        """The low 24 bits of the header."""
        return self.layer << 20 | self.major << 14 | self.minor

    @cached_property
    def qualified(self) -> str:
        return f"{self.layer_name}::{self.class_name}::{self.name}"

    @cached_property
    def constant(self) -> str:
        """K42's name of the constant, which its listing shows."""
        return f"TRACE_{snake(self.class_name)}_{snake(self.name)}".upper()

    @cached_property
    def attribute(self) -> str:
        """The name of its emitter."""
        return f"{snake(self.class_name)}_{snake(self.name)}"

    @cached_property
    def is_fixed(self) -> bool:
        return all(each.type.is_fixed for each in self.fields)

    @cached_property
    def words(self) -> int:
        return 1 + max((each.word + (not each.type.list) for each in self.fields), default=0)

    @cached_property
    def by_name(self) -> Mapping[str, Field]:
        return {each.name: each for each in self.fields}

    @cached_property
    def by_word(self) -> tuple[tuple[Field, ...], ...]:
        """The fields of each payload word, first field first."""
        count = max((each.word for each in self.fields), default=-1) + 1
        return tuple(tuple(each for each in self.fields if each.word == word) for word in range(count))


@dataclass(frozen=True, slots=True)
class EventClass:
    name: str
    layer_name: str
    layer: int
    major: int
    reserved: frozenset[int]
    events: tuple[Event, ...]

    @property
    def bit(self) -> int:
        return 1 << self.major


@dataclass(frozen=True)
class Schema:
    revision: int
    types: Mapping[str, FieldType]
    classes: tuple[EventClass, ...]
    by_class: Mapping[str, EventClass] = field(init=False)
    by_id: Mapping[int, Event] = field(init=False)
    by_attribute: Mapping[str, Event] = field(init=False)
    by_qualified: Mapping[str, Event] = field(init=False)

    def __post_init__(self) -> None:
        events = list(self.events())
        for name, index in (
            ("by_class", {each.name: each for each in self.classes}),
            ("by_id", {each.id: each for each in events}),
            ("by_attribute", {each.attribute: each for each in events}),
            ("by_qualified", {each.qualified: each for each in events}),
        ):
            object.__setattr__(self, name, index)
        if len(self.by_id) != len(events) or len(self.by_attribute) != len(events):
            raise SchemaError("two events have one number or one name")

    def events(self) -> Iterator[Event]:
        for each in self.classes:
            yield from each.events


def snake(name: str) -> str:
    """Return ContendSpin as contend_spin, FCMDefGetPage as fcm_def_get_page."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return parted.lower()


@cache
def load() -> Schema:
    """Return the schema of this version."""
    return parse(files("k42fs.machine.tracing").joinpath("schema.toml").read_text("utf-8"))


def parse(text: str) -> Schema:
    """Return the schema that *text* (TOML) describes. Raises SchemaError."""
    source = tomllib.loads(text)
    types = {name: _type(name, given) for name, given in source["types"].items()}
    layers: dict[str, int] = source["layers"]
    classes = tuple(_class(name, given, layers, types) for name, given in source["classes"].items())
    majors = [each.major for each in classes]
    if len(set(majors)) != len(majors) or not all(0 <= major <= MAX_MAJOR for major in majors):
        raise SchemaError(f"majors must be different and in 0..{MAX_MAJOR}: {majors}")
    return Schema(source["revision"], types, classes)


def _type(name: str, given: dict[str, Any]) -> FieldType:
    given = given | ({"values": tuple(given["values"])} if "values" in given else {})
    kind = FieldType(name, **given)
    if kind.bits not in (8, 16, 32, 64) or kind.base not in (10, 16):
        raise SchemaError(f"type {name}: {kind.bits} bits, base {kind.base}")
    return kind


def _class(
    name: str, given: dict[str, Any], layers: dict[str, int], types: Mapping[str, FieldType]
) -> EventClass:
    reserved = frozenset(given.get("reserved", ()))
    layer = layers[given["layer"]]
    events = []
    for event, parts in given.get("events", {}).items():
        if unknown := parts.keys() - PARTS:
            raise SchemaError(f"{name}::{event}: unknown {sorted(unknown)}")
        events.append(_event(name, given["layer"], layer, given["major"], event, parts, types))
    minors = sorted([*(each.minor for each in events), *reserved])
    if minors != list(range(len(minors))) or len(minors) > MAX_MINOR:
        raise SchemaError(f"{name}: minors and reserved ones must be 0..n, each once: {minors}")
    events.sort(key=lambda each: each.minor)
    return EventClass(name, given["layer"], layer, given["major"], reserved, tuple(events))


def _event(
    class_name: str,
    layer_name: str,
    layer: int,
    major: int,
    name: str,
    parts: dict[str, Any],
    types: Mapping[str, FieldType],
) -> Event:
    fields = place(f"{class_name}::{name}", parts.get("fields", ""), types)
    names = {each.name for each in fields}
    interval, context, flow = parts.get("interval"), parts.get("state"), parts.get("flow")
    used = []
    if interval:
        end, label, *match = interval.split()
        interval = Interval({"start": True, "end": False}[end], label, tuple(match))
        used += match
    if context:
        context = context.removeprefix("context ")
        used += [context] if context != "0" else []
    if flow:
        way, of = flow.split()
        flow = ({"out": "out", "in": "in"}[way], of)
        used.append(of)
    counters = tuple(parts.get("counter", "").split())
    if missing := {*used, *counters} - names:
        raise SchemaError(f"{class_name}::{name}: no field {sorted(missing)}")
    return Event(
        class_name,
        layer_name,
        layer,
        major,
        parts["minor"],
        name,
        fields,
        parts.get("text", ""),
        parts.get("format", ""),
        interval,
        context,
        flow,
        counters,
        parts.get("stream", "") == "names",
    )


def place(owner: str, text: str, types: Mapping[str, FieldType]) -> tuple[Field, ...]:
    """Return the fields of "name:type ..." in their words, by K42's rule of packing."""
    placed: list[Field] = []
    word, free = -1, 0
    for item in text.split():
        name, _, kind = item.partition(":")
        if (kind or BY_DEFAULT) not in types:
            raise SchemaError(f"{owner}: {name} has no known type: {kind}")
        if keyword.iskeyword(name) or not name.isidentifier() or name.endswith("_"):
            raise SchemaError(f"{owner}: {name} cannot be a parameter's name")
        if placed and not placed[-1].type.is_fixed:
            raise SchemaError(f"{owner}: nothing can follow {placed[-1].name}, whose length varies")
        of = types[kind or BY_DEFAULT]
        if of.bits > free or not of.is_fixed:
            word, free = word + 1, WORD_BITS
        free -= of.bits
        placed.append(Field(name, of, word, free))
    if len({each.name for each in placed}) != len(placed) or word + 2 > MAX_WORDS:
        raise SchemaError(f"{owner}: two fields of one name, or too many")
    return tuple(placed)
