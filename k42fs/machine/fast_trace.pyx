# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What is told most often, compiled: locks that are taken without a wait and given up, and who asked for them.

What is recorded is the same, to the word, as with lock_trace.py and line_trace.py alone. A lock's first event and a
wait are told by lock_trace.py itself. `Caller` finds call sites: it knows frames by their code and the place in it, so
that no name of a file is compared twice.
"""

from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF, Py_XINCREF
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from k42fs.machine.fast_core cimport FastCore
from k42fs.machine.tracing.fast_words cimport as_word, clock_of, put_into

include "fast/slots.pxi"

cdef extern from *:
    """
    /* Frames and code as objects. */
    #define FRAME_NOW() ((PyObject *) PyEval_GetFrame())
    #define FRAME_BACK(frame) ((PyObject *) PyFrame_GetBack((PyFrameObject *) (frame)))
    #define FRAME_CODE(frame) ((PyObject *) PyFrame_GetCode((PyFrameObject *) (frame)))
    #define FRAME_AT(frame) PyFrame_GetLasti((PyFrameObject *) (frame))
    """
    PyObject *FRAME_NOW()  # borrowed
    PyObject *FRAME_BACK(PyObject *frame)  # a new reference, or NULL
    PyObject *FRAME_CODE(PyObject *frame)  # a new reference
    int FRAME_AT(PyObject *frame)

cdef enum:
    KNOWN = 1024
    PASSED_BY = -1
    READ = 2
    WRITE = 3

# Known from the first event on: who is never traced does without most of what they are asked of.
cdef uint64_t ACQUIRE = 0, RELEASE = 0
cdef Py_ssize_t TH_PROC, TH_VP, PROC_CLOCK, PROC_EMIT, LOCK_ADDR, LOCK_TRACE, EMIT_OWN, EMIT_CPU
cdef object lock_trace


cdef struct Place:
    PyObject *code  # owned
    int at
    int64_t site  # PASSED_BY if the frame is to be passed by


cdef class Caller:
    """Finds the nearest frame whose file is in none of *passed_by*, as a number that *site_of* gives for it."""

    cdef Place places[KNOWN]
    cdef object passed_by, site_of

    def __init__(self, passed_by, site_of):
        self.passed_by, self.site_of = passed_by, site_of

    def __cinit__(self, *args):
        memset(self.places, 0, sizeof(self.places))

    def __dealloc__(self):
        cdef int i
        for i in range(KNOWN):
            Py_XDECREF(self.places[i].code)

    def site(self):
        """Return the site of the nearest such frame, the caller's own the first that is looked at."""
        return self.nearest(False)

    cdef int64_t nearest(self, bint skips_first) except -2:
        cdef PyObject *frame = FRAME_NOW()
        cdef PyObject *back
        cdef int64_t site
        Py_XINCREF(frame)
        try:
            if skips_first:
                back = FRAME_BACK(frame)
                Py_XDECREF(frame)
                frame = back
            while True:
                site = self.site_at(frame)
                if site != PASSED_BY:
                    return site
                back = FRAME_BACK(frame)
                if back == NULL:  # nobody is left to ask
                    return self.site_of(<object> frame)
                Py_XDECREF(frame)
                frame = back
        finally:
            Py_XDECREF(frame)

    cdef int64_t site_at(self, PyObject *frame) except -2:
        cdef PyObject *code = FRAME_CODE(frame)
        cdef int at = FRAME_AT(frame)
        cdef Place *place = &self.places[(<size_t> code >> 4 ^ <size_t> code >> 14 ^ at) & (KNOWN - 1)]
        if place.code != code or place.at != at:
            try:
                site = PASSED_BY if (<object> code).co_filename in self.passed_by else self.site_of(<object> frame)
            except BaseException:
                Py_XDECREF(code)
                raise
            Py_XDECREF(place.code)
            place.code, place.at, place.site = code, at, site  # the reference stays here
            return site
        Py_XDECREF(code)
        return place.site


cdef class Taken:
    """Who was the last to take something: see lock_trace.py's."""

    cdef public int64_t site, other_site, vp, other_vp

    def __init__(self):
        self.vp = self.other_vp = -1

    cpdef by(self, int64_t vp, int64_t site):
        if vp != self.vp:
            self.other_vp, self.other_site = self.vp, self.site
            self.vp = vp
        self.site = site

    def before(self, int64_t vp):
        is_own = vp == self.vp and self.other_vp != -1
        return (self.other_vp, self.other_site) if is_own else (self.vp, self.site)


cdef class LockTrace:
    """A lock's part in a recording: see lock_trace.py's."""

    cdef public dict readers
    cdef public int64_t since
    cdef public Taken taken, written
    cdef public object tracer
    cdef set named
    cdef Caller caller

    def __init__(self, tracer):
        self.tracer = tracer
        self.named = tracer.named
        self.caller = tracer.numbers.caller(lock_trace.OWN)
        self.taken, self.written = Taken(), Taken()
        self.readers = {}

    @property
    def holder(self):
        for site in self.readers.values():
            return site
        return self.taken.site


