"""Paths over several servers: both ways down, links, "..", synthetic directories, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k42fs.errors import (
    BusyError,
    CrossServerError,
    DirectoryNotEmptyError,
    InvalidArgumentError,
    K42Error,
    NameExistsError,
    NameNotFoundError,
    NotDirectoryError,
    NotPermittedError,
    ReadOnlyError,
    SymlinkLoopError,
    TargetIsDirectoryError,
)
from k42fs.ids import Ref
from k42fs.machine import Thread
from k42fs.servers.mount_client import K42_LINKS_MAX
from k42fs.servers.name_space import (
    ROOT_REFUSALS,
    NameSpace,
    Place,
    check_can_create,
    check_can_remove,
    check_same_mounts,
    merge_names,
    refusal_at_root,
)
from k42fs.servers.pathname import DotDot, PathName
from k42fs.servers.symlink_cache import LinkKey
from tests.servers.names.town import Shape, Town, p

BOTH = pytest.mark.parametrize("dotdot", list(DotDot), ids=lambda mode: mode.name)

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

    def at(
        self, path: str, *, follows_last: bool = True, dotdot: DotDot = DotDot.POSIX
    ) -> tuple[Ref, object]:
        """Return (server, file) that *path* leads to."""
        place = self.town.resolve(self.space, path, follows_last=follows_last, dotdot=dotdot)
        return place.point.server, place.point.file

    def file(self, server: Ref, path: str) -> tuple[Ref, object]:
        return server, self.town.servers[server].find(path)


@BOTH
def test_paths_lead_through_mounts_and_links(dotdot: DotDot) -> None:
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
        assert two.at(path, dotdot=dotdot) == want, path


def test_dotdot_after_a_link_is_the_targets_parent_in_posix_and_lexical_in_k42() -> None:
    two = Two()
    assert two.at("/up/../f") == two.file(two.home, "/d/f")
    assert two.at("/up/../file", dotdot=DotDot.LEXICAL) == two.file(two.home, "/file")
    assert two.at("/m/../file") == two.at("/m/x/../../file") == two.file(two.home, "/file")
    with pytest.raises(NameNotFoundError):
        two.at("/nothing/../file")
    assert two.at("/nothing/../file", dotdot=DotDot.LEXICAL) == two.file(two.home, "/file")
    with pytest.raises(NotDirectoryError):
        two.at("/file/../file")


@BOTH
def test_failures_are_those_of_posix(dotdot: DotDot) -> None:
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
            two.at(path, dotdot=dotdot)


@BOTH
def test_invariant_7_eleven_links_resolve_and_the_twelfth_is_eloop(dotdot: DotDot) -> None:
    town = Town()
    chain: Shape = {f"l{n}": f"l{n - 1}" if n else "f" for n in range(12)}
    server = town.server({"f": None, **chain})
    town.mount("/", server)
    for _ in ("cold", "warm"):
        space = NameSpace(town.client(K42_LINKS_MAX))
        assert town.resolve(space, "/l10", dotdot=dotdot).point.file is town.servers[server].find("/f")
        with pytest.raises(SymlinkLoopError):
            town.resolve(space, "/l11", dotdot=dotdot)
        assert town.resolve(space, "/l10", dotdot=dotdot).path == p("/f")


@BOTH
def test_invariant_8_lstat_like_calls_get_the_link_itself(dotdot: DotDot) -> None:
    two = Two()
    for _ in ("cold", "warm"):
        assert two.at("/up", follows_last=False, dotdot=dotdot) == two.file(two.home, "/up")
        assert two.at("/up/", follows_last=False, dotdot=dotdot) == two.file(two.home, "/d/e")
        assert two.at("/up", dotdot=dotdot) == two.file(two.home, "/d/e")


def test_invariant_8_a_warm_link_asks_nobody_until_its_server_removes_it() -> None:
    two = Two()
    server = two.town.servers[two.home]
    for _ in range(3):
        two.at("/up/g", dotdot=DotDot.LEXICAL)
    assert server.links_read == 1
    calls = two.space.client.counts.calls
    two.at("/up/g", dotdot=DotDot.LEXICAL)
    assert two.space.client.counts.calls == calls

    link = server.top.entries.pop(b"up")
    two.town.call("links_removed", [LinkKey(two.home, link.ino)])
    with pytest.raises(NameNotFoundError):
        two.at("/up/g", dotdot=DotDot.LEXICAL)


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        ("mkdir", NameExistsError),
        ("rmdir", DirectoryNotEmptyError),
        ("unlink", TargetIsDirectoryError),
        ("truncate", TargetIsDirectoryError),
        ("link", NotPermittedError),
        ("rename", NotPermittedError),
        ("mknod", InvalidArgumentError),
        ("bind", InvalidArgumentError),
    ],
)
def test_invariant_9_a_servers_root_refuses_operations_that_want_a_name(
    operation: str, error: type[K42Error]
) -> None:
    assert type(refusal_at_root(operation)) is error
    assert len(ROOT_REFUSALS) == 8


def test_a_filler_without_a_directory_is_synthetic_and_with_one_is_not() -> None:
    two = Two()
    two.town.mount("/d/e/deep/er", two.other)
    assert two.at("/d/e") == two.file(two.home, "/d/e")
    place = two.town.resolve(two.space, "/d/e/deep")
    assert place.point.is_synthetic
    assert place.point.is_directory
    assert two.at("/d/e/deep/er/x/..") == two.file(two.other, "/")
    assert two.at("/d/e/deep/..") == two.file(two.home, "/d/e")
    with pytest.raises(NameNotFoundError):
        two.at("/d/e/deep/none")
    with pytest.raises(ReadOnlyError):
        check_can_create(place.point, b"new")
    with pytest.raises(NameExistsError):
        check_can_create(place.point, b"er")


def test_the_mount_tree_wins_over_a_file_in_its_way() -> None:
    two = Two()
    two.town.mount("/file/m", two.other)
    assert two.at("/file/m/x/y") == two.file(two.other, "/x/y")
    assert two.town.resolve(two.space, "/file").point.is_synthetic
    two.town.call("unregister", p("/file/m"))
    assert two.at("/file") == two.file(two.home, "/file")


def test_listings_show_mounts_first_and_no_name_twice() -> None:
    two = Two()
    two.town.mount("/d/new", two.other)
    two.town.mount("/d/f", two.other)
    point = two.town.resolve(two.space, "/d").point
    assert list(merge_names(point, [b"e", b"f"])) == [b"f", b"new", b"e"]
    plain = two.town.resolve(two.space, "/d/e").point
    assert list(merge_names(plain, [b"g"])) == [b"g"]


def test_names_with_mounts_below_are_busy_and_others_are_free() -> None:
    two = Two()
    root = two.town.resolve(two.space, "/").point
    with pytest.raises(BusyError):
        check_can_remove(root, b"m")
    check_can_remove(root, b"file")
    check_can_create(root, b"fresh")


def test_two_places_interoperate_iff_one_server_holds_both() -> None:
    two = Two()
    two.town.do(two.space.bind, p("/d/e"), p("/bound"))
    two.town.mount("/s/s", two.other)
    bound, plain, other, synthetic = (
        two.town.resolve(two.space, path).point for path in ("/bound", "/d", "/m/x", "/s")
    )
    check_same_mounts(bound, plain)
    with pytest.raises(CrossServerError):
        check_same_mounts(bound, other)
    with pytest.raises(ReadOnlyError):
        check_same_mounts(bound, synthetic)


def test_bind_follows_links_at_bind_time_only() -> None:
    two = Two()
    entry = two.town.do(two.space.bind, p("/up"), p("/slash/new"))
    assert (entry.server, bytes(entry.rel_path)) == (two.home, b"/d/e")
    assert two.at("/d/new/g") == two.at("/slash/new/g") == two.file(two.home, "/d/e/g")
    two.town.servers[two.home].top.entries[b"up"].target = b"/m"
    assert two.at("/d/new/g") == two.file(two.home, "/d/e/g")


@pytest.mark.parametrize(
    ("old", "error"),
    [("/none", NameNotFoundError), ("/file", NotDirectoryError), ("/s", InvalidArgumentError)],
)
def test_bind_of_what_is_no_directory_of_a_server_is_refused(old: str, error: type[K42Error]) -> None:
    two = Two()
    two.town.mount("/s/s", two.other)
    version = two.town.mgr.snapshot.version
    with pytest.raises(error):
        two.town.do(two.space.bind, p(old), p("/new"))
    assert two.town.mgr.snapshot.version == version


def test_a_mount_whose_directory_is_gone_is_enoent() -> None:
    two = Two()
    two.town.do(two.space.bind, p("/d/e"), p("/bound"))
    directory = two.town.servers[two.home].find("/d")
    directory.entries.clear()  # type: ignore[attr-defined]
    for dotdot in DotDot:
        with pytest.raises(NameNotFoundError):
            two.at("/bound", dotdot=dotdot)


def test_canonical_resolves_what_exists_and_keeps_the_rest() -> None:
    two = Two()
    for path, want in (
        ("/up/new/er", "/d/e/new/er"),
        ("/abs/..", "/m"),
        ("/none/", "/none"),
        ("/up/", "/d/e"),
    ):
        assert two.town.do(two.space.canonical, p(path)) == p(want)
    with pytest.raises(NameNotFoundError):
        two.town.do(two.space.canonical, p("/none/../x"))


def test_an_empty_name_space_has_a_synthetic_root() -> None:
    town = Town()
    space = NameSpace(town.client())
    for dotdot in DotDot:
        assert town.resolve(space, "/", dotdot=dotdot).point.is_synthetic
    with pytest.raises(NameNotFoundError):
        town.resolve(space, "/a")


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
def test_incremental_and_whole_path_resolution_agree_on_every_path(
    mounts: list[tuple[list[str], Shape, bool]], home: Shape, has_root: bool, follows_last: bool
) -> None:
    town = Town(2, model="off")
    if has_root:
        town.mount("/", town.server(home), cov=True)
    for words, tree, coverable in mounts:
        town.mount("/" + "/".join(words), town.server(tree), cov=coverable)
    space = NameSpace(town.client())

    async def outcome(th: Thread, path: PathName, dotdot: DotDot) -> tuple[Any, ...]:
        try:
            place: Place = await space.resolve(th, path, follows_last=follows_last, dotdot=dotdot)
        except K42Error as exc:
            return (type(exc),)
        point = place.point
        names = () if point.children is None else tuple(point.children)
        return point.server, point.file, point.mount, names, place.path

    for _ in ("cold", "warm"):
        for path in PROBED:
            incremental = town.do(outcome, path, DotDot.POSIX)
            assert town.do(outcome, path, DotDot.LEXICAL) == incremental, path
