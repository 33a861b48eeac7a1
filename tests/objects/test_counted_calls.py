"""Counted calls: who is watched, what is counted where, and that nothing stays behind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from k42fs.ids import VP, Ref
from k42fs.machine.config import MachineConfig
from k42fs.machine.driver import Machine
from k42fs.machine.thread import Thread
from k42fs.machine.tracing.mask import CLUST_OBJ
from k42fs.objects import COSMgr, Rep, SingleRepRoot, plain_rep
from k42fs.objects.counted_calls import CountedCalls, CountedRep
from k42fs.objects.translation import LocalTable
from tests.machine.tracing.lab import read


class Words(Rep):
    """Has a method of each sort that clients can meet."""

    __slots__ = ("said",)

    def __init__(self) -> None:
        self.said: list[str] = []

    async def say(self, th: Thread, word: str, *, times: int = 1) -> int:
        self.said.extend([word] * times)
        return len(self.said)

    async def fail(self, th: Thread) -> None:
        raise ValueError("as asked")


class Bench:
    """Two objects, one of which is watched."""

    def __init__(self, *, debug: bool = False) -> None:
        self.machine = Machine(MachineConfig(processors=4))
        self.cos = COSMgr(self.machine, debug=debug)
        self.calls = CountedCalls(self.cos)
        self.reps = Words(), Words()
        self.watched, self.other = (SingleRepRoot(self.cos, rep).ref for rep in self.reps)

    def run(self, vp: int, body: Callable[[Thread], Awaitable[object]]) -> None:
        async def active(th: Thread) -> None:
            self.cos.activate(th)
            await body(th)
            self.cos.deactivate(th)

        self.machine.spawn(VP(vp), active)
        self.machine.run()

    def say(self, vp: int, ref: Ref, count: int = 1) -> None:
        async def body(th: Thread) -> None:
            for _ in range(count):
                await th.deref(ref).say(th, "x", times=2)

        self.run(vp, body)


@pytest.mark.parametrize("debug", [False, True])
def test_calls_are_counted_by_method_and_processor_and_once(debug: bool) -> None:
    bench = Bench(debug=debug)
    bench.say(0, bench.watched)
    bench.calls.begin()
    bench.calls.watch(bench.watched)
    bench.say(0, bench.watched, 3)  # its entry is filled
    bench.say(2, bench.watched, 2)  # takes a miss
    bench.say(1, bench.other)

    async def fail(th: Thread) -> None:
        with pytest.raises(ValueError, match="as asked"):
            await th.deref(bench.watched).fail(th)

    bench.run(3, fail)
    taken = bench.calls.take(bench.watched)
    assert taken == ({"say": 5, "fail": 1}, 0b1101)
    assert bench.calls.take(bench.watched) == ({}, 0)
    bench.say(2, bench.watched)
    assert bench.calls.take(bench.watched) == ({"say": 1}, 0b100)
    assert bench.calls.take(bench.other) is None
    assert len(bench.reps[0].said) == 14


def held(bench: Bench, vp: int, ref: Ref) -> Any:  # noqa: ANN401
    table: Any = bench.machine.processors[vp].ltt
    return table.get(ref)


def test_only_what_is_watched_has_something_before_it_and_nothing_in_the_end() -> None:
    bench = Bench()
    plain = [proc.ltt for proc in bench.machine.processors]
    for ref in (bench.watched, bench.other):
        bench.say(1, ref)
    bench.calls.begin()
    bench.calls.watch(bench.watched)
    assert isinstance(held(bench, 1, bench.watched), CountedRep)
    assert plain_rep(held(bench, 1, bench.watched)) is bench.reps[0]
    assert held(bench, 1, bench.other) is bench.reps[1]
    bench.calls.forget(bench.watched)
    assert held(bench, 1, bench.watched) is bench.reps[0]
    bench.calls.watch(bench.watched)
    bench.calls.end()
    assert [type(proc.ltt) for proc in bench.machine.processors] == [type(table) for table in plain]
    assert all(type(proc.ltt) is LocalTable for proc in bench.machine.processors)
    assert held(bench, 1, bench.watched) is bench.reps[0]


def test_counting_costs_no_cycle() -> None:
    ends = []
    for watches in (False, True):
        bench = Bench()
        if watches:
            bench.calls.begin()
            bench.calls.watch(bench.watched)
        bench.say(0, bench.watched, 50)
        bench.say(1, bench.watched, 50)
        ends.append([proc.clock for proc in bench.machine.processors])
    assert ends[0] == ends[1]


def test_recordings_and_counts_do_not_disturb_each_other(tmp_path: Path) -> None:
    bench = Bench()
    bench.calls.begin()
    bench.calls.watch(bench.watched)
    bench.say(0, bench.watched)
    tracer = bench.machine.tracer
    tracer.start(tmp_path / "t", CLUST_OBJ)
    bench.say(0, bench.watched, 2)
    bench.say(1, bench.watched, 1)
    bench.calls.forget(bench.watched)
    bench.say(1, bench.watched, 1)
    bench.calls.watch(bench.watched)
    bench.say(1, bench.watched, 3)
    tracer.stop()
    bench.say(0, bench.watched, 4)
    calls = [
        values[0]
        for each in read(tmp_path / "t").values()
        for *_, name, values in each
        if name == "clust_obj_call"
    ]
    assert calls == [bench.watched] * 7
    assert bench.calls.take(bench.watched) == ({"say": 7}, 0b11), "counted anew since it was watched again"
    bench.calls.end()
    assert held(bench, 0, bench.watched) is bench.reps[0]
