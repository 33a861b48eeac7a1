"""Reading the mount list, and the helper that mount(8) calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from k42fs.cli.mount_helper import helper_text, parse
from k42fs.cli.mounts import mount_entries
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
