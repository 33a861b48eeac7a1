"""L3: a data cache that some neighbouring processors share.

It takes in every line that one of its processors fetches, and every line that one of them writes back. It
answers a read of a line that no private cache owns, without the home. Its copy is then the newest: when a
processor elsewhere becomes the owner, the line is dropped here; when one of its own does, the copy may become
stale, but no read finds it while the line is owned, and the write-back renews it. What is evicted here goes
in silence: memory has all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k42fs.machine.config import MachineConfig


class SharedCaches:
    """The L3s of a machine. L3 *n* is of processors n * processors_per_l3 and so on. True LRU in each set."""

    def __init__(self, config: MachineConfig) -> None:
        self._share, self._sets, self._ways = config.processors_per_l3, config.l3_sets, config.l3_ways
        count = -(-config.processors // self._share)
        # Sets appear when first used. A set maps lines to nothing, least recently used first.
        self._caches: list[dict[int, dict[int, None]]] = [{} for _ in range(count)]

    def of(self, cpu: int) -> int:
        """Return the number of *cpu*'s L3."""
        return cpu // self._share

    def has(self, cpu: int, line: int) -> bool:
        """Say whether *cpu*'s L3 has *line*, without touching the order of use."""
        return line in self._caches[cpu // self._share].get(line % self._sets, ())

    def fill(self, cpu: int, line: int) -> None:
        """Make *line* the most recently used of its set in *cpu*'s L3; the least recently used makes room."""
        ways = self._caches[cpu // self._share].setdefault(line % self._sets, {})
        ways.pop(line, None)
        ways[line] = None
        if len(ways) > self._ways:
            del ways[next(iter(ways))]

    def drop_elsewhere(self, cpu: int, line: int) -> None:
        """*cpu* has become the owner of *line*: remove it from all other L3s."""
        own, index = cpu // self._share, line % self._sets
        for number, sets in enumerate(self._caches):
            if number != own and index in sets:
                sets[index].pop(line, None)

    def holders(self, line: int) -> list[int]:
        """Return the numbers of the L3s that have *line*, ascending."""
        index = line % self._sets
        return [number for number, sets in enumerate(self._caches) if line in sets.get(index, ())]

    def check(self) -> None:
        """Raise AssertionError unless every line is in its set, and no set is too full."""
        for sets in self._caches:
            for index, ways in sets.items():
                assert len(ways) <= self._ways, f"L3 set {index} has {len(ways)} lines"
                assert all(line % self._sets == index for line in ways), f"L3 set {index}: a stray line"
