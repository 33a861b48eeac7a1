"""Data values: where the newest data of each line are, for checking that nobody ever reads others.

A line's version is how often it was stored to. Copies, memory and L3s hold versions; they move as the core
says that data move, so a wrong supplier or a forgotten write-back shows as soon as somebody reads. Only cores
that debug keep one.
"""

from __future__ import annotations

from collections.abc import Iterable


class DataValues:
    """Versions of all lines. Of what never moved it is 0."""

    def __init__(self) -> None:
        self._newest: dict[int, int] = {}
        self._memory: dict[int, int] = {}
        self._copies: dict[tuple[int, int], int] = {}  # (processor, line)
        self._shared: dict[tuple[int, int], int] = {}  # (number of an L3, line)

    def from_memory(self, cpu: int, line: int) -> None:
        self._copies[cpu, line] = self._memory.get(line, 0)

    def from_cache(self, cpu: int, line: int, owner: int) -> None:
        self._copies[cpu, line] = self._copies[owner, line]

    def from_l3(self, cpu: int, line: int, number: int) -> None:
        self._copies[cpu, line] = self._shared[number, line]

    def written_back(self, cpu: int, line: int) -> None:
        """Memory has taken *cpu*'s copy."""
        self._memory[line] = self._copies[cpu, line]

    def into_l3(self, cpu: int, line: int, number: int) -> None:
        """L3 *number* has taken *cpu*'s copy."""
        self._shared[number, line] = self._copies[cpu, line]

    def dropped(self, cpu: int, line: int) -> None:
        del self._copies[cpu, line]

    def referenced(self, cpu: int, line: int, is_store: bool) -> None:
        """Raise AssertionError unless *cpu*'s copy is the newest; a store renews it."""
        version, newest = self._copies[cpu, line], self._newest.get(line, 0)
        assert version == newest, f"line {line:#x}: cpu {cpu} uses version {version}, {newest} is the newest"
        if is_store:
            self._newest[line] = self._copies[cpu, line] = newest + 1

    def check(self, line: int, dirty: bool, l3s: Iterable[int]) -> None:
        """Raise AssertionError unless memory is fresh or the line *dirty* in a cache, and the *l3s* that could
        answer hold the newest data."""
        newest = self._newest.get(line, 0)
        assert dirty or self._memory.get(line, 0) == newest, f"line {line:#x}: memory is stale"
        for number in l3s:
            assert self._shared[number, line] == newest, f"line {line:#x}: L3 {number} is stale"
