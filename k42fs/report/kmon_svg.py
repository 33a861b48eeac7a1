"""kmon's timeline as SVG: a picture for a report, of a size that does not grow with the recording."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import groupby
from math import ceil, floor, log10
from typing import Final

from k42fs.report.kmon import Chart
from k42fs.report.kmon_page import about
from k42fs.report.kmon_rows import Row, columns, quarters
from k42fs.report.tables import ratio

LABELS: Final = 10
LABEL_ROOM: Final = 40
"""A label nearer to an edge than this does not stand astride its mark."""

TOP: Final = 58
ROWS_HEIGHT: Final = 1600
"""What many rows share; a few are as high as is good to look at."""

ROW_HEIGHTS: Final = (4, 28)
LABEL_HEIGHT: Final = 14
LEGEND_COLUMNS: Final = 4
LEGEND_MAX: Final = 24
LEGEND_LINE: Final = 18


def svg(chart: Chart, width: int = 1200, row_height: int = 0) -> str:
    """Return a picture whose rows are *width* columns long, and *row_height* high if that is said."""
    low, high = ROW_HEIGHTS
    row_height = row_height or max(low, min(high, ROWS_HEIGHT // max(len(chart.rows), 1)))
    step = row_height + (4 if row_height > low + 4 else 1)
    names = 20 + 8 * max((len(str(row.cpu)) for row in chart.rows), default=1) + 24
    total = names + width + 16
    below = TOP + len(chart.rows) * step + 10
    entities = _by_time(chart)
    legend = entities[:LEGEND_MAX]
    height = below + LEGEND_LINE * (-(-len(legend) // LEGEND_COLUMNS) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total}" height="{height}" '
        f'viewBox="0 0 {total} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{total}" height="{height}" fill="#10141a"/>',
        f'<text x="{names}" y="18" fill="#eef1f5" font-size="14">{escape(chart.title)}</text>',
        *_axis(chart, names, width),
    ]
    for index, row in enumerate(chart.rows):
        top = TOP + index * step
        if index % -(-LABEL_HEIGHT // step) == 0:
            parts.append(_label(row, names, top + row_height // 2 + 4))
        parts += _row(chart, row, names, top, width, row_height)
    whole = sum(ticks for _, ticks in entities)
    parts += _legend(chart, legend, whole, names, below, width)
    return "\n".join([*parts, "</svg>", ""])


def _axis(chart: Chart, left: int, width: int) -> Iterator[str]:
    hz = chart.ticks_per_second
    begin, end = ((ticks - chart.origin) / hz for ticks in (chart.begin, chart.end))
    step, digits = round_step(end - begin)
    for label in range(ceil(begin / step), floor(end / step) + 1):
        x = left + round(width * (label * step - begin) / (end - begin)) if end > begin else left
        anchor = "start" if x < left + LABEL_ROOM else "end" if x > left + width - LABEL_ROOM else "middle"
        yield f'<text x="{x}" y="40" fill="#c9d1dc" text-anchor="{anchor}">{label * step:.{digits}f} s</text>'
        yield f'<path d="M{x} 45v6" stroke="#c9d1dc"/>'


def round_step(span: float) -> tuple[float, int]:
    """Return the least round number of seconds that LABELS labels at most are apart, and how many decimals it has."""
    least = max(span / LABELS, 1e-12)
    power = floor(log10(least))
    factor = next(each for each in (1, 2, 5, 10) if each * 10.0**power >= least * (1 - 1e-9))
    return factor * 10.0**power, max(0, -power - (factor == 10))


def _label(row: Row, left: int, base: int) -> str:
    return f'<text x="{left - 6}" y="{base}" fill="#c9d1dc" text-anchor="end">cpu{row.cpu}</text>'


def _row(chart: Chart, row: Row, left: int, top: int, width: int, height: int) -> Iterator[str]:
    cut = columns(row, chart.begin, chart.end, width)
    x = left
    heights = map(quarters, cut.states)
    for (entity, high), run in groupby(zip(cut.entities, heights, strict=True)):
        length = len(list(run))
        size = height * high // 4
        yield (
            f'<path d="M{x} {top + height - size}h{length}v{size}h-{length}z" '
            f'fill="{chart.entities[entity].color}"/>'
        )
        x += length


def _by_time(chart: Chart) -> list[tuple[int, int]]:
    """Return (entity, ticks) of what ran, longest first."""
    return sorted(chart.ticks_by_entity().items(), key=lambda each: (-each[1], each[0]))


def _legend(
    chart: Chart, legend: list[tuple[int, int]], whole: int, left: int, top: int, width: int
) -> Iterator[str]:
    step = width // LEGEND_COLUMNS
    for index, (entity, ticks) in enumerate(legend):
        x, y = left + index % LEGEND_COLUMNS * step, top + index // LEGEND_COLUMNS * LEGEND_LINE
        what = chart.entities[entity]
        yield f'<rect x="{x}" y="{y}" width="11" height="11" fill="{what.color}"/>'
        yield (
            f'<text x="{x + 17}" y="{y + 10}" fill="#eef1f5">{escape(what.name)} {ratio(ticks, whole):.1f} %</text>'
        )
    y = top + -(-len(legend) // LEGEND_COLUMNS) * LEGEND_LINE + 12
    rule = f"full height: at most one event in the column; three quarters: several of one {chart.by}; half: of several."
    yield f'<text x="{left}" y="{y}" fill="#9aa4b1">{rule}</text>'
    yield f'<text x="{left}" y="{y + LEGEND_LINE - 2}" fill="#9aa4b1">{escape(about(chart))}</text>'
