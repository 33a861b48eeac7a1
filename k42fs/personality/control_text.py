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
LOCK_COUNTS: Final = ("acquisitions", "contentions", "waited_cycles", "max_wait", "held_cycles")
CALLS_SHOWN: Final = 30


def processors(stats: Mapping[str, Any]) -> str:
    """One row for each processor that served requests: work, waiting, utilisation, misses by kind."""
    if stats["model"] == "off":
        return (
            f"# {stats['machine']}, model=off: nothing is modelled; requests served: {_requests(stats):,}\n"
        )
    head = (
        f"# {stats['machine']}, model={stats['model']}, {stats['processors']} processors at {stats['mhz']} MHz; "
        f"modelled cycles {stats['since_cycle']:,} to {stats['now_cycles']:,}\n"
    )
    rows = [["vp", "requests", "calls", "busy-cycles", "lock-wait", "util", "references", "miss%"]]
    rows[0] += [title for _, title in MISS_COLUMNS]
    served = [row for row in stats["per_processor"] if row["operations"]]
    if not served:
        return head + "# no processor has served a request yet\n"
    rows += [_processor(row) for row in served]
    text = head + table(rows, left=0)
    if rest := stats["processors"] - len(served):
        text += f"# {rest} more processors served no request\n"
    if stats["late_arrivals"]:
        text += f"# {stats['late_arrivals']:,} requests came too late in virtual time to be queued exactly\n"
    return text


def _requests(stats: Mapping[str, Any]) -> int:
    return sum(row["operations"] for row in stats["per_processor"])


def _processor(row: Mapping[str, Any]) -> list[str]:
    busy = row["work_cycles"] + row["spin_cycles"] + row.get("memory_cycles", 0)
    cells = [str(row["vp"]), f"{row['operations']:,}", f"{row['calls']:,}", f"{busy:,}"]
    cells += [f"{row['spin_cycles'] / busy:.0%}" if busy else "-", f"{row['utilisation']:.0%}"]
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


def calls(counts: Mapping[str, int]) -> str:
    """The methods called most: class, method, calls."""
    if not counts:
        return "# calls: none was counted\n"
    shown = list(counts.items())[:CALLS_SHOWN]
    text = "# calls of modelled methods, the most frequent first\n"
    text += table([["method", "calls"], *([name, f"{count:,}"] for name, count in shown)], left=1)
    if rest := len(counts) - len(shown):
        text += f"# {rest} more methods: see calls.json\n"
    return text


def locks(rows: Sequence[Mapping[str, Any]]) -> str:
    """The hottest locks, most waited for first."""
    if not rows:
        return "# hottest locks: none was waited for (only model=full knows waiting)\n"
    cells = [["object", "lock", "acquired", "contended", "waited-cycles", "max-wait", "held-cycles"]]
    cells += [
        [
            str(row["object"]),
            str(row["lock"]),
            *(f"{row[key]:,}" for key in LOCK_COUNTS),
        ]
        for row in rows
    ]
    order = (
        "cycles waited"
        if any(row["contentions"] for row in rows)
        else "acquisitions (waiting is not modelled)"
    )
    return f"# hottest locks, by {order}\n" + table(cells, left=2)


def lines(rows: Sequence[Mapping[str, Any]]) -> str:
    """The hottest cache lines: what lies there, and who passes it around."""
    if not rows:
        return "# hottest lines: none moved between processors (only model=full knows lines)\n"
    cells = [["object", "field", "line", "transfers", "processors"]]
    cells += [
        [
            str(row["object"]),
            str(row["field"]),
            f"{row['address']:x}",
            f"{row['transfers']:,}",
            _ranges(row["processors"]),
        ]
        for row in rows
    ]
    return "# hottest lines, by transfers between caches\n" + table(cells, left=3)


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
