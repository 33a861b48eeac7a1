"""Masks in words: classes, numbers, presets, and changes to what is on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k42fs.errors import ConfigError
from k42fs.machine.tracing.mask import (
    CACHE,
    CLUST_OBJ,
    CONTROL,
    EXCEPTION,
    FS,
    FUSE,
    HW_PERF_MON,
    LOCK,
    PRESETS,
    Switches,
    all_classes,
    describe,
    parse,
    with_control,
)
from k42fs.machine.tracing.schema import load, snake


@pytest.mark.parametrize(
    ("text", "mask"),
    [
        ("none", 0),
        ("0", 0),
        ("lock", LOCK | CONTROL),
        ("Lock,FS", LOCK | FS | CONTROL),
        ("clustobj fuse\n", CLUST_OBJ | FUSE | CONTROL),
        ("0x8", LOCK | CONTROL),
        ("10008", LOCK | CONTROL),
        ("s3", CONTROL | HW_PERF_MON | EXCEPTION | LOCK),
        ("s9,cache", CONTROL | FS | CACHE),
        ("control", CONTROL),
    ],
)
def test_a_mask_is_names_numbers_or_presets(text: str, mask: int) -> None:
    assert parse(text, current=CACHE) == mask


def test_signs_change_what_is_on() -> None:
    assert parse("+lock", FS | CONTROL) == FS | LOCK | CONTROL
    assert parse("-fs,+cache", FS | CONTROL) == CACHE | CONTROL
    assert parse("all,-fs") == all_classes() & ~FS


@pytest.mark.parametrize("text", ["", " , ", "locks?", "0x8000000000000000", "-", "+", "0x-5", "-1", "+0x8"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse(text)


def test_k42s_masks_of_its_studies_are_these_classes() -> None:
    assert describe(0x31910) == "0x31910 User,Proc,Exception,Scheduler,Control,HWPerfMon"
    assert PRESETS["s8"] == 0x31808  # its mask for studies of locks
    assert describe(0) == "0x0 none"


@given(st.integers(0, (1 << 29) - 1))
def test_what_is_said_of_a_mask_gives_it_again(mask: int) -> None:
    mask = with_control(mask)
    number, names = describe(mask).split()
    assert parse(number) == parse(names) == mask


def test_every_preset_has_control() -> None:
    assert all(mask & CONTROL for mask in PRESETS.values())


@given(st.integers(0, (1 << 29) - 1))
def test_there_is_a_switch_for_every_class(mask: int) -> None:
    on = Switches()
    on.set(mask)
    switched = {name: getattr(on, name) for name in Switches.__annotations__}
    assert switched == {snake(each.name): bool(mask & each.bit) for each in load().classes}
