"""Sharer formats: who is invalidated besides, and what that costs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k42fs.machine.config import preset
from k42fs.machine.layout import READ, WRITE
from k42fs.machine.sharer_formats import sharer_format
from tests.machine.core_lab import directory


def bits(*processors: int) -> int:
    return sum(1 << cpu for cpu in processors)


@pytest.mark.parametrize(
    ("fields", "sharers", "believed"),
    [
        ({}, bits(0, 5, 9), bits(0, 5, 9)),
        ({"sharer_format": "coarse", "sharer_bits": 4}, bits(0, 5), bits(*range(8))),
        ({"sharer_format": "coarse", "sharer_bits": 4}, bits(15), bits(12, 13, 14, 15)),
        ({"sharer_format": "coarse", "sharer_bits": 16}, bits(3, 5), bits(3, 5)),
        (
            {"sharer_format": "coarse", "sharer_bits": 3},
            bits(13),
            bits(12, 13, 14, 15),
        ),  # groups of 6: clipped
        ({"sharer_format": "limited", "sharer_bits": 11}, bits(3, 5), bits(3, 5)),
        ({"sharer_format": "limited", "sharer_bits": 11}, bits(3, 5, 7), bits(*range(16))),
    ],
)
def test_what_the_home_takes_for_the_sharers(fields: dict[str, int], sharers: int, believed: int) -> None:
    assert sharer_format(preset("dir-1024", processors=16, **fields))(sharers) == believed


@given(st.integers(1, 40), st.integers(1, 64), st.sampled_from(["coarse", "limited"]), st.data())
def test_no_format_forgets_a_sharer_or_invents_a_processor(
    processors: int, size: int, kind: str, data: st.DataObject
) -> None:
    config = preset("dir-1024", processors=processors, sharer_format=kind, sharer_bits=max(size, 6))
    sharers = data.draw(st.integers(1, (1 << processors) - 1))
    believed = sharer_format(config)(sharers)
    assert believed & sharers == sharers
    assert believed < 1 << processors


@pytest.mark.parametrize(
    ("fields", "targets", "extra"),
    [({}, 1, 0), ({"sharer_format": "coarse", "sharer_bits": 4}, 7, 6)],
)
def test_extra_invalidations_are_issued_counted_and_waited_for(
    fields: dict[str, int], targets: int, extra: int
) -> None:
    lab = directory(**fields)
    addr = lab.line()
    for cpu in (0, 5):
        lab.cost(cpu, READ, addr)
    before = lab.counters(0).nbytes
    assert lab.cost(0, WRITE, addr) == 160 + 4 * (targets - 1)
    assert lab.at(1, READ, lab.line(), lab.now) - lab.now == 24 + 4 * targets + 200
    assert (lab.counters(0).extra_invalidations, lab.counters(0).nbytes - before) == (
        extra,
        16 + 16 * targets,
    )
    assert lab.states(addr) == {0: "M"}


def test_pointers_that_do_not_suffice_mean_a_broadcast_as_far_as_it_must_go() -> None:
    lab = directory(sharer_format="limited", sharer_bits=8)  # two pointers
    addr = lab.line()
    for cpu in (0, 1, 2):
        lab.cost(cpu, READ, addr)
    assert lab.cost(0, WRITE, addr) == 160 + 40 + 4 * 14  # also to the other node
    assert lab.counters(0).extra_invalidations == 13


def test_a_lone_reader_under_a_coarse_map_looks_like_its_whole_group() -> None:
    lab = directory(sharer_format="coarse", sharer_bits=4, protocol="msi")
    addr = lab.line()
    lab.cost(0, READ, addr)
    assert lab.cost(0, WRITE, addr) == 160 + 4 * 2
    assert lab.counters(0).extra_invalidations == 3
