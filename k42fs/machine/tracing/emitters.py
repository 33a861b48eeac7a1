"""Emitters: for each event and processor one function, `emit.lock_release(lock, held)`, that is one `extend`.

They are made of source text from the schema at first use: `extend((cpu.clock << 32 | HEADER, lock, held))`.
Reserve, write and commit are that one call, which no thread can divide, so none of the holes of K42's algorithm
exists (a writer killed or overtaken between them; see reserve.py). Values are not looked at here: what is not in
0..2**64 - 1 is cut where packets are made. Only fields that share a word are masked, or they would spoil their
neighbours.

A class that is off has emitters that do nothing, so that a call without a guard is merely slow. Guarded it is
`if proc.trace_mask & LOCK: proc.emit.lock_release(...)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Final, Protocol

from k42fs.machine.tracing.packing import LENGTH_SHIFT, STAMP_BITS, text_words
from k42fs.machine.tracing.schema import MAX_WORDS, Event, Field, load

Extend = Callable[[Iterable[int]], None]
Emitter = Callable[..., None]


class HasClock(Protocol):
    """Whose time stamps the events, in cycles."""

    @property
    def clock(self) -> int: ...


def _nothing(*values: object) -> None:
    """The emitter of a class that is off."""


class Emitters:
    """The emitters of one processor; emitters.pyi lists them. `set_mask` decides which do something."""

    def __init__(self, cpu: HasClock) -> None:
        self._cpu = cpu
        self._own: Extend = _nothing
        self._names: Extend = _nothing
        self._mask = 0

    def bind(self, own: Extend, names: Extend) -> None:
        """Emit to other lists from now on: *own* gets the words of events, *names* those of definitions."""
        self._own, self._names = own, names
        self.set_mask(self._mask)

    def set_mask(self, mask: int) -> None:
        """Let the classes in *mask* emit. Functions taken out of here before are not affected."""
        self._mask = mask
        for name in [name for name in vars(self) if not name.startswith("_")]:
            delattr(self, name)

    def __getattr__(self, name: str) -> Emitter:
        event = load().by_attribute.get(name)
        if event is None:
            raise AttributeError(f"no event is called {name}")
        emitter = self._made(event, stamped=False)
        setattr(self, name, emitter)
        return emitter

    def stamped(self, name: str) -> Emitter:
        """Return an emitter that takes the stamp first: for what happened at another time than now."""
        return self._made(load().by_attribute[name], stamped=True)

    def _made(self, event: Event, stamped: bool) -> Emitter:
        # A definition serves all classes.
        if not (self._mask if event.is_name else self._mask & 1 << event.major):
            return _nothing
        return _maker(event.attribute, stamped)(self._names if event.is_name else self._own, self._cpu)


@cache
def _maker(attribute: str, stamped: bool) -> Callable[[Extend, HasClock], Emitter]:
    """Return what makes one event's emitter, given a list's extend and a processor."""
    names: dict[str, Any] = {"text_words": text_words}
    exec(source(load().by_attribute[attribute], stamped), names)
    make: Callable[[Extend, HasClock], Emitter] = names["make"]
    return make


def source(event: Event, stamped: bool = False) -> str:
    """Return the text of the function that makes *event*'s emitter."""
    parameters = [*(["stamp_"] if stamped else []), *(each.name for each in event.fields)]
    stamp = f"{'stamp_' if stamped else 'cpu_.clock'} << {STAMP_BITS}"
    words = [_word(fields) for fields in event.by_word if fields[0].type.is_fixed]
    last = event.fields[-1] if event.fields else None
    lines = [f"def make(extend_, cpu_):\n    def {event.attribute}({', '.join(parameters)}):\n"]
    if last is None or last.type.is_fixed:
        head = f"{stamp} | {event.words << LENGTH_SHIFT | event.id:#x}"
        lines.append(f"        extend_(({', '.join([head, *words])},))\n")
    else:
        room = MAX_WORDS - 1 - len(words)
        tail = f"text_words({last.name}, {room})" if last.type.inline else f"{last.name}[:{room}]"
        head = f"{stamp} | ({1 + len(words)} + len(tail_)) << {LENGTH_SHIFT} | {event.id:#x}"
        lines.append(f"        tail_ = {tail}\n        extend_(({', '.join([head, *words])}, *tail_))\n")
    return "".join([*lines, f"    return {event.attribute}\n"])


def _word(fields: tuple[Field, ...]) -> str:
    if len(fields) == 1 and fields[0].type.bits == 64:
        return fields[0].name
    parts = [
        f"({each.name} & {each.mask:#x})" + (f" << {each.shift}" if each.shift else "") for each in fields
    ]
    return " | ".join(parts)


STUB_HEAD: Final = '''\
"""The emitters' signatures. Made from schema.toml: `python -m k42fs.machine.tracing.derived`."""

from collections.abc import Callable, Iterable
from typing import Protocol

from k42fs.machine.tracing.schema import Event

Extend = Callable[[Iterable[int]], None]
Emitter = Callable[..., None]
STUB_HEAD: str

class HasClock(Protocol):
    @property
    def clock(self) -> int: ...

def source(event: Event, stamped: bool = False) -> str: ...
def stub() -> str: ...

class Emitters:
    def __init__(self, cpu: HasClock) -> None: ...
    def bind(self, own: Extend, names: Extend) -> None: ...
    def set_mask(self, mask: int) -> None: ...
    def stamped(self, name: str) -> Emitter: ...
'''


def stub() -> str:
    """Return the text of emitters.pyi."""
    return STUB_HEAD + "".join(_signature(each) for each in load().events())


def _signature(event: Event) -> str:
    kinds = {"text": "str | bytes", "list": "tuple[int, ...]"}
    parameters = ["self", *(f"{each.name}: {kinds.get(each.type.name, 'int')}" for each in event.fields)]
    line = f"    def {event.attribute}({', '.join(parameters)}) -> None: ...\n"
    if len(line) > 111:
        joined = ", ".join(parameters)
        line = f"    def {event.attribute}(\n        {joined}\n    ) -> None: ...\n"
        if len(joined) > 102:
            each = "".join(f"        {parameter},\n" for parameter in parameters)
            line = f"    def {event.attribute}(\n{each}    ) -> None: ...\n"
    return line
