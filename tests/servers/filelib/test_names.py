"""Names: what each operation does to them, to the inodes behind, and what it refuses."""

from __future__ import annotations

import os
import stat

import pytest

from k42fs.errors import (
    BusyError,
    DirectoryNotEmptyError,
    InvalidArgumentError,
    K42Error,
    NameExistsError,
    NameNotFoundError,
    NameTooLongError,
    NotDirectoryError,
    NotPermittedError,
    ReadOnlyError,
    TargetIsDirectoryError,
    TooManyLinksError,
)
from k42fs.servers.attr_changes import AttrChanges
from k42fs.servers.rename import EXCHANGE, NOREPLACE
from tests.servers.filelib.lab import Lab


@pytest.fixture(params=["off", "full"])
def lab(request: pytest.FixtureRequest) -> Lab:
    return Lab(request.param)


def test_a_created_file_is_found_by_its_name(lab: Lab) -> None:
    file = lab.file(b"a")
    assert lab.call("lookup", lab.root, b"a") is file
    assert (file.mode, file.nlink, file.size) == (stat.S_IFREG | 0o644, 1, 0)


def test_an_unknown_name_is_not_found_twice(lab: Lab) -> None:
    for _ in range(2):  # the second time from the negative names
        with pytest.raises(NameNotFoundError):
            lab.call("lookup", lab.root, b"a")
    file = lab.file(b"a")
    assert lab.call("lookup", lab.root, b"a") is file


def test_dots_lead_to_the_directory_and_its_parent(lab: Lab) -> None:
    d = lab.dir(b"d")
    assert lab.call("lookup", d, b".") is d
    assert lab.call("lookup", d, b"..") is lab.root
    assert lab.call("lookup", lab.root, b"..") is lab.root


def test_names_of_255_bytes_fit_and_longer_ones_do_not(lab: Lab) -> None:
    file = lab.file(b"n" * 255)
    assert lab.call("lookup", lab.root, b"n" * 255) is file
    long = b"n" * 256
    for method, *args in (
        ("lookup", lab.root, long),
        ("create", lab.root, long, 0o644, 0),
        ("mkdir", lab.root, long, 0o755),
        ("link", file, lab.root, long),
        ("rename", lab.root, b"n" * 255, lab.root, long),
        ("symlink", lab.root, long, b"t"),
    ):
        with pytest.raises(NameTooLongError):
            lab.call(method, *args)


def test_exclusive_creation_refuses_a_taken_name(lab: Lab) -> None:
    file = lab.file(b"a")
    with pytest.raises(NameExistsError):
        lab.call("create", lab.root, b"a", 0o600, os.O_RDWR | os.O_EXCL)
    again, of = lab.open_new(b"a")
    assert again is file
    assert file.mode & 0o777 == 0o644
    lab.call("release", of)


def test_creation_over_a_directory_or_link_is_refused(lab: Lab) -> None:
    lab.dir(b"d")
    with pytest.raises(TargetIsDirectoryError):
        lab.call("create", lab.root, b"d", 0o644, os.O_RDWR)
    with pytest.raises(NameExistsError):
        lab.call("mkdir", lab.root, b"d", 0o755)
    with pytest.raises(NameExistsError):
        lab.call("symlink", lab.root, b"d", b"t")


def test_a_file_is_no_directory(lab: Lab) -> None:
    file = lab.file(b"a")
    for method, *args in (
        ("lookup", file, b"x"),
        ("lookup", file, b"."),
        ("create", file, b"x", 0o644, 2),
        ("mkdir", file, b"x", 0o755),
        ("unlink", file, b"x"),
        ("rmdir", file, b"x"),
        ("rename", file, b"x", lab.root, b"y"),
        ("rename", lab.root, b"a", file, b"y"),
        ("open_dir", file),
        ("rmdir", lab.root, b"a"),
    ):
        with pytest.raises(NotDirectoryError):
            lab.call(method, *args)


def test_directories_count_their_subdirectories(lab: Lab) -> None:
    d = lab.dir(b"d")
    lab.dir(b"e", d)
    lab.file(b"f", directory=d)
    assert (lab.root.nlink, d.nlink) == (3, 3)
    lab.call("rmdir", d, b"e")
    assert d.nlink == 2


def test_special_files_keep_type_and_device(lab: Lab) -> None:
    for name, kind, rdev in ((b"p", stat.S_IFIFO, 0), (b"s", stat.S_IFSOCK, 0), (b"c", stat.S_IFCHR, 0x105)):
        made = lab.call("mknod", lab.root, name, kind | 0o600, rdev)
        found = lab.call("lookup", lab.root, name)
        assert (found, found.mode, found.rdev) == (made, kind | 0o600, rdev)
        with pytest.raises(K42Error):
            lab.call("open", found, os.O_RDONLY)
    assert lab.call("mknod", lab.root, b"r", 0o600).mode == stat.S_IFREG | 0o600
    with pytest.raises(InvalidArgumentError):
        lab.call("mknod", lab.root, b"d", stat.S_IFDIR | 0o700)


