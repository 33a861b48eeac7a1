"""The bus: every latency, what occupies which phase, and the three protocols' states, by hand."""

import pytest

from k42fs.machine.layout import READ, RMW, WRITE
from tests.machine.core_lab import ONE_LINE, bus

TINY = {**ONE_LINE, "l1_bytes": 128, "l2_bytes": 128}


@pytest.mark.parametrize("protocol", ["msi", "mesi", "moesi"])
@pytest.mark.parametrize("code", [READ, WRITE])
def test_data_from_memory_take_300_cycles(protocol: str, code: int) -> None:
    lab = bus(protocol=protocol)
    assert lab.cost(3, code, lab.line()) == 300
    assert (lab.counters(3).from_memory, lab.counters(3).nbytes) == (1, 8 + 128)


@pytest.mark.parametrize("protocol", ["msi", "mesi", "moesi"])
@pytest.mark.parametrize("code", [READ, WRITE])
def test_dirty_data_take_360_cycles(protocol: str, code: int) -> None:
    lab = bus(protocol=protocol)
    addr = lab.line()
    lab.cost(0, WRITE, addr)
    assert lab.cost(1, code, addr) == 360
    assert (lab.counters(1).from_cache, lab.counters(1).nbytes) == (1, 8 + 128)


@pytest.mark.parametrize("protocol", ["msi", "mesi", "moesi"])
def test_an_upgrade_takes_150_cycles_however_many_lose_their_copy(protocol: str) -> None:
    lab = bus(protocol=protocol)
    addr = lab.line()
    for cpu in range(9):
        lab.cost(cpu, READ, addr)
    before = lab.counters(0).nbytes
    assert lab.cost(0, WRITE, addr) == 150
    assert lab.states(addr) == {0: "M"}
    assert lab.counters(0).nbytes == before + 8
    assert [lab.counters(cpu).invalidations for cpu in range(10)] == [0, *[1] * 8, 0]


def test_a_write_to_a_line_that_others_share_takes_the_time_of_memory() -> None:
    lab = bus()
    addr = lab.line()
    for cpu in range(3):
        lab.cost(cpu, READ, addr)
    assert lab.cost(5, RMW, addr) == 300 + 20
    assert lab.states(addr) == {5: "M"}


def test_only_the_address_phase_of_upgrades_queues() -> None:
    lab = bus()
    lines = [lab.line() for _ in range(3)]
    for addr in lines:
        for cpu in (0, 1):
            lab.cost(cpu, READ, addr)
    ends = [lab.at(0, WRITE, addr, lab.now + 5000) - lab.now - 5000 for addr in lines]
    assert ends == [150, 158, 166]
    assert lab.counters(0).queued == 8 + 16


def test_lines_follow_each_other_by_the_data_phase() -> None:
    lab = bus()
    ends = [lab.at(cpu, READ, lab.line(), 1000) for cpu in range(4)]
    assert ends == [1300, 1332, 1364, 1396]
    counters = lab.counters(3)
    assert (counters.queued, counters.stall["memory"], counters.cycles) == (24, 372, 396)
    assert lab.core.order_slips == 0


def test_clean_readers_of_one_line_block_it_for_the_address_phase_only() -> None:
    lab = bus()
    addr = lab.line()
    for cpu in (0, 1):
        lab.cost(cpu, READ, addr)
    now = lab.now + 5000
    assert [lab.at(cpu, READ, addr, now) - now for cpu in (2, 3)] == [300, 332]
    assert lab.counters(3).queued == 8


def test_a_moving_owner_blocks_the_line_until_the_data_are_there() -> None:
    lab = bus()
    addr = lab.line()
    lab.cost(0, WRITE, addr)
    now = lab.now + 5000
    assert [lab.at(cpu, WRITE, addr, now) - now for cpu in (1, 2, 3)] == [360, 720, 1080]


def test_late_data_block_the_line_longer_and_are_counted_as_a_slip() -> None:
    lab = bus()
    addr, other = lab.line(), lab.line()
    lab.at(0, WRITE, addr, 0)
    assert lab.at(5, READ, other, 1060) == 1360  # its data: 1328 to 1360
    assert lab.at(1, WRITE, addr, 1000) == 1392  # would be 1360, with the data from 1328 on
    assert lab.core.order_slips == 1
    assert lab.at(2, WRITE, addr, 1000) == 1392 + 360
    assert lab.counters(1).stall["cache"] == 392


