# Whole traces. At this speed what the host's caches do not have takes most of the time; and what a reference will look
# at can be told in advance. So the references to come are looked at in stages, a turn apart, each of which has the host
# fetch what the next one reads. If there are few tags, and the host's caches have most, that would cost more than it
# helps: then it is the sets alone. Nothing here but `do_turn` changes the model, and what is fetched does not matter.

cdef enum:
    TURN = 16  # references
    AHEAD = 8  # turns: more than there are stages
    LONG = 20_000  # references in a trace that is worth huge pages
    MANY_TAGS = 8 << 20


cdef struct Trace:
    const uint16_t *cpus
    const unsigned char *codes
    const int64_t *addrs
    const uint16_t *sizes
    int64_t count
    int processors


# The references of a turn for which stage 2 found nothing in L1, then those for which stage 3 found nothing in L2.
cdef struct Misses:
    int64_t places[TURN]
    int count


cdef inline bint will_use(Model *m, Trace *trace, int64_t place) noexcept:
    """Say whether a reference will use caches that are there. It may be none at all."""
    cdef int cpu = trace.cpus[place]
    return cpu < trace.processors and trace.addrs[place] >= 0 and m.caches[cpu].l1 != NULL


cdef inline void expect_sets(Model *m, Trace *trace, int64_t first) noexcept:
    """The sets of both levels."""
    cdef int64_t i
    for i in range(first, min(first + TURN, trace.count)):
        if will_use(m, trace, i):
            prefetch(l1_set(m, &m.caches[trace.cpus[i]], <uint64_t> trace.addrs[i] >> m.l1_shift))
            prefetch(l2_set(m, &m.caches[trace.cpus[i]], <uint64_t> trace.addrs[i] >> m.line_shift))


cdef inline void expect_l1(Model *m, Trace *trace, int64_t first) noexcept:
    """Stage 1: the set of L1."""
    cdef int64_t i
    for i in range(first, min(first + TURN, trace.count)):
        if will_use(m, trace, i):
            prefetch(l1_set(m, &m.caches[trace.cpus[i]], <uint64_t> trace.addrs[i] >> m.l1_shift))


cdef inline void expect_l2(Model *m, Trace *trace, int64_t first, Misses *misses) noexcept:
    """Stage 2: where L1 has nothing, the set of L2, and where to find the line."""
    cdef int64_t i
    cdef uint64_t tag
    cdef Cache *cache
    misses.count = 0
    for i in range(first, min(first + TURN, trace.count)):
        if will_use(m, trace, i):
            cache = &m.caches[trace.cpus[i]]
            tag = <uint64_t> trace.addrs[i] >> m.l1_shift
            # That is hard to guess: no branch for it.
            misses.places[misses.count] = i
            misses.count += not is_there(l1_set(m, cache, tag), m.l1_ways, tag << STATE_BITS, ~<uint64_t> STATE_MASK)
    for i in range(misses.count):
        cache = &m.caches[trace.cpus[misses.places[i]]]
        prefetch(l2_set(m, cache, <uint64_t> trace.addrs[misses.places[i]] >> m.line_shift))
        expect_line(&m.lines, trace.addrs[misses.places[i]] >> m.line_shift)


cdef inline void expect_entries(Model *m, Trace *trace, Misses *misses) noexcept:
    """Stage 3: where L2 has nothing, the line's entry."""
    cdef int i, count = 0
    cdef int64_t line
    for i in range(misses.count):
        line = trace.addrs[misses.places[i]] >> m.line_shift
        if not line_state(m, &m.caches[trace.cpus[misses.places[i]]], line):
            expect_entry(&m.lines, line)
            prefetch(&m.homes[home_of(m, line)])
            misses.places[count] = misses.places[i]
            count += 1
    misses.count = count


