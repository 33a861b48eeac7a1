# core_moves.CoreMoves and shared_cache.SharedCaches: how copies of lines come, change and go.

cdef int64_t NEVER = core_never

cdef enum:
    TOLD_AHEAD = 6  # sharers


cdef inline uint64_t *l3_set(Model *m, int number, int64_t line) noexcept:
    return m.l3s[number] + (line % m.l3_sets) * m.l3_words


cdef inline bint l3_has(Model *m, int cpu, int64_t line) noexcept:
    cdef int number = cpu // m.l3_share
    return m.l3s[number] != NULL and state_in(l3_set(m, number, line), m.l3_ways, line)


cdef int fill_l3(Model *m, int cpu, int64_t line) except -1:
    """*cpu*'s L3 takes in *cpu*'s copy."""
    cdef int number = cpu // m.l3_share
    if m.l3s[number] == NULL:
        m.l3s[number] = <uint64_t *> calloc(m.l3_sets * m.l3_words, sizeof(uint64_t))
        if m.l3s[number] == NULL:
            raise MemoryError
    use(l3_set(m, number, line), m.l3_ways, line, SHARED)  # an L3 has no states: any but 0 will do
    return 0


cdef void drop_elsewhere(Model *m, int cpu, int64_t line) noexcept:
    cdef int number
    for number in range(m.l3_count):
        if number != cpu // m.l3_share and m.l3s[number] != NULL:
            take_out(l3_set(m, number, line), m.l3_ways, line)


cdef int write_back(Model *m, int cpu, Cache *cache, int64_t line) except -1:
    """Memory, and the L3 on the way, take *cpu*'s copy."""
    cache.write_backs += 1
    if m.l3_count:
        fill_l3(m, cpu, line)
    return 0


cdef int downgrade(Model *m, int owner, int held, Entry *entry, Sharing *sharing, int64_t line) except -1:
    """*owner*, whose copy is in state *held*, sees another's read."""
    cdef Snoop *snoop = &m.snoops[table_state(held)][GET_S]
    if snoop.writes_memory:
        write_back(m, owner, &m.caches[owner], line)
    if snoop.next != held:
        set_state(m, &m.caches[owner], line, snoop.next)
    if snoop.next == SHARED:
        set_add(&sharing.sharers, owner, m.map_words)
        set_who(entry, NOBODY, 0)
    return 0


cdef int64_t tell_watcher(Model *m, int64_t line, int loser, int64_t start) except -1:
    """A spinning processor loses its copy: return when it notices, as its scheduler says."""
    cdef FastCore core = <FastCore> m.core
    if core.on_taken is None or line not in core.watched:
        return NEVER
    return core.on_taken(line, loser, start)


cdef int take(Model *m, Sharing *sharing, int cpu, int loser, int64_t line, int64_t start) except -1:
    """*loser*'s copy goes, because *cpu* writes."""
    cdef int64_t woken_at
    drop(m, &m.caches[loser], line)
    m.caches[loser].invalidations += 1
    if m.log.room:
        log_record(m, LOG_INVALIDATE, loser, start, line, 0, 0, 0, cpu, 0)
    note_lost(m, sharing, loser, sharing.epoch)
    if (<FastCore> m.core).watched:
        woken_at = tell_watcher(m, line, loser, start)
        if woken_at < m.woken_at:
            m.woken_at = woken_at
    return 0


cdef inline void expect_copy(Model *m, int cpu, int64_t line) noexcept:
    """Have the host fetch the sets that *cpu* has a copy in."""
    prefetch(l2_set(m, &m.caches[cpu], line))
    prefetch(l1_set(m, &m.caches[cpu], <uint64_t> line << m.per_line_shift))


cdef inline int expect_copy_after(Model *m, Sharing *sharing, int cpu, int64_t line) noexcept:
    """Do so for the next sharer after *cpu*, and return it; NOBODY after the last."""
    if cpu != NOBODY:
        cpu = set_next(&sharing.sharers, cpu, m.map_words)
        if cpu != NOBODY:
            expect_copy(m, cpu, line)
    return cpu


