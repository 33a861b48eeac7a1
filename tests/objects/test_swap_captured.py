"""Swaps beneath arbiters: each call is put to each of them once, whatever the swap does with it then."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from k42fs.errors import DeletedObjectError, InTransitionError, NoSpaceError, SwapAbortedError
from k42fs.ids import VP
from k42fs.machine.live import Suspended
from k42fs.machine.thread import Thread
from k42fs.objects import SingleRepRoot, Swap, Wanted
from k42fs.objects.arbiters import CallCounter, DelayInjector
from k42fs.objects.captured import Arbiter, ArbiterRep, ArbiterRoot, Call
from k42fs.objects.counter import SharedCounter, create_shared
from k42fs.objects.interposition import Attachment
from k42fs.objects.mediator import Mediator
from k42fs.objects.traced_table import plain_rep
from k42fs.servers.object_control import ObjectControl
from tests.objects.lab import Lab
from tests.objects.swap_lab import Board, SplitRoot, SwapLab, version
from tests.objects.test_interposition import attach, release
from tests.objects.test_swap_storms import Storm

COUNTERS = Wanted.parse("type Counter")


class Gate(Arbiter):
    """Lets calls of `add` wait until the test opens it: they are at the arbiter, and not yet in the object."""

    name = "gate"

    def __init__(self, lab: SwapLab) -> None:
        self.lab = lab
        self.asked = 0
        self.is_open = False
        self.waiting: list[Thread] = []

    async def around(self, th: Thread, call: Call) -> Any:  # noqa: ANN401
        self.asked += 1
        while not self.is_open:
            self.waiting.append(th)
            await th.block()
        return await call.proceed(th)

    def open(self) -> None:
        self.is_open = True
        th = self.lab.enter(0)
        for each in self.waiting:
            th.unblock(each)
        self.lab.leave(th)


class CapturedLab(SwapLab):
    """A lab whose object has arbiters before it: two call counters, one before the other."""

    def __init__(self) -> None:
        super().__init__()
        self.counters = [CallCounter(), CallCounter()]
        self.attachments = [attach(self, each, self.ref) for each in self.counters]

    def calls(self, method: str) -> list[int]:
        return [each.count(method) for each in self.counters]

    def assert_settled(self) -> None:
        super().assert_settled()
        for proc in self.machine.processors:
            rep = plain_rep(proc.ltt.get(self.ref))
            assert rep is None or isinstance(rep, ArbiterRep)
        root = self.root_of(self.ref)
        assert [root.arbiter, root.inner.arbiter] == self.counters[::-1]


@pytest.mark.parametrize("touched", [(), (0,), (0, 1, 2, 3)])
def test_a_captured_object_is_swapped_and_its_arbiters_stay(touched: tuple[int, ...]) -> None:
    lab = CapturedLab()
    lab.touch(*touched)
    swap = lab.switch(1)
    assert swap.state == "completed"
    assert swap.record.label == f"SingleRepRoot {lab.ref}", "the object's, not the arbiter's"
    lab.touch(2, 3)
    assert lab.call_on(0, lab.ref, "value") == len(touched) + 2
    assert lab.calls("add") == [len(touched) + 2] * 2
    lab.assert_settled()
    for attachment in reversed(lab.attachments):
        release(lab, attachment)
    assert lab.call_on(2, lab.ref, "add") == "new"
    assert lab.calls("add") == [len(touched) + 2] * 2
    assert lab.word_of(lab.ref) == 0
    lab.assert_reclaimed()


def in_block(lab: SwapLab, root: Any = None) -> tuple[Swap, Suspended]:  # noqa: ANN401
    """Bring a swap to BLOCK, a counted call being inside on processor 3."""
    lab.touch(0, 1)
    passer = lab.enter(1)
    swap = lab.switch(0, root)
    counted = lab.begin(3, "stay")
    lab.leave(passer)
    assert (swap.state, swap.calls.count) == ("block", 1)
    return swap, counted


def test_callers_who_wait_at_the_mediator_are_not_put_to_the_arbiters_again() -> None:
    lab = CapturedLab()
    swap, counted = in_block(lab)
    waiting = [lab.begin(vp, "add", 10) for vp in (0, 1, 2)]
    assert not any(each.done for each in waiting)
    lab.open()
    assert counted.result() == "old"
    assert [each.result() for each in waiting] == ["new"] * 3
    assert lab.calls("add") == [5, 5]
    assert swap.record.processors == [0, 1, 2, 3]
    assert lab.call_on(0, lab.ref, "value") == 2 + 30
    lab.assert_settled()
    lab.sweep(8)
    assert lab.cos.pending == 0


def test_who_first_comes_while_state_moves_waits_beneath_the_arbiters() -> None:
    lab = CapturedLab()
    lab.touch(0, 1)
    lab.board.export_waits = True
    swap = lab.switch(2)
    assert swap.is_moving
    waiting = [lab.begin(vp, "add", 10) for vp in (0, 3)]
    lab.open()
    assert [each.result() for each in waiting] == ["new", "new"]
    assert lab.calls("add") == [4, 4]
    lab.touch(3)
    assert lab.call_on(3, lab.ref, "value") == 2 + 20 + 1
    lab.assert_settled()


def test_a_call_that_is_at_an_arbiter_when_its_object_is_swapped_is_counted_as_it_goes_on() -> None:
    lab = SwapLab()
    gate = Gate(lab)
    lab.touch(0, 1)
    attach(lab, gate, lab.ref)
    at_gate = lab.begin(1, "add", 5)
    swap = lab.switch(0)
    assert swap.state == "forward", "nobody can tell where it is: it is active"
    gate.open()
    assert at_gate.result() == "old"
    assert (swap.state, gate.asked) == ("completed", 1)
    assert lab.call_on(1, lab.ref, "add") == "new"
    assert lab.call_on(0, lab.ref, "value") == 8


def at_gate_in_block(lab: SwapLab, gate: Gate) -> tuple[Swap, Suspended, Suspended]:
    """Bring a swap to BLOCK, a call being at the gate on processor 2, which no worker waits for: it came too late."""
    attach(lab, gate, lab.ref)
    gate.is_open = True
    swap, counted = in_block(lab)
    gate.is_open = False
    return swap, counted, lab.begin(2, "add", 5)


def test_a_call_that_is_at_an_arbiter_through_whole_swaps_reaches_the_object_that_is_there_then() -> None:
    lab = SwapLab()
    gate = Gate(lab)
    swap, _, at_gate = at_gate_in_block(lab, gate)
    lab.open()
    assert swap.state == "completed"
    assert lab.switch(0, version(lab.cos, "third", lab.board, lab.ref)).is_done
    gate.open()
    assert at_gate.result() == "third"
    assert lab.call_on(0, lab.ref, "value") == 2 + 5
    lab.assert_settled()


@pytest.mark.parametrize("has_first", [False, True])
def test_a_call_passes_by_arbiters_that_came_later_if_its_own_was_released_while_it_was_there(
    has_first: bool,
) -> None:
    lab = SwapLab()
    first, gate, later = CallCounter(), Gate(lab), CallCounter()
    if has_first:
        attach(lab, first, lab.ref)
    swap, _, at_gate = at_gate_in_block(lab, gate)
    lab.open()
    assert swap.state == "completed"
    (attachment,) = [each for each in lab.cos.interposition.attachments if each.arbiter is gate]
    release(lab, attachment)
    attach(lab, later, lab.ref)
    lab.switch(0, version(lab.cos, "third", lab.board, lab.ref))
    gate.open()
    assert at_gate.result() == "third"
    assert (first.count("add"), later.count("add")) == (3 * has_first, 0)
    assert lab.call_on(1, lab.ref, "add") == "third"
    assert (first.count("add"), later.count("add")) == (4 * has_first, 1)
    lab.assert_settled()


@pytest.mark.parametrize("side", ["export_fails", "import_fails"])
def test_if_it_is_aborted_calls_go_on_from_the_arbiters_to_the_old_one(side: str) -> None:
    lab = CapturedLab()
    swap, counted = in_block(lab)
    setattr(lab.board, side, NoSpaceError("no room"))
    waiting = [lab.begin(vp, "add", 10) for vp in (0, 2)]
    lab.open()
    assert counted.result() == "old"
    assert [each.result() for each in waiting] == ["old", "old"]
    assert (swap.state, swap.reason) == ("aborted", "no room")
    assert lab.calls("add") == [4, 4]
    assert lab.call_on(1, lab.ref, "add") == "old"
    lab.assert_settled()


def test_a_partitioned_form_moves_beneath_arbiters_too() -> None:
    lab = CapturedLab()
    lab.touch(0, 1)
    assert lab.switch(2, SplitRoot(lab.cos, "parts", lab.board, lab.ref)).is_done
    for vp in range(4):
        lab.call_on(vp, lab.ref, "add", 10)
    lab.board.log.clear()
    assert lab.switch(0, SplitRoot(lab.cos, "again", lab.board, lab.ref)).is_done
    assert sorted(lab.board.log)[:4] == [f"again imports on {vp}" for vp in range(4)]
    assert lab.call_on(3, lab.ref, "value") == 42
    assert lab.calls("add") == [6, 6]


def test_a_destroy_meanwhile_takes_the_new_object_and_the_arbiters() -> None:
    lab = CapturedLab()
    swap, counted = in_block(lab)
    waiting = lab.begin(2, "add")
    assert lab.destroy_on(1, lab.ref)
    lab.open()
    assert (counted.result(), swap.state) == ("old", "completed")
    assert waiting.result() == "new", "it came before the destroy was due"
    with pytest.raises(DeletedObjectError):
        lab.call_on(0, lab.ref, "add")
    lab.sweep(8)
    assert (lab.cos.statistics()["live"], lab.cos.pending) == (0, 0)
    assert [each.captured for each in lab.attachments] == [{}, {}]


def test_none_is_attached_or_swapped_while_a_swap_is_under_way() -> None:
    lab = CapturedLab()
    _, counted = in_block(lab)
    with pytest.raises(InTransitionError):
        attach(lab, CallCounter(), lab.ref)
    with pytest.raises(InTransitionError):
        lab.switch(0, version(lab.cos, "third", lab.board, lab.ref))
    th = lab.enter(0)
    with pytest.raises(InTransitionError, match="is being swapped"):
        lab.run(lab.cos.swap_to(th, lab.ref, "any"))
    lab.leave(th)
    lab.open()
    assert counted.result() == "old"
    lab.assert_settled()


def run_steps(storm: Storm, *steps: tuple[int, Callable[[Thread], Coroutine[Any, Any, None]]]) -> None:
    for vp, body in steps:
        storm.machine.spawn(VP(vp), body)
    storm.machine.run()


@pytest.mark.parametrize("seed", range(5))
def test_who_releases_an_arbiter_waits_for_the_swap_beneath_it_and_does_not_hold_it_up(seed: int) -> None:
    storm = Storm(seed)
    cos = storm.cos
    ref = SingleRepRoot(cos, SharedCounter(cos, VP(0), 0)).ref
    attachments: list[Attachment] = []
    swaps: list[Swap] = []

    async def prepare(th: Thread) -> None:
        await cos.call(th, ref, "increment")
        wanted = Wanted.parse(f"ref {ref}")
        attachments.extend([await cos.interposition.attach(th, CallCounter(), wanted) for _ in range(2)])
        await cos.call(th, ref, "increment")

    async def hold(th: Thread) -> None:  # an uncounted call, as far as anybody can tell
        cos.activate(th)
        await th.deref(ref).increment(th)
        await th.sleep(30_000)
        cos.deactivate(th)

    async def swap(th: Thread) -> None:
        await th.sleep(2_000)
        swaps.append(await cos.swap_to(th, ref, "replicated"))

    async def let_go(th: Thread) -> None:
        await th.sleep(8_000)
        assert not swaps[0].is_done
        cos.activate(th)
        for attachment in reversed(attachments):
            await cos.interposition.release(th, attachment)
        cos.deactivate(th)

    run_steps(storm, (0, prepare))
    for proc in storm.machine.processors:
        proc.idle_until(storm.machine.now)
    run_steps(storm, (0, hold), (1, swap), (0, let_go), (0, let_go))
    assert swaps[0].state == "completed"
    assert attachments[0].captured == attachments[1].captured == {}
    assert not isinstance(cos.root_at(ref), ArbiterRoot)
    storm.settle(ref)


def test_an_arbiter_that_keeps_a_call_for_too_long_ends_the_swap_and_no_more() -> None:
    storm = Storm(1)
    cos = storm.cos
    ref = SingleRepRoot(cos, SharedCounter(cos, VP(0), 0)).ref
    outcomes: list[str] = []

    async def prepare(th: Thread) -> None:
        await cos.call(th, ref, "increment")
        delay = DelayInjector(4 * cos.swaps.deadline)
        await cos.interposition.attach(th, delay, Wanted.parse(f"ref {ref}"))

    async def call(th: Thread) -> None:
        await cos.call(th, ref, "increment")

    async def swap(th: Thread) -> None:
        await th.sleep(1_000)
        begun = await cos.swap_to(th, ref, "replicated")
        try:
            await begun.wait(th)
        except SwapAbortedError as exc:
            outcomes.append(str(exc))

    run_steps(storm, (0, prepare))
    run_steps(storm, (0, call), (1, swap))
    assert len(outcomes) == 1
    assert "have not left" in outcomes[0]
    run_steps(storm, (2, call))
    storm.settle(ref)


@pytest.mark.parametrize("seed", range(20))
def test_in_a_storm_each_call_is_put_to_each_arbiter_once_and_done_once(seed: int) -> None:
    storm = Storm(seed)
    cos, rng = storm.cos, storm.rng
    refs = [SingleRepRoot(cos, SharedCounter(cos, VP(0), 0)).ref for _ in range(2)]
    always = [CallCounter(), CallCounter()]

    async def prepare(th: Thread) -> None:
        cos.activate(th)
        for arbiter in always:
            await cos.interposition.attach(th, arbiter, COUNTERS)
        for ref in refs:
            await th.deref(ref).value(th)
        cos.deactivate(th)

    async def caller(th: Thread) -> None:
        for _ in range(50):
            cos.activate(th)
            await th.deref(rng.choice(refs)).increment(th)
            cos.deactivate(th)
            await th.sleep(rng.randrange(1000))

    async def watcher(th: Thread) -> None:
        for _ in range(8):
            await th.sleep(rng.randrange(6000))
            cos.activate(th)
            attachment = await cos.interposition.attach(th, CallCounter(), COUNTERS)
            cos.deactivate(th)
            await th.sleep(rng.randrange(6000))
            cos.activate(th)
            await cos.interposition.release(th, attachment)
            cos.deactivate(th)

    async def swapper(th: Thread) -> None:
        for _ in range(12):
            await th.sleep(rng.randrange(8000))
            await storm.swap(
                th, rng.choice(refs), rng.choice(["shared", "replicated"]), waits=rng.random() < 0.5
            )

    run_steps(storm, (0, prepare))
    steps = [(vp, caller) for vp in (0, 1, 2, 3, 0, 1, 2, 3)]
    run_steps(storm, *steps, (0, watcher), (1, swapper), (2, swapper))
    values: list[int] = []

    async def read(th: Thread) -> None:
        cos.activate(th)
        values.extend([await th.deref(ref).value(th) for ref in refs])
        cos.deactivate(th)

    run_steps(storm, (0, read))
    assert sum(values) == 8 * 50
    assert [each.count("increment") for each in always] == [8 * 50] * 2
    assert storm.outcomes["swapped"] >= 5
    assert cos.swaps.statistics()["aborted"] == 0
    storm.settle(refs[0], live=2)


def test_two_thousand_swaps_beneath_arbiters_leave_memory_as_it_was() -> None:
    lab = Lab(4, model="calls")
    cos = lab.cos
    th = lab.enter(0)
    ref = lab.run(create_shared(th, cos, 0))
    lab.leave(th)
    for _ in range(2):
        attach(lab, CallCounter(), ref)
    sizes: list[tuple[int, int, int]] = []
    for number in range(2_000):
        lab.call_on(number % 4, ref, "increment")
        th = lab.machine.enter(VP(number % 3))
        assert lab.run(cos.swap_to(th, ref, ("replicated", "shared")[number % 2])).state == "completed"
        lab.machine.leave(th)
        if number % 50 == 49:
            lab.sweep()
        if number % 500 == 499:
            lab.sweep(8)
            gc.collect()
            sizes.append((len(gc.get_objects()), lab.machine.memory.live_bytes, cos.statistics()["live"]))
    assert lab.call_on(1, ref, "value") == 2_000
    for proc in lab.machine.processors:
        assert not isinstance(plain_rep(proc.ltt.get(ref)), Mediator)
    assert sizes[-1][1:] == sizes[0][1:]
    assert sizes[-1][0] < sizes[0][0] * 1.02


def test_what_people_are_told_of_reps_names_arbiters_and_mediators() -> None:
    lab = CapturedLab()
    control = ObjectControl(lab.cos)
    lab.touch(0)
    about = control.about(lab.ref)
    assert [row["rep"] for row in about["reps"]] == ["call counter before call counter before Version"]
    assert json.loads(json.dumps(about)) == about
    for attachment in reversed(lab.attachments):
        release(lab, attachment)
    swap, counted = in_block(lab)
    assert {row["rep"] for row in control.about(lab.ref)["reps"]} == {"Mediator before Version"}
    assert control.about(lab.ref)["phase"] == "block"
    lab.open()
    assert (counted.result(), swap.state) == ("old", "completed")


@pytest.mark.parametrize("seed", range(15))
def test_in_a_storm_with_destroys_and_imports_that_fail_nothing_is_left_captured_or_alive(seed: int) -> None:
    storm = Storm(seed)
    cos, rng, board = storm.cos, storm.rng, Board()
    refs = [version(cos, "v0", board).ref for _ in range(3)]
    numbers = iter(range(1, 10_000))
    attachments: list[Attachment] = []

    async def caller(th: Thread) -> None:
        for _ in range(40):
            cos.activate(th)
            with suppress(DeletedObjectError):
                await th.deref(rng.choice(refs)).add(th)
            cos.deactivate(th)
            await th.sleep(rng.randrange(1000))

    async def swapper(th: Thread) -> None:
        for _ in range(12):
            await th.sleep(rng.randrange(5000))
            board.import_fails = NoSpaceError("no room") if rng.random() < 0.3 else None
            name = f"v{next(numbers)}"
            make = partial(lambda name, ref: version(cos, name, board, ref), name)
            await storm.swap(th, rng.choice(refs), make, waits=rng.random() < 0.5)

    async def watcher(th: Thread) -> None:
        for _ in range(6):
            await th.sleep(rng.randrange(6000))
            cos.activate(th)
            attachment = await cos.interposition.attach(th, CallCounter(), Wanted.parse("type Thing"))
            attachments.append(attachment)
            cos.deactivate(th)
            await th.sleep(rng.randrange(6000))
            cos.activate(th)
            await cos.interposition.release(th, attachment)
            cos.deactivate(th)

    async def destroyer(th: Thread) -> None:
        for ref in refs:
            await th.sleep(5_000 + rng.randrange(15_000))
            cos.activate(th)
            await cos.destroy(th, ref)
            cos.deactivate(th)

    run_steps(
        storm, *((vp, caller) for vp in range(4)), (1, swapper), (2, swapper), (0, watcher), (3, destroyer)
    )
    storm.settle(refs[0], live=0)
    assert [each.captured for each in attachments] == [{}] * 6
