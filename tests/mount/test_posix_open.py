"""open(2): what each flag promises."""

from __future__ import annotations

import errno
import fcntl
import os
from functools import partial
from pathlib import Path

import pytest

from .processes import as_user, in_parallel
from .support import ALICE, fails, names, opened, tick, write


def test_exclusive_create_refuses_what_exists(target: Path) -> None:
    write(target / "file", b"kept")
    (target / "dir").mkdir()
    (target / "dangling").symlink_to("nowhere")
    for name in ("file", "dir", "dangling"):
        with fails(errno.EEXIST):
            os.open(target / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    assert (target / "file").read_bytes() == b"kept"
    assert b"nowhere" not in names(target)


def test_create_goes_through_a_dangling_link(target: Path) -> None:
    (target / "dangling").symlink_to("made")
    write(target / "dangling", b"through")
    assert (target / "made").read_bytes() == b"through"


def _take_names(directory: Path, count: int) -> list[int]:
    won = []
    for number in range(count):
        try:
            os.close(os.open(directory / str(number), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            continue
        won.append(number)
    return won


def test_of_eight_processes_one_wins_each_exclusive_create(target: Path) -> None:
    won = in_parallel([partial(_take_names, target, 60)] * 8)
    assert sorted(number for one in won for number in one) == list(range(60))


def test_the_creator_may_write_a_file_made_read_only(target: Path) -> None:
    def create() -> None:
        with opened(target / "file", os.O_CREAT | os.O_RDWR, 0o444) as fd:
            os.write(fd, b"data")
            assert os.pread(fd, 10, 0) == b"data"
        with fails(errno.EACCES):
            os.open(target / "file", os.O_WRONLY)

    target.chmod(0o777)
    as_user(create, ALICE)


def test_create_of_an_existing_file_leaves_mode_and_data(target: Path) -> None:
    path = write(target / "file", b"data", 0o640)
    with opened(path, os.O_CREAT | os.O_WRONLY, 0o777):
        pass
    assert path.stat().st_mode & 0o7777 == 0o640
    assert path.read_bytes() == b"data"


@pytest.mark.parametrize("access", [os.O_WRONLY, os.O_RDWR], ids=["wronly", "rdwr"])
@pytest.mark.parametrize("data", [b"", b"some data"], ids=["empty", "full"])
def test_truncate_in_open_empties_and_sets_times(target: Path, access: int, data: bytes) -> None:
    path = write(target / "file", data)
    os.utime(path, (1000, 2000))
    before = tick(target)
    with opened(path, access | os.O_TRUNC) as fd:
        status = os.fstat(fd)
        assert status.st_size == 0
        assert status.st_mtime_ns >= before
        assert status.st_ctime_ns >= before
        assert int(status.st_atime) == 1000
    assert path.stat().st_blocks == 0


def test_truncate_in_open_shows_in_other_descriptors(target: Path) -> None:
    path = write(target / "file", b"x" * 10_000)
    with opened(path) as fd:
        assert len(os.pread(fd, 20_000, 0)) == 10_000
        os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
        assert os.pread(fd, 20_000, 0) == b""
        assert os.fstat(fd).st_size == 0


def test_a_refused_open_does_not_truncate(target: Path) -> None:
    path = write(target / "file", b"precious")

    def try_truncate() -> None:
        for flags in (os.O_WRONLY | os.O_TRUNC, os.O_RDONLY | os.O_TRUNC):
            with fails(errno.EACCES):
                os.open(path, flags)

    as_user(try_truncate, ALICE)
    with fails(errno.EEXIST):
        os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CREAT | os.O_EXCL)
    with fails(errno.ENOTDIR):
        os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_DIRECTORY)
    assert path.read_bytes() == b"precious"


def _append_lines(path: Path, who: int, count: int) -> None:
    with opened(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as fd:
        for number in range(count):
            line = b"%d:%d:" % (who, number)
            assert os.write(fd, line.ljust(99, b".") + b"\n") == 100


def test_appends_of_eight_processes_neither_overwrite_nor_mix(target: Path) -> None:
    path = target / "log"
    in_parallel([partial(_append_lines, path, who, 200) for who in range(8)])
    lines = path.read_bytes().splitlines()
    assert len(lines) == 1600
    assert all(len(line) == 99 for line in lines)
    seen = [tuple(map(int, line.split(b":")[:2])) for line in lines]
    for who in range(8):
        assert [number for writer, number in seen if writer == who] == list(range(200))


def test_an_append_ignores_the_position_and_moves_it(target: Path) -> None:
    path = write(target / "file", b"0123456789")
    with opened(path, os.O_RDWR | os.O_APPEND) as fd:
        assert os.read(fd, 3) == b"012"
        os.write(fd, b"ab")
        assert os.lseek(fd, 0, os.SEEK_CUR) == 12
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, b"cd")
        os.pwrite(fd, b"ef", 0)  # Linux: pwrite appends too
    assert path.read_bytes() == b"0123456789abcdef"


def test_append_can_be_switched_on_and_off_while_open(target: Path) -> None:
    path = write(target / "file", b"0123456789")
    with opened(path) as fd:
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_APPEND)
        os.write(fd, b"ab")
        fcntl.fcntl(fd, fcntl.F_SETFL, flags)
        os.pwrite(fd, b"XY", 0)
    assert path.read_bytes() == b"XY23456789ab"


