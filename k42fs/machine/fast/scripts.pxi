# Scripts and single references. A script is found by the address of its tuple of references.

cdef enum:
    SCRIPTS_MAX = 16384


cdef inline Compiled *script_slot(Scripts *scripts, void *key) noexcept:
    """Return where the script of *key* is, or would be."""
    cdef uint64_t mask = scripts.capacity - 1
    cdef uint64_t slot = (<uint64_t> <uintptr_t> key * GOLDEN) >> 32 & mask
    while scripts.table[slot].key != NULL and scripts.table[slot].key != key:
        slot = (slot + 1) & mask
    return &scripts.table[slot]


cdef inline Compiled *find_script(Scripts *scripts, void *key) noexcept:
    cdef Compiled *found
    if not scripts.capacity:
        return NULL
    found = script_slot(scripts, key)
    return found if found.key != NULL else NULL


cdef int grow_scripts(Scripts *scripts) except -1:
    cdef Scripts grown
    cdef int64_t i
    grown.capacity, grown.count = max(64, 2 * scripts.capacity), scripts.count
    grown.table = <Compiled *> calloc(grown.capacity, sizeof(Compiled))
    if grown.table == NULL:
        raise MemoryError
    for i in range(scripts.capacity):
        if scripts.table[i].key != NULL:
            script_slot(&grown, scripts.table[i].key)[0] = scripts.table[i]
    free(scripts.table)
    scripts[0] = grown
    return 0


cdef Compiled *add_script(Scripts *scripts, tuple refs) except NULL:
    """Translate *refs*. The caller keeps the tuple alive."""
    cdef Compiled made
    cdef Compiled *slot
    cdef int64_t i
    if 2 * (scripts.count + 1) > scripts.capacity:
        grow_scripts(scripts)
    made.key, made.count = <void *> refs, len(refs)
    made.refs = <Ref *> malloc((made.count + 1) * sizeof(Ref))
    if made.refs == NULL:
        raise MemoryError
    try:
        for i in range(made.count):
            code, second, offset, nbytes = refs[i]
            if not READ <= code <= RMW or offset < 0:
                raise ValueError(f"no reference: {refs[i]}")
            made.refs[i] = Ref(code, 1 if second else 0, offset, nbytes)
    except BaseException:
        free(made.refs)
        raise
    slot = script_slot(scripts, made.key)
    slot[0] = made
    scripts.count += 1
    return slot


cdef void free_scripts(Scripts *scripts) noexcept:
    cdef int64_t i
    for i in range(scripts.capacity):
        free(scripts.table[i].refs)
    free(scripts.table)
    scripts.table, scripts.capacity, scripts.count = NULL, 0, 0


cdef inline bint hit(Model *m, Cache *cache, int code, int64_t addr) noexcept:
    """Do a reference that needs no look at L2, but for its count: a read of any copy, a store to one already
    modified. Return whether it was one."""
    cdef uint64_t tag = <uint64_t> addr >> m.l1_shift
    cdef uint64_t *tags = l1_set(m, cache, tag)
    cdef uint64_t word
    cdef int way = way_of(tags, m.l1_ways, tag << STATE_BITS, ~<uint64_t> STATE_MASK)
    if way < 0:
        return False
    word = tags[way]  # tag 0 looks like an empty word, whose state is 0
    if (word & STATE_MASK) == MODIFIED or (code == READ and word & STATE_MASK):
        put_first(tags, m.l1_ways, way, word)
        return True
    return False


cdef inline bint hit_in_front(Model *m, Cache *cache, int code, int64_t addr) noexcept:
    """`hit`, but only if the line was used last of its set. Of what methods and locks use most is: so this, which the
    host guesses right, is quicker than all ways at once. Of a trace it is not."""
    cdef uint64_t tag = <uint64_t> addr >> m.l1_shift
    cdef uint64_t word = l1_set(m, cache, tag)[0]
    if word >> STATE_BITS != tag:
        return False
    return (word & STATE_MASK) == MODIFIED or (code == READ and word & STATE_MASK)


cdef inline int64_t do_access(Model *m, int cpu, Cache *cache, int code, int64_t addr, int64_t nbytes,
                              int64_t now) except -1:
    cdef int64_t after, transactions = m.transactions
    if hit_in_front(m, cache, code, addr) or hit(m, cache, code, addr):
        cache.counts[code] += 1
        cache.l1_hits += 1
        after = now + m.l1_cycles
        if code == RMW:
            after += m.atomic_cycles
    else:
        after = reference(m, cpu, cache, code, addr, nbytes, now)
    cache.cycles += after - now
    if m.check_every and m.transactions != transactions and m.transactions % m.check_every == 0:
        check(m)
    return after


cdef int64_t do_script(Model *m, int cpu, Cache *cache, Compiled *script, int64_t base, int64_t other, int64_t now,
                       int64_t limit, int64_t start, int *stopped) except -1:
    cdef int64_t begin = now, i, addr, after
    cdef Ref *ref
    stopped[0] = -1
    m.woken_at = NEVER
    for i in range(start, script.count):
        ref = &script.refs[i]
        addr = (other if ref.second else base) + ref.offset
        if now > limit and is_visible(m, cache, ref.code, addr, now - limit):
            stopped[0] = <int> i
            break
        elif ref.code != RMW and (hit_in_front(m, cache, ref.code, addr) or hit(m, cache, ref.code, addr)):
            cache.counts[ref.code] += 1
            cache.l1_hits += 1
            now += m.l1_cycles
        else:
            if m.check_every:
                after = do_access(m, cpu, cache, ref.code, addr, ref.nbytes, now)
                begin += after - now  # which are accounted for
            else:
                after = reference(m, cpu, cache, ref.code, addr, ref.nbytes, now)
            now = after
            if m.woken_at < limit:
                limit = m.woken_at
    cache.cycles += now - begin
    return now
