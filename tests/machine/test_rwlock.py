"""RWLock: readers share, writers do not, nobody starves."""

import pytest

from k42fs.ids import VP
from k42fs.machine import DeadlockError, Kind, Machine, RWLock, Thread
from tests.machine.lab import machine, run

pytestmark = pytest.mark.usefixtures("_on_each_core")


def rwlock(m: Machine) -> RWLock:
    return RWLock(m, m.memory.alloc(0, 16, Kind.GLOBAL_PADDED), name="rw")


@pytest.mark.parametrize("model", ["full", "calls", "off"])
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_writers_are_alone_and_readers_are_not(model: str, seed: int) -> None:
    m = machine(model=model, seed=seed)
    lock, readers, writers, most = rwlock(m), set[int](), set[int](), list[int]()

    async def read(th: Thread) -> None:
        for _ in range(6):
            await lock.acquire_r(th)
            assert not writers
            readers.add(th.vp)
            most.append(len(readers))
            await th.sleep(5000)
            readers.discard(th.vp)
            lock.release_r(th)
            await th.sleep(300)

    async def write(th: Thread) -> None:
        for _ in range(4):
            await lock.acquire_w(th)
            assert (readers, writers) == (set(), set())
            writers.add(th.vp)
            await th.sleep(2000)
            writers.discard(th.vp)
            lock.release_w(th)
            await th.sleep(300)

    run(m, *((vp, read) for vp in range(5)), (5, write), (6, write))
    assert max(most) > 1
    assert (lock.holders(), lock.waiting) == ((), 0)


def test_a_reader_behind_a_waiting_writer_waits_too() -> None:
    m = machine()
    lock, order = rwlock(m), list[str]()

    async def reader(th: Thread) -> None:
        await th.sleep(3000 * th.vp)
        await lock.acquire_r(th)
        order.append(f"r{th.vp}")
        await th.sleep(50_000)
        lock.release_r(th)

    async def writer(th: Thread) -> None:
        await th.sleep(3000 * th.vp)
        await lock.acquire_w(th)
        order.append(f"w{th.vp}")
        await th.sleep(50_000)
        lock.release_w(th)

    run(m, (0, reader), (1, reader), (2, writer), (3, reader), (4, writer))
    # The last reader lets the writer in; that prefers the other writer to the reader that came before it.
    assert order == ["r0", "r1", "w2", "w4", "r3"]


def test_downgrade_lets_no_writer_in_between() -> None:
    m = machine()
    lock, order = rwlock(m), list[str]()

    async def first(th: Thread) -> None:
        await lock.acquire_w(th)
        await th.sleep(20_000)
        lock.downgrade(th)
        order.append("downgraded")
        await th.sleep(20_000)
        lock.release_r(th)

    async def reader(th: Thread) -> None:
        await th.sleep(1000)
        await lock.acquire_r(th)
        order.append("reader")
        lock.release_r(th)

    async def writer(th: Thread) -> None:
        await th.sleep(5000)
        await lock.acquire_w(th)
        order.append("writer")
        lock.release_w(th)

    run(m, (0, first), (1, reader), (2, writer))
    assert order == ["downgraded", "reader", "writer"]


def test_an_upgrade_waits_for_the_other_readers_only() -> None:
    m = machine()
    lock, order = rwlock(m), list[str]()

    async def upgrader(th: Thread) -> None:
        await lock.acquire_r(th)
        await th.sleep(5000)
        assert not lock.try_upgrade(th)
        await lock.upgrade(th)
        order.append("upgraded")
        assert lock.holders() == (th,)
        lock.release_w(th)

    async def reader(th: Thread) -> None:
        await lock.acquire_r(th)
        await th.sleep(30_000)
        order.append("reader leaves")
        lock.release_r(th)

    async def writer(th: Thread) -> None:
        await th.sleep(2000)
        await lock.acquire_w(th)
        order.append("writer")
        lock.release_w(th)

    run(m, (0, upgrader), (1, reader), (2, writer))
    assert order == ["reader leaves", "upgraded", "writer"]


def test_two_upgrades_at_once_are_refused_instead_of_waiting_for_ever() -> None:
    m = machine()
    lock = rwlock(m)

    async def upgrader(th: Thread) -> str:
        await lock.acquire_r(th)
        await th.sleep(5000)
        try:
            await lock.upgrade(th)
        except DeadlockError:
            lock.release_r(th)
            return "refused"
        lock.release_w(th)
        return "upgraded"

    threads = run(m, (0, upgrader), (1, upgrader))
    assert sorted(th.outcome[0] for th in threads) == ["refused", "upgraded"]


