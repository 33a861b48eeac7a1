"""Spinning on a cached copy: no traffic while it lasts, an end when the copy is taken or time is up."""

import pytest

from k42fs.ids import VP
from k42fs.machine import Kind, OperationSuspended, Thread
from k42fs.machine.core import NEVER
from tests.machine.lab import machine, run

pytestmark = pytest.mark.usefixtures("_on_each_core")


def test_a_spinner_causes_no_traffic_until_its_copy_is_taken_and_then_reads_again_in_line() -> None:
    m = machine()
    addr = m.memory.alloc(0, 64, Kind.GLOBAL_PADDED)
    flag: list[int] = []
    seen: list[int] = []

    async def spinner(th: Thread) -> None:
        assert await m.watchers.spin_until(th, addr, lambda: bool(flag))
        seen.append(th.proc.clock)

    async def writer(th: Thread) -> None:
        await th.sleep(1_000_000)
        await th.store(addr)
        flag.append(th.proc.clock)

    run(m, (0, writer), *((vp, spinner) for vp in range(1, 8)))
    for vp in range(1, 8):
        counters = m.core.counters(vp)
        assert counters.loads == 2  # one before, one after, whatever lies between
        assert m.processors[vp].spin > 990_000
    assert all(at > flag[0] for at in seen)
    assert len(set(seen)) == 7  # they queue at the line's home
    assert not m.core.watched


def test_a_spinner_ends_at_its_deadline_if_nobody_takes_its_copy() -> None:
    m = machine(2)
    addr = m.memory.alloc(0, 64, Kind.GLOBAL_PADDED)

    async def spinner(th: Thread) -> None:
        assert not await m.watchers.spin_until(th, addr, lambda: False, th.proc.clock + 5000)
        assert th.proc.clock == 5000

    run(m, (1, spinner))
    assert m.watchers.polls(400) == 100


def test_a_write_to_another_word_of_the_line_wakes_a_spinner_to_no_avail() -> None:
    m = machine(3)
    addr = m.memory.alloc(0, 64, Kind.GLOBAL_PADDED)
    flag: list[int] = []

    async def spinner(th: Thread) -> None:
        await m.watchers.spin_until(th, addr, lambda: bool(flag))

    async def neighbour(th: Thread) -> None:
        await th.sleep(10_000)
        await th.store(addr + 32)

    async def writer(th: Thread) -> None:
        await th.sleep(100_000)
        await th.store(addr)
        flag.append(1)

    run(m, (0, spinner), (1, neighbour), (2, writer))
    assert m.core.counters(0).loads == 3


def test_the_taker_does_not_run_ahead_of_those_it_woke() -> None:
    m = machine(2)
    first, second = (m.memory.alloc(0, 64, Kind.GLOBAL_PADDED) for _ in range(2))
    order: list[str] = []

    async def spinner(th: Thread) -> None:
        await th.load(first)
        await m.watchers.wait_line(th, first)
        await th.rmw(second)
        order.append("spinner")

    async def taker(th: Thread) -> None:
        await th.sleep(10_000)
        await th.rmw(first)
        th.work(50_000)
        await th.rmw(second)
        order.append("taker")

    run(m, (0, spinner), (1, taker))
    assert order == ["spinner", "taker"]


def test_live_an_unbounded_spinner_is_parked_until_somebody_takes_its_copy() -> None:
    m = machine(2, live=True)
    addr = m.memory.alloc(0, 64, Kind.GLOBAL_PADDED)
    flag: list[int] = []

    async def spin(th: Thread) -> int:
        assert not await m.watchers.spin_until(th, addr, lambda: False, th.proc.clock + 700)
        await m.watchers.spin_until(th, addr, lambda: bool(flag))
        return th.proc.clock

    async def set_flag(th: Thread) -> None:
        await th.store(addr)
        flag.append(1)

    waiter, writer = m.enter(VP(0)), m.enter(VP(1))
    with pytest.raises(OperationSuspended) as caught:
        m.drive(spin(waiter))
    m.drive(set_flag(writer))
    m.leave(writer)
    assert caught.value.operation.result() > 700
    m.leave(waiter)
    assert m.limit == NEVER
    m.check()


@pytest.mark.parametrize("model", ["calls", "off"])
def test_without_lines_nobody_can_spin_on_one(model: str) -> None:
    m = machine(2, model=model)

    async def spin(th: Thread) -> None:
        await m.watchers.wait_line(th, 64)

    with pytest.raises(AssertionError, match="no lines are modelled"):
        run(m, (0, spin))
    m.close()
