"""Waiting for swaps: what would wait for itself, directly or in a circle of swaps, is refused."""

from __future__ import annotations

import pytest

from k42fs.errors import InTransitionError
from k42fs.machine.thread import Thread
from k42fs.objects import Swap
from tests.objects.swap_lab import Board, SwapLab, version


def in_forward(lab: SwapLab) -> Swap:
    """Begin a swap that stays in FORWARD while `lab.passer` is active."""
    lab.touch(0, 1)
    lab.passer = lab.enter(1)
    return lab.switch(0)  # type: ignore[no-any-return]


def test_a_counted_call_cannot_wait_for_the_swap_that_waits_for_it() -> None:
    lab = SwapLab()
    swap = in_forward(lab)
    refused: list[str] = []

    async def wait(th: Thread) -> None:
        try:
            await swap.wait(th)
        except InTransitionError as exc:
            refused.append(str(exc))

    lab.board.also = wait
    counted = lab.begin(0, "stay")
    lab.open()
    assert counted.result() == "old"
    assert len(refused) == 1
    assert "waits for the call that would wait for it" in refused[0]
    lab.leave(lab.passer)
    assert swap.state == "completed"


def test_two_swaps_cannot_come_to_wait_for_each_other() -> None:
    lab = SwapLab()
    first = in_forward(lab)
    board = Board()
    other = version(lab.cos, "other", board).ref
    for vp in (0, 1):
        lab.call_on(vp, other, "add")
    th = lab.enter(0)
    second = lab.run(lab.cos.switch(th, other, version(lab.cos, "other new", board, other)))
    lab.leave(th)
    outcomes: list[str] = []

    async def wait_for_second(th: Thread) -> None:
        await second.wait(th)
        outcomes.append("first's call goes on")

    async def wait_for_first(th: Thread) -> None:
        try:
            await first.wait(th)
        except InTransitionError:
            outcomes.append("refused")

    lab.board.also, board.also = wait_for_second, wait_for_first
    board.is_open = lab.board.is_open = True
    in_first = lab.begin(0, "stay")  # inside the first, waits for the second
    assert lab.call_on(0, other, "stay") == "other", "inside the second, may not wait for the first"
    assert outcomes == ["refused"]
    lab.leave(lab.passer)
    assert in_first.result() == "old"
    assert (first.state, second.state) == ("completed", "completed")
    assert outcomes == ["refused", "first's call goes on"]
    lab.assert_settled()


def test_a_swap_that_is_done_is_not_waited_for() -> None:
    lab = SwapLab()
    swap = lab.switch(0)
    th = lab.enter(1)
    lab.run(swap.wait(th))
    lab.leave(th)


@pytest.mark.parametrize("waiters", [1, 3])
def test_all_who_wait_are_told(waiters: int) -> None:
    lab = SwapLab()
    swap = in_forward(lab)
    parked = []
    for vp in range(waiters):
        th = lab.enter(vp)
        operation = lab.start(swap.wait(th))
        operation.on_done = lambda th=th: lab.leave(th)
        parked.append(operation)
    lab.leave(lab.passer)
    assert [each.done for each in parked] == [True] * waiters
