"""The tables of the statistics: what they show, and that they fit."""

from __future__ import annotations

from typing import Any

import pytest

from k42fs.cli.showing import stats_text
from k42fs.personality import control_text

MISSES = ("cold", "capacity", "true_sharing", "false_sharing", "upgrade")


def row(vp: int, model: str) -> dict[str, Any]:
    """A processor after hours of work."""
    counts: dict[str, Any] = {
        "vp": vp,
        "operations": 1_234_567,
        "calls": 7_654_321,
        "work_cycles": 9_876_543_210,
        "spin_cycles": 0 if model == "calls" else 1_234_567_890,
        "utilisation": 1.0,
    }
    if model == "full":
        counts |= {
            "memory_cycles": 9_876_543_210,
            "loads": 60_000_000,
            "stores": 30_000_000,
            "rmws": 10_000_000,
        }
        counts["misses"] = dict.fromkeys(MISSES, 1_234_567)
    return counts


def parts(model: str = "full", processors: int = 4) -> dict[str, Any]:
    lock = {"object": "MountPointMgr 524289", "lock": "dirlock", "kind": "RWLock"}
    counts = dict.fromkeys(control_text.LOCK_COUNTS, 0) | {"acquisitions": 12_345_678}
    if model == "full":
        counts = dict.fromkeys(control_text.LOCK_COUNTS, 123_456_789_012)
    line = {"object": "SingleRepRoot 1048576", "field": "contents", "address": 0x3000000007400}
    return {
        "processors": {
            "machine": "dir-1024",
            "model": model,
            "processors": processors,
            "mhz": 2000,
            "since_cycle": 0,
            "now_cycles": 12_345_678_901,
            "late_arrivals": 2_400_000 if model == "full" else 0,
            "per_processor": [row(0, model), row(1, model)][:processors],
        },
        "locks": [lock | counts] if model != "off" else [],
        "lines": [line | {"transfers": 1_234_567, "processors": [0, 1, 3]}] if model == "full" else [],
    }


@pytest.mark.parametrize("columns", [80, 100, 132, 200])
def test_every_table_fits_the_screen(columns: int) -> None:
    text = stats_text(parts(), columns)
    assert max(map(len, text.splitlines())) <= columns
    for title in ("requests", "util", "references", "upgrade", "waited-cycles", "transfers"):
        assert title in text
    assert ("held-cycles" in text) is (columns > 100)


def test_a_wide_screen_shows_one_row_for_each_processor() -> None:
    assert "# references and misses" in stats_text(parts(), 80)
    wide = stats_text(parts(), 200)
    assert "# references and misses" not in wide
    assert sum(line.startswith(" 0 ") for line in wide.splitlines()) == 1


def test_late_references_are_said_with_their_base_and_share() -> None:
    assert "# 2,400,000 of 200,000,000 references (1.2%) came too late" in stats_text(parts(), 200)


def test_a_model_shows_only_what_it_knows() -> None:
    calls = stats_text(parts("calls"), 80)
    for unknown in (
        "util",
        "busy-cycles",
        "references",
        "miss",
        "contended",
        "waited",
        "object",
        "lines",
        "late",
    ):
        assert unknown not in calls
    assert "kind" in calls
    assert stats_text(parts("off"), 80).count("\n") == 1


@pytest.mark.parametrize(("processors", "text"), [(1, " 1 processor at "), (4, " 4 processors at ")])
def test_one_is_not_many(processors: int, text: str) -> None:
    assert text in stats_text(parts(processors=processors), 80)


def test_a_flag_is_written_as_in_json() -> None:
    assert control_text.keys_and_values({"acl": False, "nonempty": True, "log": None}) == (
        "acl=false\nnonempty=true\nlog=\n"
    )
