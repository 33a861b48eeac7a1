# What pure_core.PureCore does, function by function under the same names; the reasons are told there.

cdef enum:
    READ = 0
    RMW = 2
    INVALID = 0
    SHARED = 1
    OWNED = 2
    EXCLUSIVE = 3
    MODIFIED = 4
    TRACKED = 5
    COLD = 0
    CAPACITY = 1
    TRUE_SHARING = 2
    FALSE_SHARING = 3
    UPGRADE = 4
    WORTH_KEEPING = 4
    FITS_MAX = 8
    HOMES = 2048  # an address has 63 bits, 52 of them below the node


cdef int64_t NEVER = core_never


cdef inline int node_of(Model *m, int cpu) noexcept:
    return cpu // m.nodes_per


cdef inline int home_of(Model *m, int64_t line) noexcept:
    return <int> (line >> m.home_shift)


cdef inline int hops(Model *m, int a, int b) noexcept:
    return __builtin_popcountll(a ^ b) if m.hypercube else a != b


cdef inline int64_t tour(Model *m, int node, int home, int third) noexcept:
    return m.hop_cycles * (hops(m, node, home) + hops(m, home, third) + hops(m, third, node))


cdef inline int64_t from_memory(Model *m, int node, int home) noexcept:
    return (m.local_cycles if node == home else m.remote_cycles) + 2 * m.hop_cycles * hops(m, node, home)


cdef void latency_of(Model *m, int node, int home, Entry *entry, Sharing *sharing, int cpu, int code, bint others,
                     int held, int64_t *latency, int64_t *busy) noexcept:
    cdef int64_t longest, issue = 0, upgrade, way
    cdef int sharer
    busy[0] = m.busy
    if owner_of(entry) >= 0:
        latency[0] = m.dirty_cycles + tour(m, node, home, node_of(m, owner_of(entry)))
        return
    if code == READ or not (held or others):
        latency[0] = from_memory(m, node, home)
        return
    longest = tour(m, node, home, home)
    sharer = set_next(&sharing.sharers, NOBODY, m.map_words)
    while sharer != NOBODY:
        if sharer != cpu:
            way = tour(m, node, home, node_of(m, sharer))
            if way > longest:
                longest = way
            issue += m.issue
        sharer = set_next(&sharing.sharers, sharer, m.map_words)
    upgrade = m.upgrade_cycles + longest + (issue - m.issue if issue > m.issue else 0)
    if not held:
        way = from_memory(m, node, home)
        if way > upgrade:
            upgrade = way
    latency[0] = upgrade
    busy[0] += issue


cdef inline bint is_visible(Model *m, Cache *cache, int code, int64_t addr) noexcept:
    return code == RMW or line_state(m, cache, addr >> m.line_shift) < (SHARED if code == READ else EXCLUSIVE)


cdef int64_t reference(Model *m, int cpu, Cache *cache, int code, int64_t addr, int64_t nbytes,
                       int64_t now) except -1:
    """Do one reference of any sort; return the time after."""
    cdef int64_t line = addr >> m.line_shift
    cdef uint64_t tag = <uint64_t> addr >> m.l1_shift
    cdef uint64_t *tags = l1_set(m, cache, tag)
    cdef uint64_t *ways
    cdef uint64_t *place
    cdef Entry *entry
    cdef int state = state_in(tags, m.l1_ways, tag), is_in_l1 = state
    cache.counts[code] += 1
    if not state:
        ways = l2_set(m, cache, line)
        state = state_in(ways, m.l2_ways, line)
        if not state:
            expect_line(&m.lines, line)
            if ways[m.l2_ways - 1]:
                expect_line(&m.lines, ways[m.l2_ways - 1] >> STATE_BITS)
    if state < (SHARED if code == READ else EXCLUSIVE):
        entry = find_line(&m.lines, line)
        if entry == NULL:
            entry = add_line(&m.lines, line)
        if owner_of(entry) < 0 and not entry.flags & SHARING:
            now = fetch_private(m, cpu, cache, code, entry, line, now, &state)
        else:
            now = transact(m, cpu, cache, code, addr, nbytes, entry, now, &state)
    elif is_in_l1:
        cache.l1_hits += 1
        now += m.l1_cycles
    else:
        cache.l2_hits += 1
        now += m.l2_cycles
        use(l2_set(m, cache, line), m.l2_ways, line, state)
    if code != READ:
        if state == EXCLUSIVE:
            entry = find_line(&m.lines, line)
            state = TRACKED if entry.flags & SHARING else MODIFIED
            set_state(m, cache, line, state)
        if state == TRACKED:
            stamp(m, sharing_of(find_line(&m.lines, line)), addr & m.line_mask, nbytes)
        if code == RMW:
            now += m.atomic_cycles
    use(tags, m.l1_ways, tag, state)
    return now


