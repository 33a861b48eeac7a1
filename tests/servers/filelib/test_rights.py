"""A tree made with check=True: who may do what."""

from __future__ import annotations

import os
from typing import Any

import pytest

from k42fs.errors import K42Error, NotPermittedError, PermissionDeniedError
from k42fs.servers import posix_acl
from k42fs.servers.attr_changes import AttrChanges
from k42fs.servers.credentials import READ, SEARCH, WRITE, Creds, may
from k42fs.servers.fs_file import FSFile
from k42fs.servers.posix_acl import GROUP_OBJ, MASK, OTHER, USER, USER_OBJ, Entry
from tests.servers.filelib.lab import Lab

OWNER, OTHER_USER, MEMBER = Creds(1, 1), Creds(2, 2), Creds(3, 3, groups=frozenset({1}))


@pytest.fixture
def lab() -> Lab:
    lab = Lab(check=True)
    lab.call("set_attributes", lab.root, AttrChanges(mode=0o777))
    return lab


def made(lab: Lab, name: bytes, mode: int, *, directory: bool = False) -> FSFile:
    """Something of OWNER's."""
    file = lab.call("mkdir" if directory else "mknod", lab.root, name, 0o700, creds=OWNER)
    lab.call("set_attributes", file, AttrChanges(mode=mode), creds=OWNER)
    assert isinstance(file, FSFile)
    return file


@pytest.mark.parametrize(
    ("creds", "mask", "allowed"),
    [
        (OWNER, READ | WRITE, True),
        (OWNER, SEARCH, False),
        (MEMBER, READ, True),
        (MEMBER, WRITE, False),
        (OTHER_USER, READ, False),
        (Creds(0, 0), READ | WRITE, True),
        (Creds(0, 0), SEARCH, False),
    ],
)
def test_mode_bits_are_read_class_by_class(lab: Lab, creds: Creds, mask: int, allowed: bool) -> None:
    assert may(creds, made(lab, b"f", 0o640), mask) is allowed


def test_root_searches_every_directory(lab: Lab) -> None:
    assert may(Creds(0, 0), made(lab, b"d", 0, directory=True), SEARCH | READ | WRITE)


def test_an_acl_counts_where_there_is_one(lab: Lab) -> None:
    file = made(lab, b"f", 0o600)
    acl = (Entry(USER_OBJ, 6), Entry(USER, 4, 2), Entry(GROUP_OBJ, 0), Entry(MASK, 4), Entry(OTHER, 0))
    lab.call("set_xattr", file, posix_acl.ACCESS, posix_acl.build(acl), creds=OWNER)
    assert may(OTHER_USER, file, READ)
    assert not may(OTHER_USER, file, WRITE)


REFUSED: list[tuple[int, str, Any]] = [
    (0o666, "lookup", lambda d: (d, b"f")),
    (0o666, "resolve", lambda d: (b"/d/f",)),
    (0o555, "create", lambda d: (d, b"n", 0o644, os.O_RDWR)),
    (0o555, "mkdir", lambda d: (d, b"n", 0o755)),
    (0o555, "symlink", lambda d: (d, b"n", b"t")),
    (0o555, "unlink", lambda d: (d, b"f")),
    (0o555, "rmdir", lambda d: (d, b"e")),
    (0o555, "rename", lambda d: (d, b"f", d, b"n")),
    (0o333, "open_dir", lambda d: (d,)),
]


@pytest.mark.parametrize(("mode", "method", "args"), REFUSED)
def test_directory_rights_guard_its_names(lab: Lab, mode: int, method: str, args: Any) -> None:  # noqa: ANN401
    d = made(lab, b"d", 0o777, directory=True)
    lab.call("mknod", d, b"f", 0o666, creds=OWNER)
    lab.call("mkdir", d, b"e", 0o777, creds=OWNER)
    lab.call("set_attributes", d, AttrChanges(mode=mode), creds=OWNER)
    with pytest.raises(PermissionDeniedError):
        lab.call(method, *args(d), creds=OTHER_USER)


