# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The fast reader of traces: reads every line it is sure of, and stops before the first other one.

The grammar and the reasons are in `reference_trace.py`, which then reads that line; so this file needs no error
messages, and both readers give the same records.
"""

from cpython cimport array

from libc.stdint cimport int64_t, uint16_t, uint64_t
from libc.string cimport memchr

cdef enum:
    DIN = 0
    CS4223 = 1
    TEXT = 2
    WORK = 3
    WORD_BYTES = 4
    SHORTEST_LINE = 4  # bytes of the shortest record, with its newline
    HEX_DIGITS = 15  # so many cannot overflow
    ADDRESS_DIGITS = 16  # nor so many without a sign
    DECIMAL_DIGITS = 18
    CPUS = 1024
    BYTES_MAX = 0xFFFF

cdef int64_t CYCLES_MAX = <int64_t> 1 << 40
cdef int64_t VALUE_MAX = (<uint64_t> 1 << 63) - 1


# What each byte is: a digit's value, or one of these. A piece is followed by a NUL, which is OTHER, so that no
# loop needs to look for the end of the piece.
cdef enum:
    OTHER = 0xFF
    BLANK = 0xFE
    NEWLINE = 0xFD

cdef unsigned char[256] CLASS
# The code that a label or a letter stands for. Tables, for no host can guess which way such a branch goes.
cdef unsigned char[256] LABEL
cdef unsigned char[256] LETTER
# What a record's code leaves out of its value, and its bytes where none are given.
cdef int64_t[4] BELOW_WORD
cdef uint16_t[4] BYTES


cdef void classify() noexcept:
    cdef int i
    for i in range(256):
        CLASS[i] = LABEL[i] = LETTER[i] = OTHER
    for i in range(10):
        CLASS[c'0' + i] = <unsigned char> i
    for i in range(6):
        CLASS[c'a' + i] = CLASS[c'A' + i] = <unsigned char> (10 + i)
    CLASS[c' '] = CLASS[c'\t'] = CLASS[c'\r'] = BLANK
    CLASS[c'\n'] = NEWLINE
    LABEL[c'0'], LABEL[c'1'], LABEL[c'2'] = 0, 1, WORK
    LETTER[c'r'], LETTER[c'w'], LETTER[c'x'], LETTER[c'c'] = 0, 1, 2, WORK
    for i in range(WORK):
        BELOW_WORD[i], BYTES[i] = WORD_BYTES - 1, WORD_BYTES
    BELOW_WORD[WORK] = BYTES[WORK] = 0


classify()


cdef inline const unsigned char *skip_blanks(const unsigned char *p) noexcept:
    while CLASS[p[0]] == BLANK:
        p += 1
    return p


cdef inline bint ends_word(const unsigned char *p, const unsigned char *end) noexcept:
    return CLASS[p[0]] == BLANK or CLASS[p[0]] == NEWLINE or p == end


cdef inline const unsigned char *number(
    const unsigned char *p, const unsigned char *end, bint is_hex, int hex_digits, int64_t *value
) noexcept:
    """Read a number and the end of its word; NULL if unsure."""
    cdef int64_t read = 0
    cdef const unsigned char *first
    cdef unsigned char digit
    if p[0] == c'0' and (p[1] | 32) == c'x':
        p += 2
        is_hex = True
    first = p
    if is_hex:
        while True:
            digit = CLASS[p[0]]
            if digit > 15:
                break
            read = <int64_t> (<uint64_t> read << 4 | digit)
            p += 1
        if p - first > hex_digits:
            return NULL
    else:
        while True:
            digit = CLASS[p[0]]
            if digit > 9:
                break
            # Cannot matter that this overflows: the number is refused for its length.
            read = <int64_t> (10 * <uint64_t> read + digit)
            p += 1
        if p - first > DECIMAL_DIGITS:
            return NULL
    if p == first or not ends_word(p, end):
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
        p = skip_blanks(line)
        if CLASS[p[0]] != NEWLINE and p[0] != c'#' and p < end:
            cpu = 0
            if form == TEXT:
                p = number(p, end, False, HEX_DIGITS, &cpu)
                if p == NULL or cpu >= CPUS:
                    break
                p = skip_blanks(p)
                code = LETTER[p[0]]
            else:
                code = LABEL[p[0]]
            if code == OTHER or not ends_word(p + 1, end):
                break
            p = number(skip_blanks(p + 1), end, form == DIN, ADDRESS_DIGITS, &value)
            if p == NULL or (<uint64_t> value > <uint64_t> CYCLES_MAX and code == WORK and form != DIN):
                break
            value &= VALUE_MAX
            nbytes = 0
            if form != DIN:
                p = skip_blanks(p)
                if form == TEXT and CLASS[p[0]] != NEWLINE and p[0] != c'#' and p < end:
                    p = number(p, end, False, HEX_DIGITS, &nbytes)
                    if p == NULL or not 0 < nbytes <= BYTES_MAX or value > VALUE_MAX - nbytes or code == WORK:
                        break
                    p = skip_blanks(p)
                if CLASS[p[0]] != NEWLINE and p < end and not (form == TEXT and p[0] == c'#'):
                    break
            if not nbytes:
                nbytes = BYTES[code]
                value &= ~BELOW_WORD[code]
            if form == DIN and code == WORK:
                value = 1
            if form == TEXT:
                to_cpu[done] = <uint16_t> cpu
            to_code[done] = <unsigned char> code
            to_value[done] = value
            to_size[done] = <uint16_t> nbytes
            done += 1
        if CLASS[p[0]] != NEWLINE:
            p = <const unsigned char *> memchr(p, c'\n', end - p)
        line = p + 1 if p != NULL else end
        lines += 1
    array.resize(codes, done)
    array.resize(values, done)
    array.resize(sizes, done)
    if form == TEXT:
        array.resize(cpus, done)
    return line - begin, lines
