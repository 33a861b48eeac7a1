"""CoreMoves: how copies of lines come, change and go, once a transaction has its place in time.

Each move keeps caches, directory entries, L3s and, if debugging, data values in step. Nothing here takes time
but evictions, which occupy the interconnect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from k42fs.machine.core import NEVER
from k42fs.machine.core_state import CoreState
from k42fs.machine.directory import Cache, LineState, Sharing
from k42fs.machine.miss_log import INVALIDATE
from k42fs.machine.protocol import EXCLUSIVE, GET_S, MODIFIED, PROTOCOLS, SHARED, TRACKED, protocol_state

if TYPE_CHECKING:
    from k42fs.machine.config import MachineConfig
    from k42fs.machine.memory import Memory


class CoreMoves(CoreState):
    """The state of a core, and its changes."""

    def __init__(self, config: MachineConfig, memory: Memory, debug: bool) -> None:
        super().__init__(config, debug)
        self._home_of = memory.home
        self._l2_ways = config.l2_ways
        protocol = PROTOCOLS[config.protocol]
        self._steps, self._snoop = protocol.processor, protocol.snoop
        writes = protocol.evict_writes
        self._evict_writes = writes | {TRACKED} if MODIFIED in writes else writes
        self.watched: set[int] = set()
        self.on_taken: Callable[[int, int, int], int] | None = None
        self._woken_at = NEVER  # when the first of those wakes whose copies this call takes

    def _cache(self, cpu: int) -> Cache:
        """Return the caches of *cpu*, which has used them."""
        cache = self._caches[cpu]
        assert cache is not None
        return cache

    def _downgrade(self, owner: int, held: int, entry: LineState, line: int) -> None:
        """*owner*, whose copy is in state *held*, sees another's read."""
        step = self._snoop[protocol_state(held), GET_S]
        cache = self._cache(owner)
        if step.writes_memory:
            self._write_back(owner, cache, line)
        if step.next != held:
            cache.set_state(line, step.next)
        if step.next == SHARED:
            entry.sharers |= 1 << owner
            entry.owner = -1

    def _invalidate(self, losers: int, sharing: Sharing, line: int, start: int, writer: int) -> None:
        """Take all copies of *losers*, lowest first, for a write of *writer* that starts at *start*."""
        is_watched = line in self.watched
        sharing.epoch += 1
        while losers:
            lowest = losers & -losers
            losers ^= lowest
            loser = lowest.bit_length() - 1
            cache = self._cache(loser)
            cache.drop(line)
            cache.invalidations += 1
            if self.log_room:
                self._log(INVALIDATE, loser, start, line, 0, 0, 0, writer, 0)
            sharing.lost[loser] = sharing.epoch
            if self._values is not None:
                self._values.dropped(loser, line)
            if is_watched and self.on_taken is not None:
                self._woken_at = min(self._woken_at, self.on_taken(line, loser, start))

    def _install(self, cpu: int, cache: Cache, entry: LineState, line: int, state: int, start: int) -> None:
        """Put a new copy, got by a transaction that began at *start*, into L2 and the L3 over it."""
        if state == SHARED:
            entry.sharers |= 1 << cpu
        else:
            entry.owner = cpu
        if self._l3s is not None:
            self._fill_l3(cpu, line)
            if state != SHARED:
                self._l3s.drop_elsewhere(cpu, line)
        ways = cache.l2_set(line)
        ways[line] = state
        if len(ways) > self._l2_ways:
            self._evict(cpu, cache, next(iter(ways)), start)

    def _fill_l3(self, cpu: int, line: int) -> None:
        """*cpu*'s L3 takes in *cpu*'s copy."""
        assert self._l3s is not None
        self._l3s.fill(cpu, line)
        if self._values is not None:
            self._values.into_l3(cpu, line, self._l3s.of(cpu))

    def _write_back(self, cpu: int, cache: Cache, line: int) -> None:
        """Memory, and the L3 on the way, take *cpu*'s copy."""
        cache.write_backs += 1
        if self._values is not None:
            self._values.written_back(cpu, line)
        if self._l3s is not None:
            self._fill_l3(cpu, line)

    def _evict(self, cpu: int, cache: Cache, victim: int, now: int) -> None:
        """Make room: remove *victim*, the least recently used of its set, from the cache and tell its home
        unless it leaves in silence, at no cost to the processor."""
        held = cache.drop(victim)
        cache.note_eviction(victim)
        writes = held in self._evict_writes
        if writes:
            self._write_back(cpu, cache, victim)
        entry = self._lines[victim]
        if entry.owner == cpu:
            entry.owner = -1
        else:
            entry.sharers ^= 1 << cpu
        if self._net.leaves_ghosts and not writes:
            entry.gone |= 1 << cpu
            entry.gone_owned = held == EXCLUSIVE
        else:
            cache.nbytes += self._net.evict(self._home_of(victim), writes, now)
        if self._values is not None:
            self._values.dropped(cpu, victim)
            self._check_line(victim, entry, self.copies(victim))
        if entry.is_unknown:
            self._forget(victim, entry.sharing)
