# history.Reservations, operation by operation; see there for what they mean.


cdef enum:
    RECENT = 16


cdef inline int64_t queue_free_at(Queue *q) noexcept:
    return q.spans[q.head + q.count - 1].end if q.count else 0


cdef inline int ends_after(Queue *q, int64_t now) noexcept:
    """bisect_right(ends, now)

    Most that is asked for is not long ago.
    """
    cdef Span *spans = q.spans + q.head
    cdef int low = 0, count = q.count, half
    if count > RECENT and spans[count - RECENT - 1].end <= now:
        low, count = count - RECENT, RECENT
    while count > 1:
        half = count >> 1
        low += half if spans[low + half - 1].end <= now else 0
        count -= half
    return low + (spans[low].end <= now)


cdef inline void expect_recent(Queue *q) noexcept:
    """Have the host fetch what `ends_after` will mostly look at."""
    cdef int i
    for i in range(0, RECENT, 4):
        prefetch(q.spans + q.head + q.count - 1 - i)


cdef int64_t queue_fit(Queue *q, int64_t now, int64_t duration) noexcept:
    cdef Span *spans = q.spans + q.head
    cdef int i
    if not q.count or now >= spans[q.count - 1].end:
        q.place = q.count
        return now
    i = ends_after(q, now)
    while i < q.count and spans[i].start - now < duration:
        if spans[i].end > now:
            now = spans[i].end
        i += 1
    q.place = i
    return now


cdef int queue_append(Queue *q, int64_t start, int64_t end) except -1:
    """Put a last interval, which the caller knows to be one."""
    cdef Span *spans
    cdef int32_t capacity
    if q.head + q.count == q.capacity:
        if 2 * q.head >= q.capacity and q.head:
            memmove(q.spans, q.spans + q.head, q.count * sizeof(Span))
        else:
            capacity = max(4, 2 * q.capacity)
            spans = <Span *> malloc(capacity * sizeof(Span))
            if spans == NULL:
                raise MemoryError
            if q.count:
                memcpy(spans, q.spans + q.head, q.count * sizeof(Span))
            free(q.spans)
            q.spans, q.capacity = spans, capacity
        q.head = 0
    q.spans[q.head + q.count] = Span(start, end)
    q.count += 1
    return 0


cdef inline void queue_forget(Queue *q) noexcept:
    q.floor = q.spans[q.head].end
    q.head += 1
    q.count -= 1


cdef int queue_insert(Queue *q, int64_t start, int64_t end) except -1:
    cdef Span *spans = q.spans + q.head
    cdef int first = min(q.place, q.count), last, i, fits = 1
    while first < q.count and spans[first].end < start:  # bisect_left(ends, start), which is near by
        first += 1
    while first and spans[first - 1].end >= start:
        first -= 1
    last = first
    while last < q.count and spans[last].start <= end:  # bisect_right(starts, end)
        last += 1
    for i in range(first, last):
        if not (spans[i].end <= start or spans[i].start >= end):
            fits = 0
            break
    if first < last:
        start = min(start, spans[first].start)
        end = max(end, spans[last - 1].end)
        spans[first] = Span(start, end)
        if last - first > 1:
            memmove(spans + first + 1, spans + last, (q.count - last) * sizeof(Span))
            q.count -= last - first - 1
    else:
        queue_append(q, 0, 0)
        spans = q.spans + q.head
        memmove(spans + first + 1, spans + first, (q.count - 1 - first) * sizeof(Span))
        spans[first] = Span(start, end)
    if not fits:
        q.late += 1
    if q.count > q.size:
        queue_forget(q)
    return fits


cdef int queue_add(Queue *q, int64_t start, int64_t end) except -1:
    """Reserve [start, end); return 0 if that was not free."""
    cdef int64_t free_at = queue_free_at(q)
    if not q.count or start > free_at:
        queue_append(q, start, end)
    elif start == free_at:
        q.spans[q.head + q.count - 1].end = end
    else:
        return queue_insert(q, start, end)
    if q.count > q.size:
        queue_forget(q)
    return 1


cdef int64_t queue_reserve(Queue *q, int64_t now, int64_t duration) except -1:
    if q.count and now < q.spans[q.head + q.count - 1].end:
        now = queue_fit(q, now, duration)
        if now < q.floor:
            q.late += 1
            return now
    queue_add(q, now, now + duration)
    return now
