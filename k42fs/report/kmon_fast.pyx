# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The loops of kmon over every event, column and switch. What they do is said where the same is written in Python."""

from array import array

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef uint16_t UNKNOWN = 0, SKIPPED = 0xFFFF
cdef uint8_t MANY_EVENTS = 2, SEVERAL = 4, OUTSIDE = 8


cdef inline uint64_t word(const uint8_t *body, Py_ssize_t at) noexcept:
    cdef uint64_t found
    memcpy(&found, body + 8 * at, 8)
    return found


def scan_body(
    bytes body not None,
    const uint32_t[::1] heads,
    const uint16_t[::1] kinds,
    const uint8_t[::1] special,
    Py_ssize_t minors,
    unusual,
    Py_ssize_t base,
    uint64_t begin,
    uint64_t end,
    uint64_t max_gap,
):
    """Return (times, kinds, special events, words read) of a packet; see kmon_scan.RowDecoder.

    Special events are (index, id, payload words); the packet's first event has the index *base*.

    *heads*, *kinds*, *special*: by major * *minors* + minor, the low half of the header, the number of the kind, and
    whether the event's payload is wanted. *unusual* gives (kind, special) of another low half, kind SKIPPED for an
    event to pass over, or None for none.
    """
    cdef const uint8_t *raw = body
    cdef Py_ssize_t at = 0, count = len(body) // 8, after, index, events = 0
    cdef uint64_t time = begin, head, step
    cdef uint32_t low, minor
    cdef uint16_t kind
    cdef bint wanted
    times, found = array("Q", bytes(8 * count)), array("H", bytes(2 * count))
    cdef uint64_t[::1] times_at = times
    cdef uint16_t[::1] kinds_at = found
    cdef list specials = []
    while at < count:
        head = word(raw, at)
        low = head & 0xFFFFFFFF
        minor = low & 0x3FFF
        index = (low >> 14 & 0x3F) * minors + minor
        if minor < minors and heads[index] == low and low:
            kind, wanted = kinds[index], special[index]
        else:
            decided = unusual(low)
            if decided is None:
                break
            kind, wanted = decided
        step = ((head >> 32) - time) & 0xFFFFFFFF
        after = at + (low >> 24)
        if step >= max_gap or after > count or (not at and step):
            if step >= max_gap and events and times_at[events - 1] == time:
                events -= 1
                if specials and specials[len(specials) - 1][0] == base + events:
                    specials.pop()
            break
        time += step
        if kind != SKIPPED:
            if wanted:
                specials.append((base + events, low & 0xFFFFFF, [word(raw, place) for place in range(at + 1, after)]))
            times_at[events] = time
            kinds_at[events] = kind
            events += 1
        at = after
    else:
        if count and time != end:
            return array("Q"), array("H"), [], 0
    return times[:events], found[:events], specials, at


def cut(
    const uint64_t[::1] times,
    const unsigned long[::1] switches,
    const uint16_t[::1] switch_entities,
    uint64_t begin,
    uint64_t end,
    uint64_t count,
):
    """Return (entities, states) of the columns of a row; see kmon_rows.columns."""
    entities, states = array("H", bytes(2 * count)), bytearray(count)
    cdef uint16_t[::1] entities_at = entities
    cdef uint8_t[::1] states_at = states
    cdef Py_ssize_t events = len(times), changes = len(switches), at = 0, after, switch = 0, one
    cdef uint64_t index, left, right, whole = (end - begin) // count, rest = (end - begin) % count
    cdef uint16_t current = UNKNOWN, only
    cdef uint8_t state
    while at < events and times[at] < begin:
        at += 1
    while switch < changes and <Py_ssize_t>switches[switch] < at:
        current = switch_entities[switch]
        switch += 1
    left = begin
    for index in range(count):
        # As whole numbers, and without what could overflow: length * (index + 1) / count, rounded up.
        right = begin + whole * (index + 1) + (rest * (index + 1) + count - 1) // count
        after = at
        while after < events and times[after] < right:
            after += 1
        state = <uint8_t>min(after - at, <Py_ssize_t>MANY_EVENTS)
        if state:
            if switch < changes and <Py_ssize_t>switches[switch] < after:
                only = switch_entities[switch]
                if <Py_ssize_t>switches[switch] > at or times[at] > max(left, times[0]):
                    only = current
                while switch < changes and <Py_ssize_t>switches[switch] < after:
                    current = switch_entities[switch]
                    if current != only:
                        state |= SEVERAL
                    switch += 1
        elif not events or right <= times[0] or left > times[events - 1]:
            state = OUTSIDE
        entities_at[index] = current
        states_at[index] = state
        at = after
        left = right
    return entities, states


def ran(
    const uint64_t[::1] times,
    const unsigned long[::1] switches,
    const uint16_t[::1] switch_entities,
    uint64_t begin,
    uint64_t end,
):
    """Return the ticks that each entity ran from *begin* to *end*, by number; see kmon_rows.Row.ticks_by_entity."""
    ticks = array("Q", bytes(8 << 16))
    cdef uint64_t[::1] ticks_at = ticks
    cdef Py_ssize_t index
    cdef uint64_t at = begin, until
    cdef uint16_t entity = UNKNOWN
    for index in range(len(switches)):
        until = min(times[<Py_ssize_t>switches[index]], end)
        if until > at:
            ticks_at[entity] += until - at
            at = until
        entity = switch_entities[index]
    if end > at:
        ticks_at[entity] += end - at
    return {number: found for number, found in enumerate(ticks) if found}
