# Distances, homes, latencies (config.MachineConfig, latencies.Latencies) and links (links.Links).

cdef enum:
    HYPERCUBE = 0
    FLAT = 1
    BUS = 2
    GROUPS = 3
    BY_ADDRESS = 0
    INTERLEAVED = 1
    FIRST_LINKS = 64
    WAY = 12  # links of the longest way


cdef inline int node_of(Model *m, int cpu) noexcept:
    return cpu // m.nodes_per


cdef inline int home_of(Model *m, int64_t line) noexcept:
    if m.homes_by == BY_ADDRESS:
        return <int> ((line >> m.home_shift) % m.nodes)
    return <int> (line % m.nodes) if m.homes_by == INTERLEAVED else 0


cdef inline int hops(Model *m, int a, int b) noexcept:
    if m.topology == HYPERCUBE:
        return __builtin_popcountll(a ^ b)
    if a == b or m.topology == BUS:
        return 0
    if m.topology == FLAT or a // m.group == b // m.group:
        return 1
    return 2


cdef inline int64_t from_memory(Model *m, int node, int home) noexcept:
    cdef int far = hops(m, node, home)
    if m.has_memory_by:
        return m.memory_by[far]
    return (m.remote_cycles if far else m.local_cycles) + 2 * m.hop_cycles * far


cdef inline int64_t tour(Model *m, int64_t base, int64_t *by_distance, int has_by, int node, int home,
                         int third) noexcept:
    cdef int a = hops(m, node, home), b = hops(m, home, third), c = hops(m, third, node)
    if has_by:
        return by_distance[max(a, max(b, c))]
    return base + m.hop_cycles * (a + b + c)


cdef inline int64_t dirty_latency(Model *m, int node, int home, int owner) noexcept:
    return tour(m, m.dirty_cycles, m.dirty_by, m.has_dirty_by, node, home, owner)


cdef inline int64_t grant_latency(Model *m, int node, int home, int sharer) noexcept:
    return tour(m, m.upgrade_cycles, m.upgrade_by, m.has_upgrade_by, node, home, sharer)


cdef int64_t upgrade_latency(Model *m, int node, int home, int targets, int64_t *issue) noexcept:
    """Return how long it takes to invalidate the copies of the *targets* processors in `m.targets`."""
    cdef int64_t longest = grant_latency(m, node, home, home), way
    cdef uint64_t rest
    cdef int word, there, last = home
    issue[0] = m.issue * targets
    if targets:
        for word in range(m.map_words):
            rest = m.targets[word]
            while rest:
                there = node_of(m, 64 * word + __builtin_ctzll(rest))
                rest &= rest - 1
                if there != last:
                    last = there
                    way = grant_latency(m, node, home, there)
                    if way > longest:
                        longest = way
    return longest + (issue[0] - m.issue if issue[0] > m.issue else 0)


cdef int64_t stage_reserve(Stage *stage, int64_t start, int64_t wanted, int64_t duration) except -1:
    """history.SecondStage.reserve"""
    cdef int64_t granted = queue_reserve(&stage.queue, wanted, duration)
    if start > stage.latest:
        stage.latest = start
    elif granted > wanted and start < stage.latest:
        stage.slips += 1
    return granted


cdef int grow_links(Model *m) except -1:
    cdef int64_t slots = 2 * m.link_slots if m.link_slots else FIRST_LINKS, i, slot
    cdef Stage **links = <Stage **> calloc(slots, sizeof(Stage *))
    if links == NULL:
        raise MemoryError
    for i in range(m.link_slots):
        if m.links[i] != NULL:
            slot = (<uint64_t> m.links[i].key * GOLDEN) >> 32 & (slots - 1)
            while links[slot] != NULL:
                slot = (slot + 1) & (slots - 1)
            links[slot] = m.links[i]
    free(m.links)
    m.links, m.link_slots = links, slots
    return 0


cdef Stage *link_between(Model *m, int a, int b) except NULL:
    cdef int64_t key = (<int64_t> a << 16 | b) + 1, slot
    if 2 * (m.link_count + 1) > m.link_slots:
        grow_links(m)
    slot = (<uint64_t> key * GOLDEN) >> 32 & (m.link_slots - 1)
    while m.links[slot] != NULL:
        if m.links[slot].key == key:
            return m.links[slot]
        slot = (slot + 1) & (m.link_slots - 1)
    m.links[slot] = <Stage *> calloc(1, sizeof(Stage))
    if m.links[slot] == NULL:
        raise MemoryError
    m.links[slot].key = key
    m.links[slot].queue.size = HOME_HISTORY_FACTOR * m.history
    m.link_count += 1
    return m.links[slot]


cdef int way(Model *m, int a, int b, int *stops) noexcept:
    """Write the nodes that a message from *a* to *b* comes by, both included; return how many links that is."""
    cdef int count = 0, differ = a ^ b, between
    stops[0] = a
    if a == b or m.topology == BUS:
        return 0
    if m.topology == HYPERCUBE:
        while differ:
            stops[count + 1] = stops[count] ^ (differ & -differ)
            differ &= differ - 1
            count += 1
        return count
    if m.topology == GROUPS:
        between = a // m.group * m.group + b % m.group
        if between != a and between != b:
            count += 1
            stops[count] = between
    count += 1
    stops[count] = b
    return count


cdef int64_t follow(Model *m, int *stops, int count, int64_t start, int64_t at) except -1:
    """Send a message from *at* on; return when it arrives."""
    cdef int i
    for i in range(count):
        at = stage_reserve(link_between(m, stops[i], stops[i + 1]), start, at, m.link_cycles) + m.hop_cycles
    return at


cdef int64_t links_end(Model *m, int node, int home, int third, int64_t start, int64_t latency) except -1:
    """links.Links.end"""
    cdef int there[WAY]
    cdef int back[WAY]
    cdef int last[WAY]
    cdef int there_count = way(m, node, home, there)
    cdef int back_count = way(m, home, third, back), last_count = way(m, third, node, last)
    cdef int64_t at, delay
    at = follow(m, there, there_count, start, start)
    delay = at - start - m.hop_cycles * there_count
    at = max(start, start + latency - m.hop_cycles * (back_count + last_count) + delay)
    return follow(m, last, last_count, start, follow(m, back, back_count, start, at))
