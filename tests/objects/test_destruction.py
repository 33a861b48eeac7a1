"""Deferred destruction and the token: invariants 9 and 12 to 16, on forced schedules."""

from __future__ import annotations

import pytest

from k42fs.errors import DeletedObjectError
from k42fs.ids import VP, Ref
from tests.objects.lab import Lab, replicated, single


def test_invariant_9_a_local_object_outlives_the_threads_that_were_active_at_its_destroy() -> None:
    lab = Lab(2)
    ref = single(lab)
    witness = lab.enter(0)
    lab.call(witness, ref, "hello")
    lab.destroy_on(0, ref)
    lab.sweep(6)
    assert lab.events == []
    assert lab.call(witness, ref, "hello") == "one on 0"
    lab.leave(witness)
    lab.sweep(1)
    assert lab.events == ["one cleaned on 0"]


def test_invariant_9_threads_of_a_generation_begun_after_the_destroy_do_not_delay_it() -> None:
    lab = Lab(1)
    ref = single(lab)
    first = lab.enter(0)
    lab.destroy_on(0, ref)
    lab.sweep()  # marked: `first` is in the old generation
    second = lab.enter(0)
    lab.leave(first)
    lab.sweep()  # one advance: `second` holds up the other
    assert lab.events == []
    late = lab.enter(0)
    lab.leave(second)
    lab.sweep()
    assert lab.events == ["one cleaned on 0"]
    lab.leave(late)


@pytest.mark.parametrize("holder", [0, 1])
@pytest.mark.parametrize("make", ["single", "replicated"])
def test_invariant_9_an_object_used_on_two_processors_outlives_the_threads_of_both(
    make: str, holder: int
) -> None:
    lab = Lab(3)
    lab.join(0, 1, 2)
    ref = single(lab) if make == "single" else replicated(lab)
    for vp in (0, 1):
        lab.call_on(vp, ref, "hello")
    witness = lab.enter(holder)
    lab.call(witness, ref, "hello")
    lab.destroy_on(0, ref)
    lab.sweep(6)
    assert lab.events == []
    assert lab.call(witness, ref, "hello").endswith(f"on {holder}")
    lab.leave(witness)
    lab.sweep(2)
    assert lab.events[0].startswith("one cleaned" if make == "single" else "many")


def test_invariant_9_a_thread_elsewhere_gets_deleted_and_keeps_the_ref_from_reissue() -> None:
    lab = Lab(3)
    lab.join(0, 1, 2)
    ref = single(lab)
    lab.call_on(0, ref, "hello")
    bystander = lab.enter(2)
    lab.destroy_on(0, ref)
    lab.sweep(8)
    assert lab.events == ["one cleaned on 0"], "no thread that could be inside is active"
    assert ref not in [single(lab, "new") for _ in range(4)]
    with pytest.raises(DeletedObjectError):
        lab.call(bystander, ref, "hello")
    lab.leave(bystander)
    lab.sweep(3)
    assert single(lab, "new") == ref


def rounds_until_reissue(lab: Lab, ref: Ref) -> tuple[int, int]:
    """Step the daemons; return the token's passes when *ref*'s object was freed and when the ref was free."""
    freed = 0
    for _ in range(100):
        for vp in lab.cos.ring:
            lab.clean(vp)
            if lab.events and not freed:
                freed = lab.cos.token.passes
            if lab.word_of(ref) == 0:
                return freed, lab.cos.token.passes
            with pytest.raises(DeletedObjectError):
                lab.call_on(vp, ref, "late_call")
    raise AssertionError("the ref never came back")


@pytest.mark.parametrize("destroyer", [0, 1, 2])
@pytest.mark.parametrize("users", [(0,), (1,), (0, 1), (2, 0, 1), ()])
def test_invariant_12_a_ref_is_reissued_a_full_token_round_after_the_object_is_gone(
    users: tuple[int, ...], destroyer: int
) -> None:
    lab = Lab(3)
    lab.join(0, 1, 2)
    ref = single(lab, vp=1)
    for vp in users:
        lab.call_on(vp, ref, "hello")
    for vp in range(3):
        lab.drop_ltt_page(vp, ref >> 8)
    lab.destroy_on(destroyer, ref)
    freed, reissued = rounds_until_reissue(lab, ref)
    assert reissued - freed >= 3


