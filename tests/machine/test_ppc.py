"""Procedure calls across address spaces: local lines only when warm, whatever else the machine has."""

import pytest

from k42fs.ids import VP
from k42fs.machine import Machine, Thread
from k42fs.machine.ppc import CALL, PAYLOAD_MAX, RETURN, SLOW_RETURN_WORK, BorrowerStackError, PpcServer
from tests.machine.lab import machine, run


async def nothing(th: Thread) -> int:
    return th.vp


def test_a_warm_call_touches_fourteen_lines_all_in_the_first_cache() -> None:
    m = machine(4)
    server = PpcServer(m.ppc, "echo")
    costs: list[int] = []

    async def client(th: Thread) -> None:
        for _ in range(5):
            begin = th.proc.clock
            assert await server.call(th, nothing) == th.vp
            costs.append(th.proc.clock - begin)

    run(m, *((vp, client) for vp in range(4)))
    lines = {(second, offset // 128) for code, second, offset, nbytes in CALL.refs}
    assert len(lines) + 1 == 14  # and the handle's
    hits = len(CALL.refs) + 1 + len(RETURN.refs)
    assert hits == 20  # 14 on the way there, the handle, 5 on the way back
    assert min(costs) == 190 + hits * m.config.l1_cycles
    assert sorted(costs)[-5] == min(costs)  # all but each processor's first
    assert server.calls == 20


def test_a_payload_is_written_and_read_on_one_page() -> None:
    m = machine(1)
    server = PpcServer(m.ppc, "sink")

    async def client(th: Thread) -> int:
        for payload in (PAYLOAD_MAX, PAYLOAD_MAX):
            begin = th.proc.clock
            await server.call(th, nothing, payload=payload)
        with_payload = th.proc.clock - begin
        begin = th.proc.clock
        await server.call(th, nothing)
        return with_payload - (th.proc.clock - begin)

    assert run(m, (0, client))[0].outcome[0] == 2 * 63 * m.config.l1_cycles


def test_bad_payloads_are_refused() -> None:
    m = machine(1)
    server = PpcServer(m.ppc, "sink")

    async def client(th: Thread) -> None:
        for payload in (-1, PAYLOAD_MAX + 1):
            with pytest.raises(ValueError, match="payload"):
                await server.call(th, nothing, payload=payload)

    run(m, (0, client))


def test_servers_call_servers_eight_deep_and_no_deeper() -> None:
    m = machine(1)
    server = PpcServer(m.ppc, "deep")

    async def descend(th: Thread, depth: int) -> int:
        return depth if depth == 0 else await server.call(th, descend, depth - 1)

    async def client(th: Thread) -> None:
        assert await server.call(th, descend, 7) == 0
        with pytest.raises(BorrowerStackError):
            await server.call(th, descend, 8)
        assert await server.call(th, descend, 7) == 0  # it was left in order

    run(m, (0, client))


def test_a_server_that_blocked_returns_through_the_scheduler() -> None:
    m = machine(1)
    server = PpcServer(m.ppc, "slow")

    async def pause(th: Thread, cycles: int) -> None:
        if cycles:
            await th.sleep(cycles)

    async def client(th: Thread) -> list[int]:
        costs = []
        for cycles in (0, 0, 5000):
            begin = th.proc.clock
            await server.call(th, pause, cycles)
            costs.append(th.proc.clock - begin)
        return costs

    _, warm, slow = run(m, (0, client))[0].outcome[0]
    assert slow == warm + 5000 + SLOW_RETURN_WORK
    assert server.slow_returns == 1


def remote_cycles(m: Machine, times: int = 4) -> list[int]:
    server = PpcServer(m.ppc, "far")
    costs: list[int] = []

    async def client(th: Thread) -> None:
        for _ in range(times):
            begin = th.proc.clock
            assert await server.remote(th, 1, nothing) == 1
            costs.append(th.proc.clock - begin)

    if m.live:
        th = m.enter(VP(0))
        m.drive(client(th))
        m.leave(th)
    else:
        run(m, (0, client))
    m.check()
    return costs


@pytest.mark.parametrize("live", [False, True])
def test_a_remote_call_runs_over_there_and_costs_two_interrupts(live: bool) -> None:
    m = machine(2, live=live)
    assert min(remote_cycles(m)) > 2 * m.config.ipi_cycles


def test_remote_calls_of_one_processor_wait_for_each_other() -> None:
    m = machine(3)
    server = PpcServer(m.ppc, "far")
    inside: list[Thread] = []

    async def alone(th: Thread) -> None:
        assert not inside
        inside.append(th)
        await th.sleep(5000)
        inside.clear()

    async def client(th: Thread) -> int:
        await server.remote(th, 0, alone)
        return th.proc.clock

    first, second = run(m, (1, client), (2, client))
    assert abs(first.outcome[0] - second.outcome[0]) > 0.9 * 10_000 * m.config.mhz


def test_what_a_server_raises_is_raised_at_its_caller_near_and_far() -> None:
    m = machine(2)
    server = PpcServer(m.ppc, "broken")

    async def fail(th: Thread) -> None:
        raise KeyError("broken")

    async def client(th: Thread) -> None:
        with pytest.raises(KeyError, match="broken"):
            await server.call(th, fail)
        with pytest.raises(KeyError, match="broken"):
            await server.remote(th, 1, fail)
        assert await server.remote(th, 1, nothing) == 1

    run(m, (0, client))
