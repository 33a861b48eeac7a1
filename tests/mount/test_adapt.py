"""Adaptation on a real mount: eight writers in one file make it `ranged`, once, and no byte is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .mounting import K42Mount

WRITERS = 8
STRIDE = 1 << 16
WRITER = f"""
import os, sys
path, number, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
import time
fd, end, turn = os.open(path, os.O_RDWR), time.monotonic() + seconds, 0
while time.monotonic() < end:
    turn += 1
    data = bytes([number + 1]) * 4095 + bytes([turn % 256])
    assert os.pwrite(fd, data, number * {STRIDE}) == 4096
    assert os.pread(fd, 4096, number * {STRIDE}) == data
os.close(fd)
"""


def load(path: Path, seconds: float) -> None:
    """Let eight processes write and read back places of their own in one file."""
    path.write_bytes(bytes(WRITERS * STRIDE))
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(number), str(seconds)])
        for number in range(WRITERS)
    ]
    assert [writer.wait(timeout=60) for writer in writers] == [0] * WRITERS


def decisions(mount: K42Mount) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((mount.path / ".k42" / "adapt.json").read_text())["decisions"]
    return found


def test_a_file_that_many_write_becomes_ranged_once(new_mount: Callable[..., K42Mount]) -> None:
    mount = new_mount("model=full,processors=8,adapt=act")
    load(mount.path / "shared", 6)
    mine = [each for each in decisions(mount) if each["kind"] == "ServerFile"]
    assert [(each["rule"], each["from"], each["to"], each["outcome"]) for each in mine] == [
        ("many-writers", "shared", "ranged", "completed")
    ]
    assert mine[0]["figures"]["writers"] >= 2
    assert mine[0]["figures"]["contentions"] >= 30
    data = (mount.path / "shared").read_bytes()
    assert [data[number * STRIDE] for number in range(WRITERS)] == [number + 1 for number in range(WRITERS)]
    shown = (mount.path / ".k42" / "adapt").read_text()
    assert shown.startswith("mode act, ")
    assert "many-writers" in shown
    mount.stop()


def test_advice_changes_nothing_and_the_mode_can_be_changed_in_use(
    new_mount: Callable[..., K42Mount],
) -> None:
    mount = new_mount("model=full,processors=8,adapt=advise")
    adapt = mount.path / ".k42" / "adapt"
    load(mount.path / "shared", 5)
    assert {each["outcome"] for each in decisions(mount)} == {"advised"}
    adapt.write_text("off\n")
    before = len(decisions(mount))
    load(mount.path / "shared", 3)
    assert len(decisions(mount)) == before
    with pytest.raises(OSError, match="Invalid argument"):
        adapt.write_text("sometimes\n")
    assert adapt.read_text().startswith("mode off")
    mount.stop()


def test_an_idle_mount_ends_no_windows(new_mount: Callable[..., K42Mount]) -> None:
    mount = new_mount("adapt=act")
    path = mount.path / ".k42" / "adapt.json"
    os.stat(mount.path)
    time.sleep(1.2)
    windows = json.loads(path.read_text())["windows"]
    time.sleep(2.5)
    assert json.loads(path.read_text())["windows"] <= windows + 1, "only our own look brings a window about"
    mount.stop()
