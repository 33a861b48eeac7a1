"""The global table's refs and pages, and the state word's transitions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k42fs.errors import DeletedObjectError, RefsExhaustedError
from k42fs.ids import VP, Ref
from k42fs.objects import SingleRepRoot, WellKnown, owner_of, state_word
from k42fs.objects.state_word import DESTROYING, PENDING_DESTROY, SWITCHING, WRITING, Answer
from tests.objects.lab import Lab, Probe, single


def test_a_ref_names_its_owner() -> None:
    lab = Lab(3)
    refs = [single(lab, vp=vp) for vp in range(3) for _ in range(300)]
    assert [owner_of(ref) for ref in refs] == [VP(vp) for vp in range(3) for _ in range(300)]
    assert len(set(refs)) == 900


def test_a_well_known_object_sits_at_its_index_and_belongs_to_processor_0() -> None:
    lab = Lab(2)
    ref = SingleRepRoot(lab.cos, Probe(lab, "mounts", 1), VP(1), WellKnown.MOUNT_POINT_MGR).ref
    assert (ref, owner_of(ref)) == (9, 0)
    assert lab.call_on(1, ref, "hello") == "mounts on 1"
    with pytest.raises(AssertionError, match="MOUNT_POINT_MGR is taken"):
        SingleRepRoot(lab.cos, Probe(lab, "again", 1), VP(1), WellKnown.MOUNT_POINT_MGR)


def test_a_well_known_index_can_be_taken_again_after_a_destroy() -> None:
    lab = Lab(1)
    for _ in range(2):
        ref = SingleRepRoot(lab.cos, Probe(lab, "mounts", 0), at=WellKnown.MOUNT_POINT_MGR).ref
        assert lab.destroy_on(0, ref)
        lab.sweep(4)


def test_the_manager_is_itself_an_object_with_a_rep_per_processor() -> None:
    lab = Lab(2)
    ref = Ref(WellKnown.COS_MGR)
    assert lab.cos.objects() == [lab.cos.root]
    th = lab.enter(1)
    assert lab.run(lab.cos.root.handle_miss(th)) is lab.cos.reps[VP(1)] is th.deref(ref)
    with pytest.raises(AssertionError, match="cannot be destroyed"):
        lab.run(lab.cos.destroy(th, ref))
    lab.leave(th)


def test_refs_are_reissued_last_in_first_out() -> None:
    lab = Lab(1)
    refs = [single(lab) for _ in range(10)]
    for ref in refs[3:6]:
        lab.destroy_on(0, ref)
        lab.sweep(4)
    assert [single(lab) for _ in range(3)] == [refs[5], refs[4], refs[3]]


def test_a_full_part_refuses_clearly_and_recovers_when_objects_go() -> None:
    lab = Lab(1, pages_per_part=1)
    refs = [single(lab) for _ in range(256)]
    with pytest.raises(RefsExhaustedError, match="processor 0"):
        single(lab)
    lab.destroy_on(0, refs[7])
    lab.sweep(4)
    assert single(lab) == refs[7]


def test_a_page_without_a_live_entry_is_given_back_and_its_number_used_again() -> None:
    lab = Lab(1)
    blocks = lab.machine.memory.live_blocks
    for stride in (1, 3, 257):
        refs = [single(lab) for _ in range(1024)]
        assert max(refs) < (1 << 19) + 1024 + 256
        for ref in [refs[number * stride % 1024] for number in range(1024)]:
            lab.destroy_on(0, ref)
        lab.sweep(8)
        assert (lab.cos.pending, len(lab.cos.table.pages)) == (0, 2)
    assert lab.machine.memory.live_blocks == blocks + 2, "the manager's rep and one page"


def test_calls_on_refs_that_were_never_issued_answer_deleted() -> None:
    lab = Lab(1)
    for ref in (0, 17, 400, 1 << 19, 1 << 30):
        with pytest.raises(DeletedObjectError, match=f"ref {ref} is deleted"):
            lab.call_on(0, Ref(ref), "hello")


@given(st.lists(st.sampled_from(["miss", "unmiss", "switch", "written", "unswitch", "destroy"]), max_size=40))
def test_the_state_word_keeps_its_two_promises(steps: list[str]) -> None:
    word = misses = 0
    for step in steps:
        before = word
        if step == "miss":
            answer, word = state_word.enter_miss(word)
            misses += answer is Answer.GRANTED
            assert answer is not Answer.GRANTED or not before & (DESTROYING | WRITING)
        elif step == "unmiss" and misses:
            word, misses = state_word.exit_miss(word), misses - 1
        elif step == "switch":
            answer, word = state_word.enter_switch(word)
            assert answer is not Answer.GRANTED or not misses, "a root is never replaced under a miss"
        elif step == "written" and word & WRITING:
            word = state_word.write_complete(word)
        elif step == "unswitch" and word & SWITCHING and not word & WRITING:
            answer, word = state_word.exit_switch(word)
            assert (answer is Answer.PENDING) == bool(before & PENDING_DESTROY)
        elif step == "destroy":
            answer, word = state_word.enter_destroy(word)
            assert answer is not Answer.GRANTED or not misses, "trans_set cannot grow any more"
            assert (answer is Answer.PENDING) <= bool(before & SWITCHING)
        assert word // state_word.ONE_MISS == misses
        assert not word & DESTROYING or not word & (SWITCHING | WRITING)
