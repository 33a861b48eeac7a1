"""Text in columns that fits the terminal: no line is wider unless one of its words is, none ends in blanks."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

WIDTH_IF_UNKNOWN: Final = 80
GAP: Final = "  "
LAST_MIN: Final = 16
"""A last column narrower than this is not folded: that would be harder to read than a long line."""


def screen_width() -> int:
    """Return the columns of the terminal, or what COLUMNS in the environment says; 80 where there is neither."""
    return shutil.get_terminal_size((WIDTH_IF_UNKNOWN, 24)).columns


def width_of(rows: Sequence[Sequence[str]]) -> int:
    """Return how wide *rows* are in columns."""
    return sum(_widths(rows)) + len(GAP) * (len(rows[0]) - 1)


def aligned(rows: Sequence[Sequence[str]], sides: str, width: int) -> Iterator[str]:
    """Yield *rows*, of equally many cells, as lines.

    *sides*: "<" or ">" for each column. A last column on the left is folded into what *width* leaves of it.
    """
    widths = _widths(rows)
    before = sum(widths[:-1]) + len(GAP) * (len(widths) - 1)
    room = max(width - before, LAST_MIN)
    for row in rows:
        folded = textwrap.wrap(row[-1], room) or [""]
        last = folded if sides[-1] == "<" else [f"{row[-1]:>{widths[-1]}}"]
        cells = (f"{cell:{side}{size}}" for cell, side, size in zip(row[:-1], sides, widths, strict=False))
        yield GAP.join((*cells, last[0])).rstrip()
        yield from (" " * before + more for more in last[1:])


def wrapped(text: str, width: int, indent: str = "") -> Iterator[str]:
    """Yield *text* in lines, all but the first after *indent*."""
    yield from textwrap.wrap(text, width, subsequent_indent=indent, break_on_hyphens=False) or [""]


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]
