"""Traced object calls: while they are wanted, local entries hold a `TracedRep` in place of the rep.

Off, a processor's local table is the plain one and a call costs what it always did: there is no guard. On, each
table is replaced by one that puts a `TracedRep` before every rep stored in it that is wanted, all of them or
those of some types or refs. K42 traced its system calls so, by substituting their table.

A `TracedRep` has a method for each method that was called through it: made at its first use, it says Call,
awaits the rep's own method, and says Return. Calls in flight when tracing is turned on or off have the rep, or
the traced one, and end as they began; the emitters that they hold do nothing once the class is off. Self calls
and calls of kept reps go by no table and are not seen, as in K42.

Whoever fills an entry does it by ``proc.ltt[ref] = rep`` and need not know; whoever compares what an entry holds
asks `LocalTable.rep_at`. Every method must be awaitable, as it must be anyway: an empty entry answers with a
coroutine.

Locks: none, and no cycle of virtual time: nothing here awaits but the traced method itself.
K42: os/kernel/trace, genSysCallTable.pl; ClustObj events of lib/libc/cobj.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from inspect import getattr_static
from itertools import count
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, ClassVar, Final

from k42fs.errors import ConfigError, K42Error
from k42fs.ids import VP, Ref
from k42fs.objects.debug_checks import CheckedTable
from k42fs.objects.default_object import AnyRep
from k42fs.objects.translation import LocalTable

if TYPE_CHECKING:
    from k42fs.machine.processor import Processor
    from k42fs.machine.thread import Thread

METHOD_SHIFT: Final = 48
VP_SHIFT: Final = 32
"""Where a method's number and the processor lie in the second word of Call and Return."""

FAILED: Final = K42Error.errno
ENDED: Final = 4
"""EINTR: what a call answers that was ended from outside, by closing its coroutine or by cancellation."""

Emit = Callable[..., None]
TracedMethod = Callable[..., Coroutine[Any, Any, Any]]


def nothing(*words: int) -> None:
    """The emitter while object calls are not traced."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose calls are traced: everybody's, or those of the objects of some types and of some refs."""

    everything: bool = False
    types: frozenset[str] = frozenset()
    refs: frozenset[int] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Wanted:
        """Return what *text* asks for: "all", "none", or any number of "type NAME" and "ref N".

        Raises:
            ConfigError: it says something else.
        """
        words = text.split()
        if words in (["all"], ["none"]):
            return cls(everything=words == ["all"])
        types, refs = set[str](), set[int]()
        for what, name in zip(words[::2], words[1::2], strict=False):
            if what == "type":
                types.add(name)
            elif what == "ref":
                refs.add(_number(name))
            else:
                raise ConfigError(f"traced objects: {what!r} is neither type nor ref")
        if not words or len(words) % 2:
            raise ConfigError("traced objects are all, none, or any number of: type NAME, ref NUMBER")
        return cls(False, frozenset(types), frozenset(refs))

    def __str__(self) -> str:
        if self.everything:
            return "all"
        chosen = [
            *(f"type {name}" for name in sorted(self.types)),
            *(f"ref {ref}" for ref in sorted(self.refs)),
        ]
        return " ".join(chosen) or "none"


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise ConfigError(f"traced objects: {text!r} is no ref") from None


EVERYTHING: Final = Wanted(everything=True)


class CallEmitters:
    """Where the calls on one processor are told of. Rebound when the mask changes, so that nobody may keep them."""

    __slots__ = ("call", "returned")

    def __init__(self) -> None:
        self.call: Emit = nothing
        self.returned: Emit = nothing

    def bind(self, proc: Processor) -> None:
        """Tell in *proc*'s stream what is called from now on, or nothing if the class is off."""
        emit, is_on = proc.emit, proc.on.clust_obj
        self.call = emit.worded("clust_obj_call") if is_on else nothing
        self.returned = emit.worded("clust_obj_return") if is_on else nothing


