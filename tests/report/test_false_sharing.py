"""The documentation's seeded layout: `c2c`'s first row names the two fields in one line; apart, they are gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from k42fs.cli.main import cli
from tests.report.lab import said

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "examples" / "false_sharing.py"
PAIR = {"head", "tail"}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the script recorded."""
    out = tmp_path_factory.mktemp("sharing")
    subprocess.run([sys.executable, str(SCRIPT), str(out)], check=True, capture_output=True, timeout=60)
    return out


def shown(*words: str | Path) -> list[str]:
    done = CliRunner().invoke(cli, ["trace", *map(str, words)])
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()


def test_the_first_row_names_the_pair_and_the_kind_of_sharing(out: Path) -> None:
    head, first, *pair = shown("c2c", out / "shared")[:4]
    assert "moved most first" in head
    assert "false sharing" in first
    assert {word for line in pair for word in PAIR if f"Queue of requests .{word}" in line} == PAIR
    assert "Queue.take" in "".join(pair)
    assert "Queue.put" in "".join(pair)


def test_every_miss_between_them_is_false_sharing_and_counted(out: Path) -> None:
    (worst, *_) = said("c2c", out / "shared")["lines"]
    assert worst["false_sharing"] > 700
    assert worst["true_sharing"] == 0


def test_apart_the_pair_is_gone_and_so_is_all_sharing(out: Path) -> None:
    report: dict[str, Any] = said("c2c", out / "padded")
    assert not [row for row in report["lines"] if row["false_sharing"] or row["true_sharing"]]
    assert shown("c2c", out / "padded")[1].strip() == "none"


def test_diff_says_that_both_fields_are_gone_and_nothing_is_new(out: Path) -> None:
    lines = shown("diff", out / "shared", out / "padded")
    start = lines.index("Cache lines, by field")
    rows = lines[start + 2 : lines.index("", start)]
    assert {(row.split()[3], row.split()[4], row.split()[-1]) for row in rows} == {
        (f".{field}", measure, "gone") for field in PAIR for measure in ("cycles", "false_sharing")
    }


def test_the_same_seed_gives_the_same_recordings(out: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(SCRIPT), str(tmp_path)], check=True, capture_output=True, timeout=60)
    for name in ("shared", "padded"):
        for file in sorted((out / name).iterdir()):
            assert (tmp_path / name / file.name).read_bytes() == file.read_bytes(), file.name
