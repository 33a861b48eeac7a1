"""The coherence model: latencies by hand, kinds of misses, replacement, stopping at visible references."""

from dataclasses import replace

import pytest

from k42fs.machine.config import MachineConfig, preset
from k42fs.machine.core import NEVER, TraceItem
from k42fs.machine.directory import EXCLUSIVE, MODIFIED, SHARED, TRACKED
from k42fs.machine.layout import READ, RMW, WRITE, Kind, Layout
from k42fs.machine.memory import Memory
from k42fs.machine.pure_core import PureCore

DIR = preset("dir-1024", processors=1024)
PAIR = Layout("Pair", Kind.GLOBAL_PADDED, left=8, right=8)
FAR = 8 * 127  # a processor seven hops from node 0


class Lab:
    """A core with some memory on node 0, and a clock that leaves every transaction time to end."""

    def __init__(self, config: MachineConfig = DIR) -> None:
        self.memory = Memory(config)
        self.core = PureCore(config, self.memory)
        self.now = 0

    def line(self, vp: int = 0) -> int:
        return self.memory.alloc(vp, 8, Kind.GLOBAL_PADDED)

    def cost(self, cpu: int, code: int, addr: int, nbytes: int = 8) -> int:
        self.now += 100_000
        after = self.core.access(cpu, code, addr, nbytes, self.now)
        self.core.check()
        return after - self.now

    def state(self, cpu: int, addr: int) -> int:
        return self.core.copies(addr // 64).get(cpu, 0)


@pytest.mark.parametrize(("cpu", "hops"), [(0, 0), (8, 1), (24, 2), (FAR, 7)])
def test_clean_data_from_memory_takes_200_cycles_and_40_per_hop(cpu: int, hops: int) -> None:
    lab = Lab()
    assert lab.cost(cpu, READ, lab.line()) == 200 + 40 * hops
    assert lab.cost(cpu, WRITE, lab.line()) == 200 + 40 * hops


@pytest.mark.parametrize(
    ("owner", "reader", "hops"), [(0, 1, 0), (0, 8, 1), (8, 0, 1), (0, FAR, 7), (FAR, 0, 7)]
)
def test_dirty_data_takes_260_cycles_and_40_per_hop(owner: int, reader: int, hops: int) -> None:
    lab = Lab()
    addr = lab.line()
    lab.cost(owner, WRITE, addr)
    assert lab.cost(reader, READ, addr) == 260 + 40 * hops


def test_dirty_data_takes_three_legs_if_home_owner_and_reader_are_three_nodes() -> None:
    lab = Lab()
    addr = lab.line()
    lab.cost(8, WRITE, addr)
    assert lab.cost(16, READ, addr) == 260 + 20 * (1 + 1 + 2)


@pytest.mark.parametrize(("other", "hops"), [(1, 0), (8, 1), (FAR, 7)])
def test_an_upgrade_takes_160_cycles_and_40_per_hop(other: int, hops: int) -> None:
    lab = Lab()
    addr = lab.line()
    lab.cost(0, READ, addr)
    lab.cost(other, READ, addr)
    assert lab.cost(0, WRITE, addr) == 160 + 40 * hops


def test_each_further_invalidation_costs_its_issue() -> None:
    lab = Lab()
    addr = lab.line()
    for cpu in range(6):
        lab.cost(cpu, READ, addr)
    assert lab.cost(0, WRITE, addr) == 160 + 4 * 4
    assert lab.core.counters(0).misses["upgrade"] == 1
    assert [lab.core.counters(cpu).invalidations for cpu in range(7)] == [0, 1, 1, 1, 1, 1, 0]


def test_hits_cost_4_cycles_in_l1_and_14_in_l2_and_an_rmw_20_more() -> None:
    lab = Lab()
    addr = lab.line()
    lab.cost(0, READ, addr)
    assert lab.cost(0, READ, addr) == 4
    assert lab.cost(0, WRITE, addr) == 4
    assert lab.cost(0, RMW, addr) == 24
    for i in range(1, 9):  # eight more lines of its L1 set push it out of L1
        lab.cost(0, READ, addr + i * 4096)
    assert lab.cost(0, READ, addr) == 14


def test_states_follow_the_protocol() -> None:
    lab = Lab()
    addr = lab.line()
    lab.cost(0, READ, addr)
    assert lab.state(0, addr) == EXCLUSIVE
    lab.cost(0, WRITE, addr)
    assert lab.state(0, addr) == MODIFIED
    lab.cost(1, READ, addr)
    assert (lab.state(0, addr), lab.state(1, addr)) == (SHARED, SHARED)
    assert lab.core.counters(0).write_backs == 1
    lab.cost(1, WRITE, addr)
    assert (lab.state(0, addr), lab.state(1, addr)) == (0, TRACKED)


def test_a_line_blocked_by_a_moving_owner_makes_the_next_one_wait() -> None:
    lab = Lab()
    addr = lab.line()
    lab.core.access(0, WRITE, addr, 8, 0)
    assert lab.core.access(1, WRITE, addr, 8, 1000) == 1260
    assert lab.core.access(2, WRITE, addr, 8, 1000) == 1520
    assert lab.core.access(3, WRITE, addr, 8, 1100) == 1780
    assert lab.core.counters(3).queued == 1520 - 1100


def test_clean_readers_of_one_line_wait_only_for_the_home() -> None:
    lab = Lab()
    addr = lab.line()
    lab.core.access(0, READ, addr, 8, 0)
    lab.core.access(1, READ, addr, 8, 1000)  # takes exclusiveness away
    ends = [lab.core.access(cpu, READ, addr, 8, 10_000) for cpu in (2, 3, 4)]
    assert ends == [10_200, 10_224, 10_248]


def test_a_request_served_later_takes_an_earlier_gap() -> None:
    lab = Lab()
    addr = lab.line()
    for cpu in (0, 1, 2):
        lab.core.access(cpu, WRITE, addr, 8, 10_000)
    assert lab.core.access(3, WRITE, addr, 8, 5_000) == 5_260
    assert lab.core.late == 0


def test_misses_are_told_apart() -> None:
    lab = Lab(replace(DIR, l2_bytes=64 * 16, l1_bytes=64 * 8))  # one set each
    addr = lab.line()
    lab.cost(0, READ, addr)
    for i in range(1, 17):
        lab.cost(0, READ, addr + 64 * i)
    lab.cost(0, READ, addr)
    misses = lab.core.counters(0).misses
    assert (misses["cold"], misses["capacity"]) == (17, 1)
    lab.cost(1, WRITE, addr)
    lab.cost(0, READ, addr)
    assert lab.core.counters(0).misses["true_sharing"] == 1
    lab.cost(1, WRITE, addr + 8)
    lab.cost(0, READ, addr)
    assert lab.core.counters(0).misses["false_sharing"] == 1
    lab.cost(1, WRITE, addr + 8)
    lab.cost(1, WRITE, addr)  # a hit, and yet news
    lab.cost(0, READ, addr)
    assert lab.core.counters(0).misses["true_sharing"] == 2


def test_the_least_recently_used_line_makes_room() -> None:
    lab = Lab(replace(DIR, l2_bytes=64 * 2, l2_ways=2, l1_bytes=64 * 2, l1_ways=2))
    addr = lab.line()
    lab.cost(0, READ, addr)
    lab.cost(0, READ, addr + 64)
    for _ in range(2):
        lab.cost(0, READ, addr)
    lab.cost(0, READ, addr + 128)
    # L2 sees only what misses L1, so to it the first line is the oldest: inclusion takes it from L1 too.
    assert [lab.state(0, addr + 64 * i) > 0 for i in range(3)] == [False, True, True]


def test_an_eviction_occupies_the_home_but_not_the_evictor() -> None:
    lab = Lab(replace(DIR, l2_bytes=64, l2_ways=1, l1_bytes=64, l1_ways=1))
    addr = lab.line()
    lab.cost(0, WRITE, addr)
    assert lab.cost(0, READ, addr + 64) == 200
    assert lab.core.counters(0).write_backs == 1
    assert lab.core.copies(addr // 64) == {}


def test_sub_blocks_of_an_l1_line_die_and_change_together() -> None:
    lab = Lab(preset("simos-16"))
    addr = lab.memory.alloc(0, 128)
    for offset in (0, 32, 64):
        lab.cost(0, READ, addr + offset)
    lab.cost(0, WRITE, addr + 32)
    assert lab.cost(0, WRITE, addr) == 1
    lab.cost(1, WRITE, addr)
    assert lab.core.copies(addr // 128) == {1: TRACKED}


def test_a_script_stops_before_a_visible_reference_beyond_the_limit() -> None:
    lab = Lab()
    addr = lab.memory.alloc(0, PAIR)
    refs = PAIR.script("swap", "r:left w:right r:left w:left").for_line(64)
    core = lab.core
    assert core.script(0, refs, addr, 0, 50, 40, 0) == (50, 0)
    assert core.script(0, refs, addr, 0, 50, 50, 0) == (50 + 200 + 3 * 4, -1)
    assert core.script(0, refs, addr, 0, 1000, 900, 0) == (1000 + 4 * 4, -1)  # private hits run ahead,
    assert core.script(0, refs, addr, 0, 1150, 900, 0) == (
        1150 + 3 * 4,
        3,
    )  # but not so far that others get it
    core.access(1, READ, addr, 8, 2000)
    assert core.script(0, refs, addr, 0, 3000, 2999, 0) == (
        3000,
        0,
    )  # a copy that others have too may be lost
    assert core.script(0, refs, addr, 0, 3000, 3000, 0) == (3004, 1)  # the write would be an upgrade
    assert core.script(0, refs, addr, 0, 3004, NEVER, 1) == (3004 + 160 + 4 + 4, -1)
    core.check()
    assert core.counters(0).references == 4 + 4 + 3 + 4


def test_an_rmw_is_visible_even_to_an_owner() -> None:
    lab = Lab()
    addr = lab.memory.alloc(0, PAIR)
    refs = PAIR.script("add", "x:left").for_line(64)
    lab.core.script(0, refs, addr, 0, 0, NEVER, 0)
    assert lab.core.script(0, refs, addr, 0, 1000, 999, 0) == (1000, 0)


def test_the_second_address_of_a_script_is_another_object() -> None:
    lab = Lab()
    first, second = lab.line(), lab.line()
    refs = PAIR.script("copy", "r:left w2:16").for_line(64)
    lab.core.script(0, refs, first, second, 0, NEVER, 0)
    assert (lab.state(0, first), lab.state(0, second)) == (EXCLUSIVE, MODIFIED)


def test_moves_of_a_line_are_attributed_to_the_bytes_that_were_wanted() -> None:
    lab = Lab()
    addr = lab.line()
    for _ in range(5):
        for cpu, offset in ((0, 0), (3, 16)):
            lab.cost(cpu, WRITE, addr + offset)
    (moved,) = lab.core.transfers()
    assert (moved.line, moved.transfers, moved.movers) == (addr // 64, 9, 0b1001)
    assert moved.offsets == ((16, 5), (0, 4))
    lab.core.reset_counters()
    assert list(lab.core.transfers()) == []
    assert lab.core.counters(0).references == 0


def test_moves_are_told_once() -> None:
    lab = Lab()
    addr = lab.line()

    def move(times: int) -> None:
        for _ in range(times):
            for cpu, offset in ((0, 0), (3, 16)):
                lab.cost(cpu, WRITE, addr + offset)

    move(5)
    assert list(lab.core.take_moves()) == [addr // 64, 9, 16], "nobody had to give the line to the first"
    assert list(lab.core.take_moves()) == []
    move(1)
    assert list(lab.core.take_moves()) == [addr // 64, 2, 16]
    move(3)
    lab.core.reset_counters()
    assert list(lab.core.take_moves()) == [], "what was reset is forgotten"
    move(1)
    assert list(lab.core.take_moves()) == [addr // 64, 2, 0]


def test_lines_that_left_all_caches_are_forgotten_unless_they_moved_often() -> None:
    lab = Lab(replace(DIR, l2_bytes=64, l2_ways=1, l1_bytes=64, l1_ways=1))
    hot, cool, filler = (lab.line() for _ in range(3))
    for _ in range(3):
        for cpu in (0, 1):
            lab.cost(cpu, WRITE, hot)
    for cpu in (0, 1):
        lab.cost(cpu, WRITE, cool)
        lab.cost(cpu, WRITE, filler)
    lab.cost(0, READ, filler + 64)
    lab.cost(1, READ, filler + 128)
    assert [moved.line for moved in lab.core.transfers()] == [hot // 64]
    before = lab.core.counters(0).misses["capacity"]
    lab.cost(0, READ, cool)  # it lost the line to a writer, which is forgotten, but not that it had it
    assert lab.core.counters(0).misses["capacity"] == before + 1


def test_one_processor_never_misses_for_coherence() -> None:
    lab = Lab()
    clocks = [0] * 1024
    addr = lab.line()
    lab.core.run((TraceItem(5, i % 3, addr + i * 8 % 4096, 8) for i in range(5000)), clocks)
    misses = lab.core.counters(5).misses
    assert misses == {"cold": 64, "capacity": 0, "true_sharing": 0, "false_sharing": 0, "upgrade": 0}
    assert clocks[5] == lab.core.counters(5).cycles
