"""Blocking locks that are not fair: herds, the one table of blocked threads, and what they cost."""

import pytest

from k42fs.ids import VP
from k42fs.machine import Kind, Machine, Thread
from k42fs.machine.blocked_threads import BUCKET_BYTES, BUCKETS, bucket_of
from k42fs.machine.unfair_locks import BitBLock, UnFairBLock, UnfairLock
from tests.machine.lab import machine, run

LONG = 200_000
"""A holding that outlasts everybody's patience."""


def a_lock(m: Machine, kind: type[UnfairLock], vp: int = 0) -> UnfairLock:
    return kind(m, m.memory.alloc(vp, 64, Kind.GLOBAL_PADDED))


def herd(
    kind: type[UnfairLock], waiters: int, m: Machine | None = None
) -> tuple[Machine, UnfairLock, list[int]]:
    """Let one hold the lock until all the others block; return in what order they had it."""
    m = m or machine(waiters + 1)
    lock = a_lock(m, kind)
    order: list[int] = []

    async def body(th: Thread) -> None:
        await th.sleep(5000 * th.vp)
        await lock.acquire(th)
        order.append(th.vp)
        await th.sleep(LONG if not th.vp else 100)
        lock.release(th)

    run(m, *((vp, body) for vp in range(waiters + 1)))
    return m, lock, order


@pytest.mark.parametrize("kind", [BitBLock, UnFairBLock])
def test_a_release_wakes_all_who_wait(kind: type[UnfairLock]) -> None:
    m = machine(5)
    woken: list[int] = []
    grant = m.grant
    m.grant = lambda by, heir: (woken.append(by.vp), grant(by, heir))[1]  # type: ignore[method-assign,func-returns-value]
    _, lock, order = herd(kind, 4, m)
    assert sorted(order) == list(range(5))
    assert woken.count(0) == 4, "the first holder wakes the whole herd"
    assert lock.contentions == 4
    assert not m.watchers.blocked.waiting(lock.addr)


def test_who_is_woken_first_need_not_have_waited_longest() -> None:
    _, _, order = herd(UnFairBLock, 4)
    assert order[1] == 4, "the list is a stack"


def test_someone_who_comes_at_the_right_time_overtakes_those_who_wait() -> None:
    m = machine(3)
    lock = a_lock(m, BitBLock)
    order: list[int] = []

    def body(at: int, hold: int):  # type: ignore[no-untyped-def]  # noqa: ANN202
        async def run_one(th: Thread) -> None:
            await th.sleep(at)
            await lock.acquire(th)
            order.append(th.vp)
            await th.sleep(hold)
            lock.release(th)

        return run_one

    run(m, (0, body(0, LONG)), (1, body(5000, 100)), (2, body(LONG + 900, 100)))
    assert order == [0, 2, 1], "processor 2 finds the lock free, 1 has yet to wake up"


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("kind", [BitBLock, UnFairBLock])
def test_no_wake_up_is_lost_between_the_failed_attempt_and_the_block(
    kind: type[UnfairLock], seed: int
) -> None:
    """Holdings as long as a waiter takes to block, give or take: the release falls on every step of that."""
    m = machine(4, seed=seed, config={"spin_polls": 2, "yield_polls": 0})
    lock = a_lock(m, kind)
    blocked = 0

    async def body(th: Thread) -> None:
        nonlocal blocked
        for i in range(25):
            switches = th.proc.switches
            await lock.acquire(th)
            blocked += th.proc.switches > switches
            await th.sleep(40 * (i + th.vp) % 1500 + seed)
            lock.release(th)

    run(m, *((vp, body) for vp in range(4)))  # a lost wake-up would be a DeadlockError
    assert lock.acquisitions == 100
    assert blocked > 5
    assert not m.watchers.blocked.waiting(lock.addr)


