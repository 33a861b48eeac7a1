# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""FastThread and FastCallsThread: `thread.py`'s FullThread and CallsThread with the charges compiled.

They are those classes but for the methods here, which do the same, to the digit, and call the compiled core
without a detour through Python's numbers. A charge that must wait for its turn answers with a `Turn`, which
stops and goes on as the coroutine of the pure one does.

Scripts are counted and kept in C by their index (`Charger`, one per machine), events in rings of C structures
(`FastRing`). Memory: 48 bytes per script, 24 per event of a ring that is used.
"""

cimport cython
from cpython.list cimport PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memset

import warnings

from k42fs.machine.fast_core cimport Compiled, FastCore, Ref

from k42fs.machine import layout, thread
from k42fs.machine.layout import Script
from k42fs.machine.processor import Processor
from k42fs.machine.thread import LTE_BYTES, CallsThread, FullThread, Thread

include "fast/slots.pxi"

cdef enum:
    READ = 0
    WRITE = 1
    RMW = 2
    WORD = 8

cdef int64_t LTE = LTE_BYTES
cdef object DONE = thread.DONE

assert (layout.READ, layout.WRITE, layout.RMW, layout.WORD_BYTES) == (READ, WRITE, RMW, WORD)

cdef Py_ssize_t TH_PROC = slot_offset(Thread.proc)
cdef Py_ssize_t TH_CHARGER = slot_offset(Thread._charger)
cdef Py_ssize_t TH_VP = slot_offset(Thread.vp), TH_HELD = slot_offset(Thread.held)
cdef Py_ssize_t PROC_CLOCK = slot_offset(Processor.clock), PROC_WORK = slot_offset(Processor.work)
cdef Py_ssize_t PROC_CALLS = slot_offset(Processor.calls), PROC_RING = slot_offset(Processor.ring)
cdef Py_ssize_t PROC_LTT = slot_offset(Processor.ltt), PROC_LTT_BASE = slot_offset(Processor.ltt_base)
cdef Py_ssize_t SCRIPT_INDEX = slot_offset(Script.index), SCRIPT_WORK = slot_offset(Script.work)


cdef class FastRing:
    """The last events of one processor: `trace.EventRing`, compiled."""

    def __cinit__(self, Py_ssize_t size):
        if size < 0:
            raise ValueError("a ring of negative size")
        self.size = size

    def __dealloc__(self):
        cdef Py_ssize_t i
        if self.events != NULL:
            for i in range(self.size):
                Py_XDECREF(<PyObject *> self.events[i].what)
            free(self.events)

    cdef int push(self, int64_t clock, object what, int64_t detail) except -1:
        cdef Event *event
        cdef PyObject *old
        if not self.size:
            return 0
        if self.events == NULL:
            self.events = <Event *> calloc(self.size, sizeof(Event))
            if self.events == NULL:
                raise MemoryError
        event = &self.events[self.at]
        old = <PyObject *> event.what
        Py_INCREF(what)
        event.clock, event.what, event.detail = clock, <void *> what, detail
        self.at = self.at + 1 if self.at + 1 < self.size else 0
        Py_XDECREF(old)
        return 0

    def append(self, tuple event not None):
        """Add an event: (clock, what, detail). The oldest makes room."""
        clock, what, detail = event
        self.push(clock, what, detail)

    def last(self, Py_ssize_t count):
        """Return the last *count* events, oldest first."""
        cdef Py_ssize_t i
        cdef Event *event
        events = []
        if self.events != NULL:
            for i in range(self.size):
                event = &self.events[(self.at + i) % self.size]
                if event.what != NULL:
                    events.append((event.clock, <object> event.what, event.detail))
        return events[-count:]


cdef class Charger:
    """What all threads of one machine charge with: its core, its limit, its scripts and their counts."""

    def __cinit__(self, machine):
        self.machine = machine
        self.core = machine.core
        self.limit_at = slot_offset(type(machine).limit)
        self.line_bytes = machine.config.line_bytes
        self.kept = []

    def __dealloc__(self):
        cdef Py_ssize_t i
        for i in range(self.capacity):
            free(self.charges[i].compiled.refs)
        free(self.charges)

    cdef int64_t limit(self) except? -1:
        return get_int_slot(self.machine, self.limit_at)

    cdef Charge *charge(self, object script) except NULL:
        cdef Py_ssize_t index
        of_class(script, Script)
        index = get_int_slot(script, SCRIPT_INDEX)
        if index < self.capacity and self.charges[index].script == <void *> script:
            return &self.charges[index]
        return self.add(script, index)

    cdef Charge *add(self, object script, Py_ssize_t index) except NULL:
        """Translate *script* for the machine's lines."""
        cdef Py_ssize_t capacity = max(2 * self.capacity, index + 1, 64), i
        cdef Charge *charges
        cdef Charge *charge
        cdef Ref *refs
        if index < 0 or (index < self.capacity and self.charges[index].script != NULL):
            raise ValueError(f"{script!r} has the index of another script")
        if index >= self.capacity:
            charges = <Charge *> realloc(self.charges, capacity * sizeof(Charge))
            if charges == NULL:
                raise MemoryError
            memset(&charges[self.capacity], 0, (capacity - self.capacity) * sizeof(Charge))
            self.charges, self.capacity = charges, capacity
        cut = script.for_line(self.line_bytes)
        refs = <Ref *> malloc((len(cut) + 1) * sizeof(Ref))
        if refs == NULL:
            raise MemoryError
        try:
            for i, (code, second, offset, nbytes) in enumerate(cut):
                if not READ <= code <= RMW or offset < 0:
                    raise ValueError(f"{script!r}: no reference: {cut[i]}")
                refs[i] = Ref(code, 1 if second else 0, offset, nbytes)
            work = script.work
            self.kept.append(script)
        except BaseException:
            free(refs)
            raise
        charge = &self.charges[index]
        charge.script, charge.work, charge.count = <void *> script, work, 0
        charge.compiled.refs, charge.compiled.count = refs, len(cut)
        return charge

    def calls(self):
        """Return how often each script was charged since the last reset, for those that were."""
        cdef Py_ssize_t i
        counted = {}
        for i in range(self.capacity):
            if self.charges[i].count:
                counted[<object> self.charges[i].script] = self.charges[i].count
        return counted

    def reset_calls(self):
        """Zero those counts."""
        cdef Py_ssize_t i
        for i in range(self.capacity):
            self.charges[i].count = 0


