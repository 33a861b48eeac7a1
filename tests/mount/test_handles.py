"""Who has which files open, on a live mount: by control file and by command, also when the opener has died."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from .mounting import K42Mount, k42fs


def shown(mount: K42Mount) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((mount.path / ".k42" / "handles.json").read_text())["open"]
    return found


def test_a_file_is_shown_with_its_clients_until_it_is_closed(new_mount: Callable[..., K42Mount]) -> None:
    mount = new_mount("model=off")
    file = mount.path / "file"
    file.write_text("text")
    with file.open() as reader, file.open("a") as writer:
        rows = [row for row in shown(mount) if row["file"] == "/file"]
        assert sorted(row["rights"] for row in rows) == ["r", "w"]
        assert {row["client"] for row in rows} == {os.getpid()}
        assert not reader.closed
        assert not writer.closed
        done = k42fs("objects", file)
        assert done.status == 0, done.errors
        assert f"{os.getpid()}" in done.output
        text = (mount.path / ".k42" / "handles").read_text()
        assert text.splitlines()[1].split() == ["handle", "program", "client", "rights", "seconds", "file"]
        assert text.count("/file") == 2
    end = time.monotonic() + 10
    while any(row["file"] == "/file" for row in shown(mount)):  # the kernel gives handles back a little later
        assert time.monotonic() < end
    mount.stop()


def test_what_a_child_inherited_outlives_the_client_that_opened_it(
    new_mount: Callable[..., K42Mount],
) -> None:
    mount = new_mount("model=off")
    file = mount.path / "log"
    file.write_text("")
    go, told = os.pipe()
    opener = os.fork()
    if opener == 0:
        opened = os.open(file, os.O_WRONLY | os.O_APPEND)
        if os.fork() == 0:  # the heir writes when it is told to
            os.read(go, 1)
            os.write(opened, b"from the heir")
            os._exit(0)
        os._exit(0)
    assert os.waitpid(opener, 0)[1] == 0
    (row,) = [row for row in shown(mount) if row["file"] == "/log"]
    assert (row["client"], row["opened_by"], row["rights"]) == (None, opener, "w")
    assert "gone" in (mount.path / ".k42" / "handles").read_text()
    os.write(told, b"x")
    end = time.monotonic() + 10
    while any(row["file"] == "/log" for row in shown(mount)):
        assert time.monotonic() < end
    assert file.read_text() == "from the heir"
    mount.stop()


def test_a_client_that_is_killed_leaves_no_handle(new_mount: Callable[..., K42Mount]) -> None:
    mount = new_mount("model=off")
    ready, tell = os.pipe()
    victim = os.fork()
    if victim == 0:
        for number in range(40):
            os.open(mount.path / f"file{number}", os.O_RDWR | os.O_CREAT, 0o644)
        os.write(tell, b"x")
        signal.pause()
    os.read(ready, 1)
    assert sum(row["client"] == victim for row in shown(mount)) == 40
    os.kill(victim, signal.SIGKILL)
    os.waitpid(victim, 0)
    end = time.monotonic() + 10
    while any(row["opened_by"] == victim for row in shown(mount)):
        assert time.monotonic() < end
    mount.stop()
