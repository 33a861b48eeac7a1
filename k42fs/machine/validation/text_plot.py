"""Curves as text: one character grid per plot, a letter per series, for terminals and logs."""

from __future__ import annotations

from collections.abc import Iterable
from math import log10
from typing import Final

from k42fs.machine.validation.checks import Plot

WIDTH, HEIGHT = 60, 12
LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"


def curve(plot: Plot, width: int = WIDTH, height: int = HEIGHT) -> list[str]:
    """Return *plot* drawn in *height* rows of *width* columns, with both axes' ends and a legend.

    Points that a logarithmic axis cannot show are left out. Where two series meet the later one is seen,
    but measured ones lie above expected ones, which are drawn as dots.
    """
    shown = [
        (i, x, y)
        for i, series in enumerate(plot.series)
        for x, y in series.points
        if (x > 0 or not plot.log_x) and (y > 0 or not plot.log_y)
    ]
    if not shown:
        return [f"{plot.title}: no points"]
    across = _scale((x for _, x, _ in shown), plot.log_x, width)
    down = _scale((y for _, _, y in shown), plot.log_y, height)
    if not plot.log_y:
        down = _Scale(min(0.0, down.low), down.high, False, height)
    grid = [[" "] * width for _ in range(height)]
    for i, x, y in sorted(shown, key=lambda point: not plot.series[point[0]].expected):
        grid[height - 1 - down.at(y)][across.at(x)] = "." if plot.series[i].expected else LETTERS[i % 26]
    rows = [f"{plot.title}   [{plot.y}]"]
    for n, cells in enumerate(grid):
        tick = f"{down.high:.4g}" if n == 0 else f"{down.low:.4g}" if n == height - 1 else ""
        rows.append(f"{tick:>10} |{''.join(cells).rstrip()}")
    rows.append(f"{'':>10} +{'-' * width}")
    ends = f"{across.low:g}", f"{across.high:g}"
    scale = " (log)" if plot.log_x else ""
    rows.append(f"{'':>12}{ends[0]}{f'{plot.x}{scale}':^{width - len(ends[0]) - len(ends[1])}}{ends[1]}")
    legend = (f"{'.' if s.expected else LETTERS[i % 26]} {s.label}" for i, s in enumerate(plot.series))
    rows.append(f"{'':>12}{'   '.join(legend)}")
    return rows


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
