"""Both cores log the same: each miss and each copy taken away, as many as they count, and nothing changes by it."""

from array import array
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k42fs.ids import VP
from k42fs.machine import cores
from k42fs.machine.config import MachineConfig, preset
from k42fs.machine.core import MISS_KINDS, NEVER, CoherenceCore, TraceArrays, TraceItem
from k42fs.machine.directory import COLD, TRUE_SHARING, UPGRADE
from k42fs.machine.layout import READ, RMW, WRITE
from k42fs.machine.memory import NODE_SHIFT, Memory
from k42fs.machine.miss_log import INVALIDATE, ITEMS, MISS, NO_CPU, Record
from k42fs.machine.pure_core import PureCore
from tests.machine.lab import BOX, machine
from tests.machine.test_fast_core import configs, jumps, references
from tests.machine.test_fast_threads import WIDE, storm

fast_core = pytest.importorskip("k42fs.machine.fast_core", exc_type=ImportError)
FastCore = fast_core.FastCore
BASE = preset("dir-1024", processors=6, processors_per_node=2)
LOOK = BOX.script("look", "r:lock w:count r:data x:lock").refs
EITHER = pytest.mark.parametrize("make", [PureCore, FastCore])


def records(core: CoherenceCore) -> list[Record]:
    """Take the log, of which nothing was dropped."""
    flat, dropped = core.take_log()
    assert (flat.typecode, dropped, core.logged) == ("q", 0, 0)
    return [Record(*flat[at : at + ITEMS]) for at in range(0, len(flat), ITEMS)]


def assert_as_counted(core: CoherenceCore, log: list[Record], config: MachineConfig) -> None:
    misses = Counter((each.cpu, each.kind) for each in log if each.what == MISS)
    fetched = Counter(each.cpu for each in log if each.what == MISS and each.other != NO_CPU)
    taken = Counter(each.cpu for each in log if each.what == INVALIDATE)
    waited = Counter[int]()
    for each in log:
        waited[each.cpu] += each.cycles
    for cpu in range(config.processors):
        counters = core.counters(cpu)
        assert [misses[cpu, kind] for kind in range(len(MISS_KINDS))] == list(counters.misses.values())
        assert taken[cpu] == counters.invalidations
        assert fetched[cpu] == counters.from_cache
        if not config.l3_bytes:
            assert waited[cpu] == counters.queued + sum(counters.stall.values())


@settings(max_examples=120, deadline=None)
@given(configs(), references, jumps, st.randoms(use_true_random=False))
def test_both_cores_log_the_same_and_as_much_as_they_count(
    config: MachineConfig, trace: list[tuple[int, int, int, int]], jump: int, random: Random
) -> None:
    pure, fast, silent = (
        PureCore(config, Memory(config)),
        FastCore(config, Memory(config)),
        FastCore(config, Memory(config)),
    )
    pure.log_room = fast.log_room = 100_000
    now = 100_000
    for step, (cpu, line, word, code) in enumerate(trace):
        cpu %= config.processors
        node = line % config.nodes << NODE_SHIFT
        base = node | line * config.line_bytes | word * 8 % config.line_bytes
        now = max(0, now + random.randint(-jump, jump + 50))
        pure.site = fast.site = step
        if step % 3:
            assert fast.access(cpu, code, base, 8, now) == silent.access(cpu, code, base, 8, now)
            pure.access(cpu, code, base, 8, now)
        else:
            where = (cpu, LOOK, base & -64, 0, now, NEVER, 0)
            assert fast.script(*where) == silent.script(*where)
            pure.script(*where)
    log = records(pure)
    assert log == records(fast)
    assert_as_counted(pure, log, config)
    for cpu in range(config.processors):
        assert fast.counters(cpu) == silent.counters(cpu)
    assert list(fast.transfers()) == list(silent.transfers())
    assert records(silent) == []


@settings(max_examples=40, deadline=None)
@given(configs(), references)
def test_traces_are_logged_whatever_they_come_in(
    config: MachineConfig, trace: list[tuple[int, int, int, int]]
) -> None:
    items = [
        TraceItem(cpu % config.processors, code, line * config.line_bytes + word % 2 * 8, 8)
        for cpu, line, word, code in trace
    ]
    logs, clocks = [], []
    for make, form in ((PureCore, items), (FastCore, items), (FastCore, TraceArrays.of(items))):
        core = make(config, Memory(config))
        core.log_room = 100_000
        clocks.append([0] * config.processors)
        core.run(form, clocks[-1])
        logs.append(records(core))
        assert_as_counted(core, logs[-1], config)
    silent, quiet = FastCore(config, Memory(config)), [0] * config.processors
    silent.run(TraceArrays.of(items), quiet)
    assert logs[0] == logs[1] == logs[2]
    assert clocks[0] == clocks[1] == clocks[2] == quiet


