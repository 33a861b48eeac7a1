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
COLUMNS: Final = 100
"""What a text fits where nobody says how wide the reader's screen is."""

CALLS_SHOWN: Final = 30


def processors(stats: Mapping[str, Any], columns: int = COLUMNS) -> str:
    """One row for each processor that served requests: work, waiting, utilisation, misses by kind.

    What does not fit in *columns* beside the rest is a table of its own; what the model does not know is left out.
    """
    if stats["model"] == "off":
        return (
            f"# {stats['machine']}, model=off: nothing is modelled; requests served: {_requests(stats):,}\n"
        )
    head = (
        f"# {stats['machine']}, model={stats['model']}, {counted(stats['processors'], 'processor')} at "
        f"{stats['mhz']} MHz;\n# modelled cycles {stats['since_cycle']:,} to {stats['now_cycles']:,}\n"
    )
    served = [row for row in stats["per_processor"] if row["operations"]]
    if not served:
        return head + "# no processor has served a request yet\n"
    work, references = _work(served, stats["model"]), _references(served, stats["model"])
    whole = table([[*left, *right[1:]] for left, right in zip(work, references, strict=True)], left=0)
    if references[0] == work[0][:1] or max(map(len, whole.splitlines())) <= columns:
        text = head + whole
    else:
        text = head + table(work, left=0) + "# references and misses\n" + table(references, left=0)
    if rest := stats["processors"] - len(served):
        text += f"# {counted(rest, 'more processor')} served no request\n"
    return text + _late(stats)


def _requests(stats: Mapping[str, Any]) -> int:
    return sum(row["operations"] for row in stats["per_processor"])


def _late(stats: Mapping[str, Any]) -> str:
    """Say how many references were not queued exactly, and of how many, if any were not."""
    late = stats["late_arrivals"]
    all_references = sum(map(_reference_count, stats["per_processor"]))
    if not late or not all_references:
        return ""
    return (
        f"# {late:,} of {all_references:,} references ({late / all_references:.1%}) came too late in virtual time\n"
        "# to be queued exactly\n"
    )


def _reference_count(row: Mapping[str, Any]) -> int:
    return sum(row.get(key, 0) for key in ("loads", "stores", "rmws"))


def _work(served: Sequence[Mapping[str, Any]], model: str) -> list[list[str]]:
    """The columns of work and waiting; only model=full knows times."""
    rows = [["vp", "requests", "calls"], *([str(row["vp"]), *_counts(row)] for row in served)]
    if model != "full":
        return rows
    rows[0] += ["busy-cycles", "lock-wait", "util"]
    for cells, row in zip(rows[1:], served, strict=True):
        busy = row["work_cycles"] + row["spin_cycles"] + row["memory_cycles"]
        wait = f"{row['spin_cycles'] / busy:.0%}" if busy else "-"
        cells += [f"{busy:,}", wait, f"{row['utilisation']:.0%}"]
    return rows


def _counts(row: Mapping[str, Any]) -> list[str]:
    return [f"{row['operations']:,}", f"{row['calls']:,}"]


def _references(served: Sequence[Mapping[str, Any]], model: str) -> list[list[str]]:
    """The columns of references and misses by kind; only model=full has any."""
    rows = [["vp"], *([str(row["vp"])] for row in served)]
    if model != "full":
        return rows
    rows[0] += ["references", "miss%", *(title for _, title in MISS_COLUMNS)]
    for cells, row in zip(rows[1:], served, strict=True):
        references, misses = _reference_count(row), row["misses"]
        share = sum(misses.values()) / references if references else 0.0
        cells += [f"{references:,}", f"{share:.1%}", *(f"{misses.get(key, 0):,}" for key, _ in MISS_COLUMNS)]
    return rows


def counted(number: int, thing: str) -> str:
    """Return how many there are of *thing*: 1 processor, 2 processors."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


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


def locks(rows: Sequence[Mapping[str, Any]], columns: int = COLUMNS) -> str:
    """The hottest locks, most waited for first; where waiting is not modelled, what was acquired most by kind."""
    if not rows:
        return "# hottest locks: none was waited for (only model=full knows waiting)\n"
    if not any(row["contentions"] or row["held_cycles"] for row in rows):
        cells = [[str(row["object"]), str(row["lock"]), f"{row['acquisitions']:,}"] for row in rows]
        head = "# locks by kind, by acquisitions (waiting is not modelled)\n"
        return head + table([["kind", "lock", "acquired"], *cells], left=2)
    cells = [["object", "lock", "acquired", "contended", "waited-cycles", "max-wait", "held-cycles"]]
    cells += [
        [str(row["object"]), str(row["lock"]), *(f"{row[key]:,}" for key in LOCK_COUNTS)] for row in rows
    ]
    return "# hottest locks, by cycles waited\n" + fitting(cells, 2, columns, ("held-cycles", "max-wait"))


def lines(rows: Sequence[Mapping[str, Any]], columns: int = COLUMNS) -> str:
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
            ranges(row["processors"]),
        ]
        for row in rows
    ]
    return "# hottest lines, by transfers between caches\n" + fitting(cells, 3, columns, ("line",))


def fitting(rows: Sequence[Sequence[str]], left: int, columns: int, droppable: Sequence[str]) -> str:
    """Return *rows* as a table, without as many of the *droppable* columns, in that order, as it takes to fit."""
    text = table(rows, left)
    for title in droppable:
        if max(map(len, text.splitlines())) <= columns:
            break
        index = rows[0].index(title)
        rows = [[*row[:index], *row[index + 1 :]] for row in rows]
        left -= index < left
        text = table(rows, left)
    return text


def objects(stats: Mapping[str, Any]) -> str:
    """Live objects by type, the calls of each file server, then the manager's counts."""
    types = sorted(stats["types"].items(), key=lambda item: (-item[1], item[0]))
    text = "# live clustered objects by type\n" + table(
        [["type", "objects"], *([n, f"{c:,}"] for n, c in types)], left=1
    )
    servers = [[each["server"], str(each["ref"]), f"{each['calls']:,}"] for each in stats["servers"]]
    text += "\n# calls of file servers\n" + table([["server", "ref", "calls"], *servers], left=1)
    flat = {key: value for key, value in stats.items() if not isinstance(value, dict | list)}
    return text + "\n# object manager\n" + keys_and_values(flat)


def keys_and_values(values: Mapping[str, Any]) -> str:
    """One `key=value` line each."""
    return "".join(f"{key}={_value(value)}\n" for key, value in values.items())


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def ranges(numbers: Iterable[int]) -> str:
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
