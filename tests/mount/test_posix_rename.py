"""rename(2) and renameat2(2)."""

from __future__ import annotations

import errno
import os
import stat
from functools import partial
from pathlib import Path

from .processes import in_parallel
from .support import fails, names, opened, tick, write
from .syscalls import RENAME_EXCHANGE, RENAME_NOREPLACE, renameat2


def test_a_file_moves_with_its_inode_and_data(target: Path) -> None:
    old = write(target / "old", b"data")
    (target / "dir").mkdir()
    inode = old.stat().st_ino
    old.rename(target / "dir" / "new")
    assert names(target) == {b"dir"}
    assert (target / "dir" / "new").stat().st_ino == inode
    assert (target / "dir" / "new").read_bytes() == b"data"


def test_rename_over_a_file_replaces_it(target: Path) -> None:
    old, new = write(target / "old", b"new data"), write(target / "new", b"x")
    os.link(new, target / "also")
    old.rename(new)
    assert new.read_bytes() == b"new data"
    assert (target / "also").read_bytes() == b"x"
    assert (target / "also").stat().st_nlink == 1


def test_an_open_file_survives_being_replaced(target: Path) -> None:
    old, new = write(target / "old", b"successor"), write(target / "new", b"replaced")
    with opened(new) as fd, opened(old) as moved:
        old.rename(new)
        assert os.fstat(fd).st_nlink == 0
        assert os.pread(fd, 100, 0) == b"replaced"
        os.pwrite(fd, b"REPLACED and longer", 0)
        assert os.pread(fd, 100, 0) == b"REPLACED and longer"
        assert os.fstat(moved).st_nlink == 1
        os.pwrite(moved, b"S", 0)
    assert new.read_bytes() == b"Successor"


def test_directories_replace_only_empty_directories(target: Path) -> None:
    for name in ("moving", "empty", "full"):
        (target / name).mkdir()
    write(target / "moving" / "file", b"inside")
    write(target / "full" / "file")
    with fails(errno.ENOTEMPTY, errno.EEXIST):
        (target / "moving").rename(target / "full")
    (target / "moving").rename(target / "empty")
    assert names(target) == {b"empty", b"full"}
    assert (target / "empty" / "file").read_bytes() == b"inside"


def test_files_and_directories_do_not_replace_each_other(target: Path) -> None:
    write(target / "file")
    (target / "dir").mkdir()
    with fails(errno.ENOTDIR):
        (target / "dir").rename(target / "file")
    with fails(errno.EISDIR):
        (target / "file").rename(target / "dir")
    assert names(target) == {b"file", b"dir"}


def test_a_directory_cannot_move_into_itself(target: Path) -> None:
    (target / "a" / "b" / "c").mkdir(parents=True)
    for new in ("a/x", "a/b/x", "a/b/c/x"):
        with fails(errno.EINVAL):
            (target / "a").rename(target / new)
    with fails(errno.ENOTEMPTY, errno.EEXIST):
        (target / "a" / "b" / "c").rename(target / "a")
    assert (target / "a" / "b" / "c").is_dir()


def test_rename_to_itself_or_to_a_link_of_itself_does_nothing(target: Path) -> None:
    path = write(target / "file", b"data")
    os.link(path, target / "link")
    before = path.stat()
    path.rename(path)
    path.rename(target / "link")
    after = path.stat()
    assert names(target) == {b"file", b"link"}
    assert (after.st_nlink, after.st_ino, after.st_mtime_ns) == (2, before.st_ino, before.st_mtime_ns)


def test_absent_names_and_wrong_parents_fail(target: Path) -> None:
    write(target / "file")
    with fails(errno.ENOENT):
        (target / "none").rename(target / "new")
    with fails(errno.ENOENT):
        (target / "file").rename(target / "none" / "new")
    with fails(errno.ENOTDIR):
        (target / "file").rename(target / "file" / "new")
    assert names(target) == {b"file"}


def test_a_moved_directory_has_its_new_parent(target: Path) -> None:
    for name in ("a", "b", "a/moving"):
        (target / name).mkdir()
    links = [(target / name).stat().st_nlink for name in ("a", "b")]
    (target / "a" / "moving").rename(target / "b" / "moved")
    assert os.stat(target / "b" / "moved" / "..").st_ino == (target / "b").stat().st_ino
    after = [(target / name).stat().st_nlink for name in ("a", "b")]
    assert after in ([links[0] - 1, links[1] + 1], links)


def test_what_is_not_a_file_moves_too(target: Path) -> None:
    os.mkfifo(target / "fifo")
    (target / "link").symlink_to("fifo")
    write(target / "file")
    (target / "link").rename(target / "file")
    assert os.readlink(target / "file") == "fifo"
    (target / "fifo").rename(target / "file")
    assert stat.S_ISFIFO((target / "file").lstat().st_mode)
    assert names(target) == {b"file"}


