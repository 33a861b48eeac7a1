"""Shootdowns: every user is told, nobody else is, and the caller waits for all of them."""

import pytest

from k42fs.machine import Thread
from k42fs.machine.shootdown import shoot_down
from tests.machine.lab import machine, run


@pytest.mark.parametrize("model", ["full", "calls", "off"])
def test_all_users_forget_before_the_caller_goes_on_and_nobody_else_is_disturbed(model: str) -> None:
    m = machine(8, model=model)

    async def unmap(th: Thread) -> int:
        return await shoot_down(m, th, [0, 3, 5, 5, 6], 400)

    (caller,) = run(m, (0, unmap))
    assert caller.outcome[0] == 3
    told = [vp for vp in range(1, 8) if m.processors[vp].work >= 400]
    assert told == ([3, 5, 6] if model != "off" else [])
    assert all(m.processors[vp].work == 0 for vp in (1, 2, 4, 7))


def test_a_range_of_ones_own_needs_no_message() -> None:
    m = machine(4)

    async def unmap(th: Thread) -> int:
        assert await shoot_down(m, th, [0], 400) == 0
        return th.proc.clock

    assert run(m, (0, unmap))[0].outcome[0] == 400
