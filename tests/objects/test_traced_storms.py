"""Object calls are traced while much is going on: nothing changes, and off nothing at all is done."""

from __future__ import annotations

import gc
from pathlib import Path
from random import Random
from typing import Any

import pytest

from k42fs.errors import DeletedObjectError
from k42fs.ids import VP, Ref
from k42fs.machine import Thread
from k42fs.machine.config import MachineConfig
from k42fs.machine.driver import Machine
from k42fs.machine.tracing import switches
from k42fs.machine.tracing.emitters import Emitters
from k42fs.machine.tracing.mask import CLUST_OBJ, FS, all_classes
from k42fs.objects import COSMgr
from k42fs.objects.counted_calls import CountedCalls
from k42fs.objects.counter import create_replicated, create_shared
from k42fs.objects.traced_table import Wanted
from k42fs.report.filters import Filter, Source
from k42fs.report.generations import generations
from k42fs.report.reader import Trace
from tests.objects.lab import Lab, replicated, single
from tests.objects.test_traced_calls import recorded, words


def storm(seed: int, toggles: bool, mask: int = 0) -> tuple[str, list[int], dict[str, Any], int, list[int]]:
    """Let threads on four processors call shared and replicated counters, and destroy and remake them meanwhile.

    Return what there is to compare, and the refs of all counters.
    """
    machine = Machine(MachineConfig(processors=4, seed=seed))
    cos = COSMgr(machine)
    calls = CountedCalls(cos)
    refs: list[Ref] = []
    answers: list[int] = []

    async def prepare(th: Thread) -> None:
        cos.activate(th)
        for _ in range(3):
            refs.extend((await create_replicated(th, cos, cluster=2), await create_shared(th, cos)))
        cos.deactivate(th)

    async def work(th: Thread, random: Random) -> None:
        for _ in range(60):
            cos.activate(th)
            at = random.randrange(len(refs))
            try:
                await th.deref(refs[at]).increment(th, random.randrange(9))
                if random.random() < 0.3:
                    answers.append(await th.deref(refs[at]).value(th))
                if random.random() < 0.1:
                    old, refs[at] = refs[at], await create_shared(th, cos)
                    await cos.destroy(th, old)
            except DeletedObjectError:
                answers.append(-1)
            cos.deactivate(th)
            await th.sleep(random.randrange(400))

    async def toggle(th: Thread, random: Random) -> None:
        for _ in range(40):
            await th.sleep(random.randrange(3000))
            chosen = random.choice(("all", "type SharedCounter", f"ref {refs[0]}", "none"))
            new_mask = random.choice((0, CLUST_OBJ, FS, all_classes()))
            counted = random.choice(refs)
            if toggles:
                if counted in calls:
                    calls.end()
                else:
                    calls.begin()
                    calls.watch(counted)
                cos.tracing.trace_calls(Wanted.parse(chosen))
                machine.tracer.set_mask(new_mask)

    machine.spawn(VP(0), prepare)
    machine.run()
    if mask:
        machine.tracer.set_mask(mask)
    for vp in range(4):
        machine.spawn(VP(vp), cos.daemon, 4000, daemon=True)
        for number in range(2):
            machine.spawn(VP(vp), work, Random(10 * seed + 2 * vp + number))
    machine.spawn(VP(3), toggle, Random(seed))
    machine.run()
    machine.check()
    clocks = [proc.clock for proc in machine.processors]
    result = machine.event_hash(), clocks, {**cos.statistics()}, machine.core.late, answers
    machine.close()
    gc.collect()  # a coroutine that was never awaited would warn here
    return result


@pytest.mark.parametrize("seed", [1, 2])
def test_turning_it_on_and_off_in_a_storm_changes_no_result_and_no_clock(seed: int) -> None:
    quiet = storm(seed, toggles=False)
    assert storm(seed, toggles=True) == quiet
    assert storm(seed, toggles=False, mask=all_classes()) == quiet
    assert quiet[2]["destroyed"] > 10
    assert quiet[2]["misses"] > 20


def test_with_the_mask_off_nothing_is_emitted(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = storm(3, toggles=False)

    def refuse(self: Emitters, *args: object) -> None:
        raise AssertionError("an emitter was asked for with the mask off")

    monkeypatch.setattr(type(switches.SILENT), "__getattr__", refuse)
    assert storm(3, toggles=False) == quiet


def test_turned_off_again_no_emitter_is_even_called() -> None:
    lab = Lab(2)
    ref = replicated(lab)
    tracer = lab.machine.tracer
    tracer.set_mask(all_classes())
    for vp in (0, 1):
        lab.call_on(vp, ref, "hello")
    tracer.set_mask(0)

    def refuse(self: Emitters, *args: object) -> None:
        raise AssertionError("an emitter was called with the mask off")

    kind = type(tracer.emit[0])
    assert issubclass(kind, Emitters)
    for name in [name for name, value in vars(kind).items() if callable(value)]:
        setattr(kind, name, refuse)
    waiting = [len(stream.words) for stream in tracer.streams()]
    for vp in (0, 1):
        lab.call_on(vp, ref, "hello")
        lab.call_on(vp, single(lab), "hello")
    lab.destroy_on(1, ref)
    lab.sweep(6)
    assert lab.root_of(ref) is None
    assert [len(stream.words) for stream in tracer.streams()] == waiting


def test_generations_are_told_as_they_passed(tmp_path: Path) -> None:
    machine = Machine(MachineConfig(processors=3))
    cos = COSMgr(machine)
    refs: list[Ref] = []

    async def work(th: Thread) -> None:
        for _ in range(30):
            cos.activate(th)
            ref = await create_shared(th, cos)
            await th.deref(ref).increment(th)
            await cos.destroy(th, ref)
            cos.deactivate(th)
            refs.append(ref)
            await th.sleep(900)

    machine.tracer.start(tmp_path / "t", CLUST_OBJ)
    for vp in range(3):
        machine.spawn(VP(vp), cos.daemon, 3000, daemon=True)
        machine.spawn(VP(vp), work)
    machine.run()
    machine.close()
    counted = cos.statistics()
    found = generations(Source(Trace(tmp_path / "t"), Filter()))
    seen = recorded(tmp_path / "t")
    assert counted["token_rounds"] > 5
    assert len(found.intervals) == counted["token_rounds"] - 1
    assert found.elapsed
    assert len(words(seen, "clust_obj_mh_clean")) >= counted["freed"] > 20
    assert len(words(seen, "clust_obj_dealloc")) == counted["freed"]
    assert len(words(seen, "clust_obj_alloc")) == len(refs) == 90
    assert len(words(seen, "clust_obj_vp_init")) == 3
