"""The bench of tracing runs, and every figure comes with its reference."""

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench import lttng, trace


def test_the_bench_writes_the_same_rows_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lttng, "measure", lambda batches: (1.0, 100.0))  # no daemons in tests
    paths = [str(tmp_path / "t.json"), str(tmp_path / "t.csv")]
    done = CliRunner().invoke(trace.main, ["--batches", "3", "--json", paths[0], "--csv", paths[1]])
    assert done.exit_code == 0, done.output
    rows = json.loads(Path(paths[0]).read_text())["rows"]
    with Path(paths[1]).open() as file:
        assert [row["row"] for row in csv.DictReader(file)] == [row["row"] for row in rows]
    names = {row["row"] for row in rows}
    assert {row["reference"] for row in rows if row["reference"]} <= names
    assert sum(row["budget"] is not None for row in rows) == 7


def test_without_lttng_there_is_a_reason_and_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    figures, why_not = trace.beside_lttng(3, [])
    assert (figures, why_not) == ([], "LTTng, not measured: gcc is not installed")
