"""Generations: how the system knows that every thread alive at some instant has gone.

A thread is *active* from its entry into the system until it leaves. Each processor counts its active
threads in two counters, one per generation, and only new threads join the current one. To *advance* is to
make the other counter current, which is allowed only when that counter is empty: so an advance proves that
the generation before the current one has drained. A marker taken on a processor has elapsed after two
advances: the first may only prove the generation before the one that was current at marking, the second
proves that one itself.

Starting and ending a thread touches one word of its own processor's memory, no line of any other.

`GlobalGeneration` counts rounds of the clean-up token (`destruction.py`). A global marker has elapsed two
bumps later: one bump may have been about to happen at marking, two enclose a whole round.

K42: ActiveThrdCnt.{H,C}, COSMgrObject.C (updateTheGen).
Differs: K42 packs the index and the activations in one word so that one atomic add does both, and moves the
sum at an advance; here the two steps are atomic anyway. K42 leaves an interest bit for whoever waits for
zero; the clean-up daemon looks again at each round, whoever else waits is woken (`Generations.watched`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NewType

from k42fs.ids import VP

if TYPE_CHECKING:
    from k42fs.machine.processor import Processor
    from k42fs.machine.thread import Thread

VPMarker = NewType("VPMarker", int)
"""A point in the life of one processor's threads: that processor's generation count when it was taken."""

GlobalMarker = NewType("GlobalMarker", int)
"""A point in the token's journey: the global generation count when it was taken."""

ADVANCES_TO_ELAPSE: Final = 2
MARKER_SHIFT: Final = 48
INACTIVE: Final = -1
"""The generation of a thread that is outside the system, or parked with no temporary refs."""


class WatchedCounts(list[int]):
    """The counters of a processor where somebody waits for calls to end. In the place of the plain list only so
    long: K42's interest bit, at no cost while it is clear."""

    __slots__ = ("watchers",)

    def __init__(self, counts: list[int]) -> None:
        super().__init__(counts)
        self.watchers: list[Thread] = []

    def __setitem__(self, index: Any, value: Any) -> None:  # noqa: ANN401  (a list's own is overloaded)
        super().__setitem__(index, value)
        if not value:
            for th in self.watchers:
                th.unblock(th)  # it is of this processor: no message


class Generations:
    """The active threads of processor *vp*: two counters, >= 0, and the number of advances so far.

    *proc*, if given, is where markers are traced.
    """

    __slots__ = ("_proc", "count", "counts", "current", "vp")

    def __init__(self, vp: VP, proc: Processor | None = None) -> None:
        self.vp = vp
        self._proc = proc
        self.counts = [0, 0]
        self.current = 0
        self.count = 0

    @property
    def active(self) -> int:
        """Threads active on this processor now."""
        return self.counts[0] + self.counts[1]

    def advance(self) -> bool:
        """Begin a new generation if the one before the current has drained; say whether it did."""
        other = 1 - self.current
        if self.counts[other]:
            return False
        self.current = other
        self.count += 1
        return True

    def update(self) -> None:
        """Advance as far as the active threads allow. More than two advances would prove nothing new."""
        if self.advance():
            self.advance()

    @contextmanager
    def watched(self, th: Thread) -> Iterator[None]:
        """Unblock *th*, of this processor, each time one of the counters falls to zero."""
        if not isinstance(self.counts, WatchedCounts):
            self.counts = WatchedCounts(self.counts)
        watchers = self.counts.watchers
        watchers.append(th)
        try:
            yield
        finally:
            watchers.remove(th)
            if not watchers:
                self.counts = [*self.counts]

    def marker(self) -> VPMarker:
        if self._proc is not None and self._proc.on.clust_obj:
            self._proc.emit.clust_obj_mark_set(self._traced(VPMarker(self.count)), self._thread())
        return VPMarker(self.count)

    def elapsed(self, marker: VPMarker) -> bool:
        """Say whether every thread that was active on this processor at *marker* has left."""
        has_elapsed = self.count - marker >= ADVANCES_TO_ELAPSE
        if self._proc is not None and self._proc.on.clust_obj:
            emit = self._proc.emit
            tell = emit.clust_obj_mark_elapsed if has_elapsed else emit.clust_obj_mark_active
            tell(self._traced(marker), self._thread())
        return has_elapsed

    def _traced(self, marker: VPMarker) -> int:
        """Return the marker as a number that no other processor's markers have."""
        return self.vp << MARKER_SHIFT | marker

    def _thread(self) -> int:
        assert self._proc is not None, "nothing is traced"
        current = self._proc.current
        return 0 if current is None else current.number


class GlobalGeneration:
    """Rounds of the token. Starts at *vp_limit* to leave room for one stutter per processor ever added."""

    __slots__ = ("count",)

    def __init__(self, vp_limit: int) -> None:
        self.count = vp_limit

    def bump(self) -> None:
        """The token has reached the head of the ring."""
        self.count += 1

    def stutter(self) -> None:
        """A processor joined the ring: the round under way may miss it, so it must not count."""
        self.count -= 1

    def marker(self) -> GlobalMarker:
        return GlobalMarker(self.count)

    def elapsed(self, marker: GlobalMarker) -> bool:
        """Say whether the token has gone all the way round since *marker*."""
        return self.count >= marker + ADVANCES_TO_ELAPSE