def test_trying_never_waits() -> None:
    m = machine(live=True)
    lock = rwlock(m)
    one, two = m.enter(VP(0)), m.enter(VP(1))
    assert lock.try_acquire_r(one)
    assert lock.try_acquire_r(two)
    assert not lock.try_upgrade(one)
    lock.release_r(two)
    assert lock.try_upgrade(one)
    assert not lock.try_acquire_r(two)
    assert not lock.try_acquire_w(two)
    lock.release_w(one)
    assert lock.try_acquire_w(two)
    with pytest.raises(AssertionError, match="gives up"):
        lock.release_w(one)
    with pytest.raises(AssertionError, match="does not read"):
        lock.release_r(two)


def test_readers_do_not_scale_because_each_modifies_the_lock_line() -> None:
    def cycles_per_read(processors: int) -> float:
        m = machine(processors)
        lock = rwlock(m)

        async def read(th: Thread) -> None:
            for _ in range(50):
                await lock.acquire_r(th)
                lock.release_r(th)

        run(m, *((vp, read) for vp in range(processors)))
        return m.now / (50 * processors)

    two, eight = cycles_per_read(2), cycles_per_read(8)
    assert two < 1.2 * eight  # not faster by more than a fifth with four times the processors
    assert cycles_per_read(1) < eight / 2


@pytest.mark.parametrize("writes", [False, True])
def test_a_release_in_turn_lets_earlier_processors_go_first(writes: bool) -> None:
    """Processor 0 works far ahead while it has the lock: what 1 does by then comes before the release."""
    m = machine(2)
    lock, order = rwlock(m), list[str]()

    async def holder(th: Thread) -> None:
        await (lock.acquire_w if writes else lock.acquire_r)(th)
        th.work(50_000)
        await (lock.release_w_in_turn if writes else lock.release_r_in_turn)(th)
        order.append("released")

    async def other(th: Thread) -> None:
        await th.sleep(10_000)
        assert len(lock.holders()) == 1
        order.append("looked")

    run(m, (0, holder), (1, other))
    assert order == ["looked", "released"]
    assert lock.holders() == ()


def test_an_upgrade_that_need_not_wait_is_an_acquisition_as_one_that_waits() -> None:
    m = machine(live=True)
    lock = rwlock(m)
    th = m.enter(VP(0))
    lock.acquire_r(th)
    assert lock.try_upgrade(th)
    lock.release_w(th)
    assert lock.acquisitions == 2


def in_the_past(m: Machine, lock: RWLock, vp: int, section: int, writes: bool) -> Thread:
    """Hold the lock for *section* cycles at the time of processor *vp*."""
    th = m.enter(VP(vp))
    m.drive(_hold(lock, th, section, writes))
    m.leave(th)
    return th


async def _hold(lock: RWLock, th: Thread, section: int, writes: bool) -> None:
    await (lock.acquire_w(th) if writes else lock.acquire_r(th))
    th.work(section)
    (lock.release_w if writes else lock.release_r)(th)


@pytest.mark.parametrize("section", [9000, 200_000])  # the second outlasts a waiter's patience
def test_live_a_writer_that_waits_for_readers_in_the_past_is_handed_the_lock(section: int) -> None:
    m = machine(2, live=True, config={"live_window_cycles": 1 << 40})
    lock = rwlock(m)
    reader = in_the_past(m, lock, 0, section, writes=False)
    before = 1000
    m.processors[1].idle_until(before)
    writer = in_the_past(m, lock, 1, 100, writes=True)
    hand_off = m.hand_off_cycles(0, 1, lock.addr)
    if section > m.config.patience_cycles:
        hand_off += m.unblock_cycles(0, 1)
    assert (lock.contentions, lock.waited_cycles) == (1, reader.proc.clock - before + hand_off)
    assert writer.proc.spin == lock.waited_cycles
    moved = [item for item in m.hand_offs.added_to(()) if item.line == lock.addr // m.config.line_bytes]
    assert [(item.transfers, item.movers) for item in moved] == [(2, 0b11)]
    m.check()


def test_live_a_writer_that_waits_for_readers_and_a_writer_has_waited_once() -> None:
    m = machine(3, live=True, config={"live_window_cycles": 1 << 40})
    lock = rwlock(m)
    in_the_past(m, lock, 0, 20_000, writes=False)
    m.processors[1].idle_until(m.processors[0].clock - 5000)
    in_the_past(m, lock, 1, 30_000, writes=True)
    assert lock.contentions == 1
    waited = lock.waited_cycles
    in_the_past(m, lock, 2, 100, writes=True)  # for the readers, and then for the other writer
    assert lock.contentions == 2
    assert lock.waited_cycles - waited == m.processors[2].spin
    m.check()
