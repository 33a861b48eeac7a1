"""Whole runs of the deterministic machine: races and daemons in virtual time."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest

from k42fs.errors import DeletedObjectError
from k42fs.ids import VP, Ref
from k42fs.machine.config import MachineConfig
from k42fs.machine.driver import Machine
from k42fs.machine.thread import Thread
from k42fs.objects import COSMgr, state_word
from k42fs.objects.counter import ReplicatedCounter, ReplicatedCounterRoot, create_replicated, create_shared
from k42fs.objects.state_word import Answer
from k42fs.objects.translation import PAGE_SHIFT, SLOT_MASK

PERIOD = 200_000


class SlowRoot(ReplicatedCounterRoot):
    """Makes reps slowly, so that a destroy falls into a miss."""

    async def make_rep(self, th: Thread) -> ReplicatedCounter:
        await th.sleep(50_000)
        return self.create_rep(th.vp)


def deterministic(processors: int, seed: int = 0, **options: Any) -> tuple[Machine, COSMgr]:  # noqa: ANN401
    machine = Machine(MachineConfig(processors=processors, seed=seed))
    return machine, COSMgr(machine, **options)


@pytest.mark.parametrize("seed", range(5))
def test_invariant_15_racing_destroys_are_one_destroy(seed: int) -> None:
    machine, cos = deterministic(4, seed)
    ref = ReplicatedCounterRoot(cos, 0, 1, VP(0)).ref
    answers: list[bool] = []

    async def race(th: Thread) -> None:
        cos.activate(th)
        await th.deref(ref).increment(th)
        await th.sleep(100_000)
        answers.append(await cos.destroy(th, ref))
        cos.deactivate(th)

    for vp in range(4):
        machine.spawn(VP(vp), race)
    machine.run()
    assert sorted(answers) == [False, False, False, True]


@pytest.mark.parametrize("seed", range(3))
def test_a_destroy_waits_for_the_miss_in_progress_which_then_ends_well(seed: int) -> None:
    machine, cos = deterministic(2, seed)
    root = SlowRoot(cos, 0, 1, VP(0))
    order: list[str] = []

    async def caller(th: Thread) -> None:
        cos.activate(th)
        await th.deref(root.ref).increment(th)
        order.append("called")
        cos.deactivate(th)

    async def destroyer(th: Thread) -> None:
        cos.activate(th)
        await th.sleep(20_000)
        assert await cos.destroy(th, root.ref)
        order.append("destroyed")
        with pytest.raises(DeletedObjectError):
            await th.deref(root.ref).increment(th)
        cos.deactivate(th)

    machine.spawn(VP(0), caller)
    machine.spawn(VP(1), destroyer)
    machine.run()
    assert sorted(order) == ["called", "destroyed"]
    assert machine.now >= 50_000


def test_a_miss_waits_while_the_root_is_replaced_and_then_meets_the_new_one() -> None:
    machine, cos = deterministic(2)
    ref = ReplicatedCounterRoot(cos, 1, 1, VP(0)).ref
    replacement = ReplicatedCounterRoot(cos, 1000, 1, VP(0))
    page, slot = cos.table.pages[ref >> PAGE_SHIFT], ref & SLOT_MASK
    answer, page.words[slot] = state_word.enter_switch(page.words[slot])
    assert answer is Answer.GRANTED
    seen: list[int] = []

    async def caller(th: Thread) -> None:
        cos.activate(th)
        seen.append(await th.deref(ref).value(th))
        cos.deactivate(th)

    async def switcher(th: Thread) -> None:
        cos.activate(th)
        await th.sleep(30_000)
        assert seen == []
        page.handlers[slot] = replacement
        page.words[slot] = state_word.write_complete(page.words[slot])
        assert await cos.destroy(th, ref), "it is owed to whoever ends the switch"
        while page.words[slot] >= state_word.ONE_MISS or not seen:
            await th.sleep(10_000)
        answer, page.words[slot] = state_word.exit_switch(page.words[slot])
        assert answer is Answer.PENDING
        assert await cos.destroy(th, ref)
        cos.deactivate(th)

    machine.spawn(VP(0), caller)
    machine.spawn(VP(1), switcher)
    machine.run()
    assert seen == [1000]
    assert cos.pending == 1


async def life(th: Thread, cos: COSMgr, peers: list[Ref], times: int) -> None:
    """Create, share, call and destroy, as a file server does."""
    for number in range(times):
        cos.activate(th)
        make = create_replicated if number % 5 == 0 else create_shared
        ref = await make(th, cos)
        peers.append(ref)
        await th.deref(ref).increment(th)
        with suppress(DeletedObjectError):
            await th.deref(peers[number * 7 % len(peers)]).increment(th)
        cos.deactivate(th)
        await th.sleep(3_000)
        cos.activate(th)
        peers.remove(ref)
        await cos.destroy(th, ref)
        cos.deactivate(th)


def churn(seed: int) -> tuple[dict[str, object], int, str]:
    machine, cos = deterministic(4, seed)
    blocks = machine.memory.live_blocks
    peers: list[Ref] = []

    async def minder(th: Thread) -> None:
        while cos.statistics()["destroyed"] < 4 * 40 or cos.pending:
            await th.sleep(PERIOD)

    for vp in range(4):
        machine.spawn(VP(vp), life, cos, peers, 40)
        machine.spawn(VP(vp), cos.daemon, PERIOD, daemon=True)
    machine.spawn(VP(0), minder)
    machine.run()
    # What is left: a rep of the manager and a page of refs per processor, and the stacks of the 13 threads.
    assert 8 <= machine.memory.live_blocks - blocks <= 8 + 13
    return dict(cos.statistics()), machine.now, machine.event_hash()


def test_daemons_reclaim_everything_in_virtual_time_and_every_run_is_the_same() -> None:
    first = churn(7)
    assert first[0]["live"] == first[0]["refs_in_use"] == first[0]["pending"] == 0
    assert first[0]["freed"] == 160
    assert churn(7) == first
    assert churn(8)[0]["freed"] == 160


def test_a_miss_costs_one_to_two_orders_more_than_a_hit() -> None:
    machine, cos = deterministic(1)
    costs: list[int] = []

    async def measure(th: Thread) -> None:
        cos.activate(th)
        ref = await create_shared(th, cos)
        for _ in range(3):
            start = th.proc.clock
            await th.deref(ref).increment(th)
            costs.append(th.proc.clock - start)
        cos.deactivate(th)

    machine.spawn(VP(0), measure)
    machine.run()
    assert costs[1] == costs[2]
    assert 5 * costs[2] < costs[0] < 200 * costs[2]


def test_starting_a_thread_moves_no_line_between_processors() -> None:
    machine, cos = deterministic(4)

    async def visit(th: Thread) -> None:
        for _ in range(100):
            cos.activate(th)
            cos.deactivate(th)

    for vp in range(4):
        machine.spawn(VP(vp), visit)
    machine.run()
    clocks = {proc.clock for proc in machine.processors}
    assert len(clocks) == 1, "four processors take as long as one"
