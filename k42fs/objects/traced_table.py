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

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from inspect import Parameter, getattr_static, signature
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
    from k42fs.machine.tracing.emitters import HasClock

METHOD_SHIFT: Final = 48
VP_SHIFT: Final = 32
"""Where a method's number and the processor lie in the second word of Call and Return."""

FAILED: Final = K42Error.errno
ENDED: Final = 4
"""EINTR: what a call answers that was ended from outside, by closing its coroutine or by cancellation."""

TracedMethod = Callable[..., Coroutine[Any, Any, Any]]


def nothing(words: Iterable[int]) -> None:
    """Where the words of events go while object calls are not traced."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose calls are traced: everybody's, or those of some refs and of the objects of some types.

    A type is a kind of object, or the class of an implementation of it.
    """

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
    """Where the calls on one processor are told of, the words of each event at once; rebound when the mask changes."""

    __slots__ = ("extend",)

    def __init__(self) -> None:
        self.extend: Callable[[Iterable[int]], None] = nothing

    def bind(self, proc: Processor) -> None:
        """Tell in *proc*'s stream what is called from now on, or nothing if the class is off."""
        self.extend = proc.emit.own.extend if proc.on.clust_obj else nothing


class StandIn:
    """Stands before the *rep* of a local entry, which may be another one. Subclasses make methods as they are asked."""

    __slots__ = ("_ref", "_rep")

    def __init__(self, rep: AnyRep, ref: Ref) -> None:
        self._rep = rep
        self._ref = ref

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """Make the method, or give what is no method of clients, a field or a function that takes no thread."""
        if name.startswith("_"):  # copy and inspect probe for these
            raise AttributeError(f"{name} is no external method of the object behind ref {self._ref}")
        found = getattr(self._rep, name)
        plain = plain_rep(self._rep)
        own = getattr_static(type(plain), name, None)
        if not callable(found) or (isinstance(own, FunctionType) and not _takes_thread(own)):
            return found
        method = self._make_method(
            name, own if isinstance(own, FunctionType) and plain is self._rep else None
        )
        setattr(type(self), name, method)
        return MethodType(method, self)

    def _make_method(self, name: str, own: FunctionType | None) -> Callable[..., Any]:
        """Return the method *name* of this class; *own* is that of the rep's class, None if the rep is to be asked."""
        raise NotImplementedError(f"{type(self).__name__} must implement _make_method")


class TracedRep(StandIn):
    """Tells of the calls of a rep. A subclass for each class of reps and processor has the methods."""

    __slots__ = ()

    _methods: ClassVar[Methods]

    def _make_method(self, name: str, own: FunctionType | None) -> TracedMethod:
        return self._methods.make(name, own)


def _takes_thread(function: FunctionType) -> bool:
    return function.__code__.co_varnames[1:2] in (("th",), ("_th",))


def plain_rep(rep: AnyRep) -> AnyRep:
    """Return the rep itself, whatever stands before it."""
    while isinstance(rep, StandIn):
        rep = rep._rep
    return rep


class Methods:
    """Makes the traced methods of one class of reps on processor *vp*, whose time *cpu* has.

    *number* gives a method's number, *calls* that of a call.
    """

    def __init__(
        self, number: Callable[[str], int], calls: count[int], vp: VP, cpu: HasClock, emit: CallEmitters
    ) -> None:
        # Imported here: a machine that is not traced does without.
        from k42fs.machine.tracing.packing import LENGTH_SHIFT
        from k42fs.machine.tracing.schema import load

        self._number = number
        self._vp = vp
        events = load().by_attribute
        call, back = events["clust_obj_call"], events["clust_obj_return"]
        self._names = {
            "CALL_": call.words << LENGTH_SHIFT | call.id,
            "RETURN_": back.words << LENGTH_SHIFT | back.id,
            "cpu_": cpu,
            "emit_": emit,
            "next_call_": calls.__next__,
            "status_": _status,
        }

    def make(self, name: str, own: FunctionType | None) -> TracedMethod:
        """Return the traced method *name*; *own* is the class's, None if reps make it as they are asked.

        It is made of source text, with the parameters of the method, for half the price of ``*args, **kwargs``.
        """

        def called(rep: AnyRep, th: Thread, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
            return getattr(rep, name)(th, *args, **kwargs)

        method = own or called
        place = self._number(name) << METHOD_SHIFT | self._vp << VP_SHIFT
        names: dict[str, Any] = {**self._names, "method_": method, "place_": place}
        parameters, arguments = passed_on(method, names)
        source = TRACED.format(parameters=parameters, arguments=arguments)
        # As if it stood in this file, by which who looks for call sites passes it by.
        exec(compile(source, __file__, "exec"), names)
        made: FunctionType = names["traced"]
        made.__name__, made.__qualname__ = name, f"traced {method.__qualname__}"
        return made


TRACED: Final = """\
async def traced(self_, th_{parameters}):
    depth_, call_, answer_ = th_.depth, next_call_(), place_
    emit_.extend((CALL_, cpu_.clock, self_._ref, place_ | depth_, call_))
    th_.depth = depth_ + 1
    try:
        return await method_(self_._rep, th_{arguments})
    except BaseException as exc_:
        answer_ = place_ | status_(exc_)
        raise
    finally:
        th_.depth = depth_
        emit_.extend((RETURN_, cpu_.clock, self_._ref, answer_, call_))
"""


def passed_on(method: Callable[..., Any], names: dict[str, Any]) -> tuple[str, str]:
    """Return the parameters of *method* after the thread, and the arguments that pass them on, as text.

    Defaults go into *names*.
    """
    parameters = arguments = ""
    stars: dict[Any, str] = {Parameter.VAR_POSITIONAL: "*", Parameter.VAR_KEYWORD: "**"}
    has_star = False
    for each in list(signature(method).parameters.values())[2:]:
        by_name = each.kind is Parameter.KEYWORD_ONLY
        if by_name and not has_star:
            parameters += ", *"
        has_star |= by_name or each.kind is Parameter.VAR_POSITIONAL
        star = stars.get(each.kind, "")
        parameters += f", {star}{each.name}"
        if each.default is not Parameter.empty:
            names[f"default_{each.name}_"] = each.default
            parameters += f"=default_{each.name}_"
        arguments += f", {each.name}={each.name}" if by_name else f", {star}{each.name}"
    return parameters, arguments


def _status(exc: BaseException) -> int:
    """Return the errno that a call answers which raised *exc*: a client's failure its own, a bug EIO."""
    if isinstance(exc, K42Error):
        return exc.errno
    return FAILED if isinstance(exc, Exception) else ENDED


Wrap = Callable[[VP, Ref, AnyRep], AnyRep]
"""(vp, ref, rep): what the entry is to hold, the rep or what stands before it."""


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
