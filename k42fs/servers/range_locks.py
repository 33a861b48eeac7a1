"""Locks on ranges of a file: writes that overlap exclude each other, others do not meet.

A file is cut into granules of 4 KiB, the size of a page; granules share 256 locks in turn, each on a line of
its own. A write takes those of its granules, lowest address first, and one of a mebibyte or more takes all.
So writes of different granules touch no common line, and wait for each other only where their granules lie a
multiple of a mebibyte apart.

Cost: two changes of a private line per granule, taken and given back.

Locks: rank 45, held while the file cache is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from k42fs.ids import VP
from k42fs.machine.layout import Kind
from k42fs.machine.lock_choice import make_lock

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine
    from k42fs.machine.exclusive_lock import ExclusiveLock
    from k42fs.machine.thread import Thread

GRANULE_SHIFT: Final = 12
LOCKS: Final = 256


class RangeLocks:
    """The range locks of one file. *owner* is whom statistics name. Python objects come with the first use."""

    __slots__ = ("_locks", "_machine", "_owner", "_step", "addr")

    def __init__(self, machine: Machine, vp: VP, owner: object | None) -> None:
        self._machine = machine
        self._owner = owner
        self._step = machine.config.line_bytes
        self.addr = machine.memory.alloc(vp, LOCKS * self._step, Kind.GLOBAL_PADDED, owner=owner)
        self._locks: dict[int, ExclusiveLock] = {}

    def span(self, offset: int, size: int) -> list[ExclusiveLock]:
        """The locks of the *size* > 0 bytes from *offset* on, in the order to take them in."""
        first, last = offset >> GRANULE_SHIFT, (offset + size - 1) >> GRANULE_SHIFT
        if last - first >= LOCKS - 1:
            return [self._lock(number) for number in range(LOCKS)]
        return [self._lock(number) for number in sorted({n % LOCKS for n in range(first, last + 1)})]

    def _lock(self, number: int) -> ExclusiveLock:
        lock = self._locks.get(number)
        if lock is None:
            machine, addr = self._machine, self.addr + number * self._step
            lock = make_lock(machine.lock_kind, machine, addr, 45, "range", self._owner, spans_calls=True)
            self._locks[number] = lock
        return lock

    def end(self, vp: VP) -> None:
        """Give back the modelled memory: nobody holds or wants a lock any more."""
        self._machine.memory.free(vp, self.addr)
        self._locks.clear()
        self._owner = None  # without the cycle both go at once


async def take(th: Thread, locks: Sequence[ExclusiveLock]) -> None:
    """Take *locks* in their order; all or, if the thread dies while it waits, none."""
    taken = 0
    try:
        for lock in locks:
            await lock.acquire(th)
            taken += 1
    except BaseException:
        give(th, locks[:taken])
        raise


def give(th: Thread, locks: Sequence[ExclusiveLock]) -> None:
    """Give *locks* up, last one first."""
    for lock in reversed(locks):
        lock.release(th)
