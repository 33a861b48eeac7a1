"""Modes, owners, set-ID bits, extended attributes and access control lists."""

from __future__ import annotations

import os
import stat

import pytest

from k42fs.errors import (
    InvalidArgumentError,
    K42Error,
    NameExistsError,
    NoDataError,
    NoSpaceError,
    NotPermittedError,
    NotSupportedError,
    PermissionDeniedError,
    TooBigError,
    ValueRangeError,
)
from k42fs.servers import posix_acl
from k42fs.servers.attr_changes import AttrChanges
from k42fs.servers.credentials import Creds
from k42fs.servers.posix_acl import GROUP, GROUP_OBJ, MASK, OTHER, USER, USER_OBJ, Entry
from tests.servers.filelib.lab import Lab

USER_1 = Creds(1000, 1000, umask=0o022)
ACL = (
    Entry(USER_OBJ, 7),
    Entry(USER, 5, 2000),
    Entry(GROUP_OBJ, 4),
    Entry(GROUP, 6, 3000),
    Entry(MASK, 5),
    Entry(OTHER, 1),
)


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_new_inodes_belong_to_the_caller_less_its_umask(lab: Lab) -> None:
    file, _ = lab.call("create", lab.root, b"f", 0o666, os.O_RDWR, creds=USER_1)
    directory = lab.call("mkdir", lab.root, b"d", 0o777, creds=USER_1)
    assert (file.uid, file.gid, file.mode & 0o7777) == (1000, 1000, 0o644)
    assert directory.mode & 0o7777 == 0o755
    assert lab.call("symlink", lab.root, b"l", b"t", creds=USER_1).mode & 0o777 == 0o777


def test_a_setgid_directory_hands_down_its_group(lab: Lab) -> None:
    d = lab.dir(b"d")
    lab.call("set_attributes", d, AttrChanges(gid=50, mode=0o2777))
    file, _ = lab.call("create", d, b"f", 0o2775, os.O_RDWR, creds=USER_1)
    below = lab.call("mkdir", d, b"e", 0o755, creds=USER_1)
    assert (file.gid, file.mode & 0o7777) == (50, 0o755)
    assert (below.gid, below.mode & 0o7777) == (50, 0o2755)
    member, _ = lab.call("create", d, b"g", 0o2775, os.O_RDWR, creds=Creds(1, 1, groups=frozenset({50})))
    assert member.mode & 0o7777 == 0o2775


def test_chown_clears_set_id_bits_of_files(lab: Lab) -> None:
    file, d = lab.file(b"f"), lab.dir(b"d")
    lab.call("set_attributes", file, AttrChanges(mode=0o6775))
    lab.call("set_xattr", file, b"security.capability", b"cap")
    changes = AttrChanges(uid=1)
    lab.call("set_attributes", file, changes)
    assert changes == AttrChanges(uid=1), "the caller's request was changed"
    assert (file.uid, file.mode & 0o7777) == (1, 0o775)
    assert lab.call("list_xattr", file) == []
    lab.call("set_attributes", file, AttrChanges(mode=0o6765))
    lab.call("set_attributes", file, AttrChanges(gid=1))
    assert file.mode & 0o7777 == 0o2765  # no group execute: mandatory locking, not set-ID
    lab.call("set_attributes", d, AttrChanges(mode=0o2755))
    lab.call("set_attributes", d, AttrChanges(gid=1))
    assert d.mode & 0o7777 == 0o2755


@pytest.mark.parametrize(("uid", "left"), [(1000, 0o755), (0, 0o6755)])
def test_changing_contents_clears_set_id_bits_but_for_root(lab: Lab, uid: int, left: int) -> None:
    creds = Creds(uid, uid)
    file = lab.file(b"f", b"x")
    of = lab.call("open", file, os.O_RDWR, creds=creds)
    for method, *args in (
        ("write", of, 0, b"y"),
        ("set_attributes", file, AttrChanges(size=0), of),
        ("open", file, os.O_RDWR | os.O_TRUNC),
    ):
        lab.call("set_attributes", file, AttrChanges(mode=0o6755))
        lab.call(method, *args, creds=creds)
        assert file.mode & 0o7777 == left
    lab.call("set_attributes", file, AttrChanges(mode=0o6755))
    lab.call("write", of, 0, b"", creds=creds)
    assert file.mode & 0o7777 == 0o6755