cdef int invalidate(Model *m, int cpu, int rival, Sharing *sharing, int64_t line, int64_t start) except -1:
    """Take all copies but *cpu*'s, lowest first, for a write that starts at *start*. *rival* is the owner, or
    NOBODY."""
    cdef int loser = set_next(&sharing.sharers, NOBODY, m.map_words), later = loser, i
    sharing.epoch += 1
    for i in range(TOLD_AHEAD):
        later = expect_copy_after(m, sharing, later, line)
    while loser != NOBODY or rival != NOBODY:
        if rival != NOBODY and (loser == NOBODY or rival < loser):
            take(m, sharing, cpu, rival, line, start)
            rival = NOBODY
            continue
        if loser != cpu:
            take(m, sharing, cpu, loser, line, start)
        later = expect_copy_after(m, sharing, later, line)
        loser = set_next(&sharing.sharers, loser, m.map_words)
    return 0


cdef int install(Model *m, int cpu, Cache *cache, Entry *entry, int64_t line, int state, int64_t start) except -1:
    """Put a new copy, got by a transaction that began at *start*, into L2 and the L3 over it."""
    cdef Sharing *sharing = sharing_of(entry)
    cdef uint64_t *ways = l2_set(m, cache, line)
    if state != SHARED:
        set_who(entry, cpu, 0)
    elif sharing != NULL:
        set_add(&sharing.sharers, cpu, m.map_words)
    else:
        set_who(entry, cpu, ROLE_SHARER)
    if m.l3_count:
        fill_l3(m, cpu, line)
        if state != SHARED:
            drop_elsewhere(m, cpu, line)
    if ways[m.l2_ways - 1]:
        evict(m, cpu, cache, ways[m.l2_ways - 1] >> STATE_BITS, start)
    put_new(ways, m.l2_ways, line, state)
    return 0


cdef int evict(Model *m, int cpu, Cache *cache, int64_t victim, int64_t now) except -1:
    """Make room: remove *victim* from the cache and tell its home unless it leaves in silence, at no cost to
    the processor."""
    cdef Entry *entry = find_line(&m.lines, victim)
    cdef Sharing *sharing = sharing_of(entry)
    cdef int held = drop(m, cache, victim), role = ROLE_GONE_OWNED if held == EXCLUSIVE else ROLE_GONE
    cdef bint writes = m.evict_writes >> held & 1
    note_eviction(cache, victim)
    if writes:
        write_back(m, cpu, cache, victim)
    if sharing == NULL or owner_of(entry) == cpu:
        set_who(entry, NOBODY, 0)
    else:
        set_remove(&sharing.sharers, cpu)
    if m.leaves_ghosts and not writes:
        if sharing == NULL:
            set_who(entry, cpu, role)
        else:
            set_add(&sharing.gone, cpu, m.map_words)
            if held == EXCLUSIVE:
                set_who(entry, NOBODY, ROLE_GONE_OWNED)
    else:
        cache.nbytes += place_eviction(m, home_of(m, victim), writes, now)
    if is_unknown(entry):
        forget(m, victim, sharing)
    return 0


cdef inline bint is_unknown(Entry *entry) noexcept:
    """directory.LineState.is_unknown"""
    if entry.flags & (WHO | ROLE):
        return False
    return not entry.flags & SHARING or not (sharing_of(entry).sharers.count or sharing_of(entry).gone.count)


cdef int forget(Model *m, int64_t line, Sharing *sharing) except -1:
    """core_state.CoreState._forget"""
    cdef int cpu
    if sharing != NULL:
        if sharing.transfers >= WORTH_KEEPING:
            return 0
        if sharing.lost_by_cpu != NULL:
            for cpu in range(m.processors):
                if sharing.lost_by_cpu[cpu] >= 0:
                    note_eviction(&m.caches[cpu], line)
        else:
            for cpu in range(sharing.lost_count):
                note_eviction(&m.caches[sharing.lost[cpu].key], line)
        free_sharing(sharing)
    remove_line(&m.lines, line)
    return 0
