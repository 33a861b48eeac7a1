"""The core against a flat memory: no processor ever reads a stale copy, whatever the order and the geometry.

The model knows nothing of caches: it stamps each store with a version. A copy takes the newest stamp when it
appears, a store by its holder renews it, and a later read from that copy must find the newest stamp of all.
"""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from k42fs.machine.config import MachineConfig, preset
from k42fs.machine.core import TraceItem
from k42fs.machine.directory import EXCLUSIVE, SHARED
from k42fs.machine.layout import READ
from k42fs.machine.memory import Memory
from k42fs.machine.pure_core import PureCore

CPUS, LINES = 6, 12
BASE = preset("dir-1024", processors=CPUS, processors_per_node=2)
TINY = replace(BASE, l1_bytes=256, l1_ways=2, l2_bytes=512, l2_ways=4)
CONFIGS = (
    BASE,
    TINY,
    replace(TINY, line_bytes=128, l1_line_bytes=32, l2_bytes=1024),
    replace(TINY, history=2),
)

references = st.lists(
    st.tuples(
        st.integers(0, CPUS - 1), st.integers(0, 2), st.integers(0, LINES * 8 - 1), st.integers(-300, 900)
    ),
    max_size=250,
)


@settings(max_examples=60)
@given(st.sampled_from(CONFIGS), references)
def test_every_read_sees_the_newest_store(
    config: MachineConfig, trace: list[tuple[int, int, int, int]]
) -> None:
    core = PureCore(config, Memory(config))
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
        assert cpu in after
        if code != READ or max(after.values()) >= EXCLUSIVE:
            assert list(after) == [cpu]
        else:
            assert set(after.values()) == {SHARED}
        for holder in after:
            if holder not in before or code != READ:
                stamps[holder, line] = newest[line]
        core.check()


@settings(max_examples=20)
@given(references)
def test_a_trace_gives_the_same_counts_in_one_go_or_by_steps(trace: list[tuple[int, int, int, int]]) -> None:
    items = [TraceItem(cpu, code, word * 8, 8) for cpu, code, word, _ in trace]
    whole, steps = PureCore(TINY, Memory(TINY)), PureCore(TINY, Memory(TINY))
    clocks, stepped = [0] * CPUS, [0] * CPUS
    whole.run(items, clocks)
    for item in items:
        stepped[item.cpu] = steps.access(*item, stepped[item.cpu])
    assert clocks == stepped
    assert [whole.counters(cpu) for cpu in range(CPUS)] == [steps.counters(cpu) for cpu in range(CPUS)]
    assert list(whole.transfers()) == list(steps.transfers())