def test_attributes_are_created_replaced_listed_and_removed(lab: Lab) -> None:
    file = lab.file(b"f")
    lab.call("set_xattr", file, b"user.a", b"1", 1)
    with pytest.raises(NameExistsError):
        lab.call("set_xattr", file, b"user.a", b"2", 1)
    with pytest.raises(NoDataError):
        lab.call("set_xattr", file, b"user.b", b"2", 2)
    with pytest.raises(InvalidArgumentError):
        lab.call("set_xattr", file, b"user.b", b"2", 4)
    lab.call("set_xattr", file, b"user.a", b"", 2)
    lab.call("set_xattr", file, b"trusted.b", b"3")
    assert lab.call("get_xattr", file, b"user.a") == b""
    assert lab.call("list_xattr", file) == [b"user.a", b"trusted.b"]
    lab.call("remove_xattr", file, b"user.a")
    for method in ("get_xattr", "remove_xattr"):
        with pytest.raises(NoDataError):
            lab.call(method, file, b"user.a")


def test_attribute_limits_are_those_of_linux(lab: Lab) -> None:
    file = lab.file(b"f")
    lab.call("set_xattr", file, b"user." + b"n" * 250, b"")
    for name in (b"", b"user." + b"n" * 251):
        with pytest.raises(ValueRangeError):
            lab.call("set_xattr", file, name, b"")
    lab.call("set_xattr", file, b"user.v", bytes(65536))
    with pytest.raises(TooBigError):
        lab.call("set_xattr", file, b"user.w", bytes(65537))
    with pytest.raises(InvalidArgumentError):
        lab.call("set_xattr", file, b"user.", b"")
    for name in (b"other.x", b"system.x", b"userx"):
        with pytest.raises(NotSupportedError):
            lab.call("set_xattr", file, name, b"")

    def fill() -> None:
        for i in range(1000):
            lab.call("set_xattr", file, b"user." + b"%03d" % i + b"n" * 247, b"")

    with pytest.raises(NoSpaceError):
        fill()
    assert sum(len(name) + 1 for name in lab.call("list_xattr", file)) <= 65536


def test_user_attributes_are_for_files_and_directories(lab: Lab) -> None:
    fifo = lab.call("mknod", lab.root, b"p", stat.S_IFIFO | 0o600)
    link = lab.call("symlink", lab.root, b"l", b"t")
    for special in (fifo, link):
        with pytest.raises(NotPermittedError):
            lab.call("set_xattr", special, b"user.x", b"")
        with pytest.raises(NotPermittedError):
            lab.call("remove_xattr", special, b"user.x")
        with pytest.raises(NoDataError):
            lab.call("get_xattr", special, b"user.x")
        lab.call("set_xattr", special, b"trusted.x", b"1")
        assert lab.call("get_xattr", special, b"trusted.x") == b"1"
    with pytest.raises(NotSupportedError):
        lab.call("set_xattr", link, posix_acl.ACCESS, posix_acl.build(ACL))


def test_attributes_count_against_the_size() -> None:
    lab = Lab(size=256 * 1024)
    file = lab.file(b"f")
    before = lab.call("stat_fs").free_files
    lab.call("set_xattr", file, b"user.x", bytes(64 * 1024 - 6))
    assert lab.call("stat_fs").free_files == before - 64
    for i in range(2):
        lab.call("set_xattr", file, b"user.%d" % i, bytes(64 * 1024))
    with pytest.raises(NoSpaceError):
        lab.call("set_xattr", file, b"user.y", bytes(64 * 1024))
    lab.call("set_xattr", file, b"user.x", b"")
    lab.call("unlink", lab.root, b"f")
    assert lab.call("stat_fs").free_files == before + 1


def test_an_access_acl_and_the_mode_tell_one_truth(lab: Lab) -> None:
    file = lab.file(b"f")
    lab.call("set_xattr", file, posix_acl.ACCESS, posix_acl.build(ACL))
    assert file.mode & 0o777 == 0o751  # the group bits are the mask
    lab.call("set_attributes", file, AttrChanges(mode=0o640))
    acl = posix_acl.parse(lab.call("get_xattr", file, posix_acl.ACCESS))
    assert posix_acl.mode_bits(acl) == 0o640
    assert {entry.perm for entry in acl if entry.tag == GROUP_OBJ} == {4}
    lab.call("remove_xattr", file, posix_acl.ACCESS)
    assert file.mode & 0o777 == 0o640


