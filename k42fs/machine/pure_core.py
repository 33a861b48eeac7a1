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

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from k42fs.machine.core import MISS_KINDS, NEVER, Counters, LineTransfers, TraceArrays, TraceItem
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
    Sharing,
)
from k42fs.machine.history import Reservations
from k42fs.machine.latencies import Latencies
from k42fs.machine.layout import READ, RMW, Refs

if TYPE_CHECKING:
    from k42fs.machine.config import MachineConfig
    from k42fs.machine.memory import Memory

WORTH_KEEPING: Final = 4
"""Moves between caches after which a line is remembered, until the next reset, though no cache has it."""

HOME_HISTORY_FACTOR: Final = 32
"""Reservations kept for a home, as a multiple of those for a line."""

FITS_MAX: Final = 8
"""Rounds of looking for a time when line and home are both free; then the last one found is taken."""


class PureCore:
    """Caches and directories of all processors of *config*; *memory* says where lines are homed. See
    `CoherenceCore`."""

    def __init__(self, config: MachineConfig, memory: Memory) -> None:
        self._config = config
        self._home_of = memory.home
        self._line_shift = config.line_bytes.bit_length() - 1
        self._line_mask = config.line_bytes - 1
        self._l1_shift = config.l1_line_bytes.bit_length() - 1
        self._l1_mask = config.l1_bytes // (config.l1_ways * config.l1_line_bytes) - 1
        self._has_sub_blocks = config.l1_line_bytes < config.line_bytes
        self._l1_ways, self._l1_cycles = config.l1_ways, config.l1_cycles
        self._l2_ways, self._l2_cycles = config.l2_ways, config.l2_cycles
        self._rmw_hit_cycles = config.l1_cycles + config.atomic_cycles
        self._busy = config.home_busy_cycles
        self._latencies = Latencies(config)
        # Caches and homes appear when first used, so that a machine of 1024 processors starts at once.
        self._caches: list[Cache | None] = [None] * config.processors
        self._homes: dict[int, Reservations] = {}
        self._lines: dict[int, LineState] = {}
        self.watched: set[int] = set()
        self.on_taken: Callable[[int, int, int], int] | None = None
        self._woken_at = NEVER  # when the first of those wakes whose copies this call takes

    @property
    def late(self) -> int:
        """Requests older than the history of their line or home. Not reset."""
        lines = (entry.sharing.history.late for entry in self._lines.values() if entry.sharing is not None)
        return sum(queue.late for queue in self._homes.values()) + sum(lines)

    def script(
        self, cpu: int, refs: Refs, base: int, other: int, now: int, limit: int, start: int
    ) -> tuple[int, int]:
        """Do references *start*.. of *refs*. See `CoherenceCore.script`."""
        cache = self._caches[cpu] or self._make_cache(cpu)
        l1, shift, mask, l1_cycles = cache.l1, self._l1_shift, self._l1_mask, self._l1_cycles
        begin, hits, stores = now, 0, 0
        stopped = -1
        self._woken_at = NEVER
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
                limit = min(limit, self._woken_at)
        cache.l1_hits += hits
        counts = cache.counts
        counts[0] += hits - stores
        counts[1] += stores
        cache.cycles += now - begin
        return now, stopped

    def access(self, cpu: int, code: int, addr: int, nbytes: int, now: int) -> int:
        """Do one reference within one line. See `CoherenceCore.access`."""
        cache = self._caches[cpu] or self._make_cache(cpu)
        tag = addr >> self._l1_shift
        tags = cache.l1[tag & self._l1_mask]
        state = tags.get(tag)
        # Most locks are taken again where they were released, most translation entries are warm.
        if state and (code == READ or (code == RMW and state == MODIFIED)):
            del tags[tag]
            tags[tag] = state
            cycles = self._l1_cycles if code == READ else self._rmw_hit_cycles
            cache.counts[code] += 1
            cache.l1_hits += 1
            cache.cycles += cycles
            return now + cycles
        after = self._reference(cpu, cache, code, addr, nbytes, now)
        cache.cycles += after - now
        return after

    def run(self, trace: Iterable[TraceItem] | TraceArrays, clocks: list[int]) -> None:
        """Do a whole trace in its order."""
        if isinstance(trace, TraceArrays):
            trace = map(TraceItem, *trace)
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
            sharing = entry.sharing
            if sharing is not None and sharing.transfers:
                offsets = sorted(sharing.offsets.items(), key=lambda item: (-item[1], item[0]))
                yield LineTransfers(line, sharing.transfers, sharing.movers, tuple(offsets))

    def reset_counters(self) -> None:
        """Zero all counts."""
        for cache in self._caches:
            if cache is not None:
                cache.reset()
        for line, entry in list(self._lines.items()):
            if entry.sharing is not None:
                entry.sharing.reset()
                if entry.owner < 0 and not entry.sharers:
                    self._forget(line, entry.sharing)

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
        cache.counts[code] += 1
        line, tag = addr >> self._line_shift, addr >> self._l1_shift
        ways, tags = cache.l2_set(line), cache.l1[tag & self._l1_mask]
        state = ways.get(line, 0)
        if state < (SHARED if code == READ else EXCLUSIVE):
            entry = self._lines.get(line)
            if entry is None:
                entry = self._lines[line] = LineState()
            if entry.owner < 0 and not entry.sharers and entry.sharing is None:
                now, state = self._fetch_private(cpu, cache, code, entry, line, ways, now)
            else:
                now, state = self._transact(cpu, cache, code, addr, nbytes, entry, state, now)
        elif tag in tags:
            cache.l1_hits += 1
            now += self._l1_cycles
        else:
            cache.l2_hits += 1
            now += self._l2_cycles
            del ways[line]
            ways[line] = state
        if code != READ:
            if state == EXCLUSIVE:
                state = ways[line] = MODIFIED if self._lines[line].sharing is None else TRACKED
                if self._has_sub_blocks:
                    cache.set_state(line, state)
            if state == TRACKED:
                sharing = self._lines[line].sharing
                assert sharing is not None
                sharing.stamp(addr & self._line_mask, nbytes)
            if code == RMW:
                now += self._config.atomic_cycles
        tags.pop(tag, None)
        tags[tag] = state
        if len(tags) > self._l1_ways:
            del tags[next(iter(tags))]
        return now

    def _fetch_private(
        self, cpu: int, cache: Cache, code: int, entry: LineState, line: int, ways: dict[int, int], now: int
    ) -> tuple[int, int]:
        """Get *line*, which no other cache has or ever had, from memory; return (time, state)."""
        home = self._home_of(line)
        cache.misses[CAPACITY if cache.was_evicted(line) else COLD] += 1
        latency, busy = self._latencies.from_memory(cache.node, home), self._busy
        queue = self._homes.get(home) or self._make_home(home)
        start = queue.reserve(now if now > entry.free_at else entry.free_at, busy)  # one cache: in order
        cache.queued += start - now
        state = EXCLUSIVE if code == READ else MODIFIED
        entry.owner, entry.began, entry.free_at = cpu, start, start + (busy if code == READ else latency)
        ways[line] = state
        if len(ways) > self._l2_ways:
            self._evict(cpu, cache, next(iter(ways)), start)
        return start + latency, state

    def _transact(
        self, cpu: int, cache: Cache, code: int, addr: int, nbytes: int, entry: LineState, held: int, now: int
    ) -> tuple[int, int]:
        """Get the line of *addr* in the state that *code* needs, in general; return (time, state)."""
        line, offset = addr >> self._line_shift, addr & self._line_mask
        home = self._home_of(line)
        others = entry.sharers & ~(1 << cpu)
        sharing = entry.sharing
        if sharing is None:  # even if *cpu* is the only one now: it was not when it got a shared copy
            sharing = entry.begin_sharing(self._config.history, self._config.line_bytes >> WORD_SHIFT)
        cache.misses[self._miss_kind(cpu, cache, sharing, line, offset, nbytes, held)] += 1
        if entry.owner >= 0 or (code != READ and others):
            sharing.count(cpu, offset)
        latency, busy = self._latencies.of(cache.node, home, entry, code, others, held)
        blocked = busy if code == READ and entry.owner < 0 else latency
        start = self._reserve(sharing, home, now, blocked, busy)
        entry.began, entry.free_at = start, start + blocked
        cache.queued += start - now
        if code == READ:
            state = self._share(cpu, entry, line)
        else:
            state = TRACKED
            self._take_over(cpu, entry, sharing, line, others, start)
        if held:
            cache.set_state(line, state)
        else:
            ways = cache.l2_set(line)
            ways[line] = state
            if len(ways) > self._l2_ways:
                self._evict(cpu, cache, next(iter(ways)), start)
        return start + latency, state

    def _miss_kind(
        self, cpu: int, cache: Cache, sharing: Sharing, line: int, offset: int, nbytes: int, held: int
    ) -> int:
        if held:
            return UPGRADE
        since = sharing.lost.pop(cpu, None)
        if since is not None:
            return TRUE_SHARING if sharing.is_news(offset, nbytes, since) else FALSE_SHARING
        return CAPACITY if cache.was_evicted(line) else COLD

    def _make_home(self, home: int) -> Reservations:
        # Not there, or there and still empty (which is false): nothing is lost with the old one.
        # A home serves all its processors' misses: as many reservations last it a far shorter time.
        queue = self._homes[home] = Reservations(HOME_HISTORY_FACTOR * self._config.history)
        return queue

    def _reserve(self, sharing: Sharing, home: int, now: int, blocked: int, busy: int) -> int:
        """Find and reserve the first time from *now* on when line and home are free; return it."""
        queue = self._homes.get(home) or self._make_home(home)
        history, start = sharing.history, now
        for _ in range(FITS_MAX):
            at = history.fit(start, blocked)
            start = queue.fit(at, busy)
            if start == at:
                break
        for busy_until, cycles in ((history, blocked), (queue, busy)):
            if start < busy_until.floor:
                busy_until.late += 1
            else:
                busy_until.add(start, start + cycles)
        return start

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

    def _take_over(
        self, cpu: int, entry: LineState, sharing: Sharing, line: int, others: int, start: int
    ) -> None:
        """Directory's part of a write that starts at *start*: invalidate all other copies; *cpu* becomes the
        owner."""
        is_watched = line in self.watched
        if entry.owner >= 0:
            others = 1 << entry.owner
        sharing.epoch += 1
        while others:
            lowest = others & -others
            others ^= lowest
            loser = lowest.bit_length() - 1
            cache = self._caches[loser]
            assert cache is not None
            cache.drop(line)
            cache.invalidations += 1
            sharing.lost[loser] = sharing.epoch
            if is_watched and self.on_taken is not None:
                self._woken_at = min(self._woken_at, self.on_taken(line, loser, start))
        entry.owner = cpu
        entry.sharers = 0

    def _evict(self, cpu: int, cache: Cache, victim: int, now: int) -> None:
        """Make room: remove *victim*, the least recently used of its set, from the cache and tell its home,
        at no cost to the processor."""
        if cache.drop(victim) >= MODIFIED:
            cache.write_backs += 1
        cache.note_eviction(victim)
        entry = self._lines[victim]
        if entry.owner == cpu:
            entry.owner = -1
        else:
            entry.sharers ^= 1 << cpu
        queue = self._homes[self._home_of(victim)]  # there is one: the line was fetched through it
        queue.reserve(now, self._busy)
        if entry.owner < 0 and not entry.sharers:
            self._forget(victim, entry.sharing)

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
