"""Times: which operation marks which of atime, mtime and ctime, and of whom."""

from __future__ import annotations

import os

import pytest

from k42fs.servers.attr_changes import AttrChanges
from k42fs.servers.fs_file import FSFile
from tests.servers.filelib.lab import SECOND, Lab

DAY = 24 * 3600


@pytest.fixture
def lab() -> Lab:
    return Lab()


class Watch:
    """Which times of some inodes changed since last asked: {"mtime of d", ...}."""

    def __init__(self, lab: Lab, **files: FSFile) -> None:
        self._lab = lab
        self._files = files
        self._seen = self._read()
        lab.clock.tick()

    def _read(self) -> dict[str, int]:
        return {
            f"{time} of {name}": getattr(file, f"{time}_ns")
            for name, file in self._files.items()
            for time in ("atime", "mtime", "ctime")
        }

    def changed(self) -> set[str]:
        now = self._read()
        changed = {key for key, value in now.items() if value != self._seen[key]}
        assert all(now[key] == self._lab.clock.now_ns for key in changed), "a time was set, but not to now"
        self._seen = now
        self._lab.clock.tick()
        return changed


def both(name: str) -> set[str]:
    return {f"mtime of {name}", f"ctime of {name}"}


def test_making_names_marks_the_directory_and_the_new_inode(lab: Lab) -> None:
    watch = Watch(lab, root=lab.root)
    made = [lab.file(b"f")]
    assert watch.changed() == both("root")
    made.append(lab.dir(b"d"))
    assert watch.changed() == both("root")
    made.append(lab.call("symlink", lab.root, b"l", b"t"))
    assert watch.changed() == both("root")
    assert all(file.atime_ns == file.mtime_ns == file.ctime_ns for file in made)


def test_links_and_unlinks_mark_the_file_s_ctime(lab: Lab) -> None:
    d, f = lab.dir(b"d"), lab.file(b"f")
    watch = Watch(lab, root=lab.root, d=d, f=f)
    lab.call("link", f, d, b"g")
    assert watch.changed() == both("d") | {"ctime of f"}
    lab.call("unlink", d, b"g")
    assert watch.changed() == both("d") | {"ctime of f"}
    d.holds += 1
    lab.call("rmdir", lab.root, b"d")
    assert watch.changed() == both("root") | {"ctime of d"}


def test_renames_mark_both_directories_what_moved_and_what_went(lab: Lab) -> None:
    d, f, g = lab.dir(b"d"), lab.file(b"f"), lab.file(b"g")
    g.holds += 1
    watch = Watch(lab, root=lab.root, d=d, f=f, g=g)
    lab.call("rename", lab.root, b"f", d, b"f")
    assert watch.changed() == both("root") | both("d") | {"ctime of f"}
    lab.call("rename", d, b"f", lab.root, b"g")
    assert watch.changed() == both("root") | both("d") | {"ctime of f", "ctime of g"}
    lab.call("rename", lab.root, b"g", lab.root, b"g")
    assert watch.changed() == set()
    lab.call("rename", lab.root, b"g", lab.root, b"d", 2)
    assert watch.changed() == both("root") | {"ctime of f", "ctime of d"}


def test_writes_mark_contents_unless_they_write_nothing(lab: Lab) -> None:
    f, of = lab.open_new(b"f")
    watch = Watch(lab, f=f)
    lab.call("write", of, 0, b"x")
    assert watch.changed() == both("f")
    lab.call("write", of, 0, b"")
    assert watch.changed() == set()


def test_truncating_to_the_same_length_marks_only_through_an_open_file(lab: Lab) -> None:
    f, of = lab.open_new(b"f")
    watch = Watch(lab, f=f)
    lab.call("set_attributes", f, AttrChanges(size=0))
    assert watch.changed() == set()
    lab.call("set_attributes", f, AttrChanges(size=0), of)
    assert watch.changed() == both("f")
    lab.call("set_attributes", f, AttrChanges(size=7))
    assert watch.changed() == both("f")
    lab.call("release", lab.call("open", f, os.O_WRONLY | os.O_TRUNC))
    assert watch.changed() == both("f")
    lab.call("release", lab.call("open", f, os.O_WRONLY | os.O_TRUNC))
    assert watch.changed() == both("f")


def test_reads_mark_atime_when_it_says_little(lab: Lab) -> None:
    f, of = lab.open_new(b"f")
    watch = Watch(lab, f=f)
    lab.call("write", of, 0, b"x")
    watch.changed()
    lab.call("read", of, 0, 1)
    assert watch.changed() == {"atime of f"}
    lab.call("read", of, 0, 1)
    assert watch.changed() == set()
    lab.clock.tick(DAY)
    lab.call("read", of, 0, 1)
    assert watch.changed() == {"atime of f"}
    lab.call("write", of, 0, b"y")
    watch.changed()
    quiet = lab.call("open", f, os.O_RDONLY | os.O_NOATIME)
    lab.call("read", quiet, 0, 1)
    assert watch.changed() == set()
    lab.call("read", of, 9, 1)
    assert watch.changed() == {"atime of f"}


def test_reading_directories_and_links_marks_their_atime(lab: Lab) -> None:
    link = lab.call("symlink", lab.root, b"l", b"t")
    watch = Watch(lab, root=lab.root, l=link)
    lab.names()
    assert watch.changed() == {"atime of root"}
    lab.call("read_link", link)
    assert watch.changed() == {"atime of l"}
    lab.names()
    lab.call("read_link", link)
    assert watch.changed() == set()


def test_attribute_changes_mark_ctime_only(lab: Lab) -> None:
    d, f, _ = lab.dir(b"d"), *lab.open_new(b"f")
    cold = lab.call("mknod", lab.root, b"c", 0o644)
    watch = Watch(lab, d=d, f=f, c=cold)
    for name, file in (("d", d), ("f", f), ("c", cold)):
        for changes in (AttrChanges(mode=0o600), AttrChanges(uid=1), AttrChanges(gid=2)):
            lab.call("set_attributes", file, changes)
            assert watch.changed() == {f"ctime of {name}"}
        lab.call("set_xattr", file, b"user.x", b"1")
        assert watch.changed() == {f"ctime of {name}"}
        lab.call("remove_xattr", file, b"user.x")
        assert watch.changed() == {f"ctime of {name}"}


def test_times_can_be_set(lab: Lab) -> None:
    f = lab.file(b"f")
    now = lab.clock.tick()
    lab.call("set_attributes", f, AttrChanges(atime_ns=5 * SECOND + 1, mtime_ns=6))
    assert (f.atime_ns, f.mtime_ns, f.ctime_ns) == (5 * SECOND + 1, 6, now)


def test_a_read_only_file_system_marks_nothing(lab: Lab) -> None:
    f = lab.file(b"f", b"x")
    lab.fs.is_read_only = True
    watch = Watch(lab, f=f, root=lab.root)
    lab.data(f)
    lab.names()
    assert watch.changed() == set()
