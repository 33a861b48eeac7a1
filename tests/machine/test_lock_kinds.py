"""Every lock that can be chosen excludes, loses nobody, and is taken and left the same way."""

from itertools import pairwise
from random import Random

import pytest

from k42fs.ids import VP
from k42fs.machine import DeadlockError, Kind, Machine, OperationSuspended, Thread
from k42fs.machine.bit_locks import BitSLock, PtrSLock
from k42fs.machine.driver import Model
from k42fs.machine.lock_kinds import LOCK_BYTES, LOCK_KINDS, Lock
from k42fs.machine.unfair_locks import BitBLock, PtrBLock
from tests.machine.lab import machine, run

KINDS = sorted(LOCK_KINDS)
NEW = ["BitBLock", "BitSLock", "PtrBLock", "PtrSLock", "RecLock", "UnFairBLock"]


def make(m: Machine, kind: str, vp: int = 0, rank: int = 0) -> Lock:
    return LOCK_KINDS[kind](m, m.memory.alloc(vp, max(LOCK_BYTES, 64), Kind.GLOBAL_PADDED), rank=rank)


def test_all_kinds_of_the_specification_can_be_chosen() -> None:
    assert set(NEW) | {"BLock", "SLock", "tas", "ttas", "ticket", "mcs"} == set(KINDS)


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("kind", NEW)
def test_one_at_a_time_has_it_and_everybody_gets_it(kind: str, seed: int) -> None:
    m = machine(6, seed=seed)
    lock = make(m, kind)
    inside: list[Thread] = []
    holdings: list[tuple[int, int]] = []

    async def body(th: Thread) -> None:
        draw = Random(seed << 8 | th.number)
        for _ in range(8):
            await lock.acquire(th)
            inside.append(th)
            assert inside == [th]
            begin = th.proc.clock
            th.work(draw.randrange(300))
            if lock.blocks and not draw.randrange(4):
                await th.sleep(draw.choice((300, 20_000)))  # some outlast the patience of those who poll
            inside.clear()
            holdings.append((begin, th.proc.clock))
            lock.release(th)
            if draw.randrange(3):
                await th.sleep(draw.randrange(4000))

    bodies = [(vp, body) for vp in range(6)]
    if lock.blocks:
        bodies += [(vp, body) for vp in range(3)]  # some processors have two threads
    run(m, *bodies)
    assert lock.acquisitions == 8 * len(bodies)
    assert not lock.holders()
    assert lock.contentions > 0
    holdings.sort()
    assert all(end <= begin for (_, end), (begin, _) in pairwise(holdings))


@pytest.mark.parametrize("model", ["calls", "off"])
@pytest.mark.parametrize("kind", NEW)
def test_it_excludes_where_no_lines_are_modelled(kind: str, model: str) -> None:
    m = machine(4, model=model)
    lock = make(m, kind)
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
    assert not lock.holders()


@pytest.mark.parametrize("kind", NEW)
def test_live_what_is_really_held_parks_and_goes_on_when_released(kind: str) -> None:
    m = machine(3, live=True)
    lock = make(m, kind)
    holder = m.enter(VP(0))
    m.drive(_take(lock, holder))
    parked = []
    for vp in (1, 2):
        with pytest.raises(OperationSuspended) as caught:
            m.drive(_take_and_leave(lock, m.enter(VP(vp))))
        parked.append(caught.value.operation)
    holder.work(5000)
    lock.release(holder)
    m.leave(holder)
    assert sorted(operation.result() for operation in parked) == [1, 2]
    assert lock.contentions == 2
    m.check()


@pytest.mark.parametrize("kind", NEW)
def test_live_callers_wait_in_virtual_time_for_who_came_before(kind: str) -> None:
    m = machine(2, live=True)
    lock = make(m, kind)
    for vp in (0, 1, 0, 1):
        th = m.enter(VP(vp))
        m.drive(_hold(lock, th, 5000))
        m.leave(th)
    assert lock.contentions >= 1
    assert lock.waited_cycles > 4000
    m.check()


@pytest.mark.parametrize("kind", NEW)
def test_a_waiter_that_dies_leaves_the_lock_to_the_others(kind: str) -> None:
    m = machine(3, live=True)
    lock = make(m, kind)
    holder, doomed = m.enter(VP(0)), m.enter(VP(1))
    m.drive(_take(lock, holder))
    dying = _take_and_leave(lock, doomed)
    dying.send(None)
    with pytest.raises(OperationSuspended) as caught:
        m.drive(_take_and_leave(lock, m.enter(VP(2))))
    dying.close()
    lock.release(holder)
    m.leave(holder)
    assert caught.value.operation.result() == 2
    assert m.drive(_take_and_leave(lock, m.enter(VP(0)))) == 0


@pytest.mark.parametrize("kind", NEW)
def test_try_acquire_does_not_wait(kind: str) -> None:
    m = machine(2)
    lock = make(m, kind)

    async def body(th: Thread) -> None:
        assert lock.try_acquire(th)
        await th.sleep(10_000)
        lock.release(th)

    async def other(th: Thread) -> None:
        await th.sleep(5000)
        assert not lock.try_acquire(th)
        await th.sleep(50_000)
        assert lock.try_acquire(th)
        lock.release(th)

    run(m, (0, body), (1, other))


