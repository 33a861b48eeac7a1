# pure_core.PureCore, function by function under the same names; the reasons are told there.


cdef inline bint is_visible(Model *m, Cache *cache, int code, int64_t addr, int64_t ahead) noexcept:
    cdef int state
    if code == RMW or ahead > m.slack:
        return True
    state = line_state(m, cache, addr >> m.line_shift)
    return not (state == EXCLUSIVE or state == MODIFIED)


cdef int64_t reference(Model *m, int cpu, Cache *cache, int code, int64_t addr, int64_t nbytes,
                       int64_t now) except -1:
    """Do one reference of any sort; return the time after."""
    cdef int64_t line = addr >> m.line_shift
    cdef uint64_t tag = <uint64_t> addr >> m.l1_shift
    cdef uint64_t *tags = l1_set(m, cache, tag)
    cdef uint64_t *ways = l2_set(m, cache, line)
    cdef Entry *entry
    cdef int near = find_way(tags, m.l1_ways, tag), way = near, state = 0
    cdef bint is_miss
    cache.counts[code] += 1
    if near >= 0:
        state = tags[near] & STATE_MASK
    else:
        way = find_way(ways, m.l2_ways, line)
        if way >= 0:
            state = ways[way] & STATE_MASK
        else:
            expect_line(&m.lines, line)
            if ways[m.l2_ways - 1]:
                expect_line(&m.lines, ways[m.l2_ways - 1] >> STATE_BITS)
    is_miss = state < (SHARED if code == READ else EXCLUSIVE)
    if is_miss:
        now = miss(m, cpu, cache, code, addr, nbytes, now, &state)
    elif near >= 0:
        cache.l1_hits += 1
        now += m.l1_cycles
    else:
        cache.l2_hits += 1
        now += m.l2_cycles
        put_first(ways, m.l2_ways, way, ways[way])
    if code != READ:
        if state == EXCLUSIVE:
            entry = find_line(&m.lines, line)
            state = TRACKED if entry.flags & SHARING else MODIFIED
            set_state(m, cache, line, state)
        if state == TRACKED:
            stamp(m, sharing_of(find_line(&m.lines, line)), addr & m.line_mask, nbytes)
        if code == RMW:
            now += m.atomic_cycles
    if is_miss:
        use(tags, m.l1_ways, tag, state)  # whatever made room in L2 has left L1 too
    elif near >= 0:
        put_first(tags, m.l1_ways, near, tag << STATE_BITS | <uint64_t> state)
    else:
        put_new(tags, m.l1_ways, tag, state)
    return now


cdef int64_t miss(Model *m, int cpu, Cache *cache, int code, int64_t addr, int64_t nbytes, int64_t now,
                  int *state) except -1:
    """Get the line of *addr*, here in *state*, in the state that *code* needs; write that; return the time."""
    cdef int64_t line = addr >> m.line_shift
    cdef Entry *entry = find_line(&m.lines, line)
    cdef Sharing *sharing
    cdef bint only_by_me, is_gone_owned
    if entry == NULL:
        entry = add_line(&m.lines, line)
    m.transactions += 1
    sharing = sharing_of(entry)
    is_gone_owned = (entry.flags & ROLE) == ROLE_GONE_OWNED
    if sharing == NULL:
        only_by_me = (entry.flags & ROLE) < ROLE_GONE or who_of(entry) == cpu
    else:
        only_by_me = not sharing.gone.count or (sharing.gone.count == 1 and set_has(&sharing.gone, cpu))
    if m.l3_count and code == READ and owner_of(entry) < 0 and l3_has(m, cpu, line):
        if only_by_me or not is_gone_owned:
            return from_l3(m, cpu, cache, entry, line, now, state)
    elif sharing == NULL and owner_of(entry) < 0 and (entry.flags & ROLE) != ROLE_SHARER and only_by_me:
        return fetch_private(m, cpu, cache, code, addr, entry, now, state)
    return transact(m, cpu, cache, code, addr, nbytes, entry, now, state)


cdef bint is_alone(Entry *entry) noexcept:
    """directory.LineState.is_alone"""
    cdef int role = entry.flags & ROLE
    if role == ROLE_GONE_OWNED:
        return True
    if owner_of(entry) >= 0 or role:
        return False
    return not entry.flags & SHARING or not (sharing_of(entry).sharers.count or sharing_of(entry).gone.count)


cdef void has_returned(Entry *entry, int cpu) noexcept:
    """directory.LineState.has_returned"""
    cdef Sharing *sharing = sharing_of(entry)
    cdef int role = entry.flags & ROLE
    if role == ROLE_GONE_OWNED:
        if sharing != NULL:
            set_clear(&sharing.gone)
        set_who(entry, NOBODY, 0)
    elif sharing != NULL:
        if set_has(&sharing.gone, cpu):
            set_remove(&sharing.gone, cpu)
    elif role == ROLE_GONE and who_of(entry) == cpu:
        set_who(entry, NOBODY, 0)


cdef Sharing *sharing_for(Model *m, Entry *entry, int cpu) except? NULL:
    """Return the line's sharing record, which now begins if another cache than *cpu*'s has or may have it."""
    if entry.flags & SHARING:
        return sharing_of(entry)
    if not entry.flags & WHO or who_of(entry) == cpu:
        return NULL
    return begin_sharing(m, entry)


