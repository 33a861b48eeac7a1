"""L3s: what fills them, what they answer, when they lose a line."""

from typing import Any

from k42fs.machine.config import preset
from k42fs.machine.layout import READ, WRITE
from k42fs.machine.shared_cache import SharedCaches
from tests.machine.core_lab import ONE_LINE, CoreLab, bus, directory

L3 = {"l3_bytes": 64 * 64, "l3_ways": 4, "l3_cycles": 40, "processors_per_l3": 4}
TINY = {**ONE_LINE, "l1_bytes": 64, "l2_bytes": 64}


def lab(**fields: Any) -> CoreLab:  # noqa: ANN401
    return directory(**{**L3, **fields})


def test_a_neighbours_fetch_fills_the_l3_which_then_answers_clean_reads() -> None:
    m = lab()
    addr = m.line()
    assert m.cost(0, READ, addr) == 200
    assert m.cost(1, READ, addr) == 260  # exclusive at processor 0: the home must ask
    assert m.cost(2, READ, addr) == 40
    assert m.cost(4, READ, addr) == 200  # another L3
    assert m.cost(5, READ, addr) == 40
    assert m.states(addr) == dict.fromkeys((0, 1, 2, 4, 5), "S")
    counters = m.counters(2)
    assert (counters.l3_hits, sum(counters.misses.values()), counters.nbytes) == (1, 0, 0)
    assert counters.stall["l3"] == counters.cycles == 40


def test_what_left_the_private_cache_is_found_in_the_l3() -> None:
    m = lab(**TINY)
    addr = m.line()
    m.cost(0, READ, addr)
    m.cost(0, READ, m.line())
    assert m.cost(0, READ, addr) == 40
    assert m.states(addr) == {0: "E"}


def test_a_write_needs_the_home_even_if_the_l3_has_the_line() -> None:
    m = lab(**TINY)
    addr = m.line()
    m.cost(0, READ, addr)
    m.cost(0, READ, m.line())
    assert m.cost(0, WRITE, addr) == 200


def test_a_write_back_renews_the_l3() -> None:
    m = lab(**TINY)
    addr = m.line()
    m.cost(0, WRITE, addr)
    m.cost(0, READ, m.line())
    assert m.cost(1, READ, addr) == 40


def test_a_new_owner_elsewhere_takes_the_line_from_the_l3() -> None:
    m = lab(**TINY)
    addr = m.line()
    m.cost(0, READ, addr)
    m.cost(0, READ, m.line())
    m.cost(4, WRITE, addr)
    m.cost(4, READ, m.line())
    assert m.cost(0, READ, addr) == 200
    assert m.cost(5, READ, addr) == 260  # its own L3 has it, but processor 0 might write


def test_a_dirty_line_read_elsewhere_renews_both_l3s() -> None:
    m = lab()
    addr = m.line()
    for cpu in (0, 1, 4):
        m.cost(cpu, READ, addr)
    m.cost(0, WRITE, addr)
    assert m.cost(4, READ, addr) == 260
    assert m.cost(5, READ, addr) == 40
    assert m.cost(2, READ, addr) == 40


def test_an_owned_line_is_never_answered_by_an_l3() -> None:
    m = lab(protocol="moesi")
    addr = m.line()
    m.cost(0, WRITE, addr)
    m.cost(1, READ, addr)
    assert m.states(addr) == {0: "O", 1: "S"}
    assert m.cost(2, READ, addr) == 260


def test_a_read_from_the_l3_waits_while_the_line_is_blocked_and_blocks_nobody() -> None:
    m = lab()
    addr = m.line()
    m.at(0, WRITE, addr, 0)
    assert m.at(4, READ, addr, 1000) == 1260
    assert m.at(1, READ, addr, 1100) == 1260 + 40
    assert m.counters(1).queued == 160
    assert m.at(5, READ, addr, 1260) == 1260 + 40
    assert m.at(8, READ, addr, 1260) == 1260 + 240


def test_an_owner_that_is_gone_elsewhere_keeps_the_l3_from_answering() -> None:
    m = lab(notify_evictions=False, **TINY)
    addr = m.line()
    m.cost(0, READ, addr)
    m.cost(0, READ, m.line())
    assert m.cost(1, READ, addr) == 260
    assert m.counters(1).extra_invalidations == 1
    m.cost(1, READ, m.line())
    assert m.cost(1, READ, addr) == 40


def test_an_l3_saves_the_bus() -> None:
    m = bus(l3_bytes=1 << 20, l3_cycles=20, processors_per_l3=4)
    addr = m.line()
    for cpu in (0, 1):
        m.cost(cpu, READ, addr)
    assert m.cost(2, READ, addr) == 20
    assert m.cost(4, READ, addr) == 300


def test_the_least_recently_used_line_of_a_set_makes_room() -> None:
    config = preset("dir-1024", processors=8, **{**L3, "l3_bytes": 64 * 6, "l3_ways": 2})
    caches = SharedCaches(config)
    assert config.l3_sets == 3
    for line in (0, 3, 0, 6, 1):
        caches.fill(0, line)
    caches.fill(4, 3)
    assert [line for line in range(8) if caches.has(1, line)] == [0, 1, 6]
    assert [line for line in range(8) if caches.has(7, line)] == [3]
    caches.fill(4, 0)
    caches.drop_elsewhere(5, 0)
    assert caches.holders(0) == [1]
    caches.check()
