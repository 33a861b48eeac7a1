"""The core against a flat memory: no processor ever reads a stale copy, whatever the order and the geometry.

The model knows nothing of caches: it stamps each store with a version. A copy takes the newest stamp when it
appears, a store by its holder renews it, and a later read from that copy must find the newest stamp of all.
All protocols run on both interconnects, with caches so small that lines come and go.
"""

import heapq
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k42fs.machine.config import MachineConfig, preset
from k42fs.machine.core import TraceItem
from k42fs.machine.layout import READ
from k42fs.machine.memory import Memory
from k42fs.machine.protocol import (
    EXCLUSIVE,
    OWNED,
    PROTOCOLS,
    SHARED,
    DirState,
    directory_state,
    protocol_state,
)
from k42fs.machine.pure_core import PureCore

CPUS, LINES = 6, 12
BASE = preset("dir-1024", processors=CPUS, processors_per_node=2)
TINY = replace(BASE, l1_bytes=256, l1_ways=2, l2_bytes=512, l2_ways=4)
L3: dict[str, Any] = {"l3_bytes": 128 * 6, "l3_ways": 2, "processors_per_l3": 2}
BY_DISTANCE: dict[str, Any] = {
    "topology": "groups",
    "nodes_per_group": 2,
    "memory_by_distance": (200, 300, 400),
    "dirty_by_distance": (80, 300, 600),
    "upgrade_by_distance": (70, 200, 300),
}

protocols: st.SearchStrategy[Any] = st.sampled_from(sorted(PROTOCOLS))
shared_caches: st.SearchStrategy[dict[str, Any]] = st.sampled_from([{}, {}, L3])
interconnects: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"interconnect": "bus"},
        {"interconnect": "bus", "topology": "bus", "clean_intervention": True},
        {"interconnect": "directory"},
        {"network": "links", "link_cycles": 30},
        {"network": "links", **BY_DISTANCE},
    ]
)
geometries = st.sampled_from(
    [
        BASE,
        TINY,
        replace(TINY, line_bytes=128, l1_line_bytes=32, l2_bytes=1024),
        replace(TINY, l1_bytes=64, l1_ways=1, l2_bytes=64, l2_ways=1),
        replace(BASE, scale_caches_log2=20),
        replace(TINY, history=2),
    ]
)
options: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "notify_evictions": st.just(False),
        "memory_busy_cycles": st.just(30),
        "home_busy_cycles": st.just(0),
        "homes": st.sampled_from(["interleaved", "first"]),
    },
)
formats: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {"sharer_format": "coarse", "sharer_bits": 4}, {"sharer_format": "limited", "sharer_bits": 4}]
)


@st.composite
def machines(draw: st.DrawFn) -> MachineConfig:
    """Any protocol on any interconnect with any geometry, and any of the options."""
    shared = draw(shared_caches)
    fields: dict[str, Any] = {**draw(interconnects), **draw(options), **draw(formats), **shared}
    return replace(draw(geometries), protocol=draw(protocols), **fields)


Step = tuple[int, int, int, int]
reference = st.tuples(
    st.integers(0, CPUS - 1), st.integers(0, 2), st.integers(0, LINES * 8 - 1), st.integers(-300, 900)
)
# Lists without a least size are mostly too short for a line to come, move and go; those with one shrink badly.
references = st.lists(reference, max_size=250) | st.lists(reference, min_size=80, max_size=250)


def check_states(config: MachineConfig, cpu: int, code: int, after: dict[int, int]) -> None:
    """Check the copies of a line after *cpu*'s reference to it."""
    assert cpu in after
    allowed = PROTOCOLS[config.protocol].states
    assert all(protocol_state(state) in allowed for state in after.values())
    if code != READ or max(after.values()) >= EXCLUSIVE:
        assert list(after) == [cpu]
        assert after[cpu] >= EXCLUSIVE
    else:
        assert sorted(after.values())[:-1] == [SHARED] * (len(after) - 1)
        assert max(after.values()) in (SHARED, OWNED)


