"""Servers and binds in a live mount: what the kernel had cached never outlives a change behind it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from .mounting import K42Mount, Outcome, k42fs
from .processes import Child
from .support import eventually, fails, names, write
from .syscalls import RENAME_EXCHANGE, renameat2

NewMount = Callable[..., K42Mount]


@pytest.fixture
def mount(new_mount: NewMount) -> K42Mount:
    """A mount of its own, with a little tree."""
    mount = new_mount("model=full")
    (mount.path / "src" / "deep").mkdir(parents=True)
    write(mount.path / "src" / "file", b"one")
    return mount


def change(mount: K42Mount, *words: str) -> Outcome:
    """Run a command that changes the name space; it must work."""
    done = k42fs(words[0], "-m", mount.path, *words[1:])
    assert done.status == 0, done
    return done


def test_an_attached_server_appears_where_the_kernel_knew_there_was_nothing(mount: K42Mount) -> None:
    assert not (mount.path / "scratch").exists()  # a negative name, which the kernel keeps
    change(mount, "attach", "ramfs", "/scratch", "--size", "1m")
    write(mount.path / "scratch" / "file", b"x")
    assert names(mount.path) == {b"src", b"scratch"}
    change(mount, "detach", "/scratch")
    assert not (mount.path / "scratch").exists()
    assert names(mount.path) == {b"src"}


def test_a_server_covers_a_directory_and_gives_it_back(mount: K42Mount) -> None:
    change(mount, "attach", "ramfs", "/src")
    assert names(mount.path / "src") == set()
    write(mount.path / "src" / "other", b"y")
    change(mount, "detach", "/src")
    assert names(mount.path / "src") == {b"deep", b"file"}
    assert (mount.path / "src" / "file").read_bytes() == b"one"


def test_a_bind_is_the_same_directory_under_one_more_name(mount: K42Mount) -> None:
    change(mount, "bind", "/src", "/alias")
    alias, src = mount.path / "alias", mount.path / "src"
    assert names(alias) == {b"deep", b"file"}
    assert os.stat(alias / "file").st_ino == os.stat(src / "file").st_ino
    (src / "file").write_bytes(b"two and more")
    assert (alias / "file").read_bytes() == b"two and more"


def test_what_is_made_and_removed_at_one_name_is_seen_at_the_other(mount: K42Mount) -> None:
    change(mount, "bind", "/src", "/alias")
    alias, src = mount.path / "alias", mount.path / "src"
    assert not (alias / "new").exists()
    assert (alias / "file").exists()
    write(src / "new", b"z")
    (src / "file").unlink()
    (src / "deep").rename(src / "moved")
    assert names(alias) == {b"new", b"moved"}
    assert (alias / "new").read_bytes() == b"z"
    assert not (alias / "file").exists()
    assert (alias / "moved").is_dir()


def test_two_names_of_one_directory_changed_at_once_never_lock_up(mount: K42Mount) -> None:
    change(mount, "bind", "/src", "/alias")

    def work(directory: Path, who: int) -> int:
        for number in range(100):
            write(directory / f"{who}-{number}").unlink()
        return 0

    children = [
        Child(partial(work, mount.path / place, who)) for who, place in enumerate(["src", "alias"] * 2)
    ]
    try:
        for child in children:
            assert child.result(60) == 0
    finally:
        for child in children:
            child.kill()
    assert names(mount.path / "alias") == {b"deep", b"file"}


def test_renames_work_between_binds_of_one_server_and_not_between_servers(mount: K42Mount) -> None:
    change(mount, "bind", "/src", "/alias")
    change(mount, "attach", "ramfs", "/other")
    (mount.path / "src" / "file").rename(mount.path / "alias" / "deep" / "file")
    assert (mount.path / "src" / "deep" / "file").read_bytes() == b"one"
    with fails(errno.EXDEV):
        (mount.path / "src" / "deep" / "file").rename(mount.path / "other" / "file")
    with fails(errno.EXDEV):
        os.link(mount.path / "src" / "deep" / "file", mount.path / "other" / "file")


def test_a_prefix_that_exists_nowhere_is_reached_through_fillers(mount: K42Mount) -> None:
    change(mount, "attach", "ramfs", "/a/b/c")
    assert names(mount.path) == {b"src", b"a"}
    assert names(mount.path / "a") == {b"b"}
    write(mount.path / "a" / "b" / "c" / "file", b"1")
    with fails(errno.EROFS):
        (mount.path / "a" / "x").mkdir()
    change(mount, "detach", "/a/b/c")
    assert not (mount.path / "a").exists()


def test_a_filler_is_as_old_as_the_mount(mount: K42Mount) -> None:
    change(mount, "attach", "ramfs", "/far/away")
    about = (mount.path / "far").stat()
    assert time.time() - 600 < about.st_mtime == about.st_atime == about.st_ctime <= time.time()


def test_what_is_mounted_in_front_of_another_is_told(mount: K42Mount) -> None:
    assert change(mount, "attach", "--cov", "ramfs", "/s").errors == ""
    assert "/s was a mount already" in change(mount, "attach", "--nocov", "ramfs", "/s/").errors
    assert "/s was a mount already" in change(mount, "bind", "/src", "/s").errors
    covers = [line.split()[4] for line in k42fs("ns", mount.path).output.splitlines() if " /s " in line]
    assert covers == ["cov", "nocov", "cov"]


def test_the_names_of_mounts_cannot_be_removed_or_renamed(mount: K42Mount) -> None:
    change(mount, "attach", "ramfs", "/src/deep")
    with fails(errno.EBUSY):
        (mount.path / "src" / "deep").rmdir()
    with fails(errno.EBUSY):
        (mount.path / "src" / "deep").rename(mount.path / "src" / "elsewhere")


def test_a_server_with_open_files_is_not_detached(mount: K42Mount) -> None:
    change(mount, "attach", "ramfs", "/busy")
    with (mount.path / "busy" / "file").open("wb"):
        done = k42fs("detach", "-m", mount.path, "/busy")
        assert done.status == 1
        assert "open" in done.errors + done.output
    change(mount, "detach", "/busy")


def test_a_detached_server_ends_once_the_kernel_has_forgotten_it(mount: K42Mount) -> None:
    def trees() -> int:
        return int(json.loads((mount.path / ".k42" / "objects.json").read_text())["types"].get("NameTree", 0))

    before = trees()
    change(mount, "attach", "ramfs", "/short")
    write(mount.path / "short" / "file", b"1")
    assert trees() == before + 1
    change(mount, "detach", "/short")
    Path("/proc/sys/vm/drop_caches").write_text("2")
    eventually(lambda: trees() == before, "the server to end", seconds=30)
    types = json.loads((mount.path / ".k42" / "objects.json").read_text())["types"]
    assert "FileCache" not in types or types["FileCache"] <= 1, "its objects went with it"


def test_attributes_changed_at_one_name_are_seen_at_the_other(mount: K42Mount) -> None:
    change(mount, "bind", "/src", "/alias")
    assert (mount.path / "alias").stat().st_mode & 0o777 == 0o755
    (mount.path / "src").chmod(0o700)
    eventually(lambda: (mount.path / "alias").stat().st_mode & 0o777 == 0o700, "the new mode to be seen")


def test_exchanged_directories_take_their_places_in_the_mount_tree(mount: K42Mount) -> None:
    for name in ("c/x", "d/y"):
        (mount.path / name).mkdir(parents=True)
    renameat2(mount.path / "c" / "x", mount.path / "d" / "y", RENAME_EXCHANGE)
    change(mount, "attach", "ramfs", "/d/y/m")
    assert names(mount.path / "d" / "y") == {b"m"}
    assert names(mount.path / "c" / "x") == set()


def test_what_is_removed_at_the_other_name_while_it_is_made_leaves_no_trace(mount: K42Mount) -> None:
    change(mount, "bind", "/src", "/alias")

    def make() -> int:
        for _ in range(300):
            with contextlib.suppress(FileExistsError):
                os.mknod(mount.path / "src" / "x")
        return 0

    def remove() -> int:
        for _ in range(300):
            with contextlib.suppress(FileNotFoundError):
                (mount.path / "alias" / "x").unlink()
        return 0

    children = [Child(make), Child(remove)]
    try:
        for child in children:
            assert child.result(60) == 0
    finally:
        for child in children:
            child.kill()
    mount.check_log()


def test_a_bind_whose_directory_went_away_hides_nothing_but_itself(mount: K42Mount) -> None:
    change(mount, "bind", "/src/deep", "/alias")
    (mount.path / "src" / "deep").rmdir()
    assert names(mount.path) == {b"src"}
    assert not (mount.path / "alias").exists()
    (mount.path / "src" / "deep").mkdir()
    change(mount, "detach", "/alias")


@pytest.mark.parametrize(
    "words",
    [
        ("attach", "ramfs", "/.k42"),
        ("bind", "/src", "/.k42/src"),
        ("bind", "/nonesuch", "/alias"),
        ("bind", "/src/file", "/alias"),
        ("bind", "/src", "/src/deep/inside"),
        ("bind", "src", "alias"),
        ("attach", "nfs", "/x"),
        ("attach", "ramfs", "/"),
        ("attach", "ramfs", "/x", "--size", "lots"),
        ("detach", "/"),
        ("detach", "/src"),
    ],
)
def test_a_refused_change_says_why_in_one_line_and_changes_nothing(
    mount: K42Mount, words: tuple[str, ...]
) -> None:
    before = (mount.path / ".k42" / "mounts").read_text()
    done = k42fs(words[0], "-m", mount.path, *words[1:])
    assert done.status == 1
    assert len(done.errors.strip().splitlines()) == 1, done
    assert (mount.path / ".k42" / "mounts").read_text() == before
    assert names(mount.path) == {b"src"}


def test_the_server_for_which_there_is_no_room_is_refused_when_it_is_attached(mount: K42Mount) -> None:
    commands = mount.path / ".k42" / "mounts"
    for number in range(255):  # and the root server
        commands.write_bytes(b"attach ramfs /s/%d size=64k\n" % number)
    write(mount.path / "s" / "254" / "file", b"last")
    done = k42fs("attach", "-m", mount.path, "ramfs", "/s/more")
    assert done.status == 1
    assert "256 servers" in done.errors
    assert len(done.errors.splitlines()) == 1
    assert len(names(mount.path / "s")) == 255
    change(mount, "detach", "/s/7")
    eventually(lambda: k42fs("attach", "-m", mount.path, "ramfs", "/s/more").status == 0, "its room is free")
    write(mount.path / "s" / "more" / "file")
    assert (mount.path / "s" / "254" / "file").read_bytes() == b"last"
