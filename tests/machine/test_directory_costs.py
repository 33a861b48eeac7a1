"""The directory's costs beyond those of the default preset: memory, distances, MSI, MOESI, silence; by hand."""

import pytest

from k42fs.machine.layout import READ, WRITE
from tests.machine.core_lab import ONE_LINE, CoreLab, directory

TINY = {**ONE_LINE, "l1_bytes": 64, "l2_bytes": 64}
GROUPS = {
    "processors": 32,
    "processors_per_node": 4,
    "topology": "groups",
    "nodes_per_group": 2,
    "memory_by_distance": (100, 200, 300),
    "dirty_by_distance": (110, 220, 330),
    "upgrade_by_distance": (60, 70, 80),
}


def busy_home(lab: CoreLab, now: int) -> int:
    """Return how long a clean read of a fresh line waits for node 0 at *now*."""
    return lab.at(15, READ, lab.line(), now) - now - 240


def test_memory_occupies_the_home_when_it_supplies() -> None:
    lab = directory(memory_busy_cycles=30)
    for cpu, start in ((0, 0), (1, 54), (2, 108)):
        assert lab.at(cpu, READ, lab.line(), 1000) == 1000 + start + 200
    assert lab.counters(2).queued == 108


@pytest.mark.parametrize(("protocol", "busy"), [("msi", 54), ("mesi", 54), ("moesi", 24)])
def test_memory_occupies_the_home_when_an_owner_writes_it_for_a_reader(protocol: str, busy: int) -> None:
    lab = directory(memory_busy_cycles=30, protocol=protocol)
    addr = lab.line()
    lab.cost(0, WRITE, addr)
    assert lab.cost(1, READ, addr) == 260
    assert busy_home(lab, lab.now) == busy


def test_memory_is_not_busy_when_ownership_moves() -> None:
    lab = directory(memory_busy_cycles=30)
    addr = lab.line()
    lab.cost(0, WRITE, addr)
    lab.cost(1, WRITE, addr)
    assert busy_home(lab, lab.now) == 24


@pytest.mark.parametrize(("code", "busy"), [(READ, 24), (WRITE, 54)])
def test_an_eviction_occupies_the_home_and_memory_if_it_is_written(code: int, busy: int) -> None:
    lab = directory(memory_busy_cycles=30, **TINY)
    lab.cost(0, code, lab.line())
    before = lab.counters(0).nbytes
    lab.cost(0, READ, lab.line(vp=8))  # another home supplies this one
    assert busy_home(lab, lab.now) == busy
    assert lab.counters(0).nbytes - before == (8 + 72) + (72 if code == WRITE else 8)


def test_a_write_among_sharers_occupies_the_home_by_their_number_too() -> None:
    lab = directory(memory_busy_cycles=30)
    addr = lab.line()
    for cpu in range(5):
        lab.cost(cpu, READ, addr)
    assert lab.cost(5, WRITE, addr) == 200  # longer than 160 + 4 * 4, the invalidations
    assert busy_home(lab, lab.now) == 24 + 30 + 5 * 4
    assert lab.counters(5).nbytes == 8 + 72 + 5 * 16


def test_a_write_among_very_many_sharers_waits_for_the_invalidations() -> None:
    lab = directory(inval_issue_cycles=50)
    addr = lab.line()
    for cpu in range(5):
        lab.cost(cpu, READ, addr)
    assert lab.cost(5, WRITE, addr) == 160 + 4 * 50
    assert lab.counters(5).stall["memory"] == 360


@pytest.mark.parametrize(("cpu", "cycles"), [(0, 100), (4, 200), (8, 300), (31, 300)])
def test_memory_by_distance(cpu: int, cycles: int) -> None:
    lab = directory(**GROUPS)
    assert lab.cost(cpu, READ, lab.line()) == cycles


