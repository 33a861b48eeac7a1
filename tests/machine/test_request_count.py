"""RequestCount: requests enter until a shutdown, and the shutdown waits for those inside."""

import pytest

from k42fs.machine import AlreadyShutDownError, Kind, Machine, RequestCount, Thread
from k42fs.machine.validation.lock_loop import DIRTY, prototype
from tests.machine.lab import machine, run


def request_count(m: Machine) -> RequestCount:
    return RequestCount(m, m.memory.alloc(0, 16, Kind.GLOBAL_PADDED))


@pytest.mark.parametrize("model", ["full", "calls", "off"])
def test_a_shutdown_waits_for_those_inside_and_refuses_the_others(model: str) -> None:
    m = machine(model=model)
    count, events = request_count(m), list[str]()

    async def request(th: Thread) -> None:
        await th.sleep(3000 * th.vp)
        if not await count.enter(th):
            events.append(f"{th.vp} refused")
            return
        await th.sleep(20_000)
        events.append(f"{th.vp} leaves")
        count.leave(th)

    async def closer(th: Thread) -> None:
        await th.sleep(10_000)
        await count.shutdown(th)
        events.append("shut")

    run(m, *((vp, request) for vp in (0, 1, 5)), (7, closer))
    assert events == ["5 refused", "0 leaves", "1 leaves", "shut"]
    assert (count.inside, count.is_shut) == (0, True)


def test_an_idle_count_shuts_at_once_and_only_once_and_can_be_restarted() -> None:
    m = machine()
    count = request_count(m)

    async def body(th: Thread) -> list[bool]:
        await count.shutdown(th)
        with pytest.raises(AlreadyShutDownError):
            await count.shutdown(th)
        first = await count.enter(th)
        count.restart(th)
        second = await count.enter(th)
        count.leave(th)
        return [first, second]

    assert run(m, (0, body))[0].outcome[0] == [False, True]


def test_each_enter_and_leave_is_one_rmw_of_a_shared_line() -> None:
    m = machine(2)
    count = request_count(m)

    async def body(th: Thread) -> None:
        for _ in range(10):
            assert await count.enter(th)
            count.leave(th)

    run(m, (0, body), (1, body))
    assert [m.core.counters(vp).rmws for vp in range(2)] == [20, 20]
    assert sum(line["transfers"] for line in m.statistics()["lines"]) >= 15


def test_leaving_without_entering_is_a_bug() -> None:
    m = machine()

    async def body(th: Thread) -> None:
        with pytest.raises(AssertionError, match="nobody is inside"):
            request_count(m).leave(th)

    run(m, (0, body))


@pytest.mark.parametrize(("in_turn", "least", "most"), [(True, 0.95, 1.05), (False, 1.2, 2.05)])
def test_leaving_in_turn_keeps_the_lines_ceiling_and_leaving_at_once_may_pass_it(
    in_turn: bool, least: float, most: float
) -> None:
    """Each request moves the line twice if its two additions wait for their turn."""
    m = Machine(prototype(8))
    count, done, end = request_count(m), [0], 400_000

    async def body(th: Thread) -> None:
        while th.proc.clock <= end:
            assert await count.enter(th)
            if in_turn:
                await count.leave_in_turn(th)
            else:
                count.leave(th)
            done[0] += th.proc.clock <= end

    run(m, *((vp, body) for vp in range(8)))
    assert least <= done[0] * 2 * DIRTY / end <= most


@pytest.mark.parametrize("model", ["full", "calls", "off"])
def test_leaving_in_turn_lets_a_waiting_shutdown_end(model: str) -> None:
    m = machine(model=model)
    count, order = request_count(m), list[str]()

    async def request(th: Thread) -> None:
        assert await count.enter(th)
        await th.sleep(20_000)
        order.append("leaves")
        await count.leave_in_turn(th)

    async def closer(th: Thread) -> None:
        await th.sleep(10_000)
        await count.shutdown(th)
        order.append("shut")

    run(m, (0, request), (1, closer))
    assert order == ["leaves", "shut"]
