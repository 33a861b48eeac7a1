"""The default object: what every empty local translation entry points at.

K42 wrote the default object's virtual table into each empty entry, so that a call through it landed in an
assembly trampoline with the entry's own address as `this`. Here an empty entry answers with a
`DefaultObject` that remembers the ref; whatever method a client names on it is an async function that runs
the miss path and then restarts the very call on the representative found. The client never knows.

K42: lib/libc/cobj/COSDefaultObject.C, arch/*/defaultFuncs.S.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import MethodType
from typing import TYPE_CHECKING, Any, Concatenate, TypeAlias

from k42fs.ids import Ref

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread

AnyRep: TypeAlias = Any
"""A representative: whatever class the object says it is."""

RestartCall = Callable[Concatenate[Ref, str, "Thread", ...], Coroutine[Any, Any, Any]]
"""(ref, method name, th, *args, **kwargs): take the miss on the ref, then call the method on its rep."""


class DefaultObject:
    """Stands in for the object behind *ref* for one call. Only methods can be named.

    Like K42's, it has a table of trampolines, one per method: the first use of a name adds its entry to this
    class, as a `__getattr__` costs several times a plain method.
    """

    __slots__ = ("_ref", "_restart")

    def __init__(self, restart: RestartCall, ref: Ref) -> None:
        self._restart = restart
        self._ref = ref

    def __getattr__(self, method: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        if method.startswith("_"):  # copy and inspect probe for these
            raise AttributeError(f"{method} is no external method of the object behind ref {self._ref}")

        def trampoline(
            self: DefaultObject, th: Thread, *args: object, **kwargs: object
        ) -> Coroutine[Any, Any, Any]:
            return self._restart(self._ref, method, th, *args, **kwargs)

        setattr(DefaultObject, method, trampoline)
        return MethodType(trampoline, self)
