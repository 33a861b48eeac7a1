"""A whole system in virtual time: one seed makes one run, to the byte, in whatever process it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers.workload import PROCESSORS, Run

ROOT = Path(__file__).resolve().parents[2]


def _in_a_process(seed: int, hash_seed: int) -> bytes:
    return subprocess.run(
        [sys.executable, "-m", "tests.servers.workload", str(seed)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=True,
    ).stdout


@pytest.fixture(scope="module")
def counted() -> dict[str, Any]:
    return Run(7).run()


def test_the_run_uses_all_of_the_floor(counted: dict[str, Any]) -> None:
    outcomes = counted["outcomes"]
    used = [
        "write",
        "read",
        "names",
        "move",
        "links",
        "directory",
        "status",
        "attach",
        "bind",
        "detach",
        "ended",
    ]
    assert {kind for kind in used if outcomes.get(kind, 0) < 3} == set()
    assert any(":" in kind for kind in outcomes), "nothing was ever refused"
    statistics = counted["statistics"]
    rows = statistics["per_processor"]
    assert len(rows) == PROCESSORS
    for row in rows:
        assert row["calls"] > 0
        assert row["misses"]["cold"] > 0
        assert row["misses"]["true_sharing"] > 0
    assert sum(lock["contentions"] for lock in statistics["locks"]) > 0
    assert any(len(line["processors"]) == PROCESSORS for line in statistics["lines"])
    assert {"MountPointMgr.publish", "DirObject.lookup", "ServerFile.write"} <= statistics["calls"].keys()


def test_a_second_run_in_the_same_process_is_the_same_to_the_byte(counted: dict[str, Any]) -> None:
    assert json.dumps(Run(7).run()) == json.dumps(counted)


def test_processes_with_other_hash_seeds_print_the_same_bytes(counted: dict[str, Any]) -> None:
    outputs = {_in_a_process(7, hash_seed) for hash_seed in (0, 1, 4242)}
    assert len(outputs) == 1
    assert json.loads(outputs.pop()) == json.loads(json.dumps(counted))


def test_another_seed_makes_another_run(counted: dict[str, Any]) -> None:
    assert Run(8).run()["events"] != counted["events"]