def test_rename_sets_the_times_of_both_directories(target: Path) -> None:
    for name in ("a", "b"):
        (target / name).mkdir()
    write(target / "a" / "file")
    before = tick(target)
    (target / "a" / "file").rename(target / "b" / "file")
    for name in ("a", "b"):
        status = (target / name).stat()
        assert status.st_mtime_ns >= before
        assert status.st_ctime_ns >= before


def test_noreplace_moves_only_to_a_free_name(target: Path) -> None:
    old, new = write(target / "old", b"old"), write(target / "new", b"new")
    with fails(errno.EEXIST):
        renameat2(old, new, RENAME_NOREPLACE)
    assert new.read_bytes() == b"new"
    renameat2(old, target / "free", RENAME_NOREPLACE)
    assert names(target) == {b"free", b"new"}


def test_exchange_swaps_two_files(target: Path) -> None:
    one, two = write(target / "one", b"1"), write(target / "two", b"2")
    inodes = one.stat().st_ino, two.stat().st_ino
    renameat2(one, two, RENAME_EXCHANGE)
    assert (two.stat().st_ino, one.stat().st_ino) == inodes
    assert (one.read_bytes(), two.read_bytes()) == (b"2", b"1")


def test_exchange_swaps_a_file_and_a_full_directory_across_directories(target: Path) -> None:
    (target / "a").mkdir()
    (target / "b" / "dir").mkdir(parents=True)
    write(target / "a" / "file", b"data")
    write(target / "b" / "dir" / "inner", b"inner")
    renameat2(target / "a" / "file", target / "b" / "dir", RENAME_EXCHANGE)
    assert (target / "a" / "file" / "inner").read_bytes() == b"inner"
    assert (target / "b" / "dir").read_bytes() == b"data"
    assert os.stat(target / "a" / "file" / "..").st_ino == (target / "a").stat().st_ino
    assert names(target / "a") == {b"file"}


def test_exchange_needs_both_names_and_makes_no_cycle(target: Path) -> None:
    (target / "a" / "b").mkdir(parents=True)
    with fails(errno.ENOENT):
        renameat2(target / "a", target / "none", RENAME_EXCHANGE)
    for pair in (("a", "a/b"), ("a/b", "a")):
        with fails(errno.EINVAL, errno.ENOTEMPTY):
            renameat2(target / pair[0], target / pair[1], RENAME_EXCHANGE)
    with fails(errno.EINVAL):
        renameat2(target / "a", target / "c", RENAME_EXCHANGE | RENAME_NOREPLACE)
    assert (target / "a" / "b").is_dir()


def _swing(directory: Path, who: int, count: int) -> None:
    for number in range(count):
        source, goal = ("a", "b") if number % 2 == 0 else ("b", "a")
        os.rename(directory / source / str(who), directory / goal / str(who))


def test_crossing_renames_between_two_directories_lose_nothing(target: Path) -> None:
    (target / "a").mkdir()
    (target / "b").mkdir()
    for who in range(6):
        write(target / "a" / str(who), b"%d" % who)
    in_parallel([partial(_swing, target, who, 101) for who in range(6)])
    assert names(target / "a") == set()
    assert [(target / "b" / str(who)).read_bytes() for who in range(6)] == [b"%d" % who for who in range(6)]


def _replace(directory: Path, who: int, count: int) -> None:
    for number in range(count):
        path = write(directory / f"new-{who}", b"%d:%d" % (who, number) * 100)
        path.rename(directory / "current")


def _read_always(directory: Path, count: int) -> None:
    for _ in range(count):
        data = (directory / "current").read_bytes()
        assert data
        assert data == data[: len(data) // 100] * 100


def test_replacing_by_rename_never_shows_half_a_file_or_none(target: Path) -> None:
    write(target / "current", b"9:9" * 100)
    work = [partial(_replace, target, who, 100) for who in range(2)]
    in_parallel([*work, partial(_read_always, target, 150), partial(_read_always, target, 150)])
    assert names(target) == {b"current"}


def _rotate(directory: Path, seed: int, count: int) -> None:
    for number in range(count):
        one, two = (seed + number) % 4, (seed * 3 + number * 2 + 1) % 4
        try:
            os.rename(directory / f"d{one}", directory / f"d{two}" / f"d{one}")
            os.rename(directory / f"d{two}" / f"d{one}", directory / f"d{one}")
        except OSError as exc:
            # The others move the same directories; these are the honest answers to that.
            if exc.errno not in (errno.ENOENT, errno.EINVAL, errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
                raise


def test_parallel_directory_moves_never_detach_a_tree(target: Path) -> None:
    for number in range(4):
        (target / f"d{number}").mkdir()
        write(target / f"d{number}" / "leaf", b"%d" % number)
    in_parallel([partial(_rotate, target, seed, 60) for seed in range(4)])
    leaves = sorted(path.read_bytes() for path in target.rglob("leaf"))
    assert leaves == [b"0", b"1", b"2", b"3"]
