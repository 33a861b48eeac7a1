"""Sparse and very large files, truncation, limits."""

from __future__ import annotations

import errno
import os
import resource
import signal
from pathlib import Path

import pytest

from .probes import offers_punch
from .processes import as_user
from .support import ALICE, fails, opened, write
from .syscalls import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, fallocate

GIB = 1 << 30
TIB = 1 << 40


def test_a_tebibyte_of_hole_costs_nothing(target: Path) -> None:
    path = write(target / "file", b"head")
    os.truncate(path, TIB)
    status = path.stat()
    assert status.st_size == TIB
    assert status.st_blocks <= 16
    with opened(path) as fd:
        assert os.pread(fd, 8, 0) == b"head\0\0\0\0"
        assert os.pread(fd, 8, TIB - 4) == bytes(4)
        assert os.pread(fd, 65536, TIB // 2) == bytes(65536)
        os.pwrite(fd, b"tail", TIB - 4)
        assert os.pread(fd, 8, TIB - 8) == b"\0\0\0\0tail"
        assert os.fstat(fd).st_blocks <= 64
        os.ftruncate(fd, 2)
        assert os.pread(fd, 10, 0) == b"he"


@pytest.mark.parametrize("offset", [2 * GIB - 5, 2 * GIB, 4 * GIB - 5, 4 * GIB, 5 * GIB + 1, 100 * GIB])
def test_data_beyond_two_and_four_gibibytes_is_kept_apart(target: Path, offset: int) -> None:
    path = write(target / "file", b"start")
    with opened(path) as fd:
        assert os.pwrite(fd, b"0123456789", offset) == 10
        assert os.pread(fd, 20, offset) == b"0123456789"
        assert os.pread(fd, 10, 0) == b"start" + bytes(5)
        assert os.fstat(fd).st_size == offset + 10
        assert os.lseek(fd, 0, os.SEEK_END) == offset + 10
        os.lseek(fd, offset + 3, os.SEEK_SET)
        assert os.read(fd, 4) == b"3456"
    assert path.stat().st_blocks * 512 < 1 << 20


def test_a_gap_reads_as_zeros_and_is_not_counted(target: Path) -> None:
    path = target / "file"
    with opened(path, os.O_CREAT | os.O_RDWR) as fd:
        for number in range(10):
            os.pwrite(fd, b"%d" % number, number << 24)
        for number in range(10):
            assert os.pread(fd, 3, number << 24) == (b"%d\0\0" % number)[: 3 if number < 9 else 1]
            if number:
                assert os.pread(fd, 100_000, (number << 24) - 100_000) == bytes(100_000)
    assert 0 < path.stat().st_blocks * 512 <= 1 << 20


def test_blocks_count_what_was_written(target: Path) -> None:
    path = write(target / "file", b"x" * 1_000_000)
    with opened(path) as fd:
        os.fsync(fd)
        assert 1_000_000 <= os.fstat(fd).st_blocks * 512 <= 1_200_000
        os.ftruncate(fd, 10)
        os.fsync(fd)
        assert 0 < os.fstat(fd).st_blocks * 512 <= 16_384
        os.ftruncate(fd, 0)
        assert os.fstat(fd).st_blocks == 0


@pytest.mark.parametrize("cut", [0, 1, 511, 4095, 4096, 4097, 9_000])
def test_data_cut_off_never_comes_back(target: Path, cut: int) -> None:
    path = write(target / "file", b"s" * 10_000)
    os.truncate(path, cut)
    os.truncate(path, 20_000)
    assert path.read_bytes() == b"s" * cut + bytes(20_000 - cut)
    os.truncate(path, cut)
    with opened(path) as fd:
        os.pwrite(fd, b"e", 15_000)
    assert path.read_bytes() == b"s" * cut + bytes(15_000 - cut) + b"e"


def test_reading_at_and_beyond_the_end_gives_nothing(target: Path) -> None:
    path = write(target / "file", b"0123456789")
    with opened(path) as fd:
        assert os.pread(fd, 10, 10) == b""
        assert os.pread(fd, 10, TIB) == b""
        assert os.pread(fd, 10, 8) == b"89"
        assert os.pwrite(fd, b"", TIB) == 0
        assert os.fstat(fd).st_size == 10


def test_sizes_and_offsets_beyond_all_limits_are_refused_and_do_no_harm(target: Path) -> None:
    path = write(target / "file", b"data")
    top = (1 << 63) - 1
    with opened(path) as fd:
        with fails(errno.EINVAL):
            os.ftruncate(fd, -1)
        with fails(errno.EFBIG, errno.EINVAL):
            os.pwrite(fd, b"xx", top)
        try:
            os.ftruncate(fd, top)
        except OSError as exc:
            if exc.errno != errno.EFBIG:
                raise
        else:
            assert os.fstat(fd).st_size == top
            os.ftruncate(fd, 4)
        assert os.pread(fd, 10, 0) == b"data"


def test_the_resource_limit_on_file_size_gives_efbig(target: Path) -> None:
    def exceed() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        with opened(target / "file", os.O_CREAT | os.O_RDWR) as fd:
            assert os.write(fd, b"x" * 20_000) == 10_000
            with fails(errno.EFBIG):
                os.write(fd, b"x")
            with fails(errno.EFBIG):
                os.ftruncate(fd, 10_001)
            assert os.fstat(fd).st_size == 10_000

    target.chmod(0o777)
    as_user(exceed, ALICE)


def test_data_and_holes_can_be_sought(target: Path) -> None:
    path = target / "file"
    with opened(path, os.O_CREAT | os.O_RDWR) as fd:
        os.pwrite(fd, b"x" * 65536, 1 << 20)
        os.ftruncate(fd, 1 << 21)
        os.fsync(fd)
        data = os.lseek(fd, 0, os.SEEK_DATA)
        # A file system without the notion of holes calls everything data; one with it must be exact enough.
        assert data == 0 or 1 << 20 >= data >= (1 << 20) - 65536
        hole = os.lseek(fd, 1 << 20, os.SEEK_HOLE)
        assert (1 << 20) + 65536 <= hole <= 1 << 21
        with fails(errno.ENXIO):
            os.lseek(fd, 1 << 21, os.SEEK_DATA)
        with fails(errno.ENXIO):
            os.lseek(fd, (1 << 21) + 1, os.SEEK_HOLE)


def test_preallocation_works_or_is_refused_cleanly(target: Path) -> None:
    with opened(target / "file", os.O_CREAT | os.O_RDWR) as fd:
        os.posix_fallocate(fd, 0, 300_000)  # the C library writes zeros where the kernel cannot
        assert os.fstat(fd).st_size == 300_000
        assert os.pread(fd, 300_000, 0) == bytes(300_000)
        try:
            fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1 << 20)
        except OSError as exc:
            if exc.errno != errno.EOPNOTSUPP:
                raise
        assert os.fstat(fd).st_size == 300_000


def test_a_punched_hole_reads_as_zeros(target: Path) -> None:
    if not offers_punch(target):
        pytest.skip("the target does not punch holes")
    path = write(target / "file", b"x" * 100_000)
    with opened(path) as fd:
        fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10_000, 50_000)
    assert path.read_bytes() == b"x" * 10_000 + bytes(50_000) + b"x" * 40_000
