"""unlink(2), rmdir(2), link(2): what goes, what stays, what is counted."""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path

from .probes import counts_subdirectories
from .processes import as_user
from .support import fails, names, opened, tick, write
from .syscalls import AT_SYMLINK_FOLLOW, linkat


def test_an_open_file_outlives_its_last_name(target: Path) -> None:
    path = write(target / "file", b"0123456789")
    with opened(path) as fd, opened(path, os.O_RDONLY) as second:
        path.unlink()
        assert not names(target)
        assert os.fstat(fd).st_nlink == 0
        assert os.pread(fd, 100, 0) == b"0123456789"
        os.pwrite(fd, b"x" * 200_000, 5)
        os.ftruncate(fd, 150_000)
        os.fsync(fd)
        os.fchmod(fd, 0o600)
        os.utime(fd, ns=(5, 7))
        status = os.fstat(second)
        assert (status.st_size, status.st_mode & 0o777, status.st_mtime_ns) == (150_000, 0o600, 7)
        assert os.pread(second, 10, 0) == b"01234xxxxx"
        write(path, b"another")
        assert os.fstat(fd).st_ino != path.stat().st_ino
        with opened(f"/proc/self/fd/{fd}", os.O_RDONLY) as third:
            assert os.pread(third, 5, 0) == b"01234"
    assert path.read_bytes() == b"another"


def test_an_unlinked_file_is_kept_by_a_mapping(target: Path) -> None:
    path = write(target / "file", b"a" * 8192)
    with opened(path) as fd:
        mapping = mmap.mmap(fd, 8192)
    path.unlink()
    mapping[4096:4100] = b"mmap"
    mapping.flush()
    assert mapping[4094:4102] == b"aammapaa"
    mapping.close()


def test_many_unlinked_open_files_keep_their_data(target: Path) -> None:
    fds = []
    for number in range(300):
        fds.append(os.open(target / "same", os.O_CREAT | os.O_EXCL | os.O_RDWR))
        os.write(fds[-1], b"%d" % number * 50)
        os.unlink(target / "same")
    for number, fd in enumerate(fds):
        assert os.pread(fd, 1000, 0) == b"%d" % number * 50
        os.close(fd)


def test_a_removed_directory_that_is_open_stays_empty(target: Path) -> None:
    path = target / "dir"
    path.mkdir()
    with opened(path, os.O_RDONLY) as fd:
        path.rmdir()
        assert os.fstat(fd).st_nlink == 0
        assert os.listdir(fd) == []
        with fails(errno.ENOENT):
            os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
        with fails(errno.ENOENT):
            os.mkdir("sub", dir_fd=fd)


def test_a_process_can_stand_in_a_removed_directory(target: Path) -> None:
    def stand() -> None:
        (target / "dir").mkdir()
        os.chdir(target / "dir")
        os.rmdir(target / "dir")
        assert os.listdir(".") == []
        with fails(errno.ENOENT):
            Path("file").touch()
        with fails(errno.ENOENT):
            os.getcwd()
        os.chdir("..")
        assert Path("..").samefile(target.parent)

    as_user(stand, 0)


def test_links_share_everything_and_are_counted(target: Path) -> None:
    path = write(target / "a", b"data")
    (target / "dir").mkdir()
    for number in range(20):
        os.link(path, target / "dir" / str(number))
        assert path.stat().st_nlink == number + 2
    with opened(target / "dir" / "7", os.O_WRONLY | os.O_APPEND) as fd:
        os.write(fd, b" more")
    os.chmod(target / "dir" / "3", 0o604)
    status = path.stat()
    assert (path.read_bytes(), status.st_mode & 0o777) == (b"data more", 0o604)
    path.unlink()
    for number in range(19):
        (target / "dir" / str(number)).unlink()
        assert (target / "dir" / "19").stat().st_nlink == 19 - number
    assert (target / "dir" / "19").read_bytes() == b"data more"


def test_what_may_not_be_linked(target: Path) -> None:
    path = write(target / "file")
    (target / "dir").mkdir()
    with fails(errno.EPERM):
        os.link(target / "dir", target / "hard")
    with fails(errno.EEXIST):
        os.link(path, path)
    with fails(errno.EEXIST):
        os.link(path, target / "dir")
    with fails(errno.ENOENT):
        os.link(target / "none", target / "hard")
    assert path.stat().st_nlink == 1


def test_a_link_to_a_symlink_is_another_name_of_the_symlink(target: Path) -> None:
    (target / "soft").symlink_to("nowhere")
    os.link(target / "soft", target / "hard", follow_symlinks=False)
    assert os.readlink(target / "hard") == "nowhere"
    assert (target / "hard").lstat().st_nlink == 2


def test_a_file_without_names_cannot_be_linked_back(target: Path) -> None:
    path = write(target / "file")
    with opened(path) as fd:
        path.unlink()
        with fails(errno.ENOENT):
            linkat(f"/proc/self/fd/{fd}".encode(), target / "back", AT_SYMLINK_FOLLOW)
    assert not names(target)


def test_a_directory_counts_its_subdirectories(target: Path) -> None:
    if not counts_subdirectories(target):
        (target / "probe-only").mkdir()
        assert target.stat().st_nlink == 1
        return
    assert target.stat().st_nlink == 2
    for number in range(10):
        (target / str(number)).mkdir()
        write(target / f"file{number}")
        assert target.stat().st_nlink == number + 3
    (target / "0").rename(target / "1" / "moved")
    assert target.stat().st_nlink == 11
    assert (target / "1").stat().st_nlink == 3
    (target / "2").rename(target / "3")
    assert target.stat().st_nlink == 10
    (target / "1" / "moved").rmdir()
    assert (target / "1").stat().st_nlink == 2


def test_unlink_takes_files_and_rmdir_empty_directories(target: Path) -> None:
    write(target / "file")
    (target / "full" / "sub").mkdir(parents=True)
    (target / "link").symlink_to("full")
    with fails(errno.EISDIR):
        os.unlink(target / "full")
    with fails(errno.ENOTDIR):
        os.rmdir(target / "file")
    with fails(errno.ENOTDIR):
        os.rmdir(target / "link")
    with fails(errno.ENOTEMPTY):
        os.rmdir(target / "full")
    with fails(errno.ENOENT):
        os.unlink(target / "none")
    with fails(errno.ENOENT):
        os.rmdir(target / "none")
    assert names(target) == {b"file", b"full", b"link"}


def test_losing_a_name_sets_the_ctime_of_file_and_directory(target: Path) -> None:
    path = write(target / "file")
    os.link(path, target / "other")
    before = tick(target)
    (target / "other").unlink()
    assert path.stat().st_ctime_ns >= before
    assert path.stat().st_mtime_ns < before
    assert target.stat().st_mtime_ns >= before


def test_a_new_inode_never_shows_old_data(target: Path) -> None:
    for number in range(30):
        path = write(target / "file", b"secret" * 1000)
        path.unlink()
        with opened(path, os.O_CREAT | os.O_EXCL | os.O_RDWR) as fd:
            os.ftruncate(fd, 6000)
            assert os.pread(fd, 6000, 0) == bytes(6000), number
        path.unlink()
