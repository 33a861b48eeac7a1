"""New code for all files of a live mount: `k42fs update` and `.k42/update`."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .mounting import REPOSITORY, K42Mount, k42fs
from .support import fails

MODULE = REPOSITORY / "docs" / "examples" / "update_server_file.py"
IMPL = "user.k42.impl"
WRITER = """
import os, sys, time
path, end = sys.argv[1], time.monotonic() + float(sys.argv[2])
fd, size = os.open(path, os.O_RDWR | os.O_CREAT, 0o644), 0
while time.monotonic() < end:
    data = bytes([size % 251]) * 100
    assert os.pwrite(fd, data, size) == 100
    size += 100
    assert os.fstat(fd).st_size == size
    assert os.pread(fd, 100, size - 100) == data
print(size)
"""


def test_every_open_file_is_replaced_under_load_and_new_ones_are_new(
    new_mount: Callable[..., K42Mount],
) -> None:
    mount = new_mount("model=full,processors=8")
    cold = mount.path / "cold"
    cold.write_bytes(b"cold")
    paths = [mount.path / f"file{number}" for number in range(8)]
    started = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), "4"], stdout=subprocess.PIPE, text=True)
        for path in paths
    ]
    deadline = time.monotonic() + 20
    while not all(path.exists() for path in paths) and time.monotonic() < deadline:
        time.sleep(0.05)
    done = k42fs("update", "ServerFile", str(MODULE), "-m", str(mount.path))
    assert (done.status, done.errors) == (0, "")
    assert "every ServerFile is second, version 2: 9 of 9 replaced" in done.output
    assert {os.getxattr(path, IMPL) for path in (*paths, cold)} == {b"second"}
    assert "implementation   second" in k42fs("objects", str(paths[0])).output
    (mount.path / "new").write_bytes(b"new")
    assert os.getxattr(mount.path / "new", IMPL) == b"second"
    for path, writer in zip(paths, started, strict=True):
        output, _ = writer.communicate(timeout=60)
        assert writer.returncode == 0
        assert path.stat().st_size == int(output)
    assert cold.read_bytes() == b"cold"
    shown = json.loads((mount.path / ".k42" / "update.json").read_text())
    assert shown["versions"]["ServerFile"] == 2
    assert [(each["is_done"], each["failures"]) for each in shown["updates"]] == [(True, [])]
    assert "ServerFile=2\n" in (mount.path / ".k42" / "update").read_text()


def test_a_module_may_lie_in_the_mount_and_have_any_name(new_mount: Callable[..., K42Mount]) -> None:
    mount = new_mount("model=off,processors=2")
    inside = mount.path / "my module.py"
    shutil.copy(MODULE, inside)
    done = k42fs("update", "ServerFile", str(inside), "-m", str(mount.path))
    assert (done.status, done.errors) == (0, "")
    assert os.getxattr(inside, IMPL) == b"second"
    with fails(errno.EINVAL):  # the daemon itself would wait for its own answer
        (mount.path / ".k42" / "update").write_text(
            f"ServerFile {inside.name.replace(' ', chr(92) + '040')}\n"
        )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("nonsense(", "SyntaxError"),
        ("REPLACEMENT = 3", "REPLACEMENT"),
        (MODULE.read_text().replace("version=2", "version=5"), "the next is 2"),
        (MODULE.read_text().replace('kind="ServerFile"', 'kind="DirObject"'), "another type than ServerFile"),
    ],
)
def test_a_module_that_does_not_fit_changes_nothing(
    new_mount: Callable[..., K42Mount], tmp_path: Path, text: str, complaint: str
) -> None:
    mount = new_mount("model=off,processors=2")
    (mount.path / "file").write_bytes(b"data")
    module = tmp_path / "module.py"
    module.write_text(text)
    done = k42fs("update", "ServerFile", str(module), "-m", str(mount.path))
    assert done.status != 0
    assert complaint in done.errors
    assert os.getxattr(mount.path / "file", IMPL) == b"shared"
    assert json.loads((mount.path / ".k42" / "update.json").read_text())["versions"]["ServerFile"] == 1


def test_commands_that_mean_nothing_are_refused(new_mount: Callable[..., K42Mount]) -> None:
    mount = new_mount("model=off,processors=2")
    update = mount.path / ".k42" / "update"
    for command, code in (
        ("ServerFile", errno.EINVAL),
        (f"ServerFile {MODULE} later", errno.EINVAL),
        ("ServerFile relative.py", errno.EINVAL),
        ("ServerFile /nowhere/at/all.py", errno.EINVAL),
    ):
        with fails(code):
            update.write_text(command + "\n")
    assert json.loads((mount.path / ".k42" / "update.json").read_text())["updates"] == []
