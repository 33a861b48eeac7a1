"""Other ways to move data: fsync, O_DIRECT, vectors, copy_file_range, sendfile, splice; and inotify."""

from __future__ import annotations

import errno
import mmap
import os
import random
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from .probes import require_direct
from .processes import in_parallel
from .support import eventually, fails, opened, write
from .syscalls import (
    IN_ATTRIB,
    IN_CLOSE_WRITE,
    IN_CREATE,
    IN_DELETE,
    IN_MODIFY,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    inotify_add_watch,
    inotify_init,
)


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def test_fsync_and_fdatasync_take_files_and_directories(target: Path) -> None:
    with opened(target / "file", os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, noise(100_000))
        os.fdatasync(fd)
        os.fsync(fd)
    with opened(target / "file", os.O_RDONLY) as fd:
        os.fsync(fd)
    with opened(target, os.O_RDONLY) as fd:
        os.fsync(fd)
        os.fdatasync(fd)
    assert (target / "file").read_bytes() == noise(100_000)


@pytest.fixture
def aligned() -> Iterator[mmap.mmap]:
    """A page-aligned buffer of 64 KiB, as O_DIRECT wants it."""
    with mmap.mmap(-1, 65536) as buffer:
        yield buffer


def test_direct_writes_are_read_by_cached_and_direct_readers(target: Path, aligned: mmap.mmap) -> None:
    require_direct(target)
    path = target / "file"
    aligned[:] = noise(65536)
    with opened(path, os.O_CREAT | os.O_RDWR | os.O_DIRECT) as direct, opened(path) as cached:
        for number in range(4):
            assert os.pwrite(direct, aligned, number * 65536) == 65536
            assert os.pread(cached, 65536, number * 65536) == noise(65536)
        os.pwrite(cached, b"cached", 4096)
        aligned[:] = bytes(65536)
        assert os.preadv(direct, [aligned], 0) == 65536
        assert aligned[4096:4102] == b"cached"
        aligned[:4096] = b"d" * 4096
        os.pwrite(direct, memoryview(aligned)[:4096], 0)
        assert os.pread(cached, 4096, 0) == b"d" * 4096


def test_a_direct_read_at_the_end_is_short(target: Path, aligned: mmap.mmap) -> None:
    require_direct(target)
    path = write(target / "file", b"x" * 5000)
    with opened(path, os.O_RDONLY | os.O_DIRECT) as fd:
        assert os.preadv(fd, [aligned], 0) == 5000
        assert os.preadv(fd, [aligned], 8192) == 0


def test_vectors_keep_their_order(target: Path) -> None:
    with opened(target / "file", os.O_CREAT | os.O_RDWR) as fd:
        parts = [noise(size, size) for size in (1, 4095, 4096, 70_000, 3)]
        assert os.pwritev(fd, parts, 10) == sum(map(len, parts))
        buffers = [bytearray(len(part)) for part in parts]
        os.preadv(fd, buffers, 10)
        assert [bytes(buffer) for buffer in buffers] == parts


@pytest.mark.parametrize("size", [1, 4096, 131_072, 131_073, 1_000_000, 3_000_001])
def test_one_write_call_of_any_size_is_whole(target: Path, size: int) -> None:
    data = noise(size)
    with opened(target / "file", os.O_CREAT | os.O_RDWR) as fd:
        assert os.write(fd, data) == size
        assert os.pread(fd, size + 1, 0) == data
    assert (target / "file").read_bytes() == data


def test_copy_file_range_copies_within_and_between_files(target: Path) -> None:
    data = noise(300_000)
    source = write(target / "source", data)
    with opened(source) as one, opened(target / "copy", os.O_CREAT | os.O_RDWR) as two:
        done = 0
        while count := os.copy_file_range(one, two, 1 << 20, done, done):
            done += count
        assert done == 300_000
        assert os.pread(two, 300_001, 0) == data
        assert os.copy_file_range(one, one, 1000, 0, 200_000) == 1000
        assert os.pread(one, 1000, 200_000) == data[:1000]
        with fails(errno.EINVAL):
            os.copy_file_range(one, one, 1000, 0, 500)
    assert (target / "copy").stat().st_size == 300_000


def test_sendfile_and_splice_carry_whole_files(target: Path) -> None:
    data = noise(500_000)
    source = write(target / "source", data)
    with opened(source) as one, opened(target / "sent", os.O_CREAT | os.O_WRONLY) as two:
        offset = 0
        while count := os.sendfile(two, one, offset, 1 << 20):
            offset += count
    assert (target / "sent").read_bytes() == data
    read, pipe = os.pipe()
    with opened(source) as one, opened(target / "spliced", os.O_CREAT | os.O_WRONLY) as two:
        while count := os.splice(one, pipe, 65536):
            while count:
                count -= os.splice(read, two, count)
    os.close(read)
    os.close(pipe)
    assert (target / "spliced").read_bytes() == data


def _write_stripes(path: Path, who: int, count: int) -> None:
    with opened(path) as fd:
        for number in range(count):
            os.pwrite(fd, bytes([who]) * 1000, (number * 8 + who) * 1000)


def test_writers_of_neighbouring_ranges_do_not_disturb_each_other(target: Path) -> None:
    path = write(target / "file")
    in_parallel([partial(_write_stripes, path, who, 40) for who in range(8)])
    assert path.read_bytes() == b"".join(bytes([who]) * 1000 for _ in range(40) for who in range(8))


def _events(fd: int) -> list[tuple[int, bytes]]:
    """The (mask, name) of all events waiting on *fd*."""
    events = []
    try:
        data = os.read(fd, 65536)
    except BlockingIOError:
        return []
    while data:
        _, mask, _, length = struct.unpack_from("iIII", data)
        events.append((mask & 0xFFF, data[16 : 16 + length].rstrip(b"\0")))
        data = data[16 + length :]
    return events


def test_inotify_reports_local_changes(target: Path) -> None:
    fd = inotify_init()
    mask = IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE
    inotify_add_watch(fd, target, mask)
    write(target / "file", b"data")
    (target / "file").chmod(0o600)
    (target / "file").rename(target / "moved")
    (target / "moved").unlink()
    seen: list[tuple[int, bytes]] = []

    def complete() -> bool:
        seen.extend(_events(fd))
        return (IN_DELETE, b"moved") in seen

    eventually(complete, "inotify tells of the removal")
    os.close(fd)
    wanted = [
        (IN_CREATE, b"file"),
        (IN_MODIFY, b"file"),
        (IN_CLOSE_WRITE, b"file"),
        (IN_ATTRIB, b"file"),
        (IN_MOVED_FROM, b"file"),
        (IN_MOVED_TO, b"moved"),
        (IN_DELETE, b"moved"),
    ]
    assert [event for event in seen if event in wanted] == wanted