cdef int fill(Model *m, int cpu, Cache *cache, int64_t line, int state, int64_t start) except -1:
    """Put *line*, which is not there, into L2, first making room if there is none."""
    cdef uint64_t *ways = l2_set(m, cache, line)
    if ways[m.l2_ways - 1]:
        evict(m, cpu, cache, ways[m.l2_ways - 1] >> STATE_BITS, start)
    use(ways, m.l2_ways, line, state)
    return 0


cdef int64_t fetch_private(Model *m, int cpu, Cache *cache, int code, Entry *entry, int64_t line, int64_t now,
                           int *state) except -1:
    cdef int home = home_of(m, line)
    cdef int64_t latency = from_memory(m, cache.node, home), start
    cache.misses[CAPACITY if was_evicted(cache, line) else COLD] += 1
    start = queue_reserve(&m.homes[home], now if now > entry.free_at else entry.free_at, m.busy)
    cache.queued += start - now
    state[0] = EXCLUSIVE if code == READ else MODIFIED
    set_owner(entry, cpu)
    entry.began, entry.free_at = start, start + (m.busy if code == READ else latency)
    fill(m, cpu, cache, line, state[0], start)
    return start + latency


cdef int miss_kind(Model *m, int cpu, Cache *cache, Sharing *sharing, int64_t line, int64_t offset, int64_t nbytes,
                   int held) noexcept:
    cdef int64_t since
    if held:
        return UPGRADE
    since = pop_lost(sharing, cpu)
    if since >= 0:
        return TRUE_SHARING if is_news(m, sharing, offset, nbytes, since) else FALSE_SHARING
    return CAPACITY if was_evicted(cache, line) else COLD


cdef int64_t transact(Model *m, int cpu, Cache *cache, int code, int64_t addr, int64_t nbytes, Entry *entry,
                      int64_t now, int *state) except -1:
    """Get the line of *addr* in the state that *code* needs, in general; *state* is what *cpu* has and then
    gets."""
    cdef int64_t line = addr >> m.line_shift, offset = addr & m.line_mask, latency = 0, busy = 0, blocked, start
    cdef int home = home_of(m, line), held = state[0], owner = owner_of(entry)
    cdef bint others
    cdef Sharing *sharing = sharing_of(entry)
    if sharing == NULL:
        sharing = begin_sharing(m, entry)
    others = sharing.sharers.count > (1 if set_has(&sharing.sharers, cpu) else 0)
    cache.misses[miss_kind(m, cpu, cache, sharing, line, offset, nbytes, held)] += 1
    if owner >= 0 or (code != READ and others):
        count_move(m, sharing, cpu, <int> offset)
    latency_of(m, cache.node, home, entry, sharing, cpu, code, others, held, &latency, &busy)
    blocked = busy if code == READ and owner < 0 else latency
    start = reserve(m, sharing, home, now, blocked, busy)
    cache.queued += start - now
    if code == READ:
        state[0] = share(m, cpu, entry, sharing, line)
    else:
        state[0] = TRACKED
        take_over(m, cpu, entry, sharing, line, start)
    if held:
        set_state(m, cache, line, state[0])
    else:
        fill(m, cpu, cache, line, state[0], start)
    return start + latency


