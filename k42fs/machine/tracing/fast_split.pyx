# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""`split.split_plainly` and `split.in_order_plainly`, word for word the same: see there for what they do. Little-endian
hosts only."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.list cimport PyList_GET_ITEM, PyList_New, PyList_SET_ITEM
from cpython.long cimport PyLong_AsUnsignedLongLongMask
from cpython.ref cimport Py_INCREF
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc, qsort


cdef struct Place:
    uint64_t stamp
    Py_ssize_t at  # of the event's first item


cdef int compare(const void *a, const void *b) noexcept nogil:
    """Order by stamp, then by place in the list: a stable sort."""
    cdef const Place *left = <const Place *> a
    cdef const Place *right = <const Place *> b
    if left.stamp != right.stamp:
        return -1 if left.stamp < right.stamp else 1
    return -1 if left.at < right.at else 1


cdef inline uint64_t word(list words, Py_ssize_t at) except? 0xFFFFFFFFFFFFFFFF:
    return PyLong_AsUnsignedLongLongMask(<object> PyList_GET_ITEM(words, at))


def split_list(list words not None, uint64_t last, Py_ssize_t room_words, uint64_t max_gap):
    """Return (start, data, begin, end, events, last id) of each body, or None if a stamp steps back."""
    cdef Py_ssize_t count = len(words), at = 0, start = 0, filled = 0, events = 0, length, item
    cdef uint64_t head = 0, before, stamp, begin = last
    cdef uint64_t *out = <uint64_t *> malloc(room_words * 8)
    if out == NULL:
        raise MemoryError
    bodies = []
    try:
        while at < count:
            before = head
            head, stamp = word(words, at), word(words, at + 1)
            length = head >> 24 & 0xFF
            if stamp < last:
                return None
            if events and (length > room_words - filled or stamp - last >= max_gap):
                data = PyBytes_FromStringAndSize(<char *> out, filled * 8)
                bodies.append((start, data, begin, last, events, before & 0xFFFFFF))
                start, filled, events = at, 0, 0
            if not events:
                begin = stamp
            out[filled] = stamp << 32 | head
            for item in range(1, length):
                out[filled + item] = word(words, at + 1 + item)
            filled += length
            events += 1
            last = stamp
            at += 1 + length
        if events:
            data = PyBytes_FromStringAndSize(<char *> out, filled * 8)
            bodies.append((start, data, begin, last, events, head & 0xFFFFFF))
        return bodies
    finally:
        free(out)


def in_order_list(list words not None, last):
    """Return the list with its events sorted by stamp, stably; stamps before *last* become *last*."""
    cdef Py_ssize_t count = len(words), at = 0, events = 0, event, item, filled = 0
    cdef uint64_t earliest = PyLong_AsUnsignedLongLongMask(last)
    cdef Place *places = <Place *> malloc((count // 2 + 1) * sizeof(Place))
    if places == NULL:
        raise MemoryError
    try:
        while at + 1 < count:
            item = word(words, at) >> 24 & 0xFF
            if not item:
                break
            places[events] = Place(word(words, at + 1), at)
            events += 1
            at += 1 + item
        if at != count:
            raise ValueError(f"no whole event at item {at} of {count}")
        qsort(places, events, sizeof(Place), compare)
        ordered = PyList_New(count)
        for event in range(events):
            at = places[event].at
            for item in range(1 + (word(words, at) >> 24 & 0xFF)):
                value = last if item == 1 and places[event].stamp < earliest else <object> PyList_GET_ITEM(words, at + item)
                Py_INCREF(value)
                PyList_SET_ITEM(ordered, filled, value)
                filled += 1
        return ordered
    finally:
        free(places)
