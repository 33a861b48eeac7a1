"""POSIX access control lists, through setfacl and getfacl."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from .processes import as_user
from .support import ALICE, BOB, fails, run, write


def acl(path: Path) -> set[str]:
    """The entries of *path*'s lists as getfacl writes them, with numeric ids."""
    text = run(["getfacl", "--omit-header", "--numeric", "--no-effective", "--absolute-names", path])
    return set(text.split())


def test_a_plain_file_shows_its_mode(target: Path) -> None:
    path = write(target / "file")
    path.chmod(0o640)
    assert acl(path) == {"user::rw-", "group::r--", "other::---"}


def test_entries_are_stored_replaced_and_removed(target: Path) -> None:
    path = write(target / "file")
    path.chmod(0o640)
    run(["setfacl", "-m", f"u:{ALICE}:rw,g:{BOB}:r", path])
    expected = {"user::rw-", f"user:{ALICE}:rw-", "group::r--", f"group:{BOB}:r--", "mask::rw-", "other::---"}
    assert acl(path) == expected
    run(["setfacl", "-m", f"u:{ALICE}:-", path])
    assert f"user:{ALICE}:---" in acl(path)
    run(["setfacl", "-b", path])
    assert acl(path) == {"user::rw-", "group::r--", "other::---"}


def test_the_group_bits_of_the_mode_are_the_mask(target: Path) -> None:
    path = write(target / "file")
    path.chmod(0o600)
    run(["setfacl", "-m", f"u:{ALICE}:rw", path])
    assert path.stat().st_mode & 0o777 == 0o660
    path.chmod(0o640)
    assert "mask::r--" in acl(path)
    assert f"user:{ALICE}:rw-" in acl(path)


def test_an_entry_grants_and_denies(target: Path) -> None:
    path = write(target / "file", b"data")
    path.chmod(0o600)

    def may_read() -> None:
        assert path.read_bytes() == b"data"
        with fails(errno.EACCES):
            path.write_bytes(b"x")

    def may_nothing() -> None:
        with fails(errno.EACCES):
            path.read_bytes()

    run(["setfacl", "-m", f"u:{ALICE}:r", path])
    as_user(may_read, ALICE)
    as_user(may_nothing, BOB)
    # The second entry keeps the mask open: Linux looks at no list at all under an empty mask.
    run(["setfacl", "-m", f"u:{ALICE}:-,g:{BOB}:rw,o::rw", path])
    as_user(may_nothing, ALICE)
    run(["setfacl", "-x", f"u:{ALICE}", path])
    as_user(path.read_bytes, ALICE)


def test_a_default_list_is_inherited(target: Path) -> None:
    parent = target / "dir"
    parent.mkdir()
    run(["setfacl", "-d", "-m", f"u::rwx,g::rx,o::-,u:{ALICE}:rwx", parent])
    assert f"default:user:{ALICE}:rwx" in acl(parent)
    (parent / "sub").mkdir()
    write(parent / "file")
    assert f"default:user:{ALICE}:rwx" in acl(parent / "sub")
    assert f"user:{ALICE}:rwx" in acl(parent / "sub")
    assert f"user:{ALICE}:rwx" in acl(parent / "file")
    assert (parent / "file").stat().st_mode & 0o777 == 0o640


def test_lists_are_copied_by_cp_and_restored_by_setfacl(target: Path) -> None:
    path = write(target / "file")
    run(["setfacl", "-m", f"u:{ALICE}:rwx,g:{BOB}:-", path])
    run(["/bin/cp", "-a", path, target / "copy"])
    assert acl(target / "copy") == acl(path)
    saved = run(["getfacl", "--numeric", "file"], cwd=target)
    run(["setfacl", "-b", path])
    write(target / "saved", saved.encode())
    run(["setfacl", "--restore", "saved"], cwd=target)
    assert acl(path) == acl(target / "copy")


def test_only_the_owner_sets_a_list(target: Path) -> None:
    path = write(target / "file")
    run(["setfacl", "-m", f"u:{ALICE}:rw", path])
    value = os.getxattr(path, "system.posix_acl_access")

    def attempt() -> None:
        with fails(errno.EPERM):
            os.setxattr(path, "system.posix_acl_access", value)

    as_user(attempt, BOB)
