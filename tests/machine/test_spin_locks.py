"""Spin locks: they exclude, in any order of clocks; what a hand-over costs is what theory says."""

from itertools import pairwise

import pytest

from k42fs.ids import VP
from k42fs.machine import DeadlockError, Kind, Machine, OperationSuspended, Thread
from k42fs.machine.spin_lock import SpinLock
from k42fs.machine.spin_locks import SPIN_LOCKS
from tests.machine.lab import machine, run

KINDS = sorted(SPIN_LOCKS)


def spin_lock(m: Machine, kind: str, vp: int = 0, rank: int = 0) -> SpinLock:
    return SPIN_LOCKS[kind](m, m.memory.alloc(vp, 128, Kind.GLOBAL_PADDED), rank=rank)


@pytest.mark.parametrize("in_turn", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_one_at_a_time_has_the_lock_and_holdings_do_not_overlap(kind: str, in_turn: bool) -> None:
    m = machine()
    lock = spin_lock(m, kind)
    inside: list[Thread] = []
    holdings: list[tuple[int, int]] = []

    async def body(th: Thread) -> None:
        for i in range(15):
            await lock.acquire(th)
            inside.append(th)
            assert inside == [th]
            begin = th.proc.clock
            th.work(70 + th.vp)
            if i % 5 == 0:
                await th.sleep(300)
            inside.clear()
            holdings.append((begin, th.proc.clock))
            if in_turn:
                await lock.release_in_turn(th)
            else:
                lock.release(th)
            th.work(200 * th.vp)

    run(m, *((vp, body) for vp in range(8)))
    assert lock.acquisitions == 120
    assert lock.contentions >= 5
    assert lock.waited_cycles > 0
    holdings.sort()
    assert all(end <= begin for (_, end), (begin, _) in pairwise(holdings))


@pytest.mark.parametrize("model", ["calls", "off"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_excludes_where_no_lines_are_modelled(kind: str, model: str) -> None:
    m = machine(4, model=model)
    lock = spin_lock(m, kind)
    inside: list[Thread] = []

    async def body(th: Thread) -> None:
        for _ in range(3):
            await lock.acquire(th)
            assert not inside
            inside.append(th)
            await th.sleep(10)
            inside.clear()
            lock.release(th)

    run(m, *((vp, body) for vp in range(4)))
    assert lock.acquisitions == 12


@pytest.mark.parametrize("kind", ["ticket", "mcs"])
def test_queueing_locks_serve_in_the_order_of_arrival(kind: str) -> None:
    m = machine()
    lock = spin_lock(m, kind)
    order: list[int] = []

    async def body(th: Thread) -> None:
        await th.sleep(3000 * (th.vp + 1))
        await lock.acquire(th)
        order.append(th.vp)
        await th.sleep(100_000)
        await lock.release_in_turn(th)

    run(m, *((vp, body) for vp in (5, 2, 7, 0, 3)))
    assert order == [0, 2, 3, 5, 7]


@pytest.mark.parametrize("kind", KINDS)
def test_live_a_lock_that_is_really_held_parks_the_operation(kind: str) -> None:
    m = machine(3, live=True)
    lock = spin_lock(m, kind)
    holder = m.enter(VP(0))
    m.drive(take(lock, holder))
    parked = []
    for vp in (1, 2):
        with pytest.raises(OperationSuspended) as caught:
            m.drive(take_and_leave(lock, m.enter(VP(vp))))
        parked.append(caught.value.operation)
    holder.work(5000)
    lock.release(holder)
    m.leave(holder)
    assert [operation.result() for operation in parked] == [1, 2]
    assert lock.contentions == 2
    m.check()


@pytest.mark.parametrize("kind", KINDS)
def test_live_callers_overlap_in_virtual_time(kind: str) -> None:
    m = machine(2, live=True)
    lock = spin_lock(m, kind)
    for vp in (0, 1, 0, 1):
        th = m.enter(VP(vp))
        m.drive(hold(lock, th, 5000))
        m.leave(th)
    assert lock.contentions >= 1
    assert lock.waited_cycles > 4000
    m.check()


@pytest.mark.parametrize("kind", KINDS)
def test_a_waiter_that_dies_leaves_the_lock_to_the_others(kind: str) -> None:
    m = machine(3, live=True)
    lock = spin_lock(m, kind)
    holder, doomed = m.enter(VP(0)), m.enter(VP(1))
    m.drive(take(lock, holder))
    dying = take_and_leave(lock, doomed)
    dying.send(None)
    with pytest.raises(OperationSuspended) as caught:
        m.drive(take_and_leave(lock, m.enter(VP(2))))
    dying.close()
    lock.release(holder)
    m.leave(holder)
    assert caught.value.operation.result() == 2
    assert m.drive(take_and_leave(lock, m.enter(VP(0)))) == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1), (1, 3, 2, 0)])
