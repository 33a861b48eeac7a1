"""Checks: what each tolerance accepts, and that nothing is taken for evidence that is none."""

import pytest

from k42fs.machine.validation.checks import (
    AT_LEAST,
    AT_MOST,
    SAME,
    Check,
    Findings,
    Tolerance,
    Value,
    absolute,
    between,
    relative,
)

NAN = float("nan")


@pytest.mark.parametrize(
    ("expected", "observed", "tolerance", "passes"),
    [
        (100, 105, relative(0.05), True),
        (100, 95, relative(0.05), True),
        (100, 105.01, relative(0.05), False),
        (-100, -94, relative(0.05), False),
        (0, 0.001, relative(0.5), False),
        (1.95, 1.99, absolute(0.041), True),
        (1.95, 2.0, absolute(0.04), False),
        (10, 10, AT_MOST, True),
        (10, 11, AT_MOST, False),
        (10, 10, AT_LEAST, True),
        (10, 9, AT_LEAST, False),
        ("8 to 24", 24, between(8, 24), True),
        ("8 to 24", 7.9, between(8, 24), False),
        ("abc", "abc", SAME, True),
        ("abc", "abd", SAME, False),
        (0, 0, SAME, True),
        (0, 1, SAME, False),
        (0, 0.0, SAME, False),  # a float is never exact
        (1, NAN, between(0, 2), False),
        (1, float("inf"), AT_LEAST, False),
        (1, "one", relative(0.5), False),
        ("one", 1, relative(0.5), False),
    ],
)
def test_a_tolerance_accepts(expected: Value, observed: Value, tolerance: Tolerance, passes: bool) -> None:
    check = Check("it", expected, observed, tolerance)
    assert check.passed is passes
    assert check.verdict == ("PASS" if passes else "FAIL")


@pytest.mark.parametrize(
    ("tolerance", "words"),
    [
        (relative(0.02), "+-2 %"),
        (absolute(0.04), "+-0.04"),
        (between(8, 24), "8..24"),
        (AT_LEAST, "at least"),
        (AT_MOST, "at most"),
        (SAME, "exactly"),
    ],
)
def test_a_tolerance_says_what_it_is(tolerance: Tolerance, words: str) -> None:
    assert str(tolerance) == words


def test_findings_pass_only_with_checks_that_all_pass() -> None:
    good, bad = Check("a", 1, 1, SAME), Check("b", 1, 2, SAME)
    assert Findings((good,)).passed
    assert not Findings((good, bad)).passed
    assert not Findings(()).passed
