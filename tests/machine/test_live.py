"""The live driver: operations inline, suspension only when real, and overlap in virtual time."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from k42fs.ids import VP, Addr
from k42fs.machine import FairBLock, Machine, OperationSuspended, Suspended, Thread
from tests.machine.lab import ADD, BOX, a_lock, machine

pytestmark = pytest.mark.usefixtures("_on_each_core")


def operation(m: Machine, vp: int, body: Callable[[Thread], Any]) -> Any:  # noqa: ANN401
    """Do one whole operation as a front end does."""
    th = m.enter(VP(vp))
    try:
        return m.drive(body(th))
    finally:
        m.leave(th)


def test_a_thread_comes_from_its_processors_free_list_last_in_first_out() -> None:
    m = machine(live=True)
    first, second = m.enter(VP(0)), m.enter(VP(0))
    first.creds = "somebody"
    m.leave(first)
    assert m.enter(VP(1)) is not first
    again = m.enter(VP(0))
    assert again is first
    assert (again.creds, again.held) == (None, [])
    m.leave(again)
    m.leave(second)
    assert [m.enter(VP(0)), m.enter(VP(0))] == [second, first]


def test_an_operation_that_keeps_a_lock_is_a_bug() -> None:
    m = machine(live=True)
    lock, th = a_lock(m), m.enter(VP(0))
    lock.acquire(th)
    with pytest.raises(AssertionError, match="leaves while it holds"):
        m.leave(th)


def test_an_idle_processor_is_pulled_to_within_the_window() -> None:
    m = machine(live=True)

    async def long_work(th: Thread) -> None:
        th.work(5_000_000)

    async def clock(th: Thread) -> int:
        return th.proc.clock

    operation(m, 0, long_work)
    assert operation(m, 1, clock) == 4_000_000
    assert operation(m, 0, clock) == 5_000_000
    assert m.processors[1].idle == 4_000_000
    m.check()


def test_live_sleep_without_a_host_lets_the_time_pass_at_once() -> None:
    m = machine(live=True)

    async def body(th: Thread) -> int:
        await th.sleep(1234)
        return th.proc.clock

    assert operation(m, 0, body) == 1234


def test_an_operation_suspends_for_a_lock_that_is_really_held_and_goes_on_when_it_is_free() -> None:
    m = machine(live=True)
    lock, holder, waiter = a_lock(m), m.enter(VP(0)), m.enter(VP(1))
    lock.acquire(holder)
    holder.work(10_000)
    done: list[str] = []

    async def body(th: Thread) -> int:
        await lock.acquire(th)
        lock.release(th)
        return th.proc.clock

    coro = body(waiter)
    suspended = m.suspend(waiter, coro, coro.send(None), lambda: done.append("done"))
    assert not suspended.done
    lock.release(holder)
    assert not done  # the releaser is still running
    m.leave(holder)
    assert done == ["done"]
    assert suspended.result() > 10_000
    m.leave(waiter)
    assert m.enter(VP(1)) is waiter
    m.check()


def test_what_a_suspended_operation_raises_is_its_result() -> None:
    m = machine(live=True)
    th, waker = m.enter(VP(0)), m.enter(VP(1))

    async def body(th: Thread) -> None:
        await th.block()
        raise KeyError("late")

    with pytest.raises(OperationSuspended) as caught:
        m.drive(body(th))
    waker.unblock(th)
    m.leave(waker)
    with pytest.raises(KeyError, match="late"):
        caught.value.operation.result()


def test_an_abandoned_operation_finishes_without_its_caller() -> None:
    m = machine(live=True)
    th, waker = m.enter(VP(0)), m.enter(VP(1))
    finished: list[int] = []

    async def body(th: Thread) -> None:
        await th.block()
        finished.append(th.vp)

    with pytest.raises(OperationSuspended):
        m.drive(body(th))
    m.leave(th)  # the caller was interrupted
    assert m.enter(VP(0)) is not th
    waker.unblock(th)
    m.leave(waker)
    assert finished == [0]


class Host:
    """Runs awaitables when told to, as an event loop would."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Any, Callable[[Any, BaseException | None], None]]] = []
        self.slept: list[float] = []

    def outside(self, awaitable: Awaitable[Any], done: Callable[[Any, BaseException | None], None]) -> None:
        self.waiting.append((awaitable, done))

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def run_one(self) -> None:
        awaitable, done = self.waiting.pop(0)
        try:
            awaitable.__await__().send(None)
        except StopIteration as stop:
            done(stop.value, None)
        except ValueError as exc:
            done(None, exc)

    def close(self) -> None:
        for awaitable, _ in self.waiting:
            awaitable.close()


