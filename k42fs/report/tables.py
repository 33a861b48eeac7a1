"""Tables: what every report is made of, and their three forms: text, JSON, CSV.

Cells keep their values: how a value is shown belongs to the column. Numbers in JSON and CSV are exact and in the
unit that the column's key names (`_ticks`, `_ns`, `_us`, `_percent`); text rounds them for reading.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from textwrap import wrap
from typing import Any, Final

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

WIDTH_IF_NO_TERMINAL: Final = 140
WORD_WIDTH: Final = 16
"""A column of words this short is never folded."""

FORMS: Final = ("text", "json", "csv")


def plain(value: object) -> str:
    return "" if value is None else str(value)


def count(value: object) -> str:
    """Show a whole number with commas."""
    return "" if value is None else f"{value:,}"


def percent(value: object) -> str:
    return "" if value is None else f"{value:.2f}"


def microseconds(value: object) -> str:
    """Show nanoseconds as microseconds."""
    return "" if not isinstance(value, int | float) else f"{value / 1000:,.2f}"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its key in JSON and CSV, its title in text, how its values are shown.

    One that is `spare` is left out of text that is not wide enough for all. One that goes `below` is then on a
    line of its own under its row, so that call sites and paths stay whole.
    """

    key: str
    title: str
    show: Callable[[Any], str] = plain
    left: bool = False
    spare: bool = False
    below: bool = False


@dataclass(slots=True)
class Table:
    """Rows of values, one for each column. `limit` rows are shown as text, of 0 nothing; the other forms have
    all."""

    name: str
    columns: Sequence[Column]
    rows: list[tuple[Any, ...]]
    title: str = ""
    limit: int | None = None

    def dicts(self) -> list[dict[str, Any]]:
        keys = [column.key for column in self.columns]
        return [dict(zip(keys, row, strict=True)) for row in self.rows]


@dataclass(slots=True)
class Report:
    """What a command says: tables, the first of them the main one, and perhaps a text of its own instead."""

    tables: list[Table]
    text: str | None = None
    screen: Table | None = None
    """What a terminal shows before the text: the answer in short, where the text's format is wide or long."""

    narrow: Callable[[int], str] | None = None
    """Gives `text` for a terminal of so many columns."""

    notes: list[str] = field(default_factory=list)
    """Sentences for the reader of the text: what was left out, what is missing from the recording."""

    def table(self, name: str) -> Table:
        return next(each for each in self.tables if each.name == name)


def as_text(report: Report, width: int | None = None, colour: bool = False) -> str:
    """Return *report* as text: its own, or its tables one after the other."""
    out = StringIO()
    console = Console(
        file=out,
        width=width or WIDTH_IF_NO_TERMINAL,
        force_terminal=colour,
        no_color=not colour,
        highlight=False,
    )
    if report.text is None:
        shown = [table for table in report.tables if table.limit != 0]
    else:
        shown = [report.screen] if report.screen is not None and colour else []
    for index, table in enumerate(shown):
        if index:
            console.print()
        _print(console, table)
    drawn = "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())
    text = report.text if report.narrow is None or width is None else report.narrow(width)
    return drawn if text is None else f"{drawn}\n{text}" if drawn else text


def _print(console: Console, table: Table) -> None:
    if table.title:
        console.print(Text(table.title, style="bold"))
    if table.rows and (lines := _in_two_lines(table, console.width)):
        for index, line in enumerate(lines):
            console.print(Text(line, style="" if index else "bold"), soft_wrap=True)
    elif table.rows:
        width = console.width
        drawn, least = _rich(table, width)
        console.width = max(width, least)  # wider than the screen, if it must be: no digit is ever cut off
        console.print(drawn)
        console.width = width
    else:
        console.print(Text("(nothing)"))
    if table.limit is not None and len(table.rows) > table.limit:
        console.print(Text(f"... and {len(table.rows) - table.limit:,} more"))


