# Zeroed memory in big pieces, given back all at once. What a trace of many processors looks at lies scattered over
# hundreds of megabytes: with the host's usual pages it waits for their translations more than for the data. Pages of
# 2 MiB are asked for only once a long trace is run, because they are there as a whole after the first touch.

cdef extern from *:
    """
    #if defined(__linux__)
    #include <sys/mman.h>
    #define HUGE_PAGE ((size_t) 2 << 20)
    #define map_piece(size) mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    #define is_mapped(piece) ((piece) != MAP_FAILED)
    #define unmap_piece(piece, size) munmap(piece, size)
    #if defined(MADV_HUGEPAGE)
    #define want_huge(piece, size) madvise(piece, size, MADV_HUGEPAGE)
    #else
    #define want_huge(piece, size) ((void) 0)
    #endif
    #else
    #include <stdlib.h>
    #define HUGE_PAGE ((size_t) 64)
    #define map_piece(size) calloc(size, 1)
    #define is_mapped(piece) ((piece) != NULL)
    #define unmap_piece(piece, size) free(piece)
    #define want_huge(piece, size) ((void) 0)
    #endif
    """
    size_t HUGE_PAGE
    void *map_piece(size_t size) noexcept
    bint is_mapped(void *piece) noexcept
    void unmap_piece(void *piece, size_t size) noexcept
    void want_huge(void *piece, size_t size) noexcept


cdef enum:
    HOST_LINE = 64
    PIECE = 4 << 20


cdef inline char *up_to(void *at, size_t boundary) noexcept:
    """Return the first multiple of *boundary*, a power of two, from *at* on."""
    return <char *> ((<uintptr_t> at + boundary - 1) & ~<uintptr_t> (boundary - 1))


cdef void *arena_take(Arena *arena, size_t size) except NULL:
    """Return *size* zeroed bytes that begin with a line of the host."""
    cdef size_t whole = (size + HOST_LINE - 1) & ~<size_t> (HOST_LINE - 1), length
    cdef Piece *pieces
    cdef void *piece
    cdef char *taken
    if arena.at + whole > arena.end:
        length = max(<size_t> PIECE, whole) + HUGE_PAGE
        pieces = <Piece *> realloc(arena.pieces, (arena.count + 1) * sizeof(Piece))
        if pieces == NULL:
            raise MemoryError
        arena.pieces = pieces
        piece = map_piece(length)
        if not is_mapped(piece):
            raise MemoryError
        arena.pieces[arena.count] = Piece(piece, length)
        arena.count += 1
        arena.at = up_to(piece, HUGE_PAGE)
        arena.end = <char *> piece + length
        if arena.is_huge:
            want_huge(piece, length)
    taken = arena.at
    arena.at += whole
    return taken


cdef void make_huge(Arena *arena) noexcept:
    """Ask the host for huge pages from now on, and for what of the pieces there are was not touched yet."""
    cdef int i
    if not arena.is_huge:
        arena.is_huge = True
        for i in range(arena.count):
            want_huge(arena.pieces[i].start, arena.pieces[i].size)


cdef void free_arena(Arena *arena) noexcept:
    cdef int i
    for i in range(arena.count):
        unmap_piece(arena.pieces[i].start, arena.pieces[i].size)
    free(arena.pieces)