class TracedRep:
    """Stands before the *rep* of one processor's local entry. A subclass for each class of reps has its methods."""

    __slots__ = ("_emit", "_ref", "_rep")

    _methods: ClassVar[Methods]

    def __init__(self, rep: AnyRep, ref: Ref, emit: CallEmitters) -> None:
        self._rep = rep
        self._ref = ref
        self._emit = emit

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """Make the method, or give what is no method of clients, a field or a function that takes no thread."""
        if name.startswith("_"):  # copy and inspect probe for these
            raise AttributeError(f"{name} is no external method of the object behind ref {self._ref}")
        found = getattr(self._rep, name)
        own = getattr_static(type(self._rep), name, None)
        if not callable(found) or (isinstance(own, FunctionType) and not _takes_thread(own)):
            return found
        method = self._methods.make(name, own if isinstance(own, FunctionType) else None)
        setattr(type(self), name, method)
        return MethodType(method, self)


def _takes_thread(function: FunctionType) -> bool:
    return function.__code__.co_varnames[1:2] == ("th",)


def plain_rep(rep: AnyRep) -> AnyRep:
    """Return the rep itself, whatever stands before it."""
    return rep._rep if isinstance(rep, TracedRep) else rep


class Methods:
    """Makes the traced methods of one class of reps. *number* gives a method's number, *calls* that of a call."""

    def __init__(self, number: Callable[[str], int], calls: count[int]) -> None:
        self._number = number
        self._calls = calls

    def make(self, name: str, own: Callable[..., Any] | None) -> TracedMethod:
        """Return the traced method *name*; *own* is the class's, None if reps make it as they are asked."""
        calls, head = self._calls, self._number(name) << METHOD_SHIFT

        async def called(rep: AnyRep, th: Thread, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
            return await getattr(rep, name)(th, *args, **kwargs)

        method = own or called

        async def traced(self: TracedRep, th: Thread, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
            emit, call, depth, status = self._emit, next(calls), th.depth, 0
            place = head | th.vp << VP_SHIFT
            emit.call(self._ref, place | depth, call)
            th.depth = depth + 1
            try:
                return await method(self._rep, th, *args, **kwargs)
            except BaseException as exc:
                status = _status(exc)
                raise
            finally:
                th.depth = depth
                emit.returned(self._ref, place | status, call)

        return traced


def _status(exc: BaseException) -> int:
    """Return the errno that a call answers which raised *exc*: a client's failure its own, a bug EIO."""
    if isinstance(exc, K42Error):
        return exc.errno
    return FAILED if isinstance(exc, Exception) else ENDED


Wrap = Callable[[VP, Ref, AnyRep], AnyRep]
"""(vp, ref, rep): what the entry is to hold, the rep or a TracedRep before it."""


class _Wraps(LocalTable):
    """What both kinds of traced tables do."""

    __slots__ = ()

    vp: VP
    wrap: Wrap

    def __setitem__(self, ref: Ref, rep: AnyRep) -> None:
        super().__setitem__(ref, self.wrap(self.vp, ref, rep))

    def rep_at(self, ref: Ref) -> AnyRep:
        return plain_rep(self.get(ref))


class TracedTable(_Wraps):
    """A local table whose entries may be traced."""

    __slots__ = ("vp", "wrap")


class TracedCheckedTable(_Wraps, CheckedTable):
    """The same in debug mode: each call looks the entry up again, and what it finds may be traced."""

    __slots__ = ("vp", "wrap")


def traced_table(table: LocalTable, vp: VP, wrap: Wrap) -> LocalTable:
    """Return a table with the entries of *table*, processor *vp*'s, as *wrap* has them."""
    new: TracedTable | TracedCheckedTable
    if isinstance(table, CheckedTable):
        new = TracedCheckedTable(table.restart, table.generations)
    else:
        new = TracedTable(table.restart)
    new.vp, new.wrap = vp, wrap
    for ref in table:
        new[ref] = table.rep_at(ref)
    return new


def plain_table(table: LocalTable) -> LocalTable:
    """Return a table with the reps of *table* and nothing before them; the same if there is nothing."""
    if not isinstance(table, _Wraps):
        return table
    new = (
        CheckedTable(table.restart, table.generations)
        if isinstance(table, CheckedTable)
        else LocalTable(table.restart)
    )
    new.update((ref, table.rep_at(ref)) for ref in table)
    return new
