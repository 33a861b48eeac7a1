"""Links: ways in dimension order, and messages that queue for them."""

from itertools import pairwise

import pytest

from k42fs.machine.config import preset
from k42fs.machine.history import SecondStage
from k42fs.machine.layout import READ, WRITE
from k42fs.machine.links import LINK_SHIFT, way
from tests.machine.core_lab import directory


def stops(topology: str, a: int, b: int) -> list[int]:
    """Return the nodes on the way from *a* to *b*."""
    links = way(preset("dir-1024", processors=128, topology=topology, nodes_per_group=4), a, b)
    ends = [(link >> LINK_SHIFT, link & (1 << LINK_SHIFT) - 1) for link in links]
    assert all(one[1] == other[0] for one, other in pairwise(ends))
    return [ends[0][0], *(end for _, end in ends)] if ends else []


@pytest.mark.parametrize(
    ("topology", "a", "b", "expected"),
    [
        ("hypercube", 3, 3, []),
        ("hypercube", 0, 5, [0, 1, 5]),
        ("hypercube", 5, 0, [5, 4, 0]),
        ("hypercube", 6, 9, [6, 7, 5, 1, 9]),
        ("flat", 2, 9, [2, 9]),
        ("bus", 2, 9, []),
        ("groups", 1, 2, [1, 2]),
        ("groups", 1, 6, [1, 2, 6]),
        ("groups", 1, 5, [1, 5]),
    ],
)
def test_a_way_fixes_one_dimension_after_the_other(
    topology: str, a: int, b: int, expected: list[int]
) -> None:
    assert stops(topology, a, b) == expected


@pytest.mark.parametrize("reader", [0, 8, 24, 56])
def test_free_links_cost_nothing_beyond_the_hops(reader: int) -> None:
    for code in (READ, WRITE):
        ideal, linked = directory(processors=64), directory(processors=64, network="links")
        for lab in (ideal, linked):
            addr = lab.line()
            for cpu in (reader, 16, reader, 40, reader):
                lab.cost(cpu, code, addr)
        assert [ideal.counters(cpu) for cpu in range(64)] == [linked.counters(cpu) for cpu in range(64)]
        assert linked.core.order_slips == 0


def test_messages_of_two_processors_queue_for_the_link_between_their_nodes() -> None:
    """Node 1 reads two lines of node 0 at 1000. Home: 24 each, so the second starts at 1024.

    Link there: 1000 to 1040, so the second request waits 16. Link back: 1220 to 1260, then from 1260.
    """
    lab = directory(network="links", link_cycles=40)
    assert lab.at(8, READ, lab.line(), 1000) == 1240
    assert lab.at(9, READ, lab.line(), 1000) == 1024 + 240 + 16
    counters = lab.counters(9)
    assert (counters.queued, counters.stall["memory"]) == (24, 256)


def test_a_link_each_way() -> None:
    lab = directory(network="links", link_cycles=100)
    lab.at(8, READ, lab.line(0), 1000)  # there: 1->0 from 1000; back: 0->1 from 1220
    assert lab.at(0, READ, lab.line(8), 1300) == 1560  # there: 0->1 waits from 1300 to 1320; back: 1->0 free


def test_a_line_is_blocked_until_delayed_data_arrive() -> None:
    lab = directory(network="links", link_cycles=100)
    addr = lab.line(0)
    lab.at(0, WRITE, addr, 0)
    lab.at(8, READ, lab.line(0), 1000)
    assert lab.at(9, WRITE, addr, 1050) == 1400  # 1050 + 300 with 50 more for the link to the home
    assert lab.at(1, WRITE, addr, 1050) == 1400 + 300


def test_within_a_node_there_are_no_links() -> None:
    lab = directory(network="links", link_cycles=1000)
    assert [lab.at(cpu, READ, lab.line(), 1000) for cpu in range(3)] == [1200, 1224, 1248]


def test_a_slip_is_waiting_behind_what_started_later() -> None:
    stage = SecondStage(8)
    assert stage.reserve(100, 300, 10) == 300
    assert stage.reserve(100, 300, 10) == 310  # the same start: a queue, no slip
    assert (stage.reserve(50, 280, 10), stage.slips) == (280, 0)  # takes the gap before
    assert (stage.reserve(50, 295, 10), stage.slips) == (320, 1)
    assert (stage.reserve(200, 320, 10), stage.slips) == (330, 1)
