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


def small_files(folder: Path, seconds: float) -> None:
    """Make, write, read and remove small files, one after the other, for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        path = folder / "small"
        path.write_bytes(b"x" * 3000)
        assert path.read_bytes() == b"x" * 3000
        path.unlink()


def test_new_files_are_what_suits_small_ones_of_one_client(new_mount: Callable[..., K42Mount]) -> None:
    mount = new_mount("model=full,processors=4,adapt=act")
    small_files(mount.path, 5)
    (decision,) = (each for each in decisions(mount) if each["rule"] == "small-file" and each["ref"] == 0)
    assert (decision["from"], decision["to"], decision["outcome"]) == ("shared", "exclusive", "chosen")
    figures = decision["figures"]
    assert figures["sampled"] >= figures["agreeing"] >= 8
    assert figures["reads"] >= 8
    assert figures["writes"] >= 8
    assert (figures["most_clients"], figures["length"]) == (1, 3000)
    (mount.path / "next").write_bytes(b"y")
    assert os.getxattr(mount.path / "next", "user.k42.impl") == b"exclusive"
    assert "new ServerFiles" in (mount.path / ".k42" / "adapt").read_text()
    log = mount.log.read_text()
    assert "adaptation: new ServerFiles from shared to exclusive by rule small-file, chosen: " in log
    assert f"sampled={figures['sampled']:.0f}" in log
    mount.stop()


def test_a_file_that_was_shared_is_given_back_to_the_one_who_is_left(
    new_mount: Callable[..., K42Mount], tmp_path: Path
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(BACK)
    mount = new_mount(f"model=full,processors=8,adapt=act,adapt_rules={rules}")
    path = mount.path / "shared"
    load(path, 4)
    with path.open("r+b", buffering=0) as file:
        file.truncate(4096)
        for turn in range(80):
            os.pwrite(file.fileno(), bytes([turn]) * 4096, 0)
            assert os.pread(file.fileno(), 4096, 0) == bytes([turn]) * 4096
            time.sleep(0.1)
    found = [(each["rule"], each["to"], each["outcome"]) for each in reversed(decisions(mount))]
    assert found == [
        ("many-write", "ranged", "completed"),
        ("few-left", "shared", "completed"),
        ("small", "exclusive", "completed"),
    ]
    assert os.getxattr(path, "user.k42.impl") == b"exclusive"
    assert path.read_bytes() == bytes([79]) * 4096
    mount.stop()


def test_programs_notice_nothing_while_everything_changes_at_each_window(
    new_mount: Callable[..., K42Mount], tmp_path: Path
) -> None:
    rounds = {
        "ServerFile": ("shared", "ranged", "exclusive"),
        "FileCache": ("single", "replicated", "partitioned"),
        "DirObject": ("locked", "distributed"),
    }
    rules = tmp_path / "rules.toml"
    rules.write_text(
        "".join(
            f'[[rule]]\nname = "{kind}-{old}"\nkind = "{kind}"\nfrom = ["{old}"]\nto = "{new}"\n'
            "windows = 1\nleast = { calls = 1 }\nnew = 0.1\n"
            for kind, names in rounds.items()
            for old, new in zip(names, (*names[1:], names[0]), strict=True)
        )
    )
    mount = new_mount(f"model=full,processors=8,adapt=act,adapt_rules={rules}")
    makers = [
        subprocess.Popen([sys.executable, "-c", MAKER, str(mount.path), str(number), "7"])
        for number in range(4)
    ]
    load(mount.path / "shared", 7)
    assert [maker.wait(timeout=60) for maker in makers] == [0] * 4
    data = (mount.path / "shared").read_bytes()
    assert [data[number * STRIDE] for number in range(WRITERS)] == [number + 1 for number in range(WRITERS)]
    done = [each for each in decisions(mount) if each["outcome"] == "completed"]
    assert {each["kind"] for each in done} == set(rounds)
    assert len(done) >= 8
    assert any(each["outcome"] == "chosen" for each in decisions(mount))
    mount.stop()


MAKER = """
import os, sys, time
top, number, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
end, turn = time.monotonic() + seconds, 0
kept = os.path.join(top, "kept" + number)
open(kept, "wb").close()
while time.monotonic() < end:
    turn += 1
    path, new = (os.path.join(top, f"{name}{number}") for name in ("old", "new"))
    content = os.urandom(turn % 5 * 4000 + 1)
    with open(path, "wb") as file:
        file.write(content)
    os.rename(path, new)
    with open(new, "rb") as file:
        assert file.read() == content
    with open(kept, "ab") as file:
        file.write(b"x" * 10)
    assert os.stat(kept).st_size == 10 * turn
    os.unlink(new)
"""

BACK = """
[[rule]]
name = "many-write"
kind = "ServerFile"
from = ["shared"]
to = "ranged"
least = { contentions = 20, writers = 2, processors = 2, write_share = 0.2 }

[[rule]]
name = "few-left"
kind = "ServerFile"
from = ["ranged"]
to = "shared"
least = { uses = 1 }
most = { processors = 1, most_clients = 1 }

[[rule]]
name = "small"
kind = "ServerFile"
from = ["shared"]
to = "exclusive"
least = { writes = 1 }
most = { most_clients = 1, length = 16384 }
"""


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
