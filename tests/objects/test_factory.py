"""Dynamic updates: every object of a kind gets the new code exactly once, or nothing changes (invariant 31)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import ClassVar

import pytest

from k42fs.errors import ConfigError, DeletedObjectError, InTransitionError, NotSwappableError
from k42fs.ids import VP, Ref
from k42fs.machine.config import MachineConfig
from k42fs.machine.driver import Machine
from k42fs.machine.thread import Thread
from k42fs.objects import COSMgr, Rep, SingleRepRoot, Wanted
from k42fs.objects.arbiters import CallCounter
from k42fs.objects.counter import ReplicatedCounterRoot, SharedCounter
from k42fs.objects.factory import Replacement, Update, load_replacement
from k42fs.objects.root import CObjRoot
from tests.objects.lab import Lab


class Second(SharedCounter):
    """Version 2 of the shared counter: tells its version."""

    implementation: ClassVar[str] = "second"
    made: ClassVar[list[Ref]] = []

    async def version(self, th: Thread) -> int:
        return 2


def make_second(cos: COSMgr, th: Thread, old: CObjRoot) -> CObjRoot:
    return SingleRepRoot(cos, Second(cos, th.vp, 0), th.vp, ref=old.ref)


def second(version: int = 2, **options: object) -> Replacement:
    return Replacement(kind="Counter", name="second", version=version, make=make_second, **options)  # type: ignore[arg-type]


def update(lab: Lab, new: Replacement) -> Update:
    th = lab.machine.enter(VP(0))
    try:
        return lab.run(lab.cos.factories.update(th, new))
    finally:
        lab.machine.leave(th)


def implementations(cos: COSMgr) -> dict[str, int]:
    found: dict[str, int] = {}
    for root in cos.objects():
        name = getattr(getattr(root, "speaker", None), "implementation", "")
        if name and not cos.is_dying(root.ref):
            found[name] = found.get(name, 0) + 1
    return found


def test_every_object_touched_or_not_is_replaced_and_keeps_its_state() -> None:
    lab = Lab()
    refs = [SingleRepRoot(lab.cos, SharedCounter(lab.cos, VP(vp), 10), VP(vp)).ref for vp in range(4)]
    refs += [ReplicatedCounterRoot(lab.cos, 10, 1, VP(vp)).ref for vp in range(4)]
    for ref in refs[::2]:
        for vp in range(3):
            lab.call_on(vp, ref, "increment")
    done = update(lab, second())
    assert (done.is_done, done.total, done.replaced, done.failures) == (True, 8, 8, [])
    assert implementations(lab.cos) == {"second": 8}
    assert [lab.call_on(1, ref, "value") for ref in refs] == [13, 10] * 4
    assert {lab.call_on(2, ref, "version") for ref in refs} == {2}
    assert lab.cos.factories.version("Counter") == 2
    lab.sweep(8)
    assert (lab.cos.statistics()["live"], lab.cos.pending) == (8, 0)


def test_an_update_may_concern_some_implementations_only() -> None:
    lab = Lab()
    shared = SingleRepRoot(lab.cos, SharedCounter(lab.cos, VP(0), 1)).ref
    split = ReplicatedCounterRoot(lab.cos, 2, 1).ref
    done = update(lab, second(replaces=frozenset(("shared",))))
    assert (done.total, done.replaced) == (1, 1)
    assert implementations(lab.cos) == {"second": 1, "replicated": 1}
    assert (lab.call_on(0, shared, "value"), lab.call_on(0, split, "value")) == (1, 2)


def test_who_makes_objects_is_told_before_any_is_replaced() -> None:
    lab = Lab()
    SingleRepRoot(lab.cos, SharedCounter(lab.cos, VP(0), 1))
    told: list[dict[str, int]] = []
    lab.cos.factories.on_update("Counter", lambda new: told.append(implementations(lab.cos)))
    update(lab, second(create=make_second))
    assert told == [{"shared": 1}]


def test_an_update_of_nothing_is_done_at_once() -> None:
    lab = Lab()
    assert update(lab, second()).is_done
    assert update(lab, second(3)).report()["version"] == 3


class Stranger(Rep):
    kind: ClassVar[str] = "Stranger"


class Loner(SharedCounter):
    implementation: ClassVar[str] = "x"
    imports = frozenset()


def refusals() -> list[tuple[Replacement, type[Exception], str]]:
    def stranger(cos: COSMgr, th: Thread, old: CObjRoot) -> CObjRoot:
        return SingleRepRoot(cos, Stranger(), ref=old.ref)

    def loner(cos: COSMgr, th: Thread, old: CObjRoot) -> CObjRoot:
        return SingleRepRoot(cos, Loner(cos, th.vp, 0), ref=old.ref)

    def broken(cos: COSMgr, th: Thread, old: CObjRoot) -> CObjRoot:
        raise LookupError("nothing here")

    def apart(cos: COSMgr, th: Thread, old: CObjRoot) -> CObjRoot:
        return SingleRepRoot(cos, Second(cos, th.vp, 0))

    def bare(cos: COSMgr, th: Thread, old: CObjRoot) -> object:
        return Second(cos, th.vp, 0)

    return [
        (second(1), ConfigError, "has version 1, the next is 2"),
        (second(3), ConfigError, "has version 1, the next is 2"),
        (Replacement(kind="Nothing", name="x", version=2, make=make_second), ConfigError, "kind=Nothing"),
        (Replacement(kind="Counter", name="x", version=2, make=stranger), ConfigError, "makes a Stranger"),
        (
            Replacement(kind="Counter", name="x", version=2, make=broken),
            ConfigError,
            "LookupError: nothing here",
        ),
        (Replacement(kind="Counter", name="x", version=2, make=loner), NotSwappableError, "no form of state"),
        (replace(second(), make=apart), ConfigError, "must take ref="),
        (replace(second(), make=bare), ConfigError, "makes a Second, not the root"),  # type: ignore[arg-type]
        (replace(second(), name="other"), ConfigError, "makes the implementation 'second', not 'other'"),
    ]


@pytest.mark.parametrize("number", range(9))
def test_an_update_that_does_not_fit_changes_nothing(number: int) -> None:
    new, error, said = refusals()[number]
    lab = Lab()
    ref = SingleRepRoot(lab.cos, SharedCounter(lab.cos, VP(0), 1)).ref
    lab.call_on(1, ref, "increment")
    lab.cos.factories.on_update("Counter", lambda new: pytest.fail("told of an update that is refused"))
    with pytest.raises(error, match=said):
        update(lab, replace(new, create=make_second))
    assert lab.cos.factories.version("Counter") == 1
    assert implementations(lab.cos) == {"shared": 1}
    assert lab.cos.swaps.statistics()["started"] == 0
    lab.sweep(8)
    assert (lab.cos.statistics()["live"], lab.cos.pending) == (1, 0)


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("is_apart", [False, True])
def test_an_object_that_the_new_code_fails_on_is_reported_and_the_others_are_replaced(
    live: bool, is_apart: bool
) -> None:
    machine = Machine(MachineConfig(processors=2), live=live)
    cos = COSMgr(machine)
    refs = [SingleRepRoot(cos, SharedCounter(cos, VP(0), 5)).ref for _ in range(4)]

    def make(cos: COSMgr, th: Thread, old: CObjRoot) -> CObjRoot:
        calls.append(old.ref)
        if len(calls) != 3:  # the first is the trial
            return make_second(cos, th, old)
        if is_apart:
            return SingleRepRoot(cos, Second(cos, th.vp, 0))
        raise ValueError("boom")

    calls: list[Ref] = []
    done: list[Update] = []

    async def run(th: Thread) -> None:
        done.append(await cos.factories.update(th, replace(second(), make=make)))
        await done[0].wait(th)

    if live:
        th = machine.enter(VP(0))
        machine.drive(run(th))
        machine.leave(th)
    else:
        machine.spawn(VP(0), run)
        machine.run()
    assert (done[0].replaced, len(done[0].failures)) == (3, 1)
    assert ("must take ref=" if is_apart else "ValueError: boom") in done[0].failures[0]
    assert implementations(cos) == {"second": 3, "shared": 1}
    assert not cos.factories.under_way
    assert cos.swaps.statistics()["started"] == len(refs) - 1


@pytest.mark.parametrize("seed", range(8))
def test_invariant_31_under_load_all_become_new_exactly_once(seed: int) -> None:
    machine = Machine(MachineConfig(processors=4, seed=seed))
    cos, rng = COSMgr(machine), Random(seed)
    create = [lambda vp: SingleRepRoot(cos, SharedCounter(cos, vp, 0), vp).ref]
    cos.factories.on_update("Counter", lambda new: create.append(new.create))
    refs = [create[-1](VP(number % 4)) for number in range(30)]
    refs += [ReplicatedCounterRoot(cos, 0, 1, VP(number % 4)).ref for number in range(10)]
    issued = dict.fromkeys(refs, 0)
    destroyed: set[Ref] = set()
    born: list[Ref] = []
    called_back: list[tuple[int, int]] = []
    for vp in range(4):
        machine.spawn(VP(vp), cos.daemon, 50_000, daemon=True)

    async def caller(th: Thread) -> None:
        for _ in range(150):
            ref = rng.choice(refs[:35])  # some are never called
            cos.activate(th)
            try:
                await th.deref(ref).increment(th)
                issued[ref] += 1
            except DeletedObjectError:
                assert ref in destroyed
            cos.deactivate(th)
            await th.sleep(rng.randrange(400))

    async def creator(th: Thread) -> None:
        for _ in range(20):
            await th.sleep(rng.randrange(3000))
            ref = create[-1](th.vp)
            if len(create) > 1:
                born.append(ref)

    async def destroyer(th: Thread) -> None:
        for ref in rng.sample(refs, 6):
            await th.sleep(rng.randrange(8000))
            destroyed.add(ref)
            cos.activate(th)
            await cos.destroy(th, ref)
            cos.deactivate(th)

    async def swapper(th: Thread) -> None:
        while cos.factories.version("Counter") == 1:
            cos.activate(th)
            try:
                await cos.swap_to(th, rng.choice(refs[:35]), rng.choice(["shared", "replicated"]))
            except (InTransitionError, DeletedObjectError):
                pass
            finally:
                cos.deactivate(th)
            await th.sleep(rng.randrange(300))

    async def updater(th: Thread) -> None:
        await th.sleep(10_000)
        new = second(create=lambda vp: SingleRepRoot(cos, Second(cos, vp, 0), vp).ref)
        for ref in refs[:35]:  # until one is under way that has callers
            with suppress(InTransitionError, DeletedObjectError):
                if not (await cos.swap_to(th, ref, "replicated")).is_done:
                    break
        assert cos.swaps.under_way
        done = await cos.factories.update(
            th, new, lambda update: called_back.append((update.left, update.total))
        )
        with pytest.raises(InTransitionError):
            await cos.factories.update(th, second(3))
        await done.wait(th)
        assert done.replaced + done.dropped == done.total
        assert done.failures == []
        assert called_back == [(0, done.total)], "once, and last"

    for vp in range(4):
        machine.spawn(VP(vp), caller)
    for vp, body in enumerate((updater, creator, destroyer, swapper)):
        machine.spawn(VP(vp), body)
    machine.run()
    found = implementations(cos)
    assert found == {
        "second": len(cos.objects()) - 1 - sum(map(cos.is_dying, [r.ref for r in cos.objects()]))
    }
    for ref in born:
        assert cos.root_at(ref) is not None
    values: dict[Ref, int] = {}

    async def read(th: Thread) -> None:
        cos.activate(th)
        for ref in issued:
            if ref not in destroyed:
                values[ref] = await th.deref(ref).value(th)
        cos.deactivate(th)
        await th.sleep(3_000_000)

    machine.spawn(VP(0), read)
    machine.run()
    assert values == {ref: number for ref, number in issued.items() if ref not in destroyed}
    assert cos.pending == 0


def test_objects_with_arbiters_before_them_are_updated_and_keep_them() -> None:
    machine = Machine(MachineConfig(processors=2))
    cos = COSMgr(machine)
    ref = SingleRepRoot(cos, SharedCounter(cos, VP(0), 0)).ref
    reports: list[dict[str, object]] = []
    counter = CallCounter()

    async def run(th: Thread) -> None:
        await cos.interposition.attach(th, counter, Wanted.parse("type Counter"))
        done = await cos.factories.update(th, second())
        await done.wait(th)
        reports.append(done.report())
        await cos.call(th, ref, "increment")

    machine.spawn(VP(0), run)
    machine.run()
    assert reports[0]["replaced"] == 1
    assert implementations(cos) == {"second": 1}
    assert counter.count("increment") == 1


MODULE = """
from k42fs.objects import SingleRepRoot
from k42fs.objects.counter import SharedCounter
from k42fs.objects.factory import Replacement


class Loud(SharedCounter):
    implementation = "loud"

    async def value(self, th):
        return 1000 + await super().value(th)


REPLACEMENT = Replacement(
    kind="Counter",
    name="loud",
    version=2,
    make=lambda cos, th, old: SingleRepRoot(cos, Loud(cos, th.vp, 0), th.vp, ref=old.ref),
)
"""


def test_new_code_comes_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "loud.py"
    path.write_text(MODULE)
    lab = Lab()
    ref = SingleRepRoot(lab.cos, SharedCounter(lab.cos, VP(0), 7)).ref
    assert update(lab, load_replacement(path)).replaced == 1
    assert lab.call_on(1, ref, "value") == 1007


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("def broken(:", "SyntaxError"),
        ("x = 1", "must define REPLACEMENT"),
        ("REPLACEMENT = 5", "must define REPLACEMENT"),
    ],
)
def test_a_file_without_a_replacement_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "module.py"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_replacement(path)


@pytest.mark.parametrize("name", ["absent.py", "text.txt"])
def test_what_is_no_python_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.txt").write_text("hello")
    with pytest.raises(ConfigError, match=r"module="):
        load_replacement(tmp_path / name)
