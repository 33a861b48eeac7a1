"""CoreState: what the pure core keeps of processors and lines, what it reports of them, and what always holds.

The invariants, numbered as in the documentation of the core:

    1  a line has one EXCLUSIVE or MODIFIED copy and no other, or any SHARED ones and at most one OWNED
    2  every reference finds the newest data (kept track of if debugging)
    3  L2 includes L1, and both agree on states
    4  the directory knows exactly who has a line; what it believes besides left in silence
    5  memory is fresh unless a copy is OWNED or MODIFIED; so is an L3 that may answer (if debugging)
    6  reservations of lines, homes, links and buses are disjoint
    7  no transaction starts before it was asked for
    8  hits and misses add up to references, suppliers to misses, stalls to cycles
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from k42fs.machine.core import MISS_KINDS, STALLS, Counters, LineTransfers
from k42fs.machine.data_values import DataValues
from k42fs.machine.directory import UPGRADE, Cache, LineState, Sharing
from k42fs.machine.interconnect import Interconnect
from k42fs.machine.interconnect_bus import BusInterconnect
from k42fs.machine.interconnect_directory import DirectoryInterconnect
from k42fs.machine.miss_log import MissLog
from k42fs.machine.protocol import DIRTY, EXCLUSIVE, SHARED, STATE_NAMES
from k42fs.machine.shared_cache import SharedCaches

if TYPE_CHECKING:
    from k42fs.machine.config import MachineConfig

WORTH_KEEPING: Final = 4
"""Moves between caches after which a line is remembered, until the next reset, though no cache has it."""


class CoreState(MissLog):
    """Caches, lines and interconnect of one machine."""

    def __init__(self, config: MachineConfig, debug: bool) -> None:
        super().__init__()
        self._config = config
        # Caches appear when first used, so that a machine of 1024 processors starts at once.
        self._caches: list[Cache | None] = [None] * config.processors
        self._lines: dict[int, LineState] = {}
        self._l3s = SharedCaches(config) if config.l3_bytes else None
        self._values = DataValues() if debug else None
        bus = config.interconnect == "bus"
        self._net: Interconnect = BusInterconnect(config) if bus else DirectoryInterconnect(config)

    @property
    def late(self) -> int:
        """Requests older than the history of their line, home, link or bus. Not reset."""
        lines = (entry.sharing.history.late for entry in self._lines.values() if entry.sharing is not None)
        return self._net.late + sum(lines)

    @property
    def order_slips(self) -> int:
        """Reservations of links or the data bus that had to step behind one of a transaction that started
        later. Not reset."""
        return self._net.order_slips

    def counters(self, cpu: int) -> Counters:
        """Return what *cpu* did."""
        cache = self._caches[cpu]
        if cache is None:
            return Counters()
        return Counters(
            loads=cache.counts[0],
            stores=cache.counts[1],
            rmws=cache.counts[2],
            l1_hits=cache.l1_hits,
            l2_hits=cache.l2_hits,
            l3_hits=cache.l3_hits,
            misses=dict(zip(MISS_KINDS, cache.misses, strict=True)),
            from_memory=cache.from_memory,
            from_cache=cache.from_cache,
            invalidations=cache.invalidations,
            extra_invalidations=cache.extra_invalidations,
            write_backs=cache.write_backs,
            nbytes=cache.nbytes,
            cycles=cache.cycles,
            queued=cache.queued,
            stall=dict(zip(STALLS, cache.stall, strict=True)),
        )

    def transfers(self) -> Iterator[LineTransfers]:
        """Yield the lines that moved between caches."""
        for line, entry in self._lines.items():
            sharing = entry.sharing
            if sharing is not None and sharing.transfers:
                offsets = sorted(sharing.offsets.items(), key=lambda item: (-item[1], item[0]))
                yield LineTransfers(line, sharing.transfers, sharing.movers, tuple(offsets))

    def take_moves(self) -> array[int]:
        """Return (line, moves, byte) of the lines that moved between caches since this was last asked, flattened."""
        moved = array("q")
        for line, entry in self._lines.items():
            sharing = entry.sharing
            if sharing is not None and sharing.transfers != sharing.told:
                offset = min(sharing.offsets, key=lambda offset: (-sharing.offsets[offset], offset))
                moved.extend((line, sharing.transfers - sharing.told, offset))
                sharing.told = sharing.transfers
        return moved

    def reset_counters(self) -> None:
        """Zero all counts."""
        for cache in self._caches:
            if cache is not None:
                cache.reset()
        for line, entry in list(self._lines.items()):
            if entry.sharing is not None:
                entry.sharing.reset()
                if entry.is_unknown:
                    self._forget(line, entry.sharing)

    def copies(self, line: int) -> dict[int, int]:
        """Return the state of each processor's copy of *line*."""
        states = {cpu: cache.state(line) for cpu, cache in enumerate(self._caches) if cache is not None}
        return {cpu: state for cpu, state in states.items() if state}

    def check(self) -> None:
        """Raise AssertionError unless the invariants hold: 1, 3, 4, 6 and 8, and 5 if debugging."""
        copies: dict[int, dict[int, int]] = {}
        for cpu, cache in enumerate(self._caches):
            if cache is not None:
                cache.check()
                self._check_accounts(cpu, cache)
                for line, state in cache.lines():
                    copies.setdefault(line, {})[cpu] = state
        for line, entry in self._lines.items():
            self._check_line(line, entry, copies.pop(line, {}))
            if entry.sharing is not None:
                entry.sharing.history.check()
        assert not copies, f"lines unknown to the directory: {copies}"
        self._net.check()
        if self._l3s is not None:
            self._l3s.check()

    def _check_line(self, line: int, entry: LineState, copies: dict[int, int]) -> None:
        """Check what concerns one line, whose *copies* are these."""
        owners = [cpu for cpu, state in copies.items() if state != SHARED]
        sharers = sum(1 << cpu for cpu, state in copies.items() if state == SHARED)
        assert len(owners) <= 1, f"line {line:#x}: cpus {owners} all own it"
        owner = owners[0] if owners else -1
        state = copies.get(owner, 0)
        assert state < EXCLUSIVE or not sharers, (
            f"line {line:#x}: cpu {owner} in {STATE_NAMES[state]}, sharers {sharers:#x}"
        )
        assert (owner, sharers) == (entry.owner, entry.sharers), f"line {line:#x}: directory is wrong"
        held = sharers | (1 << owner if owners else 0)
        assert not entry.gone & held, f"line {line:#x}: {entry.gone & held:#x} are not gone"
        assert not entry.gone_owned or (entry.gone.bit_count() == 1 and not held), (
            f"line {line:#x}: an owner is gone, and yet {entry.gone:#x}, {held:#x}"
        )
        if self._values is not None:
            may_answer = self._l3s.holders(line) if self._l3s is not None and owner < 0 else ()
            self._values.check(line, state in DIRTY, may_answer)

    def _check_accounts(self, cpu: int, cache: Cache) -> None:
        config, misses = self._config, sum(cache.misses)
        hits = cache.l1_hits + cache.l2_hits + cache.l3_hits
        assert sum(cache.counts) == hits + misses, f"cpu {cpu}: {sum(cache.counts)} references do not add up"
        assert misses == cache.from_memory + cache.from_cache + cache.misses[UPGRADE], (
            f"cpu {cpu}: {misses} misses, not as many suppliers"
        )
        at_work = cache.l1_hits * config.l1_cycles + cache.l2_hits * config.l2_cycles
        at_work += cache.counts[2] * config.atomic_cycles
        assert cache.cycles == at_work + cache.queued + sum(cache.stall), (
            f"cpu {cpu}: {cache.cycles} cycles do not add up"
        )

    def _forget(self, line: int, sharing: Sharing | None) -> None:
        """*line* is in no cache any more: drop what is known of it, unless it moved often enough to be
        reported.

        Else a mount that reads files once on several processors would remember every line it ever saw.
        """
        if sharing is not None:
            if sharing.transfers >= WORTH_KEEPING:
                return
            for loser in sharing.lost:
                cache = self._caches[loser]
                assert cache is not None
                cache.note_eviction(line)
        del self._lines[line]
