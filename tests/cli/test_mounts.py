"""Reading the mount list, and the helper that mount(8) calls."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from k42fs.cli import mounting
from k42fs.cli.mount_helper import helper_text, parse
from k42fs.cli.mounts import MountEntry, mount_entries
from k42fs.errors import InvalidArgumentError


def test_the_mount_list_is_unescaped(tmp_path: Path) -> None:
    table = tmp_path / "mounts"
    table.write_text("k42fs /a\\040b\\134c fuse.k42fs rw,user_id=0 0 0\nnone /x tmpfs rw 0 0\n")
    first, second = mount_entries(table)
    assert (first.path, first.is_k42fs, second.is_k42fs) == ("/a b\\c", True, False)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["none", "/m"], ("/m", [])),
        (["none", "/m", "-o", "rw,processors=4"], ("/m", ["rw,processors=4"])),
        (["none", "/m", "-n", "-r", "-t", "fuse.k42fs"], ("/m", ["ro"])),
    ],
)
def test_the_helper_understands_how_mount_calls_it(words: list[str], expected: tuple[str, list[str]]) -> None:
    assert parse(words) == expected


@pytest.mark.parametrize("words", [[], ["none"], ["none", "/m", "more"], ["none", "/m", "-o"]])
def test_the_helper_refuses_other_calls(words: list[str]) -> None:
    with pytest.raises(InvalidArgumentError):
        parse(words)


def test_the_helper_enters_this_installation() -> None:
    assert helper_text().startswith("#!/bin/sh\nexec ")


def test_only_so_many_logs_of_ended_mounts_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(mounting, "mount_entries", lambda: [MountEntry("k42fs", "/m/0", "fuse.k42fs", "rw")])
    folder = tmp_path / "k42fs"
    folder.mkdir()
    for number in range(30):
        path = folder / f"m-{number}.log"
        path.write_text("log")
        os.utime(path, (number, number))
    assert mounting.default_log("/m/new") == str(folder / "m-new.log")
    kept = {path.name for path in folder.iterdir()}
    assert kept == {"m-0.log", *(f"m-{number}.log" for number in range(10, 30))}