def follow(plain):
    """Take lock_trace.py, which has the rest: it imports this module, not the other way round."""
    global lock_trace
    lock_trace = plain


cdef int know_events(object lock) except -1:
    global ACQUIRE, RELEASE, TH_PROC, TH_VP, PROC_CLOCK, PROC_EMIT, LOCK_ADDR, LOCK_TRACE, EMIT_OWN, EMIT_CPU
    from k42fs.machine.processor import Processor
    from k42fs.machine.thread import Thread
    from k42fs.machine.tracing.emitters import Emitters
    from k42fs.machine.tracing.packing import LENGTH_SHIFT
    from k42fs.machine.tracing.schema import load

    assert (lock_trace.READ, lock_trace.WRITE, lock_trace.NO_VP) == (READ, WRITE, -1)
    TH_PROC, TH_VP = slot_offset(Thread.proc), slot_offset(Thread.vp)
    PROC_CLOCK, PROC_EMIT = slot_offset(Processor.clock), slot_offset(Processor.emit)
    LOCK_ADDR, LOCK_TRACE = slot_offset(type(lock).addr), slot_offset(type(lock).trace)
    EMIT_OWN, EMIT_CPU = slot_offset(Emitters.own), slot_offset(Emitters.cpu)
    events = load().by_attribute
    acquire, release = events["lock_acquire"], events["lock_release"]
    for each in (*acquire.fields, *release.fields):
        assert each.type.bits == 64, f"{each.name} shares a word"
    RELEASE = release.words << LENGTH_SHIFT | release.id
    ACQUIRE = acquire.words << LENGTH_SHIFT | acquire.id
    return 0


cdef inline object slot(object o, Py_ssize_t at):
    return <object> get_slot(o, at)


cdef inline LockTrace part_of(object lock, object th):
    """Return *lock*'s part in the recording."""
    cdef LockTrace trace
    if not ACQUIRE:
        know_events(lock)
    part = slot(lock, LOCK_TRACE)
    if type(part) is LockTrace:
        trace = <LockTrace> part
        if slot(lock, LOCK_ADDR) in trace.named:
            return trace
    return lock_trace.named(lock, th)


def granted(lock, th, kind, waited, from_vp, hand_off=0, holder=None, is_blocked=None):
    """Tell that *th* has *lock* now: see lock_trace.py's."""
    cdef LockTrace trace
    cdef Taken taken
    cdef int64_t site, vp
    cdef uint64_t said[6]
    if waited:
        lock_trace.granted_after_wait(lock, th, kind, waited, from_vp, hand_off, holder, is_blocked)
        return
    trace = part_of(lock, th)
    taken = trace.taken
    proc = slot(th, TH_PROC)
    emit = slot(proc, PROC_EMIT)
    site = trace.caller.nearest(True)
    if taken.vp != -1:
        from_vp = taken.vp
    said[0], said[1], said[2] = as_word(slot(lock, LOCK_ADDR)), as_word(kind), site
    said[3], said[4], said[5] = 0, as_word(from_vp), 0
    put_into(slot(emit, EMIT_OWN), ACQUIRE, clock_of(slot(emit, EMIT_CPU)), 6, said)
    trace.since = get_int_slot(proc, PROC_CLOCK)
    vp = get_int_slot(th, TH_VP)
    taken.by(vp, site)
    if kind == READ:
        trace.readers[th] = site
    elif kind == WRITE:
        trace.written.by(vp, site)


def released(lock, th, held):
    """Tell that *th* gave *lock* up: see lock_trace.py's."""
    cdef LockTrace trace = part_of(lock, th)
    cdef uint64_t said[2]
    proc = slot(th, TH_PROC)
    emit = slot(proc, PROC_EMIT)
    if not (trace.readers and trace.readers.pop(th, 0)) and th.level < 2:
        held = proc.clock - trace.since if trace.since else 0
    said[0], said[1] = as_word(slot(lock, LOCK_ADDR)), as_word(held)
    put_into(slot(emit, EMIT_OWN), RELEASE, clock_of(slot(emit, EMIT_CPU)), 2, said)


cdef class FastSitedCore:
    """A core whose records are told from where in the program they come: see line_trace.py's SitedCore."""

    cdef FastCore core
    cdef object place

    def __init__(self, FastCore core not None, place):
        self.core, self.place = core, place

    def access(self, cpu, code, addr, nbytes, now):
        cdef FastCore core = self.core
        cdef int64_t logged = core.model.log.count
        end = core.access(cpu, code, addr, nbytes, now)
        if core.model.log.count > logged:
            self.place(logged)
        return end

    def script(self, cpu, refs, base, other, now, limit, start):
        cdef FastCore core = self.core
        cdef int64_t logged = core.model.log.count
        ended = core.script(cpu, refs, base, other, now, limit, start)
        if core.model.log.count > logged:
            self.place(logged)
        return ended

    def __getattr__(self, name):
        return getattr(self.core, name)

    def __setattr__(self, name, value):
        setattr(self.core, name, value)