def suspended(m: Machine, vp: int, body: Callable[[Thread], Any]) -> Suspended:
    with pytest.raises(OperationSuspended) as caught:
        m.drive(body(m.enter(VP(vp))))
    return caught.value.operation


def test_an_operation_leaves_the_machine_for_the_host_and_comes_back_with_the_answer() -> None:
    m, host = machine(live=True), Host()
    m.host(host.outside, host.sleep)

    async def answer(value: int) -> int:
        if value < 0:
            raise ValueError(value)
        return value

    async def body(th: Thread) -> int:
        await th.sleep(2_000_000)
        try:
            await th.external(answer(-1))
        except ValueError:
            return await th.external(answer(5))
        return 0

    parked = suspended(m, 0, body)
    for _ in range(3):
        assert not parked.done
        host.run_one()
    assert parked.result() == 5
    assert host.slept == [0.001]


def test_a_host_may_have_the_answer_at_once() -> None:
    m, host = machine(live=True), Host()

    def at_once(awaitable: Awaitable[Any], done: Callable[[Any, BaseException | None], None]) -> None:
        host.outside(awaitable, done)
        host.run_one()

    m.host(at_once, host.sleep)

    async def body(th: Thread) -> int:
        await th.sleep(10)
        return th.vp

    assert suspended(m, 3, body).result() == 3


def test_a_lock_held_outside_makes_others_wait_and_close_ends_them_all() -> None:
    m, host = machine(live=True), Host()
    m.host(host.outside, host.sleep)
    lock = a_lock(m)
    ended: list[int] = []

    async def body(th: Thread) -> None:
        await lock.acquire(th)
        try:
            await th.sleep(100)
        finally:
            lock.release(th)
            ended.append(th.vp)

    parked = [suspended(m, vp, body) for vp in range(3)]
    host.run_one()
    assert [operation.done for operation in parked] == [True, False, False]
    m.close()
    host.close()
    assert lock.holder is None


# --- overlap in virtual time


async def hammer(th: Thread, lock: FairBLock, box: Addr, hold: int, think: int) -> None:
    await lock.acquire(th)
    try:
        await th.touch(ADD, box)
        th.work(hold)
    finally:
        lock.release(th)
    th.work(think)


def hammered(hold: int, think: int, live: bool, shared: bool, rounds: int = 60) -> tuple[int, int, Machine]:
    """Let 8 callers take a lock *rounds* times each; return (cycles waited, contentions, machine)."""
    m = machine(live=live)
    locks = [a_lock(m, vp=vp) for vp in range(1 if shared else 8)]
    boxes = [m.memory.alloc(vp, BOX) for vp in range(len(locks))]

    async def loop(th: Thread) -> None:
        for _ in range(rounds):
            await hammer(th, locks[th.vp % len(locks)], boxes[th.vp % len(locks)], hold, think)

    if not live:
        for vp in range(8):
            m.spawn(VP(vp), loop)
        m.run()
    else:
        for _ in range(rounds):
            for vp in range(8):
                i = vp % len(locks)
                operation(m, vp, lambda th, i=i: hammer(th, locks[i], boxes[i], hold, think))  # type: ignore[misc]
    m.check()
    return sum(lock.waited_cycles for lock in locks), sum(lock.contentions for lock in locks), m


@pytest.mark.parametrize(("hold", "think"), [(1000, 500), (300, 3000), (2000, 10_000)])
def test_callers_served_one_after_the_other_wait_for_each_other_as_in_a_deterministic_run(
    hold: int, think: int
) -> None:
    exact, exact_contentions, _ = hammered(hold, think, live=False, shared=True)
    waited, contentions, m = hammered(hold, think, live=True, shared=True)
    assert waited == pytest.approx(exact, rel=0.25)
    assert contentions == pytest.approx(exact_contentions, rel=0.05)
    assert m.statistics()["late_arrivals"] == 0


@pytest.mark.parametrize("live", [False, True])
def test_callers_on_private_locks_wait_for_nobody(live: bool) -> None:
    assert hammered(1000, 500, live=live, shared=False)[:2] == (0, 0)


def test_a_caller_that_was_long_idle_takes_its_place_near_the_others_and_is_counted() -> None:
    m = machine(live=True, config={"history": 2})
    lock, box = a_lock(m), m.memory.alloc(0, BOX)
    for vp in (0, 1):  # two processors, so that the lock has a history
        for _ in range(20):
            operation(m, vp, lambda th: hammer(th, lock, box, 100, 5000))
    before = lock.waited_cycles
    operation(m, 2, lambda th: hammer(th, lock, box, 100, 5000))
    assert lock.late == 1
    assert lock.waited_cycles - before < 5000
    assert m.processors[2].idle > 50_000
    m.check()
