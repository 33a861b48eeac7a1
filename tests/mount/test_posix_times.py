"""File times: how they are set, and which operation moves which."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .probes import keeps_relatime
from .support import fails, opened, tick, write
from .syscalls import AT_SYMLINK_NOFOLLOW, UTIME_NOW, UTIME_OMIT, utimensat

OLD = 1_000_000_000  # 2001: long before every test
# "Now" may come from the kernel and other stamps from a server; the kernel's clock for files is a tick behind.
TICK_NS = 10_000_000


def test_times_keep_nanoseconds(target: Path) -> None:
    path = write(target / "file")
    for atime, mtime in ((1, 999_999_999), (1_234_567_890_123_456_789, 987_654_321), (0, 0)):
        os.utime(path, ns=(atime, mtime))
        status = path.stat()
        assert (status.st_atime_ns, status.st_mtime_ns) == (atime, mtime)


def test_times_before_1970_and_after_2038_are_kept(target: Path) -> None:
    path = write(target / "file")
    for seconds in (-1, -1_000_000_000, 2**31 + 5, 2**32 + 5):
        os.utime(path, (seconds, seconds))
        assert path.stat().st_mtime == seconds


def test_omit_leaves_a_time_and_now_sets_it(target: Path) -> None:
    path = write(target / "file")
    os.utime(path, ns=(5, 7))
    utimensat(path, (0, UTIME_OMIT), (OLD, 42))
    assert (path.stat().st_atime_ns, path.stat().st_mtime_ns) == (5, OLD * 10**9 + 42)
    utimensat(path, (OLD, 43), (0, UTIME_OMIT))
    assert (path.stat().st_atime_ns, path.stat().st_mtime_ns) == (OLD * 10**9 + 43, OLD * 10**9 + 42)
    before = tick(target)
    utimensat(path, (0, UTIME_NOW), (0, UTIME_OMIT))
    assert path.stat().st_atime_ns >= before - TICK_NS
    assert path.stat().st_mtime_ns == OLD * 10**9 + 42
    utimensat(path, (OLD, 0), (0, UTIME_NOW))
    assert path.stat().st_atime_ns == OLD * 10**9
    assert path.stat().st_mtime_ns >= before - TICK_NS


def test_omitting_both_changes_nothing(target: Path) -> None:
    path = write(target / "file")
    before = path.stat()
    tick(target)
    utimensat(path, (0, UTIME_OMIT), (0, UTIME_OMIT))
    assert path.stat().st_ctime_ns == before.st_ctime_ns
    with fails(errno.EINVAL):
        utimensat(path, (0, 10**9), (0, 0))


def test_times_of_a_link_itself_can_be_set(target: Path) -> None:
    path = write(target / "file")
    link = target / "link"
    link.symlink_to("file")
    before = path.stat().st_mtime_ns
    utimensat(link, (OLD, 1), (OLD, 2), AT_SYMLINK_NOFOLLOW)
    assert link.lstat().st_mtime_ns == OLD * 10**9 + 2
    assert path.stat().st_mtime_ns == before


def test_setting_times_moves_the_ctime(target: Path) -> None:
    path = write(target / "file")
    before = tick(target)
    os.utime(path, (OLD, OLD))
    assert path.stat().st_ctime_ns >= before


def test_new_objects_carry_the_present_in_all_times(target: Path) -> None:
    before = tick(target)
    write(target / "file")
    (target / "dir").mkdir()
    (target / "link").symlink_to("x")
    after = time.time_ns() + 10**9
    for name in ("file", "dir", "link"):
        status = (target / name).lstat()
        for stamp in (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns):
            assert before <= stamp <= after


def test_a_directory_shows_the_time_of_its_last_change(target: Path) -> None:
    changes: list[Callable[[], object]] = [
        lambda: write(target / "file"),
        lambda: (target / "dir").mkdir(),
        lambda: (target / "soft").symlink_to("file"),
        lambda: os.link(target / "file", target / "hard"),
        lambda: os.mkfifo(target / "fifo"),
        lambda: (target / "file").rename(target / "renamed"),
        lambda: (target / "hard").unlink(),
        lambda: (target / "dir").rmdir(),
    ]
    for change in changes:
        os.utime(target, (OLD, OLD))
        change()
        status = target.stat()
        assert status.st_mtime > OLD
        assert status.st_ctime_ns >= status.st_mtime_ns


def test_reading_and_looking_change_neither_mtime_nor_ctime(target: Path) -> None:
    path = write(target / "file", b"data")
    (target / "link").symlink_to("file")
    before = [(p.lstat().st_mtime_ns, p.lstat().st_ctime_ns) for p in (target, path)]
    path.read_bytes()
    os.listdir(target)
    os.readlink(target / "link")
    os.close(os.open(path, os.O_RDWR))
    os.access(path, os.W_OK)
    assert [(p.lstat().st_mtime_ns, p.lstat().st_ctime_ns) for p in (target, path)] == before


def _write_one(path: Path) -> None:
    with opened(path, os.O_WRONLY) as fd:
        os.write(fd, b"x")


def _cut_descriptor(path: Path) -> None:
    with opened(path, os.O_WRONLY) as fd:
        os.ftruncate(fd, 3)


# operation -> (does it move mtime, does it move ctime)
RULES: dict[str, tuple[Callable[[Path], object], bool, bool]] = {
    "write": (_write_one, True, True),
    "truncate": (lambda path: os.truncate(path, 1), True, True),
    "extend": (lambda path: os.truncate(path, 100), True, True),
    "ftruncate": (_cut_descriptor, True, True),
    "chmod": (lambda path: path.chmod(0o600), False, True),
    "chown": (lambda path: os.chown(path, 1, 1), False, True),
    "link": (lambda path: os.link(path, f"{path}2"), False, True),
    "rename": (lambda path: path.rename(f"{path}2").rename(path), False, True),
    "setxattr": (lambda path: os.setxattr(path, "user.a", b"b"), False, True),
    "read": (lambda path: path.read_bytes(), False, False),
    "empty write": (lambda path: path.open("ab").close(), False, False),
}


@pytest.mark.parametrize(("operation", "moves_mtime", "moves_ctime"), RULES.values(), ids=RULES)
def test_each_operation_moves_its_times(
    target: Path, operation: Callable[[Path], object], moves_mtime: bool, moves_ctime: bool
) -> None:
    path = write(target / "file", b"some data")
    os.utime(path, (OLD, OLD))
    before = tick(target)
    operation(path)
    status = path.stat()
    assert (status.st_mtime_ns >= before, status.st_ctime_ns >= before) == (moves_mtime, moves_ctime)
    assert moves_mtime or status.st_mtime == OLD


def test_a_failed_operation_moves_no_time(target: Path) -> None:
    path = write(target / "file", b"data")
    os.utime(target, (OLD, OLD))
    before = path.stat()
    tick_directory = target.parent / f"{target.name}.tick"
    tick_directory.mkdir()
    tick(tick_directory)
    tick_directory.rmdir()
    with fails(errno.EEXIST):
        (target / "file").symlink_to("x")
    with fails(errno.ENOTDIR):
        path.rmdir()
    assert target.stat().st_mtime == OLD
    assert path.stat().st_ctime_ns == before.st_ctime_ns


def test_relatime_updates_an_access_time_older_than_the_last_change_and_then_leaves_it(target: Path) -> None:
    if not keeps_relatime(target):
        pytest.skip("the target is not mounted relatime")
    path = write(target / "file", b"data")
    os.utime(path, (OLD, OLD + 1))
    before = tick(target)
    assert path.read_bytes() == b"data"
    first = path.stat().st_atime_ns
    assert first >= before, "the first read after a change is recorded"
    tick(target)
    path.read_bytes()
    assert path.stat().st_atime_ns == first, "later reads are not"


def test_relatime_holds_for_directories_and_links(target: Path) -> None:
    if not keeps_relatime(target):
        pytest.skip("the target is not mounted relatime")
    directory, link = target / "dir", target / "link"
    directory.mkdir()
    write(directory / "file")
    link.symlink_to("dir")
    for path in (directory, link):
        utimensat(path, (OLD, 0), (OLD, 1), AT_SYMLINK_NOFOLLOW)
    before = tick(target)
    os.listdir(directory)
    os.readlink(link)
    assert directory.stat().st_atime_ns >= before
    assert link.lstat().st_atime_ns >= before


def test_noatime_descriptors_leave_the_access_time(target: Path) -> None:
    path = write(target / "file", b"data")
    os.utime(path, (OLD, OLD + 1))
    with opened(path, os.O_RDONLY | os.O_NOATIME) as fd:
        os.read(fd, 10)
    assert path.stat().st_atime == OLD
