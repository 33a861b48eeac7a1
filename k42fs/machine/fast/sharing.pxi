# directory.Sharing, operation by operation; see there for what they mean.


cdef Sharing *begin_sharing(Model *m, Entry *entry) except NULL:
    """Note that a second cache comes in."""
    cdef int word, role
    cdef size_t head = sizeof(Sharing), words = m.words * sizeof(int64_t)
    cdef char *block = <char *> calloc(1, head + words + m.map_words * sizeof(uint64_t))
    cdef Sharing *sharing = <Sharing *> block
    if block == NULL:
        raise MemoryError
    sharing.words = <int64_t *> (block + head)
    sharing.movers = <uint64_t *> (block + head + words)
    sharing.history.size = m.history
    for word in range(m.words):
        sharing.words[word] = -1
    if entry.free_at > entry.began:
        queue_add(&sharing.history, entry.began, entry.free_at)
    role = entry.flags & ROLE
    if role == ROLE_SHARER:
        set_add(&sharing.sharers, who_of(entry), m.map_words)
    elif role:
        set_add(&sharing.gone, who_of(entry), m.map_words)
    if role:
        set_who(entry, NOBODY, ROLE_GONE_OWNED if role == ROLE_GONE_OWNED else 0)
    entry.free_at = <int64_t> <uintptr_t> sharing
    entry.flags |= SHARING
    return sharing


cdef void free_sharing(Sharing *sharing) noexcept:
    free(sharing.history.spans)
    free(sharing.sharers.wide)
    free(sharing.gone.wide)
    free(sharing.lost)
    free(sharing.lost_by_cpu)
    free(sharing.offsets)
    free(sharing.by_offset)
    free(sharing)


cdef inline int stop_word(Model *m, int64_t first, int64_t nbytes) noexcept:
    cdef int64_t stop = (first + nbytes + 7) >> 3
    return <int> min(stop, <int64_t> m.words)


cdef inline void stamp(Model *m, Sharing *sharing, int64_t first, int64_t nbytes) noexcept:
    cdef int word
    for word in range(<int> (first >> 3), stop_word(m, first, nbytes)):
        sharing.words[word] = sharing.epoch


cdef inline bint is_news(Model *m, Sharing *sharing, int64_t first, int64_t nbytes, int64_t since) noexcept:
    cdef int word
    for word in range(<int> (first >> 3), stop_word(m, first, nbytes)):
        if sharing.words[word] >= since:
            return True
    return False


cdef Pair *push(Pair **items, int32_t *count, int32_t *capacity) except NULL:
    """Make room for one more item of a list."""
    cdef int32_t bigger
    cdef Pair *grown
    if count[0] == capacity[0]:
        bigger = max(4, 2 * capacity[0])
        grown = <Pair *> realloc(items[0], bigger * sizeof(Pair))
        if grown == NULL:
            raise MemoryError
        items[0], capacity[0] = grown, bigger
    count[0] += 1
    return &items[0][count[0] - 1]


cdef int64_t *spread(Pair *items, int count, int64_t length, int64_t nothing) except NULL:
    """Return a list's items as an array of *length*, *nothing* where there is none."""
    cdef int64_t i
    cdef int64_t *array = <int64_t *> malloc(length * sizeof(int64_t))
    if array == NULL:
        raise MemoryError
    for i in range(length):
        array[i] = nothing
    for i in range(count):
        array[items[i].key] = items[i].value
    return array


cdef int note_lost(Model *m, Sharing *sharing, int cpu, int64_t since) except -1:
    """A writer took the line from *cpu*: writes from epoch *since* on are news to it."""
    cdef Pair *item
    cdef int i
    if sharing.lost_by_cpu == NULL:
        for i in range(sharing.lost_count):
            if sharing.lost[i].key == cpu:
                sharing.lost[i].value = since
                return 0
        if sharing.lost_count < FEW:
            item = push(&sharing.lost, &sharing.lost_count, &sharing.lost_capacity)
            item.key, item.value = cpu, since
            return 0
        sharing.lost_by_cpu = spread(sharing.lost, sharing.lost_count, m.processors, -1)
    sharing.lost_by_cpu[cpu] = since
    return 0


cdef int64_t pop_lost(Sharing *sharing, int cpu) noexcept:
    """Return since when writes are news to *cpu*, and forget it; -1 if it lost the line to no writer."""
    cdef int64_t since = -1
    cdef int i
    if sharing.lost_by_cpu != NULL:
        since = sharing.lost_by_cpu[cpu]
        sharing.lost_by_cpu[cpu] = -1
        return since
    for i in range(sharing.lost_count):
        if sharing.lost[i].key == cpu:
            since = sharing.lost[i].value
            sharing.lost_count -= 1
            sharing.lost[i] = sharing.lost[sharing.lost_count]
            break
    return since


cdef int count_move(Model *m, Sharing *sharing, int cpu, int offset) except -1:
    """Note that the line moved because *cpu* wanted the byte at *offset*."""
    cdef Pair *item
    cdef int i
    sharing.transfers += 1
    sharing.movers[cpu >> 6] |= <uint64_t> 1 << (cpu & 63)
    if sharing.by_offset == NULL:
        for i in range(sharing.offset_count):
            if sharing.offsets[i].key == offset:
                sharing.offsets[i].value += 1
                return 0
        if sharing.offset_count < FEW:
            item = push(&sharing.offsets, &sharing.offset_count, &sharing.offset_capacity)
            item.key, item.value = offset, 1
            return 0
        sharing.by_offset = spread(sharing.offsets, sharing.offset_count, m.line_bytes, 0)
    sharing.by_offset[offset] += 1
    return 0


cdef void reset_moves(Model *m, Sharing *sharing) noexcept:
    sharing.transfers = sharing.told = 0
    memset(sharing.movers, 0, m.map_words * sizeof(uint64_t))
    free(sharing.by_offset)
    sharing.by_offset = NULL
    sharing.offset_count = 0


cdef int hottest_offset(Model *m, Sharing *sharing) noexcept:
    """Return the byte for which the line moved most often, the first of several; 0 if it never did."""
    cdef int64_t most = 0
    cdef int i, offset = 0
    if sharing.by_offset != NULL:
        for i in range(m.line_bytes):
            if sharing.by_offset[i] > most:
                most, offset = sharing.by_offset[i], i
        return offset
    for i in range(sharing.offset_count):
        if sharing.offsets[i].value > most or (
            sharing.offsets[i].value == most and sharing.offsets[i].key < offset
        ):
            most, offset = sharing.offsets[i].value, <int> sharing.offsets[i].key
    return offset


cdef list moves_by_offset(Model *m, Sharing *sharing):
    """Return (offset, moves) pairs."""
    cdef int i
    if sharing.by_offset == NULL:
        return [(sharing.offsets[i].key, sharing.offsets[i].value) for i in range(sharing.offset_count)]
    return [(i, sharing.by_offset[i]) for i in range(m.line_bytes) if sharing.by_offset[i]]
