"""Permission checks, seen by users without privileges."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from .processes import Child, as_user
from .support import ALICE, BOB, fails, names, opened, write


@pytest.fixture
def target(rights_target: Path) -> Path:
    """Every test here holds with ACLs enforced and without."""
    return rights_target


# (mode, who is asked as: owner, group, other) -> may read, write, execute
OWNER, GROUP, OTHER = "owner", "group", "other"


def _ask_as(who: str, path: Path) -> tuple[bool, bool, bool]:
    def ask() -> tuple[bool, bool, bool]:
        return os.access(path, os.R_OK), os.access(path, os.W_OK), os.access(path, os.X_OK)

    if who == OWNER:
        return as_user(ask, ALICE, ALICE)
    if who == GROUP:
        return as_user(ask, BOB, 77, groups=[ALICE])
    return as_user(ask, BOB, BOB)


@pytest.mark.parametrize(("who", "shift"), [(OWNER, 6), (GROUP, 3), (OTHER, 0)], ids=[OWNER, GROUP, OTHER])
def test_access_follows_the_class_of_the_caller(target: Path, who: str, shift: int) -> None:
    path = write(target / "file")
    os.chown(path, ALICE, ALICE)
    for bits in range(8):
        path.chmod(bits << shift)
        assert _ask_as(who, path) == (bool(bits & 4), bool(bits & 2), bool(bits & 1)), oct(bits)
        path.chmod(0o777 & ~(7 << shift) | bits << shift)
        assert _ask_as(who, path) == (bool(bits & 4), bool(bits & 2), bool(bits & 1)), oct(bits)


def test_open_obeys_the_same_bits(target: Path) -> None:
    path = write(target / "file", b"data")
    os.chown(path, ALICE, ALICE)

    def attempt() -> set[str]:
        may = set()
        for word, flags in (("r", os.O_RDONLY), ("w", os.O_WRONLY), ("rw", os.O_RDWR)):
            try:
                os.close(os.open(path, flags))
            except PermissionError:
                continue
            may.add(word)
        return may

    for bits, expected in ((0o004, {"r"}), (0o002, {"w"}), (0o006, {"r", "w", "rw"}), (0o770, set[str]())):
        path.chmod(bits)
        assert as_user(attempt, BOB) == expected, oct(bits)


def test_searching_reading_and_writing_a_directory_are_three_rights(target: Path) -> None:
    parent = target / "dir"
    parent.mkdir()
    write(parent / "file", b"data")

    def search_only() -> None:
        assert (parent / "file").read_bytes() == b"data"
        with fails(errno.EACCES):
            os.listdir(parent)
        with fails(errno.EACCES):
            write(parent / "new")
        with fails(errno.EACCES):
            (parent / "file").unlink()

    def read_only() -> None:
        assert os.listdir(parent) == ["file"]
        with fails(errno.EACCES):
            (parent / "file").stat()

    def write_without_search() -> None:
        with fails(errno.EACCES):
            write(parent / "new")

    parent.chmod(0o711)
    as_user(search_only, ALICE)
    parent.chmod(0o744)
    as_user(read_only, ALICE)
    parent.chmod(0o722)
    as_user(write_without_search, ALICE)
    assert names(parent) == {b"file"}


def test_every_change_of_a_directory_needs_its_write_bit(target: Path) -> None:
    write(target / "file")
    (target / "sub").mkdir()
    os.chown(target / "file", ALICE, ALICE)

    def change() -> None:
        with fails(errno.EACCES):
            (target / "new").mkdir()
        with fails(errno.EACCES):
            (target / "new").symlink_to("file")
        with fails(errno.EACCES):
            os.mkfifo(target / "new")
        with fails(errno.EACCES):
            os.link(target / "file", target / "new")
        with fails(errno.EACCES):
            (target / "file").rename(target / "new")
        with fails(errno.EACCES):
            (target / "sub").rmdir()
        with fails(errno.EACCES):
            (target / "file").unlink()

    as_user(change, ALICE)
    assert names(target) == {b"file", b"sub"}


def test_only_the_owner_changes_mode_and_only_root_the_owner(target: Path) -> None:
    path = write(target / "file")
    os.chown(path, ALICE, ALICE)

    def stranger() -> None:
        with fails(errno.EPERM):
            path.chmod(0o777)
        with fails(errno.EPERM):
            os.chown(path, BOB, -1)
        with fails(errno.EPERM):
            os.utime(path, (1, 1))
        with fails(errno.EACCES):
            os.utime(path)

    def owner() -> None:
        path.chmod(0o640)
        os.utime(path, (1, 1))
        os.chown(path, -1, 4242)
        with fails(errno.EPERM):
            os.chown(path, BOB, -1)
        with fails(errno.EPERM):
            os.chown(path, -1, 4343)

    as_user(stranger, BOB)
    as_user(owner, ALICE, groups=[4242])
    status = path.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (ALICE, 4242, 0o640)


def test_a_writer_who_is_not_the_owner_may_set_the_times_to_now_only(target: Path) -> None:
    path = write(target / "file")
    path.chmod(0o666)
    os.utime(path, (1, 1))

    def touch() -> None:
        os.utime(path)
        with fails(errno.EPERM):
            os.utime(path, (5, 5))

    as_user(touch, BOB)
    assert path.stat().st_mtime > 1000


def test_root_reads_and_writes_all_but_executes_only_what_someone_may(target: Path) -> None:
    path = write(target / "file", b"data")
    os.chown(path, ALICE, ALICE)
    path.chmod(0)
    with opened(path) as fd:
        assert os.read(fd, 10) == b"data"
    assert not os.access(path, os.X_OK)
    path.chmod(0o010)
    assert os.access(path, os.X_OK)


def test_rights_are_checked_at_open_and_kept(target: Path) -> None:
    path = write(target / "file", b"data")
    path.chmod(0o666)
    target.chmod(0o777)

    def keep_writing() -> None:
        with opened(path) as fd:
            (target / "ready").touch()
            while path.stat().st_mode & 0o777:
                pass
            os.pwrite(fd, b"still", 0)
            with fails(errno.EACCES):
                os.open(path, os.O_RDONLY)

    with Child(keep_writing, ALICE, ALICE) as child:
        while not (target / "ready").exists():
            pass
        path.chmod(0)
        child.result()
    assert path.read_bytes() == b"still"


def test_ids_beyond_sixteen_bits_are_kept(target: Path) -> None:
    path = write(target / "file")
    for uid, gid in ((70_000, 80_000), (0x7FFFFFFF, 0x7FFFFFFE), (0xFFFFFFFD, 0xFFFFFFFC)):
        os.chown(path, uid, gid)
        assert (path.stat().st_uid, path.stat().st_gid) == (uid, gid)
