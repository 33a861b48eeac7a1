# What is done once in a while: the invariants of core_state.py, by their numbers there, and the accounts of memory.


cdef int check(Model *m) except -1:
    """Raise AssertionError unless the invariants hold: 1, 3, 4, 6 and 8."""
    cdef int64_t held = 0, i
    cdef int cpu
    for cpu in range(m.processors):
        if m.caches[cpu].l1 != NULL:
            check_l1(m, cpu)
            held += check_l2(m, cpu)
            check_accounts(m, cpu)
    # Each copy is listed, so that as many listed as held means that nothing else is.
    if held != check_lines(m):
        raise AssertionError(f"{held} copies, but the directory lists {check_lines(m)}")
    for i in range(m.nodes):
        check_queue(&m.homes[i])
    for i in range(m.link_slots):
        if m.links[i] != NULL:
            check_queue(&m.links[i].queue)
    check_queue(&m.abus)
    check_queue(&m.dbus.queue)
    return 0


cdef int check_l1(Model *m, int cpu) except -1:
    """3"""
    cdef uint64_t at, word
    cdef int64_t line
    for at in range((m.l1_mask + 1) * m.l1_words):
        word = m.caches[cpu].l1[at]
        line = word >> STATE_BITS >> m.per_line_shift
        if word and line_state(m, &m.caches[cpu], line) != <int> (word & STATE_MASK):
            raise AssertionError(f"inclusion: cpu {cpu}, L1 has line {line:#x} in state {word & STATE_MASK},"
                                 f" L2 in {line_state(m, &m.caches[cpu], line)}")
    return 0


cdef int64_t check_l2(Model *m, int cpu) except -1:
    """1 and 4, for the copies of *cpu*; return how many there are."""
    cdef uint64_t at, word
    cdef int64_t line, held = 0
    cdef Entry *entry
    cdef Sharing *sharing
    cdef int state
    cdef bint is_listed
    for at in range((m.l2_mask + 1) * m.l2_words):
        word = m.caches[cpu].l2[at]
        if not word:
            continue
        held += 1
        line, state = word >> STATE_BITS, word & STATE_MASK
        entry = find_line(&m.lines, line)
        if entry == NULL:
            raise AssertionError(f"line {line:#x}: unknown to the directory, but cpu {cpu} has it")
        sharing = sharing_of(entry)
        if state != SHARED:
            is_listed = owner_of(entry) == cpu
        elif sharing == NULL:
            is_listed = (entry.flags & ROLE) == ROLE_SHARER and who_of(entry) == cpu
        else:
            is_listed = set_has(&sharing.sharers, cpu)
        if not is_listed:
            raise AssertionError(f"line {line:#x}: directory is wrong: cpu {cpu} has it in state {state}")
        if state >= EXCLUSIVE and sharing != NULL and sharing.sharers.count:
            raise AssertionError(f"line {line:#x}: cpu {cpu} in state {state}, and others share it")
    return held


cdef int64_t check_lines(Model *m) except -1:
    """4 and 6, for the lines; return how many copies the directory lists."""
    cdef uint32_t number
    cdef int64_t listed = 0
    cdef int cpu
    cdef Entry *entry
    cdef Sharing *sharing
    for number in range(m.lines.used):
        entry = entry_at(&m.lines, number)
        if not entry.flags & USED:
            continue
        sharing = sharing_of(entry)
        listed += owner_of(entry) >= 0 or (entry.flags & ROLE) == ROLE_SHARER
        if sharing == NULL:
            continue
        listed += sharing.sharers.count
        check_queue(&sharing.history)
        cpu = set_next(&sharing.gone, NOBODY, m.map_words)
        if (entry.flags & ROLE) and (sharing.gone.count != 1 or sharing.sharers.count):
            raise AssertionError(f"line {entry.line:#x}: an owner is gone, and others have it")
        while cpu != NOBODY:
            if cpu == owner_of(entry) or set_has(&sharing.sharers, cpu):
                raise AssertionError(f"line {entry.line:#x}: cpu {cpu} is not gone")
            cpu = set_next(&sharing.gone, cpu, m.map_words)
    return listed


cdef int check_accounts(Model *m, int cpu) except -1:
    """8"""
    cdef Cache *cache = &m.caches[cpu]
    cdef int64_t references = cache.counts[0] + cache.counts[1] + cache.counts[2], misses = 0, spent, i
    for i in range(5):
        misses += cache.misses[i]
    if references != cache.l1_hits + cache.l2_hits + cache.l3_hits + misses:
        raise AssertionError(f"cpu {cpu}: {references} references do not add up")
    if misses != cache.from_memory + cache.from_cache + cache.misses[UPGRADE]:
        raise AssertionError(f"cpu {cpu}: {misses} misses, not as many suppliers")
    spent = cache.l1_hits * m.l1_cycles + cache.l2_hits * m.l2_cycles + cache.counts[RMW] * m.atomic_cycles
    spent += cache.queued
    for i in range(4):
        spent += cache.stall[i]
    if cache.cycles != spent:
        raise AssertionError(f"cpu {cpu}: {cache.cycles} cycles do not add up to {spent}")
    return 0


cdef int check_queue(Queue *q) except -1:
    """6"""
    cdef int32_t i
    cdef Span *spans = q.spans + q.head
    if q.count > q.size:
        raise AssertionError(f"{q.count} reservations, at most {q.size}")
    for i in range(q.count):
        if spans[i].start > spans[i].end or (i and spans[i - 1].end > spans[i].start):
            raise AssertionError(f"reservation [{spans[i].start}, {spans[i].end}) is wrong or not free")
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
    for i in range(m.nodes):
        homes += m.homes[i].capacity * sizeof(Span)
    for i in range(m.processors):
        evicted += m.caches[i].evicted.capacity * sizeof(EvictedItem)
        if m.caches[i].l1 != NULL:
            tags += L1_GAP + L2_GAP + 8 * ((m.l1_mask + 1) * m.l1_words + (m.l2_mask + 1) * m.l2_words)
    return {
        "lines": lines.slots * sizeof(uint32_t) + lines.block_count * ENTRIES * sizeof(Entry),
        "lines_known": lines.count,
        "sharing": records,
        "evicted": evicted,
        "tags": tags,
        "homes": homes + m.nodes * sizeof(Queue) + m.processors * sizeof(Cache),
    }
