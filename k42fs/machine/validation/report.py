"""Reports: outcomes as a table, as JSON and as CSV. The same facts in each: expected, observed, tolerance, verdict."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from k42fs.machine.validation.checks import FAIL, PASS, Check, number
from k42fs.machine.validation.runner import NOT_AVAILABLE, Outcome
from k42fs.machine.validation.text_plot import curve

WIDTH = 80
INDENT = " " * 6
Cells = tuple[str, str, str, str, str]

COLUMNS = ("experiment", "check", "expected", "observed", "tolerance", "unit", "verdict", "seconds", "error")


def one_line(outcome: Outcome) -> str:
    """Return how *outcome* ended."""
    passed = sum(check.passed for check in outcome.findings.checks)
    if outcome.verdict == NOT_AVAILABLE:
        return f"{outcome.number:>4}  {outcome.verdict}: {outcome.error} ({outcome.title})"
    count = f"{passed} of {len(outcome.findings.checks)} checks"
    return f"{outcome.number:>4}  {outcome.verdict}  {count:>16}  {outcome.seconds:6.1f} s  {outcome.title}"


def text(outcome: Outcome, curves: bool = True, width: int = WIDTH) -> list[str]:
    """Return *outcome* in full: its checks in columns, its curves, its notes, in lines of at most *width*."""
    rows = textwrap.wrap(one_line(outcome), width, subsequent_indent=INDENT, drop_whitespace=True)
    rows += _table([_cells(check) for check in outcome.findings.checks], width)
    notes = list(outcome.findings.notes)
    if outcome.verdict == FAIL and outcome.error:
        notes += outcome.error.splitlines()
    for note in notes:
        rows += textwrap.wrap(note, width, initial_indent=INDENT, subsequent_indent=f"{INDENT}  ")
    if curves:
        for plot in outcome.findings.plots:
            lines = (
                textwrap.wrap(line, width, initial_indent="    ", drop_whitespace=False)
                for line in curve(plot)
            )
            rows += ["", *(part.rstrip() for line in lines for part in line)]
    return [*rows, ""]


def _table(cells: Sequence[Cells], width: int) -> list[str]:
    """Return checks as lines; a label that the figures leave no room for stands on lines of its own."""
    if not cells:
        return []
    cells = [("", "expected", "observed", "tolerance", ""), *cells]
    widths = [max(len(row[i]) for row in cells) for i in range(5)]
    widths[0] = min(widths[0], width - len(INDENT) - sum(widths[1:]) - 8)
    rows = []
    for row in cells:
        label, *figures, verdict = row
        columns = "  ".join(f"{cell:>{size}}" for cell, size in zip(figures, widths[1:4], strict=True))
        if len(label) > widths[0]:
            rows += textwrap.wrap(label, width, initial_indent=INDENT, subsequent_indent=f"{INDENT}  ")
            label = ""
        rows.append(f"{INDENT}{label:<{widths[0]}}  {columns}  {verdict}".rstrip())
    return rows


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return how many passed, failed and could not be run, and what those wait for."""
    count = {verdict: sum(o.verdict == verdict for o in outcomes) for verdict in (PASS, FAIL, NOT_AVAILABLE)}
    failed = [o.number for o in outcomes if o.verdict == FAIL]
    which = f" ({', '.join(failed)})" if failed else ""
    waiting: dict[str, list[str]] = {}
    for o in outcomes:
        if o.verdict == NOT_AVAILABLE:
            waiting.setdefault(o.error, []).append(o.number)
    reasons = "; ".join(f"{', '.join(numbers)} {reason}" for reason, numbers in waiting.items())
    missing = f"{count[NOT_AVAILABLE]} not available" + (f": {reasons}" if reasons else "")
    return f"{count[PASS]} passed, {count[FAIL]} failed{which}, {missing}"


def as_json(outcomes: Iterable[Outcome]) -> str:
    """Return everything, curves included, as one JSON array."""
    return json.dumps([_fields(outcome) for outcome in outcomes], indent=1)


def as_csv(outcomes: Iterable[Outcome]) -> str:
    """Return one row per check; an experiment without checks has one row with its verdict and the error, which is
    the traceback or what it waits for."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for o in outcomes:
        for c in o.findings.checks:
            figures = (c.expected, c.observed, str(c.tolerance), c.unit, c.verdict)
            writer.writerow((o.number, c.label, *figures, f"{o.seconds:.2f}", ""))
        if not o.findings.checks:
            writer.writerow((o.number, "", "", "", "", "", o.verdict, f"{o.seconds:.2f}", o.error))
    return out.getvalue()


def _cells(check: Check) -> Cells:
    label = f"{check.label} [{check.unit}]" if check.unit else check.label
    figures = number(check.expected), number(check.observed), str(check.tolerance)
    return label, *figures, check.verdict


def _fields(outcome: Outcome) -> dict[str, Any]:
    fields = asdict(outcome)
    fields["seconds"] = round(outcome.seconds, 3)
    for check, row in zip(outcome.findings.checks, fields["findings"]["checks"], strict=True):
        row.update(tolerance=str(check.tolerance), verdict=check.verdict)
    return fields
