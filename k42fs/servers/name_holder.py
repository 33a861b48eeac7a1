"""A name holder: one cached name of a directory.

It leads from a name to the inode, which is a token, or has an object. Its
lock is held for reading by a walk that stands on the name (so the step from a directory to its child cannot
lose the child), and for writing by whoever takes the name away or gives it another meaning. The lock is
made when a first walk stands here: most names are never walked through, and one without a lock has nobody
on it.

A name holder's lock may be taken for reading with the directory's dirlock held, if it is free at once.
Nobody waits for one while holding a dirlock (`directory.py`, "Order"), so these locks have no rank.

K42: lib/libc/fslib/NameHolder.H, DentryList.*.
Differs: K42's led to the object itself, and had to be detached from it; it allocated a lock for each name,
and kept one lock for the roots of all trees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k42fs.ids import Addr
from k42fs.machine.layout import Kind, Layout
from k42fs.machine.locks import RWLock
from k42fs.servers.fs_file import FSFile

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine
    from k42fs.machine.thread import Thread

HOLDER: Final = Layout("NameHolder", Kind.GLOBAL, link=8, text=24, file=8, lock=24)
READ_HOLDER: Final = HOLDER.script("match", "r:link r:text r:file", work=25)
NEW_HOLDER: Final = HOLDER.script("new", "w:link w:text w:file w:lock w2:0", work=60)
SET_HOLDER: Final = HOLDER.script("set", "w:file", work=15)
DROP_HOLDER: Final = HOLDER.script("drop", "r:link w:file x:lock w2:0", work=50)


class NameHolder:
    """One cached name. `lock` is None until a walk stood
    here.
    """

    __slots__ = ("addr", "file", "lock", "name")

    def __init__(self, name: bytes, file: FSFile) -> None:
        self.name = name
        self.file = file
        self.addr = Addr(0)
        self.lock: RWLock | None = None

    def walk_lock(self, machine: Machine) -> RWLock:
        """The lock, made at its first use."""
        if self.lock is None:
            lock_addr = Addr(self.addr + HOLDER.offset("lock"))
            self.lock = RWLock(machine, lock_addr, name="nh", owner=self, spans_calls=True)
        return self.lock

    @property
    def has_walkers(self) -> bool:
        """Whether somebody stands on this name or waits to."""
        lock = self.lock
        return lock is not None and bool(lock.readers or lock.writer or lock.waiting)

    def label(self) -> str:
        """What statistics and traces call it."""
        return f"name {self.name!r}"


async def wait_for_walkers(th: Thread, lock: RWLock) -> None:
    """Wait until nobody walks through a name. The caller holds no lock, and looks again afterwards."""
    await lock.acquire_w(th)
    lock.release_w(th)
