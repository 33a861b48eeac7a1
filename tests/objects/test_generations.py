"""Two-generation counters and markers: invariants 10, 11 and 17."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from k42fs.ids import VP
from k42fs.objects.generations import Generations, GlobalGeneration, VPMarker
from tests.objects.lab import Lab, single


def enter(generations: Generations) -> int:
    generations.counts[generations.current] += 1
    return generations.current


def test_invariant_10_one_advance_does_not_prove_that_the_marked_generation_drained() -> None:
    generations = Generations(VP(0))
    assert generations.advance()
    late = enter(generations)  # enters after the previous advance, before the marking
    marker = generations.marker()
    assert generations.advance(), "the generation before the current one is empty"
    assert not generations.elapsed(marker), "one advance would have freed what the late thread uses"
    assert not generations.advance()
    generations.counts[late] -= 1
    assert generations.advance()
    assert generations.elapsed(marker)


def test_invariant_11_advance_fails_while_the_other_generation_has_members() -> None:
    generations = Generations(VP(0))
    old = enter(generations)
    assert generations.advance()
    enter(generations)
    assert not generations.advance()
    generations.update()
    assert generations.count == 1
    generations.counts[old] -= 1
    assert generations.advance()


def test_invariant_11_inactive_threads_and_daemons_never_delay_an_advance() -> None:
    lab = Lab(2)
    idle = [lab.machine.enter(VP(0)) for _ in range(3)]
    generations = lab.cos.generations(VP(0))
    marker = generations.marker()
    lab.clean(0)
    assert generations.elapsed(marker)
    for th in idle:
        lab.machine.leave(th)


def test_invariant_11_a_parked_active_thread_delays_reclamation_and_nothing_else() -> None:
    lab = Lab(2)
    lab.join(0, 1)
    before = lab.machine.memory.live_blocks + 1  # the page of processor 0's refs stays
    parked = lab.enter(0)
    for round_number in range(5):
        for _ in range(20):
            ref = single(lab)
            assert lab.call_on(0, ref, "hello") == "one on 0"
            lab.destroy_on(0, ref)
        lab.sweep()
        assert lab.cos.pending == 20 * (round_number + 1), "what is held back is counted"
    assert lab.events == []
    assert lab.cos.statistics()["active_threads"][0] == 1
    lab.leave(parked)
    lab.sweep(4)
    assert (len(lab.events), lab.cos.pending) == (100, 0)
    assert lab.machine.memory.live_blocks == before


def test_invariant_11_a_thread_that_deactivates_for_a_long_wait_delays_nothing() -> None:
    lab = Lab(1)
    th = lab.enter(0)
    ref = single(lab)
    lab.run(lab.cos.destroy(th, ref))
    lab.cos.deactivate(th)  # DeactivateSelf
    lab.sweep(4)
    assert lab.events == ["one cleaned on 0"]
    lab.cos.activate(th)
    lab.leave(th)


def test_a_thread_that_holds_its_own_marker_sees_it_active_for_ever() -> None:
    lab = Lab(1)
    th = lab.enter(0)
    generations = lab.cos.generations(VP(0))
    marker = generations.marker()
    lab.sweep(10)
    assert not generations.elapsed(marker)
    lab.leave(th)
    lab.sweep()
    assert generations.elapsed(marker)


def test_invariant_17_adding_a_processor_mid_round_does_not_shorten_a_global_marker() -> None:
    lab = Lab(3)
    lab.join(0, 2)
    lab.sweep(3)
    lab.clean(0)  # the token is at 2: a round is under way
    marker = lab.cos.global_marker()
    bumps = lab.cos.token.rounds
    lab.join(1)
    while not lab.cos.global_elapsed(marker):
        lab.clean(2, 0, 1)
    assert lab.cos.token.rounds - bumps == 3, "the interrupted round must not count"


def test_a_global_marker_takes_a_full_round_of_a_steady_ring() -> None:
    lab = Lab(3)
    lab.join(0, 1, 2)
    lab.clean(0)
    marker = lab.cos.global_marker()
    late = lab.enter(2)
    lab.clean(1, 2, 0, 1, 2, 0)
    assert not lab.cos.global_elapsed(marker), "a thread of processor 2 that was active then still is"
    lab.leave(late)
    lab.clean(2, 0, 1, 2, 0)
    assert lab.cos.global_elapsed(marker)


def test_a_stutter_leaves_the_global_count_above_zero_whatever_joins() -> None:
    clock = GlobalGeneration(8)
    for _ in range(8):
        clock.stutter()
    assert clock.count >= 0


@given(st.lists(st.sampled_from(["enter", "leave", "mark", "advance", "update"]), max_size=60))
def test_an_elapsed_marker_means_that_every_thread_active_at_marking_has_left(steps: list[str]) -> None:
    generations = Generations(VP(0))
    active: dict[int, int] = {}
    marks: list[tuple[VPMarker, set[int]]] = []
    for number, step in enumerate(steps):
        if step == "enter":
            active[number] = enter(generations)
        elif step == "leave" and active:
            generations.counts[active.pop(next(iter(active)))] -= 1
        elif step == "mark":
            marks.append((generations.marker(), set(active)))
        elif step == "advance":
            generations.advance()
        else:
            generations.update()
        assert all(not then & set(active) for mark, then in marks if generations.elapsed(mark))
        assert generations.active == len(active)
