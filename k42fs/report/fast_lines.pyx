# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The lines of a listing, byte for byte those of `listing.line_of`; see there for what they say."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM
from cpython.long cimport PyLong_AsUnsignedLongLong
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

cdef enum:
    DECIMAL = 0
    SIGNED = 1
    HEX = 2
    NAMED = 3
    NUMBER_ROOM = 24
    FIELDS_MAX = 32


cdef class Out:
    """Bytes that grow."""

    cdef char *data
    cdef Py_ssize_t used, room

    def __cinit__(self):
        self.room = 1 << 16
        self.data = <char *> PyMem_Malloc(self.room)
        if self.data == NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self.data)

    cdef char *reserve(self, Py_ssize_t count) except NULL:
        """Return where the next *count* bytes go."""
        cdef char *grown
        if self.used + count > self.room:
            while self.used + count > self.room:
                self.room *= 2
            grown = <char *> PyMem_Realloc(self.data, self.room)
            if grown == NULL:
                raise MemoryError
            self.data = grown
        return self.data + self.used

    cdef int add(self, bytes text) except -1:
        cdef Py_ssize_t count = PyBytes_GET_SIZE(text)
        memcpy(self.reserve(count), PyBytes_AS_STRING(text), count)
        self.used += count
        return 0

    cdef int byte(self, char value) except -1:
        self.reserve(1)[0] = value
        self.used += 1
        return 0

    cdef int number(self, uint64_t value, int base, int width, char fill) except -1:
        """Write *value*, at least *width* wide."""
        cdef char digits[NUMBER_ROOM]
        cdef char *to
        cdef int count = 0, digit
        while True:
            digit = value % base
            digits[count] = 48 + digit if digit < 10 else 87 + digit
            count += 1
            value //= base
            if not value:
                break
        to = self.reserve(NUMBER_ROOM + width)
        while width > count:
            to[0] = fill
            to += 1
            width -= 1
            self.used += 1
        self.used += count
        while count:
            count -= 1
            to[0] = digits[count]
            to += 1
        return 0


cdef class Shape:
    """How the line of one kind of event is made: *start* after the processor, then for each field what is before
    it, where it is (*word*, *shift*, *mask*), how it is shown (*kind*), and its values' names, if it has any."""

    cdef bytes start
    cdef list before, names
    cdef int count
    cdef int word[FIELDS_MAX]
    cdef int shift[FIELDS_MAX]
    cdef int kind[FIELDS_MAX]
    cdef uint64_t mask[FIELDS_MAX]

    def __init__(self, bytes start not None, fields):
        self.start = start
        self.before = []
        self.names = []
        self.count = 0
        for before, word, shift, mask, kind, names in fields:
            if self.count == FIELDS_MAX:
                raise ValueError(f"more than {FIELDS_MAX} fields")
            self.before.append(before)
            self.names.append(names)
            self.word[self.count] = word
            self.shift[self.count] = shift
            self.mask[self.count] = mask
            self.kind[self.count] = kind
            self.count += 1


def lines(list records not None, dict shapes not None, uint64_t begin, uint64_t hz, dict on not None):
    """Return the lines of *records*, or None if the shape of one is missing. *hz* is below 2**34."""
    cdef Out out = Out()
    cdef uint64_t ticks, value, mask
    cdef Shape shape
    cdef list words
    cdef int index
    for time, vp, event, words in records:
        shape = shapes.get(event)
        if shape is None:
            return None
        ticks = <uint64_t> time - begin
        out.number(ticks // hz, 10, 4, 32)
        out.byte(46)
        out.number(ticks % hz * 1000000000 // hz, 10, 9, 48)
        out.add(on[vp])
        out.add(shape.start)
        for index in range(shape.count):
            out.add(<bytes> PyList_GET_ITEM(shape.before, index))
            mask = shape.mask[index]
            value = PyLong_AsUnsignedLongLong(<object> PyList_GET_ITEM(words, shape.word[index]))
            value = value >> shape.shift[index] & mask
            if shape.kind[index] == DECIMAL:
                out.number(value, 10, 0, 0)
            elif shape.kind[index] == HEX:
                out.byte(48)
                out.byte(120)
                out.number(value, 16, 0, 0)
            elif shape.kind[index] == SIGNED:
                if value > mask >> 1:
                    out.byte(45)
                    value = mask - value + 1
                out.number(value, 10, 0, 0)
            else:
                out.add(shape.names[index][value])
        out.byte(10)
    return out.data[: out.used].decode("utf-8")
