"""The deterministic driver: lowest clock first, seeds settle ties, and one seed gives one run."""

import pytest

from k42fs.ids import VP
from k42fs.machine import DeadlockError, FairBLock, Machine, Thread
from k42fs.machine.scheduler import tie_break
from tests.machine.lab import ADD, BOX, a_lock, machine, run

pytestmark = pytest.mark.usefixtures("_on_each_core")


def mixed_run(seed: int, model: str = "full") -> Machine:
    """Eight processors, two threads each, that share a lock, a box and a bell."""
    m = machine(seed=seed, model=model)
    lock, box = a_lock(m, name="lock"), m.memory.alloc(0, BOX)
    boxes = [m.memory.alloc(vp, BOX) for vp in range(8)]

    async def body(th: Thread) -> None:
        for i in range(12):
            await th.touch(ADD, boxes[th.vp])
            await th.touch(ADD, box)
            await lock.acquire(th)
            try:
                await th.touch(ADD, boxes[(th.vp + i) % 8])
                if i % 4 == 0:
                    await th.sleep(50 * th.number)
            finally:
                lock.release(th)
            th.work(31 * th.vp)

    run(m, *((vp, body) for vp in range(8) for _ in range(2)))
    return m


@pytest.mark.parametrize("model", ["full", "calls", "off"])
def test_the_same_seed_gives_the_same_events_and_the_same_statistics(model: str) -> None:
    first, second = mixed_run(7, model), mixed_run(7, model)
    assert first.event_hash() == second.event_hash()
    assert first.statistics() == second.statistics()


def test_different_seeds_give_different_orders() -> None:
    assert len({mixed_run(seed).event_hash() for seed in range(5)}) == 5


def test_the_hash_of_a_known_run_does_not_change_with_the_interpreter() -> None:
    # Not a promise to users: if the model changes on purpose, put the new value here.
    assert tie_break(1, 2, 3) == 0xDF85CCA3D35CB39E


def test_accounts_add_up_after_a_reset_too() -> None:
    m = mixed_run(1)
    m.reset_statistics()
    m.check()
    assert m.statistics()["per_processor"][0]["calls"] == 0


def test_nobody_runs_ahead_on_a_line_that_another_may_take() -> None:
    """Plain stores to one line, each after the other's by time: every one has to fetch it back."""
    m = machine(processors=2)
    line = m.memory.alloc(0, BOX)

    async def body(th: Thread) -> None:
        for _ in range(50):
            await th.store(line + 8 * th.vp)
            th.work(300)

    run(m, (0, body), (1, body))
    [moved] = m.statistics()["lines"]
    assert moved["transfers"] == 99


def test_a_reader_that_polls_misses_once_per_change() -> None:
    m = machine(processors=2)
    line = m.memory.alloc(0, BOX)

    async def write(th: Thread) -> None:
        for _ in range(10):
            th.work(5000)
            await th.store(line)

    async def read(th: Thread) -> None:
        for _ in range(3000):
            await th.load(line)
            th.work(20)

    run(m, (0, write), (1, read))
    misses = m.core.counters(1).misses
    assert misses["true_sharing"] == 10


def test_the_lowest_clock_goes_first() -> None:
    m = machine()
    order: list[tuple[int, int]] = []

    async def body(th: Thread) -> None:
        for _ in range(4):
            await th.sleep(100 * (th.vp + 1))
            order.append((th.proc.clock, th.vp))

    run(m, (0, body), (1, body), (2, body))
    assert [clock for clock, _ in order] == sorted(clock for clock, _ in order)


def test_threads_of_one_processor_take_turns_in_the_order_they_became_ready() -> None:
    m = machine()
    order: list[str] = []

    async def body(th: Thread) -> None:
        for _ in range(2):
            order.append(th.name)
            th.work(1000)
            await th.sleep(0)

    for name in "abc":
        m.spawn(VP(0), body, name=name)
    m.run()
    assert order == ["a", "b", "c", "a", "b", "c"]
    assert m.processors[0].idle == 0


def test_a_sleeper_leaves_its_processor_to_others() -> None:
    m = machine()

    async def sleeper(th: Thread) -> int:
        await th.sleep(10_000)
        return th.proc.clock

    async def worker(th: Thread) -> int:
        th.work(4000)
        return th.proc.clock

    asleep, at_work = run(m, (0, sleeper), (0, worker))
    assert (at_work.outcome[0], asleep.outcome[0]) == (4000, 10_000)
    assert m.processors[0].idle == 6000


