"""Component lists: parsing in both modes, limits, the marshalled form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k42fs.errors import InvalidArgumentError, NameNotFoundError, NameTooLongError
from k42fs.servers.pathname import NAME_MAX, PATH_MAX, ROOT, DotDot, PathName

NAMES = st.binary(min_size=1, max_size=20).filter(
    lambda name: not {0, 47} & {*name} and name not in (b".", b"..")
)
PATHS = st.lists(NAMES, max_size=8).map(lambda names: PathName(tuple(names)))


@pytest.mark.parametrize(
    ("unix", "posix", "lexical"),
    [
        (b"/", b"/", b"/"),
        (b"//a///b", b"/a/b", b"/a/b"),
        (b"/a/./b/.", b"/a/b", b"/a/b"),
        (b"/a/../b", b"/a/../b", b"/b"),
        (b"/..", b"/", b"/"),
        (b"/../../a", b"/a", b"/a"),
        (b"/a/b/../../..", b"/a/b/../../..", b"/"),
        (b"/a\xff b", b"/a\xff b", b"/a\xff b"),
        (b"/...", b"/...", b"/..."),
    ],
)
def test_parsing_keeps_dotdot_for_posix_and_applies_it_lexically_for_k42(
    unix: bytes, posix: bytes, lexical: bytes
) -> None:
    assert bytes(PathName.parse(unix)) == posix
    assert bytes(PathName.parse(unix, dotdot=DotDot.LEXICAL)) == lexical


def test_a_relative_path_continues_its_start() -> None:
    start = PathName.parse(b"/u/me")
    assert bytes(PathName.parse(b"x/y", start)) == b"/u/me/x/y"
    assert bytes(PathName.parse(b"../x", start, DotDot.LEXICAL)) == b"/u/x"
    assert bytes(PathName.parse(b"../x", start)) == b"/u/me/../x"
    assert bytes(PathName.parse(b"/x", start)) == b"/x"
    assert bytes(PathName.parse(b"x")) == b"/x"


@pytest.mark.parametrize("unix", [b"/a/", b"/a/.", b"/a/..", b"/"])
def test_a_trailing_slash_is_remembered_but_not_compared(unix: bytes) -> None:
    path = PathName.parse(unix)
    assert path.wants_directory
    assert path == PathName(path.components)


def test_limits_are_refused_one_past_the_last_that_fits() -> None:
    assert len(PathName.parse(b"/" + b"n" * NAME_MAX).components[0]) == NAME_MAX
    with pytest.raises(NameTooLongError, match="256"):
        PathName.parse(b"/" + b"n" * (NAME_MAX + 1))
    longest = b"/n" * ((PATH_MAX - 1) // 2) + b"/"
    assert len(longest) == PATH_MAX - 1
    PathName.parse(longest)
    with pytest.raises(NameTooLongError, match="4096"):
        PathName.parse(longest + b"n")
    with pytest.raises(NameTooLongError, match="4098"):
        PathName((b"n",) * (PATH_MAX // 2 + 1))


@pytest.mark.parametrize("name", [b"", b".", b"a/b", b"a\0b"])
def test_what_is_no_component_is_refused(name: bytes) -> None:
    with pytest.raises(InvalidArgumentError):
        PathName((name,))


def test_an_empty_path_name_is_enoent() -> None:
    with pytest.raises(NameNotFoundError):
        PathName.parse(b"")


def test_the_root_is_a_true_value() -> None:
    assert ROOT
    assert str(ROOT) == "/"


@given(PATHS)
def test_what_a_path_writes_reads_back(path: PathName) -> None:
    assert PathName.parse(bytes(path)) == path
    assert (tuple(path), len(path)) == (path.components, len(path.components))
