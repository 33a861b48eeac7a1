"""Counted object calls: while objects are watched, their local entries hold a `CountedRep` in place of the rep.

Nobody watched, a processor's local table is the plain one and a call costs what it always did. Else the tables are
such as calls are traced by (`traced_table.py`): whatever is stored for a watched ref gets a `CountedRep` before it,
which counts the call by method and processor and passes it on. All other entries hold their reps.

Calls in flight when watching begins are not counted. Self calls and calls of kept reps go by no table and are not
seen. A ref is watched, not an object: who watches must stop when the object is gone, as refs are issued again.

Locks: none, and no cycle of virtual time: nothing here awaits.
K42: COSMgr::substitute, CObjRepArbiterCallCounter. Differs: that costs each call a stack and 120 instructions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from k42fs.ids import VP, Ref
from k42fs.objects.default_object import AnyRep
from k42fs.objects.root import processors
from k42fs.objects.traced_table import StandIn, passed_on

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.objects.cosmgr import COSMgr


class Calls(NamedTuple):
    """The calls of one object: how many of each method, and the processors that made them, a bit each."""

    methods: dict[str, int]
    processors: int


class CountedRep(StandIn):
    """Counts the calls of a rep on one processor. A subclass for each class of reps has the methods."""

    __slots__ = ("_counts",)

    def __init__(self, rep: AnyRep, ref: Ref, counts: defaultdict[str, int]) -> None:
        super().__init__(rep, ref)
        self._counts = counts

    def _make_method(self, name: str, own: FunctionType | None) -> Callable[..., Any]:
        def asked(rep: AnyRep, th: Thread, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
            return getattr(rep, name)(th, *args, **kwargs)

        # Made of source text, with the parameters of the method: see `Methods.make`.
        names: dict[str, Any] = {"method_": own or asked}
        parameters, arguments = passed_on(names["method_"], names)
        source = COUNTED.format(name=repr(name), parameters=parameters, arguments=arguments)
        exec(compile(source, __file__, "exec"), names)
        made: FunctionType = names["counted"]
        made.__name__, made.__qualname__ = name, f"counted {names['method_'].__qualname__}"
        return made


COUNTED: Final = """\
def counted(self_, th_{parameters}):
    self_._counts[{name}] += 1
    return method_(self_._rep, th_{arguments})
"""


class CountedCalls:
    """The watched objects of *cos*, by ref, and their calls since they were last asked for."""

    def __init__(self, cos: COSMgr) -> None:
        self._cos = cos
        self._processors = cos.machine.processors
        self._counts: dict[Ref, dict[VP, defaultdict[str, int]]] = {}
        self._kinds: dict[type, type[CountedRep]] = {}

    def __contains__(self, ref: Ref) -> bool:
        return ref in self._counts

    def begin(self) -> None:
        """Give the processors tables in which objects can be watched."""
        self._cos.tracing.count(self._wrapped)

    def end(self) -> None:
        """Watch nothing any more, and give the plain tables back."""
        self._counts.clear()
        self._cos.tracing.count(None)

    def watch(self, ref: Ref) -> None:
        """Count the calls of *ref* from now on, from nothing. It may have no entry anywhere yet."""
        self._counts[ref] = {}
        self._renew(ref)

    def forget(self, ref: Ref) -> None:
        """Count the calls of *ref* no longer."""
        if self._counts.pop(ref, None) is not None:
            self._renew(ref)

    def refs(self) -> list[Ref]:
        """Return what is watched, in the order in which that began."""
        return list(self._counts)

    def take(self, ref: Ref) -> Calls | None:
        """Return the calls of *ref* since the last time, or since it is watched; None if it is not."""
        by_processor = self._counts.get(ref)
        if by_processor is None:
            return None
        methods: dict[str, int] = {}
        callers = 0
        for vp, counts in by_processor.items():
            if counts:
                callers |= 1 << vp
            for name, count in counts.items():
                methods[name] = methods.get(name, 0) + count
            counts.clear()  # in place: reps have it
        return Calls(methods, callers)

    def _wrapped(self, vp: VP, ref: Ref, rep: AnyRep) -> AnyRep:
        by_processor = self._counts.get(ref)
        if by_processor is None:
            return rep
        counts = by_processor.get(vp)
        if counts is None:
            counts = by_processor[vp] = defaultdict(int)
        rep_class = type(rep)
        kind = self._kinds.get(rep_class)
        if kind is None:
            names: dict[str, Any] = {"__slots__": ()}
            kind = self._kinds[rep_class] = type(f"Counted{rep_class.__name__}", (CountedRep,), names)
        return kind(rep, ref, counts)

    def _renew(self, ref: Ref) -> None:
        """Let the entries of *ref* hold what they are to hold now."""
        root = self._cos.root_at(ref)
        if root is None:
            return
        for vp in processors(root.trans_set):
            table: Any = self._processors[vp].ltt
            rep = table.rep_at(ref)
            if rep is not None:
                table[ref] = rep
