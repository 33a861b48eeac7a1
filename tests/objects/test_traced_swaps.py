"""Calls of an object that is swapped while they are traced: each once, whoever stood in between."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from k42fs.ids import VP
from k42fs.machine.thread import Thread
from k42fs.machine.tracing.mask import CLUST_OBJ, all_classes
from k42fs.machine.tracing.packets import NAMES_CPU
from k42fs.objects import SingleRepRoot
from k42fs.objects.counter import SharedCounter
from k42fs.report.filters import Filter, Source
from k42fs.report.reader import Trace
from tests.machine.tracing.lab import read
from tests.objects.swap_lab import SwapLab
from tests.objects.test_swap_storms import Storm


def counted(path: Path) -> tuple[Counter[str], Counter[int], Counter[int]]:
    """Return how often each method was called, and each number of a call seen in Call and in Return."""
    names = Source(Trace(path), Filter()).names
    methods, calls, returns = Counter[str](), Counter[int](), Counter[int]()
    for cpu, events in read(path).items():
        for _, _, name, values in events if cpu != NAMES_CPU else ():
            if name == "clust_obj_call":
                method: Any = values[1]
                methods[".".join(names.method(method))] += 1
            if name in ("clust_obj_call", "clust_obj_return"):
                number: Any = values[-1]
                (calls if name == "clust_obj_call" else returns)[number] += 1
    return methods, calls, returns


def test_a_call_that_waits_at_a_mediator_for_the_new_implementation_is_one_call(tmp_path: Path) -> None:
    lab = SwapLab()
    lab.touch(0, 1)
    lab.machine.tracer.start(tmp_path / "t", CLUST_OBJ)
    passer = lab.enter(1)
    swap = lab.switch(0)
    inside = lab.begin(3, "stay")
    lab.leave(passer)
    assert swap.state == "block"
    waiting = [lab.begin(vp, "add") for vp in (0, 1, 2)]
    lab.open()
    assert [each.result() for each in (inside, *waiting)] == ["old", "new", "new", "new"]
    lab.machine.tracer.stop()
    methods, calls, returns = counted(tmp_path / "t")
    kind = lab.root_of(lab.ref).type_name
    assert methods == {f"{kind}.stay": 1, f"{kind}.add": 3}
    assert calls == returns


def run(seed: int, to: Path | None, toggles: bool = False) -> tuple[Any, ...]:
    """Let adders and swappers work on one counter; return what there is to compare."""
    storm = Storm(seed)
    cos, machine = storm.cos, storm.machine
    ref = SingleRepRoot(cos, SharedCounter(cos, VP(0), 0)).ref

    async def adder(th: Thread, random: Random) -> None:
        for _ in range(40):
            cos.activate(th)
            await th.deref(ref).increment(th)
            cos.deactivate(th)
            if random.random() < 0.3:
                await th.sleep(random.randrange(3000))

    async def swapper(th: Thread, random: Random) -> None:
        for _ in range(12):
            await th.sleep(random.randrange(20_000))
            if toggles:
                machine.tracer.set_mask(random.choice((0, all_classes())))
            else:
                random.choice((0, 1))
            await storm.swap(th, ref, random.choice(["shared", "replicated"]), random.random() < 0.5)

    if to is not None:
        machine.tracer.start(to, CLUST_OBJ)
    for number in range(8):
        machine.spawn(VP(number % 4), adder, Random(seed + number))
    for vp in (0, 2):
        machine.spawn(VP(vp), swapper, Random(100 + seed + vp))
    machine.run()
    result = machine.event_hash(), [proc.clock for proc in machine.processors], dict(storm.outcomes)
    machine.close()
    return result


@pytest.mark.parametrize("seed", range(4))
def test_in_a_storm_of_swaps_each_call_is_told_once_and_nothing_changes(seed: int, tmp_path: Path) -> None:
    quiet = run(seed, None)
    assert quiet[2]["swapped"] >= 5
    assert run(seed, tmp_path / "t") == quiet
    assert run(seed, None, toggles=True) == quiet
    methods, calls, returns = counted(tmp_path / "t")
    assert methods["Counter.increment"] == 8 * 40
    assert calls == returns
    assert set(calls.values()) == {1}
