# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The loops of `trace_run.py` over a compiled core, record for record the same: see there for what they do."""

from cpython cimport array
from libc.stdint cimport int64_t, uint16_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

from k42fs.machine.fast_core cimport Cache, FastCore, Model

cdef enum:
    READ = 0
    RMW = 2
    WORK = 3
    MODIFIED = 4  # protocol.MODIFIED
    STATE_BITS = 3  # of a tag word, see fast_core.pxd
    STATE_MASK = 7
    FEW = 8

cdef int64_t NEVER = <int64_t> 1 << 62


# A processor's records and where it is in them.
cdef struct Source:
    const unsigned char *codes
    const long long *values
    const uint16_t *sizes
    int64_t at, count, clock, work, done
    Cache *cache
    int cpu


cdef inline uint64_t tie_break(uint64_t seed, uint64_t cpu, uint64_t serial) noexcept:
    """scheduler.tie_break"""
    cdef uint64_t x = (seed * <uint64_t> 0x9E3779B97F4A7C15 + cpu * <uint64_t> 0xD1B54A32D192ED03
                       + serial * <uint64_t> 0x8CB92BA72F3D8DD7)
    x = (x ^ x >> 30) * <uint64_t> 0xBF58476D1CE4E5B9
    x = (x ^ x >> 27) * <uint64_t> 0x94D049BB133111EB
    return x ^ x >> 31


cdef bint wins_tie(Source *a, Source *b, uint64_t seed) noexcept:
    cdef uint64_t first = tie_break(seed, a.cpu, a.done), second = tie_break(seed, b.cpu, b.done)
    return first < second if first != second else a.cpu < b.cpu


cdef inline bint goes_first(Source *a, Source *b, uint64_t seed) noexcept:
    # Ties are few: to hash for each record, as the Python loop does, would cost more than all comparisons.
    return a.clock < b.clock if a.clock != b.clock else wins_tie(a, b, seed)


cdef inline void sift_down(Source **heap, int count, int place, uint64_t seed) noexcept:
    cdef Source *item = heap[place]
    cdef int child
    while True:
        child = 2 * place + 1
        if child >= count:
            break
        if child + 1 < count and goes_first(heap[child + 1], heap[child], seed):
            child += 1
        if not goes_first(heap[child], item, seed):
            break
        heap[place] = heap[child]
        place = child
    heap[place] = item


cdef inline bint hits_first(Model *m, Cache *cache, int code, int64_t addr, int64_t nbytes) noexcept:
    """Count a load or store of the line that was used last of its set in L1, if no other cache need know of it;
    return whether it was one. Most are, and are done here without a call into the core, whose `do_access` does the
    same."""
    cdef uint64_t tag = <uint64_t> addr >> m.l1_shift
    cdef uint64_t word = cache.l1[(tag & m.l1_mask) * m.l1_words]
    cdef int state = word & STATE_MASK
    if word >> STATE_BITS != tag or not (state == MODIFIED or (state and code == READ)):
        return False
    if code == RMW or (addr & m.line_mask) + nbytes > m.line_bytes:
        return False
    cache.counts[code] += 1
    cache.l1_hits += 1
    cache.cycles += m.l1_cycles
    return True


cdef inline int64_t reference(FastCore core, int cpu, int code, int64_t addr, int64_t nbytes, int64_t line_bytes,
                              int64_t now) except -1:
    """Do one reference, cut at the ends of lines."""
    cdef int64_t end = addr + nbytes, stop = (addr & -line_bytes) + line_bytes
    while end > stop:
        now = core.c_access(cpu, code, addr, stop - addr, now)
        addr, stop = stop, stop + line_bytes
    return core.c_access(cpu, code, addr, end - addr, now)


cdef inline int64_t bring_first(Source **heap, int count, uint64_t seed) noexcept:
    """Put the source that goes first in front of a few in no order; return the lowest clock of the others.

    A look at all clocks, without a branch that depends on them, is quicker than two levels of a heap.
    """
    cdef int64_t low = heap[0].clock, second = NEVER, clock, later
    cdef int place, first = 0
    cdef Source *item
    for place in range(1, count):
        clock = heap[place].clock
        first = place if clock < low else first
        later = low if clock < low else clock
        low = clock if clock < low else low
        second = later if later < second else second
    if low == second:
        for place in range(first + 1, count):
            if heap[place].clock == low and wins_tie(heap[place], heap[first], seed):
                first = place
    item = heap[first]
    heap[first] = heap[0]
    heap[0] = item
    return second


