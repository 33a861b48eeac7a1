"""Memory mappings: coherent with read and write, between processes, at the end of a file."""

from __future__ import annotations

import faulthandler
import mmap
import os
import signal
from contextlib import closing
from pathlib import Path

import pytest

from .processes import Child, as_user
from .support import opened, write

PAGE = mmap.PAGESIZE


@pytest.fixture
def file(target: Path) -> Path:
    """A file of four pages, each filled with its number."""
    return write(target / "file", b"".join(b"%d" % number * PAGE for number in range(4)))


def test_writes_through_a_shared_mapping_are_read_at_once(file: Path) -> None:
    with opened(file) as fd, closing(mmap.mmap(fd, 4 * PAGE)) as mapping:
        for offset in range(0, 4 * PAGE, 1021):
            mapping[offset : offset + 4] = b"mmap"
            assert os.pread(fd, 4, offset) == b"mmap"
    data = file.read_bytes()
    assert all(data[offset : offset + 4] == b"mmap" for offset in range(0, 4 * PAGE, 1021))


def test_write_calls_show_in_a_mapping_at_once(file: Path) -> None:
    with opened(file) as fd, closing(mmap.mmap(fd, 4 * PAGE)) as mapping:
        assert mapping[PAGE] == ord("1")
        for offset in range(0, 4 * PAGE, 1021):
            os.pwrite(fd, b"call", offset)
            assert mapping[offset : offset + 4] == b"call"


def test_mapping_and_calls_do_not_lose_each_others_bytes_in_one_page(file: Path) -> None:
    with opened(file) as fd, closing(mmap.mmap(fd, PAGE)) as mapping:
        for number in range(0, 2000, 2):
            mapping[number] = ord("m")
            os.pwrite(fd, b"w", number + 1)
        mapping.flush()
    assert file.read_bytes()[:2000] == b"mw" * 1000


def test_a_mapping_outlives_its_descriptor(file: Path) -> None:
    with opened(file) as fd:
        mapping = mmap.mmap(fd, 4 * PAGE)
    mapping[0:5] = b"later"
    mapping.flush()
    mapping.close()
    assert file.read_bytes()[:6] == b"later0"


def test_a_private_mapping_changes_nothing(file: Path) -> None:
    with opened(file) as fd, closing(mmap.mmap(fd, PAGE, access=mmap.ACCESS_COPY)) as mapping:
        mapping[0:7] = b"private"
    assert file.read_bytes()[:7] == b"0000000"


def test_two_processes_share_a_mapping(file: Path) -> None:
    def answer() -> None:
        with opened(file) as fd, closing(mmap.mmap(fd, PAGE)) as mapping:
            while mapping[0] != ord("?"):
                pass
            mapping[1] = ord("!")

    with opened(file) as fd, closing(mmap.mmap(fd, PAGE)) as mapping, Child(answer) as child:
        mapping[0] = ord("?")
        child.result(20)
        assert mapping[0:2] == b"?!"
        assert os.pread(fd, 2, 0) == b"?!"


def test_the_rest_of_the_last_page_is_zero_and_never_reaches_the_file(target: Path) -> None:
    path = write(target / "file", b"x" * 100)
    with opened(path) as fd, closing(mmap.mmap(fd, 100)) as mapping:
        assert mapping[:] == b"x" * 100
    with opened(path) as fd:
        os.ftruncate(fd, 50)
        os.ftruncate(fd, PAGE)
        with closing(mmap.mmap(fd, PAGE)) as mapping:
            assert mapping[:] == b"x" * 50 + bytes(PAGE - 50)


def test_growing_a_file_under_its_mapping_shows_the_new_data(file: Path) -> None:
    with opened(file) as fd:
        os.ftruncate(fd, 8 * PAGE)
        with closing(mmap.mmap(fd, 8 * PAGE)) as mapping:
            assert mapping[4 * PAGE :] == bytes(4 * PAGE)
            os.pwrite(fd, b"grown", 7 * PAGE)
            assert mapping[7 * PAGE : 7 * PAGE + 5] == b"grown"


def test_touching_pages_cut_off_kills_with_sigbus(file: Path) -> None:
    def touch() -> None:
        faulthandler.disable()  # the signal is wanted, its report is not
        with opened(file) as fd:
            mapping = mmap.mmap(fd, 4 * PAGE)
            os.ftruncate(fd, PAGE)
            mapping[3 * PAGE] = 1

    with Child(touch) as child:
        assert os.WTERMSIG(child.wait()) == signal.SIGBUS
    assert file.stat().st_size == PAGE


def test_a_mapped_write_moves_the_mtime_by_the_time_it_is_synced(file: Path) -> None:
    os.utime(file, (1_000_000_000, 1_000_000_000))
    with opened(file) as fd, closing(mmap.mmap(fd, PAGE)) as mapping:
        mapping[0] = 1
        mapping.flush()
    assert file.stat().st_mtime > 1_000_000_000


def test_dirty_pages_reach_the_file_before_another_opens_it(file: Path) -> None:
    with opened(file) as fd, closing(mmap.mmap(fd, 4 * PAGE)) as mapping:
        mapping[2 * PAGE :] = b"z" * (2 * PAGE)
        assert as_user(file.read_bytes, 0)[2 * PAGE :] == b"z" * (2 * PAGE)


def test_a_large_mapping_is_read_and_written_throughout(target: Path) -> None:
    path = target / "file"
    size = 8 << 20
    with opened(path, os.O_CREAT | os.O_RDWR) as fd:
        os.ftruncate(fd, size)
        with closing(mmap.mmap(fd, size)) as mapping:
            for offset in range(0, size, PAGE):
                mapping[offset : offset + 8] = offset.to_bytes(8, "big")
            mapping.flush()
    with opened(path) as fd:
        for offset in range(0, size, PAGE * 7):
            assert os.pread(fd, 8, offset) == offset.to_bytes(8, "big")