def test_symbolic_links_hold_up_to_4095_bytes(lab: Lab) -> None:
    target = b"t" * 4095
    link = lab.call("symlink", lab.root, b"l", target)
    assert lab.call("read_link", link) == target
    assert (link.size, link.mode) == (4095, stat.S_IFLNK | 0o777)
    with pytest.raises(NameTooLongError):
        lab.call("symlink", lab.root, b"m", b"t" * 4096)
    with pytest.raises(NameNotFoundError):
        lab.call("symlink", lab.root, b"m", b"")
    with pytest.raises(InvalidArgumentError):
        lab.call("read_link", lab.root)


def test_unlink_takes_files_only_and_rmdir_empty_directories_only(lab: Lab) -> None:
    d = lab.dir(b"d")
    lab.file(b"f", directory=d)
    with pytest.raises(TargetIsDirectoryError):
        lab.call("unlink", lab.root, b"d")
    with pytest.raises(DirectoryNotEmptyError):
        lab.call("rmdir", lab.root, b"d")
    lab.call("unlink", d, b"f")
    with pytest.raises(NameNotFoundError):
        lab.call("unlink", d, b"f")
    assert lab.call("rmdir", lab.root, b"d") is d
    with pytest.raises(NameNotFoundError):
        lab.call("lookup", lab.root, b"d")


def test_dots_cannot_be_made_removed_or_renamed(lab: Lab) -> None:
    d = lab.dir(b"d")
    with pytest.raises(InvalidArgumentError):
        lab.call("rmdir", d, b".")
    with pytest.raises(DirectoryNotEmptyError):
        lab.call("rmdir", d, b"..")
    for args in ((d, b".", lab.root, b"x"), (lab.root, b"d", d, b"..")):
        with pytest.raises(BusyError):
            lab.call("rename", *args)
    with pytest.raises(NameExistsError):
        lab.call("mkdir", d, b".", 0o755)
    with pytest.raises(TargetIsDirectoryError):
        lab.call("unlink", d, b"..")


def test_nothing_is_made_in_a_removed_directory_that_is_open(lab: Lab) -> None:
    d = lab.dir(b"d")
    d.holds += 1
    handle = lab.call("open_dir", d)
    lab.call("rmdir", lab.root, b"d")
    file = lab.file(b"f")
    for method, *args in (
        ("create", d, b"x", 0o644, 2),
        ("mkdir", d, b"x", 0o755),
        ("link", file, d, b"x"),
        ("rename", lab.root, b"f", d, b"x"),
        ("lookup", d, b".."),
        ("lookup", d, b"x"),
    ):
        with pytest.raises(NameNotFoundError):
            lab.call(method, *args)
    assert lab.call("read_dir", handle, 0) == []
    lab.call("release_dir", handle)
    assert d.holds == 1
    lab.call("forget", d)
    assert d.holds < 0


def test_a_second_name_is_the_same_file(lab: Lab) -> None:
    file = lab.file(b"a", b"data")
    d = lab.dir(b"d")
    assert lab.call("link", file, d, b"b") is file
    assert file.nlink == 2
    assert lab.call("lookup", d, b"b") is file
    lab.call("unlink", lab.root, b"a")
    assert (file.nlink, lab.data(file)) == (1, b"data")


def test_links_are_refused_to_directories_taken_names_and_dead_files(lab: Lab) -> None:
    d, file = lab.dir(b"d"), lab.file(b"a")
    with pytest.raises(NotPermittedError):
        lab.call("link", d, lab.root, b"e")
    with pytest.raises(NameExistsError):
        lab.call("link", file, lab.root, b"d")
    file.holds += 1
    lab.call("unlink", lab.root, b"a")
    with pytest.raises(NameNotFoundError):
        lab.call("link", file, lab.root, b"b")


def test_a_file_has_at_most_65000_names(lab: Lab) -> None:
    file = lab.file(b"a")
    file.nlink = 65000
    with pytest.raises(TooManyLinksError):
        lab.call("link", file, lab.root, b"b")
    assert file.nlink == 65000
    with pytest.raises(NameNotFoundError):
        lab.call("lookup", lab.root, b"b")


def test_links_to_links_and_fifos_work(lab: Lab) -> None:
    link = lab.call("symlink", lab.root, b"l", b"t")
    fifo = lab.call("mknod", lab.root, b"p", stat.S_IFIFO | 0o600)
    for made, name in ((link, b"l2"), (fifo, b"p2")):
        lab.call("link", made, lab.root, name)
        assert made.nlink == 2
        lab.call("unlink", lab.root, name)
        assert made.nlink == 1


def test_rename_moves_and_replaces(lab: Lab) -> None:
    a, b, d = lab.file(b"a", b"A"), lab.file(b"b", b"B"), lab.dir(b"d")
    assert lab.call("rename", lab.root, b"a", d, b"c") == (a, None)
    assert lab.call("rename", d, b"c", lab.root, b"b") == (a, b)
    assert lab.call("lookup", lab.root, b"b") is a
    assert (b.nlink, b.holds < 0) == (0, True)
    assert lab.names() == [b"b", b"d"]


