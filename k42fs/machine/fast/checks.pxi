# What is done once in a while: the shape of a machine, the invariants, the accounts of memory.


cdef int set_shape(Model *m, config) except -1:
    """Copy what *config* says."""
    m.processors, m.nodes_per = config.processors, config.processors_per_node
    m.hypercube = config.topology == "hypercube"
    m.sub_blocks = config.l1_line_bytes < config.line_bytes
    m.line_shift = config.line_bytes.bit_length() - 1
    m.l1_shift = config.l1_line_bytes.bit_length() - 1
    m.home_shift = NODE_SHIFT - m.line_shift
    m.per_line_shift = m.line_shift - m.l1_shift
    m.l1_ways, m.l2_ways = config.l1_ways, config.l2_ways
    m.line_bytes = config.line_bytes
    m.line_mask = config.line_bytes - 1
    m.words = config.line_bytes >> 3
    m.map_words = (config.processors + 63) >> 6
    m.history = config.history
    m.l1_mask = config.l1_bytes // (config.l1_ways * config.l1_line_bytes) - 1
    m.l2_mask = config.l2_bytes // (config.l2_ways * config.line_bytes) - 1
    m.l1_cycles, m.l2_cycles, m.atomic_cycles = config.l1_cycles, config.l2_cycles, config.atomic_cycles
    m.busy, m.issue = config.home_busy_cycles, config.inval_issue_cycles
    m.local_cycles, m.remote_cycles = config.local_cycles, config.remote_cycles
    m.dirty_cycles, m.upgrade_cycles, m.hop_cycles = config.dirty_cycles, config.upgrade_cycles, config.hop_cycles
    return 0


cdef int check(Model *m) except -1:
    """Raise AssertionError unless there is a single writer or many readers of each line, the directory knows
    exactly who has it, L2 includes L1, and hits and misses add up to references."""
    cdef int cpu, held = 0, listed = 0
    cdef Cache *cache
    cdef uint64_t word, at
    cdef Entry *entry
    cdef Sharing *sharing
    cdef uint32_t number
    cdef int64_t line, references, misses
    for cpu in range(m.processors):
        cache = &m.caches[cpu]
        if cache.l1 == NULL:
            continue
        for at in range((m.l1_mask + 1) * m.l1_ways):
            word = cache.l1[at]
            if word:
                line = (word >> STATE_BITS) >> m.per_line_shift
                if line_state(m, cache, line) != word & STATE_MASK:
                    raise AssertionError(
                        f"inclusion: L1 tag {word >> STATE_BITS:#x} in state {word & STATE_MASK},"
                        f" L2 has {line_state(m, cache, line)}")
        for at in range((m.l2_mask + 1) * m.l2_ways):
            word = cache.l2[at]
            if not word:
                continue
            line = word >> STATE_BITS
            held += 1
            entry = find_line(&m.lines, line)
            if entry == NULL:
                raise AssertionError(f"line {line:#x}: unknown to the directory, but cpu {cpu} has it")
            sharing = sharing_of(entry)
            if word & STATE_MASK == SHARED:
                if sharing == NULL or not set_has(&sharing.sharers, cpu):
                    raise AssertionError(f"line {line:#x}: directory is wrong: cpu {cpu} shares it")
            elif owner_of(entry) != cpu:
                raise AssertionError(f"line {line:#x}: cpus {owner_of(entry)} and {cpu} both own it")
        references = cache.counts[0] + cache.counts[1] + cache.counts[2]
        misses = cache.misses[0] + cache.misses[1] + cache.misses[2] + cache.misses[3] + cache.misses[4]
        if references != cache.l1_hits + cache.l2_hits + misses:
            raise AssertionError(f"cpu {cpu}: {references} references do not add up")
    for number in range(m.lines.used):
        entry = entry_at(&m.lines, number)
        if entry.flags & USED:
            sharing = sharing_of(entry)
            if owner_of(entry) >= 0 and sharing != NULL and sharing.sharers.count:
                raise AssertionError(f"line {entry.line:#x}: owned by {owner_of(entry)}, and shared")
            listed += (owner_of(entry) >= 0) + (sharing.sharers.count if sharing != NULL else 0)
    # Every copy is listed, so as many listed as held means that nothing else is.
    if held != listed:
        raise AssertionError(f"{held} copies, but the directory lists {listed}")
    return 0


cdef dict memory_bytes(Model *m):
    cdef Lines *lines = &m.lines
    cdef int64_t records = 0, evicted = 0, homes = 0, tags = 0
    cdef uint32_t number
    cdef int i
    cdef Sharing *sharing
    for number in range(lines.used):
        sharing = sharing_of(entry_at(lines, number))
        if sharing != NULL:
            records += sizeof(Sharing) + 8 * (m.words + m.map_words) + sharing.history.capacity * sizeof(Span)
            records += (sharing.lost_capacity + sharing.offset_capacity) * sizeof(Pair)
            records += 8 * (m.map_words if sharing.sharers.wide != NULL else 0)
            records += 8 * (m.processors if sharing.lost_by_cpu != NULL else 0)
            records += 8 * (m.line_bytes if sharing.by_offset != NULL else 0)
    for i in range(HOMES):
        homes += m.homes[i].capacity * sizeof(Span)
    for i in range(m.processors):
        evicted += m.caches[i].evicted.capacity * sizeof(EvictedItem)
        if m.caches[i].l1 != NULL:
            tags += 8 * ((m.l1_mask + 1) * m.l1_ways + (m.l2_mask + 1) * m.l2_ways)
    return {
        "lines": lines.slots * sizeof(uint32_t) + lines.block_count * ENTRIES * sizeof(Entry),
        "lines_known": lines.count,
        "sharing": records,
        "evicted": evicted,
        "tags": tags,
        "homes": homes + HOMES * sizeof(Queue) + m.processors * sizeof(Cache),
    }
