# interconnect.py, interconnect_directory.py, interconnect_bus.py and sharer_formats.py: who takes part in a
# transaction, and when it happens.

cdef enum:
    NO_DATA = 0
    FROM_MEMORY = 1
    FROM_CACHE = 2
    IN_VAIN = 3
    GET_S = 0
    GET_M = 1
    ASK_UPGRADE = 2
    DIR_U = 0
    DIR_S = 1
    DIR_X = 2
    DIR_O = 3
    MESSAGE_BYTES = 8
    FITS_MAX = 8
    FULL = 0
    COARSE = 1
    LIMITED = 2


cdef inline int table_state(int state) noexcept:
    return MODIFIED if state == TRACKED else state


cdef int64_t start_of(Model *m, Entry *entry, Queue *queue, int64_t now, int64_t blocked, int64_t busy) except -1:
    cdef Sharing *sharing = sharing_of(entry)
    cdef int64_t start = now, at
    cdef int i
    if sharing == NULL:
        if entry.free_at > now:
            start = entry.free_at
        return queue_reserve(queue, start, busy) if busy else start
    for i in range(FITS_MAX):
        at = queue_fit(&sharing.history, start, blocked)
        start = queue_fit(queue, at, busy)
        if start == at:
            break
    if start < queue.floor:
        queue.late += 1
    elif busy:
        queue_add(queue, start, start + busy)
    return start


cdef int occupy(Entry *entry, int64_t start, int64_t until) except -1:
    """directory.LineState.occupy"""
    cdef Sharing *sharing = sharing_of(entry)
    if sharing == NULL:
        entry.began, entry.free_at = start, until
    elif start != until:
        if start < sharing.history.floor:
            sharing.history.late += 1
        else:
            queue_add(&sharing.history, start, until)
    return 0


cdef void mark(Model *m, CpuSet *members) noexcept:
    """Put *members* into `m.targets`."""
    cdef int cpu
    if members.wide != NULL:
        for cpu in range(m.map_words):
            m.targets[cpu] |= members.wide[cpu]
        return
    cpu = set_next(members, NOBODY, m.map_words)
    while cpu != NOBODY:
        m.targets[cpu >> 6] |= <uint64_t> 1 << (cpu & 63)
        cpu = set_next(members, cpu, m.map_words)


cdef inline void unmark(Model *m, int cpu) noexcept:
    m.targets[cpu >> 6] &= ~(<uint64_t> 1 << (cpu & 63))


cdef int count_marks(Model *m) noexcept:
    cdef int word, count = 0
    for word in range(m.map_words):
        count += __builtin_popcountll(m.targets[word])
    return count


cdef void mark_range(Model *m, int first, int stop) noexcept:
    cdef int cpu
    for cpu in range(first, min(stop, m.processors)):
        m.targets[cpu >> 6] |= <uint64_t> 1 << (cpu & 63)


cdef void believe(Model *m) noexcept:
    """Turn the marks into what the home takes them for (sharer_formats)."""
    cdef int first, cpu
    if m.sharer_format == LIMITED:
        if count_marks(m) > m.sharer_pointers:
            mark_range(m, 0, m.processors)
    elif m.sharer_format == COARSE and m.sharer_group > 1:
        for first in range(0, m.processors, m.sharer_group):
            for cpu in range(first, min(first + m.sharer_group, m.processors)):
                if m.targets[cpu >> 6] >> (cpu & 63) & 1:
                    mark_range(m, first, first + m.sharer_group)
                    break


cdef int plan_directory(Model *m, Plan *plan, Entry *entry, CpuSet *sharers, CpuSet *gone, int cpu, int home,
                        int request, int held, int rival, int rival_state) except -1:
    cdef int ghost = NOBODY, at, owner_state, others
    cdef Home *row
    cdef Snoop *snoop
    cdef bint has_sharers = sharers.count or gone.count
    if (entry.flags & ROLE) == ROLE_GONE_OWNED:
        ghost = set_next(gone, NOBODY, m.map_words)
        at = DIR_U if ghost == cpu else DIR_X
    else:
        owner_state = held if owner_of(entry) == cpu else rival_state
        if owner_state == OWNED:
            at = DIR_O
        elif owner_state:
            at = DIR_X
        else:
            at = DIR_S if has_sharers else DIR_U
    row = &m.rows[at][request]
    if not row.is_possible:
        raise AssertionError(f"line {entry.line:#x}: request {request} to a home in state {at} is impossible")
    plan.supply, plan.third, plan.writes_memory, plan.extra, plan.targets = FROM_MEMORY, home, 0, 0, 0
    if request == ASK_UPGRADE:
        plan.supply = NO_DATA
    elif row.asks_owner:
        if ghost == NOBODY:
            snoop = &m.snoops[table_state(rival_state)][request]
            plan.supply, plan.third, plan.writes_memory = FROM_CACHE, node_of(m, rival), snoop.writes_memory
        else:
            plan.supply, plan.third, plan.extra = IN_VAIN, node_of(m, ghost), 1
    if row.asks_sharers or (request == ASK_UPGRADE and rival >= 0):
        memset(m.targets, 0, m.map_words * sizeof(uint64_t))
        if row.asks_sharers:
            mark(m, sharers)
            mark(m, gone)
            believe(m)
            unmark(m, cpu)
        if rival >= 0:
            unmark(m, rival)
        plan.targets = count_marks(m)
        # All sharers are among the marks, but for the requester: what is more has no copy.
        others = sharers.count - set_has(sharers, cpu) if row.asks_sharers else 0
        plan.extra += plan.targets - others
        if request == ASK_UPGRADE and rival >= 0:
            m.targets[rival >> 6] |= <uint64_t> 1 << (rival & 63)
            plan.targets += 1
    plan.nbytes = MESSAGE_BYTES * (2 + (1 if plan.supply == FROM_CACHE else 2 if plan.supply == IN_VAIN else 0))
    plan.nbytes += 0 if plan.supply == NO_DATA else m.line_bytes
    plan.nbytes += (MESSAGE_BYTES + m.line_bytes) * plan.writes_memory + 2 * MESSAGE_BYTES * plan.targets
    plan.pipelined = request == GET_S and plan.supply == FROM_MEMORY
    return 0


