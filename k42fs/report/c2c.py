"""`c2c` as tables: cache lines that move between processors, and the places in the source that move them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from k42fs.report.c2c_names import PAIR, Names, pair, places
from k42fs.report.c2c_narrow import narrow_text
from k42fs.report.c2c_text import SUMMARY_LINES, full_text
from k42fs.report.filters import Source
from k42fs.report.lines import Line, Moves, lines
from k42fs.report.tables import Column, Report, Table, count


def c2c_report(source: Source) -> Report:
    """Return the report: perf's sections as its text after a summary, and everything as tables."""
    all_lines = lines(source)
    found = [line for line in all_lines if line.moves.sharing]
    total, everything = _sum(found), _sum(all_lines)
    names = Names(source)
    tables = [
        _line_table(found, names),
        _place_table(found, names),
        _all_moves(everything, total, len(found)),
    ]
    text = "\n".join(full_text(found, names, total, everything))
    return Report(
        tables,
        text + "\n",
        narrow=lambda width: "\n".join(narrow_text(found, names, total, everything, width)) + "\n",
    )


def _sum(of: Sequence[Line]) -> Moves:
    total = Moves()
    for line in of:
        total.add(line.moves)
    return total


def _line_table(found: Sequence[Line], names: Names) -> Table:
    rows: list[tuple[Any, ...]] = []
    for line in found:
        moves = line.moves
        processors = sorted(set().union(*(place.processors for place in line.places.values())))
        rows.append(
            (
                f"{line.address:#x}", line.node, moves.true_sharing, moves.false_sharing, moves.upgrades,
                moves.cycles, moves.hitm, moves.lcl_hitm, moves.rmt_hitm, moves.records, moves.loads, moves.stores,
                processors, [list(each) for each in pair(line, names)],
            )
        )  # fmt: skip
    return Table("lines", LINE_COLUMNS, rows, "Cache lines that move between processors", SUMMARY_LINES)


def _pair_shown(value: list[list[Any]]) -> str:
    return "\n".join(f"{owner} .{name}  {misses:,}x {site}" for owner, name, site, misses in value[:PAIR])


def _processors_shown(value: list[int]) -> str:
    return ",".join(map(str, value[:4])) + (",..." if len(value) > 4 else "")


LINE_COLUMNS: Final = (
    Column("line", "line"),
    Column("node", "node"),
    Column("true_sharing", "true", count),
    Column("false_sharing", "false", count),
    Column("upgrades", "upgrades", count),
    Column("cycles", "cycles", count),
    Column("tot_hitm", "hitm", count),
    Column("lcl_hitm", "lcl", count),
    Column("rmt_hitm", "rmt", count),
    Column("records", "records", count),
    Column("loads", "loads", count),
    Column("stores", "stores", count),
    Column("processors", "processors", _processors_shown, left=True),
    Column("fields", "object .field, misses, source line", _pair_shown, left=True),
)

PLACE_COLUMNS: Final = (
    Column("line", "line"),
    Column("offset", "offset"),
    Column("object", "object", left=True),
    Column("field", "field", left=True),
    Column("symbol", "symbol", left=True),
    Column("source_line", "source line", left=True),
    Column("other_side", "other side", left=True),
    Column("rmt_hitm", "rmt hitm", count),
    Column("lcl_hitm", "lcl hitm", count),
    Column("true_sharing", "true", count),
    Column("false_sharing", "false", count),
    Column("upgrades", "upgrades", count),
    Column("stores", "stores", count),
    Column("records", "records", count),
    Column("cycles", "cycles", count),
    Column("cpu_cnt", "cpus", count),
)


def _place_table(found: Sequence[Line], names: Names) -> Table:
    rows: list[tuple[Any, ...]] = []
    for line in found:
        for (offset, site), place in places(line):
            function, source_line = names.site(site)
            moves = place.moves
            rows.append(
                (
                    f"{line.address:#x}", f"{offset:#x}", *names.field(line, offset), function, source_line,
                    names.others(place), moves.rmt_hitm, moves.lcl_hitm, moves.true_sharing, moves.false_sharing,
                    moves.upgrades, moves.stores, moves.records, moves.cycles, len(place.processors),
                )
            )  # fmt: skip
    return Table("places", PLACE_COLUMNS, rows)


def _all_moves(everything: Moves, shared: Moves, shared_lines: int) -> Table:
    rows: list[tuple[Any, ...]] = [
        ("all", None, *(getattr(everything, name) for name in COUNTED)),
        ("shared", shared_lines, *(getattr(shared, name) for name in COUNTED)),
    ]
    return Table(
        "events", (Column("lines", "lines"), Column("number", "number"), *map(_counted, COUNTED)), rows
    )


COUNTED: Final = (
    "records", "loads", "stores", "locked", "lcl_hitm", "rmt_hitm", "lcl_hit", "rmt_hit", "lcl_dram", "rmt_dram",
    "true_sharing", "false_sharing", "upgrades", "cycles",
)  # fmt: skip


def _counted(name: str) -> Column:
    return Column(name, name.replace("_", " "), count)
