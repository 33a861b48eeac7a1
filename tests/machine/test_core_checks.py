"""The core's own checks find what a wrong rule does. Each wrong rule here is a protocol table with one row
changed."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from k42fs.machine.config import preset
from k42fs.machine.data_values import DataValues
from k42fs.machine.layout import WRITE, Kind, Layout
from k42fs.machine.memory import Memory
from k42fs.machine.protocol import (
    EXCLUSIVE,
    GET_S,
    INVALID,
    MODIFIED,
    PROTOCOLS,
    SHARED,
    Protocol,
    Snoop,
    Step,
)
from k42fs.machine.pure_core import PureCore


def downgrade_without_writing(protocol: Protocol) -> Protocol:
    return replace(protocol, snoop={**protocol.snoop, (MODIFIED, GET_S): Snoop(SHARED, True, False)})


def evict_without_writing(protocol: Protocol) -> Protocol:
    return replace(protocol, evict_writes=frozenset())


def stay_exclusive(protocol: Protocol) -> Protocol:
    return replace(protocol, snoop={**protocol.snoop, (EXCLUSIVE, GET_S): Snoop(EXCLUSIVE, True, False)})


def always_exclusive(protocol: Protocol) -> Protocol:
    return replace(
        protocol,
        processor={**protocol.processor, (INVALID, 0): Step(GET_S, EXCLUSIVE, EXCLUSIVE)},
    )


def memory_supplies(protocol: Protocol) -> Protocol:
    return replace(protocol, snoop={**protocol.snoop, (MODIFIED, GET_S): Snoop(SHARED, False, True)})


MUTATIONS: list[tuple[str, Callable[[Protocol], Protocol], str]] = [
    ("directory", downgrade_without_writing, "memory is stale"),
    ("bus", downgrade_without_writing, "memory is stale"),
    ("directory", evict_without_writing, "memory is stale"),
    ("directory", stay_exclusive, "sharers 0x"),
    ("bus", always_exclusive, "cpu . in E, sharers 0x"),
    ("bus", memory_supplies, "uses version"),
]


def walk(interconnect: str, debug: bool, check_every: int) -> None:
    """Run a random mix on small caches."""
    config = preset(
        "dir-1024", processors=4, interconnect=interconnect, l1_bytes=128, l1_ways=2, l2_bytes=256, l2_ways=2
    )
    core, chance = PureCore(config, Memory(config), debug=debug, check_every=check_every), random.Random(1)
    for at in range(3000):
        core.access(chance.randrange(4), chance.choice((0, 0, 1, 2)), chance.randrange(64) * 8, 8, at * 1000)


@pytest.mark.parametrize(("interconnect", "mutate", "complaint"), MUTATIONS)
def test_debugging_finds_a_wrong_rule(
    interconnect: str,
    mutate: Callable[[Protocol], Protocol],
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    walk(interconnect, debug=True, check_every=0)
    monkeypatch.setitem(PROTOCOLS, "mesi", mutate(PROTOCOLS["mesi"]))
    with pytest.raises(AssertionError, match=complaint):
        walk(interconnect, debug=True, check_every=0)


@pytest.mark.parametrize("check_every", [1, 50])
def test_checking_now_and_then_finds_it_too(check_every: int, monkeypatch: pytest.MonkeyPatch) -> None:
    walk("directory", debug=False, check_every=check_every)
    monkeypatch.setitem(PROTOCOLS, "mesi", stay_exclusive(PROTOCOLS["mesi"]))
    with pytest.raises(AssertionError, match="sharers"):
        walk("directory", debug=False, check_every=check_every)


def test_a_script_is_checked_and_priced_alike() -> None:
    pair = Layout("Pair", Kind.GLOBAL_PADDED, left=8, right=8)
    refs = pair.script("swap", "r:left w:right r:left w:left x:right").for_line(64)
    config = preset("dir-1024")
    plain, checked = PureCore(config, Memory(config)), PureCore(config, Memory(config), debug=True)
    for core in (plain, checked):
        assert core.script(0, refs, 4096, 0, 50, 40, 0) == (50, 0)
        assert core.script(0, refs, 4096, 0, 50, 50, 0) == (262, 4)  # an rmw is visible
        core.access(1, WRITE, 4096, 8, 2000)
        assert core.script(0, refs, 4096, 0, 3000, 1 << 62, 2) == (3000 + 260 + 160 + 4 + 20, -1)
    assert plain.counters(0) == checked.counters(0)


def test_versions_move_with_the_data() -> None:
    values = DataValues()
    values.from_memory(0, 7)
    values.referenced(0, 7, is_store=True)
    values.from_cache(1, 7, 0)
    values.referenced(1, 7, is_store=False)
    with pytest.raises(AssertionError, match="memory is stale"):
        values.check(7, dirty=False, l3s=())
    values.check(7, dirty=True, l3s=())
    values.into_l3(1, 7, 2)
    values.check(7, dirty=True, l3s=(2,))
    values.written_back(1, 7)
    values.check(7, dirty=False, l3s=())
    values.referenced(1, 7, is_store=True)
    with pytest.raises(AssertionError, match="L3 2 is stale"):
        values.check(7, dirty=True, l3s=(2,))
    with pytest.raises(AssertionError, match="cpu 0 uses version 1, 2 is the newest"):
        values.referenced(0, 7, is_store=False)
