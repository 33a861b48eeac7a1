"""Latencies: how long a coherence transaction takes without queueing, by kind and distance. See
`config.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k42fs.machine.layout import READ

if TYPE_CHECKING:
    from k42fs.machine.config import MachineConfig
    from k42fs.machine.directory import LineState


class Latencies:
    """The latencies of one machine, tables of what was asked for so far."""

    def __init__(self, config: MachineConfig) -> None:
        self._config = config
        self._memory: dict[tuple[int, int], int] = {}  # (requester's node, home)
        self._tours: dict[
            tuple[int, int, int], int
        ] = {}  # (requester's node, home, third node) -> hop cycles

    def from_memory(self, node: int, home: int) -> int:
        """Return how long clean data from *home*'s memory takes to *node*."""
        cycles = self._memory.get((node, home))
        if cycles is None:
            config = self._config
            base = config.local_cycles if node == home else config.remote_cycles
            cycles = self._memory[node, home] = base + 2 * config.hop_cycles * config.hops(node, home)
        return cycles

    def of(
        self, node: int, home: int, entry: LineState, code: int, others: int, held: int
    ) -> tuple[int, int]:
        """Return (cycles until the requester at *node* can go on, cycles the home is busy).

        *others*: processors besides the requester with a shared copy. *held*: the requester has one itself.
        """
        config = self._config
        busy = config.home_busy_cycles
        if entry.owner >= 0:
            return config.dirty_cycles + self._tour(node, home, config.node(entry.owner)), busy
        if code == READ or not (held or others):
            return self.from_memory(node, home), busy
        longest, issue = self._tour(node, home, home), 0
        while others:
            lowest = others & -others
            others ^= lowest
            longest = max(longest, self._tour(node, home, config.node(lowest.bit_length() - 1)))
            issue += config.inval_issue_cycles
        further = max(0, issue - config.inval_issue_cycles)  # the first is part of upgrade_cycles
        upgrade = config.upgrade_cycles + longest + further
        return (upgrade if held else max(upgrade, self.from_memory(node, home))), busy + issue

    def _tour(self, node: int, home: int, third: int) -> int:
        """Return what the way from *node* to *home*, on to *third* and back takes."""
        cycles = self._tours.get((node, home, third))
        if cycles is None:
            hops = self._config.hops
            legs = hops(node, home) + hops(home, third) + hops(third, node)
            cycles = self._tours[node, home, third] = self._config.hop_cycles * legs
        return cycles
