"""Several directories' names locked at once: in ascending order of their dirlocks, by calls within calls.

Each DirObject takes its own dirlock and calls on: the next directory of the chain, or the work. So the
order is the same for everybody, each object locks only itself, and while the work runs every directory in
the chain has a call inside it, which is what keeps an object from being swapped or freed.

The directory that an operation removes or replaces is only known once its name was looked up under the lock
of the directory that holds it: such an operation finds out, lets go, and starts again with one more
directory.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from k42fs.ids import Ref
from k42fs.servers.fs_file import FSFile

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.servers.dir_object import DirObject


class NameLocks:
    """One passage through the dirlocks of the directories; `reps` has them by inode while the work runs."""

    __slots__ = ("_at", "_order", "_work", "reps")

    def __init__(self, work: Callable[[Thread, NameLocks], Awaitable[None]]) -> None:
        self._work = work
        self._order: list[Ref] = []
        self._at = 0
        self.reps: dict[FSFile, DirObject] = {}

    async def run(self, th: Thread, refs: set[Ref]) -> None:
        """Lock the names of all *refs* and do the work."""
        if len(refs) == 1:
            self._order = list(refs)
        else:
            places = [(await th.deref(ref).lock_order(th), ref) for ref in sorted(refs)]
            self._order = [ref for _, ref in sorted(places)]
        await self.proceed(th)

    async def proceed(self, th: Thread) -> None:
        """Called by each directory that has its lock."""
        at = self._at
        if at == len(self._order):
            await self._work(th, self)
        else:
            self._at = at + 1
            await th.deref(self._order[at]).with_names_locked(th, self)

    async def extend(self, th: Thread, ref: Ref) -> None:
        """Lock one more directory and do the work again inside, if its place in the order is after all
        others.

        Called by the work when it finds out that it needs *ref*. Does nothing if the order forbids it.
        """
        last = max(rep.dirlock.addr for rep in self.reps.values())
        if await th.deref(ref).lock_order(th) > last:
            self._order.append(ref)
            await self.proceed(th)
