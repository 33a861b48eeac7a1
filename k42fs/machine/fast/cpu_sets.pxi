# Sets of processors. Nearly all have at most 4 members, so that full maps of 1024 bits would be mostly air.

cdef enum:
    PACKED = 4
    NOBODY = -1


cdef inline int packed_id(uint64_t packed, int lane) noexcept:
    return <int> (packed >> (16 * lane) & 0xFFFF)


cdef inline bint set_has(CpuSet *s, int cpu) noexcept:
    cdef int lane
    if s.wide != NULL:
        return s.wide[cpu >> 6] >> (cpu & 63) & 1
    for lane in range(s.count):
        if packed_id(s.packed, lane) == cpu:
            return True
    return False


cdef inline int set_next(CpuSet *s, int after, int map_words) noexcept:
    """Return the lowest member above *after*; NOBODY if there is none."""
    cdef int lane, word
    cdef uint64_t rest
    if s.wide == NULL:
        for lane in range(s.count):
            if packed_id(s.packed, lane) > after:
                return packed_id(s.packed, lane)
        return NOBODY
    word = (after + 1) >> 6
    if word >= map_words:
        return NOBODY
    rest = s.wide[word] & (~<uint64_t> 0 << ((after + 1) & 63))
    while not rest:
        word += 1
        if word == map_words:
            return NOBODY
        rest = s.wide[word]
    return 64 * word + __builtin_ctzll(rest)


cdef inline void set_clear(CpuSet *s) noexcept:
    if s.wide != NULL:
        free(s.wide)
        s.wide = NULL
    s.packed = 0
    s.count = 0


cdef int set_add(CpuSet *s, int cpu, int map_words) except -1:
    cdef int lane
    cdef uint64_t low
    if set_has(s, cpu):
        return 0
    if s.wide == NULL and s.count == PACKED:
        s.wide = <uint64_t *> calloc(map_words, sizeof(uint64_t))
        if s.wide == NULL:
            raise MemoryError
        for lane in range(PACKED):
            s.wide[packed_id(s.packed, lane) >> 6] |= <uint64_t> 1 << (packed_id(s.packed, lane) & 63)
    if s.wide != NULL:
        s.wide[cpu >> 6] |= <uint64_t> 1 << (cpu & 63)
    else:
        lane = 0
        while lane < s.count and packed_id(s.packed, lane) < cpu:
            lane += 1
        low = (<uint64_t> 1 << (16 * lane)) - 1  # lane < PACKED, so the shifts are defined
        s.packed = (s.packed & low) | <uint64_t> cpu << (16 * lane) | (s.packed & ~low) << 16
    s.count += 1
    return 0


cdef void set_remove(CpuSet *s, int cpu) noexcept:
    """Take out *cpu*, which is in."""
    cdef int lane = 0
    cdef uint64_t low
    s.count -= 1
    if not s.count:
        set_clear(s)
    elif s.wide != NULL:
        s.wide[cpu >> 6] &= ~(<uint64_t> 1 << (cpu & 63))
    else:
        while packed_id(s.packed, lane) != cpu:
            lane += 1
        low = (<uint64_t> 1 << (16 * lane)) - 1
        s.packed = (s.packed & low) | (s.packed >> 16 & ~low)


cdef object set_as_int(CpuSet *s, int map_words):
    """Return the set as a Python int, a bit for each member."""
    cdef int cpu = set_next(s, NOBODY, map_words)
    bits = 0
    while cpu != NOBODY:
        bits |= 1 << cpu
        cpu = set_next(s, cpu, map_words)
    return bits
