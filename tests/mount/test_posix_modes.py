"""Mode bits: umask, set-user-ID, set-group-ID, sticky."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from .processes import as_user
from .support import ALICE, BOB, NOBODY, fails, names, opened, umask, write


@pytest.fixture
def target(rights_target: Path) -> Path:
    """Every test here holds with ACLs enforced and without."""
    return rights_target


SUID_SGID = stat.S_ISUID | stat.S_ISGID


def mode(path: Path) -> int:
    return path.lstat().st_mode & 0o7777


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o027, 0o077, 0o777])
def test_the_umask_takes_bits_from_everything_made(target: Path, mask: int) -> None:
    with umask(mask):
        os.close(os.open(target / "file", os.O_CREAT | os.O_WRONLY, 0o777))
        os.mkdir(target / "dir", 0o777)
        os.mkfifo(target / "fifo", 0o666)
    assert mode(target / "file") == 0o777 & ~mask
    assert mode(target / "dir") == 0o777 & ~mask
    assert mode(target / "fifo") == 0o666 & ~mask


def test_new_objects_belong_to_their_maker(target: Path) -> None:
    target.chmod(0o777)

    def make() -> None:
        write(target / "file")
        (target / "dir").mkdir()
        (target / "link").symlink_to("file")
        os.mkfifo(target / "fifo")

    as_user(make, ALICE, BOB)
    for name in ("file", "dir", "link", "fifo"):
        status = (target / name).lstat()
        assert (status.st_uid, status.st_gid) == (ALICE, BOB), name


def test_a_setgid_directory_hands_down_group_and_bit(target: Path) -> None:
    parent = target / "shared"
    parent.mkdir()
    os.chown(parent, ALICE, NOBODY)
    parent.chmod(0o2777)

    def make() -> None:
        write(parent / "file")
        (parent / "dir").mkdir()
        (parent / "link").symlink_to("file")
        (parent / "dir" / "inner").mkdir()

    as_user(make, BOB)
    for name in ("file", "dir", "link", "dir/inner"):
        status = (parent / name).lstat()
        assert (status.st_uid, status.st_gid) == (BOB, NOBODY), name
    assert mode(parent / "dir") & stat.S_ISGID
    assert mode(parent / "dir" / "inner") & stat.S_ISGID
    assert not mode(parent / "file") & stat.S_ISGID


def test_chmod_sets_all_twelve_bits_and_keeps_the_type(target: Path) -> None:
    path = write(target / "file")
    for bits in (0o7777, 0o4711, 0o2755, 0o1644, 0o000, 0o600):
        path.chmod(bits)
        assert path.stat().st_mode == stat.S_IFREG | bits


def test_chown_takes_the_special_bits_of_a_program(target: Path) -> None:
    path = write(target / "prog")
    for uid, gid in ((ALICE, -1), (-1, BOB), (ALICE, BOB)):
        path.chmod(0o6755)
        os.chown(path, uid, gid)
        assert mode(path) == 0o755
    assert (path.stat().st_uid, path.stat().st_gid) == (ALICE, BOB)


def test_chown_leaves_directories_their_bits(target: Path) -> None:
    path = target / "dir"
    path.mkdir()
    path.chmod(0o2775)
    os.chown(path, ALICE, BOB)
    assert mode(path) == 0o2775


def _write_at_start(path: Path) -> None:
    with opened(path, os.O_WRONLY) as fd:
        os.pwrite(fd, b"x", 0)


def _open_truncating(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))


def _cut(path: Path) -> None:
    os.truncate(path, 2)


CHANGES = {"write": _write_at_start, "o_trunc": _open_truncating, "truncate": _cut}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changing_a_program_takes_its_special_bits(target: Path, change: Callable[[Path], None]) -> None:
    path = write(target / "prog", b"program")
    os.chown(path, ALICE, ALICE)
    path.chmod(0o6777)
    as_user(lambda: change(path), BOB)
    assert mode(path) == 0o777


def test_root_may_write_a_program_that_keeps_its_bits(target: Path) -> None:
    path = write(target / "prog", b"program")
    path.chmod(0o6755)
    _write_at_start(path)
    assert mode(path) == 0o6755


def test_a_user_outside_the_group_cannot_set_setgid(target: Path) -> None:
    path = write(target / "file")
    os.chown(path, ALICE, BOB)
    as_user(lambda: path.chmod(0o2755), ALICE, ALICE)
    assert mode(path) == 0o755
    as_user(lambda: path.chmod(0o2755), ALICE, BOB)
    assert mode(path) == 0o2755


def test_in_a_sticky_directory_only_owners_remove_and_rename(target: Path) -> None:
    parent = target / "tmp"
    parent.mkdir()
    parent.chmod(0o1777)

    def make() -> None:
        write(parent / "file")
        (parent / "dir").mkdir()
        parent.joinpath("dir").chmod(0o777)

    def meddle() -> None:
        with fails(errno.EPERM, errno.EACCES):
            (parent / "file").unlink()
        with fails(errno.EPERM, errno.EACCES):
            (parent / "dir").rmdir()
        with fails(errno.EPERM, errno.EACCES):
            (parent / "file").rename(parent / "mine")
        write(parent / "own")
        with fails(errno.EPERM, errno.EACCES):
            (parent / "own").rename(parent / "file")
        (parent / "own").unlink()

    def clear() -> None:
        (parent / "file").rename(parent / "renamed")
        (parent / "renamed").unlink()
        (parent / "dir").rmdir()

    as_user(make, ALICE)
    as_user(meddle, BOB)
    assert names(parent) == {b"file", b"dir"}
    as_user(clear, ALICE)
    assert not names(parent)


def test_the_owner_of_a_sticky_directory_may_remove_all(target: Path) -> None:
    parent = target / "tmp"
    parent.mkdir()
    os.chown(parent, BOB, BOB)
    parent.chmod(0o1777)
    as_user(lambda: write(parent / "file"), ALICE)
    as_user((parent / "file").unlink, BOB)
    assert not names(parent)


def test_a_set_user_id_program_runs_as_its_owner(target: Path) -> None:
    source = Path("/usr/bin/id").read_bytes()
    program = write(target / "id", source)
    os.chown(program, ALICE, ALICE)
    program.chmod(0o4755)

    def run_it() -> str:
        return os.popen(f"{program} -u").read().strip()

    if os.statvfs(target).f_flag & os.ST_NOSUID:
        pytest.skip("the target is mounted nosuid")
    assert as_user(run_it, BOB) == str(ALICE)
