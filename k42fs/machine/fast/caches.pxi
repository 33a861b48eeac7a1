# Private caches: tag words in sets, most recently used first, and which lines made room for others.
#
# directory.Cache keeps a set as a dict, least recently used first: the same order the other way round.

cdef enum:
    L1_GAP = 5 * HOST_LINE
    L2_GAP = 37 * HOST_LINE


cdef inline uint64_t *l1_set(Model *m, Cache *cache, uint64_t tag) noexcept:
    return cache.l1 + (tag & m.l1_mask) * m.l1_words


cdef inline uint64_t *l2_set(Model *m, Cache *cache, uint64_t line) noexcept:
    return cache.l2 + (line & m.l2_mask) * m.l2_words


cdef int make_cache(Model *m, int cpu) except -1:
    """Give *cpu* its tag arrays. A set of 8 ways lies in one line of the host."""
    cdef Cache *cache = &m.caches[cpu]
    cdef size_t l1 = (m.l1_mask + 1) * m.l1_words, l2 = (m.l2_mask + 1) * m.l2_words
    cache.node = cpu // m.nodes_per
    # Without the gaps the same set of all processors would fall into the same set of the host's caches.
    cache.l2 = <uint64_t *> arena_take(&m.arena, l2 * sizeof(uint64_t) + L2_GAP)
    cache.l1 = <uint64_t *> arena_take(&m.l1_arena, l1 * sizeof(uint64_t) + L1_GAP)
    return 0


cdef void set_state(Model *m, Cache *cache, int64_t line, int state) noexcept:
    """Change the state of *line*, which is here, in both levels, without touching the order of use."""
    cdef uint64_t *place = place_in(l2_set(m, cache, line), m.l2_ways, line)
    cdef uint64_t first = <uint64_t> line << m.per_line_shift, tag
    place[0] = (place[0] & ~<uint64_t> STATE_MASK) | <uint64_t> state
    for tag in range(first, first + (<uint64_t> 1 << m.per_line_shift)):
        place = place_in(l1_set(m, cache, tag), m.l1_ways, tag)
        if place != NULL:
            place[0] = (place[0] & ~<uint64_t> STATE_MASK) | <uint64_t> state


cdef int drop(Model *m, Cache *cache, int64_t line) noexcept:
    """Remove *line* from both levels; return the state it had."""
    cdef uint64_t first = <uint64_t> line << m.per_line_shift, tag
    for tag in range(first, first + (<uint64_t> 1 << m.per_line_shift)):
        take_out(l1_set(m, cache, tag), m.l1_ways, tag)
    return take_out(l2_set(m, cache, line), m.l2_ways, line)


cdef inline int line_state(Model *m, Cache *cache, int64_t line) noexcept:
    return state_in(l2_set(m, cache, line), m.l2_ways, line) if cache.l2 != NULL else 0


cdef inline EvictedItem *evicted_item(Evicted *evicted, int64_t key) noexcept:
    """Return the item of *key*, or the empty one where it would be."""
    cdef uint64_t mask = evicted.capacity - 1
    cdef uint64_t slot = (<uint64_t> key * GOLDEN) >> 32 & mask
    while evicted.items[slot].key and evicted.items[slot].key != key:
        slot = (slot + 1) & mask
    return &evicted.items[slot]


cdef int grow_evicted(Evicted *evicted) except -1:
    cdef Evicted grown
    cdef int64_t i
    grown.capacity, grown.count = max(16, 2 * evicted.capacity), evicted.count
    grown.items = <EvictedItem *> calloc(grown.capacity, sizeof(EvictedItem))
    if grown.items == NULL:
        raise MemoryError
    for i in range(evicted.capacity):
        if evicted.items[i].key:
            evicted_item(&grown, evicted.items[i].key)[0] = evicted.items[i]
    free(evicted.items)
    evicted[0] = grown
    return 0


cdef int note_eviction(Cache *cache, int64_t line) except -1:
    cdef Evicted *evicted = &cache.evicted
    cdef EvictedItem *item
    if 4 * (evicted.count + 1) > 3 * evicted.capacity:
        grow_evicted(evicted)
    item = evicted_item(evicted, (line >> 6) + 1)
    if not item.key:
        item.key = (line >> 6) + 1
        evicted.count += 1
    item.bits |= <uint64_t> 1 << (line & 63)
    return 0


cdef inline bint was_evicted(Cache *cache, int64_t line) noexcept:
    if not cache.evicted.count:
        return False
    return evicted_item(&cache.evicted, (line >> 6) + 1).bits >> (line & 63) & 1


cdef void reset_cache(Cache *cache) noexcept:
    """Zero the counts."""
    memset(cache.counts, 0, sizeof(cache.counts))
    memset(cache.misses, 0, sizeof(cache.misses))
    memset(cache.stall, 0, sizeof(cache.stall))
    cache.l1_hits = cache.l2_hits = cache.l3_hits = cache.from_memory = cache.from_cache = 0
    cache.invalidations = cache.extra_invalidations = cache.write_backs = cache.nbytes = 0
    cache.cycles = cache.queued = 0


cdef void free_cache(Cache *cache) noexcept:
    free(cache.evicted.items)