def test_an_acl_for_which_there_is_no_room_leaves_the_mode() -> None:
    lab = Lab(size=256 * 1024)
    file, full = lab.file(b"f"), lab.file(b"g")
    before = file.mode

    def fill(value: bytes) -> None:
        for i in range(1 << 10):
            lab.call("set_xattr", full, b"user.%d-%d" % (len(value), i), value)

    for value in (bytes(1024), b""):
        with pytest.raises(NoSpaceError):
            fill(value)
    with pytest.raises(NoSpaceError):
        lab.call("set_xattr", file, posix_acl.ACCESS, posix_acl.build(ACL))
    assert (file.mode, lab.call("list_xattr", file)) == (before, [])


def test_an_acl_that_says_no_more_than_the_mode_is_not_kept(lab: Lab) -> None:
    file = lab.file(b"f")
    minimal = (Entry(USER_OBJ, 6), Entry(GROUP_OBJ, 5), Entry(OTHER, 4))
    lab.call("set_xattr", file, posix_acl.ACCESS, posix_acl.build(ACL))
    lab.call("set_xattr", file, posix_acl.ACCESS, posix_acl.build(minimal))
    assert (file.mode & 0o777, lab.call("list_xattr", file)) == (0o654, [])


def test_default_acls_are_inherited_instead_of_the_umask(lab: Lab) -> None:
    d = lab.dir(b"d")
    lab.call("set_xattr", d, posix_acl.DEFAULT, posix_acl.build(ACL))
    file, _ = lab.call("create", d, b"f", 0o666, os.O_RDWR, creds=USER_1)
    assert file.mode & 0o777 == 0o640  # 0666 within the ACL's 0751, umask 022 unheard
    below = lab.call("mkdir", d, b"e", 0o777, creds=USER_1)
    assert below.mode & 0o777 == 0o751
    assert lab.call("get_xattr", below, posix_acl.DEFAULT) == posix_acl.build(ACL)
    assert posix_acl.parse(lab.call("get_xattr", below, posix_acl.ACCESS)) == ACL
    assert lab.call("symlink", d, b"l", b"t").xattrs is None
    with pytest.raises(PermissionDeniedError):
        lab.call("set_xattr", file, posix_acl.DEFAULT, posix_acl.build(ACL))
    lab.call("set_xattr", d, posix_acl.DEFAULT, b"")
    assert lab.call("list_xattr", d) == []


@pytest.mark.parametrize(
    "acl",
    [
        ACL[1:],  # no owner
        ACL[:4] + ACL[5:],  # named entries without a mask
        (ACL[0], ACL[0], *ACL[1:]),  # twice
        (ACL[2], ACL[0], *ACL[3:]),  # out of order
        (*ACL[:5], Entry(OTHER, 9)),  # no such bit
        (ACL[0], Entry(USER, 7), *ACL[2:]),  # names nobody
        (*ACL[:5], Entry(0x40, 1)),  # no such tag
    ],
)
def test_malformed_acls_are_refused(lab: Lab, acl: posix_acl.Acl) -> None:
    file = lab.file(b"f")
    with pytest.raises(InvalidArgumentError):
        lab.call("set_xattr", file, posix_acl.ACCESS, posix_acl.build(acl))
    assert file.mode & 0o777 == 0o644


@pytest.mark.parametrize("value", [b"\2", b"\3\0\0\0", b"\2\0\0\0" + b"x" * 7])
def test_what_is_no_acl_at_all_is_refused(lab: Lab, value: bytes) -> None:
    with pytest.raises(K42Error):
        lab.call("set_xattr", lab.file(b"f"), posix_acl.ACCESS, value)


@pytest.mark.parametrize(
    ("uid", "groups", "want", "allowed"),
    [
        (1, set(), 7, True),  # owner: as written
        (2000, set(), 5, True),  # named user, within the mask
        (2000, set(), 2, False),
        (9, {10}, 4, True),  # owning group
        (9, {3000}, 4, True),  # named group within the mask
        (9, {3000}, 2, False),  # the mask takes write away
        (9, {10}, 1, False),  # a group entry fits, so others' bits do not count
        (9, {77}, 1, True),  # others
        (9, {77}, 4, False),
    ],
)
def test_the_access_check_of_acls(uid: int, groups: set[int], want: int, allowed: bool) -> None:
    assert posix_acl.allows(ACL, 1, 10, uid, groups.__contains__, want) is allowed
