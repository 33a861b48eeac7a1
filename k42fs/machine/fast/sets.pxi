# A set of tag words: searched, and put in order of use. Which way has a tag is next to random, so that a loop that ends
# there would cost a branch that the host guesses wrong: all words are compared, and all are moved, those behind the
# way to themselves. Sets have an even number of words; where there are odd ways the last word stays empty.

cdef extern from *:
    """
    #if defined(__SSE2__)
    #include <emmintrin.h>

    /* Return two bits for each word: whether its halves are those of *word*. */
    static inline __attribute__((always_inline))
    uint64_t equal_halves(const uint64_t *set, int words, uint64_t word, uint64_t kept) {
        const __m128i wanted = _mm_set1_epi64x((long long) word), mask = _mm_set1_epi64x((long long) kept);
        uint64_t halves = 0;
        int i;
        for (i = 0; i < words; i += 2) {
            __m128i pair = _mm_and_si128(_mm_load_si128((const __m128i *) (set + i)), mask);
            __m128i equal = _mm_cmpeq_epi32(pair, wanted);
            halves |= (uint64_t) _mm_movemask_ps(_mm_castsi128_ps(equal)) << 2 * i;
        }
        return halves & halves >> 1 & 0x5555555555555555ULL;
    }

    static inline __attribute__((always_inline))
    int way_in_pairs(const uint64_t *set, int words, uint64_t word, uint64_t kept) {
        const uint64_t halves = equal_halves(set, words, word, kept);
        return halves ? __builtin_ctzll(halves) >> 1 : -1;
    }

    static inline __attribute__((always_inline))
    void put_first_in_pairs(uint64_t *set, int words, int way, uint64_t word) {
        const __m128i after = _mm_set1_epi32(way + 1);
        __m128i before = _mm_set1_epi64x((long long) word), number = _mm_set_epi32(1, 1, 0, 0);
        int i;
        for (i = 0; i < words; i += 2) {
            __m128i pair = _mm_load_si128((const __m128i *) (set + i));
            __m128i moved = _mm_castpd_si128(
                _mm_shuffle_pd(_mm_castsi128_pd(before), _mm_castsi128_pd(pair), 1));
            __m128i moves = _mm_cmpgt_epi32(after, number);
            _mm_store_si128((__m128i *) (set + i),
                            _mm_or_si128(_mm_and_si128(moves, moved), _mm_andnot_si128(moves, pair)));
            before = pair;
            number = _mm_add_epi32(number, _mm_set1_epi32(2));
        }
    }
    #define PAIRS_MAX 32
    #else
    #define PAIRS_MAX 0
    #define equal_halves(set, words, word, kept) 0
    #define way_in_pairs(set, words, word, kept) (-1)
    #define put_first_in_pairs(set, words, way, word) ((void) 0)
    #endif

    /* Return the first way of *set* whose bits in *kept* are *word*; -1 if there is none. */
    static inline __attribute__((always_inline))
    int way_of(const uint64_t *set, int ways, uint64_t word, uint64_t kept) {
        int i;
        if (ways == 4 && PAIRS_MAX) return way_in_pairs(set, 4, word, kept);
        if (ways == 8 && PAIRS_MAX) return way_in_pairs(set, 8, word, kept);
        if (ways <= PAIRS_MAX) return way_in_pairs(set, (ways + 1) & ~1, word, kept);
        for (i = 0; i < ways; i++)
            if ((set[i] & kept) == word) return i;
        return -1;
    }

    /* Say whether *word* is there, without a branch if it can be. */
    static inline __attribute__((always_inline))
    int is_there(const uint64_t *set, int ways, uint64_t word, uint64_t kept) {
        if (ways == 4 && PAIRS_MAX) return equal_halves(set, 4, word, kept) != 0;
        return way_of(set, ways, word, kept) >= 0;
    }

    /* Write *word* to the front of *set*, over what is at *way*. */
    static inline __attribute__((always_inline))
    void put_first(uint64_t *set, int ways, int way, uint64_t word) {
        int i;
        if (ways == 4 && PAIRS_MAX) put_first_in_pairs(set, 4, way, word);
        else if (ways == 8 && PAIRS_MAX) put_first_in_pairs(set, 8, way, word);
        else if (ways <= PAIRS_MAX) put_first_in_pairs(set, (ways + 1) & ~1, way, word);
        else {
            for (i = way; i > 0; i--) set[i] = set[i - 1];
            set[0] = word;
        }
    }
    """
    int way_of(const uint64_t *set, int ways, uint64_t word, uint64_t kept) noexcept
    bint is_there(const uint64_t *set, int ways, uint64_t word, uint64_t kept) noexcept
    void put_first(uint64_t *set, int ways, int way, uint64_t word) noexcept


cdef enum:
    STATE_BITS = 3
    STATE_MASK = 7


cdef inline int find_way(uint64_t *ways, int count, uint64_t tag) noexcept:
    """Return where *tag* is in a set; -1 if it is not there.

    Tag 0 looks like an empty word, whose state is 0; empty words are behind all others.
    """
    cdef int way = way_of(ways, count, tag << STATE_BITS, ~<uint64_t> STATE_MASK)
    return way if way >= 0 and ways[way] else -1


cdef inline int state_in(uint64_t *ways, int count, uint64_t tag) noexcept:
    """Return the state of *tag* in a set; INVALID (0) if it is not there."""
    cdef int way = way_of(ways, count, tag << STATE_BITS, ~<uint64_t> STATE_MASK)
    return <int> (ways[way] & STATE_MASK) if way >= 0 else 0


cdef inline uint64_t *place_in(uint64_t *ways, int count, uint64_t tag) noexcept:
    """Return where *tag* is in a set; NULL if it is not there."""
    cdef int way = find_way(ways, count, tag)
    return ways + way if way >= 0 else NULL


cdef inline void put_new(uint64_t *ways, int count, uint64_t tag, int state) noexcept:
    """Put *tag*, which is not there, to the front of a set. If the set is full the last one falls out."""
    cdef int way = count - 1 if ways[count - 1] else way_of(ways, count, 0, ~<uint64_t> 0)
    put_first(ways, count, way, tag << STATE_BITS | <uint64_t> state)


cdef inline void use(uint64_t *ways, int count, uint64_t tag, int state) noexcept:
    """Make *tag* the most recently used of its set, in *state*."""
    cdef int way = find_way(ways, count, tag)
    if way < 0:
        put_new(ways, count, tag, state)
    else:
        put_first(ways, count, way, tag << STATE_BITS | <uint64_t> state)


cdef inline int take_out(uint64_t *ways, int count, uint64_t tag) noexcept:
    """Remove *tag* from a set; return the state it had."""
    cdef uint64_t *place = place_in(ways, count, tag)
    cdef int state
    if place == NULL:
        return 0
    state = <int> (place[0] & STATE_MASK)
    while place + 1 < ways + count and place[1]:
        place[0] = place[1]
        place += 1
    place[0] = 0
    return state
