"""Latencies: how long a coherence transaction takes without queueing, by kind and distance. See `config.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k42fs.machine.config import MachineConfig


class Latencies:
    """The latencies of one machine, tables of what was asked for so far. *node* is the requester's."""

    def __init__(self, config: MachineConfig) -> None:
        self._config = config
        self._memory: dict[tuple[int, int], int] = {}  # (node, home)
        self._dirty: dict[tuple[int, int, int], int] = {}  # (node, home, owner's node)
        self._upgrade: dict[tuple[int, int, int], int] = {}  # (node, home, sharer's node)

    def memory(self, node: int, home: int) -> int:
        """Return how long clean data from *home*'s memory takes to *node*."""
        cycles = self._memory.get((node, home))
        if cycles is None:
            config, hops = self._config, self._config.hops(node, home)
            if config.memory_by_distance:
                cycles = config.memory_by_distance[hops]
            else:
                base = config.remote_cycles if hops else config.local_cycles
                cycles = base + 2 * config.hop_cycles * hops
            self._memory[node, home] = cycles
        return cycles

    def dirty(self, node: int, home: int, owner: int) -> int:
        """Return how long data take from a cache of node *owner*."""
        cycles = self._dirty.get((node, home, owner))
        if cycles is None:
            config = self._config
            cycles = self._tour(config.dirty_cycles, config.dirty_by_distance, node, home, owner)
            self._dirty[node, home, owner] = cycles
        return cycles

    def upgrade(self, node: int, home: int, targets: int) -> tuple[int, int]:
        """Return how long it takes to invalidate the copies of *targets*, processors as a bit mask, and how
        long the home is busy sending the invalidations.

        The farthest decides; the first invalidation is part of `upgrade_cycles`, the others follow it.
        """
        longest, issue = self._grant(node, home, home), self._config.inval_issue_cycles * targets.bit_count()
        while targets:
            lowest = targets & -targets
            targets ^= lowest
            longest = max(longest, self._grant(node, home, self._config.node(lowest.bit_length() - 1)))
        return longest + max(0, issue - self._config.inval_issue_cycles), issue

    def _grant(self, node: int, home: int, sharer: int) -> int:
        cycles = self._upgrade.get((node, home, sharer))
        if cycles is None:
            config = self._config
            cycles = self._tour(config.upgrade_cycles, config.upgrade_by_distance, node, home, sharer)
            self._upgrade[node, home, sharer] = cycles
        return cycles

    def _tour(self, base: int, by_distance: tuple[int, ...], node: int, home: int, third: int) -> int:
        """Return what the way from *node* to *home*, on to *third* and back takes."""
        hops = self._config.hops
        legs = hops(node, home), hops(home, third), hops(third, node)
        return by_distance[max(legs)] if by_distance else base + self._config.hop_cycles * sum(legs)
