"""bench/swap.py measures every row, meets its aims and says so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.swap_rows import Row

ROOT = Path(__file__).resolve().parent.parent


def test_a_row_holds_within_its_bounds_only() -> None:
    assert Row("a", 1, 2, "", 2.0).holds
    assert Row("a", 1, 2, "", 2.0, ">= 2", 2.0).holds
    assert not Row("a", 1, 2, "", 1.9, ">= 2", 2.0).holds
    assert not Row("a", 1, 2, "", 2.1, "<= 2", None, 2.0).holds


def test_a_quick_run_prints_the_table_and_says_which_aims_are_met(tmp_path: Path) -> None:
    written = tmp_path / "rows.json"
    command = [sys.executable, str(ROOT / "bench" / "swap.py"), "--quick", "--json", str(written)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    rows = {row["name"]: row for row in json.loads(written.read_text())}
    missed = [name for name, row in rows.items() if not row["holds"]]
    assert (done.returncode, done.stderr) == (1 if missed else 0, "")
    assert done.stdout.count("MISSED") == len(missed)
    many = rows["directory, 32 processors: make"]
    assert many["figure"] == many["other"] / many["base"] >= 5
    assert rows["directory, one processor: make"]["figure"] >= 0.9
    assert not [name for name in missed if "directory" in name]
    assert all(name.split(":")[0] in done.stdout for name in rows)
