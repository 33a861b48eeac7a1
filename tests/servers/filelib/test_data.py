"""Contents: reads, writes, lengths, and what becomes of unlinked files."""

from __future__ import annotations

import os

import pytest

from k42fs.errors import (
    BadHandleError,
    FileTooBigError,
    InvalidArgumentError,
    NameNotFoundError,
    NoSpaceError,
    TargetIsDirectoryError,
)
from k42fs.servers.attr_changes import AttrChanges
from k42fs.servers.ramfs.budget import INODE_BYTES
from k42fs.servers.ramfs.filesystem import FILE_MAX
from tests.servers.filelib.lab import Lab, rep_of

MIB = 1 << 20


@pytest.fixture(params=["off", "full"])
def lab(request: pytest.FixtureRequest) -> Lab:
    return Lab(request.param)


def test_what_was_written_is_read(lab: Lab) -> None:
    file, of = lab.open_new(b"a")
    assert lab.call("write", of, 5, b"hello") == 5
    assert (file.size, file.blocks) == (10, 8)
    assert lab.call("read", of, 0, 100) == b"\0\0\0\0\0hello"
    assert lab.call("read", of, 7, 2) == b"ll"
    assert lab.call("read", of, 10, 5) == b""
    assert lab.call("read", of, 99, 5) == b""
    assert lab.call("write", of, 0, b"") == 0


def test_a_terabyte_of_hole_costs_nothing(lab: Lab) -> None:
    file, of = lab.open_new(b"a")
    lab.call("set_attributes", file, AttrChanges(size=1 << 40), of)
    assert (file.size, file.blocks) == (1 << 40, 0)
    assert lab.call("read", of, (1 << 40) - 10, 100) == bytes(10)
    lab.call("write", of, (1 << 40) - 1, b"x")
    assert file.blocks == 8
    lab.call("set_attributes", file, AttrChanges(size=0), of)
    assert (file.size, file.blocks) == (0, 0)


def test_bytes_cut_off_never_come_back(lab: Lab) -> None:
    file, of = lab.open_new(b"a")
    lab.call("write", of, 0, b"x" * 10_000)
    lab.call("set_attributes", file, AttrChanges(size=5), of)
    lab.call("set_attributes", file, AttrChanges(size=10_000), of)
    assert lab.call("read", of, 0, 10_000) == b"x" * 5 + bytes(9_995)


def test_files_end_at_16_tebibytes_less_a_page(lab: Lab) -> None:
    file, of = lab.open_new(b"a")
    assert lab.call("write", of, FILE_MAX - 3, b"12345") == 3
    for offset in (FILE_MAX, (1 << 63) - 1):
        with pytest.raises(FileTooBigError):
            lab.call("write", of, offset, b"x")
    with pytest.raises(FileTooBigError):
        lab.call("set_attributes", file, AttrChanges(size=FILE_MAX + 1), of)
    assert file.size == FILE_MAX


def test_appends_go_to_the_end_whatever_the_offset(lab: Lab) -> None:
    file, of = lab.open_new(b"a", flags=os.O_RDWR | os.O_APPEND)
    lab.call("write", of, 0, b"one")
    other = lab.call("open", file, os.O_WRONLY)
    lab.call("write", other, 3, b"two")
    lab.call("write", of, 0, b"three")
    assert lab.call("read", of, 0, 99) == b"onetwothree"


def test_an_open_file_has_an_offset_of_its_own(lab: Lab) -> None:
    file, of = lab.open_new(b"a")
    for part in (b"ab", b"cd"):
        lab.call("write", of, None, part)
    assert lab.call("seek", of, -3, os.SEEK_END) == 1
    assert lab.call("read", of, None, 2) == b"bc"
    assert lab.call("read", of, None, 9) == b"d"
    assert lab.call("read", of, None, 9) == b""
    assert lab.call("seek", of, 0, os.SEEK_CUR) == 4
    assert lab.call("seek", of, 100, os.SEEK_SET) == 100
    assert lab.call("read", of, None, 9) == b""
    assert (lab.call("seek", of, 0, os.SEEK_CUR), file.size) == (100, 4)
    for offset, whence in ((-1, os.SEEK_SET), (0, 77)):
        with pytest.raises(InvalidArgumentError):
            lab.call("seek", of, offset, whence)
    other = lab.call("open", file, os.O_RDONLY)
    assert lab.call("read", other, None, 2) == b"ab"


def test_open_truncates_when_asked(lab: Lab) -> None:
    file = lab.file(b"a", b"data")
    of = lab.call("open", file, os.O_WRONLY | os.O_TRUNC)
    assert (file.size, file.blocks) == (0, 0)
    lab.call("release", of)
    lab.file(b"b", b"data")
    again, of = lab.open_new(b"b", flags=os.O_RDWR | os.O_TRUNC)
    assert again.size == 0


