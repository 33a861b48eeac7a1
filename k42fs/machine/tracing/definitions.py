"""What numbers in events stand for: strings, call sites, methods; and the definitions a flight recorder keeps.

A definition (Meta::String, Lock::Site, ClustObj::ObjectName, ...) is an event like any other, but in a stream of
its own that is never dropped: what a ring or a bounded recording has kept must stay readable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Final

from k42fs.machine.callers import new_caller
from k42fs.machine.tracing.emitters import Emitters
from k42fs.machine.tracing.packing import ID_MASK
from k42fs.machine.tracing.schema import load
from k42fs.machine.tracing.split import STAMP_AT, event_items

if TYPE_CHECKING:
    from k42fs.machine.tracing.stream import Stream

EMPTY: Final = 0
"""The number of the empty string, which is never defined."""

PLACE_BITS: Final = 32

MOST_KEPT: Final = 1 << 18
STRINGS_KEPT: Final = 1 << 16


class Numbers:
    """Numbers of strings, call sites and methods, each defined in the trace at its first use.

    *emit* is where definitions go; with everything off it drops them, and `restate` says them all again when
    something is on. Strings are forgotten then, and whenever STRINGS_KEPT of them are known (names of files would
    pile up); constants, sites and methods are not, for whoever asked may keep their numbers for ever.
    """

    def __init__(self, emit: Emitters) -> None:
        self._emit = emit
        self._next = EMPTY + 1
        self._strings: dict[str | bytes, int] = {"": EMPTY, b"": EMPTY}
        self._constants: dict[str | bytes, int] = {}
        self._sites: dict[str, int] = {}
        self._methods: dict[tuple[str, str], int] = {}
        self._frames: dict[int, int] = {}  # by address of the code and place in it
        self._codes: list[CodeType] = []  # kept alive, for their addresses are in there
        self._callers: dict[frozenset[str], Any] = {}

    def string(self, text: str | bytes) -> int:
        """Return the number of *text*, good until everything is off."""
        number = self._strings.get(text)
        if number is None:
            if len(self._strings) > STRINGS_KEPT:
                self.forget_strings()
            number = self._define(text, self._strings)
        return number

    def constant(self, text: str | bytes) -> int:
        """Return the number of *text*, good for ever."""
        number = self._constants.get(text)
        if number is None:
            number = self._define(text, self._constants) if text else EMPTY
        return number

    def site(self, place: str) -> int:
        """Return the number of the call site *place*, "file:line function", good for ever."""
        number = self._sites.get(place)
        if number is None:
            self._sites[place] = number = len(self._sites) + 1
            self._emit.lock_site(number, self.constant(place))
        return number

    def site_of(self, frame: FrameType) -> int:
        """Return the number of the place where *frame* is now: of a caller, with `sys._getframe(1)`."""
        key = id(frame.f_code) << PLACE_BITS | frame.f_lasti  # a code's own hash takes long
        number = self._frames.get(key)
        if number is None:
            code = frame.f_code
            self._codes.append(code)
            self._frames[key] = number = self.site(
                f"{short_path(code.co_filename)}:{frame.f_lineno} {code.co_qualname}"
            )
        return number

    def caller(self, passed_by: frozenset[str]) -> Any:  # noqa: ANN401
        """Return what finds the site of the nearest frame whose file is not in *passed_by*: its `site()`."""
        caller = self._callers.get(passed_by)
        if caller is None:
            self._callers[passed_by] = caller = new_caller(passed_by, self.site_of)
        return caller

    def site_of_function(self, function: Callable[..., object]) -> int:
        """Return the number of the place where *function* begins, or what a partial one calls."""
        while isinstance(function, partial):
            function = function.func
        code = getattr(function, "__code__", None)
        if code is None:
            return self.site(getattr(function, "__qualname__", type(function).__qualname__))
        key = id(code) << PLACE_BITS | (1 << PLACE_BITS) - 1
        number = self._frames.get(key)
        if number is None:
            self._codes.append(code)
            place = f"{short_path(code.co_filename)}:{code.co_firstlineno} {code.co_qualname}"
            self._frames[key] = number = self.site(place)
        return number

    def method(self, type_name: str, name: str) -> int:
        """Return the number of a method of a clustered object, good for ever."""
        number = self._methods.get((type_name, name))
        if number is None:
            self._methods[type_name, name] = number = len(self._methods) + 1
            self._emit.clust_obj_method_name(number, self.constant(type_name), self.constant(name))
        return number

    def text(self, number: int) -> str:
        """Return the text of a number of a string: a search, for the few that a person reads."""
        for among in (self._strings, self._constants):
            for text, known in among.items():
                if known == number:
                    return text if isinstance(text, str) else text.decode("utf-8", "surrogateescape")
        return f"string {number}"

    def place(self, number: int) -> str:
        """Return the place of a call site's number."""
        return next((place for place, known in self._sites.items() if known == number), f"site {number}")

    def _define(self, text: str | bytes, among: dict[str | bytes, int]) -> int:
        among[text] = number = self._next
        self._next += 1
        self._emit.meta_string(number, text)
        return number

    def forget_strings(self) -> None:
        self._strings = {"": EMPTY, b"": EMPTY}

    def restate(self) -> None:
        """Define every constant, site and method again: who has their numbers need not ask for them again."""
        for text, number in self._constants.items():
            self._emit.meta_string(number, text)
        for place, number in self._sites.items():
            self._emit.lock_site(number, self.constant(place))
        for (type_name, name), number in self._methods.items():
            self._emit.clust_obj_method_name(number, self.constant(type_name), self.constant(name))


def short_path(path: str) -> str:
    """Return *path* from the package on, "objects/root.py"; of another file only its name."""
    _, inside, rest = path.rpartition("/k42fs/")
    return rest if inside else path.rpartition("/")[2]


class Definitions:
    """The latest definition of each thing: what a flight recorder keeps of the stream of names.

    At most MOST_KEPT: then the half that was defined first goes, seldom and many at once, for whoever used it must
    define it again.
    """

    def __init__(self) -> None:
        schema = load()
        self._keys = {schema.by_attribute["cache_line_name"].id: 2}  # a line has many names, one each offset
        self._kept: dict[tuple[int, ...], list[int]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, stream: Stream) -> int:
        """Take the events of *stream* out of it; return how many had to go for them."""
        words = stream.words.take()
        count, at = len(words), 0
        while at < count:
            kind = words[at] & ID_MASK
            after = at + event_items(words[at])
            first = at + STAMP_AT + 1
            key = (kind, *words[first : first + self._keys.get(kind, 1)])
            self._kept.pop(key, None)  # the latest is at the end
            self._kept[key] = words[at:after]
            at = after
        if len(self._kept) <= MOST_KEPT:
            return 0
        too_many = len(self._kept) - MOST_KEPT // 2
        for _ in range(too_many):
            del self._kept[next(iter(self._kept))]
        return too_many

    def events(self) -> Iterator[list[int]]:
        yield from self._kept.values()
