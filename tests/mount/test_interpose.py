"""Arbiters before the objects of a live mount, by control file and by command."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .mounting import K42Mount, k42fs
from .support import fails
from .test_swap_by_hand import IMPL, WRITERS, about, left_by_writers, writers


def shown(mount: K42Mount) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((mount.path / ".k42" / "interpose.json").read_text())
    return found


def interpose(*words: str | Path) -> str:
    done = k42fs("interpose", *words)
    assert done.status == 0, done.errors
    return done.output


def test_calls_are_counted_measured_and_let_alone_again(new_mount: Callable[..., K42Mount]) -> None:
    mount = new_mount("model=full,processors=2")
    place = mount.path / "d"
    place.mkdir()
    (place / "file").write_text("x")
    assert interpose("attach", "--to", "DirObject", "-m", mount.path, "count") == (
        "arbiter 1, count, is before type DirObject\n"
    )
    interpose("attach", "--to", "ServerFile", "-m", mount.path, "latency")
    for number in range(5):
        (place / f"new{number}").write_text("data")
    counter, histogram = shown(mount)
    assert counter["report"]["methods"]["create"] == 5
    assert sum(histogram["report"]["write"].values()) == 5
    text = interpose("show", mount.path)
    assert "create" in text
    assert "cycles per call" in text
    assert interpose("release", "-m", mount.path, "all") == "released 1, 2\n"
    (place / "after").write_text("data")
    assert shown(mount) == []
    assert (place / "new4").read_text() == "data"
    mount.stop()


def test_a_fault_is_answered_and_nothing_else_happens(new_mount: Callable[..., K42Mount]) -> None:
    mount = new_mount("model=calls")
    file, other = mount.path / "file", mount.path / "other"
    file.write_text("before")
    other.write_text("before")
    with file.open("r+b", buffering=0) as opened:
        interpose("attach", "--to", file, "fault", "ENOSPC", "write")
        with fails(errno.ENOSPC):
            opened.write(b"after")
        assert file.read_text() == "before"
        other.write_text("after")
        assert shown(mount)[0]["report"]["hits"] == 1
        interpose("release", "-m", mount.path, "1")
        opened.write(b"after!")
    assert (file.read_text(), other.read_text()) == ("after!", "after")
    mount.stop()


def test_arbiters_before_one_object_are_released_last_one_first(new_mount: Callable[..., K42Mount]) -> None:
    mount = new_mount("model=off")
    interpose("attach", "--to", "DirObject", "-m", mount.path, "count")
    interpose("attach", "--to", "DirObject", "-m", mount.path, "delay", "10")
    os.listdir(mount.path)
    done = k42fs("interpose", "release", "-m", mount.path, "1")
    assert done.status == 1
    assert "later" in done.errors
    interpose("release", "-m", mount.path, "2")
    interpose("release", "-m", mount.path, "1")
    mount.stop()


def test_what_has_arbiters_is_swapped_under_load_and_keeps_them(new_mount: Callable[..., K42Mount]) -> None:
    mount = new_mount("model=full,processors=8,adapt=off")
    directory = mount.path / "shared"
    directory.mkdir()
    interpose("attach", "--to", "DirObject", "-m", mount.path, "count")
    interpose("attach", "--to", "all", "-m", mount.path, "latency")
    files, turns = 30, 0
    started = writers(directory, files)
    while any(writer.poll() is None for writer in started):
        turns += 1
        name = ("distributed", "locked")[turns % 2]
        os.setxattr(directory, IMPL, name.encode())
        assert os.getxattr(directory, IMPL) == name.encode()
    assert [writer.wait() for writer in started] == [0] * WRITERS
    assert turns > 4
    assert set(os.listdir(directory)) == left_by_writers(files)
    counter, _ = shown(mount)
    assert counter["report"]["methods"]["create"] == WRITERS * files, "each was put to it once"
    assert {swap["state"] for swap in about(directory)["swaps"]} == {"completed"}
    assert "call counter before" in k42fs("objects", directory).output
    interpose("release", "-m", mount.path, "all")
    assert shown(mount) == []
    mount.stop()


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("count", errno.EINVAL),
        ("count to none", errno.EINVAL),
        ("sing to all", errno.EINVAL),
        ("fault EWHAT to all", errno.EINVAL),
        ("delay 5 2.5 to all", errno.EINVAL),
        ("count to ref 99999999", errno.ESTALE),
        ("release 7", errno.ENODATA),
        ("release", errno.EINVAL),
    ],
)
def test_a_bad_command_changes_nothing(target: Path, command: str, code: int) -> None:
    control = next(parent / ".k42" for parent in target.parents if (parent / ".k42").exists())
    with fails(code):
        (control / "interpose").write_text(command + "\n")
    assert json.loads((control / "interpose.json").read_text()) == []
