"""Paths: components, "..", symbolic links."""

from __future__ import annotations

import pytest

from k42fs.errors import (
    InvalidArgumentError,
    NameNotFoundError,
    NameTooLongError,
    NotDirectoryError,
    SymlinkLoopError,
)
from k42fs.servers.fs_file import FSFile
from tests.servers.filelib.lab import Lab

Tree = dict[str, FSFile]


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.fixture
def tree(lab: Lab) -> Tree:
    a = lab.dir(b"a")
    b = lab.dir(b"b", a)
    c = lab.dir(b"c")
    return {"/": lab.root, "a": a, "b": b, "c": c, "f": lab.file(b"f", directory=b)}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (b"/", "/"),
        (b"//", "/"),
        (b"/.", "/"),
        (b"/..", "/"),
        (b"/a", "a"),
        (b"a/b", "b"),
        (b"/a//b/./f", "f"),
        (b"/a/b/", "b"),
        (b"/a/b/..", "a"),
        (b"/a/b/../../c", "c"),
        (b"../../a/../c/.", "c"),
    ],
)
def test_paths_without_links(lab: Lab, tree: Tree, path: bytes, found: str) -> None:
    assert lab.call("resolve", path) is tree[found]


def test_paths_may_start_anywhere(lab: Lab, tree: Tree) -> None:
    assert lab.call("resolve", b"b/f", True, tree["a"]) is tree["f"]
    assert lab.call("resolve", b"../c", True, tree["a"]) is tree["c"]
    assert lab.call("resolve", b"/c", True, tree["a"]) is tree["c"]


def test_what_cannot_be_resolved(lab: Lab, tree: Tree) -> None:
    assert tree
    for path, error in (
        (b"", NameNotFoundError),
        (b"/x", NameNotFoundError),
        (b"/x/..", NameNotFoundError),
        (b"/a/b/f/..", NotDirectoryError),
        (b"/a/b/f/", NotDirectoryError),
        (b"/a/b/f/x", NotDirectoryError),
        (b"/" + b"n" * 256, NameTooLongError),
        (b"/" + b"a/" * 2048, NameTooLongError),
        (b"/a\0b", InvalidArgumentError),
    ):
        with pytest.raises(error):
            lab.call("resolve", path)


def test_links_are_followed_where_they_should_be(lab: Lab, tree: Tree) -> None:
    link = lab.call("symlink", tree["c"], b"to_b", b"../a/b")
    absolute = lab.call("symlink", tree["c"], b"abs", b"/a")
    assert lab.call("resolve", b"/c/to_b") is tree["b"]
    assert lab.call("resolve", b"/c/to_b", False) is link
    assert lab.call("resolve", b"/c/to_b/", False) is tree["b"]
    assert lab.call("resolve", b"/c/to_b/f", False) is tree["f"]
    assert lab.call("resolve", b"/c/to_b/..") is tree["a"]
    assert lab.call("resolve", b"/c/abs/b/f") is tree["f"]
    assert lab.call("resolve", b"/c/abs", False) is absolute


def test_links_to_files_and_to_nothing(lab: Lab, tree: Tree) -> None:
    lab.call("symlink", lab.root, b"l", b"a/b/f")
    lab.call("symlink", lab.root, b"dangling", b"nowhere")
    assert lab.call("resolve", b"/l") is tree["f"]
    with pytest.raises(NotDirectoryError):
        lab.call("resolve", b"/l/")
    with pytest.raises(NotDirectoryError):
        lab.call("resolve", b"/l/x")
    with pytest.raises(NameNotFoundError):
        lab.call("resolve", b"/dangling")


def test_forty_links_are_followed_and_no_more(lab: Lab) -> None:
    lab.file(b"0")
    for i in range(1, 42):
        lab.call("symlink", lab.root, b"%d" % i, b"%d" % (i - 1))
    assert lab.call("resolve", b"/40").nlink == 1
    with pytest.raises(SymlinkLoopError):
        lab.call("resolve", b"/41")
    lab.call("symlink", lab.root, b"loop", b"loop")
    with pytest.raises(SymlinkLoopError):
        lab.call("resolve", b"/loop")


def test_a_walk_leaves_no_lock_behind(lab: Lab, tree: Tree) -> None:
    assert lab.call("resolve", b"/a/b/f") is tree["f"]
    with pytest.raises(NameNotFoundError):
        lab.call("resolve", b"/a/b/x/y")
    lab.call(
        "rename", lab.root, b"a", lab.root, b"z"
    )  # would wait for ever for a walk that still stands here
    assert lab.call("resolve", b"/z/b/f") is tree["f"]


def test_a_removed_directory_leads_nowhere(lab: Lab, tree: Tree) -> None:
    tree["c"].holds += 1
    lab.call("rmdir", lab.root, b"c")
    with pytest.raises(NameNotFoundError):
        lab.call("resolve", b"..", True, tree["c"])
