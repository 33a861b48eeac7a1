"""Symbolic links: content, length, loops."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from .support import fails, names, write


@pytest.mark.parametrize("length", [1, 59, 60, 61, 255, 1023, 4094, 4095])
def test_a_link_holds_any_text_up_to_4095_bytes(target: Path, length: int) -> None:
    text = (b"\xff/b" * length)[:length]
    path = os.fsencode(target / "link")
    os.symlink(text, path)
    assert os.readlink(path) == text
    assert os.lstat(path).st_size == length
    assert stat.S_ISLNK(os.lstat(path).st_mode)


def test_a_longer_link_is_refused(target: Path) -> None:
    with fails(errno.ENAMETOOLONG):
        os.symlink("x" * 4096, target / "link")
    with fails(errno.ENOENT):
        os.symlink("", target / "link")
    assert not names(target)


def test_links_lead_relative_absolute_and_upwards(target: Path) -> None:
    (target / "a" / "b").mkdir(parents=True)
    write(target / "a" / "file", b"data")
    (target / "a" / "b" / "up").symlink_to("../file")
    (target / "a" / "b" / "absolute").symlink_to(target / "a" / "file")
    (target / "dir").symlink_to("a/b/")
    assert (target / "dir" / "up").read_bytes() == b"data"
    assert (target / "dir" / "absolute").read_bytes() == b"data"
    write(target / "dir" / "made", b"through a link")
    assert (target / "a" / "b" / "made").read_bytes() == b"through a link"


def test_loops_and_chains_beyond_forty_give_eloop(target: Path) -> None:
    (target / "self").symlink_to("self")
    (target / "one").symlink_to("two")
    (target / "two").symlink_to("one")
    for name in ("self", "one", "two", "one/x"):
        with fails(errno.ELOOP):
            os.stat(target / name)
    write(target / "link-0", b"end")
    for number in range(1, 42):
        (target / f"link-{number}").symlink_to(f"link-{number - 1}")
    assert (target / "link-40").read_bytes() == b"end"
    with fails(errno.ELOOP):
        os.stat(target / "link-41")


def test_operations_on_the_link_leave_its_goal(target: Path) -> None:
    path = write(target / "file", b"data")
    link = target / "link"
    link.symlink_to("file")
    os.chown(link, 1, 2, follow_symlinks=False)
    assert (link.lstat().st_uid, link.lstat().st_gid) == (1, 2)
    assert path.stat().st_uid == 0
    link.rename(target / "renamed")
    (target / "renamed").unlink()
    assert path.read_bytes() == b"data"


def test_a_link_has_all_mode_bits_and_reading_a_file_as_link_fails(target: Path) -> None:
    path = write(target / "file")
    (target / "link").symlink_to("file")
    assert (target / "link").lstat().st_mode == stat.S_IFLNK | 0o777
    with fails(errno.EINVAL):
        os.readlink(path)
    with fails(errno.EEXIST):
        (target / "link").symlink_to("other")


def test_replacing_a_link_is_seen_at_once(target: Path) -> None:
    for number in range(50):
        write(target / str(number), b"%d" % number)
        (target / "new").symlink_to(str(number))
        (target / "new").rename(target / "current")
        assert os.readlink(target / "current") == str(number)
        assert (target / "current").read_bytes() == b"%d" % number
