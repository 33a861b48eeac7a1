"""Several directories' names locked at once: in ascending order of their dirlocks, by calls within calls.

Each DirObject takes the locks of the names concerned (which may be one lock for all of them) and calls on: the
next directory of the chain, or the work. So the order is the same for everybody, each object locks only itself,
and while the work runs every directory in the chain has a call inside it, which is what keeps an object from
being swapped or freed. One that was swapped since its place in the order was asked refuses its turn: the work
is then not done, and the caller begins again.

The directory that an operation removes or replaces is only known once its name was looked up under the lock
of the directory that holds it: such an operation finds out, lets go, and starts again with one more
directory.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING

from k42fs.ids import Ref
from k42fs.servers.fs_file import FSFile

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.servers.directory import Directory


class NameLocks:
    """One passage through the locks of the directories; `reps` has them by inode while the work runs.

    *names*: which names of a directory are concerned; of one that is not listed all are.
    """

    __slots__ = ("_at", "_order", "_work", "names", "reps")

    def __init__(
        self,
        work: Callable[[Thread, NameLocks], Awaitable[None]],
        names: Mapping[FSFile, Collection[bytes]],
    ) -> None:
        self._work = work
        self._order: list[tuple[int | None, Ref]] = []  # ascending places; None: it is the only one
        self._at = 0
        self.names = names
        self.reps: dict[FSFile, Directory] = {}

    async def run(self, th: Thread, refs: set[Ref]) -> None:
        """Lock the names of all *refs* and do the work."""
        if len(refs) == 1:
            self._order = [(None, ref) for ref in refs]
        else:
            self._order = sorted([(await th.deref(ref).lock_order(th), ref) for ref in sorted(refs)])
        await self.proceed(th)

    async def proceed(self, th: Thread) -> None:
        """Called by each directory that has its lock."""
        at = self._at
        if at == len(self._order):
            await self._work(th, self)
        else:
            self._at = at + 1
            place, ref = self._order[at]
            await th.deref(ref).with_names_locked(th, self, place)

    async def extend(self, th: Thread, ref: Ref) -> None:
        """Lock one more directory and do the work again inside, if its place in the order is after all
        others.

        Called by the work when it finds out that it needs *ref*. Does nothing if the order forbids it.
        """
        place = await th.deref(ref).lock_order(th)
        if place > max(rep.place for rep in self.reps.values()):
            self._order.append((place, ref))
            await self.proceed(th)
