"""Forms of state that two implementations agree on, implementations by name, and roots built on another's ref."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest

from k42fs.errors import SwapAbortedError, UnknownImplementationError
from k42fs.ids import VP
from k42fs.objects import MultiRepRoot, Rep, SingleRepRoot
from k42fs.objects.implementations import (
    Implementation,
    find,
    implementation_name,
    implementation_of,
    kind_of,
    kinds,
    names,
    register,
    unregister,
)
from k42fs.objects.transfer import NOTHING, TransferType, agreed_type, is_first
from tests.objects.lab import Lab, Probe, ProbeRoot, single

T = TransferType


@pytest.mark.parametrize(
    ("exports", "imports", "agreed"),
    [
        ({T.TEST, T.COUNTER_CANONICAL_VAL}, {T.COUNTER_CANONICAL_VAL, T.TEST}, T.COUNTER_CANONICAL_VAL),
        ({T.COUNTER_PARTITIONED_VAL, T.TEST}, {T.TEST}, T.TEST),
        ({T.DIR_CANONICAL}, {T.FILE_CANONICAL}, None),
        (NOTHING, {T.TEST}, None),
    ],
)
def test_the_lowest_common_form_is_agreed_on(
    exports: set[TransferType], imports: set[TransferType], agreed: TransferType | None
) -> None:
    assert agreed_type(exports, imports) is agreed


def test_a_canonical_form_is_made_on_the_first_processor_of_the_set_only() -> None:
    lab = Lab()
    assert [is_first(lab.machine.enter(VP(vp)), 0b1110) for vp in range(4)] == [False, True, False, False]


class Plain(Rep):
    kind: ClassVar[str] = "Lamp"
    implementation: ClassVar[str] = "plain"


class ColouredRoot(MultiRepRoot):
    kind: ClassVar[str] = "Lamp"
    implementation: ClassVar[str] = "coloured"


@pytest.fixture
def lamps() -> Iterator[dict[str, Implementation]]:
    made = {
        "plain": register(
            Implementation("Lamp", "plain", lambda cos, th, old: SingleRepRoot(cos, Plain(), ref=old.ref))
        ),
        "coloured": register(
            Implementation("Lamp", "coloured", lambda cos, th, old: ColouredRoot(cos, ref=old.ref))
        ),
    }
    yield made
    for implementation in made.values():
        unregister(implementation)


def test_implementations_are_found_by_name_and_by_root(lamps: dict[str, Implementation]) -> None:
    lab = Lab()
    plain, coloured = SingleRepRoot(lab.cos, Plain()), ColouredRoot(lab.cos)
    assert "Lamp" in kinds()
    assert names("Lamp") == ["coloured", "plain"]
    assert implementation_of(plain) is find("Lamp", "plain") is lamps["plain"]
    assert implementation_of(coloured) is lamps["coloured"]
    assert (kind_of(coloured), implementation_name(plain)) == ("Lamp", "plain")
    assert {plain.type_name, coloured.type_name} == {"Lamp"}, "statistics count the kind"


def test_an_unknown_name_is_refused_with_the_choice(lamps: dict[str, Implementation]) -> None:
    with pytest.raises(
        UnknownImplementationError, match="no implementation 'round': there is coloured, plain"
    ):
        find("Lamp", "round")


def test_forgetting_an_implementation_leaves_its_successor(lamps: dict[str, Implementation]) -> None:
    newer = register(Implementation("Lamp", "plain", lamps["plain"].make, "newer"))
    unregister(lamps["plain"])
    assert find("Lamp", "plain") is newer
    unregister(newer)


def test_a_root_built_on_anothers_ref_publishes_nothing() -> None:
    lab = Lab()
    ref = single(lab)
    old, before = lab.root_of(ref), lab.cos.statistics()
    new = SingleRepRoot(lab.cos, Probe(lab, "new", 1), VP(1), ref=ref)
    more = ProbeRoot(lab, "many", ref=ref)
    assert new.ref == new.rep.ref == more.ref == ref
    assert lab.root_of(ref) is old
    assert lab.cos.statistics() == before


def test_an_object_says_by_default_that_it_cannot_be_replaced() -> None:
    lab = Lab()
    for root in (lab.root_of(single(lab)), ProbeRoot(lab, "many")):
        assert (root.exports, root.imports) == (NOTHING, NOTHING)


def test_the_errno_of_an_aborted_swap_is_that_of_its_cause() -> None:
    assert SwapAbortedError("late").errno == 110
    assert SwapAbortedError("full", 28).errno == 28
