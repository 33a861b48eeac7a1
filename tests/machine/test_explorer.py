"""The explorer: every reachable state is sound, every mutant is caught, and the cores do as the tables say."""

from functools import cache

import pytest

from k42fs.machine.cores import make_core
from k42fs.machine.explorer import SYSTEMS, Exploration, Explorer, counterexample
from k42fs.machine.explorer_replay import replay, replay_config
from k42fs.machine.line_model import START, Interconnect, LineModel, LineState, Op, ViolationError
from k42fs.machine.mutants import mutants
from k42fs.machine.protocol import MODIFIED, OWNED, PROTOCOLS, SHARED, DirState, Protocol

System = tuple[str, Interconnect, bool]

ALL: list[System] = [(name, interconnect, silent) for name in PROTOCOLS for interconnect, silent in SYSTEMS]

# One line's states by hand; v values, memory's own value where a dirty copy makes it free:
#   U 2; S: 7 sets x 2; M: 3 x 2 x 2; E: 3 x 2; O: 3 owners x 4 sets of sharers x 2 x 2.
ONE_LINE = {"msi": 2 + 14 + 12, "mesi": 2 + 14 + 12 + 6, "moesi": 2 + 14 + 12 + 6 + 48}
# Silent: for a set of k known sharers each of 2^k subsets may be left. MESI's home knows two or more, as the
# first reader became owner; an owner that silently left had E. In MOESI O's eviction can leave S with one, and
# O always knows a sharer: 2 sets of one and 1 of two for each owner.
KNOWN = {1: 3 * 2, 2: 3 * 4, 3: 8}
SILENT_LINE = {
    "msi": 2 + 2 * sum(KNOWN.values()) + 12,
    "mesi": 2 + 2 * (KNOWN[2] + KNOWN[3]) + 12 + 6 + 6,
    "moesi": 2 + 2 * sum(KNOWN.values()) + 12 + 6 + 6 + 3 * (2 * 2 + 4) * 2 * 2,
}


@cache
def explored(name: str, interconnect: Interconnect, silent: bool) -> tuple[Explorer, Exploration]:
    explorer = Explorer(PROTOCOLS[name], interconnect, silent)
    return explorer, explorer.run()


@pytest.mark.parametrize(("name", "interconnect", "silent"), ALL)
def test_every_reachable_state_is_sound(name: str, interconnect: Interconnect, silent: bool) -> None:
    _, found = explored(name, interconnect, silent)
    assert (found.violation, found.path) == ("", ())
    assert found.transitions > 20 * found.states


@pytest.mark.parametrize(("name", "interconnect", "silent"), ALL)
def test_the_states_of_one_line_are_as_many_as_counted_by_hand(
    name: str, interconnect: Interconnect, silent: bool
) -> None:
    expected = SILENT_LINE if silent else ONE_LINE
    assert explored(name, interconnect, silent)[1].line_states == expected[name]


@pytest.mark.parametrize(("name", "interconnect", "silent"), ALL)
def test_the_walk_covers_the_whole_product_of_two_lines_and_what_l1_can_hold(
    name: str, interconnect: Interconnect, silent: bool
) -> None:
    """Any two line states meet. An L1 holds nothing only if L2 does not hold both: gaining fills L1, and what
    empties it takes the line from L2 as well."""
    explorer, found = explored(name, interconnect, silent)
    contents: dict[int, set[int]] = {0: set(), 1: set(), 2: set()}
    pairs = set()
    for _, state in explorer.states():
        pairs.add(state.lines)
        for cpu in range(3):
            held = {line for line in (0, 1) if state.lines[line].states[cpu]}
            assert state.l1[cpu] == 2 or state.l1[cpu] in held
            contents[len(held)].add(state.l1[cpu])
    assert len(pairs) == found.line_states**2
    assert contents[0] == {2}
    assert contents[1] == {0, 1, 2}
    assert contents[2] == {0, 1}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_bus_and_directory_reach_the_same_copies(name: str) -> None:
    def copies(interconnect: Interconnect) -> set[object]:
        explorer, _ = explored(name, interconnect, False)
        return {
            (tuple(line.states for line in state.lines), tuple(line.values for line in state.lines), state.l1)
            for _, state in explorer.states()
        }

    assert copies("bus") == copies("directory")


def test_paths_lead_where_they_say_by_the_fewest_operations() -> None:
    explorer, found = explored("mesi", "directory", False)
    lengths = []
    for code, state in explorer.states():
        path = explorer.path_to(code)
        if path:
            assert list(explorer.trail(path))[-1] == state
        lengths.append(len(path))
    assert lengths == sorted(lengths)
    assert lengths[-1] == found.depth


# Pairs of copies' states by hand: of one line 1 + 7 + 3 without E and O, with them 3 and 12 more.
COPIES = {"msi": 1 + 7 + 3, "mesi": 1 + 7 + 3 + 3, "moesi": 1 + 7 + 3 + 3 + 12}


@pytest.mark.parametrize(("name", "interconnect", "silent"), ALL)
def test_the_core_does_as_the_explorers_model(name: str, interconnect: Interconnect, silent: bool) -> None:
    explorer, found = explored(name, interconnect, silent)
    outcome = replay(explorer, found, make_core)
    assert outcome.difference == ""
    assert outcome.paths > 2 * 3 * 3 * COPIES[name] ** 2  # load, store and rmw at least, from every pair


