# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""`decode.Decoder.decode`, record for record the same: see there for what it does. Little-endian hosts only."""

from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.long cimport PyLong_FromUnsignedLongLong
from cpython.ref cimport Py_INCREF
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy


cdef inline uint64_t word(const uint8_t *body, Py_ssize_t at) noexcept:
    cdef uint64_t found
    memcpy(&found, body + 8 * at, 8)
    return found


cdef list payload(const uint8_t *body, Py_ssize_t at, Py_ssize_t after):
    cdef list words = PyList_New(after - at)
    cdef Py_ssize_t index
    cdef object number
    for index in range(after - at):
        number = PyLong_FromUnsignedLongLong(word(body, at + index))
        Py_INCREF(number)
        PyList_SET_ITEM(words, index, number)
    return words


def decode_body(
    bytes body not None,
    const uint32_t[::1] heads,
    const uint8_t[::1] keeps,
    Py_ssize_t minors,
    unusual,
    cpu,
    uint64_t begin,
    uint64_t end,
    uint64_t max_gap,
):
    """Return (records, words read).

    *heads* has the low half of the header of each event of known length, at major * *minors* + minor, or 0;
    *keeps* whether it is wanted. *unusual* decides about the others: True, False, or None for none.
    """
    cdef const uint8_t *raw = body
    cdef Py_ssize_t at = 0, count = len(body) // 8, after, index
    cdef uint64_t time = begin, head, step
    cdef uint32_t low, minor
    cdef bint keep
    cdef list records = []
    while at < count:
        head = word(raw, at)
        low = head & 0xFFFFFFFF
        minor = low & 0x3FFF
        index = (low >> 14 & 0x3F) * minors + minor
        if minor < minors and heads[index] == low and low:
            keep = keeps[index]
        else:
            decided = unusual(low)
            if decided is None:
                return records, at
            keep = decided
        step = ((head >> 32) - time) & 0xFFFFFFFF
        after = at + (low >> 24)
        if step >= max_gap or after > count or (not at and step):
            if step >= max_gap and records and records[len(records) - 1][0] == time:
                records.pop()
            return records, at
        time += step
        if keep:
            records.append((time, cpu, low & 0xFFFFFF, payload(raw, at + 1, after)))
        at = after
    if count and time != end:
        return [], 0
    return records, count
