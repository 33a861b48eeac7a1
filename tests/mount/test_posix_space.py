"""statvfs(2), and a file system that fills up."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from .support import eventually, fails, names, opened, write

MIB = 1 << 20


def free_bytes(path: Path) -> int:
    status = os.statvfs(path)
    return status.f_bfree * status.f_frsize


def _fill_up(path: Path) -> int:
    """Write to a new file until the file system refuses; return the bytes that it took."""
    size = 0
    with opened(path, os.O_CREAT | os.O_WRONLY) as fd:
        while True:
            try:
                size += os.write(fd, b"f" * MIB)
            except OSError as exc:
                if exc.errno != errno.ENOSPC:
                    raise
                break
        assert os.fstat(fd).st_size == size
    return size


def test_statvfs_is_sane(target: Path) -> None:
    status = os.statvfs(target)
    assert status.f_namemax == 255
    assert status.f_bsize >= 512
    assert status.f_frsize >= 512
    assert 0 < status.f_bavail <= status.f_bfree <= status.f_blocks
    assert 0 < status.f_favail <= status.f_ffree <= status.f_files


def test_statvfs_counts_bytes_and_files(small_target: Path) -> None:
    before, files_before = free_bytes(small_target), os.statvfs(small_target).f_ffree
    path = write(small_target / "file", b"x" * (8 * MIB))
    with opened(path) as fd:
        os.fsync(fd)
    used = before - free_bytes(small_target)
    assert 8 * MIB <= used <= 9 * MIB
    assert os.statvfs(small_target).f_ffree <= files_before
    os.truncate(path, MIB)
    assert before - free_bytes(small_target) <= 2 * MIB
    path.unlink()
    assert before - free_bytes(small_target) <= MIB


def test_a_small_file_system_has_its_size(small_target: Path) -> None:
    status = os.statvfs(small_target)
    assert 60 * MIB <= status.f_blocks * status.f_frsize <= 64 * MIB


def test_a_full_file_system_refuses_and_recovers(small_target: Path) -> None:
    small = write(small_target / "small", b"safe")
    for _ in range(2):
        took = _fill_up(small_target / "big")
        assert took >= 48 * MIB
        with fails(errno.ENOSPC):
            write(small_target / "more", b"x" * MIB)
        assert small.read_bytes() == b"safe"
        with opened(small_target / "big", os.O_RDONLY) as fd:
            assert os.pread(fd, 100, took - 50) == b"f" * 50
        os.listdir(small_target)
        (small_target / "more").unlink()
        (small_target / "big").unlink()
        eventually(lambda: free_bytes(small_target) >= 56 * MIB, "the space is free again")
    write(small_target / "after", b"y" * (40 * MIB))
    assert names(small_target) - {b"lost+found"} == {b"small", b"after"}
    (small_target / "after").unlink()


def test_space_of_an_unlinked_open_file_returns_at_close(small_target: Path) -> None:
    before = free_bytes(small_target)
    with opened(small_target / "file", os.O_CREAT | os.O_RDWR) as fd:
        for _ in range(16):
            os.write(fd, b"x" * MIB)
        (small_target / "file").unlink()
        assert before - free_bytes(small_target) >= 16 * MIB
    eventually(lambda: before - free_bytes(small_target) <= MIB, "the space is free again")


def test_holes_take_no_space(small_target: Path) -> None:
    before = free_bytes(small_target)
    with opened(small_target / "sparse", os.O_CREAT | os.O_RDWR) as fd:
        os.ftruncate(fd, 1 << 34)
        os.pwrite(fd, b"end", (1 << 34) - 3)
        assert before - free_bytes(small_target) <= MIB
    (small_target / "sparse").unlink()


def test_overwriting_needs_no_new_space(small_target: Path) -> None:
    size = _fill_up(small_target / "big")
    with opened(small_target / "big") as fd:
        for offset in range(0, size - 65536, 4 * MIB):
            os.pwrite(fd, b"o" * 65536, offset)
        os.fsync(fd)
        assert os.pread(fd, 4, 0) == b"oooo"
    (small_target / "big").unlink()
