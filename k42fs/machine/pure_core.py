"""PureCore: the coherence model in plain Python, oracle of any faster core and the one that runs where there
is none.

MESI with a full-map directory at each line's home node; private inclusive L1 and L2 with true LRU.
Transactions are atomic per line: what others see of one is that its line is blocked. A clean read of a
shared or uncached line blocks it only for the home's own time, anything that moves ownership until the data
or the acknowledgements have arrived. This block is what makes a hot line a serial resource. Each transaction
also occupies its home node; evictions do too, but cost the evicting processor nothing.

Requests that come earlier in virtual time than a resource's history goes back are served as if it had been
free then, and counted in `late`: waiting for the oldest known reservation would bill a laggard for time that
nobody occupied.

Rules: table of directory protocol transitions in Sorin, Hill, Wood, "A Primer on Memory Consistency and
Cache Coherence".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from k42fs.machine.core import MISS_KINDS, Counters, LineTransfers, TraceItem
from k42fs.machine.directory import (
    CAPACITY,
    COLD,
    EXCLUSIVE,
    FALSE_SHARING,
    MODIFIED,
    SHARED,
    TRACKED,
    TRUE_SHARING,
    UPGRADE,
    WORD_SHIFT,
    Cache,
    LineState,
)
from k42fs.machine.history import Reservations
from k42fs.machine.layout import READ, RMW, Refs

if TYPE_CHECKING:
    from k42fs.machine.config import MachineConfig
    from k42fs.machine.memory import Memory

FITS_MAX: Final = 8
"""Rounds of looking for a time when line and home are both free; then the last one found is taken."""


class PureCore:
    """Caches and directories of all processors of *config*; *memory* says where lines are homed. See
    `CoherenceCore`."""

    def __init__(self, config: MachineConfig, memory: Memory) -> None:
        self._config = config
        self._home_of = memory.home
        self._hops = config.hops
        self._line_shift = config.line_bytes.bit_length() - 1
        self._line_mask = config.line_bytes - 1
        self._l1_shift = config.l1_line_bytes.bit_length() - 1
        self._l1_mask = config.l1_bytes // (config.l1_ways * config.l1_line_bytes) - 1
        # Caches and homes appear when first used, so that a machine of 1024 processors starts at once.
        self._caches: list[Cache | None] = [None] * config.processors
        self._homes: dict[int, Reservations] = {}
        self._lines: dict[int, LineState] = {}
        self.late = 0

    def script(
        self, cpu: int, refs: Refs, base: int, other: int, now: int, limit: int, start: int
    ) -> tuple[int, int]:
        """Do references *start*.. of *refs*. See `CoherenceCore.script`."""
        cache = self._caches[cpu] or self._make_cache(cpu)
        l1, shift, mask, l1_cycles = cache.l1, self._l1_shift, self._l1_mask, self._config.l1_cycles
        begin, hits, stores = now, 0, 0
        stopped = -1
        for i in range(start, len(refs)):
            code, second, offset, nbytes = refs[i]
            addr = (other if second else base) + offset
            tag = addr >> shift
            tags = l1[tag & mask]
            state = tags.get(tag)
            # The two cases that need no look at L2: a read of any copy, a store to one already modified.
            if state and (code == READ or (code != RMW and state == MODIFIED)):
                del tags[tag]
                tags[tag] = state
                now += l1_cycles
                hits += 1
                stores += code
            elif now > limit and self._is_visible(cache, code, addr):
                stopped = i
                break
            else:
                now = self._reference(cpu, cache, code, addr, nbytes, now)
        cache.l1_hits += hits
        counts = cache.counts
        counts[0] += hits - stores
        counts[1] += stores
        cache.cycles += now - begin
        return now, stopped

    def access(self, cpu: int, code: int, addr: int, nbytes: int, now: int) -> int:
        """Do one reference within one line. See `CoherenceCore.access`."""
        cache = self._caches[cpu] or self._make_cache(cpu)
        after = self._reference(cpu, cache, code, addr, nbytes, now)
        cache.cycles += after - now
        return after

    def run(self, trace: Iterable[TraceItem], clocks: list[int]) -> None:
        """Do a whole trace in its order."""
        for cpu, code, addr, nbytes in trace:
            clocks[cpu] = self.access(cpu, code, addr, nbytes, clocks[cpu])

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
            misses=dict(zip(MISS_KINDS, cache.misses, strict=True)),
            invalidations=cache.invalidations,
            write_backs=cache.write_backs,
            cycles=cache.cycles,
            queued=cache.queued,
        )

    def transfers(self) -> Iterator[LineTransfers]:
        """Yield the lines that moved between caches."""
        for line, entry in self._lines.items():
            if entry.transfers:
                offsets = sorted(entry.offsets.items(), key=lambda item: (-item[1], item[0]))
                yield LineTransfers(line, entry.transfers, entry.movers, tuple(offsets))

    def reset_counters(self) -> None:
        """Zero all counts."""
        for cache in self._caches:
            if cache is not None:
                cache.reset()
        for entry in self._lines.values():
            entry.transfers = entry.movers = 0
            entry.offsets.clear()
        self.late = 0

    def copies(self, line: int) -> dict[int, int]:
        """Return the state of each processor's copy of *line*."""
        states = {cpu: cache.state(line) for cpu, cache in enumerate(self._caches) if cache is not None}
        return {cpu: state for cpu, state in states.items() if state}

    def check(self) -> None:
        """Raise AssertionError unless there is a single writer or many readers of each line, the directory
        knows exactly who has it, L2 includes L1, and hits and misses add up to references.
        """
        owners: dict[int, int] = {}
        sharers: dict[int, int] = {}
        for cpu, cache in enumerate(self._caches):
            if cache is None:
                continue
            cache.check()
            for line, state in cache.lines():
                if state == SHARED:
                    sharers[line] = sharers.get(line, 0) | 1 << cpu
                else:
                    assert line not in owners, f"line {line:#x}: cpus {owners[line]} and {cpu} both own it"
                    owners[line] = cpu
            counts, misses = sum(cache.counts), sum(cache.misses)
            assert counts == cache.l1_hits + cache.l2_hits + misses, (
                f"cpu {cpu}: {counts} references do not add up"
            )
        for line, entry in self._lines.items():
            owner, shared = owners.pop(line, -1), sharers.pop(line, 0)
            assert owner < 0 or not shared, f"line {line:#x}: owned by {owner}, shared by {shared:#x}"
            assert (owner, shared) == (entry.owner, entry.sharers), f"line {line:#x}: directory is wrong"
        assert not owners, f"lines unknown to the directory: {owners}"
        assert not sharers, f"lines unknown to the directory: {sharers}"

    def _make_cache(self, cpu: int) -> Cache:
        cache = self._caches[cpu] = Cache(self._config, cpu)
        return cache

    def _is_visible(self, cache: Cache, code: int, addr: int) -> bool:
        """Say whether other processors could notice the reference."""
        state = cache.state(addr >> self._line_shift)
        return code == RMW or state < (SHARED if code == READ else EXCLUSIVE)

    def _reference(self, cpu: int, cache: Cache, code: int, addr: int, nbytes: int, now: int) -> int:
        """Do one reference of any sort; return the time after."""
        config = self._config
        cache.counts[code] += 1
        line, tag = addr >> self._line_shift, addr >> self._l1_shift
        ways, tags = cache.l2_set(line), cache.l1[tag & self._l1_mask]
        state = ways.get(line, 0)
        if state < (SHARED if code == READ else EXCLUSIVE):
            now = self._transact(cpu, cache, code, addr, nbytes, line, state, now)
            state = ways[line]
        elif tag in tags:
            cache.l1_hits += 1
            now += config.l1_cycles
        else:
            cache.l2_hits += 1
            now += config.l2_cycles
            del ways[line]
            ways[line] = state
        if code != READ:
            if state == EXCLUSIVE:
                state = TRACKED if self._lines[line].history is not None else MODIFIED
                cache.set_state(line, state)
            if state == TRACKED:
                self._lines[line].stamp(addr & self._line_mask, nbytes)
            if code == RMW:
                now += config.atomic_cycles
        tags.pop(tag, None)
        tags[tag] = state
        if len(tags) > config.l1_ways:
            del tags[next(iter(tags))]
        return now

    def _transact(
        self, cpu: int, cache: Cache, code: int, addr: int, nbytes: int, line: int, held: int, now: int
    ) -> int:
        """Get *line* in the state that *code* needs, by a request to its home; return when it is there."""
        entry = self._lines.get(line)
        if entry is None:
            entry = self._lines[line] = LineState()
        home = self._home_of(line)
        offset = addr & self._line_mask
        cache.misses[self._miss_kind(cpu, cache, entry, line, offset, nbytes, held)] += 1
        others = entry.sharers & ~(1 << cpu)
        if entry.history is None and (others or entry.owner >= 0):
            entry.begin_sharing(self._config.history, self._config.line_bytes >> WORD_SHIFT)
        moved = entry.owner >= 0 or (code != READ and others)
        if moved:
            entry.transfers += 1
            entry.movers |= 1 << cpu
            entry.offsets[offset] = entry.offsets.get(offset, 0) + 1
        latency, busy = self._latency(cache.node, home, entry, code, others, held)
        blocked = busy if code == READ and entry.owner < 0 else latency
        start = self._reserve(entry, home, now, blocked, busy)
        cache.queued += start - now
        state = self._share(cpu, entry, line) if code == READ else self._take_over(cpu, entry, line, others)
        if held:
            cache.set_state(line, state)
        else:
            self._fill(cpu, cache, line, state, start)
        return start + latency

    def _miss_kind(
        self, cpu: int, cache: Cache, entry: LineState, line: int, offset: int, nbytes: int, held: int
    ) -> int:
        if held:
            return UPGRADE
        since = entry.lost.pop(cpu, None)
        if since is not None:
            return TRUE_SHARING if entry.is_news(offset, nbytes, since) else FALSE_SHARING
        return CAPACITY if cache.was_evicted(line) else COLD

    def _latency(
        self, node: int, home: int, entry: LineState, code: int, others: int, held: int
    ) -> tuple[int, int]:
        """Return (cycles until the requester can go on, cycles the home is busy)."""
        config, hops = self._config, self._hops
        there = hops(node, home)
        if entry.owner >= 0:
            owner = config.node(entry.owner)
            legs = there + hops(home, owner) + hops(owner, node)
            return config.dirty_cycles + config.hop_cycles * legs, config.home_busy_cycles
        clean = (
            config.remote_cycles if node != home else config.local_cycles
        ) + 2 * config.hop_cycles * there
        if code == READ or not (held or others):
            return clean, config.home_busy_cycles
        longest, count = 2 * there, 0
        while others:
            lowest = others & -others
            others ^= lowest
            target = config.node(lowest.bit_length() - 1)
            longest = max(longest, there + hops(home, target) + hops(target, node))
            count += 1
        issue = config.inval_issue_cycles * count
        further = max(0, issue - config.inval_issue_cycles)  # the first is part of upgrade_cycles
        upgrade = config.upgrade_cycles + config.hop_cycles * longest + further
        return (upgrade if held else max(upgrade, clean)), config.home_busy_cycles + issue

    def _reserve(self, entry: LineState, home: int, now: int, blocked: int, busy: int) -> int:
        """Find and reserve the first time from *now* on when line and home are free; return it."""
        queue = self._homes.get(home)
        if queue is None:
            queue = self._homes[home] = Reservations(self._config.history)
        history = entry.history
        start = now
        if history is None:
            start = queue.fit(max(now, entry.free_at), busy)  # one cache only, so requests come in order
        else:
            for _ in range(FITS_MAX):
                at = history.fit(start, blocked)
                start = queue.fit(at, busy)
                if start == at:
                    break
            self._book(history, start, start + blocked)
        self._book(queue, start, start + busy)
        entry.began, entry.free_at = start, start + blocked
        return start

    def _book(self, history: Reservations, start: int, end: int) -> None:
        if start < history.floor or not history.add(start, end):
            self.late += 1

    def _share(self, cpu: int, entry: LineState, line: int) -> int:
        """Directory's part of a read: return the state of the reader's new copy."""
        if entry.owner >= 0:
            owner = entry.owner
            cache = self._caches[owner]
            assert cache is not None
            assert owner != cpu, f"line {line:#x}: its owner {owner} asks for it"
            if cache.state(line) >= MODIFIED:
                cache.write_backs += 1
            cache.set_state(line, SHARED)
            entry.sharers = 1 << owner
            entry.owner = -1
        elif not entry.sharers:
            entry.owner = cpu
            return EXCLUSIVE
        entry.sharers |= 1 << cpu
        return SHARED

    def _take_over(self, cpu: int, entry: LineState, line: int, others: int) -> int:
        """Directory's part of a write: invalidate all other copies; return the state of the writer's."""
        if entry.owner >= 0:
            others = 1 << entry.owner
        if entry.history is not None:
            entry.epoch += 1
        while others:
            lowest = others & -others
            others ^= lowest
            loser = lowest.bit_length() - 1
            cache = self._caches[loser]
            assert cache is not None
            cache.drop(line)
            cache.invalidations += 1
            entry.lost[loser] = entry.epoch
        entry.owner = cpu
        entry.sharers = 0
        return MODIFIED if entry.history is None else TRACKED

    def _fill(self, cpu: int, cache: Cache, line: int, state: int, now: int) -> None:
        """Put *line* into L2, evicting the least recently used line of its set if that is full."""
        ways = cache.l2_set(line)
        ways[line] = state
        if len(ways) <= self._config.l2_ways:
            return
        victim = next(iter(ways))
        if cache.drop(victim) >= MODIFIED:
            cache.write_backs += 1
        cache.note_eviction(victim)
        entry = self._lines[victim]
        if entry.owner == cpu:
            entry.owner = -1
        else:
            entry.sharers ^= 1 << cpu
        queue = self._homes.get(self._home_of(victim))
        if queue is not None:  # there is one: the line was fetched through it
            at = queue.fit(now, self._config.home_busy_cycles)
            self._book(queue, at, at + self._config.home_busy_cycles)
        if entry.history is None and not entry.sharers and entry.owner < 0:
            del self._lines[victim]