def test_directory_flag_takes_only_directories(target: Path) -> None:
    write(target / "file")
    (target / "link").symlink_to(".")
    os.close(os.open(target, os.O_RDONLY | os.O_DIRECTORY))
    os.close(os.open(target / "link", os.O_RDONLY | os.O_DIRECTORY))
    with fails(errno.ENOTDIR):
        os.open(target / "file", os.O_RDONLY | os.O_DIRECTORY)


def test_directories_cannot_be_opened_for_writing(target: Path) -> None:
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_CREAT, os.O_RDONLY | os.O_TRUNC):
        with fails(errno.EISDIR):
            os.open(target, flags)
    with opened(target, os.O_RDONLY) as fd, fails(errno.EISDIR):
        os.read(fd, 1)


def test_nofollow_refuses_a_link_at_the_end_only(target: Path) -> None:
    write(target / "file", b"data")
    (target / "link").symlink_to("file")
    (target / "dir").symlink_to(".")
    with fails(errno.ELOOP):
        os.open(target / "link", os.O_RDONLY | os.O_NOFOLLOW)
    with fails(errno.ELOOP):
        os.open(target / "link", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW)
    with opened(target / "dir" / "file", os.O_RDONLY | os.O_NOFOLLOW) as fd:
        assert os.read(fd, 10) == b"data"


def test_path_descriptors_name_but_do_not_open(target: Path) -> None:
    path = write(target / "file", b"data")
    with opened(path, os.O_PATH) as fd:
        assert os.fstat(fd).st_ino == path.stat().st_ino
        with fails(errno.EBADF):
            os.read(fd, 1)
        with opened(f"/proc/self/fd/{fd}", os.O_RDONLY) as again:
            assert os.read(again, 10) == b"data"


def test_access_mode_is_kept(target: Path) -> None:
    path = write(target / "file", b"data")
    with opened(path, os.O_RDONLY) as fd:
        with fails(errno.EBADF):
            os.write(fd, b"x")
        with fails(errno.EINVAL, errno.EBADF):
            os.ftruncate(fd, 0)
    with opened(path, os.O_WRONLY) as fd, fails(errno.EBADF):
        os.read(fd, 1)
    assert path.read_bytes() == b"data"


def test_absent_files_and_parents_give_enoent(target: Path) -> None:
    with fails(errno.ENOENT):
        os.open(target / "none", os.O_RDWR)
    with fails(errno.ENOENT):
        os.open(target / "none" / "file", os.O_CREAT | os.O_RDWR)


def test_a_synchronous_descriptor_reads_back(target: Path) -> None:
    path = target / "file"
    for flag in (os.O_SYNC, os.O_DSYNC):
        with opened(path, os.O_CREAT | os.O_RDWR | os.O_TRUNC | flag) as fd:
            os.write(fd, b"x" * 70_000)
            assert os.pread(fd, 100_000, 0) == b"x" * 70_000


def test_descriptors_of_one_file_see_each_other_at_once(target: Path) -> None:
    path = write(target / "file")
    with opened(path) as one, opened(path) as two:
        for number in range(50):
            text = b"%08d" % number
            os.pwrite(one, text, number * 8)
            assert os.pread(two, 8, number * 8) == text
            assert os.fstat(two).st_size == (number + 1) * 8


def test_five_hundred_open_files_stay_apart(target: Path) -> None:
    fds = [os.open(target / str(n), os.O_CREAT | os.O_RDWR) for n in range(500)]
    try:
        for number, fd in enumerate(fds):
            os.write(fd, b"%d" % number)
        assert [os.pread(fd, 10, 0) for fd in fds] == [b"%d" % n for n in range(500)]
    finally:
        for fd in fds:
            os.close(fd)
