"""Hot swaps in forced orders: who is inside, who comes, who waits, and which step ends the phase."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from k42fs.errors import (
    DeletedObjectError,
    InTransitionError,
    K42Error,
    NotSwappableError,
    RefsExhaustedError,
)
from k42fs.ids import Ref
from k42fs.machine.live import Suspended
from k42fs.machine.thread import Thread
from k42fs.objects import SingleRepRoot, Swap
from k42fs.objects.phases import NEXT, OVER, Event, Phase, after
from k42fs.objects.state_word import SWITCHING
from tests.objects.lab import Probe
from tests.objects.swap_lab import Board, SplitRoot, SwapLab, Version, version


def test_invariant_23_an_object_that_nobody_called_is_swapped_at_once_by_nobody_else() -> None:
    lab = SwapLab()
    before = len(lab.cos.ring)
    swap = lab.switch(2)
    assert (swap.state, swap.is_done, swap.record.processors) == ("completed", True, [2])
    assert [name for name, _ in swap.record.phases] == ["completed"]
    assert len(lab.cos.ring) <= before + 1, "no worker ran on another processor"
    assert lab.call_on(1, lab.ref, "add") == "new"
    lab.assert_settled()
    lab.assert_reclaimed()


@pytest.mark.parametrize("late", [(3,), (2, 3)])
def test_invariant_23_a_processor_that_first_calls_during_a_swap_has_its_part_moved_too(
    late: tuple[int, ...],
) -> None:
    lab = SwapLab()
    lab.touch(0, 1)
    lab.switch(0, SplitRoot(lab.cos, "parts", lab.board, lab.ref))
    lab.touch(0, 1)
    passer = lab.enter(1)
    swap = lab.switch(0, SplitRoot(lab.cos, "more", lab.board, lab.ref))
    assert [lab.call_on(vp, lab.ref, "add", 10) for vp in late] == ["parts"] * len(late)
    lab.leave(passer)
    assert (swap.state, swap.record.processors) == ("completed", [0, 1, *late])
    assert sorted(line for line in lab.board.log if "more imports" in line) == [
        f"more imports on {vp}" for vp in (0, 1, *late)
    ]
    assert lab.call_on(2, lab.ref, "value") == 4 + 10 * len(late)
    lab.assert_settled()


def test_an_idle_object_is_swapped_before_the_initiator_leaves_if_it_is_no_caller() -> None:
    lab = SwapLab()
    lab.touch(0, 1, 3)
    swap = lab.switch(2)
    assert (swap.state, swap.record.processors) == ("completed", [0, 1, 3])
    assert [name for name, _ in swap.record.phases] == ["forward", "block", "completed"]
    assert {lab.call_on(vp, lab.ref, "add") for vp in range(4)} == {"new"}
    assert lab.call_on(0, lab.ref, "value") == 3 + 4, "no call is lost"
    lab.assert_settled()
    lab.assert_reclaimed()


def test_a_caller_waits_for_the_swap_of_an_idle_object_without_parking() -> None:
    lab = SwapLab()
    lab.touch(0, 1)
    th = lab.enter(0)
    swap = lab.run(lab.cos.switch(th, lab.ref, version(lab.cos, "new", lab.board, lab.ref)))
    assert swap.state == "forward", "the initiator is active where the object was called"
    lab.run(swap.wait(th))
    assert swap.state == "completed"
    lab.leave(th)


def test_invariant_19_state_moves_only_when_uncounted_and_counted_calls_have_left() -> None:
    lab = SwapLab()
    lab.touch(0, 1, 2)
    uncounted = lab.begin(1, "stay")
    swap = lab.switch(0)
    assert swap.state == "forward"
    counted = lab.begin(2, "stay")
    assert lab.board.log == [], "nothing moves while anybody is inside"
    lab.open()
    assert (uncounted.result(), counted.result()) == ("old", "old")
    assert lab.board.log[:2] == ["old exports", "new imports"]
    assert swap.state == "completed"
    lab.assert_settled()


def test_invariant_27_the_last_worker_finishes_if_no_counted_call_is_inside() -> None:
    lab = SwapLab()
    lab.touch(0, 1)
    passer = lab.enter(1)  # active, so that the worker there must wait
    swap = lab.switch(0)
    assert (swap.state, swap.calls.count) == ("forward", 0)
    assert lab.call_on(0, lab.ref, "add") == "old", "a counted call, gone before the end of FORWARD"
    lab.leave(passer)
    assert swap.state == "completed"
    lab.assert_settled()


def test_invariant_27_the_last_counted_call_finishes_if_it_outlasts_the_workers() -> None:
    lab = SwapLab()
    lab.touch(0, 1)
    passer = lab.enter(1)
    swap = lab.switch(0)
    counted = lab.begin(0, "stay")
    lab.leave(passer)
    assert (swap.state, swap.calls.count) == ("block", 1), "processor 0's marker elapsed before the call came"
    lab.open()
    assert (counted.result(), swap.state) == ("old", "completed")
    lab.assert_settled()


def in_block(lab: SwapLab) -> tuple[Swap, Suspended]:
    """Bring a swap to BLOCK, a counted call being inside on processor 3, which first called the object then.

    Its thread does not hold up any worker: none waits on its processor.
    """
    lab.touch(0, 1)
    passer = lab.enter(1)
    swap = lab.switch(0)
    counted = lab.begin(3, "stay")
    lab.leave(passer)
    assert (swap.state, swap.calls.count) == ("block", 1)
    return swap, counted


def test_invariant_20_in_block_new_callers_wait_and_run_once_in_the_new_implementation() -> None:
    lab = SwapLab()
    swap, counted = in_block(lab)
    waiting = [lab.begin(vp, "add", 10) for vp in (0, 1, 2)]
    assert not any(each.done for each in waiting)
    lab.open()
    assert counted.result() == "old"
    assert [each.result() for each in waiting] == ["new"] * 3
    assert lab.call_on(0, lab.ref, "value") == 2 + 30
    assert swap.record.processors == [0, 1, 2, 3], "processors that came during the swap took part"
    assert lab.cos.statistics()["types"] == {"COSMgr": 1, "Mediator": 1, "Thing": 2}
    lab.assert_settled()
    lab.assert_reclaimed()


def test_invariant_20_a_call_from_inside_passes_in_block() -> None:
    lab = SwapLab()
    answers: list[str] = []

    async def again(th: Thread) -> None:
        answers.append(await th.deref(lab.ref).add(th, 5))

    lab.board.also = again
    swap, counted = in_block(lab)
    lab.open()
    assert answers == ["old"]
    assert (counted.result(), swap.state) == ("old", "completed")
    assert lab.call_on(0, lab.ref, "value") == 2 + 5


def test_recursion_is_recognised_by_the_chain_of_calls_when_it_comes_from_another_processor() -> None:
    lab = SwapLab()
    swap, counted = in_block(lab)
    server = lab.enter(1)
    server.chain = next(iter(swap.calls.chains))  # as a remote procedure call hands it on
    assert lab.call(server, lab.ref, "add") == "old"
    server.chain = server.number
    lab.leave(server)
    lab.open()
    assert swap.state == "completed"
    assert counted.result() == "old"


def test_invariant_21_a_stray_wake_up_lets_nobody_through() -> None:
    lab = SwapLab()
    swap, _ = in_block(lab)
    waiting = lab.begin(0, "add")
    th = lab.enter(0)
    th.unblock(waiting.th)
    lab.leave(th)
    assert not waiting.done
    assert waiting.th in swap.calls.blocked
    lab.open()
    assert waiting.result() == "new"


def test_invariant_22_a_call_that_fails_or_is_closed_is_taken_off_the_count() -> None:
    lab = SwapLab()
    lab.touch(0, 1)
    passer = lab.enter(1)
    swap = lab.switch(0)
    with pytest.raises(K42Error, match="as asked"):
        lab.call_on(0, lab.ref, "fail")
    assert (swap.calls.count, swap.calls.chains) == (0, {})
    th = lab.enter(0)
    operation = lab.start(th.deref(lab.ref).stay(th))
    assert swap.calls.count == 1
    operation.coro.close()
    assert swap.calls.count == 0
    lab.cos.deactivate(th)
    lab.leave(passer)
    assert swap.state == "completed"
    lab.assert_settled()


def test_invariant_24_an_object_is_swapped_from_inside_its_own_method() -> None:
    lab = SwapLab()
    lab.touch(0, 1)
    assert lab.call_on(1, lab.ref, "replace", "next") == "old"
    assert lab.call_on(1, lab.ref, "add") == "next"
    assert lab.call_on(0, lab.ref, "value") == 3
    lab.assert_settled()
    lab.assert_reclaimed()


def test_invariant_25_a_second_swap_is_refused_and_its_root_destroyed() -> None:
    lab = SwapLab()
    swap, _ = in_block(lab)
    with pytest.raises(InTransitionError, match="being swapped or destroyed"):
        lab.switch(0, version(lab.cos, "other", lab.board, lab.ref))
    lab.open()
    assert (swap.state, lab.cos.swaps.refused) == ("completed", 1)
    assert lab.call_on(0, lab.ref, "add") == "new"
    lab.assert_settled()
    lab.assert_reclaimed()
    assert "other gone" in lab.board.log


def test_invariant_25_roots_with_no_form_of_state_in_common_are_refused_with_all_flags_clear() -> None:
    lab = SwapLab()
    lab.touch(0, 1)
    with pytest.raises(NotSwappableError, match="no form of state"):
        lab.switch(0, SingleRepRoot(lab.cos, Probe(lab, "stranger", 0), ref=lab.ref))
    lab.assert_settled()
    assert lab.call_on(1, lab.ref, "add") == "old"
    lab.assert_reclaimed()


def test_what_is_not_there_is_not_swapped() -> None:
    lab = SwapLab()
    lab.destroy_on(0, lab.ref)
    with pytest.raises(InTransitionError):
        lab.switch(0)
    lab.sweep(6)
    with pytest.raises(DeletedObjectError):
        lab.switch(0)
    th = lab.enter(0)
    with pytest.raises(DeletedObjectError):
        lab.run(lab.cos.swap_to(th, Ref(12345), "new"))
    lab.leave(th)


def test_invariant_25_a_destroy_during_a_swap_lands_on_the_new_object() -> None:
    lab = SwapLab()
    swap, _ = in_block(lab)
    waiting = [lab.begin(vp, "add") for vp in (0, 1, 2)]  # 2 has not called before: a miss into the mediator
    assert lab.destroy_on(1, lab.ref), "the destroy is taken on, and waits"
    assert lab.word_of(lab.ref) & SWITCHING
    assert not lab.destroy_on(2, lab.ref), "the second one is told that it is being done"
    lab.open()
    assert swap.state == "completed"
    outcomes = []
    for each in waiting:
        try:
            outcomes.append(each.result())
        except DeletedObjectError:
            outcomes.append("deleted")
    assert set(outcomes) <= {"new", "deleted"}
    with pytest.raises(DeletedObjectError):
        lab.call_on(3, lab.ref, "add")
    lab.sweep(8)
    assert (lab.cos.statistics()["live"], lab.cos.pending) == (0, 0)
    assert sorted(line for line in lab.board.log if "gone" in line) == ["new gone", "old gone"]


def test_invariant_26_after_a_swap_the_old_root_and_the_mediators_are_reclaimed_and_the_ref_is_the_same() -> (
    None
):
    lab = SwapLab()
    root = SplitRoot(lab.cos, "parts", lab.board, lab.ref)
    lab.touch(0, 1, 2, 3)
    lab.switch(0, root)
    lab.assert_settled()
    assert lab.root_of(lab.ref) is root
    assert lab.cos.statistics()["types"] == {"COSMgr": 1, "Thing": 2}, "no call has met the mediator"
    lab.assert_reclaimed()
    lab.touch(0, 1, 2, 3)
    lab.switch(1, version(lab.cos, "whole", lab.board, lab.ref))
    lab.assert_reclaimed()
    gone = sorted(line for line in lab.board.log if "part gone" in line)
    assert gone == [f"parts part gone on {vp}" for vp in range(4)], (
        "each rep where it was made, K42 leaks all but one"
    )
    assert lab.call_on(0, lab.ref, "value") == 8


def test_invariant_28_a_canonical_form_is_imported_once_a_partitioned_one_once_per_processor() -> None:
    lab = SwapLab()
    lab.touch(0, 1, 3)
    lab.switch(0, SplitRoot(lab.cos, "parts", lab.board, lab.ref))
    lab.touch(0, 1, 2, 3)
    lab.switch(0, SplitRoot(lab.cos, "more", lab.board, lab.ref))
    assert lab.board.log[:2] == ["old exports", "parts imports on 0"]
    assert [line for line in lab.board.log if line.startswith("parts imports")] == ["parts imports on 0"]
    assert sorted(line for line in lab.board.log if "more imports" in line) == [
        f"more imports on {vp}" for vp in range(4)
    ]
    assert lab.call_on(2, lab.ref, "value") == 7


def test_the_callback_is_called_once_when_the_next_swap_could_begin() -> None:
    lab = SwapLab()
    lab.touch(0, 1)
    told: list[tuple[str, int]] = []
    lab.switch(0, callback=lambda swap: told.append((swap.state, lab.word_of(lab.ref))))
    assert told == [("completed", 0)]


def test_commit_is_told_to_the_old_root_and_the_new_once() -> None:
    lab = SwapLab()
    lab.touch(0, 1)
    old = lab.root_of(lab.ref).rep
    lab.switch(0)
    new = lab.root_of(lab.ref).rep
    assert (old.commits, new.commits) == (1, 1)


def test_a_root_must_be_built_on_the_ref_it_is_to_have() -> None:
    lab = SwapLab()
    with pytest.raises(AssertionError, match="was not built on ref"):
        lab.switch(0, version(lab.cos, "elsewhere", Board()))


def test_a_method_whose_name_begins_with_an_underscore_is_not_forwarded() -> None:
    lab = SwapLab()
    in_block(lab)
    th = lab.enter(0)
    with pytest.raises(AttributeError, match="no external method"):
        th.deref(lab.ref)._secret  # noqa: B018
    lab.leave(th)


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("event", list(Event))
def test_phases_only_move_on_and_end_in_one_of_two(phase: Phase, event: Event) -> None:
    if (phase, event) in NEXT:
        assert after(phase, event) > phase
        assert phase not in OVER
    else:
        with pytest.raises(AssertionError, match="illegal"):
            after(phase, event)


def test_the_lab_notices_a_call_that_is_inside_while_state_moves() -> None:
    board = Board()
    rep = Version("one", board)
    with board.within("other"), pytest.raises(AssertionError, match="while calls are inside"):
        rep._moving("exports")


def test_a_swap_ends_though_no_ref_is_left_for_the_old_root_which_goes_when_there_is_one() -> None:
    lab = SwapLab(pages_per_part=1)
    refs = []
    while True:
        try:
            refs.append(SingleRepRoot(lab.cos, Probe(lab, "filler", 0)).ref)
        except RefsExhaustedError:
            break
    lab.touch(0)
    swap = lab.switch(0)
    assert (swap.state, swap.is_done) == ("completed", True)
    assert lab.call_on(0, lab.ref, "add") == "new"
    assert "old gone" not in lab.board.log
    lab.assert_settled()
    assert lab.cos.pending == 1, "so that the daemons do not rest"
    for ref in refs:
        lab.destroy_on(0, ref)
    lab.assert_reclaimed()
    assert "old gone" in lab.board.log


def test_the_page_on_swaps_draws_the_phases_as_the_table_has_them() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "hot-swap.md").read_text()
    drawn = set(re.findall(r"^ +([A-Z]+) --> ([A-Z]+) :", page, re.MULTILINE))
    assert drawn == {(now.name, then.name) for (now, _), then in NEXT.items() if now is not Phase.NORMAL}
