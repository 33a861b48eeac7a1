"""The benchmark's arithmetic, and a smoke run of all of its rows on each file system."""

import cProfile
import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.profile_request import costs_by_part
from bench.results import Results, rounded
from bench.rows import Batch, Row
from k42fs.ids import VP
from k42fs.machine import Machine, preset

ROOT = Path(__file__).resolve().parent.parent


def no_batches() -> Iterator[Batch]:
    return iter(())


ROWS = [
    Row("create", "files/s", "metadata", no_batches),
    Row("rename", "files/s", "metadata", no_batches),
    Row("append", "writes/s", "data", no_batches),
]


def measured() -> Results:
    results = Results(ROWS, ["reference", "ours"])
    results.samples["create", "reference"] = [100.0, 90.0, 1000.0]
    results.samples["create", "ours"] = [400.0, 10.0, 500.0]
    results.samples["rename", "reference"] = [10.0]
    results.samples["rename", "ours"] = [90.0]
    results.samples["append", "reference"] = [1.0]
    results.samples["append", "ours"] = [1000.0]
    return results


def test_a_ratio_is_between_medians() -> None:
    assert measured().ratio(ROWS[0], "ours") == 4.0


def test_the_geometric_mean_is_over_the_metadata_rows_only() -> None:
    assert measured().mean_ratio("ours") == pytest.approx(6.0)


def test_a_mean_with_a_row_missing_is_no_mean() -> None:
    results = measured()
    del results.samples["rename", "ours"]
    assert results.mean_ratio("ours") is None


@pytest.mark.parametrize(
    ("rate", "text"),
    [(9.876, "9.88"), (123.4, "123"), (999.4, "999"), (999.6, "1.00k"), (27_120, "27.1k"), (2.5e6, "2.50M")],
)
def test_rates_have_three_digits(rate: float, text: str) -> None:
    assert rounded(rate) == text


def test_json_and_csv_say_the_same(tmp_path: Path) -> None:
    results = measured()
    results.write_json(tmp_path / "out.json", {"rounds": 3})
    results.write_csv(tmp_path / "out.csv")
    document = json.loads((tmp_path / "out.json").read_text())
    lines = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert document["conditions"] == {"rounds": 3}
    assert len(lines) == 6
    for line in lines:
        row = next(row for row in document["rows"] if row["operation"] == line["operation"])
        assert row["targets"][line["target"]]["median"] == float(line["median"])


def test_a_profile_is_told_by_floor_and_request(tmp_path: Path) -> None:
    machine = Machine(preset("dir-1024", processors=1), "off", live=True)
    profiler = cProfile.Profile()
    for _ in range(10):
        profiler.runcall(machine.enter, VP(0))
    profiler.dump_stats(tmp_path / "profile")
    costs = costs_by_part(tmp_path / "profile")
    assert 2 <= costs["machine"][1] <= 5  # enter, idle_until, and a thread that was not there yet
    assert costs["servers"] == (0, 0)


def test_an_unknown_target_is_refused() -> None:
    command = [sys.executable, "-m", "bench.fuse_ops", "--targets", "reference,nonesuch"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "'nonesuch' is not one of" in done.stderr


@pytest.mark.fuse
@pytest.mark.parametrize("target", ["reference", "passthrough", "k42fs-off", "k42fs-full"])
def test_every_row_runs_and_nothing_stays_mounted(target: str, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command = [
        sys.executable,
        "-m",
        "bench.fuse_ops",
        "--quick",
        "--targets",
        f"{target},tmpfs",
        "--json",
        str(out),
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())["rows"]
    assert len(rows) == 15
    for row in rows:
        assert 0 < row["targets"][target]["median"] < 1e9, row["operation"]
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()


@pytest.mark.fuse
def test_ctrl_c_keeps_the_rows_measured_and_leaves_no_trace(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command = [sys.executable, "-m", "bench.fuse_ops", "--targets", "reference,tmpfs", "--rounds", "2"]
    process = subprocess.Popen(
        [*command, "--seconds", "0.1", "--json", str(out)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        process_group=0,
    )
    assert process.stderr is not None
    first = process.stderr.readline()
    assert first.startswith("1 of 15 measured: ")
    assert " left" in first
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all that belongs to it
    table, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "Aborted" not in said
    assert "stopped after" in said.splitlines()[-1]
    rows = json.loads(out.read_text())["rows"]
    assert 1 <= len(rows) < 15
    assert rows[0]["targets"]["tmpfs"]["median"] > 0
    assert rows[0]["operation"] in table
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
