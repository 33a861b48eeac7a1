"""`list`: K42's listing, one line for each event: time, processor, the event's constant, its fields in words.

As in K42's traceTool the first event is time 0, seconds have nine decimals, names are padded to 35; ours says
the processor too, because all are merged.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from functools import partial
from io import StringIO
from typing import Any, Final

from k42fs.machine.tracing.formats import formatter, value_name
from k42fs.machine.tracing.packets import NAMES_CPU
from k42fs.machine.tracing.packing import unpack
from k42fs.machine.tracing.schema import Event, Field
from k42fs.report.decode import Record
from k42fs.report.fields import expression
from k42fs.report.filters import Source
from k42fs.report.merge import merged
from k42fs.report.names import Names

try:
    from k42fs.report import fast_lines
except ImportError:
    fast_lines = None  # type: ignore[assignment]

NAME_WIDTH: Final = 35
SECOND: Final = 10**9

HZ_MAX: Final = 1 << 34
"""Faster clocks than this would overflow the compiled listing's arithmetic."""

DECIMAL, SIGNED, HEX, NAMED = range(4)
"""How the compiled listing shows a field."""

Words = list[int]
Shower = Callable[[int, int, str, Words], str]


def records_of(source: Source, definitions: bool) -> Iterator[list[Record]]:
    """Yield what is to be listed; the stream of definitions after the processors', as the last of them."""
    if not definitions:
        return source.records()
    streams = [source.of(vp) for vp in source.processors]
    return merged([*streams, source.trace.records(source.trace.definitions)])


