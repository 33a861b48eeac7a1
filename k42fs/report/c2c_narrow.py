"""`c2c` on a terminal: perf's tables as far as they fit its width, of the lines that moved most.

What is never anything but 0 here, because only hardware could count it, goes first; then columns from the right, whose
words are on lines of their own: nothing is cut off. A pipe or file gets all lines, with all columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from k42fs.report.c2c_names import Names, pair, places
from k42fs.report.c2c_text import (
    LINE_HEADS,
    PLACE_HEADS,
    SUMMARY_LINES,
    Head,
    events,
    kind_of,
    line_cells,
    of_shared,
    place_cells,
    title_of,
)
from k42fs.report.lines import Line, Moves
from k42fs.report.tables import wrapped

HEAD_LINES: Final = 3
RULE_SHOWN: Final = 72
NOTHING: Final = {"0", "0.00%", ""}
LEFT_OUT: Final = {"PA cnt", "Code address"}
"""Always 1 here, and a number that only the recording knows: the source line has it in words."""

SYMBOL: Final = 16
"""Where in PLACE_HEADS words begin."""


def narrow_text(
    found: Sequence[Line], names: Names, total: Moves, everything: Moves, width: int
) -> Iterator[str]:
    """Yield the text for a terminal of *width* columns."""
    top = found[:SUMMARY_LINES]
    yield from _answer(top, names, width)
    yield ""
    yield from _counted([*events(everything), "", *of_shared(found, total)])
    yield ""
    yield from title_of("           Shared Data Cache Line Table          ")
    rows = [line_cells(index, line, total) for index, line in enumerate(top)]
    yield from _laid_out(LINE_HEADS, rows, width)
    yield ""
    yield from title_of("      Shared Cache Line Distribution Pareto      ")
    yield from _pareto(top, names, width)
    if more := len(found) - len(top):
        yield f"... and {more:,} more lines: not on a terminal all are shown, with all columns"


def _answer(top: Sequence[Line], names: Names, width: int) -> Iterator[str]:
    """Yield which fields of which objects share a line, used where; two or three rows for each line."""
    yield "Cache lines that move between processors, those that moved most first"
    for index, line in enumerate(top):
        moves = line.moves
        counts = ((moves.true_sharing, "true"), (moves.false_sharing, "false"), (moves.upgrades, "upgrades"))
        said = ", ".join(
            [*(f"{count:,} {what}" for count, what in counts if count), f"{moves.cycles:,} cycles"]
        )
        yield f"{index:3d}  {line.address:#x}  {kind_of(moves)}: {said}"
        for owner, name, site, misses in pair(line, names):
            what = f"{misses:>8,}x  {f'{owner} .{name}'.strip()}"
            place, _, function = site.partition(" ")
            either = (f"{what}  {site}", f"{what}  {place}", f"{what}  {function}")
            yield next((each for each in either if len(each) <= width), what)
    if not top:
        yield "  none"


def _counted(text: Sequence[str]) -> Iterator[str]:
    """Yield the rows of a list of numbers without those that are 0."""
    return (line for line in text if line.rpartition(" ")[2] not in ("0", "0.0%"))


def _pareto(top: Sequence[Line], names: Names, width: int) -> Iterator[str]:
    blocks = [[place_cells(line, key, place, names) for key, place in places(line)] for line in top]
    rows = [cells for block in blocks for cells in block]
    head, drawn = [], iter(_laid_out(PLACE_HEADS[1:SYMBOL], [cells[1:SYMBOL] for cells in rows], width))
    head = [next(drawn) for _ in range(HEAD_LINES)]
    yield from head
    for index, (line, block) in enumerate(zip(top, blocks, strict=True)):
        yield f"  -- {index}  {line.address:#x} ".ljust(RULE_SHOWN, "-")
        for cells in block:
            yield next(drawn)
            symbol, owner, place, _, name, sharing, others = cells[SYMBOL:]
            said = f"{owner} .{name}  {symbol.removeprefix('[.] ')}  {place}  true/false {sharing}"
            for text in (said, f"other side: {others}" if others else ""):
                yield from wrapped(text, width, "      ", "        ")


def _laid_out(heads: Sequence[Head], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return a table's lines, of those columns that say anything the first: two of heads, one of dots, the rows."""
    over = [_group(heads, index) for index in range(len(heads))]
    columns = [(over[index], head.title, [row[index] for row in rows]) for index, head in enumerate(heads)]
    shown = [each for each in columns if each[1] not in LEFT_OUT and set(each[2]) - NOTHING]
    while sum(map(_width, shown)) > width:
        del shown[-1]
    widths = [_width(column) - 2 for column in shown]

    def line(start: str, cells: Sequence[str]) -> str:
        padded = (f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        return f"{start} {'  '.join(padded)}".rstrip()

    lines = [line("#", [each[0] for each in shown]), line("#", [each[1] for each in shown])]
    lines.append(line("#", ["." * size for size in widths]))
    return lines + [line(" ", [each[index] for _, _, each in shown]) for index in range(len(rows))]


def _group(heads: Sequence[Head], index: int) -> str:
    """Return what is said over a column: of a group in each of its columns, as some may be left out."""
    while heads[index].over == "|":
        index -= 1
    return heads[index].over.strip("- ").partition(" ")[0]


def _width(column: tuple[str, str, list[str]]) -> int:
    """Return how wide a column is, with the two blanks before it."""
    over, title, cells = column
    return 2 + max(map(len, (over, title, *cells)))
