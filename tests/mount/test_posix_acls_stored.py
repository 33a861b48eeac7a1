"""Access control lists without the option `acl`: they are kept, they and the mode follow each other, and the mode alone
decides."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from .processes import as_user
from .support import ALICE, BOB, fails, run, umask, write
from .test_posix_acls import acl


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_a_list_sets_the_mode(plain_target: Path) -> None:
    path = write(plain_target / "file")
    path.chmod(0o640)
    run(["setfacl", "-m", f"u:{ALICE}:rwx,g:{BOB}:r", path])
    assert {f"user:{ALICE}:rwx", f"group:{BOB}:r--", "mask::rwx"} <= acl(path)
    assert mode(path) == 0o670
    run(["setfacl", "-b", path])
    assert acl(path) == {"user::rw-", "group::r--", "other::---"}
    assert mode(path) == 0o640


def test_an_entry_neither_grants_nor_denies(plain_target: Path) -> None:
    closed, public = write(plain_target / "closed", b"data"), write(plain_target / "public", b"data")
    closed.chmod(0o600)
    public.chmod(0o604)
    run(["setfacl", "-m", f"u:{ALICE}:rwx", closed])
    run(["setfacl", "-m", f"u:{ALICE}:-", public])

    def by_mode() -> None:
        with fails(errno.EACCES):
            closed.read_bytes()
        assert public.read_bytes() == b"data"
        with fails(errno.EACCES):
            os.open(public, os.O_WRONLY)

    as_user(by_mode, ALICE)
    # The mask shows as the group bits, and without the list those are all there is for the owning group.
    os.chown(closed, 0, BOB)
    assert as_user(closed.read_bytes, BOB) == b"data"


def test_chmod_after_setfacl_sets_the_mode_and_keeps_the_entries(plain_target: Path) -> None:
    path = write(plain_target / "file", b"data")
    path.chmod(0o600)
    os.chown(path, 0, BOB)
    run(["setfacl", "-m", f"u:{ALICE}:rwx", path])
    for bits in (0o640, 0o604, 0o4751, 0o000, 0o660):
        path.chmod(bits)
        assert mode(path) == bits
        assert f"user:{ALICE}:rwx" in acl(path)
    as_user(path.read_bytes, BOB)
    with fails(errno.EACCES):
        as_user(path.read_bytes, ALICE)


def test_a_default_list_opens_nothing_that_the_umask_closes(plain_target: Path) -> None:
    parent = plain_target / "dir"
    parent.mkdir()
    run(["setfacl", "-d", "-m", f"u::rwx,g::rwx,o::rwx,u:{ALICE}:rwx", parent])
    assert f"default:user:{ALICE}:rwx" in acl(parent)
    assert mode(parent) == 0o755
    for mask in (0o022, 0o027, 0o077):
        with umask(mask):
            path = write(parent / f"file-{mask:o}", mode=0o666)
            (parent / f"dir-{mask:o}").mkdir()
        assert mode(path) == 0o666 & ~mask
        assert mode(parent / f"dir-{mask:o}") == 0o777 & ~mask


def test_only_the_owner_stores_a_list(plain_target: Path) -> None:
    path = write(plain_target / "file")
    run(["setfacl", "-m", f"u:{ALICE}:rw", path])
    value = os.getxattr(path, "system.posix_acl_access")

    def attempt() -> None:
        with fails(errno.EPERM):
            os.setxattr(path, "system.posix_acl_access", value)

    as_user(attempt, BOB)
