"""Shapes of the compiled core's data. The rules are in `fast/`, the interface in `fast_core.pyx`.

A word of a tag array is tag << 3 | state, 0 where nothing is; the words of a set are packed at its front, most
recently used first. Times are cycles, in 64 bits.
"""

from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memmove, memset


cdef extern from *:
    """
    #define GOLDEN 0x9E3779B97F4A7C15ULL
    /* Have the host fetch what is at *p*. The empty asm keeps GCC from taking a function for one that does nothing. */
    #define prefetch(p) (__extension__({ __builtin_prefetch(p); __asm__ __volatile__(""); }))
    """
    const uint64_t GOLDEN  # 2^64 by the golden ratio: multiplied by it, neighbours hash far apart
    int __builtin_ctzll(uint64_t) noexcept
    int __builtin_ffsll(uint64_t) noexcept
    int __builtin_popcountll(uint64_t) noexcept
    void prefetch(const void *) noexcept


cdef enum:
    DISTANCES = 16


# Memory that is freed as a whole: see fast/arena.pxi. What is free of the last piece is from `at` to `end`.
cdef struct Piece:
    void *start
    size_t size


cdef struct Arena:
    char *at
    char *end
    Piece *pieces
    int count
    bint is_huge


cdef struct Span:
    int64_t start, end


# history.Reservations. The intervals are spans[head : head + count], a window that slides through an array twice
# as long as it may get, so that an append at the end and a forgotten head cost nothing. `place` is near where the last
# search ended, where an interval will be put if one is.
cdef struct Queue:
    Span *spans
    int32_t head, count, capacity, size, place
    int64_t floor, late


# history.SecondStage: a link or a data bus. `key` names a link by its ends, + 1.
cdef struct Stage:
    int64_t key
    Queue queue
    int64_t latest, slips


# A set of processors. Up to 4 are kept as ascending 16-bit ids in `packed`; more set a bit each in `wide`.
cdef struct CpuSet:
    uint64_t packed
    uint64_t *wide
    int32_t count


cdef struct Pair:
    int32_t key
    int64_t value


# directory.Sharing: what is known of a line that has been in two caches or more. One allocation, with the words'
# epochs and the movers' bits behind it. `lost` turns into `lost_by_cpu` and `offsets` into `by_offset`, indexed
# directly, when they get long.
cdef struct Sharing:
    Queue history
    CpuSet sharers, gone
    int64_t epoch, transfers, told
    int64_t *words
    uint64_t *movers
    Pair *lost
    int64_t *lost_by_cpu
    int32_t lost_count, lost_capacity
    Pair *offsets
    int64_t *by_offset
    int32_t offset_count, offset_capacity


# directory.LineState in 32 bytes. `serial` (48 bits in two parts) is the order in which entries were made, `flags`
# say who has the line: see fast/lines.pxi. A line of one cache keeps the last transaction's time, one that was in
# several has a sharing record for that.
cdef struct Entry:
    int64_t line
    int64_t began
    int64_t free_at
    uint32_t serial_low
    uint16_t serial_high
    uint16_t flags


# Which lines made room for others: open addressing, 64 lines per item, key 0 where nothing is.
cdef struct EvictedItem:
    int64_t key
    uint64_t bits


cdef struct Evicted:
    EvictedItem *items
    int64_t capacity, count


# One processor's caches. `l1` and `l2` are NULL until it is first used. What every reference needs comes first: it is
# one line of the host, for the structure is 4 of them long.
cdef struct Cache:
    uint64_t *l1
    uint64_t *l2
    int64_t clock  # only while arrays are run
    int64_t cycles, l1_hits
    int64_t counts[3]
    Evicted evicted
    int64_t l2_hits, l3_hits
    int64_t misses[5]
    int64_t stall[4]
    int64_t from_memory, from_cache, invalidations, extra_invalidations, write_backs, nbytes, queued
    int64_t node, unused, unused_too


