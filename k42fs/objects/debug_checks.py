"""Debug mode: catch clients that break the rules of refs, at the price of an object per call.

`CheckedTable` replaces the local table and answers each lookup of a filled entry with a `OneCall`, which
lets exactly one method be called. A client that keeps a rep and calls it again would work by luck until the
entry is flushed, swapped or its object freed; here the second call fails at once. So does a first call that
comes too late: if the processor's generations have advanced twice since the lookup, the thread that looked
up was not active all the time, and nothing kept the rep alive for it.

Source for the rules: K42 lib/libc/cobj/doc/cobjPrgG.sgml (re-dereference for every call, hold no ref across
DeactivateSelf).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from k42fs.ids import Ref
from k42fs.objects.default_object import AnyRep, DefaultObject, RestartCall
from k42fs.objects.generations import INACTIVE, Generations
from k42fs.objects.translation import LocalTable

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread


class StaleRepError(AssertionError):
    """A call of a rep that the caller has no right to any more. Our bug, never a client's answer."""


class OneCall:
    """A looked-up rep, good for one call by a thread of the same processor that stays active meanwhile."""

    __slots__ = ("_generations", "_marker", "_ref", "_rep", "_used")

    def __init__(self, generations: Generations, ref: Ref, rep: object) -> None:
        self._generations = generations
        self._marker = generations.marker()
        self._ref = ref
        self._rep = rep
        self._used = False

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method.startswith("_"):
            raise AttributeError(f"{method} is no external method of the object behind ref {self._ref}")
        bound = getattr(self._rep, method)

        def call(th: Thread, *args: object, **kwargs: object) -> AnyRep:
            what = f"{method} of ref {self._ref}"
            if self._used:
                raise StaleRepError(f"{what}: its rep was cached across calls, it needs a deref of its own")
            if th.vp != self._generations.vp:
                raise StaleRepError(f"{what}: called on processor {th.vp}, looked up elsewhere")
            if self._generations.elapsed(self._marker):
                raise StaleRepError(f"{what}: its rep was looked up before the thread's present activation")
            check_active(th, self._ref, method)
            self._used = True
            return bound(th, *args, **kwargs)

        return call


class CheckedTable(LocalTable):
    """A local table that hands its reps out for one call each."""

    __slots__ = ("generations",)

    def __init__(self, restart: RestartCall, generations: Generations) -> None:
        super().__init__(restart)
        self.generations = generations

    def __getitem__(self, ref: Ref) -> AnyRep:
        rep = self.get(ref)
        return DefaultObject(self.restart, ref) if rep is None else OneCall(self.generations, ref, rep)


def check_active(th: Thread, ref: Ref, method: str) -> None:
    """Refuse a call from a thread that the generations do not count: nothing would keep the object alive."""
    if th.generation == INACTIVE:
        raise StaleRepError(f"{method} of ref {ref}: the calling thread (processor {th.vp}) is not active")
