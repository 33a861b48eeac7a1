# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Events as words in C, from the emitter to the body of a packet.

`Words` is what words.py has in Python: the same bodies, byte for byte. An event is put there at once, with its header
without the stamp first, then the whole stamp, then the payload; a word is cut to 64 bits there and then. `Emit` is an
emitter: what the source text in emitters.py makes, without a tuple and numbers to throw away. Little-endian hosts only.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.long cimport PyLong_AsUnsignedLongLongMask
from cpython.object cimport PyObject, PyTypeObject
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memchr, memcpy, memmove, memset

import cython
from types import MethodType

from k42fs.machine.tracing import packets
from k42fs.machine.tracing.split import Body

include "../fast/slots.pxi"

cdef extern from *:
    """
    /* Let calls of *type*'s objects go to the function that lies *offset* bytes into them; found in a class, such an
       object is a method, and gets the instance as its first argument. */
    static void make_methods(PyTypeObject *type, Py_ssize_t offset) {
        type->tp_vectorcall_offset = offset;
        type->tp_call = PyVectorcall_Call;
        type->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR;
        PyType_Modified(type);
    }
    #define IS_SLOT(descr) PyObject_TypeCheck(descr, &PyMemberDescr_Type)
    """
    void make_methods(PyTypeObject *type, Py_ssize_t offset)
    bint IS_SLOT(object descr)
    Py_ssize_t PyVectorcall_NARGS(size_t nargsf)
    PyTypeObject *Py_TYPE(object o)

cdef enum:
    LENGTH_SHIFT = 24
    LENGTH_MASK = 0xFF
    FIELDS = 16
    NO_TAIL = 0
    TEXT = 1
    LIST = 2

cdef Py_ssize_t ROOM_WORDS = packets.ROOM_WORDS
cdef uint64_t MAX_GAP = packets.MAX_GAP


cdef struct Place:
    uint64_t stamp
    Py_ssize_t at  # of the event's first item


cdef uint64_t as_word(object number) except? 0xFFFFFFFFFFFFFFFF:
    return PyLong_AsUnsignedLongLongMask(number)


cdef object clock_class = None
cdef Py_ssize_t clock_at = 0


cdef uint64_t clock_of(object cpu) except? 0xFFFFFFFFFFFFFFFF:
    global clock_class, clock_at
    if type(cpu) is clock_class:
        return as_word(<object> get_slot(cpu, clock_at))
    described = getattr(type(cpu), "clock", None)
    if clock_class is None and IS_SLOT(described):  # of a machine's processors, all of one class
        clock_at = slot_offset(described)
        clock_class = type(cpu)
    return as_word(cpu.clock)