def test_a_sticky_directory_lets_only_owners_remove(lab: Lab) -> None:
    d = made(lab, b"d", 0o1777, directory=True)
    lab.call("mknod", d, b"f", 0o666, creds=OTHER_USER)
    for method, args in (("unlink", (d, b"f")), ("rename", (d, b"f", lab.root, b"g"))):
        with pytest.raises(NotPermittedError):
            lab.call(method, *args, creds=MEMBER)
    lab.call("rename", d, b"f", d, b"g", creds=OTHER_USER)
    lab.call("unlink", d, b"g", creds=OWNER)


def test_opening_needs_the_rights_it_asks_for(lab: Lab) -> None:
    file = made(lab, b"f", 0o644)
    assert lab.call("open", file, os.O_RDONLY, creds=OTHER_USER)
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC):
        with pytest.raises(PermissionDeniedError):
            lab.call("open", file, flags, creds=OTHER_USER)
    new, of = lab.call("create", lab.root, b"n", 0, os.O_RDWR, creds=OTHER_USER)
    assert (new.mode & 0o777, of.is_writable) == (0, True)


@pytest.mark.parametrize(
    "changes",
    [
        AttrChanges(mode=0o777),
        AttrChanges(uid=2),
        AttrChanges(gid=2),
        AttrChanges(mtime_ns=0),
        AttrChanges(size=0),
    ],
)
@pytest.mark.parametrize("warm", [False, True])
def test_strangers_change_no_attributes(lab: Lab, changes: AttrChanges, warm: bool) -> None:
    file = made(lab, b"f", 0o644)
    if warm:
        lab.call("open", file, os.O_RDONLY, creds=OWNER)
    with pytest.raises(K42Error):
        lab.call("set_attributes", file, changes, creds=OTHER_USER)
    assert (file.mode & 0o7777, file.uid, file.gid) == (0o644, 1, 1)


def test_owners_give_files_to_their_own_groups_only(lab: Lab) -> None:
    file = made(lab, b"f", 0o644)
    with pytest.raises(NotPermittedError):
        lab.call("set_attributes", file, AttrChanges(gid=7), creds=OWNER)
    with pytest.raises(NotPermittedError):
        lab.call("set_attributes", file, AttrChanges(uid=7), creds=OWNER)
    lab.call("set_attributes", file, AttrChanges(gid=7), creds=Creds(1, 1, groups=frozenset({7})))
    assert file.gid == 7
    lab.call("set_attributes", file, AttrChanges(mode=0o2755), creds=OWNER)
    assert file.mode & 0o7777 == 0o755  # not in group 7: no set-group-ID


def test_moving_a_directory_elsewhere_needs_write_permission_on_it(lab: Lab) -> None:
    d = made(lab, b"d", 0o555, directory=True)
    e = made(lab, b"e", 0o777, directory=True)
    with pytest.raises(PermissionDeniedError):
        lab.call("rename", lab.root, b"d", e, b"d", creds=OTHER_USER)
    lab.call("rename", lab.root, b"d", lab.root, b"x", creds=OTHER_USER)
    assert d.parent is lab.root


def test_attributes_have_their_own_rules(lab: Lab) -> None:
    file = made(lab, b"f", 0o600)
    lab.call("set_xattr", file, b"user.x", b"1", creds=OWNER)
    for method, args in (("get_xattr", ()), ("set_xattr", (b"",)), ("remove_xattr", ())):
        with pytest.raises(PermissionDeniedError):
            lab.call(method, file, b"user.x", *args, creds=OTHER_USER)
    with pytest.raises(NotPermittedError):
        lab.call("set_xattr", file, b"trusted.x", b"", creds=OWNER)
    with pytest.raises(NotPermittedError):
        lab.call("set_xattr", file, posix_acl.ACCESS, b"", creds=OTHER_USER)
    d = made(lab, b"d", 0o1777, directory=True)
    with pytest.raises(PermissionDeniedError):
        lab.call("set_xattr", d, b"user.x", b"", creds=OTHER_USER)
