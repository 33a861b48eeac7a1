# What layout.py, protocol.py, directory.py and core_state.py number, as C constants.

cdef enum:
    READ = 0
    WRITE = 1
    RMW = 2
    INVALID = 0
    SHARED = 1
    OWNED = 2
    EXCLUSIVE = 3
    MODIFIED = 4
    TRACKED = 5
    COLD = 0
    CAPACITY = 1
    TRUE_SHARING = 2
    FALSE_SHARING = 3
    UPGRADE = 4
    STALL_L3 = 0
    STALL_MEMORY = 1
    STALL_CACHE = 2
    STALL_UPGRADE = 3
    WORTH_KEEPING = 4
