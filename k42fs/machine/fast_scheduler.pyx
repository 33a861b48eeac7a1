# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""FastScheduler: the deterministic driver of `scheduler.py`, compiled. Same interface, same order, same event hash.

The rules are written down once more, method by method under the names they have there, which is the oracle. The
heap's entries are C structures, so that an event makes no tuple and no number but the ones that others look at:
the processor's clock and the machine's limit. What is rare, ready queues and interrupts, stays Python's.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.object cimport PyObject

import sys
from array import array
from hashlib import sha256
from heapq import heappop, heappush

from k42fs.machine import contexts, core, scheduler, thread
from k42fs.machine.interrupts import interrupt
from k42fs.machine.lock_base import DeadlockError
from k42fs.machine.processor import Processor
from k42fs.machine.scheduler import Interrupt, is_stalled, put_on, stuck
from k42fs.machine.thread import Thread

include "fast/slots.pxi"

cdef extern from "Python.h":
    int PyIter_Send(object iterator, object value, PyObject **result) except -1  # 0: it has ended, 1: it yielded

cdef extern from *:
    object take "(PyObject *)"(PyObject *owned)  # a new reference, not counted once more

cdef enum:
    RUNNING = 0
    READY = 1
    SPINNING = 2
    BLOCKED = 3
    SLEEPING = 4
    FINISHED = 6
    LOG_EVENTS = 1024
    INTERRUPT = -1  # in place of a processor

assert (thread.RUNNING, thread.READY, thread.SPINNING, thread.BLOCKED, thread.SLEEPING, thread.FINISHED) == (
    RUNNING, READY, SPINNING, BLOCKED, SLEEPING, FINISHED)

cdef int64_t NEVER = core.NEVER
cdef int64_t STALL_CYCLES = scheduler.STALL_CYCLES

cdef Py_ssize_t TH_PROC = slot_offset(Thread.proc), TH_STATE = slot_offset(Thread.state)
cdef Py_ssize_t TH_CORO = slot_offset(Thread.coro), TH_NUMBER = slot_offset(Thread.number)
cdef Py_ssize_t TH_DAEMON = slot_offset(Thread.daemon), TH_HAS_MAIL = slot_offset(Thread.has_mail)
cdef Py_ssize_t TH_GRANTED_AT = slot_offset(Thread.granted_at), TH_WAKE_AT = slot_offset(Thread.wake_at)
cdef Py_ssize_t TH_WAITING_FOR = slot_offset(Thread.waiting_for)
cdef Py_ssize_t PROC_VP = slot_offset(Processor.vp), PROC_CLOCK = slot_offset(Processor.clock)
cdef Py_ssize_t PROC_CURRENT = slot_offset(Processor.current), PROC_READY = slot_offset(Processor.ready)
cdef Py_ssize_t PROC_SWITCHES = slot_offset(Processor.switches)


# What a processor, or an interrupt, is to go on at. `tie` and `serial` settle which of one time comes first.
cdef struct Entry:
    int64_t at
    uint64_t tie
    int64_t serial
    int64_t vp


cdef inline uint64_t tie_break(uint64_t seed, uint64_t vp, uint64_t serial) noexcept:
    """scheduler.tie_break"""
    cdef uint64_t x = (seed * <uint64_t> 0x9E3779B97F4A7C15 + vp * <uint64_t> 0xD1B54A32D192ED03
                       + serial * <uint64_t> 0x8CB92BA72F3D8DD7)
    x = (x ^ x >> 30) * <uint64_t> 0xBF58476D1CE4E5B9
    x = (x ^ x >> 27) * <uint64_t> 0x94D049BB133111EB
    return x ^ x >> 31


cdef inline bint goes_first(Entry *a, Entry *b) noexcept:
    if a.at != b.at:
        return a.at < b.at
    return a.tie < b.tie if a.tie != b.tie else a.serial < b.serial


