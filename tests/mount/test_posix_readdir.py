"""Reading directories: large, changing, and from the middle."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path

import pytest

from .processes import Child, in_parallel
from .support import names, opened, write
from .syscalls import DirStream


def _fill(directory: Path, count: int) -> set[bytes]:
    with opened(directory, os.O_RDONLY) as fd:
        for number in range(count):
            os.close(os.open(f"entry-{number:06}", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    return {b"entry-%06d" % number for number in range(count)}


def test_an_empty_directory_lists_dot_and_dot_dot_alone(target: Path) -> None:
    stream = DirStream(target)
    assert sorted(stream.rest()) == [b".", b".."]
    stream.close()


def test_types_and_inode_numbers_in_a_listing_are_those_of_stat(target: Path) -> None:
    write(target / "file")
    (target / "dir").mkdir()
    (target / "link").symlink_to("file")
    os.mkfifo(target / "fifo")
    with os.scandir(target) as entries:
        found = {entry.name: entry for entry in entries}
    assert set(found) == {"file", "dir", "link", "fifo"}
    for name, entry in found.items():
        assert entry.inode() == (target / name).lstat().st_ino
    assert found["file"].is_file(follow_symlinks=False)
    assert found["dir"].is_dir(follow_symlinks=False)
    assert found["link"].is_symlink()


@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_a_large_directory_lists_each_entry_once_and_empties(target: Path, count: int) -> None:
    expected = _fill(target, count)
    listed = os.listdir(os.fsencode(target))
    assert len(listed) == count
    assert set(listed) == expected
    for name in sorted(expected)[::2]:
        os.unlink(os.fsencode(target) + b"/" + name)
    assert names(target) == set(sorted(expected)[1::2])
    # In listing order, as rm -r does: the second pass removes while the kernel still reads.
    with os.scandir(target) as entries:
        for entry in entries:
            os.unlink(entry.path)
    assert not names(target)


def test_removing_while_listing_misses_nothing(target: Path) -> None:
    _fill(target, 3000)
    stream = DirStream(target)
    while (name := stream.read()) is not None:
        if name not in (b".", b".."):
            os.unlink(os.fsencode(target) + b"/" + name)
    stream.close()
    assert not names(target)


def _churn(directory: Path, who: int) -> None:
    while True:
        for number in range(200):
            path = directory / f"churn-{who}-{number}"
            path.touch()
            path.rename(directory / f"moved-{who}-{number}")
        for number in range(200):
            (directory / f"moved-{who}-{number}").unlink()


@pytest.mark.parametrize("count", [1000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_entries_that_stay_are_listed_once_while_others_come_and_go(target: Path, count: int) -> None:
    stable = _fill(target, count)
    with Child(partial(_churn, target, 0)), Child(partial(_churn, target, 1)):
        for _ in range(15):
            listed = [name for name in os.listdir(os.fsencode(target)) if name.startswith(b"entry-")]
            assert len(listed) == len(stable), "an entry was listed twice or not at all"
            assert set(listed) == stable


def test_every_cookie_leads_back_to_its_place(target: Path) -> None:
    _fill(target, 700)
    stream = DirStream(target)
    places: list[tuple[int, bytes]] = []
    while True:
        cookie = stream.tell()
        name = stream.read()
        if name is None:
            break
        places.append((cookie, name))
    assert len({cookie for cookie, _ in places}) == 702
    for index in (*range(0, 702, 53), 701, 0, 350):
        stream.seek(places[index][0])
        following = [name for _, name in places[index : index + 3]]
        assert [stream.read() for _ in following] == following
    stream.close()


def test_a_cookie_stays_good_while_the_directory_changes(target: Path) -> None:
    _fill(target, 600)
    stream = DirStream(target)
    before = [stream.read() for _ in range(300)]
    cookie = stream.tell()
    after = {name for name in stream.rest() if name}
    gone = {name for name in before[100:200] if name and name.startswith(b"entry")}
    for name in gone:
        os.unlink(os.fsencode(target) + b"/" + name)
    for number in range(300):
        write(target / f"new-{number}")
    stream.seek(cookie)
    again = stream.rest()
    assert after <= set(again)
    old = [name for name in again if name.startswith(b"entry")]
    assert len(old) == len(set(old))
    assert not set(old) & (set(before) - {None})
    stream.close()


def test_rewinding_shows_the_directory_as_it_is_now(target: Path) -> None:
    write(target / "old")
    stream = DirStream(target)
    assert set(stream.rest()) == {b".", b"..", b"old"}
    write(target / "new")
    (target / "old").unlink()
    stream.rewind()
    assert set(stream.rest()) == {b".", b"..", b"new"}
    stream.close()


def test_two_streams_of_one_directory_do_not_disturb_each_other(target: Path) -> None:
    expected = _fill(target, 500)
    one, two = DirStream(target), DirStream(target)
    first = [one.read() for _ in range(250)]
    all_of_two = two.rest()
    first += one.rest()
    assert set(first) == set(all_of_two) == expected | {b".", b".."}
    assert len(first) == len(all_of_two) == 502
    one.close()
    two.close()


def _make_and_list(directory: Path, who: int) -> None:
    for number in range(150):
        path = directory / f"{who}-{number}"
        path.touch()
        assert path.name in os.listdir(directory), "a name just made must be listed"
        if number % 3 == 0:
            path.unlink()
            assert path.name not in os.listdir(directory), "a name just removed must not be listed"


def test_a_listing_shows_what_happened_before_it(target: Path) -> None:
    in_parallel([partial(_make_and_list, target, who) for who in range(3)])
    assert len(names(target)) == 300


def _remove_all(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)


def test_several_processes_remove_one_tree_together(target: Path) -> None:
    for number in range(300):
        (target / "tree" / str(number % 10) / str(number)).mkdir(parents=True)
        write(target / "tree" / str(number % 10) / str(number) / "leaf")
    in_parallel([partial(_remove_all, target / "tree")] * 4)
    shutil.rmtree(target / "tree", ignore_errors=True)
    assert not (target / "tree").exists()
