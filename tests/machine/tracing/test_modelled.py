"""What K42's design is for: a log for each processor costs the same on any number of them, a shared one does not."""

from itertools import pairwise

from k42fs.ids import VP
from k42fs.machine import Machine, Thread
from k42fs.machine.tracing.modelled import ModelledLog
from k42fs.machine.tracing.packing import split_header
from k42fs.machine.tracing.reserve import FILLER
from tests.machine.lab import machine

EVENTS = 40


def cycles_each(processors: int, is_shared: bool) -> tuple[float, list[ModelledLog], Machine]:
    """Return what an event costs when all processors log at once."""
    m = machine(processors)
    logs = [ModelledLog(m, vp) for vp in range(1 if is_shared else processors)]

    async def body(th: Thread) -> None:
        for number in range(EVENTS):
            await logs[0 if is_shared else th.vp].log(th, 100 + th.vp, [th.vp, number])

    for vp in range(processors):
        m.spawn(VP(vp), body)
    m.run()
    m.check()
    return sum(proc.clock for proc in m.processors) / (processors * EVENTS), logs, m


def events(log: ModelledLog) -> list[tuple[int, int, tuple[int, ...]]]:
    """Return (stamp, id, payload) of what is in a log that nobody has carried away from."""
    words, at, found = log.buffers.words, 0, []
    while at < log.buffers.index:
        stamp, length, event_id = split_header(words[at])
        if event_id != FILLER:
            found.append((stamp, event_id, tuple(words[at + 1 : at + length])))
        at += length
    return found


def test_own_buffers_cost_the_same_on_any_number_of_processors() -> None:
    alone = cycles_each(1, is_shared=False)[0]
    assert all(cycles_each(count, is_shared=False)[0] < 1.05 * alone for count in (2, 8, 16))


def test_a_shared_buffer_costs_more_with_every_processor() -> None:
    costs = [cycles_each(count, is_shared=True)[0] for count in (1, 2, 4, 8, 16)]
    assert all(after > 1.5 * before for before, after in pairwise(costs))
    assert costs[-1] > 30 * cycles_each(16, is_shared=False)[0]


def test_a_shared_log_is_whole_whoever_comes_between_the_steps() -> None:
    _, (log,), _ = cycles_each(8, is_shared=True)
    found = events(log)
    assert [stamp for stamp, _, _ in found] == sorted(stamp for stamp, _, _ in found)
    for vp in range(8):
        mine = [payload for _, event_id, payload in found if event_id == 100 + vp]
        assert mine == [(vp, number) for number in range(EVENTS)]


def test_the_log_is_named_among_the_lines_that_move() -> None:
    _, (log,), m = cycles_each(4, is_shared=True)
    assert {m.memory.describe(each.line * m.config.line_bytes)[0] for each in m.core.transfers()} == {
        log.label()
    }
