"""What `k42fs status` prints."""

from __future__ import annotations

import pytest

from k42fs.cli.showing import human_size
from k42fs.personality.options import parse_size


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "0.977K"),
        (1 << 16, "64K"),
        (64 << 20, "64M"),
        (1023 << 10, "0.999M"),
        (12_638_257_152, "11.8G"),
        (3 << 40, "3T"),
        (5 << 50, "5120T"),
    ],
)
def test_sizes_have_three_digits_and_a_unit(size_bytes: int, text: str) -> None:
    assert human_size(size_bytes) == text


@pytest.mark.parametrize("text", ["64K", "100M", "7G", "2T"])
def test_a_round_size_is_shown_as_it_was_given(text: str) -> None:
    assert human_size(parse_size(text)) == text