def test_threads_that_die_in_any_order_leave_the_lock_free(kind: str, order: tuple[int, ...]) -> None:
    m = machine(8)
    lock = spin_lock(m, kind)

    async def body(th: Thread) -> None:
        await th.sleep(1000 * th.vp)
        await lock.acquire(th)
        try:
            await th.sleep(50_000)
        finally:
            lock.release(th)

    async def bomb(th: Thread) -> None:
        await th.sleep(20_000)
        raise KeyError("the end")

    for vp in order:
        m.spawn(VP(vp), body)
    m.spawn(VP(7), bomb)
    with pytest.raises(KeyError):
        m.run()
    m.close()
    assert lock.try_acquire(m.new_thread(VP(0)))


@pytest.mark.parametrize("kind", KINDS)
def test_try_acquire_does_not_wait(kind: str) -> None:
    m = machine(2)
    lock = spin_lock(m, kind)

    async def body(th: Thread) -> None:
        assert lock.try_acquire(th)
        await th.sleep(10_000)
        lock.release(th)

    async def other(th: Thread) -> None:
        await th.sleep(5000)
        assert not lock.try_acquire(th)
        await th.sleep(50_000)
        assert lock.try_acquire(th)
        await lock.release_in_turn(th)

    run(m, (0, body), (1, other))


@pytest.mark.parametrize("kind", KINDS)
def test_breaches_of_rank_wrong_releases_and_deadlocks_are_named(kind: str) -> None:
    m = machine(2)
    low, high = spin_lock(m, kind, rank=1), spin_lock(m, kind, rank=2)
    one, two = spin_lock(m, kind), spin_lock(m, kind)
    th = m.new_thread(VP(0))
    assert high.try_acquire(th)
    with pytest.raises(AssertionError, match="rank"):
        low.acquire(th)
    with pytest.raises(AssertionError, match="releases"):
        low.release(th)
    high.release(th)

    async def crosswise(th: Thread) -> None:
        first, second = (one, two) if th.vp else (two, one)
        await first.acquire(th)
        await th.sleep(10_000)
        await second.acquire(th)

    m.spawn(VP(0), crosswise)
    m.spawn(VP(1), crosswise)
    with pytest.raises(DeadlockError, match="waits for"):
        m.run()
    m.close()


def contended(kind: str, processors: int, rounds: int) -> float:
    """Return transactions per acquisition of a lock that everybody always wants."""
    m = machine(processors)
    lock = spin_lock(m, kind)

    async def body(th: Thread) -> None:
        for _ in range(rounds):
            await lock.acquire(th)
            th.work(100)
            await lock.release_in_turn(th)

    run(m, *((vp, body) for vp in range(processors)))
    misses = sum(sum(m.core.counters(vp).misses.values()) for vp in range(processors))
    return misses / lock.acquisitions


def test_only_mcs_costs_the_same_however_many_wait() -> None:
    few, many = ({kind: contended(kind, n, 10) for kind in KINDS} for n in (4, 16))
    assert many["mcs"] == pytest.approx(few["mcs"], rel=0.1)
    assert many["mcs"] < 8
    for kind in ("tas", "ttas", "ticket"):
        assert many[kind] > 2 * few[kind]
    assert many["ttas"] > many["tas"]


async def take(lock: SpinLock, th: Thread) -> None:
    await lock.acquire(th)


async def take_and_leave(lock: SpinLock, th: Thread) -> int:
    await lock.acquire(th)
    lock.release(th)
    return th.vp


async def hold(lock: SpinLock, th: Thread, cycles: int) -> None:
    await lock.acquire(th)
    th.work(cycles)
    lock.release(th)