@EITHER
def test_a_line_that_goes_to_and_fro(make: type[CoherenceCore]) -> None:
    config = BASE
    core = make(config, Memory(config))  # type: ignore[call-arg]
    core.log_room = 10
    ends = []
    for now, cpu, code, site in (
        (1000, 0, READ, 7),
        (5000, 1, WRITE, 8),
        (9000, 0, RMW, 9),
        (13_000, 0, READ, 5),
    ):
        core.site = site
        ends.append(core.access(cpu, code, 64 * 3 + 16, 8, now) - now)
    ends[2] -= config.atomic_cycles  # which come after the miss
    assert records(core) == [
        Record(MISS, 0, 1000, 3, COLD, READ, 16, NO_CPU, ends[0], 7),
        Record(MISS, 1, 5000, 3, COLD, WRITE, 16, 0, ends[1], 8),
        Record(INVALIDATE, 0, 5000, 3, 0, 0, 0, 1, 0, 8),
        Record(MISS, 0, 9000, 3, TRUE_SHARING, RMW, 16, 1, ends[2], 9),
        Record(INVALIDATE, 1, 9000, 3, 0, 0, 0, 0, 0, 9),
    ]


@EITHER
def test_an_upgrade_has_no_supplier_and_tells_all_who_lose(make: type[CoherenceCore]) -> None:
    core = make(BASE, Memory(BASE))  # type: ignore[call-arg]
    for step, cpu in enumerate((2, 4, 5)):
        core.access(cpu, READ, 64, 8, 1000 * step)
    core.log_room = 10
    end = core.access(4, WRITE, 64, 8, 50_000)
    assert records(core) == [
        Record(MISS, 4, 50_000, 1, UPGRADE, WRITE, 0, NO_CPU, end - 50_000, 0),
        Record(INVALIDATE, 2, 50_000, 1, 0, 0, 0, 4, 0, 0),
        Record(INVALIDATE, 5, 50_000, 1, 0, 0, 0, 4, 0, 0),
    ]


@EITHER
def test_a_wait_for_the_line_counts_but_the_stamp_is_when_it_was_free(make: type[CoherenceCore]) -> None:
    core = make(BASE, Memory(BASE))  # type: ignore[call-arg]
    first = core.access(0, WRITE, 64, 8, 1000)
    core.log_room = 10
    end = core.access(1, WRITE, 64, 8, 1001)
    miss, taken = records(core)
    assert miss.stamp == taken.stamp == first
    assert (miss.cycles, core.counters(1).queued) == (end - 1001, first - 1001)


@EITHER
def test_the_log_is_bounded_and_what_found_no_room_counted(make: type[CoherenceCore]) -> None:
    core = make(BASE, Memory(BASE))  # type: ignore[call-arg]
    clocks = [0] * 6
    cold = TraceArrays.of(TraceItem(0, READ, line * 64, 8) for line in range(100))
    core.run(cold, clocks)
    assert core.take_log() == (array("q"), 0)
    core.log_room = 4
    more = TraceArrays.of(TraceItem(1, READ, line * 64, 8) for line in range(200, 210))
    core.run(more, clocks)
    assert core.logged == 4
    core.log_room = 5  # what is there stays
    core.access(1, READ, 64 * 300, 8, clocks[1])
    core.access(1, READ, 64 * 301, 8, clocks[1])
    flat, dropped = core.take_log()
    assert ([*flat[3::ITEMS]], dropped) == ([200, 201, 202, 203, 300], 7)
    assert core.take_log() == (array("q"), 0)
    core.access(1, READ, 64 * 302, 8, clocks[1])
    core.log_room = 0  # off: no more, but what was logged is not lost
    core.access(1, READ, 64 * 303, 8, clocks[1])
    assert [each.line for each in records(core)] == [302]
    core.access(1, READ, 64 * 304, 8, clocks[1])
    assert core.take_log() == (array("q"), 0)


def test_a_room_that_cannot_be_is_refused() -> None:
    core = FastCore(BASE, Memory(BASE))
    with pytest.raises(ValueError, match="no room for -1 records"):
        core.log_room = -1
    assert core.log_room == 0


@pytest.mark.parametrize("lookahead", [0, 400])
def test_threads_of_either_sort_log_the_same_and_run_as_without(
    lookahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs, hashes = [], []
    for core, room in (
        (cores.PURE, 0),
        (cores.PURE, 1 << 20),
        (cores.COMPILED, 0),
        (cores.COMPILED, 1 << 20),
    ):
        monkeypatch.setenv(cores.VARIABLE, core)
        m = machine(6, seed=3, config={"lookahead_cycles": lookahead})
        m.core.log_room = room
        objects = [m.memory.alloc(vp, WIDE) for vp in range(6)]
        pages = m.memory.alloc(0, 1 << 16)
        for vp in range(6):
            m.processors[vp].ltt[7] = vp
            m.spawn(VP(vp), storm, Random(vp), objects, pages)
        m.run()
        hashes.append((m.event_hash(), [m.core.counters(cpu) for cpu in range(6)], m.core.late))
        logs.append(records(m.core))
        if room:
            assert_as_counted(m.core, logs[-1], m.config)
    assert hashes[0] == hashes[1] == hashes[2] == hashes[3]
    assert logs[1] == logs[3]
    assert len(logs[1]) > 500
    assert logs[0] == logs[2] == []