def _rich(table: Table, width: int) -> tuple[RichTable, int]:
    """Return *table* as far as it fits *width*, and how wide it is at least."""
    drawn = RichTable(box=None, header_style="bold", pad_edge=False)
    rows = table.rows[: table.limit]
    columns = [
        (column, [column.show(row[index]) for row in rows]) for index, column in enumerate(table.columns)
    ]
    while sum(map(_width, columns)) > width and any(column.spare for column, _ in columns):
        del columns[max(index for index, (column, _) in enumerate(columns) if column.spare)]
    least = -2
    for column, cells in columns:
        longest = _width((column, cells)) - 2
        least += min(longest, WORD_WIDTH) + 2 if column.left else longest + 2
        drawn.add_column(
            Text(column.title),
            justify="left" if column.left else "right",
            overflow="fold",
            no_wrap=not column.left or longest <= WORD_WIDTH,
        )
    for row in zip(*(cells for _, cells in columns), strict=True):
        drawn.add_row(*map(Text, row))
    return drawn, least


def _in_two_lines(table: Table, width: int) -> list[str]:
    """Return the lines of *table*, its heads first, what goes below under each row; nothing if all fits beside."""
    rows = table.rows[: table.limit]
    columns = [
        (column, [column.show(row[index]) for row in rows]) for index, column in enumerate(table.columns)
    ]
    if sum(map(_width, columns)) - 2 <= width or not any(column.below for column, _ in columns):
        return []
    beside = [each for each in columns if not each[0].below]
    widths = [_width(each) - 2 for each in beside]
    room = max(width - sum(widths[1:]) - 2 * (len(widths) - 1), len(beside[0][0].title))
    widths[0] = min(widths[0], room)

    def line(cells: Sequence[str]) -> str:
        blanks = (" " * (size - cell_len(cell)) for size, cell in zip(widths, cells, strict=True))
        padded = zip(beside, cells, blanks, strict=True)
        return "  ".join(
            cell + blank if each.left else blank + cell for (each, _), cell, blank in padded
        ).rstrip()

    lines = [line([column.title for column, _ in beside])]
    for index in range(len(rows)):
        cells = [texts[index] for _, texts in beside]
        if cell_len(cells[0]) > widths[0]:
            lines.append(cells[0])
            cells[0] = ""
        lines.append(line(cells))
        for column, texts in columns:
            if column.below and texts[index]:
                lines += wrapped(texts[index], width, f"    {column.title} ", "      ")
    return lines


def wrapped(text: str, width: int, first: str, rest: str) -> list[str]:
    """Return *text* after *first* in lines of *width*, the others after *rest*; no word is torn."""
    return wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _width(column: tuple[Column, list[str]]) -> int:
    """Return how wide a column is with the blanks after it."""
    heads, cells = column
    return 2 + max([len(heads.title), *(cell_len(line) for cell in cells for line in cell.splitlines())])


def as_json(report: Report, about: Mapping[str, Any] | None = None) -> str:
    """Return *report* as a JSON object: a list of rows for each table, and *about*."""
    said = {table.name: table.dicts() for table in report.tables} | dict(about or {})
    return json.dumps(said, indent=1) + "\n"


def as_csv(report: Report) -> str:
    """Return *report* as CSV (RFC 4180, lines end in a newline): each table has a head, an empty line is between."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for index, table in enumerate(report.tables):
        if index:
            out.write("\n")
        writer.writerow([column.key for column in table.columns])
        writer.writerows([_cell(value) for value in row] for row in table.rows)
    return out.getvalue()


def _cell(value: object) -> object:
    """Return what a CSV cell says: what is a list or mapping in JSON is JSON there too."""
    return json.dumps(value) if isinstance(value, list | tuple | dict) else value


def ratio(part: float, whole: float) -> float:
    """Return *part* in percent of *whole*, 0 of nothing."""
    return 100 * part / whole if whole else 0.0