# All lines that are known of. `index` finds a line's entry by hashing; entries lie in blocks of ENTRIES, so that they
# never move. See fast/lines.pxi.
cdef struct Lines:
    uint32_t *index
    Arena *arena
    int64_t slots, count
    int shift
    Entry **blocks
    int64_t block_count, blocks_allocated
    uint32_t free_first, used
    uint64_t serial


# A reference of a script, and a script kept under the address of its tuple.
cdef struct Ref:
    int32_t code
    int32_t second
    int64_t offset
    int64_t nbytes


cdef struct Compiled:
    void *key
    Ref *refs
    int64_t count


cdef struct Scripts:
    Compiled *table
    int64_t capacity, count


# One row of protocol.Protocol.processor, .snoop, .home; `is_possible` where there is a row.
cdef struct Step:
    int is_possible, request, alone, shared


cdef struct Snoop:
    int is_possible, next, supplies, writes_memory


cdef struct Home:
    int is_possible, asks_owner, asks_sharers


# interconnect.Plan; its targets are the bits of Model.targets.
cdef struct Plan:
    int supply, third, writes_memory, extra, pipelined, targets
    int64_t nbytes


# miss_log.MissLog: records of ITEMS numbers, `count` of them. `room` is 0 where nothing is logged; `capacity` is what
# was allocated.
cdef struct Log:
    int64_t *items
    int64_t room, count, capacity, dropped


# A machine: its shape and costs, then its state. `core` is the FastCore it belongs to, not counted as a reference.
cdef struct Model:
    void *core
    int processors, nodes_per, nodes, topology, group, homes_by, is_bus, has_links, leaves_ghosts
    int line_shift, l1_shift, home_shift, per_line_shift, l1_ways, l2_ways, l1_words, l2_words, words, history, map_words
    int l3_ways, l3_words, l3_share, l3_count
    int sharer_format, sharer_group, sharer_pointers
    int64_t line_mask, line_bytes, l3_sets, tag_bytes
    uint64_t l1_mask, l2_mask
    int64_t hit_cycles[3]  # in L1, by code
    int64_t l1_cycles, l2_cycles, l3_cycles, atomic_cycles, busy, busy_with_memory, issue
    int64_t local_cycles, remote_cycles, dirty_cycles, upgrade_cycles, hop_cycles, link_cycles, address, data, slack
    int64_t memory_by[DISTANCES]
    int64_t dirty_by[DISTANCES]
    int64_t upgrade_by[DISTANCES]
    int has_memory_by, has_dirty_by, has_upgrade_by
    Step steps[5][2]
    Snoop snoops[5][3]
    Home rows[4][3]
    int evict_writes  # a bit per state
    Cache *caches
    Arena arena  # caches, tags, entries
    Arena l1_arena  # apart, for these are what is looked at most
    uint64_t **l3s  # NULL where none of its processors was used yet
    Queue *homes
    Queue abus
    Stage dbus
    Stage **links  # open addressing
    int64_t link_slots, link_count
    uint64_t *targets
    Lines lines
    int64_t woken_at, transactions, check_every
    Log log


cdef class FastCore:
    cdef Model model
    cdef Scripts scripts
    cdef list kept  # the tuples whose addresses `scripts` knows
    cdef public set watched
    cdef public object on_taken
    cdef public int64_t site  # in the program, for the log

    cdef Cache *cache(self, int cpu) except NULL
    cdef int64_t c_access(self, int cpu, int code, int64_t addr, int64_t nbytes, int64_t now) except -1
    cdef Compiled *compile(self, tuple refs) except NULL
    cdef int run_arrays(self, const uint16_t[::1] cpus, const unsigned char[::1] codes, const int64_t[::1] addrs,
                        const uint16_t[::1] sizes, list clocks) except -1
    cdef int64_t c_script(self, int cpu, Compiled *script, int64_t base, int64_t other, int64_t now, int64_t limit,
                          int start, int *stopped) except -1