def test_rename_to_itself_or_to_another_name_of_the_file_changes_nothing(lab: Lab) -> None:
    a = lab.file(b"a")
    lab.call("link", a, lab.root, b"b")
    assert lab.call("rename", lab.root, b"a", lab.root, b"b") == (a, None)
    assert lab.call("rename", lab.root, b"a", lab.root, b"a") == (a, None)
    assert lab.names() == [b"a", b"b"]
    with pytest.raises(NameExistsError):
        lab.call("rename", lab.root, b"a", lab.root, b"a", NOREPLACE)
    with pytest.raises(NameNotFoundError):
        lab.call("rename", lab.root, b"x", lab.root, b"x")


def test_rename_heeds_types_and_contents(lab: Lab) -> None:
    d, e = lab.dir(b"d"), lab.dir(b"e")
    lab.file(b"a")
    lab.file(b"f", directory=e)
    with pytest.raises(TargetIsDirectoryError):
        lab.call("rename", lab.root, b"a", lab.root, b"d")
    with pytest.raises(NotDirectoryError):
        lab.call("rename", lab.root, b"d", lab.root, b"a")
    with pytest.raises(DirectoryNotEmptyError):
        lab.call("rename", lab.root, b"d", lab.root, b"e")
    assert lab.call("rename", lab.root, b"e", lab.root, b"d") == (e, d)
    assert (lab.call("lookup", lab.root, b"d"), d.nlink, lab.root.nlink) == (e, 0, 3)


def test_rename_never_makes_a_directory_its_own_ancestor(lab: Lab) -> None:
    d = lab.dir(b"d")
    e = lab.dir(b"e", d)
    f = lab.dir(b"f", e)
    for into in (d, e, f):
        with pytest.raises(InvalidArgumentError):
            lab.call("rename", lab.root, b"d", into, b"x")
    with pytest.raises(DirectoryNotEmptyError):
        lab.call("rename", e, b"f", lab.root, b"d")
    with pytest.raises(InvalidArgumentError):
        lab.call("rename", lab.root, b"d", e, b"f", EXCHANGE)
    with pytest.raises(InvalidArgumentError):
        lab.call("rename", e, b"f", lab.root, b"d", EXCHANGE)
    lab.call("rename", e, b"f", lab.root, b"g")
    assert (f.parent, e.nlink, lab.root.nlink) == (lab.root, 2, 4)


def test_exchange_swaps_names_of_any_type(lab: Lab) -> None:
    d, e = lab.dir(b"d"), lab.dir(b"e")
    a = lab.file(b"a", directory=d)
    assert lab.call("rename", d, b"a", lab.root, b"e", EXCHANGE) == (a, e)
    assert lab.call("lookup", lab.root, b"e") is a
    assert lab.call("lookup", d, b"a") is e
    assert (e.parent, d.nlink, lab.root.nlink) == (d, 3, 3)
    with pytest.raises(NameNotFoundError):
        lab.call("rename", d, b"a", lab.root, b"x", EXCHANGE)
    with pytest.raises(InvalidArgumentError):
        lab.call("rename", d, b"a", lab.root, b"e", EXCHANGE | NOREPLACE)


def test_noreplace_keeps_what_is_there(lab: Lab) -> None:
    a, b = lab.file(b"a"), lab.file(b"b")
    with pytest.raises(NameExistsError):
        lab.call("rename", lab.root, b"a", lab.root, b"b", NOREPLACE)
    assert lab.call("rename", lab.root, b"a", lab.root, b"c", NOREPLACE) == (a, None)
    assert lab.call("lookup", lab.root, b"b") is b


def test_nothing_changes_on_a_read_only_file_system(lab: Lab) -> None:
    d, a = lab.dir(b"d"), lab.file(b"a", b"data")
    lab.fs.is_read_only = True
    for method, *args in (
        ("create", lab.root, b"x", 0o644, os.O_RDWR),
        ("mkdir", lab.root, b"x", 0o755),
        ("symlink", lab.root, b"x", b"t"),
        ("link", a, lab.root, b"x"),
        ("unlink", lab.root, b"a"),
        ("rmdir", lab.root, b"d"),
        ("rename", lab.root, b"a", lab.root, b"b"),
        ("open", a, os.O_RDWR),
        ("open", a, os.O_RDONLY | os.O_TRUNC),
        ("set_attributes", a, AttrChanges(mode=0o600)),
        ("set_attributes", a, AttrChanges(size=0)),
        ("set_attributes", d, AttrChanges(mode=0o600)),
        ("set_xattr", a, b"user.x", b""),
    ):
        with pytest.raises(ReadOnlyError):
            lab.call(method, *args)
    assert lab.data(a) == b"data"
    assert lab.names() == [b"d", b"a"]


@pytest.mark.parametrize("method", ["unlink", "rmdir"])
def test_a_name_made_anew_is_a_new_inode(lab: Lab, method: str) -> None:
    make = lab.file if method == "unlink" else lab.dir
    old = make(b"a")
    lab.call(method, lab.root, b"a")
    new = make(b"a")
    assert new is not old
    assert lab.call("lookup", lab.root, b"a") is new
