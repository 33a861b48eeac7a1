"""The protocol tables, against the text of the rules and by walking every state three caches can reach."""

from collections.abc import Iterator

import pytest

from k42fs.machine.layout import READ, WRITE
from k42fs.machine.protocol import (
    DIRTY,
    EVICT,
    EXCLUSIVE,
    GET_M,
    GET_S,
    INVALID,
    MODIFIED,
    OWNED,
    PROTOCOLS,
    SHARED,
    TRACKED,
    UPGRADE,
    DirState,
    Protocol,
    directory_state,
    protocol_state,
    with_clean_intervention,
)

STATES = {"I": INVALID, "S": SHARED, "O": OWNED, "E": EXCLUSIVE, "M": MODIFIED}
REQUESTS = {"GetS": GET_S, "GetM": GET_M, "Upg": UPGRADE, "": None}
EVERY = pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)

# One line per state. Left of the bar: read, write, evict as "request>alone/shared", a hit without a request.
# Right of it: GetS, GetM, Upg as ">next", with d: supplies data, w: writes memory, -: impossible.
TEXT = {
    "msi": """
        I GetS>S/S GetM>M/M -   |
        S >S/S     Upg>M/M  >I/I | >S   >I  >I
        M >M/M     >M/M     >I/I | dw>S d>I -""",
    "mesi": """
        I GetS>E/S GetM>M/M -   |
        S >S/S     Upg>M/M  >I/I | >S   >I  >I
        E >E/E     >M/M     >I/I | >S   >I  -
        M >M/M     >M/M     >I/I | dw>S d>I -""",
    "moesi": """
        I GetS>E/S GetM>M/M -   |
        S >S/S     Upg>M/M  >I/I | >S   >I  >I
        E >E/E     >M/M     >I/I | d>S  d>I -
        O >O/O     Upg>M/M  >I/I | d>O  d>I >I
        M >M/M     >M/M     >I/I | d>O  d>I -""",
}
# Directory state, then GetS, GetM, Upg as "who is asked: o, s; m if memory supplies > next[/next if clean]".
HOMES = {
    "msi": ["U m>S m>X -", "S m>S sm>X s>X", "X o>S o>X -"],
    "mesi": ["U m>X m>X -", "S m>S sm>X s>X", "X o>S o>X -"],
    "moesi": ["U m>X m>X -", "S m>S sm>X s>X", "X o>O/S o>X -", "O o>O os>X os>X"],
}


@EVERY
def test_what_a_processor_does_is_as_written(protocol: Protocol) -> None:
    expected = {}
    for row in TEXT[protocol.name].strip().splitlines():
        state, *cells = row.partition("|")[0].split()
        for op, cell in zip((READ, WRITE, EVICT), cells, strict=True):
            if cell != "-":
                request, _, after = cell.partition(">")
                alone, shared = after.split("/")
                expected[STATES[state], op] = (REQUESTS[request], STATES[alone], STATES[shared])
    assert protocol.processor == expected


@EVERY
def test_what_a_cache_does_about_a_request_is_as_written(protocol: Protocol) -> None:
    expected = {}
    for row in TEXT[protocol.name].strip().splitlines():
        left, _, right = row.partition("|")
        for request, cell in enumerate(right.split()):
            if cell != "-":
                marks, _, after = cell.partition(">")
                expected[STATES[left.split()[0]], request] = (STATES[after], "d" in marks, "w" in marks)
    assert protocol.snoop == expected


@EVERY
def test_what_the_home_does_is_as_written(protocol: Protocol) -> None:
    expected = {}
    for row in HOMES[protocol.name]:
        state, *cells = row.split()
        for request, cell in enumerate(cells):
            if cell != "-":
                asked, _, after = cell.partition(">")
                dirty, _, clean = after.partition("/")
                nexts = DirState[dirty], DirState[clean or dirty]
                expected[DirState[state], request] = ("o" in asked, "s" in asked, "m" in asked, *nexts)
    assert protocol.home == expected


def test_evictions_write_memory_from_dirty_states_only() -> None:
    for protocol in PROTOCOLS.values():
        assert protocol.evict_writes == set(protocol.states) & DIRTY


def test_states_are_ordered_by_what_they_allow() -> None:
    for protocol in PROTOCOLS.values():
        for state in protocol.states:
            assert (protocol.processor[state, READ].request is None) == (state >= SHARED)
            assert (protocol.processor[state, WRITE].request is None) == (state >= EXCLUSIVE)
    assert protocol_state(TRACKED) == MODIFIED
    assert [protocol_state(state) for state in range(TRACKED)] == list(range(TRACKED))


