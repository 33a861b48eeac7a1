# Directory entries: a hash of lines over entries of 32 bytes, and the records of those that several caches had.

cdef enum:
    ENTRIES = 4096  # per block
    FIRST_SLOTS = 1024
    OWNER_MASK = 0xFFF
    USED = 0x1000
    SHARING = 0x2000  # `free_at` is the address of the sharing record
    FEW = 8  # so long are lists searched from end to end


cdef inline Entry *entry_at(Lines *lines, uint32_t number) noexcept:
    return &lines.blocks[number // ENTRIES][number % ENTRIES]


cdef inline int owner_of(Entry *entry) noexcept:
    return (entry.flags & OWNER_MASK) - 1


cdef inline void set_owner(Entry *entry, int cpu) noexcept:
    entry.flags = (entry.flags & ~OWNER_MASK) | <uint16_t> (cpu + 1)


cdef inline Sharing *sharing_of(Entry *entry) noexcept:
    return <Sharing *> <uintptr_t> entry.free_at if entry.flags & SHARING else NULL


cdef inline uint64_t slot_of(Lines *lines, int64_t line) noexcept:
    return <uint64_t> line * <uint64_t> 0x9E3779B97F4A7C15 >> lines.shift


cdef Entry *find_line(Lines *lines, int64_t line) noexcept:
    cdef uint64_t slot, mask = lines.slots - 1
    cdef Entry *entry
    if not lines.slots:
        return NULL
    slot = slot_of(lines, line)
    while lines.index[slot]:
        entry = entry_at(lines, lines.index[slot] - 1)
        if entry.line == line:
            return entry
        slot = (slot + 1) & mask
    return NULL


cdef int grow_index(Lines *lines) except -1:
    cdef int64_t slots = 2 * lines.slots if lines.slots else FIRST_SLOTS
    cdef uint32_t *index = <uint32_t *> calloc(slots, sizeof(uint32_t))
    cdef uint32_t number
    cdef uint64_t slot
    if index == NULL:
        raise MemoryError
    free(lines.index)
    lines.index, lines.slots, lines.shift = index, slots, 65 - __builtin_ffsll(slots)
    for number in range(lines.used):
        if entry_at(lines, number).flags & USED:
            slot = slot_of(lines, entry_at(lines, number).line)
            while index[slot]:
                slot = (slot + 1) & (slots - 1)
            index[slot] = number + 1
    return 0


cdef int grow_entries(Lines *lines) except -1:
    cdef int64_t allocated
    cdef Entry **blocks
    if lines.block_count == lines.blocks_allocated:
        allocated = 2 * lines.blocks_allocated + 16
        blocks = <Entry **> realloc(lines.blocks, allocated * sizeof(Entry *))
        if blocks == NULL:
            raise MemoryError
        lines.blocks, lines.blocks_allocated = blocks, allocated
    lines.blocks[lines.block_count] = <Entry *> malloc(ENTRIES * sizeof(Entry))
    if lines.blocks[lines.block_count] == NULL:
        raise MemoryError
    lines.block_count += 1
    return 0


cdef Entry *add_line(Lines *lines, int64_t line) except NULL:
    """Make an entry for *line*, which has none: uncached."""
    cdef uint64_t slot
    cdef uint32_t number
    cdef Entry *entry
    if 4 * (lines.count + 1) > 3 * lines.slots:
        grow_index(lines)
    if lines.free_first:
        number = lines.free_first - 1
        entry = entry_at(lines, number)
        lines.free_first = entry.serial_low  # a free entry's link
    else:
        number = lines.used
        if number == lines.block_count * ENTRIES:
            grow_entries(lines)
        lines.used += 1
        entry = entry_at(lines, number)
    slot = slot_of(lines, line)
    while lines.index[slot]:
        slot = (slot + 1) & (lines.slots - 1)
    lines.index[slot] = number + 1
    lines.count += 1
    lines.serial += 1
    entry.line, entry.began, entry.free_at, entry.flags = line, 0, 0, USED
    entry.serial_low, entry.serial_high = <uint32_t> lines.serial, <uint16_t> (lines.serial >> 32)
    return entry


cdef void remove_line(Lines *lines, int64_t line) noexcept:
    """Forget *line*, which has an entry and, any more, no sharing record."""
    cdef uint64_t mask = lines.slots - 1, hole = slot_of(lines, line), slot, home
    cdef Entry *entry = entry_at(lines, lines.index[hole] - 1)
    while entry.line != line:
        hole = (hole + 1) & mask
        entry = entry_at(lines, lines.index[hole] - 1)
    entry.flags = 0
    entry.serial_low = lines.free_first
    lines.free_first = lines.index[hole]
    lines.count -= 1
    # Move up what would not be found across the hole.
    slot = hole
    while True:
        slot = (slot + 1) & mask
        if not lines.index[slot]:
            break
        home = slot_of(lines, entry_at(lines, lines.index[slot] - 1).line)
        if ((slot - home) & mask) >= ((slot - hole) & mask):
            lines.index[hole] = lines.index[slot]
            hole = slot
    lines.index[hole] = 0


cdef uint64_t serial_of(Entry *entry) noexcept:
    return <uint64_t> entry.serial_high << 32 | entry.serial_low


cdef void free_lines(Lines *lines) noexcept:
    cdef uint32_t number
    cdef int64_t block
    for number in range(lines.used):
        if entry_at(lines, number).flags & SHARING:
            free_sharing(sharing_of(entry_at(lines, number)))
    for block in range(lines.block_count):
        free(lines.blocks[block])
    free(lines.blocks)
    free(lines.index)