def listing(source: Source, pieces: Iterator[list[Record]], strip: bool = False) -> Iterator[str]:
    """Yield the listing of *pieces*, records of *source*, many lines at a time. With *strip*, the values only."""
    if not strip and fast_lines is not None and source.trace.ticks_per_second < HZ_MAX:
        yield from _compiled(source, pieces)
        return
    show = {each.id: line_of(each, source.names) for each in source.trace.schema.events()}
    on = {vp: str(vp) for vp in source.processors} | {NAMES_CPU: "-"}
    begin, hz = source.trace.begin, source.trace.ticks_per_second
    for records in pieces:
        if strip:
            lines = [" ".join(map(str, _values(source, record).values())) for record in records]
        else:
            lines = [
                show[number]((ns := (time - begin) * SECOND // hz) // SECOND, ns % SECOND, on[vp], words)
                for time, vp, number, words in records
            ]
        yield "\n".join(lines) + "\n"


def _compiled(source: Source, pieces: Iterator[list[Record]]) -> Iterator[str]:
    """Yield the same lines, made in C but for the few kinds of events that are not made of numbers."""
    assert fast_lines is not None, "asked only where it was built"
    schema, names = source.trace.schema, source.names
    plain = {each.id: line_of(each, names) for each in schema.events()}
    shapes = {each.id: _shape(each, names) for each in schema.events() if each.is_fixed and not each.format}
    on = {vp: f" {vp:4d} ".encode() for vp in source.processors} | {NAMES_CPU: b"    - "}
    begin, hz = source.trace.begin, source.trace.ticks_per_second
    for records in pieces:
        text = fast_lines.lines(records, shapes, begin, hz, on)
        if text is None:
            text = "".join(
                fast_lines.lines([record], shapes, begin, hz, on)
                or _plainly(plain[record[2]], record, begin, hz)
                for record in records
            )
        yield text


def _plainly(show: Shower, record: Record, begin: int, hz: int) -> str:
    ns = (record[0] - begin) * SECOND // hz
    vp = "-" if record[1] == NAMES_CPU else str(record[1])
    return show(ns // SECOND, ns % SECOND, vp, record[3]) + "\n"


def _shape(event: Event, names: Names) -> fast_lines.Shape:
    """Return how the compiled listing makes the line of *event*."""
    assert fast_lines is not None, "asked only where it was built"
    fields: list[fast_lines.FieldShape] = []
    for index, each in enumerate(event.fields):
        look_up = _look_up(each, names)
        kind = DECIMAL
        if look_up is not None:
            kind = NAMED
        elif each.type.base == 16:
            kind = HEX
        elif each.type.signed:
            kind = SIGNED
        known = None if look_up is None else _KnownBytes(look_up)
        before = f"{' ' if index else ''}{each.name} ".encode()
        fields.append((before, each.word, each.shift, each.mask, kind, known))
    start = f"{event.constant:<{NAME_WIDTH}} " if fields else event.constant
    return fast_lines.Shape(start.encode(), fields)


def _look_up(field: Field, names: Names) -> Callable[[int], str] | None:
    """Return what says the value of a field in words, if numbers stand for something there."""
    if field.type.role == "string":
        return names.text
    if field.type.role == "site":
        return names.site
    return partial(value_name, field) if field.type.values else None


def listing_json(source: Source, definitions: bool = False) -> Iterator[str]:
    """Yield one JSON object for each event, a line each."""
    for records in records_of(source, definitions):
        yield "".join(json.dumps(_about(source, record)) + "\n" for record in records)


def listing_csv(source: Source, definitions: bool = False) -> Iterator[str]:
    """Yield CSV: time, processor, event, and its fields as JSON."""
    yield "ticks,vp,event,fields\n"
    for records in records_of(source, definitions):
        out = StringIO()
        writer = csv.writer(out, lineterminator="\n")
        for record in records:
            about = _about(source, record)
            writer.writerow([about["ticks"], about["vp"], about["event"], json.dumps(about["fields"])])
        yield out.getvalue()


def _about(source: Source, record: Record) -> dict[str, Any]:
    event = source.trace.schema.by_id[record[2]]
    return {
        "ticks": record[0],
        "vp": record[1],
        "event": event.qualified,
        "fields": _values(source, record),
    }


def _values(source: Source, record: Record) -> dict[str, Any]:
    """Return the fields of a record; numbers that stand for text as text."""
    event = source.trace.schema.by_id[record[2]]
    values: dict[str, Any] = {}
    for each, value in zip(event.fields, unpack(event, [0, *record[3]]), strict=True):
        if isinstance(value, int) and each.type.role == "string":
            values[each.name] = source.names.text(value)
        elif isinstance(value, int) and each.type.role == "site":
            values[each.name] = source.names.site(value)
        else:
            values[each.name] = value
    return values


def line_of(event: Event, names: Names) -> Shower:
    """Return what makes the line of an event from seconds, nanoseconds, its processor and its payload.

    Where the event has no format of its own, which is nearly always, that is made as source and compiled: the
    same text as the schema's formatter's, in a third of the time.
    """
    start = (
        f"%4d.%09d %4s {event.constant:<{NAME_WIDTH}} " if event.fields else f"%4d.%09d %4s {event.constant}"
    )
    if event.format or not event.is_fixed:
        show = formatter(event, names.text, names.site)
        return lambda seconds, ns, vp, words: start % (seconds, ns, vp) + show(unpack(event, [0, *words]))
    ways = [_in_words(each) for each in event.fields]
    pattern = start + " ".join(
        f"{each.name} {way}" for each, (way, _) in zip(event.fields, ways, strict=True)
    )
    values = "".join(f", {value}" for _, value in ways)
    scope: dict[str, object] = {"_string": _Known(names.text), "_site": _Known(names.site)}
    scope |= {f"_of_{each.name}": _Known(partial(value_name, each)) for each in event.fields}
    made: Shower = eval(f"lambda s, ns, vp, w: {pattern!r} % (s, ns, vp{values})", scope)
    return made


class _Known(dict[int, str]):
    """What numbers stand for, each looked up once."""

    def __init__(self, look_up: Callable[[int], str]) -> None:
        super().__init__()
        self._look_up = look_up

    def __missing__(self, number: int) -> str:
        self[number] = text = self._look_up(number)
        return text


class _KnownBytes(dict[int, bytes]):
    """What numbers stand for, as UTF-8."""

    def __init__(self, look_up: Callable[[int], str]) -> None:
        super().__init__()
        self._look_up = look_up

    def __missing__(self, number: int) -> bytes:
        self[number] = text = self._look_up(number).encode()
        return text


def _in_words(field: Field) -> tuple[str, str]:
    """Return how printf shows *field* as its type wants it, and the source of what is shown."""
    value = expression(field)
    if field.type.role in ("string", "site"):
        return "%s", f"_string[{value}]" if field.type.role == "string" else f"_site[{value}]"
    if field.type.values:
        return "%s", f"_of_{field.name}[{value}]"
    return "%#x" if field.type.base == 16 else "%d", value