cdef class FastScheduler:
    """Runs spawned threads in order of virtual time. See `Scheduler`.

    `threads`: those that have not finished. `unfinished` counts them but for daemons, and interrupts on their ways.
    """

    cdef object machine, hash
    cdef list processors
    cdef dict interrupts  # by serial
    cdef Py_ssize_t limit_at  # where the machine's `limit` is
    cdef bint is_traced
    cdef uint64_t seed
    cdef int64_t lookahead, poll_cycles, patience_cycles, serial, progress_at
    cdef Entry *heap
    cdef Py_ssize_t count, capacity, logged
    cdef int64_t *serials  # by processor: which entry counts, older ones are void
    cdef int64_t *posted_at  # when the heap wakes it; -1: not at all
    cdef int64_t log[4 * LOG_EVENTS]
    cdef readonly list threads
    cdef readonly int64_t unfinished

    def __cinit__(self, machine):
        cdef Py_ssize_t vp
        config = machine.config
        self.machine, self.processors, self.interrupts, self.threads = machine, machine.processors, {}, []
        self.limit_at = slot_offset(type(machine).limit)
        self.seed = config.seed & ((1 << 64) - 1)
        self.lookahead = config.lookahead_cycles
        self.poll_cycles, self.patience_cycles = config.poll_cycles_max, config.patience_cycles
        self.hash = sha256()
        for proc in self.processors:
            of_class(proc, Processor)
        self.serials = <int64_t *> calloc(len(self.processors) + 1, sizeof(int64_t))
        self.posted_at = <int64_t *> calloc(len(self.processors) + 1, sizeof(int64_t))
        if self.serials == NULL or self.posted_at == NULL:
            raise MemoryError
        for vp in range(len(self.processors)):
            self.posted_at[vp] = -1
        machine.trace.on_mask.append(self.mask_changed)

    def __dealloc__(self):
        free(self.heap)
        free(self.serials)
        free(self.posted_at)

    def spawn(self, vp, fn, tuple args, daemon, name, pid=0):
        """Make a thread on *vp* that will run ``fn(th, *args)`` from its processor's present time on."""
        th = self.machine.new_thread(vp, name or getattr(fn, "__name__", ""))
        th.daemon = daemon
        th.pid = pid or (contexts.BASE_SERVER if daemon else contexts.BASE_SERVER + th.number)
        if self.is_traced:
            self.machine.trace.made(th, fn)
        th.coro = fn(th, *args)
        self.threads.append(th)
        self.unfinished += not daemon
        self.make_ready(th, th.proc.clock)
        return th

    def run(self):
        """Run until all threads but daemons have finished.

        Raises: DeadlockError: nobody can go on. Whatever a thread raises ends the run.
        """
        cdef Entry entry
        try:
            while self.unfinished:
                if not self.count:
                    raise DeadlockError(f"no thread can go on: {stuck(self.threads)}")
                entry = self.pop()
                if entry.vp == INTERRUPT:
                    self.take_interrupt(entry.at, entry.serial)
                elif entry.serial == self.serials[entry.vp]:
                    self.posted_at[entry.vp] = -1
                    self.dispatch(self.processors[entry.vp], entry.vp, entry.at)
        finally:
            set_int_slot(self.machine, self.limit_at, NEVER)

    def make_ready(self, th, int64_t at):
        """Queue *th* on its processor, to run at time *at* at the earliest."""
        cdef int64_t start, vp
        proc = processor(th)
        vp = self.known(get_int_slot(proc, PROC_VP))
        set_int_slot(th, TH_STATE, READY)
        self.queue(proc, at, th)
        current = <object> get_slot(proc, PROC_CURRENT)
        start = get_int_slot(proc, PROC_CLOCK)
        if current is None:
            start = max(at, start)
        elif is_in(current, SPINNING) and get_int_slot(current, TH_GRANTED_AT) < 0 and blocks(current):
            start = max(at, start + self.poll_cycles)
        else:
            return
        if self.posted_at[vp] < 0 or start < self.posted_at[vp]:
            self.post(vp, start)

    def interrupt(self, proc, int64_t at, handle):
        """Let *proc* do *handle* at time *at*. A run does not end before."""
        self.unfinished += 1
        self.serial += 1
        self.interrupts[self.serial] = Interrupt(proc, handle)
        self.push(at, INTERRUPT, proc.vp, self.serial)

    def granted(self, th):
        """*th* spins and now has what it spins for, since `th.granted_at`."""
        proc = processor(th)
        self.post(get_int_slot(proc, PROC_VP), max(get_int_slot(proc, PROC_CLOCK), get_int_slot(th, TH_GRANTED_AT)))

    def event_hash(self):
        """Return the hash of everything that ran so far, in order."""
        self.flush()
        return self.hash.hexdigest()

    def close(self):
        """End the threads that have not finished, as at the end of a run that failed, or daemons."""
        for th in self.threads:
            if th.state != FINISHED:
                th.state = FINISHED
                th.coro.close()
        self.count = 0
        self.interrupts.clear()
        self.unfinished = 0

    def mask_changed(self, mask):
        """Remember whether anything is recorded."""
        self.is_traced = mask != 0

    cdef int64_t known(self, int64_t vp) except -1:
        """Return *vp*, which others have given, if it is a processor of this machine's."""
        if not 0 <= vp < len(self.processors):
            raise IndexError(f"no processor {vp}: there are {len(self.processors)}")
        return vp

    cdef int post(self, int64_t vp, int64_t at) except -1:
        """Let the heap wake processor *vp* at time *at* instead of whenever it would have."""
        self.known(vp)
        self.serial += 1
        self.serials[vp] = self.serial
        self.posted_at[vp] = at
        return self.push(at, vp, vp, self.serial)

    cdef int push(self, int64_t at, int64_t what, int64_t vp, int64_t serial) except -1:
        cdef Entry made = Entry(at, tie_break(self.seed, vp, serial), serial, what)
        cdef Entry *heap
        cdef Py_ssize_t place = self.count, parent, capacity
        if self.count == self.capacity:
            capacity = max(64, 2 * self.capacity)
            heap = <Entry *> realloc(self.heap, capacity * sizeof(Entry))
            if heap == NULL:
                raise MemoryError
            self.heap, self.capacity = heap, capacity
        heap = self.heap
        self.count += 1
        while place:
            parent = (place - 1) >> 1
            if not goes_first(&made, &heap[parent]):
                break
            heap[place] = heap[parent]
            place = parent
        heap[place] = made
        if at + self.lookahead < get_int_slot(self.machine, self.limit_at):
            set_int_slot(self.machine, self.limit_at, at + self.lookahead)
        return 0

    cdef Entry pop(self) noexcept:
        """Take the first entry off the heap, which is not empty."""
        cdef Entry *heap = self.heap
        cdef Entry first = heap[0], last
        cdef Py_ssize_t place = 0, child
        self.count -= 1
        last = heap[self.count]
        while True:
            child = 2 * place + 1
            if child >= self.count:
                break
            if child + 1 < self.count and goes_first(&heap[child + 1], &heap[child]):
                child += 1
            if not goes_first(&heap[child], &last):
                break
            heap[place] = heap[child]
            place = child
        heap[place] = last
        return first

    cdef int take_interrupt(self, int64_t at, int64_t serial) except -1:
        cdef int64_t vp
        entry = self.interrupts.pop(serial)
        proc = entry.proc
        th = proc.current
        vp = proc.vp
        self.unfinished -= 1
        self.note(serial, vp, at, 0)
        is_spinning = th is not None and th.state == SPINNING
        ahead = interrupt(proc, at, entry.handle, is_spinning)
        if ahead and th is not None and self.posted_at[vp] >= 0:
            self.post(vp, max(get_int_slot(proc, PROC_CLOCK), self.posted_at[vp]))
        return 0

    cdef int dispatch(self, object proc, int64_t vp, int64_t at) except -1:
        cdef int64_t clock
        th = <object> get_slot(proc, PROC_CURRENT)
        if th is None:
            ready_at, _, th = heappop(<object> get_slot(proc, PROC_READY))
            proc.idle_until(max(at, ready_at))
            of_class(th, Thread)
            set_slot(proc, PROC_CURRENT, th)
            set_int_slot(proc, PROC_SWITCHES, get_int_slot(proc, PROC_SWITCHES) + 1)
            if self.is_traced:
                put_on(th)
            if <object> get_slot(th, TH_HAS_MAIL):
                self.machine.take_mail(th)
        elif is_in(th, SPINNING):
            proc.spin_until(at)
            if get_int_slot(th, TH_GRANTED_AT) < 0 and waits(th):  # else it spun until a deadline
                set_int_slot(th, TH_STATE, BLOCKED)
                return self.next_of(proc, vp)
        set_int_slot(th, TH_STATE, RUNNING)
        clock = get_int_slot(proc, PROC_CLOCK)
        if self.count:
            set_int_slot(self.machine, self.limit_at, max(clock, self.heap[0].at + self.lookahead))
        else:
            set_int_slot(self.machine, self.limit_at, NEVER)
        self.note(self.serials[vp], vp, clock, get_int_slot(th, TH_NUMBER))
        if self.is_traced:
            self.machine.trace.poll(proc)
        return self.step(th, proc, vp)

    cdef int step(self, object th, object proc, int64_t vp) except -1:
        cdef PyObject *result = NULL
        cdef int64_t clock, state
        cdef bint has_yielded
        try:
            has_yielded = PyIter_Send(<object> get_slot(th, TH_CORO), None, &result)
        except BaseException as exc:
            th.outcome = (None, exc)
            self.finish(th, proc, vp)
            raise
        value = take(result)
        if not has_yielded:
            th.outcome = (value, None)
            return self.finish(th, proc, vp)
        clock = get_int_slot(proc, PROC_CLOCK)
        if not <object> get_slot(th, TH_DAEMON):
            self.progress_at = clock
        elif clock - self.progress_at > STALL_CYCLES and is_stalled(self.threads):
            raise DeadlockError(f"only daemons run: {stuck(self.threads)}")
        state = get_int_slot(th, TH_STATE)
        if state == RUNNING:
            return self.post(vp, clock)
        if state == SPINNING:
            if blocks(th):
                has_others = bool(<object> get_slot(proc, PROC_READY))
                return self.post(vp, clock + (self.poll_cycles if has_others else self.patience_cycles))
            if get_int_slot(th, TH_WAKE_AT) < NEVER and not waits(th):
                return self.post(vp, max(clock, get_int_slot(th, TH_WAKE_AT)))
            return 0
        if state == SLEEPING:
            self.queue(proc, get_int_slot(th, TH_WAKE_AT), th)
        return self.next_of(proc, vp)

    cdef int queue(self, object proc, int64_t at, object th) except -1:
        """Put *th* into the ready queue of *proc*."""
        self.serial += 1
        heappush(<object> get_slot(proc, PROC_READY), (at, self.serial, th))
        return 0

    cdef int next_of(self, object proc, int64_t vp) except -1:
        """The processor's thread is out of the way: let its next one run, when it is ready."""
        if self.is_traced and proc.current is not None:
            contexts.take_off(proc.current, proc.current.state == FINISHED)
        set_slot(proc, PROC_CURRENT, None)
        ready = <object> get_slot(proc, PROC_READY)
        if ready:
            self.post(vp, max(get_int_slot(proc, PROC_CLOCK), <int64_t> ready[0][0]))
        return 0

    cdef int finish(self, object th, object proc, int64_t vp) except -1:
        th.state = FINISHED
        self.threads.remove(th)
        self.machine.retire(th)
        self.unfinished -= not th.daemon
        return self.next_of(proc, vp)

    cdef int note(self, int64_t serial, int64_t vp, int64_t clock, int64_t number) except -1:
        """Log an event."""
        cdef int64_t *event
        if self.logged == LOG_EVENTS:
            self.flush()
        event = &self.log[4 * self.logged]
        event[0], event[1], event[2], event[3] = serial, vp, clock, number
        self.logged += 1
        return 0

    cdef int flush(self) except -1:
        data = PyBytes_FromStringAndSize(<char *> self.log, 4 * self.logged * sizeof(int64_t))
        self.logged = 0
        if sys.byteorder == "big":
            words = array("q", data)
            words.byteswap()
            data = words.tobytes()
        self.hash.update(data)
        return 0


cdef inline object processor(object th):
    """Return th's processor, both being of the classes whose slots are used."""
    of_class(th, Thread)
    proc = <object> get_slot(th, TH_PROC)
    of_class(proc, Processor)
    return proc


cdef inline int is_in(object th, int64_t state) except -1:
    """Say whether *th*, somebody's current thread, is in that state."""
    of_class(th, Thread)
    return get_int_slot(th, TH_STATE) == state


cdef inline int waits(object th) except -1:
    return <object> get_slot(th, TH_WAITING_FOR) is not None


cdef inline int blocks(object th) except -1:
    """Say whether *th* waits for a lock that takes its waiters off their processors."""
    waiting_for = <object> get_slot(th, TH_WAITING_FOR)
    return waiting_for is not None and waiting_for.blocks
