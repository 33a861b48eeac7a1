"""Reports of a mount without a model: its times are the host's, and are never called cycles."""

from pathlib import Path

import pytest

from tests.machine.tracing.lab import HandTrace
from tests.report.lab import call, request, run, said

HZ = 2 * 10**9
NOTE = "the mount had no model (model=off): times are the host's"
REPORTS = (
    ("requests",),
    ("requests", "--hist"),
    ("calls",),
    ("calls", "-c"),
    ("calls", "--hist"),
    ("calls", "--tree"),
    ("time",),
    ("locks",),
    ("c2c",),
)
WHY = {"locks": "no time passes in which a lock could be waited for", "c2c": "there are no caches"}


def recorded(directory: Path, model: str) -> Path:
    trace = HandTrace(directory, ticks_per_second=HZ, env={"model": model})
    trace.event(0, 0, "control_heartbeat", 0, 0, 0)
    request(trace, 0, 1000, 9000, 1, 1, 1, 7, wall=10**18, wall_ns=4100)
    call(trace, 0, 2000, 8000, 7, 1, 1)
    trace.event(0, 9500, "lock_site", 1, 1)
    return trace.close()


@pytest.mark.parametrize("words", REPORTS)
def test_without_a_model_nothing_is_in_cycles(tmp_path: Path, words: tuple[str, ...]) -> None:
    off = recorded(tmp_path / "off", "off")
    result = run(*words, off)
    assert result.exit_code == 0, result.output
    assert "cycles" not in result.output
    assert NOTE in result.stderr
    assert WHY.get(words[0], "") in result.stderr
    about = said(*words, off)
    assert NOTE in about["notes"]
    assert not [
        key
        for rows in about.values()
        for row in rows
        if isinstance(row, dict)
        for key in row
        if "cycles" in key
    ]
    full = run(*words, recorded(tmp_path / "full", "full"))
    assert NOTE not in full.stderr


def test_times_of_the_host_are_in_nanoseconds(tmp_path: Path) -> None:
    off = recorded(tmp_path / "off", "off")
    assert [row["ns"] for row in said("calls", "--tree", off)["tree"]] == [4000, 3000]
    (row,) = said("calls", off)["methods"]
    assert row["self_ns"] == 3000
    assert [row["from_ns"] for row in said("calls", "--hist", off)["histogram"]] == [2048]
    (row,) = [row for row in said("time", off)["bills"] if row["mode"] == "SClookup"]
    assert row["ns"] == 4000
    shown = run("time", off)
    assert "SClookup" in shown.stdout
    assert "1 processors x 4,500 ns = 4,500 ns, billed 4,500" in shown.stderr
    assert sum(row["in_percent"] for row in said("time", off)["programs"]) == pytest.approx(100)


def test_a_recording_with_a_model_is_not_compared_in_time_with_one_without(tmp_path: Path) -> None:
    off, full = recorded(tmp_path / "off", "off"), recorded(tmp_path / "full", "full")
    about = said("diff", full, off)
    assert not [row for rows in about.values() for row in rows if isinstance(row, dict)]
    assert any("cannot be compared" in note for note in about["notes"])
