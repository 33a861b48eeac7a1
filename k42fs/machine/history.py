"""Reservations: when a lock, line or home node was busy, for a bounded stretch of virtual time.

In a deterministic run requests reach a resource in order of virtual time and one number, when it is next
free, would do. In live mode an operation may be served later in wall time and yet come earlier in virtual
time; with the recent reservations at hand it can take the gap that it would have found. What is older than
the history is taken as busy.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right


class Reservations:
    """Disjoint busy intervals [start, end) in ascending order, at most *size* of them.

    `floor`: times before it are forgotten and count as busy. `late`: requests that had to be clamped.
    """

    __slots__ = ("_ends", "_size", "_starts", "floor", "late")

    def __init__(self, size: int) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._size = size
        self.floor = 0
        self.late = 0

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def free_at(self) -> int:
        """End of the last reservation."""
        return self._ends[-1] if self._ends else 0

    def clamp(self, now: int) -> int:
        """Return *now*, or the floor if that lies before it; the latter is counted as late."""
        if now >= self.floor:
            return now
        self.late += 1
        return self.floor

    def fit(self, now: int, duration: int) -> int:
        """Return the earliest time from *now* on at which the resource is free for *duration* cycles."""
        ends = self._ends
        if not ends or now >= ends[-1]:
            return now
        starts = self._starts
        for i in range(bisect_right(ends, now), len(ends)):
            if starts[i] - now >= duration:
                return now
            now = max(now, ends[i])
        return now

    def reserve(self, now: int, duration: int) -> int:
        """Take the first free *duration* cycles from *now* on; return when they begin.

        A request from before the floor is not queued: nobody knows who was there. It counts as late.
        """
        ends = self._ends
        if ends and now < ends[-1]:
            now = self.fit(now, duration)
            if now < self.floor:
                self.late += 1
                return now
        self.add(now, now + duration)
        return now

    def add(self, start: int, end: int) -> bool:
        """Reserve [start, end). Return False if that was not free: the overlap is merged and counted as
        late."""
        starts, ends = self._starts, self._ends
        if not ends or start > ends[-1]:
            starts.append(start)
            ends.append(end)
        elif start == ends[-1]:
            ends[-1] = end
        else:
            return self._insert(start, end)
        if len(starts) > self._size:
            self._forget()
        return True

    def check(self) -> None:
        """Raise AssertionError unless the intervals are in order and disjoint, and not too many."""
        starts, ends = self._starts, self._ends
        assert len(starts) == len(ends) <= self._size, f"{len(starts)} reservations, at most {self._size}"
        for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
            assert start <= end, f"reservation [{start}, {end})"
            assert i == 0 or ends[i - 1] <= start, f"reservations overlap: {ends[i - 1]} > {start}"

    def _insert(self, start: int, end: int) -> bool:
        starts, ends = self._starts, self._ends
        first = bisect_left(ends, start)  # those before end before start: untouched
        last = bisect_right(starts, end)  # those from here begin after end: untouched
        fits = all(ends[i] <= start or starts[i] >= end for i in range(first, last))
        if first < last:
            start = min(start, starts[first])
            end = max(end, ends[last - 1])
        starts[first:last] = [start]
        ends[first:last] = [end]
        if not fits:
            self.late += 1
        if len(starts) > self._size:
            self._forget()
        return fits

    def _forget(self) -> None:
        self.floor = self._ends[0]
        del self._starts[0], self._ends[0]


class SecondStage:
    """A resource that a transaction reaches some time after its start: a link, or a data bus.

    It is reserved when its transaction is processed, although another, processed later, may want it earlier:
    that one takes the gap before if it fits. `slips`: how often one had to wait although a transaction that
    started later held a reservation already, that is, how often order of processing may have decided.
    """

    __slots__ = ("latest", "queue", "slips")

    def __init__(self, size: int) -> None:
        self.queue = Reservations(size)
        self.latest = 0  # the latest start of a transaction that has reserved
        self.slips = 0

    def reserve(self, start: int, wanted: int, duration: int) -> int:
        """Take the first free *duration* cycles from *wanted* on for a transaction that began at *start*;
        return when they begin."""
        granted = self.queue.reserve(wanted, duration)
        if start > self.latest:
            self.latest = start
        elif granted > wanted and start < self.latest:
            self.slips += 1
        return granted
