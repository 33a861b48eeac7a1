"""Directory entries and private caches: the state that a coherence core keeps, without its rules.

States of copies are those of `protocol.py`. TRACKED is MODIFIED on a line that has been in several caches;
its stores are stamped word by word, so that a later miss can be told true from false sharing. Lines that
never leave one cache pay nothing for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from k42fs.machine.core import MISS_KINDS, STALLS
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
    "STALL_CACHE",
    "STALL_L3",
    "STALL_MEMORY",
    "STALL_UPGRADE",
    "TRACKED",
    "TRUE_SHARING",
    "UPGRADE",
    "WORD_SHIFT",
    "Cache",
    "LineState",
    "Sharing",
]

STALL_L3, STALL_MEMORY, STALL_CACHE, STALL_UPGRADE = range(len(STALLS))

COLD, CAPACITY, TRUE_SHARING, FALSE_SHARING, UPGRADE = range(len(MISS_KINDS))

WORD_SHIFT: Final = 3


class Sharing:
    """What is known of a line that has been in two caches or more.

    `history` remembers its transactions. `lost` maps each processor that a writer invalidated to the epoch
    from which writes are news to it, `words` holds the epoch of each word's last write; an epoch begins with
    each change of ownership. `transfers` counts moves between caches since the last reset, `movers` is the
    set of processors that asked for them, `offsets` for which bytes.
    """

    __slots__ = ("epoch", "history", "lost", "movers", "offsets", "told", "transfers", "words")

    def __init__(self, history: Reservations, words: int) -> None:
        self.history = history
        self.epoch = 0
        self.lost: dict[int, int] = {}
        self.words = [-1] * words
        self.transfers = 0
        self.told = 0  # of them, when somebody last asked which lines have moved
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
        self.transfers = self.told = self.movers = 0
        self.offsets.clear()


class LineState:
    """Directory entry of one line; on a bus it stands for what the caches answer. It is always exact.

    `owner`: the processor with an EXCLUSIVE, MODIFIED or OWNED copy, or -1. `sharers`: those with a SHARED
    one, a bit each; beside an owner only if it is OWNED. `gone`: those that the home takes for sharers, or
    with `gone_owned` for the owner, although they dropped their clean copy in silence; an owner that is gone
    is the only one. `began` and `free_at`: when the last transaction blocked the line. `sharing`: None while
    only one cache had it.
    """

    __slots__ = ("began", "free_at", "gone", "gone_owned", "owner", "sharers", "sharing")

    def __init__(self) -> None:
        self.owner = -1
        self.sharers = 0
        self.gone = 0
        self.gone_owned = False
        self.began = 0
        self.free_at = 0
        self.sharing: Sharing | None = None

    @property
    def is_unknown(self) -> bool:
        """Whether no cache has the line, and the home believes in none."""
        return self.owner < 0 and not self.sharers and not self.gone

    def is_alone(self) -> bool:
        """Say whether a processor that has no copy would get the only one, as far as the home can find out.

        It asks an owner that is gone, and learns; it does not ask sharers that are gone.
        """
        return self.owner < 0 and not self.sharers and (not self.gone or self.gone_owned)

    def has_returned(self, cpu: int) -> None:
        """Note that *cpu*, which had no copy, has one again, and that a gone owner was found out if any."""
        self.gone = 0 if self.gone_owned else self.gone & ~(1 << cpu)
        self.gone_owned = False

    def begin_sharing(self, history: int, words: int) -> Sharing:
        """Note that a second cache comes in."""
        self.sharing = Sharing(Reservations(history), words)
        if self.free_at > self.began:
            self.sharing.history.add(self.began, self.free_at)
        return self.sharing

    def occupy(self, start: int, until: int) -> None:
        """Note a transaction that blocks the line. One older than the line's history is only counted."""
        self.began, self.free_at = start, until
        if self.sharing is None or start == until:
            return
        history = self.sharing.history
        if start < history.floor:
            history.late += 1
        else:
            history.add(start, until)


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
        "extra_invalidations",
        "from_cache",
        "from_memory",
        "invalidations",
        "l1",
        "l1_hits",
        "l2",
        "l2_hits",
        "l3_hits",
        "misses",
        "nbytes",
        "node",
        "queued",
        "stall",
        "write_backs",
    )

    def __init__(self, config: MachineConfig, cpu: int) -> None:
        self._l1_mask = config.l1_sets - 1
        self._l1_per_line = config.line_bytes // config.l1_line_bytes
        self._l2_mask = config.l2_sets - 1
        self.node = config.node(cpu)
        self.l1: list[dict[int, int]] = [{} for _ in range(config.l1_sets)]
        self.l2: dict[int, dict[int, int]] = {}  # sets appear when first used
        self.evicted: dict[int, int] = {}  # line / 1024 -> which of those lines made room for others
        self.reset()

    def reset(self) -> None:
        """Zero the counts."""
        self.counts = [0, 0, 0]  # loads, stores, rmws
        self.l1_hits = self.l2_hits = self.l3_hits = 0
        self.from_memory = self.from_cache = self.extra_invalidations = self.nbytes = 0
        self.misses = [0] * len(MISS_KINDS)
        self.stall = [0] * len(STALLS)
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
                assert self.state(line) == state != INVALID, (
                    f"inclusion: L1 tag {tag:#x} in state {state}, L2 has {self.state(line)}"
                )
