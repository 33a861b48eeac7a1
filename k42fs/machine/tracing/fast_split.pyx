# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""`split.split_plainly`, body for body the same: see there for what it does. Little-endian hosts only."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.list cimport PyList_GET_ITEM
from cpython.long cimport PyLong_AsUnsignedLongLongMask
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc


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
