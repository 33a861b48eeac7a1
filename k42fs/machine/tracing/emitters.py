"""Emitters: for each event a method, `proc.emit.lock_release(lock, held)`, that adds its words in one step.

Where fast_words.pyx was built they are objects of its class `Emit`, else functions made of source text from the
schema: `self.own.extend((HEADER, self.cpu.clock, lock, held))`. Reserve, write and commit are one call, which no
thread can divide, so none of the holes of K42's algorithm exists (a writer killed or overtaken between them; see
reserve.py). Stamp and header become one word later, and what is not in 0..2**64 - 1 is cut. Only fields that share a
word are masked, or they would spoil their neighbours.

The emitters of a class that is off do nothing, so that a call without a guard is merely slow. Guarded it is
`if proc.on.lock: proc.emit.lock_release(...)`. Methods of a class, and not functions kept by the object, because
CPython finds them faster; each tracer has a class of its own, for what is on is a tracer's affair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol

from k42fs.machine.tracing import words
from k42fs.machine.tracing.packing import LENGTH_SHIFT, text_words
from k42fs.machine.tracing.schema import MAX_WORDS, Event, Field, load

if TYPE_CHECKING:
    from k42fs.machine.tracing.words import Words

Emitter = Callable[..., None]


class HasClock(Protocol):
    """Whose time stamps the events, in cycles."""

    @property
    def clock(self) -> int: ...


def _nothing(*values: object) -> None:
    """The emitter of a class that is off."""


def _silent(self: Emitters, name: str) -> Emitter:
    """Take the place of every emitter."""
    if name.startswith("_"):  # copy and inspect probe for these
        raise AttributeError(name)
    setattr(type(self), name, _nothing)
    return _nothing


class Emitters:
    """The emitters of one processor; emitters.pyi lists them. Made by `make_emitters`."""

    __slots__ = ("cpu", "names", "own")

    def __init__(self, cpu: HasClock) -> None:
        self.cpu = cpu
        self.own: Words = words.new_words()
        self.names: Words = self.own

    def bind(self, own: Words, names: Words) -> None:
        """Emit to these from now on: *own* gets the words of events, *names* those of definitions."""
        self.own, self.names = own, names

    @classmethod
    def switch(cls, mask: int) -> None:
        """Let the classes in *mask* emit, on all processors of the tracer, and definitions if any is on."""
        if "__getattr__" in vars(cls):  # with it there, calls would be slow
            del cls.__getattr__
        for event in load().events():
            is_on = mask if event.is_name else mask & 1 << event.major
            setattr(cls, event.attribute, _method(event.attribute) if is_on else _nothing)

    def stamped(self, name: str) -> Emitter:
        """Return an emitter that takes the stamp first: for what happened at another time than now.

        It is good until the tracer switches.
        """
        event = load().by_attribute[name]
        if getattr(type(self), name, _nothing) is _nothing:
            return _nothing
        to = self.names if event.is_name else self.own
        return compiled_emitter(event, to) if words.is_compiled() else _maker(name)(to.extend)


def make_emitters(cpus: Sequence[HasClock]) -> list[Emitters]:
    """Return emitters for the processors of one tracer, everything off and bound to nothing.

    Until something is on for the first time nothing of the schema is needed, nor read.
    """
    kind = type("Emitters", (Emitters,), {"__slots__": (), "__getattr__": _silent})
    return [kind(cpu) for cpu in cpus]


def _method(attribute: str) -> Emitter:
    return _compiled_method(attribute) if words.is_compiled() else _plain_method(attribute)


@cache
def _compiled_method(attribute: str) -> Emitter:
    return compiled_emitter(load().by_attribute[attribute])


@cache
def _plain_method(attribute: str) -> Emitter:
    made: Emitter = _made(attribute, method_source(load().by_attribute[attribute]))
    return made


@cache
def _maker(attribute: str) -> Callable[..., Emitter]:
    """Return what makes the stamped emitter of an event, given a list's extend."""
    made: Callable[..., Emitter] = _made("make", stamped_source(load().by_attribute[attribute]))
    return made


def compiled_emitter(event: Event, to: Words | None = None) -> Emitter:
    """Return *event*'s emitter in C: a method, or, given where *to* emit, one that takes the stamp first."""
    cuts = [(each.word, each.shift, each.mask) for each in event.fields if each.type.is_fixed]
    count = sum(fields[0].type.is_fixed for fields in event.by_word)
    tail = 0 if len(cuts) == len(event.fields) else 1 if event.fields[-1].type.inline else 2
    kind = words.fast_words
    kind.know_emitters(Emitters)
    return kind.Emit(event.attribute, event.id, cuts, count, tail, MAX_WORDS - 1 - count, event.is_name, to)


def _made(name: str, source: str) -> Any:  # noqa: ANN401
    names: dict[str, Any] = {"text_words": text_words}
    exec(source, names)
    return names[name]


def method_source(event: Event) -> str:
    """Return the text of *event*'s emitter."""
    parameters = ", ".join(["self", *(each.name for each in event.fields)])
    return f"def {event.attribute}({parameters}):\n" + _body(
        event, "self.names.extend" if event.is_name else "self.own.extend", "self.cpu.clock", "    "
    )


def stamped_source(event: Event) -> str:
    """Return the text of what makes *event*'s stamped emitter."""
    parameters = ", ".join(["stamp_", *(each.name for each in event.fields)])
    body = _body(event, "extend_", "stamp_", "        ")
    return f"def make(extend_):\n    def emitter({parameters}):\n{body}    return emitter\n"


def _body(event: Event, extend: str, stamp: str, indent: str) -> str:
    payload = [_word(fields) for fields in event.by_word if fields[0].type.is_fixed]
    last = event.fields[-1] if event.fields else None
    if last is None or last.type.is_fixed:
        head = f"{event.words << LENGTH_SHIFT | event.id:#x}"
        return f"{indent}{extend}(({', '.join([head, stamp, *payload])}))\n"
    room = MAX_WORDS - 1 - len(payload)
    tail = f"text_words({last.name}, {room})" if last.type.inline else f"{last.name}[:{room}]"
    head = f"({1 + len(payload)} + len(tail_)) << {LENGTH_SHIFT} | {event.id:#x}"
    return f"{indent}tail_ = {tail}\n{indent}{extend}(({', '.join([head, stamp, *payload])}, *tail_))\n"


def _word(fields: tuple[Field, ...]) -> str:
    if len(fields) == 1 and fields[0].type.bits == 64:
        return fields[0].name
    parts = [
        f"({each.name} & {each.mask:#x})" + (f" << {each.shift}" if each.shift else "") for each in fields
    ]
    return " | ".join(parts)


STUB_HEAD: Final = '''\
"""The emitters' signatures. Made from schema.toml: `python -m k42fs.machine.tracing.derived`."""

from collections.abc import Callable, Sequence
from typing import Protocol

from k42fs.machine.tracing.schema import Event
from k42fs.machine.tracing.words import Words

Emitter = Callable[..., None]
STUB_HEAD: str

class HasClock(Protocol):
    @property
    def clock(self) -> int: ...

def make_emitters(cpus: Sequence[HasClock]) -> list[Emitters]: ...
def method_source(event: Event) -> str: ...
def stamped_source(event: Event) -> str: ...
def compiled_emitter(event: Event, to: Words | None = None) -> Emitter: ...
def stub() -> str: ...

class Emitters:
    cpu: HasClock
    own: Words
    names: Words
    def __init__(self, cpu: HasClock) -> None: ...
    def bind(self, own: Words, names: Words) -> None: ...
    @classmethod
    def switch(cls, mask: int) -> None: ...
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
