"""Arbiters in front of objects in use: who is captured, what is seen, and that nothing is left (invariant 30)."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from k42fs.errors import (
    BusyError,
    ConfigError,
    DeletedObjectError,
    InTransitionError,
    NoSpaceError,
    NotSupportedError,
)
from k42fs.ids import VP, Ref
from k42fs.machine.config import MachineConfig
from k42fs.machine.driver import Machine
from k42fs.machine.thread import Thread
from k42fs.objects import COSMgr, SingleRepRoot, Wanted
from k42fs.objects.arbiters import CallCounter, DelayInjector, FaultInjector, LatencyHistogram, make_arbiter
from k42fs.objects.captured import Arbiter, ArbiterRep, Call
from k42fs.objects.counter import ReplicatedCounterRoot, SharedCounter
from k42fs.objects.interposition import Attachment
from tests.objects.lab import Lab

COUNTERS = Wanted.parse("type Counter")


def counter(lab: Lab) -> Ref:
    return SingleRepRoot(lab.cos, SharedCounter(lab.cos, VP(0), 0)).ref


def split(lab: Lab) -> Ref:
    return ReplicatedCounterRoot(lab.cos, 0, 1).ref


def attach(lab: Lab, arbiter: Arbiter, wanted: Wanted | Ref) -> Attachment:
    th = lab.enter(0)
    which = wanted if isinstance(wanted, Wanted) else Wanted(refs=frozenset((wanted,)))
    try:
        return lab.run(lab.cos.interposition.attach(th, arbiter, which))
    finally:
        lab.leave(th)


def release(lab: Lab, attachment: Attachment) -> None:
    th = lab.enter(1)
    try:
        lab.run(lab.cos.interposition.release(th, attachment))
    finally:
        lab.leave(th)


@pytest.mark.parametrize("make", [counter, split])
def test_invariant_30_counts_match_the_calls_and_capture_and_release_change_no_result(
    make: Callable[[Lab], Ref],
) -> None:
    lab = Lab()
    ref = make(lab)
    for vp in (0, 1):
        lab.call_on(vp, ref, "increment", 1)
    arbiter = CallCounter()
    attachment = attach(lab, arbiter, ref)
    for vp in range(4):
        lab.call_on(vp, ref, "increment", 10)
    assert lab.call_on(2, ref, "value") == 42
    release(lab, attachment)
    lab.call_on(3, ref, "increment", 100)
    assert lab.call_on(0, ref, "value") == 142
    assert (arbiter.count("increment"), arbiter.count("value")) == (4, 1)
    assert arbiter.report() == {
        "calls": 5,
        "methods": {"increment": 4, "value": 1},
        "processors": {0: 1, 1: 1, 2: 2, 3: 1},
    }
    for proc in lab.machine.processors:
        assert not isinstance(proc.ltt.get(ref), ArbiterRep)
    assert lab.word_of(ref) == 0
    lab.sweep(8)
    assert (lab.cos.statistics()["live"], lab.cos.pending) == (1, 0)


def test_a_released_object_costs_what_it_did_before() -> None:
    lab = Lab()
    ref = counter(lab)

    def cycles() -> int:
        lab.call_on(1, ref, "increment")
        th = lab.enter(1)
        before = th.proc.clock
        lab.call(th, ref, "increment")
        after = th.proc.clock
        lab.leave(th)
        return after - before

    plain = cycles()
    costs = []
    attachments = []
    for _ in range(4):
        attachments.append(attach(lab, CallCounter(), ref))
        costs.append(cycles())
    assert plain < costs[0] < costs[1] < costs[2] < costs[3]
    for attachment in reversed(attachments):
        release(lab, attachment)
    assert cycles() == plain


def test_nested_captures_see_calls_from_the_last_to_the_first_and_are_released_in_that_order() -> None:
    lab = Lab()
    ref = counter(lab)
    seen: list[str] = []

    class Named(Arbiter):
        def __init__(self, name: str) -> None:
            self.name = name

        async def around(self, th: Thread, call: Call) -> Any:  # noqa: ANN401
            seen.append(f"{self.name} in")
            try:
                return await call.proceed(th)
            finally:
                seen.append(f"{self.name} out")

    inner, outer = attach(lab, Named("first"), ref), attach(lab, Named("second"), ref)
    lab.call_on(1, ref, "increment")
    assert seen == ["second in", "first in", "first out", "second out"]
    with pytest.raises(BusyError, match=r"second was attached to .* later"):
        release(lab, inner)
    release(lab, outer)
    seen.clear()
    lab.call_on(1, ref, "increment")
    assert seen == ["first in", "first out"]
    release(lab, inner)
    release(lab, inner)  # idempotent
    assert lab.call_on(1, ref, "value") == 2
    lab.sweep(8)
    assert lab.cos.statistics()["live"] == 1


def test_an_arbiter_may_change_answer_and_refuse_calls() -> None:
    lab = Lab()
    ref = counter(lab)

    class Judge(Arbiter):
        async def around(self, th: Thread, call: Call) -> Any:  # noqa: ANN401
            if call.method == "value":
                return -1
            if call.args == (13,):
                raise NoSpaceError("thirteen")
            call.args = (2 * call.args[0],)
            await call.proceed(th)
            return "doubled"

    attachment = attach(lab, Judge(), ref)
    assert lab.call_on(1, ref, "increment", 5) == "doubled"
    assert lab.call_on(1, ref, "value") == -1
    with pytest.raises(NoSpaceError):
        lab.call_on(1, ref, "increment", 13)
    release(lab, attachment)
    assert lab.call_on(1, ref, "value") == 10


def test_what_the_arbiter_calls_itself_is_not_put_to_it_again_but_what_the_object_calls_is() -> None:
    lab = Lab()
    ref = counter(lab)

    class Twice(SharedCounter):
        async def increment(self, th: Thread, amount: int = 1) -> None:
            await super().increment(th, amount)
            if amount > 1:
                await th.deref(self.ref).increment(th, amount - 1)

    twice = SingleRepRoot(lab.cos, Twice(lab.cos, VP(0), 0)).ref
    asked: list[tuple[Ref, str, tuple[Any, ...]]] = []

    class Curious(Arbiter):
        async def around(self, th: Thread, call: Call) -> Any:  # noqa: ANN401
            asked.append((call.ref, call.method, call.args))
            await th.deref(call.ref).value(th)
            await call.proceed(th)

    attach(lab, Curious(), ref)
    lab.call_on(0, ref, "increment", 1)
    assert asked == [(ref, "increment", (1,))]
    asked.clear()
    attach(lab, Curious(), twice)
    lab.call_on(0, twice, "increment", 3)
    assert [args for _, _, args in asked] == [(3,), (2,), (1,)]


@pytest.mark.parametrize("text", ["type Counter", "all"])
def test_an_arbiter_of_a_type_or_of_all_has_the_objects_there_are_and_those_to_come(text: str) -> None:
    lab = Lab()
    before = [counter(lab), split(lab)]
    lab.call_on(1, before[0], "increment")
    arbiter = CallCounter()
    attachment = attach(lab, arbiter, Wanted.parse(text))
    after = [counter(lab), split(lab)]
    for ref in (*before, *after):
        for vp in (1, 2):
            lab.call_on(vp, ref, "increment")
    assert arbiter.count("increment") == 8
    gone = after.pop()
    lab.destroy_on(1, gone)
    lab.sweep(8)
    assert gone not in attachment.captured
    with pytest.raises(DeletedObjectError):
        lab.call_on(0, gone, "increment")
    release(lab, attachment)
    late = counter(lab)
    for ref in (*before, *after, late):
        lab.call_on(1, ref, "increment")
    assert arbiter.count("increment") == 8
    lab.sweep(8)
    assert (lab.cos.statistics()["live"], lab.cos.pending) == (4, 0)
    assert lab.cos.statistics()["types"] == {"COSMgr": 1, "Counter": 4}


def test_a_captured_object_is_destroyed_with_its_arbiters() -> None:
    lab = Lab()
    ref = split(lab)
    attachments = [attach(lab, CallCounter(), ref), attach(lab, LatencyHistogram(), ref)]
    for vp in range(4):
        lab.call_on(vp, ref, "increment")
    lab.destroy_on(2, ref)
    lab.sweep(8)
    assert (lab.cos.statistics()["live"], lab.cos.pending) == (0, 0)
    assert [each.captured for each in attachments] == [{}, {}]
    for attachment in reversed(attachments):
        release(lab, attachment)


def test_an_object_that_is_being_swapped_is_captured_afterwards() -> None:
    lab = Lab()
    ref = counter(lab)
    for vp in (0, 1):
        lab.call_on(vp, ref, "increment")
    passer = lab.enter(1)
    th = lab.enter(0)
    swap = lab.run(lab.cos.swap_to(th, ref, "replicated"))
    lab.leave(th)
    with pytest.raises(InTransitionError):
        attach(lab, CallCounter(), ref)
    arbiter = CallCounter()
    attachment = attach(lab, arbiter, COUNTERS)
    lab.call_on(0, ref, "increment")
    assert arbiter.report()["calls"] == 0
    lab.leave(passer)
    assert swap.state == "completed"
    lab.call_on(0, ref, "increment")
    lab.call_on(1, ref, "increment")
    assert arbiter.report()["calls"] == 2
    release(lab, attachment)
    assert lab.call_on(3, ref, "value") == 5


def test_the_object_manager_cannot_be_captured_and_deleted_objects_are_none() -> None:
    lab = Lab()
    with pytest.raises(NotSupportedError):
        attach(lab, CallCounter(), lab.cos.root.ref)
    assert lab.word_of(lab.cos.root.ref) == 0
    with pytest.raises(DeletedObjectError):
        attach(lab, CallCounter(), Ref(99))
    assert lab.cos.interposition.attachments == []


def test_latencies_are_counted_by_powers_of_two_and_delays_show_in_them() -> None:
    machine = Machine(MachineConfig(processors=2))
    cos = COSMgr(machine)
    ref = SingleRepRoot(cos, SharedCounter(cos, VP(0), 0)).ref
    delay, histogram = DelayInjector(5000, methods=frozenset(("increment",))), LatencyHistogram()

    async def run(th: Thread) -> None:
        cos.activate(th)
        for arbiter in (delay, histogram):
            await cos.interposition.attach(th, arbiter, Wanted(refs=frozenset((ref,))))
        for _ in range(8):
            await th.deref(ref).increment(th)
        await th.deref(ref).value(th)
        cos.deactivate(th)

    machine.spawn(VP(0), run)
    machine.run()
    report = histogram.report()
    assert report["increment"] == {"<8192": 8}
    assert sum(report["value"].values()) == 1
    assert "<8192" not in report["value"]
    assert delay.report() == {"hits": 8, "odds": 1.0, "methods": ["increment"]}


def test_faults_are_answers_the_object_never_hears_of() -> None:
    lab = Lab()
    ref = counter(lab)
    fault = make_arbiter("fault ENOSPC 0.5 increment", seed=3)
    assert isinstance(fault, FaultInjector)
    attachment = attach(lab, fault, ref)
    failed = 0
    for _ in range(100):
        try:
            lab.call_on(0, ref, "increment")
        except NoSpaceError:
            failed += 1
    assert 30 < failed == fault.hits < 70
    release(lab, attachment)
    assert lab.call_on(0, ref, "value") == 100 - failed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "an arbiter is"),
        ("measure", "an arbiter is"),
        ("count 3", "takes no arguments"),
        ("delay", "an arbiter is"),
        ("delay soon", "delay=soon"),
        ("delay 0", "delay=0"),
        ("delay 100 2", "odds=2"),
        ("delay 100 1.x", "odds=1.x"),
        ("fault 28", "fault=28"),
        ("fault ENOTHING", "fault=ENOTHING"),
        ("fault ESTALE", "no failure of servers has this errno"),
    ],
)
def test_arbiters_that_make_no_sense_are_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_arbiter(text)


def test_arbiters_are_made_from_text() -> None:
    assert isinstance(make_arbiter("count"), CallCounter)
    assert isinstance(make_arbiter("latency"), LatencyHistogram)
    delay = make_arbiter("delay 700 0.25 lookup create")
    assert isinstance(delay, DelayInjector)
    assert (delay.cycles, delay.odds, delay.methods) == (700, 0.25, frozenset(("lookup", "create")))


# 9017 and 9040: an arbiter is released while another one is just being put before the same object.
@pytest.mark.parametrize("seed", [*range(15), 9017, 9040])
def test_attaching_and_releasing_under_load_loses_no_call(seed: int) -> None:
    machine = Machine(MachineConfig(processors=4, seed=seed))
    cos, rng = COSMgr(machine), Random(seed)
    refs = [SingleRepRoot(cos, SharedCounter(cos, VP(0), 0)).ref, ReplicatedCounterRoot(cos, 0, 2).ref]
    arbiters: list[CallCounter] = []
    for vp in range(4):
        machine.spawn(VP(vp), cos.daemon, 50_000, daemon=True)

    async def caller(th: Thread) -> None:
        for _ in range(60):
            cos.activate(th)
            await th.deref(rng.choice(refs)).increment(th)
            cos.deactivate(th)
            await th.sleep(rng.randrange(1000))

    async def watcher(th: Thread) -> None:
        for _ in range(6):
            await th.sleep(rng.randrange(8000))
            cos.activate(th)
            arbiter = CallCounter()
            arbiters.append(arbiter)
            attachment = await cos.interposition.attach(th, arbiter, COUNTERS)
            cos.deactivate(th)
            await th.sleep(rng.randrange(8000))
            while not attachment.is_released:
                cos.activate(th)
                try:
                    await cos.interposition.release(th, attachment)
                except BusyError:
                    pass
                finally:
                    cos.deactivate(th)
                await th.sleep(500)

    async def swapper(th: Thread) -> None:
        for _ in range(6):
            await th.sleep(rng.randrange(10_000))
            cos.activate(th)
            try:
                await cos.swap_to(th, rng.choice(refs), rng.choice(["shared", "replicated"]))
            except InTransitionError:
                pass
            finally:
                cos.deactivate(th)

    for vp in range(4):
        machine.spawn(VP(vp), caller)
        machine.spawn(VP(vp), caller)
    for vp, body in ((0, watcher), (1, watcher), (2, swapper)):
        machine.spawn(VP(vp), body)
    machine.run()
    totals: list[int] = []

    async def read(th: Thread) -> None:
        cos.activate(th)
        totals.extend([await th.deref(ref).value(th) for ref in refs])
        cos.deactivate(th)
        await th.sleep(2_000_000)

    machine.spawn(VP(0), read)
    machine.run()
    assert sum(totals) == 8 * 60
    assert sum(arbiter.report()["calls"] for arbiter in arbiters) > 0
    assert (cos.statistics()["live"], cos.pending) == (2, 0)
