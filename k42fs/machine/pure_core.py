"""PureCore: the coherence model in plain Python, oracle of any faster core and the one that runs where there
is none.

MSI, MESI or MOESI by the tables of `protocol.py`, over a directory or a bus; private inclusive L1 and L2 and
optional shared L3s, all with true LRU. Transactions are atomic per line: what others see of one is that its
line is blocked. A clean read of a shared or uncached line blocks it only for the home's own time (or the
address phase), anything that moves ownership until the data or the acknowledgements have arrived. This block
is what makes a hot line a serial resource. Evictions occupy home or bus, but cost the evicting processor
nothing.

A miss goes one of three ways: `_from_l3`; `_fetch_private`, of a line that no other cache ever had; and
`_transact`, in general. Each takes its place in time first, then moves data and changes states, then makes
room.

Requests that come earlier in virtual time than a resource's history goes back are served as if it had been
free then, and counted in `late`: waiting for the oldest known reservation would bill a laggard for time that
nobody occupied.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from k42fs.machine.core import NEVER, TraceArrays, TraceItem
from k42fs.machine.core_moves import CoreMoves
from k42fs.machine.directory import (
    CAPACITY,
    COLD,
    FALSE_SHARING,
    STALL_CACHE,
    STALL_L3,
    STALL_MEMORY,
    STALL_UPGRADE,
    TRUE_SHARING,
    UPGRADE,
    WORD_SHIFT,
    Cache,
    LineState,
    Sharing,
)
from k42fs.machine.interconnect import FROM_CACHE, HOME_HISTORY_FACTOR, NO_DATA, Plan
from k42fs.machine.layout import READ, RMW, WRITE, Refs
from k42fs.machine.miss_log import MISS, NO_CPU
from k42fs.machine.protocol import EXCLUSIVE, INVALID, MODIFIED, SHARED, TRACKED

if TYPE_CHECKING:
    from k42fs.machine.config import MachineConfig
    from k42fs.machine.memory import Memory

__all__ = ["HOME_HISTORY_FACTOR", "PureCore"]

PRIVATE: Final = frozenset({EXCLUSIVE, MODIFIED})
"""States of a copy of a line that no other cache has or, as far as stores go, ever had."""


class PureCore(CoreMoves):
    """Caches and directories of all processors of *config*; *memory* says where lines are homed. See
    `CoherenceCore`.

    *debug*: check the invariants of a line after each of its transactions, and the data of every reference.
    *check_every*: check all of them after so many transactions; 0: only on demand.
    """

    name = "pure"

    def __init__(
        self, config: MachineConfig, memory: Memory, *, debug: bool = False, check_every: int = 0
    ) -> None:
        super().__init__(config, memory, debug)
        self._line_shift = config.line_bytes.bit_length() - 1
        self._line_mask = config.line_bytes - 1
        self._l1_shift = config.l1_line_bytes.bit_length() - 1
        self._l1_mask = config.l1_sets - 1
        self._has_sub_blocks = config.l1_line_bytes < config.line_bytes
        self._l1_ways, self._l1_cycles = config.l1_ways, config.l1_cycles
        self._l2_cycles = config.l2_cycles
        self._slack = config.transfer_cycles_min
        self._rmw_hit_cycles = config.l1_cycles + config.atomic_cycles
        self._first_read = self._steps[INVALID, READ].alone
        self._transactions = 0
        self._check_every = check_every
        if debug or check_every:
            self.script = self._checked_script  # type: ignore[method-assign]
            self.access = self._checked_access  # type: ignore[method-assign]

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
            if now > limit and self._is_visible(cache, code, addr, now - limit):
                stopped = i
                break
            # The two cases that need no look at L2: a read of any copy, a store to one already modified.
            if state and (code == READ or (code != RMW and state == MODIFIED)):
                del tags[tag]
                tags[tag] = state
                now += l1_cycles
                hits += 1
                stores += code
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

    def _checked_script(
        self, cpu: int, refs: Refs, base: int, other: int, now: int, limit: int, start: int
    ) -> tuple[int, int]:
        """Like `script`, without its short cut."""
        cache = self._caches[cpu] or self._make_cache(cpu)
        self._woken_at = NEVER
        for i in range(start, len(refs)):
            code, second, offset, nbytes = refs[i]
            addr = (other if second else base) + offset
            if now > limit and self._is_visible(cache, code, addr, now - limit):
                return now, i
            now = self._checked_access(cpu, code, addr, nbytes, now)
            limit = min(limit, self._woken_at)
        return now, -1

    def _checked_access(self, cpu: int, code: int, addr: int, nbytes: int, now: int) -> int:
        """Like `access`, without its short cut, and with the checks that were asked for."""
        cache = self._caches[cpu] or self._make_cache(cpu)
        before, line = self._transactions, addr >> self._line_shift
        after = self._reference(cpu, cache, code, addr, nbytes, now)
        cache.cycles += after - now
        if self._values is not None:
            self._values.referenced(cpu, line, code != READ)
            if self._transactions > before:
                self._check_line(line, self._lines[line], self.copies(line))
        if self._check_every and self._transactions > before and self._transactions % self._check_every == 0:
            self.check()
        return after

    def _make_cache(self, cpu: int) -> Cache:
        cache = self._caches[cpu] = Cache(self._config, cpu)
        return cache

    def _is_visible(self, cache: Cache, code: int, addr: int, ahead: int) -> bool:
        """Say whether the place in time of a reference that is *ahead* of others matters to them, or theirs to it.

        A hit matters to nobody on a line that no other cache ever had, as long as none can have got it meanwhile.
        Any other copy may be lost to somebody whose time is earlier.
        """
        return code == RMW or ahead > self._slack or cache.state(addr >> self._line_shift) not in PRIVATE

    def _reference(self, cpu: int, cache: Cache, code: int, addr: int, nbytes: int, now: int) -> int:
        """Do one reference of any sort; return the time after."""
        cache.counts[code] += 1
        line, tag = addr >> self._line_shift, addr >> self._l1_shift
        ways, tags = cache.l2_set(line), cache.l1[tag & self._l1_mask]
        state = ways.get(line, INVALID)
        if state < (SHARED if code == READ else EXCLUSIVE):
            now, state = self._miss(cpu, cache, code, addr, nbytes, state, now)
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

    def _miss(
        self, cpu: int, cache: Cache, code: int, addr: int, nbytes: int, held: int, now: int
    ) -> tuple[int, int]:
        """Get the line of *addr*, here in state *held*, in the state that *code* needs; return (time,
        state)."""
        line = addr >> self._line_shift
        entry = self._lines.get(line)
        if entry is None:
            entry = self._lines[line] = LineState()
        self._transactions += 1
        only_by_me = entry.gone in (0, 1 << cpu)
        if code == READ and entry.owner < 0 and self._l3s is not None and self._l3s.has(cpu, line):
            if only_by_me or not entry.gone_owned:
                return self._from_l3(cpu, cache, entry, line, now)
        elif entry.owner < 0 and not entry.sharers and only_by_me and entry.sharing is None:
            return self._fetch_private(cpu, cache, code, addr, entry, now)
        return self._transact(cpu, cache, code, addr, nbytes, entry, held, now)

    def _from_l3(self, cpu: int, cache: Cache, entry: LineState, line: int, now: int) -> tuple[int, int]:
        """Read *line*, which no cache owns, from *cpu*'s L3 once it is not blocked; return (time, state).

        Nothing is reserved: the home is not asked, and the line stays free for others.
        """
        assert self._l3s is not None
        sharing = entry.sharing or self._begin_sharing(entry, cpu)
        start = max(now, entry.free_at)
        if sharing is not None:
            start = sharing.history.fit(now, 0)
            if start < sharing.history.floor:
                sharing.history.late += 1
            sharing.lost.pop(cpu, None)
        cache.l3_hits += 1
        cache.queued += start - now
        cache.stall[STALL_L3] += self._config.l3_cycles
        step = self._steps[INVALID, READ]
        state = step.alone if entry.is_alone() else step.shared
        entry.has_returned(cpu)
        if self._values is not None:
            self._values.from_l3(cpu, line, self._l3s.of(cpu))
        self._install(cpu, cache, entry, line, state, start)
        return start + self._config.l3_cycles, state

    def _fetch_private(
        self, cpu: int, cache: Cache, code: int, addr: int, entry: LineState, now: int
    ) -> tuple[int, int]:
        """Get the line of *addr*, which no other cache has or ever had, from memory; return (time, state)."""
        line = addr >> self._line_shift
        kind = CAPACITY if cache.was_evicted(line) else COLD
        cache.misses[kind] += 1
        start, end = self._net.fetch(entry, cache.node, self._home_of(line), code == READ, now)
        if self.log_room:
            self._log(MISS, cpu, start, line, kind, code, addr & self._line_mask, NO_CPU, end - now)
        cache.queued += start - now
        cache.stall[STALL_MEMORY] += end - start
        cache.from_memory += 1
        cache.nbytes += self._net.fetch_bytes
        if entry.gone:
            entry.has_returned(cpu)
        if self._values is not None:
            self._values.from_memory(cpu, line)
        state = self._first_read if code == READ else MODIFIED
        self._install(cpu, cache, entry, line, state, start)
        return end, state

    def _transact(
        self, cpu: int, cache: Cache, code: int, addr: int, nbytes: int, entry: LineState, held: int, now: int
    ) -> tuple[int, int]:
        """Get the line of *addr* in the state that *code* needs, in general; return (time, state)."""
        line, offset = addr >> self._line_shift, addr & self._line_mask
        home = self._home_of(line)
        rival = entry.owner if entry.owner != cpu else -1
        others = entry.sharers & ~(1 << cpu)
        sharing = entry.sharing or self._begin_sharing(entry, cpu)
        kind = self._miss_kind(cpu, cache, sharing, line, offset, nbytes, held)
        cache.misses[kind] += 1
        if sharing is not None and (rival >= 0 or (code != READ and others)):
            sharing.count(cpu, offset)
        rival_state = self._cache(rival).state(line) if rival >= 0 else INVALID
        step = self._steps[held, READ if code == READ else WRITE]
        assert step.request is not None
        plan = self._net.plan(entry, cpu, home, step.request, held, rival, rival_state)
        start, end = self._net.transact(entry, cache.node, home, plan, now)
        assert start >= now, f"line {line:#x}: asked for at {now}, begun at {start}"
        self._account(cache, plan, now, start, end)
        if self.log_room:
            supplier = rival if plan.supply == FROM_CACHE else NO_CPU
            self._log(MISS, cpu, start, line, kind, code, offset, supplier, end - now)
        if self._values is not None and plan.supply != NO_DATA:
            if plan.supply == FROM_CACHE:
                self._values.from_cache(cpu, line, rival)
            else:
                self._values.from_memory(cpu, line)
        if code == READ:
            state = step.alone if entry.is_alone() else step.shared
            entry.has_returned(cpu)
            if rival >= 0:
                self._downgrade(rival, rival_state, entry, line)
        else:
            state = MODIFIED if sharing is None else TRACKED
            if sharing is not None:
                self._invalidate(others | (1 << rival if rival >= 0 else 0), sharing, line, start, cpu)
            entry.owner, entry.sharers, entry.gone, entry.gone_owned = -1, 0, 0, False
        if held:
            cache.set_state(line, state)
            entry.owner = cpu
            if self._l3s is not None:
                self._l3s.drop_elsewhere(cpu, line)
        else:
            self._install(cpu, cache, entry, line, state, start)
        return end, state

    def _begin_sharing(self, entry: LineState, cpu: int) -> Sharing | None:
        """Note that another cache than *cpu*'s has, or may have, the line; if so, return what is known."""
        if entry.owner in (-1, cpu) and not (entry.sharers | entry.gone) & ~(1 << cpu):
            return None
        return entry.begin_sharing(self._config.history, self._config.line_bytes >> WORD_SHIFT)

    def _miss_kind(
        self, cpu: int, cache: Cache, sharing: Sharing | None, line: int, offset: int, nbytes: int, held: int
    ) -> int:
        if held:
            return UPGRADE
        since = sharing.lost.pop(cpu, None) if sharing is not None else None
        if sharing is not None and since is not None:
            return TRUE_SHARING if sharing.is_news(offset, nbytes, since) else FALSE_SHARING
        return CAPACITY if cache.was_evicted(line) else COLD

    def _account(self, cache: Cache, plan: Plan, now: int, start: int, end: int) -> None:
        """Note the costs of a transaction with its requester."""
        cache.queued += start - now
        if plan.supply == NO_DATA:
            cache.stall[STALL_UPGRADE] += end - start
        elif plan.supply == FROM_CACHE:
            cache.stall[STALL_CACHE] += end - start
            cache.from_cache += 1
        else:
            cache.stall[STALL_MEMORY] += end - start
            cache.from_memory += 1
        cache.nbytes += plan.nbytes
        cache.extra_invalidations += plan.extra
