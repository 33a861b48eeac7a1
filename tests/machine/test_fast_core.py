"""The compiled core against the pure one: the same numbers, to the last cycle, on any trace and machine."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from k42fs.errors import ConfigError
from k42fs.machine import cores
from k42fs.machine.config import MachineConfig, preset
from k42fs.machine.core import NEVER, CoherenceCore, TraceArrays, TraceItem
from k42fs.machine.layout import READ, RMW, WRITE, Kind, Layout
from k42fs.machine.memory import NODE_SHIFT, Memory
from k42fs.machine.pure_core import PureCore

fast_core = pytest.importorskip("k42fs.machine.fast_core", exc_type=ImportError)
FastCore = fast_core.FastCore

BASE = preset("dir-1024", processors=6, processors_per_node=2)
BOX = Layout("Box", Kind.GLOBAL_PADDED, lock=16, count=8, pad=40, data=64)

any_ways = st.sampled_from((1, 2, 3, 4, 5, 8, 16, 33, 40))
powers = st.sampled_from((1, 2, 4, 8))
distances = st.just(()) | st.lists(st.integers(50, 900), min_size=11, max_size=11).map(tuple)


@st.composite
def configs(draw: st.DrawFn) -> MachineConfig:
    """Draw any machine whose caches are small enough to matter."""
    line = draw(st.sampled_from((32, 64, 128)))
    l1_line = draw(st.sampled_from([size for size in (16, 32, 64, 128) if size <= line]))
    ways = {"l1_ways": draw(any_ways), "l2_ways": draw(any_ways)}
    sets = draw(powers)
    fields: dict[str, Any] = {
        "processors": draw(st.sampled_from((1, 2, 3, 6, 17, 70, 130, 1024))),
        "processors_per_node": draw(st.sampled_from((1, 2, 3, 8))),
        "topology": draw(st.sampled_from(("hypercube", "flat", "bus", "groups"))),
        "nodes_per_group": draw(powers),
        "protocol": draw(st.sampled_from(("msi", "mesi", "moesi"))),
        "interconnect": draw(st.sampled_from(("directory", "directory", "bus"))),
        "homes": draw(st.sampled_from(("address", "interleaved", "first"))),
        "line_bytes": line,
        "l1_line_bytes": l1_line,
        **ways,
        "l1_bytes": ways["l1_ways"] * l1_line * min(sets, draw(powers)),
        "l2_bytes": ways["l2_ways"] * line * sets,
        "l3_bytes": draw(st.sampled_from((0, 2 * 3 * line, 2 * 16 * line))),
        "l3_ways": draw(st.sampled_from((1, 2))),
        "processors_per_l3": draw(powers),
        "scale_caches_log2": draw(st.integers(0, 1)),
        "home_busy_cycles": draw(st.sampled_from((0, 24, 90))),
        "memory_busy_cycles": draw(st.sampled_from((0, 13))),
        "inval_issue_cycles": draw(st.sampled_from((0, 4))),
        "hop_cycles": draw(st.sampled_from((0, 20))),
        "network": draw(st.sampled_from(("ideal", "links"))),
        "link_cycles": draw(st.sampled_from((1, 8, 60))),
        "bus_address_cycles": draw(st.sampled_from((1, 8))),
        "bus_data_cycles": draw(st.sampled_from((1, 32))),
        "clean_intervention": draw(st.booleans()),
        "sharer_format": draw(st.sampled_from(("full", "coarse", "limited"))),
        "sharer_bits": draw(st.sampled_from((3, 8, 40, 1024))),
        "notify_evictions": draw(st.booleans()),
        "history": draw(st.sampled_from((2, 3, 32))),
        "memory_by_distance": draw(distances),
        "dirty_by_distance": draw(distances),
        "upgrade_by_distance": draw(distances),
    }
    try:
        return MachineConfig(**fields)
    except ConfigError:
        assume(False)
        raise


# Some processors, lines and words; what is done; how far time goes on, or back as in live mode.
references = st.lists(
    st.tuples(st.integers(0, 1023), st.integers(0, 9), st.integers(0, 15), st.integers(0, 2)), max_size=200
)
jumps = st.sampled_from((300, 3_000, 30_000))


def assert_equal(pure: PureCore, fast: CoherenceCore, config: MachineConfig, lines: range) -> None:
    """Assert that the two cores have counted the same, and hold the same copies of *lines*."""
    for cpu in range(config.processors):
        assert pure.counters(cpu) == fast.counters(cpu)
    assert list(pure.transfers()) == list(fast.transfers())
    assert pure.late == fast.late
    assert pure.order_slips == fast.order_slips
    for line in lines:
        assert pure.copies(line) == fast.copies(line)
    fast.check()


def moves(core: CoherenceCore) -> list[tuple[int, int, int]]:
    """Take the lines that moved, in ascending order."""
    taken = core.take_moves()
    return sorted(zip(taken[::3], taken[1::3], taken[2::3], strict=True))


@settings(max_examples=150, deadline=None)
@given(configs(), references, jumps, st.randoms(use_true_random=False))
def test_single_references_take_the_same_time(
    config: MachineConfig, trace: list[tuple[int, int, int, int]], jump: int, random: Random
) -> None:
    pure, fast = PureCore(config, Memory(config)), FastCore(config, Memory(config), check_every=7)
    now = 100_000
    for step, (cpu, line, word, code) in enumerate(trace):
        cpu %= config.processors
        node = line % config.nodes << NODE_SHIFT
        addr = node | line * config.line_bytes | word * 8 % config.line_bytes
        now = max(0, now + random.randint(-jump, jump + 50))
        assert pure.access(cpu, code, addr, 8, now) == fast.access(cpu, code, addr, 8, now)
        if step == len(trace) // 2:
            pure.reset_counters()
            fast.reset_counters()
        if step % 5 == 4:
            assert moves(pure) == moves(fast)
    assert_equal(pure, fast, config, range(10))


@settings(max_examples=60, deadline=None)
@given(configs(), references)
def test_traces_move_the_clocks_alike_whatever_they_come_in(
    config: MachineConfig, trace: list[tuple[int, int, int, int]]
) -> None:
    items = [
        TraceItem(cpu % config.processors, code, line * config.line_bytes + word % 2 * 8, 8)
        for cpu, line, word, code in trace
    ]
    pure, arrays, fast = (
        PureCore(config, Memory(config)),
        FastCore(config, Memory(config)),
        FastCore(config, Memory(config)),
    )
    clocks = [[0] * config.processors for _ in range(3)]
    pure.run(TraceArrays.of(items), clocks[0])
    arrays.run(TraceArrays.of(items), clocks[1])
    fast.run(iter(items), clocks[2])
    assert clocks[0] == clocks[1] == clocks[2]
    assert_equal(pure, arrays, config, range(10))
    assert_equal(pure, fast, config, range(10))


SCRIPTS = [
    BOX.script("add", "r:data w:count x:lock w2:0").refs,
    BOX.script("look", "r:lock r:data r2:8").refs,
    BOX.script("swap", "x:lock r:count w:count w:data x:lock").refs,
]


@settings(max_examples=60, deadline=None)
@given(
    configs(),
    st.lists(
        st.tuples(st.integers(0, 1023), st.sampled_from(SCRIPTS), st.integers(0, 4), st.integers(-400, 400)),
        max_size=80,
    ),
)
def test_scripts_stop_at_the_same_reference(
    config: MachineConfig, calls: list[tuple[int, Any, int, int]]
) -> None:
    pure, fast = PureCore(config, Memory(config)), FastCore(config, Memory(config))
    now = 0
    woken: list[list[tuple[int, int, int]]] = [[], []]
    for core, told in ((pure, woken[0]), (fast, woken[1])):
        core.watched.update(range(3))
        core.on_taken = lambda line, cpu, start, told=told: told.append((line, cpu, start)) or start + 50
    for cpu, refs, box, slack in calls:
        where = (cpu % config.processors, refs, box * 256, (box + 1) * 256, now, now + slack)
        answer = pure.script(*where, 0)
        assert fast.script(*where, 0) == answer
        after, stopped = answer
        if stopped >= 0:
            where = (*where[:4], after, NEVER)
            answer = pure.script(*where, stopped)
            assert fast.script(*where, stopped) == answer
        now += 70
    assert woken[0] == woken[1]
    assert_equal(pure, fast, config, range(10))


@pytest.mark.parametrize("sharers", [3, 4, 5, 63, 64, 65, 128, 1023])
def test_any_number_of_sharers_is_invalidated(sharers: int) -> None:
    config = preset("dir-1024", processors=1024)
    pure, fast = PureCore(config, Memory(config)), FastCore(config, Memory(config))
    for step in range(3 * sharers):
        now = step * 1000
        cpu, code = (step * 7 % 1024, READ) if step % sharers else (step * 13 % 1024, WRITE)
        assert pure.access(cpu, code, 4096 + step % 64, 8, now) == fast.access(
            cpu, code, 4096 + step % 64, 8, now
        )
    assert_equal(pure, fast, config, range(60, 70))


def test_many_lines_come_and_go() -> None:
    tiny = replace(BASE, l1_bytes=256, l1_ways=2, l2_bytes=512, l2_ways=4)
    for config in (tiny, replace(tiny, notify_evictions=False)):
        pure, fast = PureCore(config, Memory(config)), FastCore(config, Memory(config), check_every=5000)
        trace = [TraceItem(i % 6, i % 3, i * 7919 % 20_011 * 64, 8) for i in range(20_000)]
        clocks = [[0] * 6, [0] * 6]
        pure.run(trace, clocks[0])
        fast.run(TraceArrays.of(trace), clocks[1])
        assert clocks[0] == clocks[1]
        assert_equal(pure, fast, config, range(0, 20_011, 97))


@pytest.mark.parametrize("protocol", ["msi", "mesi", "moesi"])
def test_a_long_trace_of_many_processors_is_looked_at_ahead_and_counts_the_same(protocol: str) -> None:
    random = Random(5)
    config = preset("dir-1024", processors=70, protocol=protocol)
    trace = TraceArrays.of(
        TraceItem(random.randrange(70), int(random.random() ** 3 * 3), line * 64 + random.randrange(8) * 8, 8)
        for line in (int(random.random() ** 4 * 4000) for _ in range(21_000))
    )
    pure, fast = PureCore(config, Memory(config)), FastCore(config, Memory(config))
    clocks = [[0] * 70, [0] * 70]
    for core, times in zip((pure, fast), clocks, strict=True):
        core.run(trace, times)
    assert clocks[0] == clocks[1]
    assert_equal(pure, fast, config, range(0, 4000, 37))


@pytest.mark.parametrize("wrong", [(200, READ, 0), (3, 3, 0), (3, READ, -1 << 62), (65_535, RMW, -8)])
def test_a_look_ahead_at_what_is_no_reference_does_no_harm(wrong: tuple[int, int, int]) -> None:
    config = preset("dir-1024", processors=200)
    fast = FastCore(config, Memory(config))
    items = [TraceItem(i % 200, i % 3, i % 50 * 64, 8) for i in range(1000)]
    clocks = [0] * 200
    with pytest.raises(ValueError, match="no reference of this machine"):
        fast.run(TraceArrays.of([*items, TraceItem(*wrong, 8), *items]), clocks)
    assert sum(fast.counters(cpu).references for cpu in range(200)) == 1000
    assert [fast.counters(cpu).cycles for cpu in range(200)] == clocks
    fast.check()


def test_what_is_known_of_a_line_takes_40_bytes() -> None:
    config = preset("dir-1024", processors=1, l2_bytes=1 << 25)
    fast = FastCore(config, Memory(config))
    lines = 390_000
    clocks = [0]
    fast.run([TraceItem(0, READ, line * 64, 8) for line in range(lines)], clocks)
    used = fast.memory_bytes()
    assert used["lines_known"] == lines
    assert used["lines"] <= 40 * lines


def test_nonsense_is_refused_without_harm() -> None:
    fast = FastCore(BASE, Memory(BASE))
    for cpu, code, addr in ((-1, READ, 0), (6, READ, 0), (0, 3, 0), (0, -1, 0), (0, READ, -64)):
        with pytest.raises((IndexError, ValueError)):
            fast.access(cpu, code, addr, 8, 0)
    with pytest.raises(ValueError, match="no reference"):
        fast.script(0, (*SCRIPTS[0], (7, False, 0, 8)), 0, 0, 0, NEVER, 0)
    with pytest.raises(TypeError):
        fast.script(0, list(SCRIPTS[0]), 0, 0, 0, NEVER, 0)
    with pytest.raises(ValueError, match="no reference of this machine"):
        fast.run(TraceArrays.of([TraceItem(5, RMW, 0, 8), TraceItem(6, READ, 0, 8)]), [0] * 6)
    assert fast.counters(5).rmws == 1
    fast.check()


def test_scripts_are_known_by_their_tuples_however_many_there_are() -> None:
    fast = FastCore(BASE, Memory(BASE))
    now = 0
    for i in range(40_000):
        refs = ((READ, False, i % 128 * 64, 8),)  # a new tuple each time, often where an old one was
        now, _ = fast.script(0, refs, 0, 0, now, NEVER, 0)
    assert fast.counters(0).misses["cold"] == 128


def test_the_environment_chooses_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("K42FS_CORE", raising=False)
    assert cores.core_name() == cores.COMPILED
    assert isinstance(cores.make_core(BASE, Memory(BASE)), FastCore)
    monkeypatch.setenv("K42FS_CORE", "pure")
    assert isinstance(cores.make_core(BASE, Memory(BASE)), PureCore)
    monkeypatch.setenv("K42FS_CORE", "compiled")
    assert isinstance(cores.make_core(BASE, Memory(BASE)), FastCore)
    monkeypatch.setenv("K42FS_CORE", "quick")
    with pytest.raises(ConfigError, match="K42FS_CORE='quick': must be pure or compiled"):
        cores.core_name()
