"""Whole paths over several servers: links, "..", synthetic directories, rights, and answers that never go stale."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k42fs.errors import (
    K42Error,
    NameNotFoundError,
    NotDirectoryError,
    PermissionDeniedError,
    SymlinkLoopError,
)
from k42fs.ids import Ref
from k42fs.machine import Thread
from k42fs.servers.credentials import Creds
from k42fs.servers.name_space import NameSpace, Place
from k42fs.servers.pathname import PathName
from k42fs.servers.symlink_cache import LinkKey
from k42fs.servers.trail import LinkStep, PrefixStep, Trail, WalkStep
from tests.servers.names.reference import follow_by_name
from tests.servers.names.town import Shape, Town, p

K42_LINKS_MAX = 11

HOME: Shape = {
    "d": {"f": None, "e": {"g": None}},
    "up": "d/e",
    "abs": "/m/x",
    "self": "self",
    "file": None,
    "climb": "d/../file",
    "slash": "d/",
    "empty": "",
}


class Two:
    """A root server with HOME at "/" (coverable) and a second server at /m."""

    def __init__(self, links_max: int = 40) -> None:
        self.town = Town()
        self.home = self.town.server(HOME)
        self.other = self.town.server({"x": {"y": None}, "back": "../d/f"})
        self.town.mount("/", self.home, cov=True)
        self.town.mount("/m", self.other)
        self.space = NameSpace(self.town.client(links_max))

    def at(self, path: str, *, follows_last: bool = True) -> tuple[Ref, object]:
        """Return (server, file) that *path* leads to."""
        point = self.town.resolve(self.space, path, follows_last=follows_last).point
        return point.mount.server, point.file

    def file(self, server: Ref, path: str) -> tuple[Ref, object]:
        return server, self.town.servers[server].find(path)


def test_paths_lead_through_mounts_and_links() -> None:
    two = Two()
    for path, want in (
        ("/", two.file(two.home, "/")),
        ("/d/f", two.file(two.home, "/d/f")),
        ("/m", two.file(two.other, "/")),
        ("/m/x/y", two.file(two.other, "/x/y")),
        ("/up/g", two.file(two.home, "/d/e/g")),
        ("/abs/y", two.file(two.other, "/x/y")),
        ("/m/back", two.file(two.home, "/d/f")),  # a link out of its server, by ".."
        ("/climb", two.file(two.home, "/file")),
        ("/slash", two.file(two.home, "/d")),
        ("/d/", two.file(two.home, "/d")),
    ):
        assert two.at(path) == want, path


def test_dotdot_is_lexical_as_in_k42() -> None:
    two = Two()
    assert two.at("/up/../file") == two.file(two.home, "/file")
    assert two.at("/m/../file") == two.at("/m/x/../../file") == two.file(two.home, "/file")
    assert two.at("/nothing/../file") == two.at("/file/../file") == two.file(two.home, "/file")


def test_failures_are_those_of_posix() -> None:
    two = Two()
    for path, error in (
        ("/none", NameNotFoundError),
        ("/d/none/x", NameNotFoundError),
        ("/file/x", NotDirectoryError),
        ("/file/", NotDirectoryError),
        ("/self", SymlinkLoopError),
        ("/self/x", SymlinkLoopError),
        ("/m/back/", NotDirectoryError),
        ("/empty", NameNotFoundError),
    ):
        with pytest.raises(error):
            two.at(path)


def test_invariant_7_eleven_links_resolve_and_the_twelfth_is_eloop() -> None:
    town = Town()
    chain: Shape = {f"l{n}": f"l{n - 1}" if n else "f" for n in range(12)}
    server = town.server({"f": None, **chain})
    town.mount("/", server)
    for _ in ("cold", "warm"):
        space = NameSpace(town.client(K42_LINKS_MAX))
        assert town.resolve(space, "/l10").point.file is town.servers[server].find("/f")
        with pytest.raises(SymlinkLoopError):
            town.resolve(space, "/l11")
        assert town.resolve(space, "/l10").path == p("/f")


def test_invariant_8_lstat_like_calls_get_the_link_itself() -> None:
    two = Two()
    for _ in ("cold", "warm"):
        assert two.at("/up", follows_last=False) == two.file(two.home, "/up")
        assert two.at("/up/", follows_last=False) == two.file(two.home, "/d/e")
        assert two.at("/up") == two.file(two.home, "/d/e")


def test_invariant_8_a_warm_link_asks_nobody_until_its_server_removes_it() -> None:
    two = Two()
    server = two.town.servers[two.home]
    for _ in range(3):
        two.at("/up/g")
    assert server.links_read == 1
    calls = two.space.client.counts.calls
    two.at("/up/g")
    assert two.space.client.counts.calls == calls

    link = server.top.entries.pop(b"up")
    two.town.call("links_removed", [LinkKey(two.home, link.ino)])
    with pytest.raises(NameNotFoundError):
        two.at("/up/g")


def test_a_filler_without_a_directory_is_synthetic_and_with_one_is_not() -> None:
    two = Two()
    two.town.mount("/d/e/deep/er", two.other)
    assert two.at("/d/e") == two.file(two.home, "/d/e")
    place = two.town.resolve(two.space, "/d/e/deep")
    assert place.point.file is None
    assert place.point.is_directory
    assert two.at("/d/e/deep/er/x/..") == two.file(two.other, "/")
    assert two.at("/d/e/deep/..") == two.file(two.home, "/d/e")
    with pytest.raises(NameNotFoundError):
        two.at("/d/e/deep/none")


def test_the_mount_tree_wins_over_a_file_in_its_way() -> None:
    two = Two()
    two.town.mount("/file/m", two.other)
    assert two.at("/file/m/x/y") == two.file(two.other, "/x/y")
    assert two.town.resolve(two.space, "/file").point.file is None
    two.town.call("unregister", p("/file/m"))
    assert two.at("/file") == two.file(two.home, "/file")


def test_each_step_of_a_resolution_is_taken_down() -> None:
    two = Two()

    def steps(path: str) -> list[tuple[object, ...]]:
        trail = Trail()
        two.town.resolve(two.space, path, trail=trail)
        return [
            (bytes(PathName(step.prefix)), step.found.entry.server, step.found.rest)
            if isinstance(step, PrefixStep)
            else (bytes(step.path), step.target, step.is_known, bytes(step.result))
            if isinstance(step, LinkStep)
            else (bytes(step.path),)
            for step in trail.steps
        ]

    found = [
        (b"/", two.home, (b"d", b"f")),
        (b"/d/f",),
    ]
    assert steps("/m/back") == [
        (b"/m", two.other, (b"back",)),
        (b"/m/back",),
        (b"/m/back", b"../d/f", False, b"/d/f"),
        *found,
    ]
    assert steps("/m/back") == [(b"/m/back", b"../d/f", True, b"/d/f"), *found]


def test_the_trail_of_a_failure_ends_where_it_failed() -> None:
    two = Two()
    for path, walked in (("/d/none/x", "/d"), ("/up/g/x", "/d/e/g"), ("/none", "/")):
        trail = Trail()
        with pytest.raises((NameNotFoundError, NotDirectoryError)):
            two.town.resolve(two.space, path, trail=trail)
        assert trail.steps[-1] == WalkStep(p(walked))


def test_directories_that_the_caller_may_not_search_are_eacces() -> None:
    two = Two()
    directory = two.town.servers[two.home].find("/d")
    directory.mode = stat.S_IFDIR | 0o700
    with pytest.raises(PermissionDeniedError):
        two.town.do(two.space.resolve, p("/d/f"), creds=Creds(1000, 1000))
    assert two.town.do(two.space.resolve, p("/d"), creds=Creds(1000, 1000)).point.file is directory
    assert two.at("/d/f") == two.file(two.home, "/d/f")


def test_a_mount_whose_directory_is_gone_is_enoent() -> None:
    two = Two()
    two.town.call("bind", p("/d/e"), p("/bound"))
    directory = two.town.servers[two.home].find("/d")
    directory.entries.clear()  # type: ignore[attr-defined]
    with pytest.raises(NameNotFoundError):
        two.at("/bound")


def test_an_empty_name_space_has_no_paths() -> None:
    town = Town()
    for path in ("/", "/a"):
        with pytest.raises(NameNotFoundError):
            town.resolve(NameSpace(town.client()), path)


NAMES = ("a", "b", "c")
TREES = st.recursive(
    st.sampled_from([None, "a", "b/c", "/a", "/b/c", "/c/a", ".", "nowhere"]),
    lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=6,
).map(lambda tree: tree if isinstance(tree, dict) else {})
WORDS = st.lists(st.sampled_from(NAMES), max_size=4)


def every_path(depth: int) -> Iterator[tuple[str, ...]]:
    if depth:
        for path in every_path(depth - 1):
            yield path
            if len(path) == depth - 1:
                yield from ((*path, name) for name in NAMES)
    else:
        yield ()


PROBED = [PathName(tuple(name.encode() for name in path)) for path in every_path(3)]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(WORDS, TREES, st.booleans()), min_size=0, max_size=4),
    TREES,
    st.booleans(),
    st.booleans(),
)
def test_whole_path_resolution_agrees_with_a_walk_by_name_on_every_path(
    mounts: list[tuple[list[str], Shape, bool]], home: Shape, has_root: bool, follows_last: bool
) -> None:
    town = Town(2, model="off")
    if has_root:
        town.mount("/", town.server(home), cov=True)
    for words, tree, coverable in mounts:
        town.mount("/" + "/".join(words), town.server(tree), cov=coverable)
    space = NameSpace(town.client())

    async def outcome(th: Thread, path: PathName) -> tuple[Any, ...]:
        try:
            place: Place = await space.resolve(th, path, follows_last=follows_last)
        except K42Error as exc:
            return (type(exc),)
        return place.point.mount.server, place.point.file, place.path.components

    for _ in ("cold", "warm"):
        for path in PROBED:
            by_name = follow_by_name(town, path.components, follows_last)
            assert town.do(outcome, path) == by_name, path
