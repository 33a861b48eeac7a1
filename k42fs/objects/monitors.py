"""What adaptation watches: each monitor says, by ref, how far something has gone since it was last asked.

Locks and lines are counted by the machine anyway; a look costs what there are of them that ever contended or moved,
and between looks nothing. The sample is of objects that are made while somebody samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from k42fs.ids import Ref
from k42fs.objects.counted_calls import Calls, CountedCalls

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine
    from k42fs.machine.lock_base import LockBase

SAMPLE: Final = 32
"""How many new objects of a kind are watched in a window, the first ones."""

LockCounts = tuple[int, int, int, int]
"""Acquisitions, contentions, cycles waited, cycles held."""


class LockMonitor:
    """Locks that were ever contended, by the ref of their owner."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._seen: WeakKeyDictionary[LockBase, LockCounts] = WeakKeyDictionary()

    def take(self) -> dict[Ref, LockCounts]:
        """Return what has been added since the last time, in the order of the locks' first contention."""
        found: dict[Ref, LockCounts] = {}
        for lock in self._machine.contended.locks():
            ref = Ref(getattr(lock.owner, "ref", 0))
            if not ref:
                continue
            now = lock.acquisitions, lock.contentions, lock.waited_cycles, lock.held_cycles
            then = self._seen.get(lock, (0, 0, 0, 0))
            if now[0] < then[0]:  # statistics were reset
                then = (0, 0, 0, 0)
            self._seen[lock] = now
            a, b, c, d = found.get(ref, (0, 0, 0, 0))
            found[ref] = (
                a + now[0] - then[0],
                b + now[1] - then[1],
                c + now[2] - then[2],
                d + now[3] - then[3],
            )
        return found


class LineMonitor:
    """Lines that moved between caches, by the ref of the object that they belong to: to its reps, its root, or the
    inode that it stands for. Only model=full knows them. It is the one asker of the core's `take_moves`.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._handed: dict[int, int] = {}  # by hand-offs that nobody saw (`hand_offs.py`): line -> how often

    def take(self) -> dict[Ref, int]:
        """Return the transfers since the last time, in the order of refs."""
        machine = self._machine
        found: dict[Ref, int] = {}
        if machine.model != "full":
            return found
        line_bytes = machine.config.line_bytes
        moved = machine.core.take_moves()
        for line, moves, offset in zip(moved[::3], moved[1::3], moved[2::3], strict=True):
            self._add(found, line * line_bytes + offset, moves)
        for item in machine.hand_offs.added_to(()):
            line, count = item.line, item.transfers
            before = self._handed.get(line, 0)
            self._handed[line] = count
            if count != before:  # fewer: statistics were reset
                self._add(found, line * line_bytes, count - before if count > before else count)
        return dict(sorted(found.items()))

    def _add(self, found: dict[Ref, int], addr: int, moves: int) -> None:
        owner = self._machine.memory.owner_at(addr)
        ref = getattr(owner, "obj_ref", 0) or getattr(owner, "ref", 0)
        if isinstance(ref, int) and ref:
            found[Ref(ref)] = found.get(Ref(ref), 0) + moves


@dataclass(slots=True, eq=False)
class Made:
    """A new object that is watched: *rep* is what its maker gave. `calls`: of one whose ref is another's by now."""

    ref: Ref
    rep: Any
    calls: Calls | None = None


class NewObjects:
    """A sample of the objects that are made in a window, of *kinds*. Their calls are counted from the first one."""

    def __init__(self, calls: CountedCalls, kinds: frozenset[str]) -> None:
        self._calls = calls
        self.kinds = kinds
        self._sample: dict[str, list[Made]] = {kind: [] for kind in sorted(kinds)}
        self._by_ref: dict[Ref, Made] = {}

    def note(self, kind: str, rep: Any) -> None:  # noqa: ANN401
        """An object was made. Nobody has called it yet."""
        ref: Ref = rep.ref
        if ref in self._calls:  # what had the ref before is gone
            self._end(ref)
        if kind in self.kinds and len(self._sample[kind]) < SAMPLE:
            made = self._by_ref[ref] = Made(ref, rep)
            self._sample[kind].append(made)
            self._calls.watch(ref)

    def take(self) -> dict[str, list[Made]]:
        """Return the sample by kind, and begin another one."""
        sample, self._sample = self._sample, {kind: [] for kind in self._sample}
        self._by_ref.clear()
        return sample

    def _end(self, ref: Ref) -> None:
        made = self._by_ref.pop(ref, None)
        if made is not None:
            made.calls = self._calls.take(ref)
        self._calls.forget(ref)
