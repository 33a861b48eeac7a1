"""The text of `.k42`'s files: fixed columns that read well with `cat` and fit 100 columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

MISS_COLUMNS: Final = (
    ("cold", "cold"),
    ("capacity", "capacity"),
    ("true_sharing", "true-shr"),
    ("false_sharing", "false-shr"),
    ("upgrade", "upgrade"),
)


def processors(stats: Mapping[str, Any]) -> str:
    """One row for each processor that did something: work, utilisation, misses by kind."""
    head = (
        f"# {stats['machine']}, model={stats['model']}, {stats['processors']} processors at {stats['mhz']} MHz, "
        f"cycle {stats['now_cycles']:,}; times in modelled cycles\n"
    )
    rows = [
        [
            "vp",
            "requests",
            "calls",
            "busy-cycles",
            "util",
            "references",
            "miss%",
            *(t for _, t in MISS_COLUMNS),
        ]
    ]
    per_processor = stats["per_processor"]
    rows += [_processor(row) for row in per_processor]
    if not per_processor:
        return head + "# no processor has done anything yet\n"
    text = head + table(rows, left=0)
    if stats["late_arrivals"]:
        text += f"# {stats['late_arrivals']:,} arrivals were too late in virtual time for the history kept\n"
    return text


def _processor(row: Mapping[str, Any]) -> list[str]:
    busy = row["work_cycles"] + row["spin_cycles"] + row.get("memory_cycles", 0)
    cells = [
        str(row["vp"]),
        f"{row['operations']:,}",
        f"{row['calls']:,}",
        f"{busy:,}",
        f"{row['utilisation']:.0%}",
    ]
    if "misses" not in row:
        return [*cells, *["-"] * (2 + len(MISS_COLUMNS))]
    references = row["loads"] + row["stores"] + row["rmws"]
    misses = row["misses"]
    share = sum(misses.values()) / references if references else 0.0
    return [
        *cells,
        f"{references:,}",
        f"{share:.1%}",
        *(f"{misses.get(key, 0):,}" for key, _ in MISS_COLUMNS),
    ]


def locks(rows: Sequence[Mapping[str, Any]]) -> str:
    """The hottest locks, most waited for first."""
    if not rows:
        return "# hottest locks: none was contended\n"
    cells = [["object", "lock", "acquired", "contended", "waited-cycles", "max-wait", "held-cycles"]]
    cells += [
        [
            str(row["object"]),
            str(row["lock"]),
            *(
                f"{row[key]:,}"
                for key in ("acquisitions", "contentions", "waited_cycles", "max_wait", "held_cycles")
            ),
        ]
        for row in rows
    ]
    return "# hottest locks, by cycles waited\n" + table(cells, left=2)


def lines(rows: Sequence[Mapping[str, Any]]) -> str:
    """The hottest cache lines: what lies there, and who passes it around."""
    if not rows:
        return "# hottest lines: none moved between processors\n"
    cells = [["object", "field", "transfers", "processors"]]
    cells += [
        [str(row["object"]), str(row["field"]), f"{row['transfers']:,}", _ranges(row["processors"])]
        for row in rows
    ]
    return "# hottest lines, by transfers between processors\n" + table(cells, left=2)


def objects(stats: Mapping[str, Any]) -> str:
    """Live objects by type, then the manager's counts."""
    types = sorted(stats["types"].items(), key=lambda item: (-item[1], item[0]))
    text = "# live clustered objects by type\n" + table(
        [["type", "objects"], *([n, f"{c:,}"] for n, c in types)], left=1
    )
    flat = {key: value for key, value in stats.items() if not isinstance(value, dict)}
    return text + "\n# object manager\n" + keys_and_values(flat)


def keys_and_values(values: Mapping[str, Any]) -> str:
    """One `key=value` line each."""
    return "".join(f"{key}={_value(value)}\n" for key, value in values.items())


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def _ranges(numbers: Iterable[int]) -> str:
    """Write 0,1,2,5 as 0-2,5."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)


def table(rows: Sequence[Sequence[str]], left: int) -> str:
    """Align *rows*; the first *left* columns to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    text = []
    for row in rows:
        cells = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        text.append("  ".join(cells).rstrip())
    return "\n".join(text) + "\n"
