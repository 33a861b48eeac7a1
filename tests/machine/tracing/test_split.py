"""The compiled way into packets and the plain one: the same bodies from the same words, and the same refusals."""

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k42fs.machine.tracing.packets import MAX_GAP, ROOM_WORDS
from k42fs.machine.tracing.split import Body, count_events, in_order, in_order_plainly, split_plainly

fast_split = pytest.importorskip("k42fs.machine.tracing.fast_split", exc_type=ImportError)


@st.composite
def lists_of_events(draw: st.DrawFn) -> list[int]:
    """Draw words as emitters leave them: mostly in order, gaps around the limit, values of any size."""
    words: list[int] = []
    stamp = draw(st.integers(0, 1 << 60))
    gap = st.sampled_from([0, 1, 7, MAX_GAP - 1, MAX_GAP, MAX_GAP + 1, 1 << 33])
    for length in draw(st.lists(st.integers(1, 255), max_size=120)):
        stamp += draw(gap) if draw(st.integers(0, 9)) == 0 else 3
        value = draw(st.integers(-(1 << 70), 1 << 70))
        words += [
            length << 24 | draw(st.integers(0, (1 << 24) - 1)),
            stamp,
            *range(value, value + length - 1),
        ]
    return words


def compiled(words: list[int], last: int) -> list[Body] | None:
    bodies = fast_split.split_list(words, last, ROOM_WORDS, MAX_GAP)
    return None if bodies is None else [Body(*each) for each in bodies]


@given(lists_of_events())
def test_both_make_the_same_bodies(words: list[int]) -> None:
    plain = split_plainly(words, 0)
    assert plain == compiled(words, 0)
    assert plain is not None
    assert sum(body.events for body in plain) == count_events(words)


def stepping_back(words: list[int]) -> Iterator[list[int]]:
    at = 0
    while at < len(words):
        yield [*words[: at + 1], words[at + 1] - 1, *words[at + 2 :]]
        at += 1 + (words[at] >> 24)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9))
def test_both_refuse_a_step_back_wherever_it_is(lengths: list[int]) -> None:
    words: list[int] = []
    for length in lengths:
        words += [length << 24, 1 << 40, *range(length - 1)]
    for wrong in stepping_back(words):
        # The first event may be earlier than the others, but not than what went before.
        last = 1 << 40
        assert split_plainly(wrong, last) is None
        assert compiled(wrong, last) is None
        assert split_plainly(in_order(wrong, last), last) == compiled(in_order(wrong, last), last) is not None


@given(lists_of_events(), st.randoms(use_true_random=False))
def test_both_sort_alike_and_keep_what_came_at_one_time_in_order(words: list[int], dice: Random) -> None:
    at = 0
    while at < len(words):
        words[at + 1] = dice.choice([5, 1 << 40, (1 << 40) + dice.randrange(9)])
        at += 1 + (words[at] >> 24)
    ordered = fast_split.in_order_list(words, 1 << 40)
    assert ordered == in_order_plainly(words, 1 << 40)
    assert split_plainly(ordered, 1 << 40) is not None


@pytest.mark.parametrize("words", [[1 << 24], [0, 5], [3 << 24, 5, 1], [1 << 24, 5, 2 << 24, 5]])
def test_a_torn_list_is_refused(words: list[int]) -> None:
    with pytest.raises(ValueError, match="no whole event"):
        fast_split.in_order_list(words, 0)


def test_a_word_that_is_no_number_is_a_bug_in_both() -> None:
    words: list[int] = [2 << 24, 5, "x"]  # type: ignore[list-item]
    with pytest.raises((TypeError, ValueError)):
        split_plainly(words, 0)
    with pytest.raises(TypeError):
        compiled(words, 0)
