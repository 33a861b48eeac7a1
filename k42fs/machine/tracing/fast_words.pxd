"""The words of events as C keeps them, for what else is compiled and emits. See fast_words.pyx."""

from libc.stdint cimport uint64_t


cdef class Words:
    cdef uint64_t *items
    cdef Py_ssize_t count, room

    # Add an event of *n* words of payload. No Python code runs, so nobody comes in between.
    cdef int put(self, uint64_t head, uint64_t stamp, Py_ssize_t n, const uint64_t *payload) except -1
    cdef uint64_t *more(self, Py_ssize_t n) except NULL
    cdef list split(self, uint64_t last)
    cdef int sort(self, uint64_t last) except -1


# The low 64 bits of a number, as a word of an event has them.
cdef uint64_t as_word(object number) except? 0xFFFFFFFFFFFFFFFF

# Add an event to *words*, compiled or not.
cdef int put_into(object words, uint64_t head, uint64_t stamp, Py_ssize_t n, const uint64_t *payload) except -1

# What *cpu*, a processor or who stands for one, has for a clock.
cdef uint64_t clock_of(object cpu) except? 0xFFFFFFFFFFFFFFFF
