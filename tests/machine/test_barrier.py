"""Barriers: nobody passes before all have come, round after round."""

from collections.abc import Awaitable, Callable

import pytest

from k42fs.machine import Machine, Thread
from k42fs.machine.barrier import LOOKS, STEP_TURNS, BlockBarrier, CentralBarrier, TreeBarrier, back_off
from tests.machine.lab import machine, run

Wait = Callable[[Thread], Awaitable[None]]


def central(m: Machine, parties: int) -> Wait:
    return CentralBarrier(m, parties).wait


def apart(m: Machine, parties: int) -> Wait:
    return CentralBarrier(m, parties, is_apart=True).wait


def tree(m: Machine, parties: int) -> Wait:
    barrier = TreeBarrier(m, parties)
    return lambda th: barrier.wait(th, th.vp)


def blocking(m: Machine, parties: int) -> Wait:
    return BlockBarrier(m, parties).wait


@pytest.mark.parametrize("make", [central, apart, tree, blocking])
@pytest.mark.parametrize("parties", [1, 2, 5, 16, 23])
def test_nobody_passes_before_all_have_come(make: Callable[[Machine, int], Wait], parties: int) -> None:
    m = machine(max(parties, 2))
    wait = make(m, parties)
    came = [0] * 6
    latest = [0] * 6

    async def body(th: Thread) -> None:
        for i in range(6):
            await th.sleep((th.vp * 7919 + i * 104_729) % 20_000)
            came[i] += 1
            latest[i] = max(latest[i], th.proc.clock)
            await wait(th)
            assert came[i] == parties
            assert th.proc.clock >= latest[i]

    run(m, *((vp, body) for vp in range(parties)))
    assert came == [parties] * 6


@pytest.mark.parametrize("model", ["calls", "off"])
def test_a_blocking_barrier_needs_no_lines(model: str) -> None:
    m = machine(4, model=model)
    wait = blocking(m, 4)
    came: list[int] = []

    async def body(th: Thread) -> None:
        came.append(th.vp)
        await wait(th)
        assert len(came) == 4

    run(m, *((vp, body) for vp in range(4)))


def test_back_off_grows_by_steps_and_begins_again() -> None:
    assert [back_off(i * LOOKS) for i in (0, 1, 2, 31, 32)] == [0, STEP_TURNS, 2 * STEP_TURNS, 3100, 0]


def test_a_spinner_that_backed_off_looks_late() -> None:
    m = machine(2, config={"poll_cycles": 4})
    wait = central(m, 2)
    passed: dict[int, int] = {}

    async def early(th: Thread) -> None:
        await wait(th)
        passed[0] = th.proc.clock

    async def late(th: Thread) -> None:
        await th.sleep(1_000_000)
        await wait(th)
        passed[1] = th.proc.clock

    run(m, (0, early), (1, late))
    assert 0 < passed[0] - passed[1] < 4 * (3100 + LOOKS)
