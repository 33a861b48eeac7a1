"""Sem: units are neither made nor lost, first come first served, zero is seen."""

from random import Random

import pytest

from k42fs.machine import FairBLock, Kind, Machine, SLock, Thread
from k42fs.machine.lock_kinds import LOCK_KINDS
from k42fs.machine.semaphore import Sem
from tests.machine.lab import machine, run


class RemovedError(Exception):
    """The semaphore is gone."""


def make(m: Machine, value: int = 0, kind: str = "BLock") -> Sem:
    lock = LOCK_KINDS[kind](m, m.memory.alloc(0, 64, Kind.GLOBAL_PADDED))
    return Sem(m, m.memory.alloc(0, 64, Kind.GLOBAL_PADDED), lock, value)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("model", ["full", "off"])
def test_never_more_inside_than_units_and_all_come_back(seed: int, model: str) -> None:
    m = machine(6, seed=seed, model=model)
    sem = make(m, 3, "SLock" if seed % 2 else "BitBLock")
    inside = most = 0

    async def body(th: Thread) -> None:
        nonlocal inside, most
        draw = Random(seed << 8 | th.vp)
        for _ in range(10):
            units = draw.randrange(1, 4)
            await sem.p(th, units)
            inside += units
            most = max(most, inside)
            await th.sleep(draw.choice((50, 900, 30_000)))
            inside -= units
            await sem.v(th, units)

    run(m, *((vp, body) for vp in range(6)))
    assert (sem.value, sem.waiting, inside) == (3, 0, 0)
    assert most == 3


def test_who_came_first_is_served_first_even_if_others_need_less() -> None:
    m = machine(4)
    sem, order = make(m), list[int]()

    def taker(units: int):  # type: ignore[no-untyped-def]  # noqa: ANN202
        async def run_one(th: Thread) -> None:
            await th.sleep(10_000 * th.vp)
            await sem.p(th, units)
            order.append(th.vp)

        return run_one

    async def giver(th: Thread) -> None:
        for _ in range(6):
            await th.sleep(100_000)
            await sem.v(th)

    run(m, (0, giver), (1, taker(3)), (2, taker(1)), (3, taker(2)))
    assert order == [1, 2, 3]
    assert sem.value == 0


def test_z_waits_for_zero_and_wakes_all_who_do() -> None:
    m = machine(4)
    sem, seen = make(m, 2), list[int]()

    async def watcher(th: Thread) -> None:
        await sem.z(th)
        seen.append(sem.value)

    async def taker(th: Thread) -> None:
        await th.sleep(50_000)
        await sem.p(th)
        assert not seen
        await th.sleep(50_000)
        assert not seen
        await sem.p(th)
        await sem.z(th)  # at zero it does not wait

    run(m, (0, taker), (1, watcher), (2, watcher), (3, watcher))
    assert seen == [0, 0, 0]


def test_fail_wakes_everybody_with_the_error() -> None:
    m = machine(4)
    sem, raised = make(m, 1), list[int]()

    def waiter(name: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
        async def run_one(th: Thread) -> None:
            with pytest.raises(RemovedError):
                await (sem.p(th, 2) if name == "p" else sem.z(th))
            raised.append(th.vp)

        return run_one

    async def remover(th: Thread) -> None:
        await th.sleep(100_000)
        await sem.fail(th, RemovedError())
        assert sem.waiting == 0

    run(m, (0, remover), (1, waiter("p")), (2, waiter("p")), (3, waiter("z")))
    assert sorted(raised) == [1, 2, 3]
    assert sem.value == 1


@pytest.mark.parametrize("lock", [FairBLock, SLock])
def test_a_unit_that_is_there_costs_the_lock_and_one_write(lock: type[FairBLock]) -> None:
    m = machine(1)
    sem = make(m, 1, lock.kind)

    async def body(th: Thread) -> None:
        await sem.p(th)
        await sem.v(th)
        begin = th.proc.clock
        await sem.p(th)
        await sem.v(th)
        hit, atomic = m.config.l1_cycles, m.config.atomic_cycles
        assert th.proc.clock - begin == 2 * (2 * (hit + atomic) + hit)

    run(m, (0, body))


def test_one_that_dies_while_it_waits_holds_up_nobody() -> None:
    m = machine(3, live=True)
    sem = make(m, 1)
    big, small = m.enter(m.processors[0].vp), m.enter(m.processors[1].vp)
    dying = sem.p(big, 2)
    dying.send(None)
    waiting = m.suspend(small, coro := sem.p(small, 1), coro.send(None))
    dying.close()
    m.leave(m.enter(m.processors[2].vp))
    assert waiting.done
    assert (sem.value, sem.waiting) == (0, 0)
