"""Curves as text: one character grid per plot, a letter per series, for terminals and logs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import log10
from typing import Final

from k42fs.machine.validation.checks import Plot, Series, number

WIDTH, HEIGHT = 60, 12
LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"


def curve(plot: Plot, width: int = WIDTH, height: int = HEIGHT) -> list[str]:
    """Return *plot* drawn in *height* rows of *width* columns, with both axes' ends and a legend.

    Points that a logarithmic axis cannot show are left out. Measured series are letters at their points,
    expected ones dotted lines beneath; where two of a sort meet the later one is seen.
    """
    shown = [point for series in plot.series for point in _visible(series, plot)]
    if not shown:
        return [f"{plot.title}: no points"]
    letters = iter(LETTERS)
    marks = {series.label: "." if series.expected else next(letters) for series in plot.series}
    across = _scale((x for x, _ in shown), plot.log_x, width)
    down = _scale((y for _, y in shown), plot.log_y, height)
    if not plot.log_y:
        down = _Scale(min(0.0, down.low), down.high, False, height)
    grid = [[" "] * width for _ in range(height)]
    for series in sorted(plot.series, key=lambda each: not each.expected):
        places = [(across.at(x), down.at(y)) for x, y in _visible(series, plot)]
        for column, row in _line(places) if series.expected else places:
            grid[height - 1 - row][column] = marks[series.label]
    rows = [f"{plot.title}   [{plot.y}{', log' if plot.log_y else ''}]"]
    for n, cells in enumerate(grid):
        tick = number(down.high) if n == 0 else number(down.low) if n == height - 1 else ""
        rows.append(f"{tick:>10} |{''.join(cells).rstrip()}")
    rows.append(f"{'':>10} +{'-' * width}")
    ends = f"{across.low:g}", f"{across.high:g}"
    scale = " (log)" if plot.log_x else ""
    rows.append(f"{'':>12}{ends[0]}{f'{plot.x}{scale}':^{width - len(ends[0]) - len(ends[1])}}{ends[1]}")
    return [*rows, *(f"{'':>12}{line}" for line in _legend(marks, width))]


def _legend(marks: Mapping[str, str], width: int) -> Iterator[str]:
    """Yield what each mark stands for, as many to a line as *width* has room for."""
    line = ""
    for label, mark in marks.items():
        entry = f"{mark} {label}"
        if line and len(line) + 3 + len(entry) > width:
            yield line
            line = ""
        line += f"   {entry}" if line else entry
    yield line


def _visible(series: Series, plot: Plot) -> list[tuple[float, float]]:
    return [(x, y) for x, y in series.points if (x > 0 or not plot.log_x) and (y > 0 or not plot.log_y)]


def _line(cells: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the cells on the way from each of *cells* to the next, one per column."""
    yield from cells[:1]
    for (x0, y0), (x1, y1) in pairwise(cells):
        for x in range(x0 + 1, x1 + 1):
            yield x, round(y0 + (y1 - y0) * (x - x0) / (x1 - x0))


class _Scale:
    """Where numbers from *low* to *high* fall on *cells* cells."""

    def __init__(self, low: float, high: float, log: bool, cells: int) -> None:
        self.low, self.high, self._log, self._cells = low, high, log, cells

    def at(self, value: float) -> int:
        low, high = self.low, self.high
        if self._log:
            low, high, value = log10(low), log10(high), log10(value)
        share = (value - low) / (high - low) if high > low else 0.0
        return round(share * (self._cells - 1))


def _scale(values: Iterable[float], log: bool, cells: int) -> _Scale:
    known = list(values)
    return _Scale(min(known), max(known), log, cells)
