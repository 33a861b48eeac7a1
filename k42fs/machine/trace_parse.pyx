# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The fast reader of traces: reads every line it is sure of, and stops before the first other one.

The grammar and the reasons are in `reference_trace.py`, which then reads that line; so this file needs no error
messages, and both readers give the same records.
"""

from cpython cimport array

from libc.stdint cimport int64_t, uint16_t

cdef enum:
    DIN = 0
    CS4223 = 1
    TEXT = 2
    WORK = 3
    WORD_BYTES = 4
    SHORTEST_LINE = 4  # bytes of the shortest record, with its newline
    HEX_DIGITS = 15  # so many cannot overflow
    DECIMAL_DIGITS = 18
    CPUS = 1024
    BYTES_MAX = 0xFFFF

cdef int64_t CYCLES_MAX = <int64_t> 1 << 40


cdef inline const unsigned char *skip_blanks(const unsigned char *p, const unsigned char *end) noexcept:
    while p < end and (p[0] == c' ' or p[0] == c'\t' or p[0] == c'\r'):
        p += 1
    return p


cdef inline bint ends_word(const unsigned char *p, const unsigned char *end) noexcept:
    return p == end or p[0] == c' ' or p[0] == c'\t' or p[0] == c'\r' or p[0] == c'\n'


cdef inline const unsigned char *number(
    const unsigned char *p, const unsigned char *end, bint is_hex, int64_t *value
) noexcept:
    """Read a number and the end of its word; NULL if unsure."""
    cdef int64_t read = 0
    cdef int digits = 0, c
    if p + 1 < end and p[0] == c'0' and (p[1] | 32) == c'x':
        p += 2
        is_hex = True
    if is_hex:
        while p < end:
            c = p[0]
            if c'0' <= c <= c'9':
                c -= c'0'
            else:
                c |= 32
                if not c'a' <= c <= c'f':
                    break
                c -= c'a' - 10
            read = read << 4 | c
            digits += 1
            if digits > HEX_DIGITS:
                return NULL
            p += 1
    else:
        while p < end and c'0' <= p[0] <= c'9':
            read = 10 * read + (p[0] - c'0')
            digits += 1
            if digits > DECIMAL_DIGITS:
                return NULL
            p += 1
    if not digits or not ends_word(p, end):
        return NULL
    value[0] = read
    return p


def parse_lines(bytes piece not None, Py_ssize_t at, int form, records):
    """Add the records of *piece* from *at* on to *records* until a line is not plain.

    Return (where that line begins, or the length of *piece*; how many lines were read).
    """
    cdef array.array cpus = records.cpus, codes = records.codes, values = records.values, sizes = records.sizes
    cdef const unsigned char *begin = piece
    cdef const unsigned char *end = begin + len(piece)
    cdef const unsigned char *line = begin + at
    cdef const unsigned char *p
    cdef Py_ssize_t done = len(codes), most = done + (end - line) // SHORTEST_LINE + 1
    cdef Py_ssize_t lines = 0
    cdef int64_t value, cpu, nbytes
    cdef int code
    cdef uint16_t *to_cpu = NULL
    cdef unsigned char *to_code
    cdef long long *to_value
    cdef uint16_t *to_size
    array.resize(codes, most)
    array.resize(values, most)
    array.resize(sizes, most)
    to_code, to_value, to_size = codes.data.as_uchars, values.data.as_longlongs, sizes.data.as_ushorts
    if form == TEXT:
        array.resize(cpus, most)
        to_cpu = cpus.data.as_ushorts
    while line < end:
        p = skip_blanks(line, end)
        if p < end and p[0] != c'\n' and p[0] != c'#':
            cpu = 0
            if form == TEXT:
                p = number(p, end, False, &cpu)
                if p == NULL or cpu >= CPUS:
                    break
                p = skip_blanks(p, end)
                if p == end:
                    break
                code = 0 if p[0] == c'r' else 1 if p[0] == c'w' else 2 if p[0] == c'x' else WORK if p[0] == c'c' else -1
            else:
                code = 0 if p[0] == c'0' else 1 if p[0] == c'1' else WORK if p[0] == c'2' else -1
            if code < 0 or not ends_word(p + 1, end):
                break
            p = number(skip_blanks(p + 1, end), end, form == DIN, &value)
            if p == NULL or (code == WORK and value > CYCLES_MAX and form != DIN):
                break
            nbytes = 0
            if form != DIN:
                p = skip_blanks(p, end)
                if form == TEXT and p < end and p[0] != c'\n' and p[0] != c'#':
                    p = number(p, end, False, &nbytes)
                    if p == NULL or not 0 < nbytes <= BYTES_MAX or code == WORK:
                        break
                    p = skip_blanks(p, end)
                if p < end and p[0] != c'\n' and not (form == TEXT and p[0] == c'#'):
                    break
            if code == WORK:
                value = 1 if form == DIN else value
            elif not nbytes:
                nbytes = WORD_BYTES
                value &= -WORD_BYTES
            if form == TEXT:
                to_cpu[done] = <uint16_t> cpu
            to_code[done] = <unsigned char> code
            to_value[done] = value
            to_size[done] = <uint16_t> nbytes
            done += 1
        while p < end and p[0] != c'\n':
            p += 1
        line = p + 1 if p < end else end
        lines += 1
    array.resize(codes, done)
    array.resize(values, done)
    array.resize(sizes, done)
    if form == TEXT:
        array.resize(cpus, done)
    return line - begin, lines
