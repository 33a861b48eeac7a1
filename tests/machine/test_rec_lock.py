"""RecLock: its owner may take it again; it is free when he has given it up as often."""

from k42fs.ids import VP
from k42fs.machine import Kind, Machine, Thread
from k42fs.machine.rec_lock import BYTES, CountLock, RecLock
from tests.machine.lab import machine, run


def make(m: Machine) -> RecLock:
    return RecLock(m, m.memory.alloc(0, BYTES, Kind.GLOBAL_PADDED), rank=3)


def test_a_count_lock_is_the_same() -> None:
    assert CountLock is RecLock


def test_it_stays_taken_until_the_last_release() -> None:
    m = machine(2)
    lock, times = make(m), dict[str, int]()

    async def owner(th: Thread) -> None:
        for depth in (1, 2, 3):
            await lock.acquire(th)
            assert lock.depth == depth
        assert lock.try_acquire(th)
        for depth in (3, 2, 1):
            lock.release(th)
            assert (lock.depth, lock.holder) == (depth, th)
            await th.sleep(50_000)
        times["free"] = th.proc.clock
        lock.release(th)
        assert lock.depth == 0

    async def other(th: Thread) -> None:
        await th.sleep(10_000)
        assert not lock.try_acquire(th)
        await lock.acquire(th)
        times["got"] = th.proc.clock
        assert (lock.depth, lock.holder) == (1, th)
        lock.release(th)

    run(m, (0, owner), (1, other))
    assert times["got"] > times["free"] > 150_000
    assert lock.acquisitions == 2


def test_taking_it_again_needs_no_atomic_operation() -> None:
    m = machine(1)
    lock = make(m)

    async def body(th: Thread) -> None:
        await lock.acquire(th)
        begin = th.proc.clock
        await lock.acquire(th)
        lock.release(th)
        assert th.proc.clock - begin == 3 * m.config.l1_cycles  # owner; depth; depth
        lock.release(th)

    run(m, (0, body))
    assert lock.try_acquire(m.new_thread(VP(0)))
