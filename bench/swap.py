"""What other implementations gain, and what a swap costs, in modelled cycles on a deterministic machine.

A row compares two implementations: what the first does, what the second does, and the second over the first. Of a
swap it has the cycles there and back, and the most for each processor that used the object; of calls, how long they
take without swaps and with them, and the difference. Where there is an aim, the row says whether it is met.

Usage: python bench/swap.py [--quick] [--json FILE]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

if not __package__:  # run as a file: python bench/swap.py
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import swap_costs, swap_directories, swap_files, swap_off_path
from bench.swap_rows import Row

SECTIONS: Final[tuple[Callable[..., Iterator[Row]], ...]] = (
    swap_directories.rows,
    swap_files.rows,
    swap_costs.rows,
    swap_off_path.rows,
)


def table_of(rows: list[Row]) -> Table:
    """Return the rows for a screen."""
    table = Table("what", "first", "second", "unit", "figure", "aim", "")
    for column in table.columns[1:3] + table.columns[4:5]:
        column.justify = "right"
    for row in rows:
        verdict = "" if not row.aim else "met" if row.holds else "MISSED"
        table.add_row(
            row.name,
            f"{row.base:,.0f}",
            f"{row.other:,.0f}",
            row.unit,
            f"{row.figure:,.2f}",
            row.aim,
            verdict,
        )
    return table


@click.command()
@click.option("--quick", is_flag=True, help="Short stretches, for a first look.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the rows there as well.")
def main(quick: bool, json_path: Path | None) -> None:
    """Measure everything and print the table; exit with 1 if an aim is missed."""
    rows = [row for section in SECTIONS for row in section(quick=quick)]
    Console(width=132).print(table_of(rows))
    if json_path is not None:
        json_path.write_text(json.dumps([{**asdict(row), "holds": row.holds} for row in rows], indent=2))
    sys.exit(0 if all(row.holds for row in rows) else 1)


if __name__ == "__main__":
    main()