cdef int64_t reserve(Model *m, Sharing *sharing, int home, int64_t now, int64_t blocked, int64_t busy) except -1:
    """Find and reserve the first time from *now* on when line and home are free; return it."""
    cdef Queue *queue = &m.homes[home]
    cdef Queue *history = &sharing.history
    cdef int64_t start = now, at
    cdef int i
    for i in range(FITS_MAX):
        at = queue_fit(history, start, blocked)
        start = queue_fit(queue, at, busy)
        if start == at:
            break
    if start < history.floor:
        history.late += 1
    else:
        queue_add(history, start, start + blocked)
    if start < queue.floor:
        queue.late += 1
    else:
        queue_add(queue, start, start + busy)
    return start


cdef int share(Model *m, int cpu, Entry *entry, Sharing *sharing, int64_t line) except -1:
    """Directory's part of a read: return the state of the reader's new copy."""
    cdef int owner = owner_of(entry)
    cdef Cache *cache
    if owner >= 0:
        if owner == cpu:
            raise AssertionError(f"line {line:#x}: its owner {owner} asks for it")
        cache = &m.caches[owner]
        if line_state(m, cache, line) >= MODIFIED:
            cache.write_backs += 1
        set_state(m, cache, line, SHARED)
        set_add(&sharing.sharers, owner, m.map_words)
        set_owner(entry, NOBODY)
    elif not sharing.sharers.count:
        set_owner(entry, cpu)
        return EXCLUSIVE
    set_add(&sharing.sharers, cpu, m.map_words)
    return SHARED


cdef int64_t tell_watcher(Model *m, int64_t line, int loser, int64_t start) except -1:
    """A spinning processor loses its copy: return when it notices, as its scheduler says."""
    cdef FastCore core = <FastCore> m.core
    if core.on_taken is None or line not in core.watched:
        return NEVER
    return core.on_taken(line, loser, start)


cdef int invalidate(Model *m, Sharing *sharing, int loser, int64_t line, int64_t start) except -1:
    cdef int64_t woken_at
    drop(m, &m.caches[loser], line)
    m.caches[loser].invalidations += 1
    note_lost(m, sharing, loser, sharing.epoch)
    if (<FastCore> m.core).watched:
        woken_at = tell_watcher(m, line, loser, start)
        if woken_at < m.woken_at:
            m.woken_at = woken_at
    return 0


cdef int take_over(Model *m, int cpu, Entry *entry, Sharing *sharing, int64_t line, int64_t start) except -1:
    """Directory's part of a write that starts at *start*: invalidate all other copies; *cpu* becomes the owner."""
    cdef int loser
    sharing.epoch += 1
    if owner_of(entry) >= 0:
        invalidate(m, sharing, owner_of(entry), line, start)
    else:
        loser = set_next(&sharing.sharers, NOBODY, m.map_words)
        while loser != NOBODY:
            if loser != cpu:
                invalidate(m, sharing, loser, line, start)
            loser = set_next(&sharing.sharers, loser, m.map_words)
    set_clear(&sharing.sharers)
    set_owner(entry, cpu)
    return 0


cdef int evict(Model *m, int cpu, Cache *cache, int64_t victim, int64_t now) except -1:
    """Remove *victim* from the cache and tell its home, at no cost to the processor."""
    cdef Entry *entry = find_line(&m.lines, victim)
    cdef Sharing *sharing = sharing_of(entry)
    if drop(m, cache, victim) >= MODIFIED:
        cache.write_backs += 1
    note_eviction(cache, victim)
    if owner_of(entry) == cpu:
        set_owner(entry, NOBODY)
    else:
        set_remove(&sharing.sharers, cpu)
    queue_reserve(&m.homes[home_of(m, victim)], now, m.busy)
    if owner_of(entry) < 0 and (sharing == NULL or not sharing.sharers.count):
        forget(m, victim, sharing)
    return 0


cdef int forget(Model *m, int64_t line, Sharing *sharing) except -1:
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
