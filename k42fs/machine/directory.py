"""Directory entries and private caches: the state that a coherence core keeps, without its rules.

States of copies are those of `protocol.py`. TRACKED is MODIFIED on a line that has been in several caches;
its stores are stamped word by word, so that a later miss can be told true from false sharing. Lines that
never leave one cache pay nothing for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from k42fs.machine.core import MISS_KINDS
from k42fs.machine.history import Reservations
from k42fs.machine.protocol import EXCLUSIVE, INVALID, MODIFIED, SHARED, TRACKED

if TYPE_CHECKING:
    from k42fs.machine.config import MachineConfig

__all__ = [
    "CAPACITY",
    "COLD",
    "EXCLUSIVE",
    "FALSE_SHARING",
    "INVALID",
    "MODIFIED",
    "SHARED",
    "TRACKED",
    "TRUE_SHARING",
    "UPGRADE",
    "WORD_SHIFT",
    "Cache",
    "LineState",
    "Sharing",
]

COLD, CAPACITY, TRUE_SHARING, FALSE_SHARING, UPGRADE = range(len(MISS_KINDS))

WORD_SHIFT: Final = 3


class Sharing:
    """What is known of a line that has been in two caches or more.

    `history` remembers its transactions. `lost` maps each processor that a writer invalidated to the epoch
    from which writes are news to it, `words` holds the epoch of each word's last write; an epoch begins with
    each change of ownership. `transfers` counts moves between caches since the last reset, `movers` is the
    set of processors that asked for them, `offsets` for which bytes.
    """

    __slots__ = ("epoch", "history", "lost", "movers", "offsets", "transfers", "words")

    def __init__(self, history: Reservations, words: int) -> None:
        self.history = history
        self.epoch = 0
        self.lost: dict[int, int] = {}
        self.words = [-1] * words
        self.transfers = 0
        self.movers = 0
        self.offsets: dict[int, int] = {}

    def stamp(self, first: int, nbytes: int) -> None:
        """Note a store to the words that hold bytes *first*.. of the line."""
        words, epoch = self.words, self.epoch
        for word in range(first >> WORD_SHIFT, min(len(words), (first + nbytes + 7) >> WORD_SHIFT)):
            words[word] = epoch

    def is_news(self, first: int, nbytes: int, since: int) -> bool:
        """Say whether any of these words was written in epoch *since* or later."""
        return max(self.words[first >> WORD_SHIFT : (first + nbytes + 7) >> WORD_SHIFT]) >= since

    def count(self, cpu: int, offset: int) -> None:
        """Note that the line moved because *cpu* wanted the byte at *offset*."""
        self.transfers += 1
        self.movers |= 1 << cpu
        self.offsets[offset] = self.offsets.get(offset, 0) + 1

    def reset(self) -> None:
        self.transfers = self.movers = 0
        self.offsets.clear()


class LineState:
    """Directory entry of one line. Uncached: owner -1, no sharers. Owned: owner >= 0. Shared: sharers, a bit
    per cpu. `began` and `free_at`: when the last transaction blocked it. `sharing`: None while only one
    cache had it.
    """

    __slots__ = ("began", "free_at", "owner", "sharers", "sharing")

    def __init__(self) -> None:
        self.owner = -1
        self.sharers = 0
        self.began = 0
        self.free_at = 0
        self.sharing: Sharing | None = None

    def begin_sharing(self, history: int, words: int) -> Sharing:
        """Note that a second cache comes in."""
        self.sharing = Sharing(Reservations(history), words)
        if self.free_at > self.began:
            self.sharing.history.add(self.began, self.free_at)
        return self.sharing


class Cache:
    """One processor's private L1 and L2. L2 includes L1. A set maps tag -> state, least recently used first.

    L1 tags name lines of `l1_line_bytes`, L2 tags coherence lines; an L1 tag repeats the state of its line
    in L2.
    """

    __slots__ = (
        "_l1_mask",
        "_l1_per_line",
        "_l2_mask",
        "counts",
        "cycles",
        "evicted",
        "invalidations",
        "l1",
        "l1_hits",
        "l2",
        "l2_hits",
        "misses",
        "node",
        "queued",
        "write_backs",
    )

    def __init__(self, config: MachineConfig, cpu: int) -> None:
        l1_sets = config.l1_bytes // (config.l1_ways * config.l1_line_bytes)
        self._l1_mask = l1_sets - 1
        self._l1_per_line = config.line_bytes // config.l1_line_bytes
        self._l2_mask = config.l2_bytes // (config.l2_ways * config.line_bytes) - 1
        self.node = config.node(cpu)
        self.l1: list[dict[int, int]] = [{} for _ in range(l1_sets)]
        self.l2: dict[int, dict[int, int]] = {}  # sets appear when first used
        self.evicted: dict[int, int] = {}  # line / 1024 -> which of those lines made room for others
        self.reset()

    def reset(self) -> None:
        """Zero the counts."""
        self.counts = [0, 0, 0]  # loads, stores, rmws
        self.l1_hits = self.l2_hits = 0
        self.misses = [0] * len(MISS_KINDS)
        self.invalidations = self.write_backs = self.cycles = self.queued = 0

    def l2_set(self, line: int) -> dict[int, int]:
        index = line & self._l2_mask
        ways = self.l2.get(index)
        if ways is None:
            ways = self.l2[index] = {}
        return ways

    def state(self, line: int) -> int:
        """Return the state of *line* here."""
        ways = self.l2.get(line & self._l2_mask)
        return ways.get(line, INVALID) if ways else INVALID

    def set_state(self, line: int, state: int) -> None:
        """Change the state of *line*, which is here, without touching the order of use."""
        self.l2_set(line)[line] = state
        first, mask = line * self._l1_per_line, self._l1_mask
        for tag in range(first, first + self._l1_per_line):
            tags = self.l1[tag & mask]
            if tag in tags:
                tags[tag] = state

    def drop(self, line: int) -> int:
        """Remove *line*, which is here, from both levels; return the state it had."""
        first, mask = line * self._l1_per_line, self._l1_mask
        for tag in range(first, first + self._l1_per_line):
            self.l1[tag & mask].pop(tag, None)
        return self.l2_set(line).pop(line)

    def note_eviction(self, line: int) -> None:
        block = line >> 10
        self.evicted[block] = self.evicted.get(block, 0) | 1 << (line & 1023)

    def was_evicted(self, line: int) -> bool:
        return bool(self.evicted.get(line >> 10, 0) >> (line & 1023) & 1)

    def lines(self) -> Iterator[tuple[int, int]]:
        """Yield (line, state) of every copy."""
        for ways in self.l2.values():
            yield from ways.items()

    def check(self) -> None:
        """Raise AssertionError unless L2 includes L1 and both agree."""
        for tags in self.l1:
            for tag, state in tags.items():
                line = tag // self._l1_per_line
                assert self.state(line) == state, (
                    f"inclusion: L1 tag {tag:#x} in state {state}, L2 has {self.state(line)}"
                )
