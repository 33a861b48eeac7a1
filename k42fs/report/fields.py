"""The fields of an event out of its payload words, by functions made once for each kind of event.

Made as source and compiled: a loop over the fields would cost several times as much, for each of millions of
events.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from k42fs.machine.tracing.packing import words_text
from k42fs.machine.tracing.schema import Event, Field

Getter = Callable[[list[int]], int]
Unpacker = Callable[[list[int]], tuple[int, ...]]


def expression(field: Field) -> str:
    """Return Python source for the value of a fixed *field*, given its event's payload words `w`."""
    source = f"w[{field.word}]"
    if field.shift:
        source = f"({source} >> {field.shift})"
    if field.type.bits < 64 and field.shift + field.type.bits < 64:
        source = f"({source} & {field.mask:#x})"
    if field.type.signed:
        half = 1 << (field.type.bits - 1)
        source = f"(({source} ^ {half:#x}) - {half:#x})"
    return source


@cache
def getter(field: Field) -> Getter:
    """Return a function from payload words to the value of the fixed *field*."""
    made: Getter = eval(f"lambda w: {expression(field)}", {})
    return made


@cache
def unpacker(event: Event) -> Unpacker:
    """Return a function from payload words to the values of the fixed fields of *event*, in their order."""
    values = "".join(f"{expression(each)}, " for each in event.fields if each.type.is_fixed)
    made: Unpacker = eval(f"lambda w: ({values})", {})
    return made


def tail(event: Event, words: list[int]) -> str | list[int] | None:
    """Return the field of varying length that ends *event*, if it has one."""
    if event.is_fixed:
        return None
    last = event.fields[-1]
    rest = words[last.word :]
    return words_text(rest) if last.type.inline else rest
