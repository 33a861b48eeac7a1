"""POSIX access control lists, through setfacl and getfacl: what holds whether the mount enforces them or not, and
what only one that enforces them does.
"""

from __future__ import annotations

import errno
import os
import stat
from functools import partial
from pathlib import Path

from .processes import as_user
from .support import ALICE, BOB, fails, run, write


def acl(path: Path) -> set[str]:
    """The entries of *path*'s lists as getfacl writes them, with numeric ids."""
    text = run(["getfacl", "--omit-header", "--numeric", "--no-effective", "--absolute-names", path])
    return set(text.split())


def test_a_plain_file_shows_its_mode(rights_target: Path) -> None:
    path = write(rights_target / "file")
    path.chmod(0o640)
    assert acl(path) == {"user::rw-", "group::r--", "other::---"}


def test_entries_are_stored_replaced_and_removed(rights_target: Path) -> None:
    path = write(rights_target / "file")
    path.chmod(0o640)
    run(["setfacl", "-m", f"u:{ALICE}:rw,g:{BOB}:r", path])
    expected = {"user::rw-", f"user:{ALICE}:rw-", "group::r--", f"group:{BOB}:r--", "mask::rw-", "other::---"}
    assert acl(path) == expected
    run(["setfacl", "-m", f"u:{ALICE}:-", path])
    assert f"user:{ALICE}:---" in acl(path)
    run(["setfacl", "-b", path])
    assert acl(path) == {"user::rw-", "group::r--", "other::---"}


def test_the_group_bits_of_the_mode_are_the_mask(rights_target: Path) -> None:
    path = write(rights_target / "file")
    path.chmod(0o600)
    run(["setfacl", "-m", f"u:{ALICE}:rw", path])
    assert path.stat().st_mode & 0o777 == 0o660
    path.chmod(0o640)
    assert "mask::r--" in acl(path)
    assert f"user:{ALICE}:rw-" in acl(path)
    path.chmod(0o644)
    run(["setfacl", "-m", f"u:{ALICE}:rw", path])
    assert path.stat().st_mode & 0o777 == 0o664


def test_a_list_that_says_no_more_than_the_mode_is_dropped(rights_target: Path) -> None:
    path = write(rights_target / "file")
    path.chmod(0o640)
    run(["setfacl", "-m", f"u:{ALICE}:rwx", path])
    assert path.stat().st_mode & 0o777 == 0o670
    run(["setfacl", "--set", "u::rw,g::r,o::-", path])
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listxattr(path) == []


def test_a_list_set_from_outside_the_group_takes_the_set_group_id_bit(rights_target: Path) -> None:
    def set_list(path: Path) -> None:
        run(["setfacl", "-m", f"u:{BOB}:rx", path])

    for name, group, groups, kept in (
        ("outsider", BOB, [ALICE], 0),
        ("member", BOB, [ALICE, BOB], stat.S_ISGID),
        ("primary", ALICE, [ALICE], stat.S_ISGID),
    ):
        path = write(rights_target / name)
        os.chown(path, ALICE, group)
        path.chmod(0o2755)
        as_user(partial(set_list, path), ALICE, groups=groups)
        assert path.stat().st_mode & 0o7777 == 0o755 | kept, name
        run(["setfacl", "-m", f"u:{BOB}:rwx", path])  # root keeps it
        assert path.stat().st_mode & 0o7777 == 0o775 | kept, name


def test_other_programs_see_the_new_mode_at_once(rights_target: Path) -> None:
    path = write(rights_target / "file")
    for perms, mode in (("r", 0o644), ("rwx", 0o674), ("-", 0o644), ("rw", 0o664)):
        path.chmod(0o644)
        assert path.stat().st_mode & 0o777 == 0o644  # now the kernel has it cached
        run(["setfacl", "-b", "-m", f"u:{ALICE}:{perms}", path])
        assert run(["stat", "-c", "%a", path]).strip() == f"{mode:o}"


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


def test_a_default_list_is_inherited(rights_target: Path) -> None:
    parent = rights_target / "dir"
    parent.mkdir()
    run(["setfacl", "-d", "-m", f"u::rwx,g::rx,o::-,u:{ALICE}:rwx", parent])
    assert f"default:user:{ALICE}:rwx" in acl(parent)
    (parent / "sub").mkdir()
    write(parent / "file")
    assert f"default:user:{ALICE}:rwx" in acl(parent / "sub")
    assert f"user:{ALICE}:rwx" in acl(parent / "sub")
    assert f"user:{ALICE}:rwx" in acl(parent / "file")
    assert (parent / "file").stat().st_mode & 0o777 == 0o640


def test_lists_are_copied_by_cp_and_restored_by_setfacl(rights_target: Path) -> None:
    path = write(rights_target / "file")
    run(["setfacl", "-m", f"u:{ALICE}:rwx,g:{BOB}:-", path])
    run(["/bin/cp", "-a", path, rights_target / "copy"])
    assert acl(rights_target / "copy") == acl(path)
    saved = run(["getfacl", "--numeric", "file"], cwd=rights_target)
    run(["setfacl", "-b", path])
    write(rights_target / "saved", saved.encode())
    run(["setfacl", "--restore", "saved"], cwd=rights_target)
    assert acl(path) == acl(rights_target / "copy")


def test_a_copy_has_list_and_mode_of_the_original(rights_target: Path) -> None:
    source, goal = rights_target / "s", rights_target / "d"
    source.mkdir()
    for name, bits in (("readable", 0o644), ("private", 0o600), ("program", 0o755)):
        path = write(source / name, b"a\n")
        path.chmod(bits)
        run(["setfacl", "-m", f"u:{ALICE}:r", path])
    run(["setfacl", "-m", f"u:{BOB}:rwx,d:u:{ALICE}:rx", source])
    modes = {path.name: path.stat().st_mode for path in (source, *source.iterdir())}
    copy = ["rsync", "-aHAX", "--numeric-ids", "--itemize-changes", f"{source}/", f"{goal}/"]
    assert run(copy)
    assert run(copy) == ""
    run(["/bin/cp", "-a", source, rights_target / "c"])
    for made in (goal, rights_target / "c"):
        assert made.stat().st_mode == modes["s"]
        assert acl(made) == acl(source)
        for path in source.iterdir():
            assert (made / path.name).stat().st_mode == modes[path.name]
            assert acl(made / path.name) == acl(path)


def test_only_the_owner_sets_a_list(rights_target: Path) -> None:
    path = write(rights_target / "file")
    run(["setfacl", "-m", f"u:{ALICE}:rw", path])
    value = os.getxattr(path, "system.posix_acl_access")

    def attempt() -> None:
        with fails(errno.EPERM):
            os.setxattr(path, "system.posix_acl_access", value)

    as_user(attempt, BOB)
