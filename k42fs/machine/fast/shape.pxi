# What a machine is, copied once: its configuration and its protocol's tables.


cdef int set_shape(Model *m, config) except -1:
    m.processors, m.nodes_per, m.nodes = config.processors, config.processors_per_node, config.nodes
    m.topology = ("hypercube", "flat", "bus", "groups").index(config.topology)
    m.homes_by = ("address", "interleaved", "first").index(config.homes)
    m.sharer_format = ("full", "coarse", "limited").index(config.sharer_format)
    m.group, m.sharer_group, m.sharer_pointers = config.nodes_per_group, config.sharer_group, config.sharer_pointers
    m.is_bus = config.interconnect == "bus"
    m.has_links = config.network == "links" and not m.is_bus
    m.leaves_ghosts = not config.notify_evictions and not m.is_bus
    m.line_shift = config.line_bytes.bit_length() - 1
    m.l1_shift = config.l1_line_bytes.bit_length() - 1
    m.home_shift = NODE_SHIFT - m.line_shift
    m.per_line_shift = m.line_shift - m.l1_shift
    m.l1_ways, m.l2_ways, m.l3_ways = config.l1_ways, config.l2_ways, config.l3_ways
    m.l1_words, m.l2_words, m.l3_words = m.l1_ways + 1 & ~1, m.l2_ways + 1 & ~1, m.l3_ways + 1 & ~1
    m.l1_mask, m.l2_mask, m.l3_sets = config.l1_sets - 1, config.l2_sets - 1, config.l3_sets
    m.tag_bytes = 8 * m.processors * ((m.l1_mask + 1) * m.l1_words + (m.l2_mask + 1) * m.l2_words)
    m.l3_share = config.processors_per_l3
    m.l3_count = -(-config.processors // config.processors_per_l3) if config.l3_bytes else 0
    m.line_bytes, m.line_mask = config.line_bytes, config.line_bytes - 1
    m.words, m.map_words = config.line_bytes >> 3, (config.processors + 63) >> 6
    m.history = config.history
    m.l1_cycles, m.l2_cycles, m.l3_cycles = config.l1_cycles, config.l2_cycles, config.l3_cycles
    m.atomic_cycles, m.busy, m.issue = config.atomic_cycles, config.home_busy_cycles, config.inval_issue_cycles
    m.busy_with_memory = config.home_busy_cycles + config.memory_busy_cycles
    m.hit_cycles[READ] = m.hit_cycles[WRITE] = m.l1_cycles
    m.hit_cycles[RMW] = m.l1_cycles + m.atomic_cycles
    m.local_cycles, m.remote_cycles = config.local_cycles, config.remote_cycles
    m.dirty_cycles, m.upgrade_cycles, m.hop_cycles = config.dirty_cycles, config.upgrade_cycles, config.hop_cycles
    m.slack = config.transfer_cycles_min
    m.link_cycles, m.address, m.data = config.link_cycles, config.bus_address_cycles, config.bus_data_cycles
    m.has_memory_by = copy_distances(m.memory_by, config.memory_by_distance)
    m.has_dirty_by = copy_distances(m.dirty_by, config.dirty_by_distance)
    m.has_upgrade_by = copy_distances(m.upgrade_by, config.upgrade_by_distance)
    return 0


cdef int copy_distances(int64_t *to, cycles) except -1:
    """Copy a field ..._by_distance; return whether it says anything. What is beyond any distance is cut off."""
    cdef int i
    for i, value in enumerate(cycles[:DISTANCES]):
        to[i] = value
    return 1 if cycles else 0


cdef int set_tables(Model *m, config) except -1:
    protocol = PROTOCOLS[config.protocol]
    cdef int state, at
    for (state, at), step in protocol.processor.items():
        if at <= 1:  # READ or WRITE
            m.steps[state][at] = Step(1, -1 if step.request is None else step.request, step.alone, step.shared)
    # Only on a bus does it matter who supplies.
    for (state, at), snoop in with_clean_intervention(protocol).snoop.items():
        supplies = snoop.supplies if config.clean_intervention else protocol.snoop[state, at].supplies
        m.snoops[state][at] = Snoop(1, snoop.next, supplies, snoop.writes_memory)
    for (state, at), row in protocol.home.items():
        m.rows[state][at] = Home(1, row.asks_owner, row.asks_sharers)
    for state in protocol.evict_writes:
        m.evict_writes |= 1 << state
    m.evict_writes |= 1 << TRACKED
    return 0
