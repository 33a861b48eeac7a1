"""What an event says, as an export's arguments: field names to numbers or text.

Functions made once for each kind of event, as in fields.py: an export calls one for every event.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from k42fs.machine.tracing.formats import value_name
from k42fs.machine.tracing.packing import unpack
from k42fs.machine.tracing.schema import Event, Field
from k42fs.report.fields import expression
from k42fs.report.filters import Source

Args = dict[str, int | str]
Maker = Callable[[int, list[int]], Args]
"""(time in ticks, payload words) -> arguments."""


def args_maker(event: Event, source: Source) -> Maker:
    """Return what makes the arguments of *event*: what numbers stand for where that is known, hexadecimal as text."""
    if not event.is_fixed:
        return partial(_varying, event)
    code = ", ".join(f"{each.name!r}: {_shown(each)}" for each in event.fields)
    names = source.names
    scope: dict[str, object] = {
        "string": _Known(names.text),
        "site": _Known(names.site),
        "object_at": names.object,
    }
    scope |= {f"of_{each.name}": _Known(partial(value_name, each)) for each in event.fields}
    made: Maker = eval(f"lambda time, w: {{{code}}}", scope)
    return made


def _shown(field: Field) -> str:
    value = expression(field)
    if field.type.role == "string":
        return f"string[{value}]"
    if field.type.role == "site":
        return f"site[{value}]"
    if field.type.role == "object":
        return f"object_at({value}, time)"
    if field.type.values:
        return f"of_{field.name}[{value}]"
    return f"hex({value})" if field.type.base == 16 else value


def _varying(event: Event, _: int, words: list[int]) -> Args:
    """Return the arguments of an event that ends in text or a list."""
    shown: Args = {}
    for each, value in zip(event.fields, unpack(event, [0, *words]), strict=True):
        shown[each.name] = value if isinstance(value, int | str) else " ".join(map(str, value))
    return shown


class _Known(dict[int, str]):
    """What numbers stand for, each looked up once."""

    def __init__(self, look_up: Callable[[int], str]) -> None:
        super().__init__()
        self._look_up = look_up

    def __missing__(self, number: int) -> str:
        self[number] = text = self._look_up(number)
        return text
