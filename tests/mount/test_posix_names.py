"""Names: length, odd bytes, dots, paths."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from .support import fails, names, opened, write

LONGEST = b"n" * 255
TOO_LONG = b"n" * 256

Maker = Callable[[bytes], object]

MAKERS: dict[str, Maker] = {
    "create": lambda path: os.close(os.open(path, os.O_CREAT | os.O_WRONLY)),
    "mkdir": os.mkdir,
    "mknod": os.mkfifo,
    "symlink": lambda path: os.symlink(b"anywhere", path),
    "link": lambda path: os.link(os.path.dirname(path) + b"/file", path),
    "rename": lambda path: os.rename(os.path.dirname(path) + b"/file", path),
}
USERS: dict[str, Maker] = {
    "stat": os.lstat,
    "open": lambda path: os.open(path, os.O_RDONLY),
    "unlink": os.unlink,
    "rmdir": os.rmdir,
    "readlink": os.readlink,
    "rename": lambda path: os.rename(path, os.path.dirname(path) + b"/other"),
    "link": lambda path: os.link(path, os.path.dirname(path) + b"/other"),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_name_of_255_bytes_is_made_and_listed(target: Path, make: Maker) -> None:
    write(target / "file")
    path = os.fsencode(target / "") + b"/" + LONGEST
    make(path)
    assert LONGEST in names(target)
    assert os.lstat(path)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_name_of_256_bytes_cannot_be_made(target: Path, make: Maker) -> None:
    write(target / "file")
    with fails(errno.ENAMETOOLONG):
        make(os.fsencode(target) + b"/" + TOO_LONG)
    assert names(target) == {b"file"}


@pytest.mark.parametrize("use", USERS.values(), ids=USERS)
def test_a_name_of_256_bytes_is_too_long_and_not_merely_absent(target: Path, use: Maker) -> None:
    with fails(errno.ENAMETOOLONG):
        use(os.fsencode(target) + b"/" + TOO_LONG)


@pytest.mark.parametrize("length", [255, 256])
def test_the_length_of_a_name_counts_bytes_and_not_characters(target: Path, length: int) -> None:
    name = ("é" * 128).encode()[:length]
    path = os.fsencode(target) + b"/" + name
    if length == 255:
        os.mkdir(path)
        assert names(target) == {name}
    else:
        with fails(errno.ENAMETOOLONG):
            os.mkdir(path)


def test_every_byte_but_slash_and_nul_is_a_name(target: Path) -> None:
    singles = {bytes([byte]) for byte in range(1, 256)} - {b"/", b"."}
    for name in singles:
        os.close(os.open(os.fsencode(target) + b"/" + name, os.O_CREAT | os.O_EXCL))
    assert names(target) == singles
    for name in singles:
        os.unlink(os.fsencode(target) + b"/" + name)
    assert not names(target)


@pytest.mark.parametrize(
    "name",
    [b"\xff\xfe", b"\xc3\x28", b" ", b"a b\tc\nd", b"...", b"..x", b"-rf", b"*", b"a\\b", b"\x1b[31m"],
)
def test_odd_names_hold_data_and_survive_a_rename(target: Path, name: bytes) -> None:
    path = os.fsencode(target) + b"/" + name
    with opened(path, os.O_CREAT | os.O_RDWR) as fd:
        os.write(fd, name)
    os.rename(path, path + b"2")
    with opened(path + b"2", os.O_RDONLY) as fd:
        assert os.read(fd, 100) == name
    assert names(target) == {name + b"2"}


def test_case_and_unicode_form_tell_names_apart(target: Path) -> None:
    different = ["readme", "README", "\u00e9", "e\u0301", "\u212b", "\u00c5"]
    for name in different:
        write(target / name, name.encode())
    assert [(target / name).read_bytes() for name in different] == [name.encode() for name in different]


def test_dot_and_dot_dot_are_the_directory_and_its_parent(target: Path) -> None:
    inner = target / "a" / "b"
    inner.mkdir(parents=True)
    assert os.stat(f"{inner}/.").st_ino == inner.stat().st_ino
    assert os.stat(f"{inner}/..").st_ino == (target / "a").stat().st_ino
    assert os.stat(f"{inner}/../..").st_ino == target.stat().st_ino
    with opened(inner, os.O_RDONLY) as fd:
        (target / "a").rename(target / "moved")
        assert os.stat("..", dir_fd=fd).st_ino == (target / "moved").stat().st_ino


def test_dot_and_dot_dot_cannot_be_made_removed_or_renamed(target: Path) -> None:
    inner = target / "a"
    inner.mkdir()
    for name, codes in ((".", (errno.EINVAL,)), ("..", (errno.ENOTEMPTY,))):
        with fails(errno.EEXIST):
            os.mkdir(f"{inner}/{name}")
        with fails(*codes):
            os.rmdir(f"{inner}/{name}")
        with fails(errno.EBUSY):
            os.rename(f"{inner}/{name}", f"{target}/b")
        with fails(errno.EISDIR):
            os.unlink(f"{inner}/{name}")
    assert names(target) == {b"a"}


def test_paths_through_files_and_absences_fail(target: Path) -> None:
    write(target / "file")
    with fails(errno.ENOTDIR):
        os.stat(target / "file" / "x")
    with fails(errno.ENOTDIR):
        os.mkdir(target / "file" / "x")
    with fails(errno.ENOTDIR):
        os.stat(f"{target}/file/")
    with fails(errno.ENOENT):
        os.stat(target / "none" / "x")
    with fails(errno.ENOENT):
        os.mkdir(target / "none" / "x")


def test_a_path_of_path_max_bytes_is_too_long(target: Path) -> None:
    prefix = f"{target}/"
    path = prefix + "./" * ((4096 - len(prefix)) // 2)
    assert len(path) >= 4095
    with fails(errno.ENAMETOOLONG):
        os.stat(path + "x")
    assert os.stat(path[:4094]).st_ino == target.stat().st_ino


def test_a_tree_deeper_than_any_path_can_be_built_walked_and_removed(target: Path) -> None:
    name, depth = "d" * 200, 60
    fds = [os.open(target, os.O_RDONLY)]
    try:
        for _ in range(depth):
            os.mkdir(name, dir_fd=fds[-1])
            fds.append(os.open(name, os.O_RDONLY, dir_fd=fds[-1]))
        assert os.stat("../" * depth, dir_fd=fds[-1]).st_ino == target.stat().st_ino
        for fd in reversed(fds[:-1]):
            os.rmdir(name, dir_fd=fd)
    finally:
        for fd in fds:
            os.close(fd)
    assert not names(target)
