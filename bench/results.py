"""Samples into medians, ratios to the reference and a geometric mean; a table, JSON and CSV of them."""

import csv
import json
import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.rows import Row

REFERENCE = "reference"


class Results:
    """Rates by row and target, and why a rate is missing."""

    def __init__(self, rows: Sequence[Row], targets: Sequence[str]) -> None:
        self.rows, self.targets = rows, targets
        self.samples: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.errors: dict[tuple[str, str], str] = {}

    def rate(self, row: Row, target: str) -> float | None:
        """Return the median of the rounds, or None if there is no sample."""
        samples = self.samples.get((row.name, target))
        return statistics.median(samples) if samples else None

    def ratio(self, row: Row, target: str) -> float | None:
        """Return the target's rate over the reference's; above 1 is faster."""
        rate, reference = self.rate(row, target), self.rate(row, REFERENCE)
        return rate / reference if rate and reference else None

    def mean_ratio(self, target: str) -> float | None:
        """Return the geometric mean of the ratios of the metadata rows, or None if one of them is missing."""
        ratios = [self.ratio(row, target) for row in self.rows if row.kind == "metadata"]
        known = [ratio for ratio in ratios if ratio]
        return statistics.geometric_mean(known) if known and len(known) == len(ratios) else None

    def table(self) -> Table:
        """Return the table for the terminal: a rate and, beside it, its ratio to the reference."""
        table = Table(title="operations on the mount: median rate, ratio to the reference")
        table.add_column("operation")
        table.add_column("unit", style="dim")
        for target in self.targets:
            table.add_column(target, justify="right")
        for row in self.rows:
            table.add_row(row.name, row.unit, *(self._cell(row, target) for target in self.targets))
        table.add_section()
        means = [self.mean_ratio(target) for target in self.targets]
        table.add_row("geometric mean", "metadata", *(f"{mean:.2f}x" if mean else "-" for mean in means))
        return table

    def _cell(self, row: Row, target: str) -> str:
        rate, ratio = self.rate(row, target), self.ratio(row, target)
        if rate is None:
            return "failed" if (row.name, target) in self.errors else "-"
        return rounded(rate) + (f" {ratio:6.2f}x" if ratio and target != REFERENCE else "")

    def as_json(self, conditions: dict[str, Any]) -> dict[str, Any]:
        """Return everything measured, with the *conditions* it was measured under."""
        return {
            "conditions": conditions,
            "geometric_mean_ratio": {target: self.mean_ratio(target) for target in self.targets},
            "rows": [
                {
                    "operation": row.name,
                    "kind": row.kind,
                    "unit": row.unit,
                    "targets": {target: self._figures(row, target) for target in self.targets},
                }
                for row in self.rows
            ],
        }

    def _figures(self, row: Row, target: str) -> dict[str, Any]:
        return {
            "median": self.rate(row, target),
            "ratio": self.ratio(row, target),
            "samples": self.samples.get((row.name, target), []),
            "error": self.errors.get((row.name, target)),
        }

    def write_json(self, path: Path, conditions: dict[str, Any]) -> None:
        path.write_text(json.dumps(self.as_json(conditions), indent=2) + "\n")

    def write_csv(self, path: Path) -> None:
        """Write one line per row and target: rates in the row's unit, ratio to the reference."""
        with path.open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow(["operation", "kind", "unit", "target", "median", "minimum", "maximum", "ratio"])
            for row in self.rows:
                for target in self.targets:
                    samples = self.samples.get((row.name, target))
                    if not samples:
                        continue
                    figures = statistics.median(samples), min(samples), max(samples)
                    ratio = self.ratio(row, target)
                    out.writerow(
                        [row.name, row.kind, row.unit, target]
                        + [f"{figure:.6g}" for figure in figures]
                        + [f"{ratio:.4g}" if ratio else ""]
                    )


def rounded(rate: float) -> str:
    """Return three significant digits with a k or M: the fourth is noise."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if rate >= 0.9995 * size:
            return f"{rate / size:#.3g}".rstrip(".") + unit
    return f"{rate:#.3g}".rstrip(".")