@pytest.mark.parametrize("first", ["block", "unblock"])
def test_block_and_unblock_commute(first: str) -> None:
    m = machine()
    finished: list[int] = []

    async def sleeper(th: Thread) -> None:
        if first == "unblock":
            await th.sleep(10_000)
        await th.block()
        finished.append(th.proc.clock)

    target = m.spawn(VP(1), sleeper)

    async def waker(th: Thread) -> None:
        await th.sleep(5000)
        th.unblock(target)

    m.spawn(VP(0), waker)
    m.run()
    m.check()
    assert len(finished) == 1
    assert finished[0] >= 5000


def wake_cycles(waker_vp: int, sleeper_vp: int) -> int:
    m = machine(64)
    woken: list[int] = []

    async def sleeper(th: Thread) -> None:
        await th.block()
        woken.append(th.proc.clock)

    target = m.spawn(VP(sleeper_vp), sleeper)

    async def waker(th: Thread) -> None:
        await th.sleep(100_000)
        th.unblock(target)

    m.spawn(VP(waker_vp), waker)
    m.run()
    m.check()
    return woken[0] - 100_000


def test_waking_another_processor_costs_a_message_and_an_interrupt_and_grows_with_distance() -> None:
    here, near, far = wake_cycles(0, 0), wake_cycles(1, 0), wake_cycles(63, 0)
    assert here == 60
    assert near >= here + 2 * 200 + 1000
    assert far > near


def test_messages_that_arrive_before_the_interrupt_is_served_share_it() -> None:
    m = machine(8)
    sleepers: list[Thread] = []

    async def sleeper(th: Thread) -> int:
        await th.block()
        return th.proc.clock

    async def waker(th: Thread) -> None:
        await th.sleep(10_000)
        for target in sleepers:
            th.unblock(target)

    sleepers += [m.spawn(VP(1), sleeper) for _ in range(5)]
    m.spawn(VP(0), waker)
    m.run()
    m.check()
    wakings = sorted(th.outcome[0] for th in sleepers)
    assert wakings[-1] - wakings[0] < m.config.ipi_cycles  # one interrupt, not five in a row


def test_a_run_does_not_wait_for_daemons_and_can_go_on_afterwards() -> None:
    m = machine()
    ticks: list[int] = []

    async def daemon(th: Thread) -> None:
        while True:
            await th.sleep(1000)
            ticks.append(th.proc.clock)

    async def body(th: Thread) -> None:
        await th.sleep(3400)

    m.spawn(VP(0), daemon, daemon=True)
    m.spawn(VP(1), body)
    m.run()
    assert ticks == [1000, 2000, 3000]
    m.spawn(VP(1), body)
    m.run()
    assert ticks == [1000 * i for i in range(1, 7)]
    m.close()


def test_a_thread_that_nobody_will_wake_is_a_deadlock() -> None:
    m = machine()

    async def body(th: Thread) -> None:
        await th.block()

    m.spawn(VP(2), body, name="forgotten")
    with pytest.raises(DeadlockError, match="forgotten on vp 2"):
        m.run()
    m.close()


def test_a_deadlock_beside_a_daemon_is_noticed() -> None:
    m = machine()

    async def daemon(th: Thread) -> None:
        while True:
            await th.sleep(5_000_000_000)

    async def body(th: Thread) -> None:
        await th.block()

    m.spawn(VP(0), daemon, daemon=True)
    m.spawn(VP(2), body, name="forgotten")
    with pytest.raises(DeadlockError, match=r"only daemons run: .*forgotten"):
        m.run()
    m.close()


def test_what_a_thread_raises_ends_the_run_and_its_locks_can_be_seen() -> None:
    m = machine()
    lock: FairBLock = a_lock(m)

    async def body(th: Thread) -> None:
        await lock.acquire(th)
        try:
            raise KeyError(th.vp)
        finally:
            lock.release(th)

    m.spawn(VP(0), body)
    with pytest.raises(KeyError):
        m.run()
    assert lock.holder is None


def test_external_things_must_be_ready_in_a_deterministic_run() -> None:
    m = machine()

    async def ready() -> int:
        return 5

    async def body(th: Thread) -> int:
        return await th.external(ready())

    assert run(m, (0, body))[0].outcome[0] == 5


def test_stacks_of_finished_threads_are_used_again() -> None:
    m = machine(1)

    async def body(th: Thread) -> int:
        return th.stack

    stacks = [run(m, (0, body))[0].outcome[0] for _ in range(3)]
    assert len(set(stacks)) == 1
