"""Columns: alignment, folding of the last one, no trailing blanks."""

import pytest

from k42fs.cli.columns import aligned, screen_width, width_of, wrapped

ROWS = [["name", "size", "about"], ["a", "1024", "one two three four five six"], ["bcdef", "7", ""]]


def test_columns_are_aligned_and_the_last_is_folded_into_what_is_left() -> None:
    assert list(aligned(ROWS, "<><", 33)) == [
        "name   size  about",
        "a      1024  one two three four",
        "             five six",
        "bcdef     7",
    ]
    assert list(aligned(ROWS, "<><", 80))[1] == "a      1024  one two three four five six"


def test_a_last_column_on_the_right_is_whole() -> None:
    assert list(aligned([["a", "b"], ["1", "12345"]], ">>", 4)) == ["a      b", "1  12345"]


def test_width_is_that_of_the_longest_line() -> None:
    assert width_of(ROWS) == max(map(len, aligned(ROWS, "<><", 80)))


def test_a_last_column_is_never_folded_into_less_than_a_word() -> None:
    lines = list(aligned(ROWS, "<><", 10))
    assert max(map(len, lines)) <= 13 + 16


def test_text_is_wrapped_with_its_indent() -> None:
    assert list(wrapped("one two three", 8, "  ")) == ["one two", "  three"]
    assert list(wrapped("", 8)) == [""]


def test_the_width_is_the_environments_or_80(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "57")
    assert screen_width() == 57
