"""Debug mode catches clients that break the rules of refs: invariant 3."""

from __future__ import annotations

import pytest

from k42fs.ids import VP
from k42fs.objects import StaleRepError
from tests.objects.lab import Lab, replicated, single


def test_invariant_3_a_rep_cached_across_calls_is_detected() -> None:
    lab = Lab(1, debug=True)
    ref = single(lab)
    th = lab.enter(0)
    lab.call(th, ref, "hello")
    cached = th.deref(ref)
    lab.run(cached.hello(th))
    with pytest.raises(StaleRepError, match="cached across calls"):
        cached.hello(th)
    lab.leave(th)


def test_invariant_3_a_rep_kept_over_two_generations_is_detected_at_its_first_call() -> None:
    lab = Lab(1, debug=True)
    ref = single(lab)
    lab.call_on(0, ref, "hello")
    th = lab.enter(0)
    kept = th.deref(ref)
    lab.cos.deactivate(th)
    lab.sweep()
    lab.cos.activate(th)
    with pytest.raises(StaleRepError, match="before the thread's present activation"):
        kept.hello(th)
    lab.leave(th)


def test_invariant_3_a_rep_of_another_processor_is_detected() -> None:
    lab = Lab(2, debug=True)
    ref = replicated(lab)
    here, there = lab.enter(0), lab.enter(1)
    lab.call(here, ref, "hello")
    rep = here.deref(ref)
    with pytest.raises(StaleRepError, match="called on processor 1, looked up elsewhere"):
        rep.hello(there)
    lab.leave(here, there)


def test_a_call_by_a_thread_that_is_not_active_is_detected_on_hit_and_miss() -> None:
    lab = Lab(1, debug=True)
    ref = single(lab)
    th = lab.machine.enter(VP(0))
    for _ in range(2):
        with pytest.raises(StaleRepError, match="not active"):
            lab.call(th, ref, "hello")
        lab.call_on(0, ref, "hello")
    lab.machine.leave(th)


def test_clients_that_keep_to_the_rules_notice_nothing() -> None:
    lab = Lab(2, debug=True)
    ref = replicated(lab)
    for vp in (0, 1, 0, 1):
        assert lab.call_on(vp, ref, "hello") == f"many{vp} on {vp}"
    lab.drop_ltt_page(lab.cos.ring[0], ref >> 8)
    assert lab.call_on(0, ref, "hello") == "many0 on 0"


def test_names_that_python_probes_for_are_no_methods_of_an_object() -> None:
    lab = Lab(1, debug=True)
    ref = single(lab)
    th = lab.enter(0)
    for _ in range(2):
        assert not hasattr(th.deref(ref), "__len__")
        lab.call(th, ref, "hello")
    lab.leave(th)
