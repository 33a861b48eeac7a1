"""kmon's honest heights: the rule itself, columns against counting event by event, and wide columns from narrow."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from k42fs.report import kmon_rows
from k42fs.report.kmon_rows import (
    BEFORE,
    MANY_EVENTS,
    NO_EVENT,
    ONE_EVENT,
    SEVERAL,
    UNKNOWN,
    Row,
    columns,
    combined,
    edge,
    quarters,
)


def row_of(events: list[tuple[int, int | None]]) -> Row:
    """Return the row of (time, entity that runs from then on, or None for an event that is no switch)."""
    row = Row(0)
    for index, (time, entity) in enumerate(sorted(events, key=lambda event: event[0])):
        row.times.append(time)
        row.kinds.append(7)
        if entity is not None:
            row.switch(index, entity)
    return row


def counted(row: Row, begin: int, end: int, count: int) -> list[tuple[int, int]]:
    """Return (entity, state) of each column, by looking at every event."""
    found, current = [], UNKNOWN
    after = dict(zip(row.switches, row.switch_entities, strict=True))
    for left, right in pairwise(edge(begin, end, count, index) for index in range(count + 1)):
        inside = [index for index, time in enumerate(row.times) if left <= time < right]
        ran = {current} if inside and (row.times[inside[0]] > max(left, row.times[0])) else set()
        for index in inside:
            current = after.get(index, current)
            ran.add(current)
        state = min(len(inside), MANY_EVENTS) | (SEVERAL if len(ran) > 1 else 0)
        if not inside and (not row.times or right <= row.times[0]):
            state = BEFORE
        found.append((current, state))
    return found


PURE: dict[str, Any] = {"cut": None, "ran": None}
"""What is compiled, put out of the way."""

EVENTS = st.lists(st.tuples(st.integers(0, 60), st.none() | st.integers(1, 3)), max_size=25)


@given(EVENTS, st.integers(1, 40), st.integers(1, 80))
def test_columns_are_what_counting_event_by_event_gives(
    events: list[tuple[int, int | None]], count: int, length: int
) -> None:
    row = row_of(events)
    with patch.multiple(kmon_rows, **PURE):
        pure = columns(row, 0, length, count)
    assert list(zip(pure.entities, pure.states, strict=True)) == counted(row, 0, length, count)
    assert columns(row, 0, length, count) == pure


@given(EVENTS, st.integers(1, 6), st.integers(1, 12))
def test_a_wide_column_is_what_its_narrow_ones_say(
    events: list[tuple[int, int | None]], ratio: int, count: int
) -> None:
    row = row_of(events)
    narrow, wide = columns(row, 0, 64, count * ratio), columns(row, 0, 64, count)
    for index in range(count):
        entity, state = combined(narrow, index * ratio, (index + 1) * ratio)
        assert (entity, quarters(state)) == (wide.entities[index], quarters(wide.states[index]))


def test_heights_are_full_three_quarters_and_half() -> None:
    # Columns of 10 ticks: one event; two of one entity; a switch and another event; none; one; none any more.
    row = row_of([(0, 1), (11, None), (15, None), (25, None), (26, 2), (47, None)])
    cut = columns(row, 0, 60, 6)
    assert [quarters(state) for state in cut.states] == [4, 3, 2, 4, 4, 4]
    assert list(cut.entities) == [1, 1, 2, 2, 2, 2]


def test_one_event_is_full_height_though_it_switches() -> None:
    row = row_of([(0, 1), (15, 2), (30, None)])
    cut = columns(row, 0, 40, 4)
    assert cut.states[1] & (MANY_EVENTS | ONE_EVENT) == ONE_EVENT
    assert quarters(cut.states[1]) == 4
    assert cut.entities[1] == 2


def test_what_runs_before_the_first_switch_is_unknown() -> None:
    row = row_of([(0, None), (20, 5), (40, None)])
    cut = columns(row, 0, 40, 4)
    assert list(cut.entities) == [UNKNOWN, UNKNOWN, 5, 5]
    assert [state & 3 for state in cut.states] == [ONE_EVENT, NO_EVENT, ONE_EVENT, NO_EVENT]


def test_a_part_of_a_row_knows_what_ran_at_its_beginning() -> None:
    row = row_of([(0, 1), (10, 2), (20, None), (30, 3), (40, None)])
    part = row.part(15, 35)
    assert list(part.times) == [20, 30]
    assert list(zip(part.switches, part.switch_entities, strict=True)) == [(0, 2), (1, 3)]


@given(EVENTS)
def test_the_entities_times_add_up_to_the_whole_time(events: list[tuple[int, int | None]]) -> None:
    row = row_of(events)
    with patch.multiple(kmon_rows, **PURE):
        pure = row.ticks_by_entity(0, 1000)
    assert row.ticks_by_entity(0, 1000) == pure
    assert sum(pure.values()) == 1000


@given(EVENTS, st.integers(0, 60), st.integers(0, 60))
def test_the_entities_times_of_two_parts_are_those_of_the_whole(
    events: list[tuple[int, int | None]], first: int, second: int
) -> None:
    row = row_of(events)
    middle = min(max(first, second), 60)
    whole = row.ticks_by_entity(0, 1000)
    parts = [row.ticks_by_entity(0, middle), row.ticks_by_entity(middle, 1000)]
    assert whole == {key: sum(part.get(key, 0) for part in parts) for key in {*parts[0], *parts[1]}}
