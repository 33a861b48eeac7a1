"""Checks: what an experiment expects, what it saw, and whether that will do.

An experiment returns `Findings`: checks, and curves for its plot. A check carries its own tolerance, as the
specification of the experiment states it, so that a report can show gate and verdict side by side. All of it
is plain frozen data that goes from a worker process to the report unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Final, Literal

PASS, FAIL = "PASS", "FAIL"

Value = int | float | str


def number(value: Value) -> str:
    """Return a figure as reports show it: four significant digits, or all of a whole number's, no exponent."""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 9999.5 else f"{value:.0f}"
    return str(value)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far an observed value may be from the expected one. Made by the functions below."""

    kind: Literal["relative", "absolute", "least", "most", "range", "same"]
    low: float = 0.0
    high: float = 0.0

    def accepts(self, expected: Value, observed: Value) -> bool:
        """Say whether *observed* will do. Numbers that are not finite never do, nor words unless SAME."""
        if self.kind == "same":
            return observed == expected and not isinstance(observed, float)
        if isinstance(observed, str) or not isfinite(observed):
            return False
        if self.kind == "range":
            return self.low <= observed <= self.high
        if isinstance(expected, str):
            return False
        difference = abs(observed - expected)
        match self.kind:
            case "relative":
                return difference <= self.low * abs(expected)
            case "absolute":
                return difference <= self.low
            case "least":
                return observed >= expected
            case _:
                return observed <= expected

    def __str__(self) -> str:
        match self.kind:
            case "relative":
                return f"+-{100 * self.low:g} %"
            case "absolute":
                return f"+-{self.low:g}"
            case "range":
                return f"{self.low:g}..{self.high:g}"
            case "least":
                return "at least"
            case "most":
                return "at most"
            case _:
                return "exactly"


def relative(fraction: float) -> Tolerance:
    """Accept what differs from the expected value by at most that fraction of it."""
    return Tolerance("relative", fraction)


def absolute(difference: float) -> Tolerance:
    """Accept what differs from the expected value by at most *difference*."""
    return Tolerance("absolute", difference)


def between(low: float, high: float) -> Tolerance:
    """Accept what lies from *low* to *high*, whatever the expected value (which may be a word then)."""
    return Tolerance("range", low, high)


AT_LEAST: Final = Tolerance("least")
AT_MOST: Final = Tolerance("most")
SAME: Final = Tolerance("same")
"""Equal: for counts, hashes and words. A float is never the same, not even as itself: say how near it must be."""


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison. *label* says what of, *unit* what in; *expected* is the figure with which it is
    compared, or for a range the figure that the specification gives."""

    label: str
    expected: Value
    observed: Value
    tolerance: Tolerance
    unit: str = ""

    @property
    def passed(self) -> bool:
        return self.tolerance.accepts(self.expected, self.observed)

    @property
    def verdict(self) -> str:
        return PASS if self.passed else FAIL


@dataclass(frozen=True, slots=True)
class Series:
    """One curve of a plot: points (x, y) in order of x. What was expected is drawn dashed."""

    label: str
    points: tuple[tuple[float, float], ...]
    expected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Curves over one pair of axes, with units in the axes' names. *x_names*: what x = 1, 2, 3.. stand for, if
    they are no numbers."""

    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    log_x: bool = False
    log_y: bool = False
    x_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Findings:
    """What an experiment found. *notes* are sentences for the reader, such as why a gate is where it is."""

    checks: tuple[Check, ...]
    plots: tuple[Plot, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every check passed. No checks are no evidence: then it is false."""
        return bool(self.checks) and all(check.passed for check in self.checks)
