"""What `k42fs machine run` prints for people: who did what, in tables that fit the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from k42fs.cli.columns import aligned, screen_width, width_of, wrapped
from k42fs.machine.config import MODEL_PRESET
from k42fs.machine.reference_trace_names import numbers_of

if TYPE_CHECKING:
    from k42fs.machine.config import MachineConfig

Columns = tuple[tuple[str, str], ...]

SECTIONS: Final[tuple[tuple[str, Columns], ...]] = (
    (
        "references",
        (
            ("loads", "loads"),
            ("stores", "stores"),
            ("rmws", "atomics"),
            ("l1_hits", "L1 hits"),
            ("l2_hits", "L2 hits"),
            ("l3_hits", "L3 hits"),
        ),
    ),
    (
        "misses by cause",
        (
            ("miss_cold", "cold"),
            ("miss_capacity", "capacity"),
            ("miss_true_sharing", "true sharing"),
            ("miss_false_sharing", "false sharing"),
            ("miss_upgrade", "upgrades"),
            ("miss_rate", "miss rate"),
        ),
    ),
    (
        "traffic",
        (
            ("invalidations", "copies lost"),
            ("write_backs", "write-backs"),
            ("nbytes", "bytes moved"),
        ),
    ),
    (
        "cycles",
        (
            ("cycles", "end"),
            ("compute", "compute"),
            ("stall", "stall"),
            ("queued", "queued"),
            ("idle", "idle"),
            ("access_cycles", "access"),
        ),
    ),
)
"""What is printed: key in a row of figures, and its header. Sections share a table where the screen has room."""

GUESSES: Final = ("din", "cs4223")
"""Formats that look alike: who was not told which one it is says what it took a trace for."""


def print_figures(found: dict[str, Any], config: MachineConfig, values: int) -> None:
    """Print the outcome. *values*: how many the preset gives."""
    width = screen_width()
    is_guess = found["format_guessed"] and found["format"] in GUESSES
    form = f"taken for {found['format']}" if is_guess else found["format"]
    _print_wrapped(
        f"{found['machine']}: {_count(found['processors'], 'processor')}, {found['protocol']},"
        f" {found['interconnect']}; {_count(found['records'], 'record')} ({form}), {found['cycles']} cycles"
    )
    if found["format"] != "text":
        _print_wrapped(_whose(found["traces"]))
    busy = [row for row in found["per_cpu"] if row["cycles"]]
    shown = {**found, "per_cpu": busy or found["per_cpu"][:1]}
    for title, columns in _tables(shown, config, width):
        lines = list(aligned(_cells(shown, columns), ">" * (len(columns) + 1), width))
        click.echo(f"\n{title}")
        for number, line in enumerate(lines):
            is_total = number == len(lines) - 1 and len(found["per_cpu"]) > 1
            click.echo(click.style(line, bold=number == 0 or is_total))
    idle = [row["cpu"] for row in found["per_cpu"] if row not in shown["per_cpu"]]
    if idle:
        _print_wrapped(f"\nidle to the end: cpu {_ranges(idle)}")
    if found["error"]:
        click.echo("\ncounted up to a bad line only")
    if found["model_preset"]:
        click.echo()
        print_label(found, values)


def print_label(found: dict[str, Any], values: int, is_error: bool = False) -> None:
    """Say how many of the *values* that the preset gives nobody has checked; nothing if there are none."""
    labelled = found["model_preset"]
    if labelled:
        text = (
            f"{len(labelled)} of the {values} values that {found['machine']} gives are unverified"
            f" ({MODEL_PRESET}): figures are the model's, not a measurement of that machine"
        )
        _print_wrapped(text, is_error)


def _print_wrapped(text: str, is_error: bool = False) -> None:
    if text.startswith("\n"):
        click.echo(err=is_error)
    for line in wrapped(text.lstrip("\n"), screen_width()):
        click.echo(line, err=is_error)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _whose(traces: Sequence[str]) -> str:
    """Return which file is which processor's: first and last where their numbers are the processors'."""
    if len(traces) > 1 and numbers_of(traces) == list(range(len(traces))):
        return f"cpu 0 to {len(traces) - 1}: {traces[0]} to {traces[-1]}"
    return ", ".join(f"cpu {cpu}: {trace}" for cpu, trace in enumerate(traces))


def _ranges(numbers: Sequence[int]) -> str:
    """Return ascending *numbers* as text, neighbours as ranges: 0, 4 to 1023."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ", ".join(" to ".join(map(str, run)) for run in runs)


def _tables(found: dict[str, Any], config: MachineConfig, width: int) -> Iterator[tuple[str, Columns]]:
    """Yield title and columns of each table: sections that are one beside the other if they fit so."""
    titles: list[str] = []
    columns: Columns = ()
    for title, section in SECTIONS:
        more = tuple(column for column in section if column[0] != "l3_hits" or config.l3_bytes)
        if columns and width_of(_cells(found, columns + more)) > width:
            yield ", ".join(titles), columns
            titles, columns = [], ()
        titles.append(title)
        columns += more
    yield ", ".join(titles), columns


def _cells(found: dict[str, Any], columns: Columns) -> list[list[str]]:
    """Return a table: headers, a row per processor, a row for all if there are several."""
    rows = [*found["per_cpu"], *([{"cpu": "all", **found["total"]}] if found["processors"] > 1 else [])]
    return [
        ["cpu", *(header for _, header in columns)],
        *([str(row["cpu"]), *(as_text(key, row[key]) for key, _ in columns)] for row in rows),
    ]


def as_text(key: str, value: float) -> str:
    """Return a figure as the tables show it."""
    if key == "miss_rate":
        return f"{100 * value:.2f}%"
    return f"{value:.1f}" if key == "access_cycles" else str(value)
