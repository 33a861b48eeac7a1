"""Creating and destroying without end keeps memory bounded: invariant 16's second half."""

from __future__ import annotations

import sys

import pytest

from k42fs.ids import VP
from k42fs.machine.driver import Model
from k42fs.objects import Rep, SingleRepRoot
from k42fs.objects.counter import create_replicated, create_shared
from tests.objects.lab import Lab


class Small(Rep):
    __slots__ = ()

    async def poke(self, th: object) -> None:
        return None


@pytest.mark.parametrize("model", ["full", "off"])
def test_invariant_16_churn_ends_with_no_live_object_and_reuses_table_pages(model: Model) -> None:
    lab = Lab(4, model=model)
    cos = lab.cos
    lab.join(*range(4))
    blocks = lab.machine.memory.live_blocks
    refs_max = pages_max = 0
    for number in range(4000):
        vp = number % 4
        th = lab.enter(vp)
        make = create_replicated if number % 8 == 0 else create_shared
        ref = lab.run(make(th, cos))
        lab.call(th, ref, "increment")
        refs_max = max(refs_max, ref & (1 << 19) - 1)
        lab.leave(th)
        if number % 3 == 0:
            lab.call_on((vp + 1) % 4, ref, "increment")
        lab.destroy_on(vp, ref)
        if cos.wants_cleanup(VP(vp)):
            lab.clean(vp)
        pages_max = max(pages_max, len(cos.table.pages))
    lab.sweep(6)
    statistics = cos.statistics()
    assert (statistics["live"], statistics["refs_in_use"], statistics["pending"]) == (0, 0, 0)
    assert refs_max < 256, "refs and pages were used again"
    assert (statistics["pages"], pages_max) == (5, 5)
    assert lab.machine.memory.live_blocks == blocks + (4 if model == "full" else 0)
    assert all(len(proc.ltt) == 0 for proc in lab.machine.processors)


def test_a_burst_far_beyond_a_batch_is_worked_off_in_bounded_rounds() -> None:
    lab = Lab(1, model="off", batch=500)
    th = lab.enter(0)
    for _ in range(5000):
        ref = SingleRepRoot(lab.cos, Small()).ref
        lab.call(th, ref, "poke")
        lab.run(lab.cos.destroy(th, ref))
    lab.leave(th)
    rounds = 0
    while lab.cos.wants_cleanup(VP(0)):
        lab.clean(0)
        rounds += 1
    assert 10 <= rounds <= 25
    lab.sweep(4)
    assert lab.cos.pending == 0


def test_a_small_object_is_small() -> None:
    lab = Lab(1, model="off")
    rep = Small()
    root = SingleRepRoot(lab.cos, rep)
    own = sum(map(sys.getsizeof, (root, rep, root.ref, root.addr)))
    entry = sys.getsizeof(lab.cos.table.pages[root.ref >> 8].handlers) * 3 // 256
    assert own + entry < 400