cdef int plan_bus(Model *m, Plan *plan, int home, int request, int rival, int rival_state) except -1:
    cdef Snoop *snoop
    plan.supply, plan.third = NO_DATA if request == ASK_UPGRADE else FROM_MEMORY, home
    plan.writes_memory, plan.extra, plan.targets = 0, 0, 0
    if rival >= 0:
        snoop = &m.snoops[table_state(rival_state)][request]
        if not snoop.is_possible:
            raise AssertionError(f"request {request} to a copy in state {rival_state} is impossible")
        plan.writes_memory = snoop.writes_memory
        if snoop.supplies:
            plan.supply, plan.third = FROM_CACHE, node_of(m, rival)
    plan.nbytes = MESSAGE_BYTES + (0 if plan.supply == NO_DATA else m.line_bytes)
    plan.pipelined = request == GET_S and rival < 0
    return 0


cdef inline int64_t data_end(Model *m, int64_t start, int64_t end) except -1:
    """Reserve the data bus for the last cycles before *end*, or as soon as it can be; return the end."""
    return stage_reserve(&m.dbus, start, end - m.data, m.data) + m.data


cdef int64_t place(Model *m, Entry *entry, int node, int home, Plan *plan, int64_t now, int64_t *end) except -1:
    """Interconnect.transact: return the start."""
    cdef int64_t latency = 0, busy, issue = 0, way, start
    cdef Queue *queue = &m.abus
    if plan.supply == FROM_MEMORY or plan.supply == IN_VAIN:
        latency = from_memory(m, node, home)
    if plan.supply == FROM_CACHE or plan.supply == IN_VAIN:
        way = dirty_latency(m, node, home, plan.third)
        if way > latency:
            latency = way
    if plan.targets or plan.supply == NO_DATA:
        way = upgrade_latency(m, node, home, plan.targets, &issue)
        if way > latency:
            latency = way
    if m.is_bus:
        busy = m.address
    else:
        queue = &m.homes[home]
        busy = m.busy
        if plan.writes_memory or plan.supply == FROM_MEMORY or plan.supply == IN_VAIN:
            busy = m.busy_with_memory
        busy += issue
    start = start_of(m, entry, queue, now, busy if plan.pipelined else latency, busy)
    end[0] = start + latency
    if m.is_bus:
        if plan.supply != NO_DATA:
            end[0] = data_end(m, start, end[0])
    elif m.has_links:
        end[0] = links_end(m, node, home, plan.third, start, latency)
    occupy(entry, start, start + busy if plan.pipelined else end[0])
    return start


cdef int64_t place_fetch(Model *m, Entry *entry, int node, int home, bint pipelined, int64_t now,
                         int64_t *end) except -1:
    """Interconnect.fetch: return the start."""
    cdef int64_t latency = from_memory(m, node, home), start = now if now > entry.free_at else entry.free_at
    cdef int64_t busy = m.address if m.is_bus else m.busy_with_memory
    if busy:
        start = queue_reserve(&m.abus if m.is_bus else &m.homes[home], start, busy)
    end[0] = start + latency
    if m.is_bus:
        end[0] = data_end(m, start, end[0])
    elif m.has_links:
        end[0] = links_end(m, node, home, home, start, latency)
    entry.began, entry.free_at = start, start + busy if pipelined else end[0]
    return start


cdef int64_t place_eviction(Model *m, int home, bint writes_memory, int64_t now) except -1:
    """Interconnect.evict: return the bytes of its messages."""
    cdef int64_t busy, start
    if m.is_bus:
        if not writes_memory:
            return 0
        start = queue_reserve(&m.abus, now, m.address)
        data_end(m, start, start + m.address + m.data)
        return MESSAGE_BYTES + m.line_bytes
    busy = m.busy_with_memory if writes_memory else m.busy
    if busy:
        queue_reserve(&m.homes[home], now, busy)
    return MESSAGE_BYTES + m.line_bytes if writes_memory else MESSAGE_BYTES
