"""Another implementation for what is in use, asked for by hand: by attribute, by `.k42`, by command; nobody notices."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .mounting import K42Mount, k42fs
from .support import fails

IMPL = "user.k42.impl"
WRITERS = 8
WRITER = """
import os, sys
directory, number, files = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for i in range(files):
    path = os.path.join(directory, f"{number}.{i}")
    with open(path, "xb") as file:
        file.write(path.encode())
    if i % 3 == 0:
        os.rename(path, path + ".new")
    elif i % 3 == 1:
        os.unlink(path)
    assert os.path.exists(path) == (i % 3 == 2)
"""


def writers(directory: Path, files: int) -> list[subprocess.Popen[bytes]]:
    """Start eight processes that make, rename and remove names of their own in one directory."""
    return [
        subprocess.Popen([sys.executable, "-c", WRITER, str(directory), str(number), str(files)])
        for number in range(WRITERS)
    ]


def left_by_writers(files: int) -> set[str]:
    """Return the names they leave."""
    numbers = [(number, i) for number in range(WRITERS) for i in range(files)]
    return {f"{n}.{i}.new" if i % 3 == 0 else f"{n}.{i}" for n, i in numbers if i % 3 != 1}


def about(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(os.getxattr(path, "user.k42.object"))
    return found


def test_a_directory_is_swapped_there_and_back_under_load(new_mount: Callable[..., K42Mount]) -> None:
    mount = new_mount("model=full,processors=8")
    directory = mount.path / "shared"
    directory.mkdir()
    files = 60
    started = writers(directory, files)
    turns = 0
    while any(writer.poll() is None for writer in started):
        turns += 1
        name = ("distributed", "locked")[turns % 2]
        os.setxattr(directory, IMPL, name.encode())
        assert os.getxattr(directory, IMPL) == name.encode()
    assert [writer.wait() for writer in started] == [0] * WRITERS
    assert turns > 4
    assert set(os.listdir(directory)) == left_by_writers(files)
    swaps = about(directory)["swaps"]
    assert {swap["state"] for swap in swaps} == {"completed"}
    for name in left_by_writers(files):
        assert (directory / name).read_bytes() == str(directory / name.removesuffix(".new")).encode()


def test_what_cannot_be_is_refused_and_changes_nothing(new_mount: Callable[..., K42Mount]) -> None:
    mount = new_mount("model=off,processors=2")
    directory, file, link = (mount.path / name for name in ("directory", "file", "link"))
    directory.mkdir()
    file.write_bytes(b"data")
    link.symlink_to("file")
    for path, name in ((directory, b"ranged"), (file, b"distributed"), (directory, b""), (file, b"\xff")):
        with fails(errno.EINVAL):
            os.setxattr(path, IMPL, name)
    swap = mount.path / ".k42" / "swap"
    for command, code in (
        ("DirObject", errno.EINVAL),
        ("DirObject nonsense", errno.EINVAL),
        ("1 2 3 4", errno.EINVAL),
        ("Dir locked", errno.EINVAL),
        ("1 locked", errno.EOPNOTSUPP),  # the object manager itself
        ("123456789 locked", errno.ESTALE),
    ):
        with fails(code):
            swap.write_text(command + "\n")
    assert json.loads((mount.path / ".k42" / "swap.json").read_text())["completed"] == 0
    assert os.getxattr(file, IMPL) == b"shared"
    os.setxattr(file, IMPL, b"shared")  # no change is none
    assert json.loads((mount.path / ".k42" / "swap.json").read_text())["started"] == 0


def test_a_cold_file_gets_an_object_of_the_wanted_kind(new_mount: Callable[..., K42Mount]) -> None:
    mount = new_mount("model=full,processors=2")
    os.mknod(mount.path / "cold")
    (mount.path / "directory").mkdir()
    assert os.getxattr(mount.path / "cold", IMPL) == b"token"
    os.setxattr(mount.path / "cold", IMPL, b"ranged")
    os.setxattr(mount.path / "directory", IMPL, b"distributed")
    assert os.getxattr(mount.path / "cold", IMPL) == b"ranged"
    assert about(mount.path / "directory")["implementation"] == "distributed"
    assert about(mount.path / "directory")["implementations"] == ["distributed", "locked"]
    (mount.path / "cold").write_bytes(b"warm")
    assert (mount.path / "cold").read_bytes() == b"warm"


def test_the_policy_of_new_objects_is_read_and_set(new_mount: Callable[..., K42Mount]) -> None:
    mount = new_mount("model=off,processors=2,policy=linux-like")
    policy = mount.path / ".k42" / "policy"
    before = json.loads((mount.path / ".k42" / "policy.json").read_text())
    assert (before["name"], before["renames"]) == ("linux-like", "serial")
    for name, kind, wanted in (
        (b"DirObject=nothing", errno.EINVAL, b"locked"),
        (b"DirObject", errno.EINVAL, b"locked"),
        (b"Mount=single", errno.ENODATA, b"locked"),
        (b"DirObject=distributed", 0, b"distributed"),
    ):
        if kind:
            with fails(kind):
                policy.write_bytes(name)
        else:
            policy.write_bytes(name)
        directory = mount.path / name.decode().replace("=", "-")
        directory.mkdir()
        (directory / "file").touch()
        assert os.getxattr(directory, IMPL) == wanted
    assert "DirObject=distributed\n" in policy.read_text()


def test_a_policy_of_ones_own_serves_a_mount(new_mount: Callable[..., K42Mount], tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(
        '[objects]\nDirObject = "distributed"\nServerFile = "ranged"\nFileCache = "partitioned"\n'
    )
    mount = new_mount(f"model=full,processors=8,policy={mine}")
    directory = mount.path / "shared"
    directory.mkdir()
    assert [writer.wait(timeout=120) for writer in writers(directory, 40)] == [0] * WRITERS
    assert set(os.listdir(directory)) == left_by_writers(40)
    assert os.getxattr(directory, IMPL) == b"distributed"
    assert os.getxattr(directory / "0.2", IMPL) == b"ranged"


@pytest.mark.parametrize(
    ("policy", "complaint"),
    [("linux", "policy=linux: unknown"), ("/nowhere.toml", "policy=/nowhere.toml: cannot be read")],
)
def test_a_policy_that_cannot_be_is_refused_before_mounting(
    policy: str, complaint: str, tmp_path: Path
) -> None:
    done = k42fs("mount", "-o", f"policy={policy}", str(tmp_path))
    assert done.status != 0
    assert complaint in done.errors


def test_the_commands_swap_and_show(new_mount: Callable[..., K42Mount]) -> None:
    mount = new_mount("model=full,processors=4")
    directory = mount.path / "d"
    directory.mkdir()
    (directory / "file").write_bytes(b"data")
    assert "is served by distributed" in k42fs("swap", "--wait", str(directory), "distributed").output
    shown = k42fs("objects", str(directory)).output
    assert "implementation   distributed" in shown
    assert "locked  distributed  completed" in " ".join(shown.split()).replace(" ", "  ")
    assert "last swap: began at cycle" in shown
    assert "already" in k42fs("swap", str(directory), "distributed").output
    assert "being swapped for locked" in k42fs("swap", str(directory), "locked").output
    done = k42fs("swap", "--wait", "-m", str(mount.path), "DirObject", "distributed")
    assert "every DirObject is served by distributed" in done.output
    assert os.getxattr(mount.path, IMPL) == os.getxattr(directory, IMPL) == b"distributed"
    for words in (("Dir", "locked", "-m", str(mount.path)), (str(directory), "ranged")):
        refused = k42fs("swap", *words)
        assert refused.status != 0
        assert "one of DirObject" in refused.errors or "no implementation 'ranged'" in refused.errors
    text = (mount.path / ".k42" / "swap").read_text()
    assert "DirObject: distributed locked\n" in text
    assert (directory / "file").read_bytes() == b"data"