def test_lengths_are_for_regular_files(lab: Lab) -> None:
    with pytest.raises(TargetIsDirectoryError):
        lab.call("set_attributes", lab.root, AttrChanges(size=0))
    link = lab.call("symlink", lab.root, b"l", b"t")
    with pytest.raises(InvalidArgumentError):
        lab.call("set_attributes", link, AttrChanges(size=0))
    with pytest.raises(InvalidArgumentError):
        lab.call("set_attributes", lab.file(b"a"), AttrChanges(size=-1))


def test_a_file_is_read_only_as_long_as_no_open_may_write(lab: Lab) -> None:
    file = lab.file(b"a")
    first = lab.call("open", file, os.O_RDONLY)
    sf = rep_of(lab.cos, file.obj_ref)
    assert sf.is_read_only
    second, third = lab.call("open", file, os.O_RDWR), lab.call("open", file, os.O_WRONLY)
    assert not sf.is_read_only
    lab.call("release", second)
    assert not sf.is_read_only
    lab.call("release", third)
    assert sf.is_read_only
    lab.call("release", first)


def test_an_unlinked_file_lives_until_its_last_close(lab: Lab) -> None:
    before = lab.call("stat_fs").free_blocks
    file, of = lab.open_new(b"a")
    lab.call("write", of, 0, b"x" * MIB)
    other = lab.call("open", file, os.O_RDONLY)
    lab.call("unlink", lab.root, b"a")
    assert file.nlink == 0
    lab.call("release", of)
    assert lab.call("read", other, 0, MIB) == b"x" * MIB
    assert lab.call("stat_fs").free_blocks == before - 256
    lab.call("release", other)
    assert file.holds < 0
    assert lab.call("stat_fs").free_blocks == before
    assert lab.objects() == {"DirObject": 1}
    with pytest.raises(NameNotFoundError):
        lab.call("open", file, os.O_RDONLY)


@pytest.mark.parametrize("order", [("release", "forget"), ("forget", "release")])
def test_the_kernel_and_opens_keep_a_nameless_file(lab: Lab, order: tuple[str, str]) -> None:
    before = lab.call("stat_fs")
    file, of = lab.open_new(b"a")
    file.holds += 1
    file.holds += 1
    lab.call("write", of, 0, b"data")
    lab.call("unlink", lab.root, b"a")
    lab.call("forget", file)
    for method in order:
        assert file.holds >= 0
        lab.call(method, of if method == "release" else file)
    assert file.holds < 0
    assert lab.call("stat_fs") == before


def test_a_held_nameless_file_can_be_opened_again(lab: Lab) -> None:
    file = lab.file(b"a", b"data")
    file.holds += 1
    lab.call("unlink", lab.root, b"a")
    assert lab.data(file) == b"data"
    lab.call("forget", file)
    assert file.holds < 0


def test_a_full_file_system_takes_what_fits_and_then_nothing() -> None:
    lab = Lab(size=MIB)
    file, of = lab.open_new(b"a")
    data = b"x" * MIB
    fits = (MIB - 2 * INODE_BYTES) // 4096 * 4096
    assert lab.call("write", of, 0, data) == fits
    with pytest.raises(NoSpaceError):
        lab.call("write", of, fits, b"y")
    assert (file.size, file.blocks) == (fits, fits // 512)
    assert lab.call("write", of, 100, b"in place") == 8
    lab.call("set_attributes", file, AttrChanges(size=0), of)
    assert lab.call("stat_fs").free_blocks == fits // 4096
    assert lab.call("write", of, 0, data) == fits


def test_inodes_take_space_until_there_is_none_and_give_it_back() -> None:
    lab = Lab(size=256 * 1024)
    names = [b"%d" % i for i in range(255)]
    for i, name in enumerate(names):
        lab.call("mknod", lab.root, name, 0o644, vp=i % 4)
    status = lab.call("stat_fs")
    assert (status.files, status.free_files) == (256, 0)
    for vp in range(4):
        with pytest.raises(NoSpaceError):
            lab.call("mknod", lab.root, b"x", 0o644, vp=vp)
        with pytest.raises(NoSpaceError):
            lab.call("mkdir", lab.root, b"x", 0o755, vp=vp)
    assert sorted(lab.names()) == sorted(names)  # in order of age only where one lock orders it
    for i, name in enumerate(names):
        lab.call("unlink", lab.root, name, vp=i % 3)
    assert lab.call("stat_fs").free_files == 255


def test_rights_of_an_open_are_those_it_was_opened_with() -> None:
    lab = Lab(check=True)
    file = lab.file(b"a", b"data")
    reader, writer = lab.call("open", file, os.O_RDONLY), lab.call("open", file, os.O_WRONLY)
    with pytest.raises(BadHandleError):
        lab.call("write", reader, 0, b"x")
    with pytest.raises(BadHandleError):
        lab.call("read", writer, 0, 1)
    with pytest.raises(InvalidArgumentError):
        lab.call("set_attributes", file, AttrChanges(size=0), reader)


def test_a_write_of_whole_chunks_is_not_copied() -> None:
    lab = Lab()
    _, of = lab.open_new(b"a")
    data = bytes(range(256)) * 512
    lab.call("write", of, 128 * 1024, data)
    assert lab.call("read", of, 128 * 1024, 128 * 1024) is data
    lab.call("fsync", of, True)
