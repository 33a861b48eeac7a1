# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""FastCore: the coherence model of `pure_core.py`, compiled. Same interface, same numbers.

The rules are written down once more in C's types, function by function under the names they have in the pure
core, which is the oracle: change it first, then this, and the differential tests tell whether the two agree.

    fast_core.pxd            the shapes of all data
    fast/constants.pxi       names of numbers
    fast/arena.pxi           memory
    fast/reservations.pxi    history.Reservations
    fast/cpu_sets.pxi        sets of processors
    fast/sharing.pxi         directory.Sharing
    fast/lines.pxi           directory.LineState, and finding them
    fast/log.pxi             miss_log.MissLog
    fast/sets.pxi            tag words in order of use
    fast/caches.pxi          directory.Cache
    fast/topology.pxi        distances, latencies.Latencies, links.Links
    fast/interconnects.pxi   both interconnects, sharer formats
    fast/moves.pxi           core_moves.CoreMoves, shared_cache.SharedCaches
    fast/rules.pxi           pure_core.PureCore
    fast/scripts.pxi         scripts and single references
    fast/traces.pxi          traces: the hot path
    fast/shape.pxi           what the configuration and the protocol's tables say
    fast/checks.pxi          the invariants, the accounts of memory

Memory: 40 bytes per line known, a few hundred more if several caches ever had it; 8 bytes per line of L1 and L2
of the processors in use, on pages that were touched.
"""

import sys
from array import array as Array

from cpython cimport array

from k42fs.machine.core import NEVER as core_never
from k42fs.machine.core import MISS_KINDS, STALLS, Counters, LineTransfers, TraceArrays
from k42fs.machine.interconnect import HOME_HISTORY_FACTOR
from k42fs.machine.memory import NODE_SHIFT
from k42fs.machine.protocol import PROTOCOLS, with_clean_intervention

include "fast/constants.pxi"
include "fast/arena.pxi"
include "fast/reservations.pxi"
include "fast/cpu_sets.pxi"
include "fast/sharing.pxi"
include "fast/lines.pxi"
include "fast/log.pxi"
include "fast/sets.pxi"
include "fast/caches.pxi"
include "fast/topology.pxi"
include "fast/interconnects.pxi"
include "fast/moves.pxi"
include "fast/rules.pxi"
include "fast/scripts.pxi"
include "fast/traces.pxi"
include "fast/shape.pxi"
include "fast/checks.pxi"


cdef class FastCore:
    """Caches and directories of all processors of *config*; *memory* says where lines are homed. See
    `CoherenceCore`.

    *check_every*: check all invariants after so many transactions; 0: only on demand.
    """

    name = "compiled"

    def __cinit__(self, config, memory, *, int64_t check_every=0):
        cdef Model *m = &self.model
        cdef int home
        self.kept = []
        self.watched = set()
        set_shape(m, config)
        set_tables(m, config)
        m.core = <void *> self
        m.check_every = check_every
        m.caches = <Cache *> arena_take(&m.l1_arena, m.processors * sizeof(Cache))
        m.lines.arena = &m.arena
        m.homes = <Queue *> calloc(m.nodes, sizeof(Queue))
        m.targets = <uint64_t *> calloc(m.map_words, sizeof(uint64_t))
        m.l3s = <uint64_t **> calloc(m.l3_count + 1, sizeof(uint64_t *))
        if m.homes == NULL or m.targets == NULL or m.l3s == NULL:
            raise MemoryError
        m.abus.size = m.dbus.queue.size = HOME_HISTORY_FACTOR * m.history
        for home in range(m.nodes):
            m.homes[home].size = HOME_HISTORY_FACTOR * m.history

    def __dealloc__(self):
        cdef Model *m = &self.model
        cdef int i
        if m.caches != NULL:
            for i in range(m.processors):
                free_cache(&m.caches[i])
        if m.homes != NULL:
            for i in range(m.nodes):
                free(m.homes[i].spans)
        if m.l3s != NULL:
            for i in range(m.l3_count):
                free(m.l3s[i])
        for i in range(m.link_slots):
            if m.links[i] != NULL:
                free(m.links[i].queue.spans)
                free(m.links[i])
        free(m.abus.spans)
        free(m.dbus.queue.spans)
        free(m.links)
        free(m.l3s)
        free(m.targets)
        free(m.homes)
        free_lines(&m.lines)
        free(m.log.items)
        free_scripts(&self.scripts)
        free_arena(&m.arena)
        free_arena(&m.l1_arena)

    cdef Cache *cache(self, int cpu) except NULL:
        """Return the caches of *cpu*, made if this is their first use."""
        if not 0 <= cpu < self.model.processors:
            raise IndexError(f"no processor {cpu}: there are {self.model.processors}")
        if self.model.caches[cpu].l1 == NULL:
            make_cache(&self.model, cpu)
        return &self.model.caches[cpu]

    @property
    def log_room(self):
        """How many records the log keeps until they are taken; 0: nothing is logged."""
        return self.model.log.room

    @log_room.setter
    def log_room(self, int64_t room):
        set_log_room(&self.model.log, room)

    @property
    def logged(self):
        """How many records are in the log."""
        return self.model.log.count

    def set_sites(self, int64_t first, int64_t site):
        """Let the records from number *first* on come from *site*. See `CoherenceCore`."""
        cdef int64_t i
        for i in range(max(0, first), self.model.log.count):
            self.model.log.items[i * ITEMS + ITEMS - 1] = site

    def take_log(self):
        """Empty the log; return its records and how many found no room. See `CoherenceCore`."""
        return taken_log(&self.model.log)

    @property
    def late(self):
        """Requests older than the history of their line, home, link or bus. Not reset."""
        cdef Model *m = &self.model
        cdef int64_t total = m.abus.late + m.dbus.queue.late, i
        cdef uint32_t number
        for i in range(m.nodes):
            total += m.homes[i].late
        for i in range(m.link_slots):
            total += m.links[i].queue.late if m.links[i] != NULL else 0
        for number in range(m.lines.used):
            if entry_at(&m.lines, number).flags & SHARING:
                total += sharing_of(entry_at(&m.lines, number)).history.late
        return total

    @property
    def order_slips(self):
        """Reservations of links or the data bus that had to step behind one of a transaction that started
        later. Not reset."""
        cdef int64_t total = self.model.dbus.slips, i
        for i in range(self.model.link_slots):
            total += self.model.links[i].slips if self.model.links[i] != NULL else 0
        return total

    def script(self, int cpu, tuple refs not None, int64_t base, int64_t other, int64_t now, int64_t limit, int start):
        """Do references *start*.. of *refs*. See `CoherenceCore.script`."""
        cdef Cache *cache = self.cache(cpu)
        cdef Compiled *script = find_script(&self.scripts, <void *> refs)
        cdef int stopped
        if script == NULL:
            script = self.compile(refs)
        if base < 0 or other < 0 or start < 0:
            raise ValueError("a negative address or start")
        now = do_script(&self.model, cpu, cache, script, base, other, now, limit, start, &stopped)
        return now, stopped

    cdef Compiled *compile(self, tuple refs) except NULL:
        """Keep *refs* in C, and the tuple alive, so that its address stays its own."""
        if len(self.kept) >= SCRIPTS_MAX:
            free_scripts(&self.scripts)
            self.kept.clear()
        compiled = add_script(&self.scripts, refs)
        self.kept.append(refs)
        return compiled

    def access(self, int cpu, int code, int64_t addr, int64_t nbytes, int64_t now):
        """Do one reference within one line. See `CoherenceCore.access`."""
        cdef Cache *cache = self.cache(cpu)
        if addr < 0 or not READ <= code <= RMW:
            raise ValueError(f"no reference: code {code}, address {addr}")
        return do_access(&self.model, cpu, cache, code, addr, nbytes, now)

    cdef int64_t c_access(self, int cpu, int code, int64_t addr, int64_t nbytes, int64_t now) except -1:
        """`access` for compiled callers, who have checked what they ask for."""
        return do_access(&self.model, cpu, self.cache(cpu), code, addr, nbytes, now)

    cdef int64_t c_script(self, int cpu, Compiled *script, int64_t base, int64_t other, int64_t now, int64_t limit,
                          int start, int *stopped) except -1:
        """`script` for compiled callers: *stopped* is the second part of the answer."""
        cdef Cache *cache = self.cache(cpu)
        if base < 0 or other < 0:
            raise ValueError("a negative address")
        return do_script(&self.model, cpu, cache, script, base, other, now, limit, start, stopped)

    def run(self, trace, list clocks not None):
        """Do a whole trace in its order; fastest if it is `TraceArrays`."""
        cdef int cpu
        if isinstance(trace, TraceArrays):
            self.run_arrays(trace.cpus, trace.codes, trace.addrs, trace.sizes, clocks)
            return
        for cpu, code, addr, nbytes in trace:
            clocks[cpu] = self.access(cpu, code, addr, nbytes, clocks[cpu])

    cdef int run_arrays(self, const uint16_t[::1] cpus, const unsigned char[::1] codes, const int64_t[::1] addrs,
                        const uint16_t[::1] sizes, list clocks) except -1:
        cdef int cpu, processors = min(<int> len(clocks), self.model.processors)
        cdef Trace trace
        cdef Cache *cache
        if not cpus.shape[0] == codes.shape[0] == addrs.shape[0] == sizes.shape[0]:
            raise ValueError("the arrays of a trace differ in length")
        for cpu in range(processors):
            self.model.caches[cpu].clock = clocks[cpu]
        if cpus.shape[0] >= LONG:
            make_huge(&self.model.arena)
            make_huge(&self.model.l1_arena)
        try:
            if cpus.shape[0]:
                trace = Trace(&cpus[0], &codes[0], &addrs[0], &sizes[0], cpus.shape[0], processors)
                do_trace(&self.model, &trace)
        finally:
            for cpu in range(processors):
                cache = &self.model.caches[cpu]
                if not self.model.check_every:
                    cache.cycles += cache.clock - <int64_t> clocks[cpu]
                clocks[cpu] = cache.clock
        return 0

    def counters(self, int cpu):
        """Return what *cpu* did."""
        cdef Cache *cache
        if not 0 <= cpu < self.model.processors:
            raise IndexError(f"no processor {cpu}: there are {self.model.processors}")
        cache = &self.model.caches[cpu]
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

    def transfers(self):
        """Return an iterator over the lines that moved between caches."""
        cdef Lines *lines = &self.model.lines
        cdef Entry *entry
        cdef Sharing *sharing
        cdef uint32_t number
        moved = []
        for number in range(lines.used):
            entry = entry_at(lines, number)
            sharing = sharing_of(entry)
            if sharing != NULL and sharing.transfers:
                offsets = sorted(moves_by_offset(&self.model, sharing), key=most_moved)
                movers = int.from_bytes((<char *> sharing.movers)[: 8 * self.model.map_words], sys.byteorder)
                moved.append((serial_of(entry), LineTransfers(entry.line, sharing.transfers, movers, tuple(offsets))))
        moved.sort()
        return iter([item for _, item in moved])

    def take_moves(self):
        """Return (line, moves, byte) of the lines that moved between caches since this was last asked, flattened."""
        cdef Lines *lines = &self.model.lines
        cdef Entry *entry
        cdef Sharing *sharing
        cdef uint32_t number
        moved = Array("q")
        for number in range(lines.used):
            entry = entry_at(lines, number)
            sharing = sharing_of(entry)
            if sharing != NULL and sharing.transfers != sharing.told:
                moved.append(entry.line)
                moved.append(sharing.transfers - sharing.told)
                moved.append(hottest_offset(&self.model, sharing))
                sharing.told = sharing.transfers
        return moved

    def reset_counters(self):
        """Zero all counts."""
        cdef Model *m = &self.model
        cdef Entry *entry
        cdef Sharing *sharing
        cdef uint32_t number
        cdef int cpu
        for cpu in range(m.processors):
            reset_cache(&m.caches[cpu])
        for number in range(m.lines.used):
            entry = entry_at(&m.lines, number)
            sharing = sharing_of(entry)
            if sharing != NULL:
                reset_moves(m, sharing)
                if is_unknown(entry):
                    forget(m, entry.line, sharing)

    def copies(self, int64_t line):
        """Return the state of each processor's copy of *line*."""
        cdef int cpu
        states = {}
        for cpu in range(self.model.processors):
            state = line_state(&self.model, &self.model.caches[cpu], line)
            if state:
                states[cpu] = state
        return states

    def check(self):
        """Raise AssertionError unless the conservation invariants hold. See `PureCore.check`."""
        check(&self.model)

    def memory_bytes(self):
        """Return what the core has allocated: by lines, sharing, tags and homes. For measurements."""
        return memory_bytes(&self.model)


def most_moved(item):
    offset, moves = item
    return -moves, offset
