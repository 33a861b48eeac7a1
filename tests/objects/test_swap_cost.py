"""What swaps cost: nothing per call before and after, a bounded number of cycles per processor touched, little time."""

from __future__ import annotations

from time import perf_counter

import pytest

from k42fs.ids import VP, Ref
from k42fs.machine import Machine, Thread, preset
from k42fs.objects import COSMgr, SingleRepRoot
from k42fs.objects.counter import SharedCounter, create_shared
from tests.objects.lab import Lab

SETTLED = 200_000


def busy_cycles(machine: Machine) -> int:
    """What all processors have spent so far, but for idling."""
    return sum(machine.core.counters(proc.vp).cycles + proc.work + proc.spin for proc in machine.processors)


@pytest.mark.parametrize("processors", [1, 2, 4, 8, 16, 32])
def test_a_null_swap_of_an_idle_object_costs_less_than_2000_cycles_per_processor_touched(
    processors: int,
) -> None:
    machine = Machine(preset("dir-1024", processors=max(2, processors)))
    cos = COSMgr(machine)
    ref = SingleRepRoot(cos, SharedCounter(cos, VP(0), 0)).ref
    measured: list[tuple[int, int]] = []

    async def touch(th: Thread) -> None:
        cos.activate(th)
        await th.deref(ref).increment(th)
        cos.deactivate(th)

    async def swap(th: Thread) -> None:
        for _ in range(2):
            await th.sleep(SETTLED)
            began = busy_cycles(machine)
            swap = await cos.swap_to(th, ref, "shared")
            await swap.wait(th)
            assert swap.record.processors == list(range(processors))
            measured.append((busy_cycles(machine) - began, swap.record.cycles))
            for vp in range(processors):
                machine.spawn(VP(vp), touch)

    for vp in range(processors):
        machine.spawn(VP(vp), touch)
    machine.spawn(VP(0), swap)
    machine.run()
    for busy, elapsed in measured:
        assert busy < 2000 * processors
        assert elapsed < 2000 * processors


def cycles_per_call(lab: Lab, ref: Ref) -> int:
    """The cycles of the second call in a row."""
    lab.call_on(1, ref, "increment")
    th = lab.enter(1)
    before = th.proc.clock
    lab.call(th, ref, "increment")
    cycles = th.proc.clock - before
    lab.leave(th)
    return cycles


def test_calls_cost_the_same_before_and_after_a_swap_and_as_those_of_an_object_that_cannot_be_swapped() -> (
    None
):
    class Plain(SharedCounter):
        kind = ""
        exports = imports = frozenset()

    lab = Lab()
    th = lab.enter(0)
    ref = lab.run(create_shared(th, lab.cos))
    plain = SingleRepRoot(lab.cos, Plain(lab.cos, VP(0), 0)).ref
    before = cycles_per_call(lab, ref)
    assert before == cycles_per_call(lab, plain)
    swap = lab.run(lab.cos.swap_to(th, ref, "shared"))
    lab.leave(th)
    assert swap.state == "completed"
    assert cycles_per_call(lab, ref) == before
    entry = lab.machine.processors[1].ltt[ref]
    assert type(entry) is SharedCounter, "nothing stands before the rep"


def test_live_a_swap_of_an_idle_object_takes_less_than_a_millisecond() -> None:
    lab = Lab(8)
    th = lab.enter(0)
    ref = lab.run(create_shared(th, lab.cos))
    lab.leave(th)
    times = []
    for number in range(30):
        for vp in range(8):
            lab.call_on(vp, ref, "increment")
        th = lab.enter(0)
        began = perf_counter()
        swap = lab.run(lab.cos.swap_to(th, ref, ("replicated", "shared")[number % 2]))
        lab.run(swap.wait(th))
        times.append(perf_counter() - began)
        lab.leave(th)
        assert swap.state == "completed"
        lab.sweep()
    # Two cores shared with whatever else runs: the middle one of many tells what a swap takes.
    assert sorted(times)[len(times) // 2] < 1e-3