cdef inline void expect_sharing(Model *m, Trace *trace, Misses *misses) noexcept:
    """Stage 4: where there is one, the sharing record."""
    cdef int i
    cdef Entry *entry
    cdef char *sharing
    cdef Queue *home
    for i in range(misses.count):
        entry = find_line(&m.lines, trace.addrs[misses.places[i]] >> m.line_shift)
        home = &m.homes[home_of(m, trace.addrs[misses.places[i]] >> m.line_shift)]
        expect_recent(home)
        if entry != NULL and entry.flags & SHARING:
            sharing = <char *> sharing_of(entry)
            prefetch(sharing)
            prefetch(sharing + HOST_LINE)
            prefetch(sharing + 2 * HOST_LINE)
            prefetch(sharing + 3 * HOST_LINE)


cdef inline void expect_others(Model *m, Trace *trace, Misses *misses) noexcept:
    """Stage 5: what the sharing record points to, and the sets of those who have the line."""
    cdef int i, cpu
    cdef int64_t line
    cdef Entry *entry
    cdef Sharing *sharing
    for i in range(misses.count):
        line = trace.addrs[misses.places[i]] >> m.line_shift
        entry = find_line(&m.lines, line)
        if entry == NULL or not entry.flags & SHARING:
            continue
        sharing = sharing_of(entry)
        expect_recent(&sharing.history)
        prefetch(&sharing.movers[trace.cpus[misses.places[i]] >> 6])
        if sharing.lost_by_cpu != NULL:
            prefetch(&sharing.lost_by_cpu[trace.cpus[misses.places[i]]])
        else:
            prefetch(sharing.lost)
        prefetch(sharing.offsets)
        if sharing.by_offset != NULL:
            prefetch(&sharing.by_offset[trace.addrs[misses.places[i]] & m.line_mask])
        cpu = owner_of(entry)
        if cpu >= 0:
            expect_copy(m, cpu, line)
        elif trace.codes[misses.places[i]] != READ:
            cpu = set_next(&sharing.sharers, NOBODY, m.map_words)
            if cpu >= 0:
                expect_copy(m, cpu, line)


cdef int do_turn(Model *m, Trace *trace, int64_t begin) except -1:
    """Do the references of a turn."""
    cdef int64_t i, addr
    cdef int cpu, code
    cdef Cache *cache
    for i in range(begin, min(begin + TURN, trace.count)):
        cpu, code, addr = trace.cpus[i], trace.codes[i], trace.addrs[i]
        if cpu >= trace.processors or code > RMW or addr < 0:
            raise ValueError(f"no reference of this machine: {(cpu, code, addr, trace.sizes[i])}")
        cache = &m.caches[cpu]
        if cache.l1 == NULL:
            make_cache(m, cpu)
        if m.check_every:  # `do_access` counts the cycles, too
            cache.clock = do_access(m, cpu, cache, code, addr, trace.sizes[i], cache.clock)
        elif hit(m, cache, code, addr):
            cache.counts[code] += 1
            cache.l1_hits += 1
            cache.clock += m.hit_cycles[code]
        else:
            cache.clock = reference(m, cpu, cache, code, addr, trace.sizes[i], cache.clock)
    return 0


cdef int do_trace(Model *m, Trace *trace) except -1:
    """Do a trace whose processors' clocks are in their caches. The caller counts the cycles, which are what these
    gain: to add them up here for each reference takes time. Not so if the model is checked meanwhile."""
    cdef int64_t begin, turn
    cdef Misses misses[AHEAD]
    memset(misses, 0, sizeof(misses))
    for begin in range(0, trace.count, TURN):
        if m.tag_bytes < MANY_TAGS:
            expect_sets(m, trace, begin + TURN)
        else:
            turn = begin // TURN
            expect_l1(m, trace, begin + 5 * TURN)
            expect_l2(m, trace, begin + 4 * TURN, &misses[(turn + 4) % AHEAD])
            expect_entries(m, trace, &misses[(turn + 3) % AHEAD])
            expect_sharing(m, trace, &misses[(turn + 2) % AHEAD])
            expect_others(m, trace, &misses[(turn + 1) % AHEAD])
        do_turn(m, trace, begin)
    return 0
