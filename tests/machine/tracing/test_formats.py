"""Events in words: K42's formats, names for numbers, and a default for events without a format."""

import pytest

from k42fs.machine.tracing.formats import formatter
from k42fs.machine.tracing.packing import Value
from k42fs.machine.tracing.schema import Event, SchemaError, load, parse
from tests.machine.tracing.test_packing import TYPES


def say(event: Event, *values: Value) -> str:
    return formatter(event, lambda number: f"string{number}", lambda number: f"site{number}")(values)


def with_format(text: str) -> Event:
    return next(parse(f"{TYPES}E = {{ minor = 0, fields = 'a b:s64', format = '{text}' }}").events())


@pytest.mark.parametrize(
    ("attribute", "values", "text"),
    [
        ("fs_ramfs_mkdir", (0x77, 3), "dirToken 0x77 name string3"),
        ("lock_release", (0xE10, 12), "lock 0xe10 held 12"),
        (
            "lock_acquire",
            (16, 1, 4, 30, -1, 0),
            "lock 0x10 kind block site site4 waited 30 from_vp -1 holder site0",
        ),
        (
            "cache_miss",
            (128, 3, 2, 8, 1, 90, 7),
            "line 0x80 kind false_sharing access rmw offset 8 supplier 1 cycles 90 site site7",
        ),
        ("clust_obj_swap_phase", (5, 99, 2), "root 0x5 phase 99 vp 2"),
        ("meta_string", (1, "100 %"), "id 1 text 100 %"),
        ("hw_perf_mon_periodic_all", (2, 2, (5, 6)), "pc site2 n 2 values 5 6"),
        ("exception_ip_interrupt", (), ""),
    ],
)
def test_without_a_format_each_field_is_named(attribute: str, values: tuple[Value, ...], text: str) -> None:
    assert say(load().by_attribute[attribute], *values) == text


@pytest.mark.parametrize(
    ("format_", "text"),
    [
        ("dir 0x%0[%llx] rc %1", "dir 0x1f rc -2"),
        ("%1 then %0", "-2 then 0x1f"),
        ("%0[%08lx]%%", "0000001f%%"),
        ("%1[%5d]|%1[%-5lld]|", "   -2|-2   |"),
        ("50% of %0[%u]", "50% of 31"),
    ],
)
def test_a_format_takes_fields_in_any_order_and_as_printf_would(format_: str, text: str) -> None:
    assert say(with_format(format_), 31, -2) == text


def test_a_format_of_a_field_that_is_not_there_is_refused() -> None:
    with pytest.raises(SchemaError, match="%2 is no field"):
        say(with_format("%2"), 1, 2)


def test_every_event_can_be_said() -> None:
    for event in load().events():
        values: list[Value] = [
            "text" if each.type.inline else (1, 2) if each.type.list else 1 for each in event.fields
        ]
        text = say(event, *values)
        assert all(each.name in text for each in event.fields)