@settings(max_examples=100)
@given(machines(), references)
def test_every_read_sees_the_newest_store(config: MachineConfig, trace: list[Step]) -> None:
    core = PureCore(config, Memory(config), debug=True)
    newest = dict.fromkeys(range(LINES), 0)
    stamps: dict[tuple[int, int], int] = {}
    now = 1000
    for step, (cpu, code, word, jump) in enumerate(trace, start=1):
        addr = word * 8
        line = addr // config.line_bytes
        before = core.copies(line)
        if code == READ and cpu in before:
            assert stamps[cpu, line] == newest[line]
        now = max(0, now + jump)  # also backwards, as in live mode
        assert core.access(cpu, code, addr, 8, now) > now
        if code != READ:
            newest[line] = step
        after = core.copies(line)
        check_states(config, cpu, code, after)
        for holder in after:
            if holder not in before or code != READ:
                stamps[holder, line] = newest[line]
        core.check()


def rows_used(config: MachineConfig, trace: Iterable[Step]) -> set[tuple[DirState, bool]]:
    """Return (directory state before, whether a store) of every miss in the trace."""
    core, used = PureCore(config, Memory(config), debug=True), set()
    for at, (cpu, code, word, _) in enumerate(trace):
        before = core.copies(word * 8 // config.line_bytes)
        if before.get(cpu, 0) < (SHARED if code == READ else EXCLUSIVE):
            owner = max((state for state in before.values() if state != SHARED), default=0)
            used.add((directory_state(protocol_state(owner), SHARED in before.values()), code != READ))
        core.access(cpu, code, word * 8, 8, at * 10_000)
    return used


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
@pytest.mark.parametrize("interconnect", ["bus", "directory"])
def test_a_short_walk_meets_every_directory_state(protocol: Any, interconnect: Any) -> None:  # noqa: ANN401
    """That the tests above reach what they are about does not depend on luck."""
    config = replace(TINY, protocol=protocol, interconnect=interconnect)
    walk = [(i * 7 % CPUS, (0, 0, 1, 0, 0, 2, 0)[i % 7], i * i * 5 % (LINES * 8), 0) for i in range(3000)]
    states = {DirState.U, DirState.S, DirState.X} | ({DirState.O} if protocol == "moesi" else set())
    assert rows_used(config, walk) == {(state, store) for state in states for store in (False, True)}


@settings(max_examples=30)
@given(machines(), references)
def test_a_trace_gives_the_same_counts_in_one_go_or_by_steps_and_checked_or_not(
    config: MachineConfig, trace: list[Step]
) -> None:
    items = [TraceItem(cpu, code, word * 8, 8) for cpu, code, word, _ in trace]
    whole = PureCore(config, Memory(config))
    steps = PureCore(config, Memory(config), debug=True, check_every=7)
    clocks, stepped = [0] * CPUS, [0] * CPUS
    whole.run(items, clocks)
    for item in items:
        stepped[item.cpu] = steps.access(*item, stepped[item.cpu])
    assert clocks == stepped
    assert [whole.counters(cpu) for cpu in range(CPUS)] == [steps.counters(cpu) for cpu in range(CPUS)]
    assert list(whole.transfers()) == list(steps.transfers())
    assert (whole.late, whole.order_slips) == (steps.late, steps.order_slips)
    whole.check()


@settings(max_examples=40)
@given(machines(), st.lists(st.tuples(st.integers(0, 2), st.integers(0, LINES * 8 - 1)), min_size=100))
def test_in_order_of_time_no_request_is_late(config: MachineConfig, work: list[tuple[int, int]]) -> None:
    """Every processor in a loop, the one with the lowest clock first: no history is ever too short."""
    config = replace(config, history=32)
    core = PureCore(config, Memory(config), debug=True)
    clocks = [(0, cpu) for cpu in range(CPUS)]
    for code, word in work:
        now, cpu = heapq.heappop(clocks)
        heapq.heappush(clocks, (core.access(cpu, code, word * 8, 8, now), cpu))
    core.check()
    assert core.late == 0


@settings(max_examples=40)
@given(machines(), st.lists(st.tuples(st.integers(0, 2), st.integers(0, LINES * 8 - 1)), max_size=150))
def test_one_processor_never_loses_a_line_to_another(
    config: MachineConfig, trace: list[tuple[int, int]]
) -> None:
    core, clocks = PureCore(config, Memory(config), debug=True), [0] * CPUS
    core.run((TraceItem(3, code, word * 8, 8) for code, word in trace), clocks)
    counters = core.counters(3)
    assert counters.misses["true_sharing"] == counters.misses["false_sharing"] == counters.from_cache == 0
    assert (counters.misses["upgrade"] == 0) or config.protocol == "msi"
    assert (counters.invalidations, list(core.transfers())) == (0, [])
    assert clocks[3] == counters.cycles