def test_invariant_12_a_stale_ref_held_over_a_round_never_reaches_a_stranger() -> None:
    lab = Lab(2)
    lab.join(0, 1)
    ref = single(lab, "old")
    holder = lab.enter(1)  # got the number before the destroy, calls long after
    lab.destroy_on(0, ref)
    for _ in range(10):
        lab.sweep()
        stranger = single(lab, "stranger")
        assert stranger != ref
        with pytest.raises(DeletedObjectError):
            lab.call(holder, ref, "hello")
    lab.leave(holder)


def test_invariant_13_the_one_token_is_passed_only_after_the_holders_marker_has_elapsed() -> None:
    lab = Lab(3)
    lab.join(0, 1, 2)
    token = lab.cos.token
    assert token.vp == 0
    parked = lab.enter(1)
    lab.clean(2, 2)
    assert token.vp == 0, "a processor without the token cannot pass it"
    lab.clean(0)
    assert token.vp == 1
    lab.sweep(10)
    assert token.vp == 1
    assert token.waits == 10
    lab.leave(parked)
    lab.clean(1)
    assert token.vp == 2
    lab.clean(2)
    assert (token.vp, token.passes) == (0, 3)


def test_invariant_14_reps_are_cleaned_where_they_were_made_and_the_root_is_freed_once_and_last() -> None:
    lab = Lab(8)
    lab.join(*range(8))
    ref = replicated(lab, "r", cluster=2, vp=3)
    for vp in (1, 0, 5, 4, 7):
        lab.call_on(vp, ref, "hello")
    lab.destroy_on(4, ref)
    lab.sweep(10)
    assert sorted(lab.events[:-1]) == ["r1 cleaned on 1", "r5 cleaned on 5", "r7 cleaned on 7"]
    assert lab.events[-1].startswith("r freed on ")
    assert lab.cos.pending == 0


@pytest.mark.parametrize("last", range(4))
def test_invariant_14_the_last_processor_may_hold_but_an_alias(last: int) -> None:
    lab = Lab(4)
    lab.join(*range(4))
    ref = replicated(lab, "r", cluster=4)
    for vp in (1, 0, 2, 3):
        lab.call_on(vp, ref, "hello")
    lab.destroy_on((last + 1) % 4, ref)
    lab.sweep(10)
    assert lab.events[0] == "r1 cleaned on 1"
    assert len(lab.events) == 2


def test_invariant_14_an_object_that_nobody_ever_called_is_freed_too() -> None:
    lab = Lab(2)
    ref = replicated(lab, "r")
    lab.destroy_on(1, ref)
    lab.sweep(6)
    assert lab.events == ["r freed on 1"]
    assert lab.cos.statistics()["refs_in_use"] == 0


def test_invariant_15_a_second_destroy_is_a_successful_no_op() -> None:
    lab = Lab(2)
    ref = replicated(lab)
    for vp in range(2):
        lab.call_on(vp, ref, "hello")
    holder = lab.enter(0)
    assert lab.destroy_on(0, ref)
    for vp in (0, 1):
        assert not lab.destroy_on(vp, ref)
    lab.leave(holder)
    lab.sweep(8)
    assert not lab.destroy_on(1, ref)
    statistics = lab.cos.statistics()
    assert (statistics["destroyed"], statistics["freed"], statistics["double_destroys"]) == (1, 1, 3)


def test_invariant_15_calls_through_warm_entries_after_a_destroy_still_arrive() -> None:
    lab = Lab(2)
    lab.join(0, 1)
    ref = single(lab)
    threads = [lab.enter(0), lab.enter(1)]
    for th in threads:
        lab.call(th, ref, "hello")
    lab.run(lab.cos.destroy(threads[0], ref))
    lab.sweep(5)
    assert [lab.call(th, ref, "hello") for th in threads] == ["one on 0", "one on 1"]
    lab.leave(*threads)
    lab.sweep(5)
    assert lab.events == ["one cleaned on 1"]