cdef inline int end(object proc, int64_t now, int64_t work) except -1:
    """Let the clock stand at *now*, and after *work* besides."""
    set_int_slot(proc, PROC_CLOCK, now + work)
    if work:
        set_int_slot(proc, PROC_WORK, get_int_slot(proc, PROC_WORK) + work)
    return 0


@cython.freelist(256)
cdef class Turn:
    """A script that came to a visible reference ahead of its turn: awaited, it lets others go first, then does the
    rest. FullThread._go_on, but no coroutine."""

    def __cinit__(self):
        self.stopped = -1

    def __dealloc__(self):
        if not self.is_begun and self.stopped >= 0:
            warnings.warn("a charge that must wait for its turn was never awaited", RuntimeWarning, stacklevel=2)

    def __await__(self):
        if self.is_begun:
            raise RuntimeError("a charge is awaited twice")
        return self

    def __iter__(self):
        return self

    def __next__(self):
        cdef int64_t now, logged
        if not self.is_begun:
            self.is_begun = True
            return self.th
        if self.stopped >= 0:
            logged = self.charger.core.model.log.count
            now = self.charger.core.c_script(
                self.vp, &self.script, self.base, self.other, get_int_slot(self.proc, PROC_CLOCK),
                self.charger.limit(), self.stopped, &self.stopped
            )
            if self.charger.core.model.log.count > logged:
                self.charger.machine.lines.place(logged)
            if self.stopped >= 0:
                set_int_slot(self.proc, PROC_CLOCK, now)
                return self.th
            end(self.proc, now, self.work)
        raise StopIteration


cdef class Pause:
    """Gives the thread to its driver once, and returns what that sends. thread._Pause."""

    def __cinit__(self, th):
        self.th = th

    def __await__(self):
        cdef Paused paused = Paused.__new__(Paused)
        paused.th = self.th
        return paused


@cython.freelist(64)
cdef class Paused:
    """One such wait."""

    def __iter__(self):
        return self

    def __next__(self):
        if not self.is_begun:
            self.is_begun = True
            return self.th
        raise StopIteration

    def send(self, value):
        """Go on with *value*, which is then what the wait returns."""
        if not self.is_begun:
            raise TypeError("the wait has not begun")
        raise StopIteration(value)


cdef inline object processor(object th):
    """Return the processor of *th*, which has been found to be a Thread."""
    proc = <object> get_slot(th, TH_PROC)
    of_class(proc, Processor)
    return proc


cdef inline Charger charger_of(object th):
    of_class(th, Thread)
    return <Charger?> <object> get_slot(th, TH_CHARGER)


