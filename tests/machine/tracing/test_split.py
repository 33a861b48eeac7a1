"""Words in C and in Python: the same bodies from the same words, and the same refusals."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k42fs.machine.tracing.packets import MAX_GAP
from k42fs.machine.tracing.split import count_events, split
from k42fs.machine.tracing.words import PlainWords

fast_words: Any = pytest.importorskip("k42fs.machine.tracing.fast_words", exc_type=ImportError)


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


def both(words: list[int]) -> tuple[PlainWords, Any]:
    plain, compiled = PlainWords(words), fast_words.Words()
    compiled.extend(words)
    return plain, compiled


@given(lists_of_events(), st.booleans())
def test_both_make_the_same_bodies_and_keep_the_same_rest(words: list[int], everything: bool) -> None:
    plain, compiled = both(words)
    assert plain.events() == compiled.events() == count_events(words)
    bodies = plain.cut(0, everything)
    assert bodies == compiled.cut(0, everything)
    assert [word & (1 << 64) - 1 for word in plain] == compiled[:] == compiled.take()
    assert sum(body.events for body in bodies) + plain.events() == count_events(words)
    assert bool(plain) is bool(words and not everything)
    assert len(compiled) == 0


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9))
def test_a_step_back_is_set_right_wherever_it_is(lengths: list[int]) -> None:
    words: list[int] = []
    for length in lengths:
        words += [length << 24, 1 << 40, *range(length - 1)]
    at, last = 0, 1 << 40  # the first event may be earlier than the others, but not than what went before
    while at < len(words):
        wrong = [*words[: at + 1], words[at + 1] - 1, *words[at + 2 :]]
        assert split(wrong, last) is None
        plain, compiled = both(wrong)
        bodies = plain.cut(last, True)
        assert bodies == compiled.cut(last, True)
        assert (bodies[0].begin, bodies[-1].end) == (last, last)
        at += 1 + (words[at] >> 24)


@given(lists_of_events(), st.randoms(use_true_random=False))
def test_both_sort_alike_and_keep_what_came_at_one_time_in_order(words: list[int], dice: Random) -> None:
    at = 0
    while at < len(words):
        words[at + 1] = dice.choice([5, 1 << 40, (1 << 40) + dice.randrange(9)])
        at += 1 + (words[at] >> 24)
    plain, compiled = both(words)
    bodies = plain.cut(1 << 40, True)
    assert bodies == compiled.cut(1 << 40, True)
    assert sum(body.events for body in bodies) == count_events(words)


@pytest.mark.parametrize("words", [[1 << 24, 5, 0, 5], [2 << 24, 5, 1, 1 << 24, 4, 2 << 24, 3]])
def test_torn_words_are_refused(words: list[int]) -> None:
    compiled = fast_words.Words()
    compiled.extend(words)
    with pytest.raises(ValueError, match="no whole event"):
        compiled.cut(1 << 40, True)


def test_a_word_that_is_no_number_is_a_bug_in_both() -> None:
    words: list[int] = [2 << 24, 5, "x"]  # type: ignore[list-item]
    with pytest.raises((TypeError, ValueError)):
        PlainWords(words).cut(0, True)
    with pytest.raises(TypeError):
        fast_words.Words().extend(words)


def test_words_are_looked_at_as_those_of_a_list_are() -> None:
    plain, compiled = both([1 << 24, 5, 2 << 24, 6, -1])
    assert (compiled[0], compiled[-1], compiled[1:4]) == (1 << 24, (1 << 64) - 1, plain[1:4])
    with pytest.raises(IndexError):
        compiled[5]
    compiled.clear()
    assert (len(compiled), compiled.events(), compiled[:]) == (0, 0, [])