def test_a_short_wait_is_polled_and_enters_no_queue() -> None:
    m = machine(2)
    lock = a_lock(m, BitBLock)

    async def body(th: Thread) -> None:
        await th.sleep(200 * th.vp)
        await lock.acquire(th)
        th.work(1000)
        lock.release(th)

    run(m, (0, body), (1, body))
    assert lock.contentions == 1
    assert m.watchers.blocked.lock_of(lock.addr).acquisitions == 0


def test_words_of_different_locks_share_buckets_and_their_lines() -> None:
    addrs = range(0x1000, 0x1000 + 64 * 20_000, 64)
    buckets = [bucket_of(addr) for addr in addrs]
    assert {min(buckets), max(buckets)} == {0, BUCKETS - 1}
    assert max(buckets.count(bucket) for bucket in range(0, BUCKETS, 64)) < 40, "spread evenly"
    assert bucket_of(1) == 0x9E3779B97F4A7C15 >> 54
    m = machine(1)
    table = m.watchers.blocked
    first, second = 0x1000, next(a for a in addrs[1:] if bucket_of(a) == bucket_of(0x1000))
    assert table.lock_of(first) is table.lock_of(second)
    assert m.memory.home(table.addr // m.config.line_bytes) == 0
    assert m.config.line_bytes > BUCKET_BYTES


def test_blocking_on_one_s_own_lock_moves_lines_of_the_one_table() -> None:
    """Two pairs of processors, each pair with a lock of its own in one bucket: the baseline's defect."""
    m = machine(4, config={"spin_polls": 2, "yield_polls": 0})
    locks = [a_lock(m, BitBLock)]
    while len(locks) < 2:
        other = a_lock(m, BitBLock)
        if bucket_of(other.addr) == bucket_of(locks[0].addr):
            locks.append(other)

    async def body(th: Thread) -> None:
        lock = locks[th.vp // 2]
        for _ in range(20):
            await lock.acquire(th)
            await th.sleep(3000)
            lock.release(th)

    run(m, *((vp, body) for vp in range(4)))
    bucket = m.watchers.blocked.lock_of(locks[0].addr)
    assert bucket.acquisitions >= 40
    moved = [row for row in m.statistics(100)["lines"] if row["object"].startswith("BlockedThreadQueues")]
    assert moved
    assert set(moved[0]["processors"]) == {0, 1, 2, 3}


def test_a_contended_hand_over_costs_what_its_references_add_up_to() -> None:
    """One waiter in UnFairBLock, processors of one node: each step by hand."""
    m = machine(2, config={"processors_per_node": 8})
    lock = a_lock(m, UnFairBLock)
    times: dict[str, int] = {}
    config = m.config
    rmw = config.atomic_cycles

    async def holder(th: Thread) -> None:
        await lock.acquire(th)
        await th.sleep(LONG)
        times["release"] = th.proc.clock
        lock.release(th)
        times["released"] = th.proc.clock

    async def waiter(th: Thread) -> None:
        await th.store(th.stack)
        await th.sleep(50_000)
        begin = th.proc.clock
        await lock.acquire(th)
        times["waited"] = th.proc.clock - begin

    run(m, (0, holder), (1, waiter))
    # The swap of the word, which the waiter's push has taken, and its node; then making it ready: the message, on
    # a line of the holder's own, the mailbox and its interrupt word, none of them cached yet.
    release = config.dirty_cycles + rmw + config.dirty_cycles
    wake = config.unblock_cycles + config.local_cycles + 2 * (config.local_cycles + rmw)
    assert times["released"] - times["release"] == release + wake
    assert lock.waited_cycles == times["waited"] > LONG - 50_000


def test_a_lock_that_nobody_contends_for_makes_no_table() -> None:
    m = machine(1)
    lock = a_lock(m, BitBLock)
    th = m.new_thread(VP(0))
    assert lock.try_acquire(th)
    lock.release(th)
    assert "blocked" not in vars(m.watchers)
