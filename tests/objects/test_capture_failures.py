"""Captures and releases that meet with what stands in their way: nothing stays captured that nobody can release."""

from __future__ import annotations

import pytest

from k42fs.errors import DeletedObjectError
from k42fs.ids import VP
from k42fs.machine.config import MachineConfig
from k42fs.machine.driver import Machine
from k42fs.machine.thread import Thread
from k42fs.objects import COSMgr, SingleRepRoot, Wanted
from k42fs.objects.arbiters import CallCounter
from k42fs.objects.counter import SharedCounter
from k42fs.objects.interposition import Attachment
from tests.objects.lab import Lab
from tests.objects.test_interposition import attach, counter


def test_if_one_of_several_objects_cannot_be_captured_none_is() -> None:
    lab = Lab()
    refs = [counter(lab), counter(lab)]
    arbiter = CallCounter()
    several = " ".join(f"ref {ref}" for ref in [*refs, max(refs) + 1])
    with pytest.raises(DeletedObjectError):
        attach(lab, arbiter, Wanted.parse(several))
    assert lab.cos.interposition.attachments == []
    for ref in refs:
        lab.call_on(1, ref, "increment")
        th = lab.enter(0)
        assert lab.run(lab.cos.swap_to(th, ref, "replicated")).is_done
        lab.leave(th)
        assert lab.call_on(2, ref, "value") == 1
    assert arbiter.report()["calls"] == 0
    lab.sweep(8)
    assert (lab.cos.statistics()["live"], lab.cos.pending) == (2, 0)


def test_an_arbiter_is_taken_away_though_its_object_is_just_being_switched() -> None:
    machine = Machine(MachineConfig(processors=4))
    cos = COSMgr(machine)
    ref = SingleRepRoot(cos, SharedCounter(cos, VP(0), 0)).ref
    attachments: list[Attachment] = []

    async def prepare(th: Thread) -> None:
        await cos.call(th, ref, "increment")
        attachments.append(await cos.interposition.attach(th, CallCounter(), Wanted.parse(f"ref {ref}")))

    async def switch(th: Thread) -> None:
        await th.sleep(500)
        await cos.swaps.enter(th, ref)
        await th.sleep(5000)
        cos.swaps.leave(ref)

    async def take_away(th: Thread) -> None:
        await th.sleep(1500)
        await cos.interposition.release(th, attachments[0])

    machine.spawn(VP(0), prepare)
    machine.run()
    for proc in machine.processors:
        proc.idle_until(machine.now)
    machine.spawn(VP(1), switch)
    machine.spawn(VP(2), take_away)
    machine.run()
    assert isinstance(cos.root_at(ref), SingleRepRoot)
    assert attachments[0].captured == {}
