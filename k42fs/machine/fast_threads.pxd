"""Shapes of what charges in C: event rings, a machine's scripts, awaitables. See `fast_threads.pyx`."""

from libc.stdint cimport int64_t

from k42fs.machine.fast_core cimport Compiled, FastCore, Ref


# An event of a ring. `what` is a reference of the ring's, NULL where nothing was put yet.
cdef struct Event:
    int64_t clock
    void *what
    int64_t detail


# A script as one machine charges it, in place `index` of its table.
cdef struct Charge:
    void *script  # kept alive by Charger.kept; NULL: not charged yet
    Compiled compiled
    int64_t work
    int64_t count


cdef class FastRing:
    cdef Event *events
    cdef Py_ssize_t size, at

    cdef int push(self, int64_t clock, object what, int64_t detail) except -1


cdef class Charger:
    cdef FastCore core
    cdef object machine
    cdef Py_ssize_t limit_at  # where its `limit` is
    cdef int64_t line_bytes
    cdef Charge *charges
    cdef Py_ssize_t capacity
    cdef list kept

    cdef int64_t limit(self) except? -1
    cdef Charge *charge(self, object script) except NULL
    cdef Charge *add(self, object script, Py_ssize_t index) except NULL


cdef class Turn:
    cdef object th, proc
    cdef Charger charger
    cdef Compiled script
    cdef Ref one
    cdef int64_t base, other, work
    cdef int vp, stopped
    cdef bint is_begun


cdef class Pause:
    cdef object th


cdef class Paused:
    cdef object th
    cdef bint is_begun
