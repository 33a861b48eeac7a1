"""Locks: one holder, first come first served, ranks, and what they cost."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from k42fs.ids import VP
from k42fs.machine import BLock, DeadlockError, FairBLock, OperationSuspended, SLock, Thread
from tests.machine.lab import ADD, BOX, a_lock, machine, run

pytestmark = pytest.mark.usefixtures("_on_each_core")

BOTH = pytest.mark.parametrize("kind", [FairBLock, SLock])


def test_blocking_locks_are_fair_by_default() -> None:
    assert BLock is FairBLock


@BOTH
@pytest.mark.parametrize("model", ["full", "calls", "off"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_one_thread_at_a_time_holds_it_even_while_it_sleeps(
    kind: type[FairBLock], model: str, seed: int
) -> None:
    m = machine(model=model, seed=seed)
    lock, box, inside, turns = a_lock(m, kind), m.memory.alloc(0, BOX), list[int](), list[int]()

    async def body(th: Thread) -> None:
        for _ in range(5):
            await lock.acquire(th)
            try:
                assert not inside
                inside.append(th.vp)
                await th.touch(ADD, box)
                await th.sleep(700)
                turns.append(inside.pop())
            finally:
                lock.release(th)

    run(m, *((vp, body) for vp in range(8)))
    assert sorted(turns) == sorted(list(range(8)) * 5)
    assert (lock.holder, lock.waiting) == (None, 0)


@BOTH
def test_waiters_get_it_in_the_order_they_came(kind: type[FairBLock]) -> None:
    m = machine()
    lock, order = a_lock(m, kind), list[int]()

    def body(delay: int) -> Callable[[Thread], Any]:
        async def run_one(th: Thread) -> None:
            await th.sleep(delay)
            await lock.acquire(th)
            order.append(th.vp)
            await th.sleep(50_000)
            lock.release(th)

        return run_one

    delays = {3: 0, 1: 2000, 6: 4000, 0: 6000, 7: 8000, 2: 10_000}
    run(m, *((vp, body(delay)) for vp, delay in delays.items()))
    assert order == list(delays)


def test_an_uncontended_pair_is_two_rmws_of_one_line() -> None:
    m = machine(live=True)
    lock, th = a_lock(m), m.enter(VP(0))
    lock.acquire(th)
    lock.release(th)
    before = th.proc.clock
    assert before == 200 + 20 + 4 + 20
    lock.acquire(th)
    lock.release(th)
    assert th.proc.clock - before == 2 * (4 + 20)
    assert m.core.counters(0).rmws == 4
    assert (lock.acquisitions, lock.contentions) == (2, 0)


@pytest.mark.parametrize("waiters", [1, 3, 7])
def test_a_hand_off_is_four_transactions_however_many_wait(waiters: int) -> None:
    m = machine()
    lock = a_lock(m, SLock)
    counts: list[int] = []

    def misses() -> int:
        return sum(sum(m.core.counters(vp).misses.values()) for vp in range(8))

    async def holder(th: Thread) -> None:
        await lock.acquire(th)
        await th.sleep(100_000)  # all others are in line by now
        counts.append(misses())
        lock.release(th)

    async def waiter(th: Thread) -> None:
        await th.sleep(1000 * th.vp)
        await lock.acquire(th)
        counts.append(misses())
        await th.sleep(100)
        lock.release(th)

    run(m, (0, holder), *((vp, waiter) for vp in range(1, waiters + 1)))
    # The first giver finds that a waiter has dirtied the lock's line; later ones have it from their own turn.
    assert [after - before for before, after in pairwise(counts)] == [4] + [3] * (waiters - 1)


def hand_off_wait(kind: type[FairBLock], waiter_vp: int, hold: int) -> int:
    m = machine(processors=64)
    lock, out = a_lock(m, kind), list[int]()

    async def holder(th: Thread) -> None:
        await lock.acquire(th)
        await th.sleep(hold)
        out.append(th.proc.clock)
        lock.release(th)

    async def waiter(th: Thread) -> None:
        await th.sleep(1000)
        await lock.acquire(th)
        out.append(th.proc.clock)
        lock.release(th)

    run(m, (0, holder), (waiter_vp, waiter))
    return out[1] - out[0]


def test_a_hand_off_is_cheap_to_a_spinner_dearer_to_a_blocked_one_and_grows_with_distance() -> None:
    spinner, blocked = hand_off_wait(FairBLock, 1, 3000), hand_off_wait(FairBLock, 1, 50_000)
    assert spinner == hand_off_wait(SLock, 1, 50_000)  # a spin lock's waiter never blocks
    assert spinner == 4 * 260 + 2 * 20  # two transfers by the giver, two by the taker, two RMWs
    assert blocked > spinner + 1000  # an interrupt at least
    assert hand_off_wait(FairBLock, 8, 50_000) > blocked
    assert hand_off_wait(FairBLock, 63, 50_000) > hand_off_wait(FairBLock, 8, 50_000)
    assert hand_off_wait(SLock, 8, 3000) > spinner


def test_while_one_waits_for_a_blocking_lock_another_thread_of_its_processor_runs() -> None:
    def finish_of_the_other(kind: type[FairBLock]) -> int:
        m = machine()
        lock = a_lock(m, kind)

        async def holder(th: Thread) -> None:
            await lock.acquire(th)
            await th.sleep(1_000_000)
            lock.release(th)

        async def waiter(th: Thread) -> None:
            await th.sleep(1000)
            await lock.acquire(th)
            lock.release(th)

        async def other(th: Thread) -> int:
            await th.sleep(2000)
            th.work(10)
            return th.proc.clock

        _, _, third = run(m, (0, holder), (1, waiter), (1, other))
        finish: int = third.outcome[0]
        return finish

    assert finish_of_the_other(FairBLock) < 3000
    assert finish_of_the_other(SLock) > 1_000_000


def test_a_lock_released_ahead_of_its_time_is_still_held_by_the_clock() -> None:
    m = machine()
    lock, seen = a_lock(m), dict[int, int]()

    async def body(th: Thread) -> None:
        th.work(100 * th.vp)
        await lock.acquire(th)
        seen[th.vp] = th.proc.clock
        th.work(5000)  # nothing visible: runs ahead to the release
        lock.release(th)

    run(m, (0, body), (1, body), (2, body))
    assert seen[1] >= seen[0] + 5000
    assert seen[2] >= seen[1] + 5000
    assert (lock.contentions, lock.acquisitions) == (2, 3)
    assert lock.waited_cycles >= 5000 + 2 * 5000 - 300


def test_trying_a_lock_that_is_held_by_the_clock_fails_and_costs_nothing() -> None:
    m = machine(live=True)
    lock, first, second = a_lock(m), m.enter(VP(0)), m.enter(VP(1))
    lock.acquire(first)
    first.work(5000)
    lock.release(first)
    second.work(1000)
    assert not lock.try_acquire(second)
    assert second.proc.clock == 1000
    second.work(5000)
    assert lock.try_acquire(second)


def test_who_waits_long_for_a_lock_held_by_the_clock_lets_others_of_its_processor_run() -> None:
    m = machine()
    lock, times = a_lock(m), dict[str, int]()

    async def ahead(th: Thread) -> None:
        await lock.acquire(th)
        th.work(100_000)  # nothing visible: the lock is free again long before others' clocks say so
        lock.release(th)

    async def waiter(th: Thread) -> None:
        th.work(1000)
        await lock.acquire(th)
        times["waiter"] = th.proc.clock
        lock.release(th)

    async def other(th: Thread) -> None:
        th.work(500)
        times["other"] = th.proc.clock

    run(m, (0, ahead), (1, waiter), (1, other))
    assert times["other"] < 3000
    assert times["waiter"] > 100_000
    assert (lock.contentions, lock.max_wait > 99_000) == (1, True)


def test_a_rank_breach_is_a_bug() -> None:
    m = machine(live=True)
    th = m.enter(VP(0))
    low, high = a_lock(m, rank=10, name="low"), a_lock(m, rank=20, name="high")
    twin, free = a_lock(m, rank=20, name="twin"), a_lock(m, name="free")
    assert high.addr < twin.addr
    for order in ((low, high, twin, free), (low, twin), (free, low, high), (high, free, twin)):
        for lock in order:
            lock.acquire(th)
        for lock in order:
            lock.release(th)
    for first, second in ((high, low), (twin, high), (low, low)):
        first.acquire(th)
        with pytest.raises(AssertionError, match="acquires"):
            second.acquire(th)
        with pytest.raises(AssertionError, match="acquires"):
            second.try_acquire(th)
        first.release(th)
    assert th.held == []


def test_only_the_holder_may_release() -> None:
    m = machine(live=True)
    lock, first, second = a_lock(m), m.enter(VP(0)), m.enter(VP(1))
    lock.acquire(first)
    with pytest.raises(AssertionError, match="releases"):
        lock.release(second)


@BOTH
def test_try_acquire_never_waits(kind: type[FairBLock]) -> None:
    m = machine(live=True)
    lock, first, second = a_lock(m, kind), m.enter(VP(0)), m.enter(VP(1))
    assert lock.try_acquire(first)
    assert not lock.try_acquire(second)
    lock.release(first)
    second.work(1000)  # by its own clock, too, it comes after the first
    assert lock.try_acquire(second)
    assert lock.holders() == (second,)


def test_a_deadlock_is_reported_with_threads_and_locks() -> None:
    m = machine()
    first, second = a_lock(m, name="first"), a_lock(m, name="second")

    def body(a: FairBLock, b: FairBLock, name: str) -> None:
        async def take_both(th: Thread) -> None:
            await a.acquire(th)
            await th.sleep(1000)
            await b.acquire(th)

        m.spawn(VP(len(name)), take_both, name=name)

    body(first, second, "x")
    body(second, first, "yy")
    with pytest.raises(
        DeadlockError, match=r"x on vp 1.*second.*yy on vp 2.*first|yy on vp 2.*first.*x on vp 1.*second"
    ):
        m.run()
    m.close()


def test_a_thread_that_dies_in_line_leaves_the_line() -> None:
    m = machine(live=True, model="off")
    lock = a_lock(m)
    ths = [m.enter(VP(vp)) for vp in range(3)]
    lock.acquire(ths[0])

    async def body(th: Thread) -> str:
        await lock.acquire(th)
        lock.release(th)
        return "had it"

    operations = []
    for th in ths[1:]:
        with pytest.raises(OperationSuspended) as caught:
            m.drive(body(th))
        operations.append(caught.value.operation)
    assert lock.waiting == 2
    operations[0].coro.close()
    assert lock.waiting == 1
    lock.release(ths[0])
    m.leave(ths[0])
    assert operations[1].result() == "had it"
    assert lock.holder is None


def test_locks_keep_no_statistics_alive_and_dead_ones_are_folded() -> None:
    m = machine()

    class Owner:
        def label(self) -> str:
            return "directory 9"

    owner = Owner()
    locks = [a_lock(m, name="dirlock", owner=owner) for _ in range(2)]

    async def body(th: Thread) -> None:
        lock = locks[th.vp % 2]
        await lock.acquire(th)
        await th.sleep(500)
        lock.release(th)

    run(m, *((vp, body) for vp in range(4)))
    rows = m.statistics()["locks"]
    assert [(row["object"], row["lock"], row["acquisitions"]) for row in rows] == [
        ("directory 9", "dirlock", 2)
    ] * 2
    waited = sum(row["waited_cycles"] for row in rows)
    locks.clear()
    (row,) = m.statistics()["locks"]
    assert (row["object"], row["acquisitions"], row["waited_cycles"]) == ("Owner (gone)", 4, waited)
    m.reset_statistics()
    assert m.statistics()["locks"] == []


def test_a_lock_without_owner_is_named_after_the_object_at_its_address() -> None:
    m = machine()
    lock = FairBLock(m, m.memory.alloc(0, BOX) + BOX.offset("lock"), name="lock")
    assert lock.label() == "Box"