def test_a_core_that_does_otherwise_is_noticed() -> None:
    explorer, found = explored("moesi", "bus", False)
    other = replay_config(explored("mesi", "bus", False)[1])
    outcome = replay(explorer, found, lambda _, memory: make_core(other, memory))
    assert outcome.difference == "cpu 0 stores 0 to line 0; cpu 1 loads line 0: line 0 is S S I, not O S I"


MUTANTS = [
    pytest.param(
        interconnect, silent, mutant, id=f"{name}-{interconnect}{'-silent' if silent else ''}-{what}"
    )
    for name, interconnect, silent in ALL
    for what, mutant in mutants(PROTOCOLS[name], interconnect)
]


@pytest.mark.parametrize(("interconnect", "silent", "mutant"), MUTANTS)
def test_each_mutant_is_caught(interconnect: Interconnect, silent: bool, mutant: Protocol) -> None:
    explorer = Explorer(mutant, interconnect, silent)
    found = explorer.run()
    assert found.violation
    assert 1 <= len(found.path) <= 3
    lines = counterexample(explorer, found).splitlines()
    assert found.violation in lines[0]
    assert len(lines) == 1 + len(found.path)


@pytest.mark.parametrize(("name", "interconnect", "silent"), ALL)
def test_a_mutant_that_leaves_lost_lines_in_l1_is_caught(
    name: str, interconnect: Interconnect, silent: bool
) -> None:
    found = Explorer(PROTOCOLS[name], interconnect, silent, drops_l1=False).run()
    assert "inclusion" in found.violation
    assert len(found.path) == 2


def test_every_row_that_can_be_left_out_has_its_mutant() -> None:
    for protocol in PROTOCOLS.values():
        made = [what for what, _ in mutants(protocol, "directory")]
        invalidations = sum(row.next == 0 for row in protocol.snoop.values())
        write_backs = sum(row.writes_memory for row in protocol.snoop.values()) + len(protocol.evict_writes)
        asks = sum(row.asks_owner + row.asks_sharers for row in protocol.home.values())
        assert sum(what.startswith("invalidation") for what in made) == invalidations
        assert sum(what.startswith("write-back") for what in made) == write_backs
        assert sum(what.startswith("asking") for what in made) == asks
        assert len(set(made)) == len(made)


def test_a_counterexample_is_told_step_by_step() -> None:
    mutant = dict(mutants(PROTOCOLS["moesi"], "directory"))["write-back of O on eviction"]
    explorer = Explorer(mutant, "directory")
    assert counterexample(explorer, explorer.run()).splitlines() == [
        "moesi directory: line 0: data value: memory is old and no copy is dirty",
        "  1. cpu 0 stores 1 to line 0   M1 I  I   memory 0  home X{0}",
        "  2. cpu 1 loads line 0         O1 S1 I   memory 0  home O{0;1}",
        "  3. cpu 0 evicts line 0        I  S1 I   memory 0  home S{1}",
    ]


def line(
    states: tuple[int, int, int],
    values: tuple[int, int, int],
    memory: int,
    home: DirState,
    owner: int = -1,
    sharers: int = 0,
) -> LineState:
    return LineState(states, values, memory, 1, home, owner, sharers)


@pytest.mark.parametrize(
    ("state", "complaint"),
    [
        (line((MODIFIED, MODIFIED, 0), (1, 1, 0), 0, DirState.X, 0), "single writer"),
        (line((MODIFIED, SHARED, 0), (1, 1, 0), 0, DirState.X, 0, 2), "single writer"),
        (line((OWNED, OWNED, 0), (1, 1, 0), 0, DirState.O, 0), "single writer"),
        (line((SHARED, 0, 0), (0, 0, 0), 1, DirState.S, -1, 1), "data value: a copy"),
        (line((SHARED, 0, 0), (1, 0, 0), 0, DirState.S, -1, 1), "data value: memory"),
        (line((SHARED, 0, 0), (1, 0, 0), 1, DirState.S, -1, 3), "directory precision"),
        (line((SHARED, SHARED, 0), (1, 1, 0), 1, DirState.S, -1, 1), "directory precision"),
        (line((MODIFIED, 0, 0), (1, 0, 0), 1, DirState.X, 1), "directory precision"),
        (line((MODIFIED, 0, 0), (1, 0, 0), 1, DirState.O, 0), "directory precision"),
        (line((0, 0, 0), (0, 0, 0), 1, DirState.S), "no state of a directory"),
        (line((0, 0, 0), (0, 0, 0), 1, DirState.U), ""),
        (line((OWNED, SHARED, 0), (1, 1, 0), 0, DirState.O, 0, 2), ""),
    ],
)
def test_each_invariant_is_checked(state: LineState, complaint: str) -> None:
    found = LineModel(PROTOCOLS["moesi"], "directory").broken(state)
    assert found.startswith(complaint) if complaint and "no state" not in complaint else complaint in found


def test_a_silent_home_may_know_too_many_but_never_too_few() -> None:
    silent = LineModel(PROTOCOLS["mesi"], "directory", silent=True)
    assert silent.broken(line((SHARED, 0, 0), (1, 0, 0), 1, DirState.S, -1, 3)) == ""
    assert "misses" in silent.broken(line((SHARED, SHARED, 0), (1, 1, 0), 1, DirState.S, -1, 1))


def test_what_no_table_allows_is_a_violation() -> None:
    model = LineModel(PROTOCOLS["msi"], "directory")
    with pytest.raises(ViolationError, match="no rule"):
        model.step(START._replace(states=(SHARED, 0, 0)), 0, Op.STORE_1)
