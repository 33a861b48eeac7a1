"""The tests that docs/testing.md names for each invariant are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_every_test_that_the_page_names_for_an_invariant_exists_and_every_invariant_has_one() -> None:
    page = (ROOT / "docs" / "testing.md").read_text()
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    rows = re.findall(r"^\| (\d*) *\|[^|]*\|([^|]*)\|$", page, re.MULTILINE)
    named = [(number, re.findall(r"`(test_\w+)`", cell)) for number, cell in rows if "`test_" in cell]
    assert {number for number, _ in named} >= {str(number) for number in range(18, 37)}
    for number, names in named:
        for name in names:
            assert re.search(rf"^(?:async )?def {name}\w*\(", tests, re.MULTILINE), f"{number}: {name}"