def advance(FastCore core not None, list streams not None, int64_t line_bytes, seed):
    """trace_run.advance"""
    cdef int count = len(streams), place
    cdef uint64_t seed_bits = seed & <object> <uint64_t> -1
    cdef Source *sources = <Source *> calloc(count, sizeof(Source))
    cdef Source **heap = <Source **> malloc(count * sizeof(Source *))
    cdef Source *first
    cdef Model *m = &core.model
    cdef array.array codes, values, sizes
    cdef int64_t at, clock, until, value
    if sources == NULL or heap == NULL:
        free(sources)
        free(heap)
        raise MemoryError
    try:
        for place in range(count):
            stream = streams[place]
            records = stream.records
            codes, values, sizes = records.codes, records.values, records.sizes
            first = &sources[place]
            first.codes, first.values = codes.data.as_uchars, values.data.as_longlongs
            first.sizes = sizes.data.as_ushorts
            first.at, first.count, first.clock, first.done = stream.at, len(codes), stream.clock, stream.done
            first.work, first.cpu = 0, stream.cpu
            first.cache = core.cache(first.cpu)
            heap[place] = first
        if count > FEW:
            for place in range(count // 2 - 1, -1, -1):
                sift_down(heap, count, place, seed_bits)
        while True:
            if count <= FEW:
                until = bring_first(heap, count, seed_bits)
            else:
                until = min(heap[1].clock, heap[2].clock)
            first = heap[0]
            at, clock = first.at, first.clock
            while True:
                value = first.values[at]
                if first.codes[at] == WORK:
                    clock += value
                    first.work += value
                elif hits_first(m, first.cache, first.codes[at], value, first.sizes[at]):
                    clock += m.l1_cycles
                else:
                    clock = reference(core, first.cpu, first.codes[at], value, first.sizes[at], line_bytes, clock)
                at += 1
                if at == first.count or clock >= until:
                    break
            first.done += at - first.at
            first.at, first.clock = at, clock
            if first.at == first.count:
                return streams[first - sources]
            if count > FEW:
                sift_down(heap, count, 0, seed_bits)
    finally:
        for place in range(count):
            stream = streams[place]
            stream.at, stream.clock, stream.done = sources[place].at, sources[place].clock, sources[place].done
            stream.work += sources[place].work
        free(sources)
        free(heap)


def run_in_order(FastCore core not None, records, list clocks not None, list work not None, int64_t line_bytes):
    """trace_run.run_in_order"""
    cdef array.array cpus = records.cpus, codes = records.codes, values = records.values, sizes = records.sizes
    cdef const uint16_t *cpu_of = cpus.data.as_ushorts
    cdef const unsigned char *code_of = codes.data.as_uchars
    cdef const long long *value_of = values.data.as_longlongs
    cdef const uint16_t *size_of = sizes.data.as_ushorts
    cdef Model *m = &core.model
    cdef Py_ssize_t i
    cdef int cpu, processors = len(clocks)
    cdef int64_t *now = <int64_t *> malloc(2 * processors * sizeof(int64_t))
    cdef int64_t *worked = now + processors
    if now == NULL:
        raise MemoryError
    for cpu in range(processors):
        now[cpu], worked[cpu] = clocks[cpu], work[cpu]
    try:
        for i in range(len(codes)):
            cpu = cpu_of[i]
            if code_of[i] == WORK:
                now[cpu] += value_of[i]
                worked[cpu] += value_of[i]
            elif hits_first(m, core.cache(cpu), code_of[i], value_of[i], size_of[i]):
                now[cpu] += m.l1_cycles
            else:
                now[cpu] = reference(core, cpu, code_of[i], value_of[i], size_of[i], line_bytes, now[cpu])
        for cpu in range(processors):
            clocks[cpu], work[cpu] = now[cpu], worked[cpu]
    finally:
        free(now)