cdef int64_t from_l3(Model *m, int cpu, Cache *cache, Entry *entry, int64_t line, int64_t now, int *state) except -1:
    cdef Sharing *sharing = sharing_for(m, entry, cpu)
    cdef int64_t start
    if sharing == NULL:
        start = max(now, entry.free_at)
    else:
        start = queue_fit(&sharing.history, now, 0)
        if start < sharing.history.floor:
            sharing.history.late += 1
        pop_lost(sharing, cpu)
    cache.l3_hits += 1
    cache.queued += start - now
    cache.stall[STALL_L3] += m.l3_cycles
    state[0] = m.steps[INVALID][READ].alone if is_alone(entry) else m.steps[INVALID][READ].shared
    has_returned(entry, cpu)
    install(m, cpu, cache, entry, line, state[0], start)
    return start + m.l3_cycles


cdef int64_t fetch_private(Model *m, int cpu, Cache *cache, int code, int64_t addr, Entry *entry, int64_t now,
                           int *state) except -1:
    cdef int64_t line = addr >> m.line_shift, end = 0, start
    cdef int kind = CAPACITY if was_evicted(cache, line) else COLD
    cache.misses[kind] += 1
    start = place_fetch(m, entry, cache.node, home_of(m, line), code == READ, now, &end)
    if m.log.room:
        log_record(m, LOG_MISS, cpu, start, line, kind, code, addr & m.line_mask, NO_CPU, end - now)
    cache.queued += start - now
    cache.stall[STALL_MEMORY] += end - start
    cache.from_memory += 1
    cache.nbytes += m.line_bytes + (MESSAGE_BYTES if m.is_bus else 2 * MESSAGE_BYTES)
    has_returned(entry, cpu)
    state[0] = m.steps[INVALID][READ].alone if code == READ else MODIFIED
    install(m, cpu, cache, entry, line, state[0], start)
    return end


cdef int miss_kind(Model *m, int cpu, Cache *cache, Sharing *sharing, int64_t line, int64_t offset, int64_t nbytes,
                   int held) noexcept:
    cdef int64_t since
    if held:
        return UPGRADE
    since = pop_lost(sharing, cpu) if sharing != NULL else -1
    if since >= 0:
        return TRUE_SHARING if is_news(m, sharing, offset, nbytes, since) else FALSE_SHARING
    return CAPACITY if was_evicted(cache, line) else COLD


cdef int64_t transact(Model *m, int cpu, Cache *cache, int code, int64_t addr, int64_t nbytes, Entry *entry,
                      int64_t now, int *state) except -1:
    cdef int64_t line = addr >> m.line_shift, offset = addr & m.line_mask, end = 0, start
    cdef int home = home_of(m, line), held = state[0], rival = owner_of(entry), rival_state = INVALID
    cdef int kind
    cdef Sharing *sharing = sharing_for(m, entry, cpu)
    cdef CpuSet lone, nobody
    cdef CpuSet *sharers = &lone
    cdef CpuSet *gone = &nobody
    cdef Step *step = &m.steps[held][0 if code == READ else 1]
    cdef Plan plan
    if not step.is_possible:
        raise AssertionError(f"line {line:#x}: no request of a copy in state {held} for code {code}")
    if rival == cpu:
        rival = NOBODY
    if rival != NOBODY:
        rival_state = line_state(m, &m.caches[rival], line)
    if sharing != NULL:
        sharers, gone = &sharing.sharers, &sharing.gone
    else:  # its only sharer writes (MSI)
        lone = CpuSet(cpu, NULL, 1)
        nobody = CpuSet(0, NULL, 0)
    kind = miss_kind(m, cpu, cache, sharing, line, offset, nbytes, held)
    cache.misses[kind] += 1
    if sharing != NULL and (rival >= 0 or (code != READ and sharers.count > set_has(sharers, cpu))):
        count_move(m, sharing, cpu, <int> offset)
    if m.is_bus:
        plan_bus(m, &plan, home, step.request, rival, rival_state)
    else:
        plan_directory(m, &plan, entry, sharers, gone, cpu, home, step.request, held, rival, rival_state)
    start = place(m, entry, cache.node, home, &plan, now, &end)
    if start < now:
        raise AssertionError(f"line {line:#x}: asked for at {now}, begun at {start}")
    account(cache, &plan, now, start, end)
    if m.log.room:
        log_record(m, LOG_MISS, cpu, start, line, kind, code, offset, rival if plan.supply == FROM_CACHE else NO_CPU,
                   end - now)
    if code == READ:
        state[0] = step.alone if is_alone(entry) else step.shared
        has_returned(entry, cpu)
        if rival != NOBODY:
            downgrade(m, rival, rival_state, entry, sharing, line)
    else:
        state[0] = MODIFIED
        if sharing != NULL:
            state[0] = TRACKED
            invalidate(m, cpu, rival, sharing, line, start)
            set_clear(&sharing.sharers)
            set_clear(&sharing.gone)
        set_who(entry, NOBODY, 0)
    if not held:
        install(m, cpu, cache, entry, line, state[0], start)
    else:
        set_state(m, cache, line, state[0])
        set_who(entry, cpu, 0)
        if m.l3_count:
            drop_elsewhere(m, cpu, line)
    return end


cdef void account(Cache *cache, Plan *plan, int64_t now, int64_t start, int64_t end) noexcept:
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