@cython.final
cdef class Words:
    """The words of events that are in no packet yet. Another host thread may add some at any time."""

    def __dealloc__(self):
        free(self.items)

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        cdef Py_ssize_t at
        if isinstance(index, slice):
            return [self.items[at] for at in range(*index.indices(self.count))]
        at = index
        if at < 0:
            at += self.count
        if not 0 <= at < self.count:
            raise IndexError(index)
        return self.items[at]

    def clear(self):
        """Forget all events."""
        self.count = 0

    def extend(self, items):
        """Add events in whole, each item cut to 64 bits."""
        cdef tuple words = tuple(items)
        cdef Py_ssize_t count = len(words), at
        cdef uint64_t *cut = <uint64_t *> malloc(max(count, 1) * sizeof(uint64_t))
        if cut == NULL:
            raise MemoryError
        try:
            for at in range(count):
                cut[at] = as_word(words[at])
            memcpy(self.more(count), cut, count * sizeof(uint64_t))
        finally:
            free(cut)

    def take(self):
        """Return all items, and forget them."""
        taken = self[:]
        self.count = 0
        return taken

    def events(self):
        """Return how many events there are."""
        cdef Py_ssize_t at = 0, found = 0
        while at < self.count:
            at += 1 + (self.items[at] >> LENGTH_SHIFT & LENGTH_MASK)
            found += 1
        return found

    def cut(self, uint64_t last, bint everything):
        """Take out what fills packets, and with *everything* also what does not fill one: see words.py's."""
        cdef Py_ssize_t start = self.count
        bodies = self.split(last)
        if bodies is None:
            self.sort(last)
            bodies = self.split(last)
        if bodies and not everything:
            start = bodies.pop().start
        memmove(self.items, self.items + start, (self.count - start) * sizeof(uint64_t))
        self.count -= start
        return bodies

    cdef int put(self, uint64_t head, uint64_t stamp, Py_ssize_t n, const uint64_t *payload) except -1:
        cdef uint64_t *items = self.more(n + 2)
        items[0], items[1] = head, stamp
        memcpy(items + 2, payload, n * sizeof(uint64_t))
        return 0

    cdef uint64_t *more(self, Py_ssize_t n) except NULL:
        """Return where *n* more items go; they are counted already."""
        cdef Py_ssize_t room = self.room
        cdef uint64_t *items
        if self.count + n > room or self.items == NULL:
            while self.count + n > room or not room:
                room = 2 * room if room else 1024
            items = <uint64_t *> realloc(self.items, room * sizeof(uint64_t))
            if items == NULL:
                raise MemoryError
            self.items, self.room = items, room
        self.count += n
        return self.items + self.count - n

    cdef list split(self, uint64_t last):
        """Return what is there in bodies, or None if a stamp steps back."""
        cdef Py_ssize_t at = 0, start = 0, filled = 0, events = 0, length
        cdef uint64_t head = 0, before, stamp, begin = last
        cdef const uint64_t *items = self.items
        cdef uint64_t *out = <uint64_t *> malloc(ROOM_WORDS * sizeof(uint64_t))
        if out == NULL:
            raise MemoryError
        bodies = []
        try:
            while at < self.count:
                before = head
                head, stamp = items[at], items[at + 1] if at + 1 < self.count else 0
                length = head >> LENGTH_SHIFT & LENGTH_MASK
                if not length or at + length >= self.count:
                    raise ValueError(f"no whole event at item {at} of {self.count}")
                if stamp < last:
                    return None
                if events and (length > ROOM_WORDS - filled or stamp - last >= MAX_GAP):
                    data = PyBytes_FromStringAndSize(<char *> out, filled * 8)
                    bodies.append(Body(start, data, begin, last, events, before & 0xFFFFFF))
                    start, filled, events = at, 0, 0
                if not events:
                    begin = stamp
                out[filled] = stamp << 32 | head
                memcpy(out + filled + 1, items + at + 2, (length - 1) * sizeof(uint64_t))
                filled += length
                events += 1
                last = stamp
                at += 1 + length
            if events:
                data = PyBytes_FromStringAndSize(<char *> out, filled * 8)
                bodies.append(Body(start, data, begin, last, events, head & 0xFFFFFF))
            return bodies
        finally:
            free(out)

    cdef int sort(self, uint64_t last) except -1:
        """Sort the events by stamp, stably; stamps before *last* become *last*."""
        cdef Py_ssize_t at = 0, events = 0, event, length, filled = 0
        cdef Place *places = <Place *> malloc((self.count // 2 + 1) * 2 * sizeof(Place))
        cdef uint64_t *ordered = <uint64_t *> malloc(max(self.count, 1) * sizeof(uint64_t))
        cdef Place *sorted_places
        try:
            if places == NULL or ordered == NULL:
                raise MemoryError
            while at < self.count:
                length = self.items[at] >> LENGTH_SHIFT & LENGTH_MASK
                if not length or at + length >= self.count:
                    raise ValueError(f"no whole event at item {at} of {self.count}")
                places[events] = Place(self.items[at + 1], at)
                events += 1
                at += 1 + length
            sorted_places = merged(places, places + self.count // 2 + 1, events)
            for event in range(events):
                at = sorted_places[event].at
                length = 1 + (self.items[at] >> LENGTH_SHIFT & LENGTH_MASK)
                memcpy(ordered + filled, self.items + at, length * sizeof(uint64_t))
                if sorted_places[event].stamp < last:
                    ordered[filled + 1] = last
                filled += length
            memcpy(self.items, ordered, self.count * sizeof(uint64_t))
        finally:
            free(places)
            free(ordered)
        return 0


cdef int put_into(object words, uint64_t head, uint64_t stamp, Py_ssize_t n, const uint64_t *payload) except -1:
    cdef Py_ssize_t at
    if type(words) is Words:
        return (<Words> words).put(head, stamp, n, payload)
    words.extend([head, stamp, *[payload[at] for at in range(n)]])
    return 0


cdef Place *merged(Place *places, Place *other, Py_ssize_t count) noexcept nogil:
    """Sort *places*, with *other* for scratch, and return whichever of them is sorted: stably, in runs as they lie."""
    cdef Py_ssize_t start, middle, end, left, right, to
    while True:
        start = run_end(places, 0, count)
        if start == count:
            return places
        start = 0
        while start < count:
            middle = run_end(places, start, count)
            end = run_end(places, middle, count)
            left, right = start, middle
            for to in range(start, end):
                if right == end or (left < middle and places[left].stamp <= places[right].stamp):
                    other[to] = places[left]
                    left += 1
                else:
                    other[to] = places[right]
                    right += 1
            start = end
        places, other = other, places


cdef Py_ssize_t run_end(const Place *places, Py_ssize_t start, Py_ssize_t count) noexcept nogil:
    """Return where the run that begins at *start* ends."""
    if start < count:
        start += 1
    while start < count and places[start].stamp >= places[start - 1].stamp:
        start += 1
    return start


cdef struct Cut:
    int word  # of the payload
    int shift
    uint64_t mask


ctypedef object (*Call)(Emit self, PyObject **args, size_t nargsf, PyObject *names)

cdef Py_ssize_t EMIT_OWN = 0, EMIT_NAMES = 0, EMIT_CPU = 0
cdef object Emitters = None


def know_emitters(kind):
    """Take the class whose instances' slots tell where events go."""
    global Emitters, EMIT_OWN, EMIT_NAMES, EMIT_CPU
    EMIT_OWN, EMIT_NAMES, EMIT_CPU = slot_offset(kind.own), slot_offset(kind.names), slot_offset(kind.cpu)
    Emitters = kind


@cython.final
cdef class Emit:
    """The emitter of one event: a method of `Emitters`; or, given *words*, a function that takes the stamp first."""

    cdef Call call
    cdef uint64_t head
    cdef int fields, words, tail, room
    cdef bint is_whole, is_name
    cdef Cut cuts[FIELDS]
    cdef Words to
    cdef str name

    def __init__(self, str name, uint64_t number, cuts, int words, int tail, int room, bint is_name, Words to=None):
        """*cuts*: (word, shift, mask) of each field that has a place; *words* of payload before a *tail*, if any."""
        cdef int at
        assert Emitters is not None and len(cuts) <= FIELDS and words <= FIELDS, name
        self.name, self.head, self.fields, self.words = name, number, len(cuts), words
        self.tail, self.room, self.is_name, self.to = tail, room, is_name, to
        self.is_whole = len(cuts) == words
        for at, (word, shift, mask) in enumerate(cuts):
            self.cuts[at] = Cut(word, shift, mask)
        self.call = emitted

    def __get__(self, instance, owner):
        return self if instance is None else MethodType(self, instance)

    def __repr__(self):
        return f"<emitter {self.name}>"


cdef object emitted(Emit self, PyObject **args, size_t nargsf, PyObject *names):
    """Put the event of the values in *args*, after the emitters of a processor or a stamp, where it goes."""
    cdef uint64_t out[FIELDS + LENGTH_MASK]
    cdef Cut *cut
    cdef uint64_t stamp
    cdef Words to = self.to
    cdef int at, count = self.words, wanted = 1 + self.fields + (self.tail != NO_TAIL)
    if names != NULL or PyVectorcall_NARGS(nargsf) != wanted:
        raise TypeError(f"{self.name} takes {wanted - 1} values by position")
    if self.is_whole:
        for at in range(self.fields):
            out[at] = as_word(<object> args[at + 1])
    else:
        memset(out, 0, count * sizeof(uint64_t))
        for at in range(self.fields):
            cut = &self.cuts[at]
            out[cut.word] |= (as_word(<object> args[at + 1]) & cut.mask) << cut.shift
    if self.tail == TEXT:
        count += text_into(out + count, <object> args[wanted - 1], self.room)
    elif self.tail == LIST:
        for word in (<object> args[wanted - 1])[:self.room]:
            out[count] = as_word(word)
            count += 1
    if to is not None:
        stamp = as_word(<object> args[0])
    else:
        of_class(<object> args[0], Emitters)
        to = <Words?> <object> get_slot(<object> args[0], EMIT_NAMES if self.is_name else EMIT_OWN)
        stamp = clock_of(<object> get_slot(<object> args[0], EMIT_CPU))
    to.put(self.head | <uint64_t> (count + 1) << LENGTH_SHIFT, stamp, count, out)
    return None


cdef Py_ssize_t offset_of_call(Emit one) noexcept:
    return <char *> &one.call - <char *> <PyObject *> one


make_methods(<PyTypeObject *> Emit, offset_of_call(Emit.__new__(Emit)))


cdef int text_into(uint64_t *out, object text, int room) except -1:
    """Put inline text into at most *room* words; return how many. See packing.text_words."""
    cdef bytes raw = (<str> text).encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    cdef Py_ssize_t size = PyBytes_GET_SIZE(raw), limit = room * 8 - 1
    if memchr(PyBytes_AS_STRING(raw), 0, size) != NULL:
        raw = raw.replace(b"\0", b"\\0")
    if PyBytes_GET_SIZE(raw) > limit:
        raw = raw[: limit - 3] + b"..."
    size = PyBytes_GET_SIZE(raw)
    out[size // 8] = 0
    memcpy(out, PyBytes_AS_STRING(raw), size)
    return size // 8 + 1
