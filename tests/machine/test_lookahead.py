"""Run-ahead: with `lookahead_cycles` processors switch less often, and are mistimed by so much at the most."""

import itertools

import pytest

from k42fs.machine import FairBLock, Kind, Machine, Thread
from tests.machine.lab import a_lock, machine, run

pytestmark = pytest.mark.usefixtures("_on_each_core")

PROCESSORS = 6
ROUNDS = 60
WARM = 3


def visible_events(lookahead: int, seed: int = 0) -> tuple[Machine, list[int]]:
    """Let all change one line, over and over; return when they did, in the order in which it happened."""
    m = machine(PROCESSORS, seed=seed, config={"lookahead_cycles": lookahead})
    shared = m.memory.alloc(0, 64, Kind.GLOBAL_PADDED)
    times: list[int] = []

    async def body(th: Thread) -> None:
        for i in range(ROUNDS):
            th.work(17 * th.vp + 29 * (i % 5))
            start = th.proc.clock
            await th.rmw(shared)
            if i >= WARM:  # by then the line has been everywhere, and no copy is private
                times.append(start)

    run(m, *((vp, body) for vp in range(PROCESSORS)))
    return m, times


def slip(times: list[int]) -> int:
    """Return how much earlier something happened than what had happened before it."""
    worst = latest = 0
    for at in times:
        latest = max(latest, at)
        worst = max(worst, latest - at)
    return worst


@pytest.mark.parametrize("seed", range(5))
def test_without_lookahead_visible_events_happen_in_the_order_of_time(seed: int) -> None:
    assert slip(visible_events(0, seed)[1]) == 0


@pytest.mark.parametrize("lookahead", [1000, 3000, 10_000])
def test_events_slip_by_the_lookahead_at_most_and_do_slip(lookahead: int) -> None:
    slips = [slip(visible_events(lookahead, seed)[1]) for seed in range(5)]
    assert 0 < max(slips) <= lookahead


def test_the_further_the_fewer_switches() -> None:
    """Each thread goes on until it is that much ahead, so the processors take turns less often."""
    turns = []
    for lookahead in (0, 1000, 10_000):
        m = machine(2, config={"lookahead_cycles": lookahead})
        shared, order = m.memory.alloc(0, 64, Kind.GLOBAL_PADDED), list[int]()

        async def body(th: Thread, shared: int = shared, order: list[int] = order) -> None:
            for _ in range(ROUNDS):
                await th.rmw(shared)
                order.append(th.vp)
                th.work(50)

        run(m, (0, body), (1, body))
        turns.append(sum(a != b for a, b in itertools.pairwise(order)))
    assert turns[0] > 2 * turns[1] > 4 * turns[2] > 0


@pytest.mark.parametrize("lookahead", [0, 500, 50_000])
def test_locks_exclude_and_accounts_add_up_however_far_they_run_ahead(lookahead: int) -> None:
    m = machine(PROCESSORS, config={"lookahead_cycles": lookahead})
    lock: FairBLock = a_lock(m)
    inside: list[int] = []

    async def body(th: Thread) -> None:
        for i in range(20):
            await lock.acquire(th)
            assert not inside
            inside.append(th.vp)
            await th.sleep(100 * (i % 3))
            inside.clear()
            lock.release(th)
            th.work(40 * th.vp)

    run(m, *((vp, body) for vp in range(PROCESSORS)))
    assert lock.acquisitions == 20 * PROCESSORS


def test_runs_of_one_lookahead_repeat_and_differ_from_others() -> None:
    hashes = {lookahead: visible_events(lookahead)[0].event_hash() for lookahead in (0, 1000)}
    assert hashes[1000] == visible_events(1000)[0].event_hash()
    assert hashes[0] != hashes[1000]
