# miss_log.MissLog: what a record's numbers mean is told there.

cdef enum:
    ITEMS = 10
    LOG_MISS = 0
    LOG_INVALIDATE = 1
    NO_CPU = -1


cdef int set_log_room(Log *log, int64_t room) except -1:
    """Keep up to *room* records from now on. Those there are stay."""
    cdef int64_t capacity = max(room, log.count)
    cdef int64_t *items = NULL
    if not 0 <= room <= <int64_t> 1 << 40:
        raise ValueError(f"no room for {room} records")
    if capacity != log.capacity:
        if capacity:
            items = <int64_t *> realloc(log.items, capacity * ITEMS * sizeof(int64_t))
            if items == NULL:
                raise MemoryError
        else:
            free(log.items)
        log.items, log.capacity = items, capacity
    log.room = room
    return 0


cdef void log_record(Model *m, int what, int cpu, int64_t stamp, int64_t line, int kind, int code, int64_t offset,
                     int other, int64_t cycles) noexcept:
    cdef Log *log = &m.log
    cdef int64_t *items
    if log.count >= log.room:
        log.dropped += 1
        return
    items = log.items + log.count * ITEMS
    items[0], items[1], items[2], items[3], items[4] = what, cpu, stamp, line, kind
    items[5], items[6], items[7], items[8], items[9] = code, offset, other, cycles, (<FastCore> m.core).site
    log.count += 1


cdef object taken_log(Log *log):
    """Return the records and how many were dropped, and empty the log."""
    cdef array.array records = array.clone(NO_RECORDS, log.count * ITEMS, False)
    if log.count:
        memcpy(records.data.as_longlongs, log.items, log.count * ITEMS * sizeof(int64_t))
    dropped = log.dropped
    log.count = log.dropped = 0
    if log.capacity > log.room:
        set_log_room(log, log.room)
    return records, dropped


cdef array.array NO_RECORDS = Array("q")
