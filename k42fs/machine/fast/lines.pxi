# Directory entries of 32 bytes, and an index of 4 bytes per slot: entry number << 6 | distance from the slot that
# the line hashes to, plus 1; 0 in an empty slot. Entries in a row of slots are in the order of the slots they hash to
# (Robin Hood hashing), so that neither a search nor a removal reads entries of other lines.
#
# While no second cache comes in, an entry has to do with one processor at most: its owner, its only sharer, or the
# one that dropped its clean copy in silence.

cdef enum:
    ENTRIES = 4096  # per block
    FIRST_SLOTS = 1024
    WHO = 0x7FF  # a processor + 1
    USED = 0x800
    SHARING = 0x1000  # `free_at` is the address of the sharing record
    ROLE = 0x6000  # what that processor is; with a sharing record only OWNER, or ROLE_GONE_OWNED of nobody
    ROLE_SHARER = 0x2000
    ROLE_GONE = 0x4000
    ROLE_GONE_OWNED = 0x6000
    FEW = 8  # so long are lists searched from end to end
    FAR_BITS = 6
    FAR_MASK = 63
    NUMBERS = 1 << 26


cdef inline Entry *entry_at(Lines *lines, uint32_t number) noexcept:
    return &lines.blocks[number // ENTRIES][number % ENTRIES]


cdef inline int owner_of(Entry *entry) noexcept:
    return NOBODY if entry.flags & ROLE else (entry.flags & WHO) - 1


cdef inline int who_of(Entry *entry) noexcept:
    """Return the one processor that a line without a sharing record has to do with."""
    return (entry.flags & WHO) - 1


cdef inline void set_who(Entry *entry, int cpu, int role) noexcept:
    entry.flags = <uint16_t> ((entry.flags & ~(WHO | ROLE)) | (cpu + 1) | role)


cdef inline Sharing *sharing_of(Entry *entry) noexcept:
    return <Sharing *> <uintptr_t> entry.free_at if entry.flags & SHARING else NULL


cdef inline uint64_t slot_of(Lines *lines, int64_t line) noexcept:
    return <uint64_t> line * GOLDEN >> lines.shift


cdef inline void expect_line(Lines *lines, int64_t line) noexcept:
    """Have the host fetch what `find_line` will look at first."""
    if lines.slots:
        prefetch(&lines.index[slot_of(lines, line)])


cdef inline void expect_entry(Lines *lines, int64_t line) noexcept:
    """Have the host fetch the entry that is first where *line* is looked for: mostly its own."""
    if lines.slots:
        prefetch(entry_at(lines, lines.index[slot_of(lines, line)] >> FAR_BITS))


cdef inline Entry *find_line(Lines *lines, int64_t line) noexcept:
    cdef uint64_t mask = lines.slots - 1, slot
    cdef uint32_t word, far = 1
    cdef Entry *entry
    if not lines.slots:
        return NULL
    slot = slot_of(lines, line)
    while True:
        word = lines.index[slot]
        # An entry lies no farther from its slot than those it met on its way: none is behind a nearer one.
        if (word & FAR_MASK) <= far:
            if (word & FAR_MASK) < far:
                return NULL
            entry = entry_at(lines, word >> FAR_BITS)
            if entry.line == line:
                return entry
        slot = (slot + 1) & mask
        far += 1


cdef int put_index(Lines *lines, int64_t line, uint32_t number) except -1:
    """Write an entry's number into the index. Those that are nearer to their slots than it make room.
    Return 0, or 1 if the index must grow first: somebody would be too far away."""
    cdef uint64_t mask = lines.slots - 1, slot = slot_of(lines, line), last
    cdef uint32_t far = 1, word
    while (lines.index[slot] & FAR_MASK) >= far:
        slot = (slot + 1) & mask
        far += 1
    last = slot  # everything from here to the next empty slot moves by one
    while lines.index[last]:
        if (lines.index[last] & FAR_MASK) == FAR_MASK:
            return 1
        last = (last + 1) & mask
    if far > FAR_MASK:
        return 1
    while last != slot:
        word = lines.index[(last - 1) & mask]
        lines.index[last] = word + 1
        last = (last - 1) & mask
    lines.index[slot] = number << FAR_BITS | far
    return 0


cdef int grow_index(Lines *lines) except -1:
    cdef int64_t slots = lines.slots
    cdef uint32_t number
    cdef bint is_full = True
    while is_full:
        slots = 2 * slots if slots else FIRST_SLOTS
        free(lines.index)
        lines.index = <uint32_t *> calloc(slots, sizeof(uint32_t))
        if lines.index == NULL:
            lines.slots = 0
            raise MemoryError
        lines.slots, lines.shift = slots, 65 - __builtin_ffsll(slots)
        is_full = False
        for number in range(lines.used):
            if entry_at(lines, number).flags & USED and put_index(lines, entry_at(lines, number).line, number):
                is_full = True
                break
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
    lines.blocks[lines.block_count] = <Entry *> arena_take(lines.arena, ENTRIES * sizeof(Entry))
    lines.block_count += 1
    return 0


cdef Entry *add_line(Lines *lines, int64_t line) except NULL:
    """Make an entry for *line*, which has none: uncached."""
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
        if number == NUMBERS:
            raise MemoryError("too many lines")
        if number == lines.block_count * ENTRIES:
            grow_entries(lines)
        lines.used += 1
        entry = entry_at(lines, number)
    entry.flags = 0
    while put_index(lines, line, number):
        grow_index(lines)
    lines.count += 1
    lines.serial += 1
    entry.line, entry.began, entry.free_at, entry.flags = line, 0, 0, USED
    entry.serial_low, entry.serial_high = <uint32_t> lines.serial, <uint16_t> (lines.serial >> 32)
    return entry


cdef void remove_line(Lines *lines, int64_t line) noexcept:
    """Forget *line*, which has an entry and, any more, no sharing record."""
    cdef uint64_t mask = lines.slots - 1, slot = slot_of(lines, line), after
    cdef Entry *entry = find_line(lines, line)
    cdef uint32_t far = 1, word = lines.index[slot]
    while (word & FAR_MASK) != far or entry_at(lines, word >> FAR_BITS) != entry:
        slot = (slot + 1) & mask
        far += 1
        word = lines.index[slot]
    entry.flags = 0
    entry.serial_low = lines.free_first
    lines.free_first = (word >> FAR_BITS) + 1
    lines.count -= 1
    after = (slot + 1) & mask
    while (lines.index[after] & FAR_MASK) > 1:  # not in its own slot: gets nearer
        lines.index[slot] = lines.index[after] - 1
        slot = after
        after = (after + 1) & mask
    lines.index[slot] = 0


cdef uint64_t serial_of(Entry *entry) noexcept:
    return <uint64_t> entry.serial_high << 32 | entry.serial_low


cdef void free_lines(Lines *lines) noexcept:
    cdef uint32_t number
    for number in range(lines.used):
        if entry_at(lines, number).flags & SHARING:
            free_sharing(sharing_of(entry_at(lines, number)))
    free(lines.blocks)
    free(lines.index)