def test_clean_intervention_changes_one_row_of_mesi_and_nothing_else() -> None:
    mesi, moesi = PROTOCOLS["mesi"], PROTOCOLS["moesi"]
    changed = with_clean_intervention(mesi)
    assert {key for key in mesi.snoop if mesi.snoop[key] != changed.snoop[key]} == {(EXCLUSIVE, GET_S)}
    assert changed.snoop[EXCLUSIVE, GET_S] == (SHARED, True, False)
    assert with_clean_intervention(moesi) is moesi
    assert with_clean_intervention(PROTOCOLS["msi"]) is PROTOCOLS["msi"]


# A world is what there is to know of one line: each cache's state, which copies hold the newest data, whether
# memory does, and the directory's state.
World = tuple[tuple[int, ...], tuple[bool, ...], bool, DirState]


def asked(world: World, cpu: int, request: int, protocol: Protocol, bus: bool) -> list[int]:
    """Return the caches that see the request of *cpu*."""
    holders = [other for other, state in enumerate(world[0]) if state and other != cpu]
    if bus:
        return holders
    home = protocol.home[world[3], request]
    return [at for at in holders if (home.asks_sharers if world[0][at] == SHARED else home.asks_owner)]


def step(world: World, cpu: int, op: int, protocol: Protocol, bus: bool) -> World:
    """Do one operation by the tables, and check that nobody reads stale data on the way."""
    states, fresh, memory, known = list(world[0]), list(world[1]), world[2], world[3]
    request, alone, shared = protocol.processor[states[cpu], op]
    others = any(state for other, state in enumerate(states) if other != cpu)
    if op == EVICT:
        memory = memory or (states[cpu] in protocol.evict_writes and fresh[cpu])
        known = protocol.put[known, states[cpu]]
    elif request is None:
        assert fresh[cpu], "a hit on stale data"
    else:
        suppliers, writes = [], False
        dirty = any(states[at] in DIRTY for at in asked(world, cpu, request, protocol, bus))
        for at in asked(world, cpu, request, protocol, bus):
            after, supplies, writes_memory = protocol.snoop[states[at], request]
            if supplies or (not bus and states[at] != SHARED and request != UPGRADE):
                suppliers.append(at)
            writes |= writes_memory and fresh[at]
            states[at] = after
        assert len(suppliers) <= 1, "two caches supply"
        memory = memory or writes
        if request == UPGRADE:
            assert fresh[cpu], "the right to write a stale copy"
        else:
            assert fresh[suppliers[0]] if suppliers else memory, "stale data supplied"
            fresh[cpu] = True
        home = protocol.home[known, request]
        assert bus or request == UPGRADE or home.from_memory == (not suppliers)
        known = home.next if dirty else home.next_if_clean
    states[cpu] = shared if others else alone
    if op == WRITE:
        fresh, memory = [at == cpu for at in range(len(states))], False
    fresh = [bool(state) and ok for state, ok in zip(states, fresh, strict=True)]
    if known == DirState.S and not any(states):
        known = DirState.U
    return tuple(states), tuple(fresh), memory, known


def moves(world: World) -> Iterator[tuple[int, int]]:
    for cpu, state in enumerate(world[0]):
        yield from ((cpu, op) for op in (READ, WRITE, EVICT) if state or op != EVICT)


@EVERY
@pytest.mark.parametrize("bus", [True, False], ids=["bus", "directory"])
def test_no_state_that_three_caches_can_reach_is_unsafe(protocol: Protocol, bus: bool) -> None:
    start: World = ((INVALID,) * 3, (False,) * 3, True, DirState.U)
    seen, todo = {start}, [start]
    while todo:
        world = todo.pop()
        states, fresh, memory, known = world
        owners = [state for state in states if state >= OWNED]
        assert len(owners) <= 1, "two owners"
        assert not any(state >= EXCLUSIVE for state in states) or sum(map(bool, states)) == 1, "not alone"
        assert all(ok for state, ok in zip(states, fresh, strict=True) if state), "a stale copy"
        assert memory or any(state in DIRTY for state in states), "the newest data is lost"
        assert known == directory_state(max(owners, default=INVALID), SHARED in states)
        for cpu, op in moves(world):
            after = step(world, cpu, op, protocol, bus)
            if after not in seen:
                seen.add(after)
                todo.append(after)
    assert {state for world in seen for state in world[0]} == set(protocol.states)
    assert {world[3] for world in seen} == {at for at, _ in protocol.home}