cdef inline int note(object proc, int64_t now, Charge *charge, object script, int64_t base) except -1:
    """Count a call, and put it into the processor's ring."""
    ring = <object> get_slot(proc, PROC_RING)
    (<FastRing?> ring).push(now, script, base)
    charge.count += 1
    return set_int_slot(proc, PROC_CALLS, get_int_slot(proc, PROC_CALLS) + 1)


cdef object begin(object th, object proc, Charger charger, Compiled script, int64_t base, int64_t other, int64_t now,
                  int64_t work):
    """Do a script from its start; return DONE, or what awaits the rest."""
    cdef int vp = <int> get_int_slot(th, TH_VP)
    cdef int stopped
    cdef Turn turn
    cdef int64_t logged = charger.core.model.log.count
    now = charger.core.c_script(vp, &script, base, other, now, charger.limit(), 0, &stopped)
    if charger.core.model.log.count > logged:
        charger.machine.lines.place(logged)
    if stopped < 0:
        end(proc, now, work)
        return DONE
    set_int_slot(proc, PROC_CLOCK, now)
    turn = Turn.__new__(Turn)
    turn.th, turn.proc, turn.charger, turn.vp = th, proc, charger, vp
    turn.script, turn.base, turn.other, turn.work, turn.stopped = script, base, other, work, stopped
    if script.count == 1:  # it may be of the caller's stack: see `within_line`
        turn.one = script.refs[0]
        turn.script.refs = &turn.one
    return turn


cdef object within_line(object th, int code, int64_t addr, int64_t nbytes):
    """Do one reference, or as many as the lines of the range; return DONE, or what awaits the rest."""
    cdef Charger charger = charger_of(th)
    cdef int64_t line = charger.line_bytes
    cdef Compiled script
    cdef Ref ref
    proc = processor(th)
    if (addr & (line - 1)) + nbytes > line:
        return FullThread._range(th, code, addr, nbytes)
    ref = Ref(code, 0, 0, nbytes)
    script.key, script.refs, script.count = NULL, &ref, 1
    return begin(th, proc, charger, script, addr, 0, get_int_slot(proc, PROC_CLOCK), 0)


class FastThread(FullThread):
    """FullThread, compiled."""

    __slots__ = ()

    def __init__(self, machine, vp, number, name=""):
        super().__init__(machine, vp, number, name)
        self._charger = machine.charger
        self.pause = Pause(self)

    def touch(self, script, int64_t base, int64_t other=0):
        cdef Charger charger = charger_of(self)
        cdef Charge *charge
        cdef int64_t now
        proc = processor(self)
        charge = charger.charge(script)
        now = get_int_slot(proc, PROC_CLOCK)
        note(proc, now, charge, script, base)
        return begin(self, proc, charger, charge.compiled, base, other, now, charge.work)

    def load(self, int64_t addr, int64_t nbytes=WORD):
        return within_line(self, READ, addr, nbytes)

    def store(self, int64_t addr, int64_t nbytes=WORD):
        return within_line(self, WRITE, addr, nbytes)

    def rmw(self, int64_t addr):
        return within_line(self, RMW, addr, WORD)

    def deref(self, ref):
        cdef Charger charger = charger_of(self)
        cdef int64_t addr, now, logged
        proc = processor(self)
        held = <object> get_slot(self, TH_HELD)
        if PyList_GET_SIZE(held):
            self._check_calls_out(ref)
        addr = get_int_slot(proc, PROC_LTT_BASE) + LTE * <int64_t> ref
        if addr < 0:
            raise ValueError(f"no ref: {ref}")
        logged = charger.core.model.log.count
        # No turn is waited for, as this is no await: only this processor ever uses its table.
        now = charger.core.c_access(<int> get_int_slot(self, TH_VP), READ, addr, WORD, get_int_slot(proc, PROC_CLOCK))
        if charger.core.model.log.count > logged:
            charger.machine.lines.place(logged)
        set_int_slot(proc, PROC_CLOCK, now)
        return (<object> get_slot(proc, PROC_LTT))[ref]


class FastCallsThread(CallsThread):
    """CallsThread, compiled."""

    __slots__ = ()

    def __init__(self, machine, vp, number, name=""):
        super().__init__(machine, vp, number, name)
        self._charger = machine.charger
        self.pause = Pause(self)

    def touch(self, script, int64_t base, int64_t other=0):
        cdef Charge *charge = charger_of(self).charge(script)
        cdef int64_t now
        proc = processor(self)
        now = get_int_slot(proc, PROC_CLOCK)
        note(proc, now, charge, script, base)
        end(proc, now, charge.work)
        return DONE
