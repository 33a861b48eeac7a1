"""Object calls are traced by substituting local tables: whose, from when to when, and at what price when off."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from k42fs.errors import ConfigError, DeletedObjectError, NameNotFoundError
from k42fs.ids import Ref
from k42fs.machine import Thread
from k42fs.machine.tracing.mask import CLUST_OBJ, LOCK
from k42fs.objects import Rep, SingleRepRoot
from k42fs.objects.counter import create_shared
from k42fs.objects.debug_checks import CheckedTable
from k42fs.objects.traced_table import TracedRep, TracedTable, Wanted
from k42fs.objects.translation import LocalTable
from k42fs.report.calls import methods
from k42fs.report.filters import Filter, Source
from k42fs.report.reader import Trace
from tests.machine.tracing.lab import Seen, read
from tests.objects.lab import Lab, replicated, single

CALL, RETURN = "clust_obj_call", "clust_obj_return"


def words(seen: list[Seen], name: str) -> list[tuple[Any, ...]]:
    return [values for _, _, each, values in seen if each == name]


def recorded(path: Path) -> list[Seen]:
    """Return the events of all processors, one processor after the other."""
    return [each for cpu, events in sorted(read(path).items()) if cpu < 1 << 16 for each in events]


def names(path: Path) -> Any:  # noqa: ANN401
    return Source(Trace(path), Filter()).names


class Caller(Rep):
    """Calls another object, waits, fails."""

    def __init__(self, inner: Ref) -> None:
        self.inner = inner

    def label(self) -> str:
        return f"Caller of {self.inner}"

    async def twice(self, th: Thread, amount: int) -> int:
        await th.deref(self.inner).increment(th, amount)
        await th.deref(self.inner).increment(th, amount=amount)
        value: int = await th.deref(self.inner).value(th)
        return value

    async def fail(self, th: Thread, exc: BaseException) -> None:
        raise exc

    async def wait(self, th: Thread) -> str:
        await th.block()
        return "woken"


def shared(lab: Lab) -> Ref:
    th = lab.enter(0)
    ref = lab.run(create_shared(th, lab.cos))
    lab.leave(th)
    return ref


def test_a_call_and_what_it_calls_nest(tmp_path: Path) -> None:
    lab = Lab(2)
    counter = shared(lab)
    ref = SingleRepRoot(lab.cos, Caller(counter)).ref
    lab.machine.tracer.start(tmp_path / "t", CLUST_OBJ)
    assert lab.call_on(1, ref, "twice", 4) == 8
    lab.machine.tracer.stop()
    seen = recorded(tmp_path / "t")
    found = names(tmp_path / "t")
    order = [
        (name, found.method(values[1])[1], values[3]) for _, _, name, values in seen if name in (CALL, RETURN)
    ]
    assert order == [
        (CALL, "twice", 0), (CALL, "increment", 1), (RETURN, "increment", 0), (CALL, "increment", 1),
        (RETURN, "increment", 0), (CALL, "value", 1), (RETURN, "value", 0), (RETURN, "twice", 0),
    ]  # fmt: skip
    assert {values[2] for values in words(seen, CALL)} == {1}
    assert {found.method(values[1])[0] for values in words(seen, CALL)} == {"Caller", "Counter"}
    assert {found.object(values[0], 1 << 62) for values in words(seen, CALL)} == {
        f"Caller of {counter}",
        f"Counter SharedCounter {counter}",
    }
    numbers = [values[4] for values in words(seen, CALL)]
    assert len(set(numbers)) == 4
    assert sorted(values[4] for values in words(seen, RETURN)) == sorted(numbers)


@pytest.mark.parametrize(
    ("exc", "status"),
    [
        (NameNotFoundError("no"), 2),
        (DeletedObjectError("gone"), DeletedObjectError.errno),
        (ValueError("bug"), 5),
    ],
)
def test_a_call_that_raises_returns_with_its_errno(tmp_path: Path, exc: Exception, status: int) -> None:
    lab = Lab(1)
    ref = SingleRepRoot(lab.cos, Caller(Ref(1))).ref
    lab.machine.tracer.start(tmp_path / "t", CLUST_OBJ)
    for _ in range(2):
        th = lab.enter(0)
        with pytest.raises(type(exc)) as raised:
            lab.call(th, ref, "fail", exc)
        assert raised.value is exc
        assert th.depth == 0
        lab.leave(th)
    lab.machine.tracer.stop()
    assert [values[3] for values in words(recorded(tmp_path / "t"), RETURN)] == [status, status]


def test_a_call_that_is_ended_from_outside_returns_eintr(tmp_path: Path) -> None:
    lab = Lab(1)
    ref = SingleRepRoot(lab.cos, Caller(Ref(1))).ref
    lab.machine.tracer.start(tmp_path / "t", CLUST_OBJ)
    th = lab.enter(0)
    coro = th.deref(ref).wait(th)
    assert coro.send(None) is th
    coro.close()
    assert th.depth == 0
    lab.leave(th)
    lab.machine.tracer.stop()
    seen = recorded(tmp_path / "t")
    assert [values[3] for values in words(seen, RETURN)] == [4]
    assert [values[4] for values in words(seen, CALL)] == [values[4] for values in words(seen, RETURN)]


def test_the_first_call_after_a_miss_is_traced_and_the_miss_is_told(tmp_path: Path) -> None:
    lab = Lab(2)
    ref = replicated(lab)
    lab.machine.tracer.start(tmp_path / "t", CLUST_OBJ)
    for vp in (0, 1, 1):
        lab.call_on(vp, ref, "hello")
    lab.drop_ltt_page(1, ref >> 8)
    lab.call_on(1, ref, "hello")
    lab.machine.tracer.stop()
    seen = recorded(tmp_path / "t")
    assert Counter(values[2] for values in words(seen, CALL)) == {0: 1, 1: 3}
    assert Counter(values[0] for values in words(seen, "clust_obj_miss")) == {0: 1, 1: 2}
    assert sorted(values[:2] for values in words(seen, "clust_obj_rep_create")) == [(ref, 0), (ref, 1)]
    found = methods(Source(Trace(tmp_path / "t"), Filter()))[("Probe", "hello")]
    assert (found.calls, found.timed, found.misses, found.objects) == (4, 4, 3, {ref})


def test_births_and_deaths_are_told_and_names_follow_a_ref_that_is_reissued(tmp_path: Path) -> None:
    lab = Lab(1)
    lab.machine.tracer.start(tmp_path / "t", CLUST_OBJ)
    first = shared(lab)
    lab.call_on(0, first, "increment")
    lab.destroy_on(0, first)
    lab.sweep(6)
    assert lab.root_of(first) is None
    second = SingleRepRoot(lab.cos, Caller(Ref(1))).ref
    assert second == first, "the ref was to be reissued"
    born = lab.machine.processors[0].clock
    lab.machine.tracer.stop()
    seen = recorded(tmp_path / "t")
    assert [values[2] for values in words(seen, "clust_obj_alloc")] == [first, first]
    assert [values[0] for values in words(seen, "clust_obj_dealloc")] == [first]
    assert (first, 0, 0) in words(seen, "clust_obj_mh_clean")
    found = names(tmp_path / "t")
    assert found.object(first, 0).startswith("Counter SharedCounter")
    assert found.object(first, born) == "Caller of 1"


def test_only_chosen_refs_or_types_are_traced_and_the_choice_may_change(tmp_path: Path) -> None:
    lab = Lab(1)
    counters = [shared(lab) for _ in range(2)]
    probe = single(lab)

    def go() -> None:
        for ref in counters:
            lab.call_on(0, ref, "increment")
        lab.call_on(0, probe, "hello")

    lab.cos.tracing.trace_calls(Wanted.parse(f"ref {counters[1]}"))
    lab.machine.tracer.start(tmp_path / "t", CLUST_OBJ)
    go()
    lab.cos.tracing.trace_calls(Wanted.parse("type Probe"))
    go()
    lab.cos.tracing.trace_calls(Wanted.parse("none"))
    go()
    lab.cos.tracing.trace_calls(Wanted.parse(f"type SharedCounter ref {probe:#x}"))
    go()
    lab.machine.tracer.stop()
    assert [values[0] for values in words(recorded(tmp_path / "t"), CALL)] == [
        counters[1], probe, *counters, probe,
    ]  # fmt: skip


def test_a_wish_is_written_as_it_is_read() -> None:
    for text in ("all", "none", "ref 12", "type NameTree", "type A type B ref 3 ref 40"):
        assert str(Wanted.parse(text)) == text
    assert Wanted.parse("ref 0x10 type B type A") == Wanted(False, frozenset({"A", "B"}), frozenset({16}))
    for wrong in ("", "ref", "ref x", "kind A", "all none", "type A B", "type A ref"):
        with pytest.raises(ConfigError):
            Wanted.parse(wrong)


@pytest.mark.parametrize("debug", [False, True])
def test_off_the_plain_table_is_back_with_the_reps_it_had(debug: bool) -> None:
    lab = Lab(2, debug=debug)
    plain_class = CheckedTable if debug else LocalTable
    ref = replicated(lab)
    reps = [lab.call_on(vp, ref, "who") for vp in (0, 1)]
    tables = [proc.ltt for proc in lab.machine.processors]
    for _ in range(2):
        lab.machine.tracer.set_mask(CLUST_OBJ | LOCK)
        for vp, proc in enumerate(lab.machine.processors):
            assert isinstance(proc.ltt, LocalTable)
            assert type(proc.ltt) is not plain_class
            assert isinstance(proc.ltt.get(ref), TracedRep)
            assert proc.ltt.rep_at(ref) is reps[vp]
            assert lab.call_on(vp, ref, "who") is reps[vp], "a method's self is the rep"
        lab.machine.tracer.set_mask(LOCK)
        for vp, proc in enumerate(lab.machine.processors):
            assert type(proc.ltt) is plain_class
            assert proc.ltt.get(ref) is reps[vp]
    assert all(type(table) is plain_class for table in tables)
    lab.machine.tracer.set_mask(0)


def test_debug_mode_checks_and_traces(tmp_path: Path) -> None:
    lab = Lab(1, debug=True)
    ref = single(lab)
    lab.machine.tracer.start(tmp_path / "t", CLUST_OBJ)
    th = lab.enter(0)
    lab.call(th, ref, "hello")
    kept = th.deref(ref)
    lab.run(kept.hello(th))
    with pytest.raises(AssertionError, match="cached across calls"):
        kept.hello(th)
    lab.leave(th)
    lab.machine.tracer.stop()
    assert len(words(recorded(tmp_path / "t"), RETURN)) == 2


def test_a_traced_entry_is_found_by_one_look_into_a_dict() -> None:
    assert TracedTable.__getitem__ is dict.__getitem__


def test_a_call_in_flight_when_tracing_is_turned_on_or_off_ends_as_it_began(tmp_path: Path) -> None:
    lab = Lab(1)
    ref = SingleRepRoot(lab.cos, Caller(Ref(1))).ref
    lab.machine.tracer.start(tmp_path / "a", CLUST_OBJ)
    th = lab.enter(0)
    coro = th.deref(ref).wait(th)
    coro.send(None)
    waiting = lab.machine.suspend(th, coro, th)
    lab.machine.tracer.stop()
    other = lab.enter(0)
    other.unblock(th)
    lab.leave(other)
    assert waiting.result() == "woken"
    assert th.depth == 0
    lab.machine.tracer.start(tmp_path / "b", CLUST_OBJ)
    lab.machine.tracer.stop()
    assert [len(words(recorded(tmp_path / name), each)) for name in "ab" for each in (CALL, RETURN)] == [
        1,
        0,
        0,
        0,
    ]
