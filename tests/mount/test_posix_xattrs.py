"""Extended attributes: values, sizes, flags, errors."""

from __future__ import annotations

import ctypes
import errno
import os
from functools import partial
from pathlib import Path

import pytest

from .processes import as_user, in_parallel
from .support import ALICE, fails, opened, run, write


def user_names(path: Path | int) -> set[str]:
    """The user attributes of *path*; others may be there by the system's own doing."""
    return {name for name in os.listxattr(path) if name.startswith("user.")}


@pytest.mark.parametrize("value", [b"", b"v", b"\0\xff\n\0", b"x" * 1000], ids=lambda value: len(value))
def test_a_value_is_kept_as_it_is(target: Path, value: bytes) -> None:
    path = write(target / "file")
    os.setxattr(path, "user.test", value)
    assert os.getxattr(path, "user.test") == value
    assert user_names(path) == {"user.test"}
    with opened(path) as fd:
        assert os.getxattr(fd, "user.test") == value


def test_create_and_replace_flags_are_obeyed(target: Path) -> None:
    path = write(target / "file")
    with fails(errno.ENODATA):
        os.setxattr(path, "user.test", b"1", os.XATTR_REPLACE)
    os.setxattr(path, "user.test", b"2", os.XATTR_CREATE)
    with fails(errno.EEXIST):
        os.setxattr(path, "user.test", b"3", os.XATTR_CREATE)
    assert os.getxattr(path, "user.test") == b"2"
    os.setxattr(path, "user.test", b"4", os.XATTR_REPLACE)
    os.setxattr(path, "user.test", b"", os.XATTR_REPLACE)
    assert os.getxattr(path, "user.test") == b""


def test_absent_attributes_give_enodata(target: Path) -> None:
    path = write(target / "file")
    with fails(errno.ENODATA):
        os.getxattr(path, "user.none")
    with fails(errno.ENODATA):
        os.removexattr(path, "user.none")
    os.setxattr(path, "user.test", b"v")
    os.removexattr(path, "user.test")
    with fails(errno.ENODATA):
        os.getxattr(path, "user.test")
    assert not user_names(path)


def test_a_buffer_too_small_gives_erange_and_none_gives_the_size(target: Path) -> None:
    path = os.fsencode(write(target / "file"))
    os.setxattr(path, "user.test", b"0123456789")
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(10)
    assert libc.getxattr(path, b"user.test", None, 0) == 10
    assert libc.getxattr(path, b"user.test", buffer, 10) == 10
    assert libc.getxattr(path, b"user.test", buffer, 9) == -1
    assert ctypes.get_errno() == errno.ERANGE
    size = libc.listxattr(path, None, 0)
    assert size >= len(b"user.test\0")
    assert libc.listxattr(path, buffer, size - 1 if size < 12 else 9) == -1
    assert ctypes.get_errno() == errno.ERANGE


def test_names_and_values_beyond_the_limits_are_refused(target: Path) -> None:
    path = write(target / "file")
    longest = "user." + "n" * 250
    os.setxattr(path, longest, b"v")
    assert os.getxattr(path, longest) == b"v"
    with fails(errno.ERANGE, errno.ENAMETOOLONG):
        os.setxattr(path, longest + "n", b"v")
    with fails(errno.E2BIG, errno.ENOSPC):
        os.setxattr(path, "user.big", b"v" * 65537)
    for name in ("noprefix", "nowhere.x"):
        with fails(errno.EOPNOTSUPP):
            os.setxattr(path, name, b"v")
    with fails(errno.EINVAL, errno.EOPNOTSUPP):
        os.setxattr(path, "user.", b"v")
    assert user_names(path) == {longest}


def test_directories_have_attributes_and_links_pass_them_on(target: Path) -> None:
    directory = target / "dir"
    directory.mkdir()
    (target / "link").symlink_to("dir")
    os.setxattr(target / "link", "user.test", b"v")
    assert os.getxattr(directory, "user.test") == b"v"
    with fails(errno.EPERM):
        os.setxattr(target / "link", "user.test", b"v", follow_symlinks=False)
    os.setxattr(target / "link", "trusted.test", b"t", follow_symlinks=False)
    assert os.getxattr(target / "link", "trusted.test", follow_symlinks=False) == b"t"
    with fails(errno.ENODATA):
        os.getxattr(directory, "trusted.test")


def test_attributes_follow_the_inode(target: Path) -> None:
    path = write(target / "file")
    os.setxattr(path, "user.test", b"v")
    os.link(path, target / "link")
    path.rename(target / "moved")
    assert os.getxattr(target / "moved", "user.test") == b"v"
    os.setxattr(target / "link", "user.test", b"w")
    assert os.getxattr(target / "moved", "user.test") == b"w"
    write(target / "file")
    assert not user_names(target / "file")
    with opened(target / "moved") as fd:
        (target / "moved").unlink()
        (target / "link").unlink()
        assert os.getxattr(fd, "user.test") == b"w"


def test_permissions_cover_attributes(target: Path) -> None:
    path = write(target / "file")
    os.setxattr(path, "user.test", b"v")
    os.setxattr(path, "trusted.test", b"t")

    def reader() -> None:
        assert os.getxattr(path, "user.test") == b"v"
        with fails(errno.EACCES):
            os.setxattr(path, "user.test", b"w")
        with fails(errno.EACCES):
            os.removexattr(path, "user.test")
        with fails(errno.EPERM):
            os.setxattr(path, "trusted.test", b"w")
        with fails(errno.ENODATA):
            os.getxattr(path, "trusted.test")

    as_user(reader, ALICE)
    assert os.getxattr(path, "user.test") == b"v"


def test_special_files_take_no_user_attributes(target: Path) -> None:
    os.mkfifo(target / "fifo")
    with fails(errno.EPERM):
        os.setxattr(target / "fifo", "user.test", b"v")


def test_many_attributes_are_listed_each_once(target: Path) -> None:
    path = write(target / "file")
    expected = {f"user.name-{number}": b"%d" % number for number in range(40)}
    for name, value in expected.items():
        os.setxattr(path, name, value)
    assert {name: os.getxattr(path, name) for name in user_names(path)} == expected
    listed = [name for name in os.listxattr(path) if name.startswith("user.")]
    assert len(listed) == len(set(listed)) == 40


def _replace_value(path: Path, who: int) -> None:
    for _ in range(100):
        os.setxattr(path, "user.test", b"%d" % who * 200)
        value = os.getxattr(path, "user.test")
        assert len(value) == 200
        assert len(set(value)) == 1


def test_values_set_in_parallel_do_not_mix(target: Path) -> None:
    path = write(target / "file")
    in_parallel([partial(_replace_value, path, who) for who in range(4)])


def test_the_attr_tools_agree(target: Path) -> None:
    path = write(target / "file")
    run(["setfattr", "-n", "user.colour", "-v", "blue", path])
    assert os.getxattr(path, "user.colour") == b"blue"
    assert 'user.colour="blue"' in run(["getfattr", "-d", path])