def test_invariant_16_an_object_of_one_processor_is_freed_without_the_token() -> None:
    lab = Lab(3)
    lab.join(0, 1, 2)
    parked = lab.enter(0)  # holds the token up on processor 0
    lab.sweep(2)
    blocks = lab.machine.memory.live_blocks
    ref = replicated(lab, "r", vp=1)
    lab.call_on(1, ref, "hello")
    lab.destroy_on(1, ref)
    lab.sweep(2)
    assert lab.cos.token.passes == 0
    assert lab.events == ["r1 cleaned on 1", "r freed on 1"]
    assert lab.machine.memory.live_blocks == blocks + 1, "only the page of its ref waits for the token"
    assert lab.word_of(ref) != 0
    lab.leave(parked)


def test_a_token_that_stands_still_is_counted_and_its_cause_is_named() -> None:
    lab = Lab(3)
    lab.join(0, 1, 2)
    assert lab.cos.stalled_by() is None
    parked = lab.enter(1)
    lab.sweep(9)
    assert lab.cos.stalled_by() == "1 active thread(s) on processor 1"
    lab.leave(parked)
    for _ in range(30):
        lab.clean(0, 1)
    assert lab.cos.stalled_by() == "no clean-up daemon runs on processor 2"
    lab.sweep()
    statistics = lab.cos.statistics()
    assert statistics["token_stalled_by"] is None
    assert statistics["token_stalls"] == 2
    assert statistics["token_turns_since_pass_max"] > 24


def test_a_processor_that_joins_between_giver_and_taker_loses_no_record() -> None:
    lab = Lab(4)
    lab.join(0, 3)
    ref = replicated(lab, "r")
    for vp in (0, 3):
        lab.call_on(vp, ref, "hello")
    lab.destroy_on(0, ref)
    lab.clean(0)  # the record is under way to 3, the token too
    lab.join(1, 2)
    lab.sweep(8)
    assert sorted(lab.events) == ["r freed on 0", "r0 cleaned on 0", "r3 cleaned on 3"]
    assert lab.cos.pending == 0


def test_a_round_frees_no_more_than_a_batch_and_asks_for_another() -> None:
    lab = Lab(1, batch=10)
    for _ in range(25):
        lab.destroy_on(0, single(lab))
    assert lab.cos.wants_cleanup(VP(0))
    left = []
    while lab.cos.wants_cleanup(VP(0)):
        lab.clean(0)
        left.append(25 - len(lab.events))
    assert left[:3] == [15, 5, 0]
    lab.sweep(8)
    assert lab.cos.pending == 0


def test_cleanup_is_asked_for_after_more_than_ten_destroys() -> None:
    lab = Lab(2)
    lab.join(0)
    for number in range(11):
        assert not lab.cos.wants_cleanup(VP(0)), number
        lab.destroy_on(0, single(lab))
    assert lab.cos.wants_cleanup(VP(0))
    assert not lab.cos.wants_cleanup(VP(1)), "it has not even joined"
    lab.clean(0)
    assert not lab.cos.wants_cleanup(VP(0))


def test_the_daemon_of_an_active_thread_is_refused() -> None:
    lab = Lab(1)
    th = lab.enter(0)
    with pytest.raises(AssertionError, match="daemon of processor 0 must not be active"):
        lab.run(lab.cos.check_cleanup(th))
    lab.leave(th)


def test_activation_does_not_nest() -> None:
    lab = Lab(1)
    th = lab.enter(0)
    with pytest.raises(AssertionError, match="activated twice"):
        lab.cos.activate(th)
    lab.leave(th)
    with pytest.raises(AssertionError, match="deactivated twice"):
        lab.cos.deactivate(th)


def test_live_objects_are_listed_with_their_types() -> None:
    lab = Lab(1)
    refs = [single(lab), replicated(lab), single(lab)]
    assert [root.ref for root in lab.cos.objects()][1:] == refs
    assert lab.cos.statistics()["types"] == {"COSMgr": 1, "Probe": 3}