@pytest.mark.parametrize(
    ("owner", "reader", "cycles"),
    [(0, 1, 110), (4, 0, 220), (4, 5, 220), (8, 0, 330), (4, 8, 330), (8, 9, 330)],
)
def test_dirty_data_by_the_longest_leg(owner: int, reader: int, cycles: int) -> None:
    lab = directory(**GROUPS)
    addr = lab.line()
    lab.cost(owner, WRITE, addr)
    assert lab.cost(reader, READ, addr) == cycles


@pytest.mark.parametrize(
    ("others", "cycles"), [((1,), 60), ((4,), 70), ((8,), 80), ((1, 4), 74), ((1, 4, 8), 88)]
)
def test_upgrades_by_the_longest_leg(others: tuple[int, ...], cycles: int) -> None:
    lab = directory(**GROUPS)
    addr = lab.line()
    for cpu in (0, *others):
        lab.cost(cpu, READ, addr)
    assert lab.cost(0, WRITE, addr) == cycles


def test_msi_upgrades_what_it_alone_has_and_the_line_stays_private() -> None:
    lab = directory(protocol="msi")
    addr = lab.line()
    assert lab.cost(0, READ, addr) == 200
    assert lab.states(addr) == {0: "S"}
    before = lab.counters(0).nbytes
    assert lab.cost(0, WRITE, addr) == 160
    assert lab.counters(0).nbytes == before + 16
    assert lab.states(addr) == {0: "M"}
    assert busy_home(lab, lab.now) == 24
    assert lab.cost(1, READ, addr) == 260
    assert lab.states(addr) == {0: "S", 1: "S"}


def test_moesi_readers_are_served_by_the_owner_each_with_the_line_blocked() -> None:
    lab = directory(protocol="moesi")
    addr = lab.line()
    lab.at(0, WRITE, addr, 0)
    assert [lab.at(cpu, READ, addr, 1000) for cpu in (1, 2)] == [1260, 1520]
    assert lab.states(addr) == {0: "O", 1: "S", 2: "S"}
    assert lab.counters(1).nbytes == 3 * 8 + 64
    assert lab.counters(0).write_backs == 0


def test_mesi_readers_of_a_dirty_line_cause_a_write_to_memory() -> None:
    lab = directory()
    addr = lab.line()
    lab.cost(0, WRITE, addr)
    lab.cost(1, READ, addr)
    assert lab.counters(1).nbytes == 3 * 8 + 64 + 72
    assert lab.cost(2, READ, addr) == 200


def test_moesi_reading_a_clean_owner_leaves_sharers() -> None:
    lab = directory(protocol="moesi")
    addr = lab.line()
    lab.cost(0, READ, addr)
    assert lab.cost(1, READ, addr) == 260
    assert lab.states(addr) == {0: "S", 1: "S"}


@pytest.mark.parametrize(("writer", "cycles"), [(0, 160 + 4), (1, 160 + 4), (3, 260)])
def test_moesi_writes_to_an_owned_line(writer: int, cycles: int) -> None:
    """Owner 0, sharers 1 and 2. The owner invalidates two; a sharer the owner and one; a third gets data."""
    lab = directory(protocol="moesi")
    addr = lab.line()
    lab.cost(0, WRITE, addr)
    for cpu in (1, 2):
        lab.cost(cpu, READ, addr)
    before = lab.counters(writer).nbytes
    assert lab.cost(writer, WRITE, addr) == cycles
    assert lab.states(addr) == {writer: "M"}
    assert lab.counters(writer).nbytes - before == (16 + 2 * 16 if writer < 2 else 24 + 64 + 2 * 16)
    assert busy_home(lab, lab.now) == 24 + 2 * 4
    assert sum(lab.counters(cpu).invalidations for cpu in range(3)) == (2 if writer < 2 else 3)
    assert lab.counters(writer).extra_invalidations == 0


