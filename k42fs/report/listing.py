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

NAME_WIDTH: Final = 35

Words = list[int]


def _records(source: Source, definitions: bool) -> Iterator[list[Record]]:
    """Yield what is to be listed; the stream of definitions after the processors', as the last of them."""
    if not definitions:
        return source.records()
    streams = [source.of(vp) for vp in source.processors]
    return merged([*streams, source.trace.records(source.trace.definitions)])


def listing(source: Source, strip: bool = False, definitions: bool = False) -> Iterator[str]:
    """Yield the listing, many lines at a time. With *strip*, the values only."""
    show = {each.id: _shower(each, source) for each in source.trace.schema.events()}
    name = {each.id: f"{each.constant:<{NAME_WIDTH}} " for each in source.trace.schema.events()}
    on = {vp: f"{vp:4d}" for vp in source.processors} | {NAMES_CPU: "   -"}
    begin, second = source.trace.begin, source.trace.ticks_per_second
    for records in _records(source, definitions):
        if strip:
            lines = [" ".join(map(str, _values(source, record).values())) for record in records]
        else:
            lines = [
                f"{(time - begin) / second:14.9f} {on[vp]} {name[number]}{show[number](words)}".rstrip()
                for time, vp, number, words in records
            ]
        yield "\n".join(lines) + "\n"


def listing_json(source: Source, definitions: bool = False) -> Iterator[str]:
    """Yield one JSON object for each event, a line each."""
    for records in _records(source, definitions):
        yield "".join(json.dumps(_about(source, record)) + "\n" for record in records)


def listing_csv(source: Source, definitions: bool = False) -> Iterator[str]:
    """Yield CSV: time, processor, event, and its fields as JSON."""
    yield "ticks,vp,event,fields\n"
    for records in _records(source, definitions):
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


def _shower(event: Event, source: Source) -> Callable[[Words], str]:
    """Return what says the payload of *event* in words.

    Where the event has no format of its own, which is nearly always, that is made as source and compiled: the
    same text, in a third of the time.
    """
    if event.format or not event.is_fixed:
        show = formatter(event, source.names.text, source.names.site)
        return lambda words: show(unpack(event, [0, *words]))
    text = " ".join(f"{each.name} {{{_in_words(each)}}}" for each in event.fields)
    scope: dict[str, object] = {"_string": _Known(source.names.text), "_site": _Known(source.names.site)}
    scope |= {f"_of_{each.name}": _Known(partial(value_name, each)) for each in event.fields}
    made: Callable[[Words], str] = eval(f"lambda w: f'{text}'", scope)
    return made


class _Known(dict[int, str]):
    """What numbers stand for, each looked up once."""

    def __init__(self, look_up: Callable[[int], str]) -> None:
        super().__init__()
        self._look_up = look_up

    def __missing__(self, number: int) -> str:
        self[number] = text = self._look_up(number)
        return text


def _in_words(field: Field) -> str:
    """Return what stands in the braces of an f-string for *field*: its value as its type shows it."""
    value = expression(field)
    if field.type.role in ("string", "site"):
        return f"_string[{value}]" if field.type.role == "string" else f"_site[{value}]"
    if field.type.values:
        return f"_of_{field.name}[{value}]"
    return f"{value}:#x" if field.type.base == 16 else value
