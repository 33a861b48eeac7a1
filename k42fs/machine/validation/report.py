"""Reports: outcomes as a table, as JSON and as CSV. The same facts in each: expected, observed, tolerance, verdict."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from k42fs.machine.validation.checks import FAIL, PASS, Check, Value
from k42fs.machine.validation.runner import NOT_AVAILABLE, Outcome
from k42fs.machine.validation.text_plot import curve

COLUMNS = ("experiment", "check", "expected", "observed", "tolerance", "unit", "verdict", "seconds")


def number(value: Value) -> str:
    """Return a figure with four significant digits, or all of an integer's."""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e6 else f"{value:.0f}"
    return str(value)


def one_line(outcome: Outcome) -> str:
    """Return how *outcome* ended."""
    passed = sum(check.passed for check in outcome.findings.checks)
    if outcome.verdict == NOT_AVAILABLE:
        return f"{outcome.number:>4}  {outcome.verdict}: {outcome.error} ({outcome.title})"
    count = f"{passed} of {len(outcome.findings.checks)} checks"
    return f"{outcome.number:>4}  {outcome.verdict}  {count:>16}  {outcome.seconds:6.1f} s  {outcome.title}"


def text(outcome: Outcome, curves: bool = True) -> list[str]:
    """Return *outcome* in full: its checks in columns, its curves, its notes."""
    rows = [one_line(outcome)]
    checks = outcome.findings.checks
    cells = [("", "expected", "observed", "tolerance", "")] if checks else []
    cells += [_cells(check) for check in checks]
    widths = [max(len(row[i]) for row in cells) for i in range(5)] if cells else []
    for row in cells:
        label, *figures, verdict = row
        columns = "  ".join(f"{cell:>{width}}" for cell, width in zip(figures, widths[1:4], strict=True))
        rows.append(f"      {label:<{widths[0]}}  {columns}  {verdict}".rstrip())
    rows += [f"      {note}" for note in outcome.findings.notes]
    if outcome.verdict == FAIL and outcome.error:
        rows += [f"      {line}" for line in outcome.error.splitlines()]
    if curves:
        for plot in outcome.findings.plots:
            rows += ["", *(f"    {line}" for line in curve(plot))]
    return [*rows, ""]


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return how many passed, failed and could not be run."""
    count = {verdict: sum(o.verdict == verdict for o in outcomes) for verdict in (PASS, FAIL, NOT_AVAILABLE)}
    failed = [o.number for o in outcomes if o.verdict == FAIL]
    which = f" ({', '.join(failed)})" if failed else ""
    return f"{count[PASS]} passed, {count[FAIL]} failed{which}, {count[NOT_AVAILABLE]} not available"


def as_json(outcomes: Iterable[Outcome]) -> str:
    """Return everything, curves included, as one JSON array."""
    return json.dumps([_fields(outcome) for outcome in outcomes], indent=1)


def as_csv(outcomes: Iterable[Outcome]) -> str:
    """Return one row per check; an experiment without checks has one row with its verdict."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for o in outcomes:
        for c in o.findings.checks:
            figures = (c.expected, c.observed, str(c.tolerance), c.unit, c.verdict)
            writer.writerow((o.number, c.label, *figures, f"{o.seconds:.2f}"))
        if not o.findings.checks:
            writer.writerow((o.number, "", "", "", "", "", o.verdict, f"{o.seconds:.2f}"))
    return out.getvalue()


def _cells(check: Check) -> tuple[str, str, str, str, str]:
    label = f"{check.label} [{check.unit}]" if check.unit else check.label
    figures = number(check.expected), number(check.observed), str(check.tolerance)
    return label, *figures, check.verdict


def _fields(outcome: Outcome) -> dict[str, Any]:
    fields = asdict(outcome)
    fields["seconds"] = round(outcome.seconds, 3)
    for check, row in zip(outcome.findings.checks, fields["findings"]["checks"], strict=True):
        row.update(tolerance=str(check.tolerance), verdict=check.verdict)
    return fields