def test_a_write_back_takes_both_phases_and_no_time_of_its_processor() -> None:
    lab = bus(**TINY)
    first, second, third = lab.line(), lab.line(), lab.line()
    for cpu in (1, 2):
        lab.at(cpu, READ, third, 10)
    lab.at(0, WRITE, first, 1000)
    before = lab.counters(0).nbytes
    assert lab.at(0, READ, second, 5000) == 5300
    assert lab.counters(0).write_backs == 1
    assert lab.counters(0).nbytes == before + 2 * (8 + 128)
    # Address phases: the read's from 5000, the write-back's from 5008; its data: 5016 to 5048.
    assert lab.at(1, WRITE, third, 5000) == 5016 + 150
    assert lab.at(3, READ, lab.line(), 4750) == 5080  # data would be 5018 to 5050


def test_clean_copies_leave_in_silence() -> None:
    lab = bus(**TINY)
    lab.cost(0, READ, lab.line())
    addr = lab.line()
    lab.cost(0, READ, addr)
    assert lab.counters(0).nbytes == 2 * (8 + 128)
    assert lab.at(1, READ, lab.line(), lab.now) == lab.now + 8 + 324  # behind one address and one data phase
    assert lab.states(addr) == {0: "E"}


def test_a_clean_owner_supplies_only_with_clean_intervention() -> None:
    for intervenes, cycles in ((False, 300), (True, 360)):
        lab = bus(clean_intervention=intervenes)
        addr = lab.line()
        lab.cost(0, READ, addr)
        assert lab.states(addr) == {0: "E"}
        assert lab.cost(1, READ, addr) == cycles
        assert lab.states(addr) == {0: "S", 1: "S"}
        assert (lab.counters(1).from_memory, lab.counters(1).from_cache) == (not intervenes, intervenes)
        assert lab.counters(0).write_backs == 0


def test_a_read_of_a_line_that_is_exclusive_elsewhere_blocks_it() -> None:
    lab = bus()
    addr = lab.line()
    lab.at(0, READ, addr, 0)
    assert lab.at(1, READ, addr, 1000) == 1300
    assert lab.at(2, READ, addr, 1000) == 1600


def test_mesi_writes_memory_when_a_reader_comes() -> None:
    lab = bus()
    addr = lab.line()
    lab.cost(0, WRITE, addr)
    lab.cost(1, READ, addr)
    assert lab.states(addr) == {0: "S", 1: "S"}
    assert lab.counters(0).write_backs == 1
    assert lab.cost(2, READ, addr) == 300


def test_moesi_leaves_memory_stale_and_its_owner_supplies_every_reader() -> None:
    lab = bus(protocol="moesi")
    addr = lab.line()
    lab.cost(0, WRITE, addr)
    assert [lab.cost(cpu, READ, addr) for cpu in (1, 2)] == [360, 360]
    assert lab.states(addr) == {0: "O", 1: "S", 2: "S"}
    assert lab.counters(0).write_backs == 0
    assert lab.cost(0, WRITE, addr) == 150
    lab.cost(1, READ, addr)
    assert lab.cost(1, WRITE, addr) == 150  # takes the owner's duty along
    assert lab.states(addr) == {1: "M"}
    assert lab.counters(0).write_backs == 0


def test_moesi_writes_an_owned_line_back_when_it_is_evicted_and_readers_keep_it() -> None:
    lab = bus(protocol="moesi", **TINY)
    addr = lab.line()
    lab.cost(0, WRITE, addr)
    lab.cost(1, READ, addr)
    lab.cost(0, READ, lab.line())
    assert lab.states(addr) == {1: "S"}
    assert lab.counters(0).write_backs == 1
    assert lab.cost(2, READ, addr) == 300


def test_msi_asks_for_the_right_to_write_what_it_alone_has() -> None:
    lab = bus(protocol="msi")
    addr = lab.line()
    lab.cost(0, READ, addr)
    assert lab.states(addr) == {0: "S"}
    assert lab.cost(0, WRITE, addr) == 150
    assert lab.counters(0).misses["upgrade"] == 1
    assert list(lab.core.transfers()) == []


def test_two_data_phases_never_overlap_and_16_requesters_saturate_the_bus() -> None:
    lab = bus()
    ends = sorted(lab.at(cpu, READ, lab.line(), 10_000) for cpu in range(16))
    assert ends == [10_300 + 32 * i for i in range(16)]
