"""Swaps and locks that are held across calls: who is inside may wait for what a caller outside holds."""

from __future__ import annotations

import pytest

from k42fs.ids import VP
from k42fs.machine.config import MachineConfig
from k42fs.machine.driver import Machine
from k42fs.machine.locks import FairBLock, RWLock
from k42fs.machine.thread import Thread
from k42fs.objects import COSMgr, Swap
from tests.objects.swap_lab import Board, SwapLab, version


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_a_caller_in_block_passes_once_somebody_waits_for_the_lock_it_holds(seed: int, shared: bool) -> None:
    machine = Machine(MachineConfig(processors=4, seed=seed))
    cos, board = COSMgr(machine), Board(is_open=True)
    ref = version(cos, "old", board).ref
    addr = machine.memory.alloc(VP(0), 128)
    mutex = FairBLock(machine, addr, name="mutex", spans_calls=True)
    rw = RWLock(machine, addr, name="rw", spans_calls=True)
    swaps: list[Swap] = []
    answers: list[str] = []

    async def want_the_lock(th: Thread) -> None:
        await th.sleep(120_000 - th.proc.clock)
        if shared:
            await rw.acquire_w(th)
            rw.release_w(th)
        else:
            await mutex.acquire(th)
            mutex.release(th)

    board.also = want_the_lock

    async def passer(th: Thread) -> None:
        cos.activate(th)
        await th.deref(ref).add(th, 0)
        await th.sleep(100_000)
        cos.deactivate(th)

    async def inside(th: Thread) -> None:
        await th.sleep(60_000)  # in FORWARD: counted
        cos.activate(th)
        answers.append("inside " + await th.deref(ref).stay(th))
        cos.deactivate(th)

    async def outside(th: Thread) -> None:
        await th.sleep(112_000)  # in BLOCK
        cos.activate(th)
        assert swaps[0].state == "block"
        await (rw.acquire_r(th) if shared else mutex.acquire(th))
        answers.append("outside " + await th.deref(ref).add(th))
        (rw.release_r if shared else mutex.release)(th)
        cos.deactivate(th)

    async def plain(th: Thread) -> None:
        await th.sleep(112_000)
        cos.activate(th)
        answers.append("plain " + await th.deref(ref).add(th))
        cos.deactivate(th)

    async def swapper(th: Thread) -> None:
        await th.sleep(20_000)
        swaps.append(await cos.switch(th, ref, version(cos, "new", board, ref)))
        await swaps[0].wait(th)

    for vp, body in ((0, swapper), (1, passer), (3, inside), (2, outside), (0, plain)):
        machine.spawn(VP(vp), body)
    machine.run()
    assert swaps[0].state == "completed", swaps[0].reason
    assert sorted(answers) == ["inside old", "outside old", "plain new"]


def test_a_caller_with_a_lock_that_nobody_wants_waits_as_the_others_do() -> None:
    machine = Machine(MachineConfig(processors=4))
    cos, board = COSMgr(machine), Board()
    ref = version(cos, "old", board).ref
    mutex = FairBLock(machine, machine.memory.alloc(VP(0), 128), name="mutex", spans_calls=True)
    answers: list[str] = []

    async def passer(th: Thread) -> None:
        cos.activate(th)
        await th.deref(ref).add(th, 0)
        await th.sleep(100_000)
        cos.deactivate(th)

    async def inside(th: Thread) -> None:
        await th.sleep(60_000)
        cos.activate(th)
        answers.append("inside " + await th.deref(ref).stay(th))
        cos.deactivate(th)

    async def outside(th: Thread) -> None:
        await th.sleep(112_000)
        cos.activate(th)
        await mutex.acquire(th)
        answers.append("outside " + await th.deref(ref).add(th))
        mutex.release(th)
        cos.deactivate(th)

    async def swapper(th: Thread) -> None:
        await th.sleep(20_000)
        swap = await cos.switch(th, ref, version(cos, "new", board, ref))
        await th.sleep(180_000)
        board.open(th)
        await swap.wait(th)

    for vp, body in ((0, swapper), (1, passer), (3, inside), (2, outside)):
        machine.spawn(VP(vp), body)
    machine.run()
    assert answers == ["inside old", "outside new"]


def test_live_a_caller_with_locks_passes_in_block_because_it_runs_to_its_end_at_once() -> None:
    lab = SwapLab()
    lab.touch(0, 1)
    mutex = FairBLock(lab.machine, lab.machine.memory.alloc(VP(0), 128), name="mutex", spans_calls=True)
    passer = lab.enter(1)
    swap = lab.switch(0)
    lab.begin(3, "stay")
    lab.leave(passer)
    assert swap.state == "block"
    th = lab.enter(0)
    lab.run(mutex.acquire(th))  # type: ignore[arg-type]
    assert lab.call(th, lab.ref, "add") == "old"
    mutex.release(th)
    lab.leave(th)
    lab.open()
    assert swap.state == "completed"
    lab.assert_settled()


def test_nobody_waits_for_a_swap_with_a_lock_in_its_hands() -> None:
    lab = SwapLab()
    lab.touch(0)
    mutex = FairBLock(lab.machine, lab.machine.memory.alloc(VP(0), 128), name="mutex", spans_calls=True)
    th = lab.enter(0)
    mutex.try_acquire(th)
    swap = lab.run(lab.cos.switch(th, lab.ref, version(lab.cos, "new", lab.board, lab.ref)))
    with pytest.raises(AssertionError, match="while it holds"):
        lab.run(swap.wait(th))
    mutex.release(th)
    lab.leave(th)
    assert swap.state == "completed"
