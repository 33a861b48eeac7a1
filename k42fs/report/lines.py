"""`c2c`: which cache lines move between processors, for which fields, from which source lines on both sides.

Built from Miss and Invalidate. A sharing miss is paired with the write that took the line away before: the last
Invalidate of that line on the same processor. Unlike hardware's samples these are all the misses there were, and
the simulator knows true sharing from false: the word that was missed was written by another, or only its
neighbours were.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Final

from k42fs.report.filters import Source

COLD, CAPACITY, TRUE_SHARING, FALSE_SHARING, UPGRADE = range(5)
READ, WRITE, RMW = range(3)
MEMORY: Final = (1 << 64) - 1
"""The supplier when no cache had the line."""

NODE_SHIFT: Final = 52
"""A modelled address says its home node in the bits from here on."""


@dataclass(slots=True)
class Moves:
    """What happened to a line, or to one place in it by one source line. Counts of misses; cycles they took."""

    lcl_hitm: int = 0
    rmt_hitm: int = 0
    lcl_hit: int = 0
    rmt_hit: int = 0
    lcl_dram: int = 0
    rmt_dram: int = 0
    stores: int = 0
    upgrades: int = 0
    locked: int = 0
    true_sharing: int = 0
    false_sharing: int = 0
    rmt_hitm_cycles: int = 0
    lcl_hitm_cycles: int = 0
    load_cycles: int = 0
    cycles: int = 0

    @property
    def hitm(self) -> int:
        return self.lcl_hitm + self.rmt_hitm

    @property
    def loads(self) -> int:
        return self.hitm + self.lcl_hit + self.rmt_hit + self.lcl_dram + self.rmt_dram

    @property
    def records(self) -> int:
        return self.loads + self.stores

    @property
    def sharing(self) -> int:
        """Misses and upgrades that only another processor's use of the line caused."""
        return self.true_sharing + self.false_sharing + self.upgrades

    def add(self, other: Moves) -> None:
        for name in COUNTERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


COUNTERS: Final = tuple(each.name for each in fields(Moves))


@dataclass(slots=True)
class Place:
    """One place in a line, used by one source line. `others` counts the source lines that took it away."""

    moves: Moves = field(default_factory=Moves)
    processors: set[int] = field(default_factory=set)
    others: Counter[int] = field(default_factory=Counter)
    pids: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Line:
    """A cache line: its places by (offset, site), and the processors that missed it."""

    address: int
    places: dict[tuple[int, int], Place] = field(default_factory=dict)
    moves: Moves = field(default_factory=Moves)
    """Those of all places."""

    @property
    def node(self) -> int:
        return self.address >> NODE_SHIFT


def lines(source: Source) -> list[Line]:
    """Return the lines that missed, those that moved most between processors first."""
    miss, invalidate, enter = map(source.id, ("cache_miss", "cache_invalidate", "fuse_op_enter"))
    node_of = nodes(source)
    found: dict[int, Line] = {}
    taken: dict[tuple[int, int], int] = {}
    serving: dict[int, int] = {}
    for records in source.records((miss, invalidate, enter)):
        for _, vp, number, words in records:
            if number == miss:
                address, kind, access, offset, supplier, cycles, site = words
                line = found.get(address)
                if line is None:
                    line = found[address] = Line(address)
                place = line.places.get((offset, site))
                if place is None:
                    place = line.places[offset, site] = Place()
                place.processors.add(vp)
                if vp in serving:
                    place.pids.add(serving[vp])
                if kind in (TRUE_SHARING, FALSE_SHARING) and (other := taken.get((vp, address))):
                    place.others[other] += 1
                near = supplier if supplier != MEMORY else None
                is_near = node_of(vp) == (address >> NODE_SHIFT if near is None else node_of(near))
                _count(place.moves, kind, access, near is not None, is_near, cycles)
            elif number == invalidate:
                taken[vp, words[0]] = words[2]
            else:
                serving[vp] = words[3]
    for line in found.values():
        for place in line.places.values():
            line.moves.add(place.moves)
    return sorted(found.values(), key=_most_moved)


def nodes(source: Source) -> Callable[[int], int]:
    """Return what says which node a processor is on; all are on one if the recording does not tell."""
    said = source.trace.env.get("processors_per_node", source.names.settings.get("processors_per_node", 0))
    per_node = int(said) if str(said).isdigit() else 0
    return (lambda vp: vp // per_node) if per_node else (lambda _: 0)


def _most_moved(line: Line) -> tuple[int, int, int]:
    return -line.moves.sharing, -line.moves.records, line.address


def _count(moves: Moves, kind: int, access: int, from_cache: bool, is_near: bool, cycles: int) -> None:
    """Count one miss. A line that a cache supplied after another's write was modified there (HITM)."""
    moves.cycles += cycles
    if kind == TRUE_SHARING:
        moves.true_sharing += 1
    elif kind == FALSE_SHARING:
        moves.false_sharing += 1
    if access == RMW:
        moves.locked += 1
    if kind == UPGRADE:
        moves.upgrades += 1
        moves.stores += 1
        return
    if access == WRITE:
        moves.stores += 1
        return
    moves.load_cycles += cycles
    if not from_cache:
        if is_near:
            moves.lcl_dram += 1
        else:
            moves.rmt_dram += 1
    elif kind not in (TRUE_SHARING, FALSE_SHARING):
        if is_near:
            moves.lcl_hit += 1
        else:
            moves.rmt_hit += 1
    elif is_near:
        moves.lcl_hitm += 1
        moves.lcl_hitm_cycles += cycles
    else:
        moves.rmt_hitm += 1
        moves.rmt_hitm_cycles += cycles