def test_moesi_evictions_from_an_owned_line() -> None:
    lab = directory(protocol="moesi", memory_busy_cycles=30, **TINY)
    addr = lab.line()
    lab.cost(0, WRITE, addr)
    lab.cost(1, READ, addr)
    lab.cost(1, READ, lab.line(vp=8))
    assert busy_home(lab, lab.now) == 24  # a sharer leaves; the owner keeps its state with nobody else left
    assert lab.states(addr) == {0: "O"}
    assert lab.cost(0, WRITE, addr) == 160
    lab.cost(1, READ, addr)
    lab.cost(0, READ, lab.line(vp=8))
    assert busy_home(lab, lab.now) == 54
    assert lab.states(addr) == {1: "S"}
    assert lab.cost(2, READ, addr) == 200


def silent(**fields: object) -> CoreLab:
    return directory(notify_evictions=False, **{**TINY, **fields})


def test_silent_evictions_of_clean_copies_occupy_nothing() -> None:
    lab = silent()
    lab.cost(0, READ, lab.line())
    before = lab.counters(0).nbytes
    lab.cost(0, READ, lab.line(vp=8))
    assert busy_home(lab, lab.now) == 0
    assert lab.counters(0).nbytes - before == 8 + 72


def test_silence_does_not_extend_to_dirty_copies() -> None:
    lab = silent()
    addr = lab.line()
    lab.cost(0, WRITE, addr)
    lab.cost(0, READ, lab.line(vp=8))
    assert busy_home(lab, lab.now) == 24
    assert lab.cost(1, READ, addr) == 200
    assert lab.counters(1).extra_invalidations == 0


def test_the_home_asks_in_vain_an_owner_that_is_gone() -> None:
    lab = silent(memory_busy_cycles=30)
    addr = lab.line()
    lab.cost(0, READ, addr)
    lab.cost(0, READ, lab.line(vp=8))
    assert lab.cost(1, READ, addr) == 260  # memory has it after 200, the owner's answer takes longer
    assert lab.states(addr) == {1: "E"}
    assert busy_home(lab, lab.now) == 54
    assert (lab.counters(1).extra_invalidations, lab.counters(1).from_memory) == (1, 1)
    assert lab.counters(1).nbytes == 4 * 8 + 64
    assert lab.cost(2, READ, addr) == 260  # and now there is one
    assert lab.counters(2).extra_invalidations == 0


def test_an_owner_that_was_gone_and_returns_is_not_asked() -> None:
    lab = silent()
    addr = lab.line()
    lab.cost(0, READ, addr)
    lab.cost(0, READ, lab.line(vp=8))
    assert lab.cost(0, READ, addr) == 200
    assert lab.states(addr) == {0: "E"}
    assert lab.counters(0).extra_invalidations == 0
    assert lab.counters(0).misses["capacity"] == 1


def test_sharers_that_are_gone_are_invalidated_in_vain() -> None:
    lab = silent()
    addr = lab.line()
    for cpu in (0, 1, 2):
        lab.cost(cpu, READ, addr)
    lab.cost(2, READ, lab.line(vp=8))
    lab.cost(1, READ, lab.line(vp=8))
    assert lab.states(addr) == {0: "S"}
    assert lab.cost(0, WRITE, addr) == 160 + 4
    assert lab.counters(0).extra_invalidations == 2
    assert busy_home(lab, lab.now) == 24 + 8
    assert lab.cost(1, WRITE, addr) == 260
    assert lab.counters(1).extra_invalidations == 0  # the write told the home who was left


def test_a_reader_shares_with_those_that_the_home_still_believes_in() -> None:
    lab = silent()
    addr = lab.line()
    for cpu in (0, 1):
        lab.cost(cpu, READ, addr)
    for cpu in (0, 1):
        lab.cost(cpu, READ, lab.line(vp=8))
    assert lab.states(addr) == {}
    assert lab.cost(2, READ, addr) == 200
    assert lab.states(addr) == {2: "S"}


def test_homes_that_alternate_spread_the_queue() -> None:
    """Eight processors of a node of eight, each a fresh line of node 0's addresses."""
    for homes, queued in (("address", 7 * 24), ("interleaved", 3 * 24), ("first", 7 * 24)):
        lab = directory(homes=homes)
        for cpu in range(8):
            lab.at(cpu, READ, lab.line(), 1000)
        assert lab.counters(7).queued == queued
