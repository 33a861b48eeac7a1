"""An event in words: K42's formats, and "name value ..." where an event has none of its own.

`%2` in a format is field 2 as its type shows it, `%2[%llx]` as printf would. Numbers that stand for strings
and call sites are looked up.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from k42fs.machine.tracing.packing import Value
from k42fs.machine.tracing.schema import Event, Field, SchemaError

Lookup = Callable[[int], str]
Formatter = Callable[[Sequence[Value]], str]

_PLACE: Final = re.compile(r"%(\d+)(?:\[(%[-+ #0]*\d*(?:\.\d+)?(?:hh|h|ll|l)?[diuxXcs])\])?")


def formatter(event: Event, string: Lookup, site: Lookup) -> Formatter:
    """Return what says *event*'s values in words. *string* and *site* look their numbers up."""
    template = event.format or " ".join(f"{each.name} %{index}" for index, each in enumerate(event.fields))
    pattern, getters = "", []
    end = 0
    for found in _PLACE.finditer(template):
        index = int(found[1])
        if index >= len(event.fields):
            raise SchemaError(f"{event.qualified}: the format's %{index} is no field")
        way, get = _shown(event.fields[index], index, string, site)
        if found[2]:
            way = re.sub(r"hh|h|ll|l", "", found[2])
        pattern += template[end : found.start()].replace("%", "%%") + way
        getters.append(get)
        end = found.end()
    pattern += template[end:].replace("%", "%%")
    return lambda values: pattern % tuple([get(values) for get in getters])


def _shown(
    each: Field, index: int, string: Lookup, site: Lookup
) -> tuple[str, Callable[[Sequence[Value]], Value]]:
    """Return the printf conversion of a field and what gets its value."""
    kind = each.type
    if kind.role in ("string", "site"):
        lookup = string if kind.role == "string" else site
        return "%s", lambda values: lookup(values[index])
    if kind.values:
        return "%s", lambda values: value_name(each, values[index])
    if kind.inline:
        return "%s", lambda values: values[index]
    if kind.list:
        return "%s", lambda values: " ".join(map(str, values[index]))
    return "0x%x" if kind.base == 16 else "%d", lambda values: values[index]


def value_name(each: Field, value: Value) -> str:
    """Return the name of a value of a field whose type has names, or the number."""
    known = isinstance(value, int) and value < len(each.type.values)
    return each.type.values[value] if known and isinstance(value, int) else str(value)
