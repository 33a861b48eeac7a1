"""Reports of a mount without a model: its stamps are the host's clock, so nothing in them is in cycles."""

from __future__ import annotations

from dataclasses import replace

from k42fs.report.tables import Column, Report, Table

CYCLES, NANOSECONDS = "cycles", "ns"


def in_host_time(report: Report) -> None:
    """Take the columns of cycles out of *report*; the same times in nanoseconds stay, and are always shown."""
    for table in report.tables:
        _without_cycles(table)
    if report.screen is not None:
        _without_cycles(report.screen)


def _without_cycles(table: Table) -> None:
    titles = {
        column.key.removesuffix(CYCLES) + NANOSECONDS: column.title.replace(CYCLES, "us")
        for column in table.columns
        if column.key.endswith(CYCLES)
    }
    kept = [index for index, column in enumerate(table.columns) if not column.key.endswith(CYCLES)]
    table.rows = [tuple(row[index] for index in kept) for row in table.rows]
    table.columns = [_retitled(table.columns[index], titles) for index in kept]


def _retitled(column: Column, titles: dict[str, str]) -> Column:
    return replace(column, title=titles[column.key], spare=False) if column.key in titles else column