@pytest.mark.parametrize("kind", NEW)
def test_breaches_of_rank_wrong_releases_and_deadlocks_are_named(kind: str) -> None:
    m = machine(2)
    low, high = make(m, kind, rank=1), make(m, kind, rank=2)
    one, two = make(m, kind), make(m, kind)
    th = m.new_thread(VP(0))
    assert high.try_acquire(th)
    with pytest.raises(AssertionError, match="rank"):
        _step(low.acquire(th))
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


@pytest.mark.parametrize("kind", ["BitSLock", "BitBLock"])
def test_the_word_s_data_come_with_the_lock_and_go_with_it(kind: str) -> None:
    m = machine(4)
    lock = make(m, kind)
    assert isinstance(lock, BitSLock | BitBLock)

    async def body(th: Thread) -> None:
        for _ in range(10):
            count = await lock.acquire_data(th)
            assert lock.get(th) == count
            lock.set(th, count + 4)
            th.work(50)
            lock.release(th, count + 8)

    run(m, *((vp, body) for vp in range(4)))
    th = m.new_thread(max(m.processors, key=lambda proc: proc.clock).vp)
    assert lock.try_acquire(th)
    assert lock.get(th) == 8 * 40
    with pytest.raises(AssertionError, match="0x5 uses the bits 0b11"):
        lock.release(th, 5)
    with pytest.raises(AssertionError, match="holds"):
        lock.get(m.new_thread(VP(1)))


@pytest.mark.parametrize("kind", ["PtrSLock", "PtrBLock"])
def test_a_pointer_must_be_aligned(kind: str) -> None:
    m = machine(1)
    lock = make(m, kind)
    assert isinstance(lock, PtrSLock | PtrBLock)
    th = m.new_thread(VP(0))
    assert lock.try_acquire(th)
    lock.set(th, m.memory.alloc(0, 64, Kind.GLOBAL))
    with pytest.raises(AssertionError, match="0b111"):
        lock.set(th, 0x1004)


@pytest.mark.parametrize(
    ("kind", "atomics", "stores"), [("BitSLock", 1, 1), ("BitBLock", 2, 0), ("UnFairBLock", 2, 0)]
)
def test_without_contention_only_the_word_is_touched(kind: str, atomics: int, stores: int) -> None:
    m = machine(1)
    lock = make(m, kind)

    async def body(th: Thread) -> None:
        await lock.acquire(th)  # fetches the line
        lock.release(th)
        begin, misses = th.proc.clock, _misses(m, 0)
        await lock.acquire(th)
        lock.release(th)
        config = m.config
        hit = config.l1_cycles
        assert th.proc.clock - begin == atomics * (hit + config.atomic_cycles) + stores * hit
        assert _misses(m, 0) == misses

    run(m, (0, body))


async def _take(lock: Lock, th: Thread) -> None:
    await lock.acquire(th)


async def _take_and_leave(lock: Lock, th: Thread) -> int:
    await lock.acquire(th)
    lock.release(th)
    return th.vp


async def _hold(lock: Lock, th: Thread, cycles: int) -> None:
    await lock.acquire(th)
    th.work(cycles)
    lock.release(th)


def _step(awaitable: object) -> None:
    """Let *awaitable* begin, if it is not done already."""
    if hasattr(awaitable, "send"):
        awaitable.send(None)


def _misses(m: Machine, vp: int) -> int:
    return sum(m.core.counters(vp).misses.values())


@pytest.mark.parametrize("kind", ["tas", "ttas", "ticket", "mcs", "SLock", "BitSLock"])
@pytest.mark.parametrize("model", ["full", "calls"])
def test_a_spinner_that_keeps_the_holder_s_processor_is_a_deadlock(kind: str, model: Model) -> None:
    m = machine(2, model=model)
    lock = make(m, kind)

    async def holder(th: Thread) -> None:
        await lock.acquire(th)
        await th.sleep(50_000)
        lock.release(th)

    async def spinner(th: Thread) -> None:
        await th.sleep(1000)
        await lock.acquire(th)

    m.spawn(VP(0), holder)
    m.spawn(VP(0), spinner)
    with pytest.raises(DeadlockError, match="cannot run while <spinner"):
        m.run()
    m.close()


@pytest.mark.parametrize("kind", ["tas", "ticket", "SLock"])
def test_a_spinner_that_keeps_the_processor_of_whom_the_holder_waits_for_is_one_too(kind: str) -> None:
    m = machine(2)
    spun, blocking = make(m, kind), make(m, "BLock", vp=1)

    async def first(th: Thread) -> None:
        await spun.acquire(th)
        await th.sleep(20_000)
        await blocking.acquire(th)

    async def second(th: Thread) -> None:
        await blocking.acquire(th)
        await th.sleep(50_000)
        blocking.release(th)

    async def spinner(th: Thread) -> None:
        await th.sleep(10_000)
        await spun.acquire(th)

    m.spawn(VP(0), first)
    m.spawn(VP(1), second)
    m.spawn(VP(1), spinner)
    with pytest.raises(DeadlockError, match=r"<first on vp 0.*<second on vp 1.* cannot run while <spinner"):
        m.run()
    m.close()
