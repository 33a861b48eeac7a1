"""The mount table as a value: covering, stacking, binds, limits. Names say which invariant they hold."""

from __future__ import annotations

import itertools

import pytest

from k42fs.errors import (
    BusyError,
    InvalidArgumentError,
    K42Error,
    NameExistsError,
    NameNotFoundError,
)
from k42fs.ids import Ref
from k42fs.servers.mount_listing import Visibility, mount_lines
from k42fs.servers.mount_table import (
    DESCRIPTION_MAX,
    MOUNT_IDS_MAX,
    MountEntry,
    MountTable,
    NodeKind,
    is_accepted,
)
from k42fs.servers.pathname import ROOT, PathName
from tests.servers.names.reference import Mounts, expected
from tests.servers.names.town import p

CHAIN = ("/", "/a", "/a/b", "/a/b/c")
BELOW = (b"a", b"b", b"c", b"file")


def table_of(*mounts: tuple[str, bool]) -> MountTable:
    """Mount servers 1, 2, ... at paths, each coverable or not."""
    table = MountTable()
    for ref, (path, coverable) in enumerate(mounts, 1):
        table.register(p(path), Ref(ref), is_coverable=coverable)
    return table


def server_at(table: MountTable, path: str) -> int:
    return table.snapshot.lookup(p(path).components).entry.server


@pytest.mark.parametrize("chain", [*itertools.product(("", "C", "N"), repeat=4)], ids="".join)
def test_invariant_1_lookup_is_the_truth_table_for_chains_up_to_four_deep(chain: tuple[str, ...]) -> None:
    table, mounts = MountTable(), Mounts()
    for path, what in zip(CHAIN, chain, strict=True):
        if what:
            mounts[p(path).components] = [table.register(p(path), Ref(9), is_coverable=what == "C")]
    for depth in range(5):
        path_there = BELOW[:depth]
        want = expected(mounts, path_there)
        if want is None:
            with pytest.raises(NameNotFoundError):
                table.snapshot.lookup(path_there)
        else:
            found = table.snapshot.lookup(path_there)
            assert (found.entry, found.rest) == want


@pytest.mark.parametrize(
    ("upper", "lower", "lower_wins"),
    [(True, True, True), (True, False, True), (False, False, True), (False, True, False)],
)
def test_invariant_1_the_offer_rule_has_four_rows(upper: bool, lower: bool, lower_wins: bool) -> None:
    best, offered = (MountEntry(1, Ref(1), ROOT, b"", coverable, False) for coverable in (upper, lower))
    assert is_accepted(best, offered) is lower_wins
    assert is_accepted(None, offered)


def test_invariant_2_a_covered_mount_is_unreachable_but_listed_until_its_cover_is_coverable() -> None:
    table = table_of(("/", False), ("/a/b", True))
    assert server_at(table, "/a/b/f") == 1
    assert table.snapshot.node_at((b"a", b"b")) is None
    line = mount_lines(table.snapshot)[-1]
    assert (str(line.path), line.entry.server, line.visibility) == ("/a/b", 2, Visibility.COVERED)
    assert line.hidden_by is not None
    assert line.hidden_by.server == 1

    table.register(ROOT, Ref(3), is_coverable=True, replaces=True)
    assert server_at(table, "/a/b/f") == 2
    assert server_at(table, "/a/f") == 3
    assert all(line.visibility is Visibility.VISIBLE for line in mount_lines(table.snapshot))


def test_invariant_2_stacking_a_coverable_mount_reveals_and_unregistering_it_hides_again() -> None:
    table = table_of(("/", False), ("/a", True))
    table.register(ROOT, Ref(3), is_coverable=True)
    assert server_at(table, "/a") == 2
    assert [line.visibility for line in mount_lines(table.snapshot)] == [
        Visibility.VISIBLE,
        Visibility.VISIBLE,
        Visibility.STACKED,
    ]
    assert table.unregister(ROOT).server == 3
    assert server_at(table, "/a") == 1


def test_invariant_3_bind_resolves_once_and_binds_under_binds_work() -> None:
    table = table_of(("/", False), ("/old", False))
    table.bind(p("/old/dir"), p("/new"))
    table.bind(p("/new/deep"), p("/newer"), is_coverable=False)
    table.register(p("/old"), Ref(7), replaces=True)
    found = table.snapshot.lookup((b"new", b"f"))
    assert (found.entry.server, bytes(found.server_path)) == (1, b"/new/f")  # coverable, below N: hidden
    found = table.snapshot.lookup((b"newer", b"f"))
    assert (found.entry.server, bytes(found.server_path)) == (1, b"/new/deep/f")

    table = table_of(("/", True), ("/old", False))
    table.bind(p("/old/dir"), p("/new"))
    table.bind(p("/new/deep"), p("/newer"))
    table.register(p("/old"), Ref(7), replaces=True)
    assert server_at(table, "/old/dir") == 7
    for path, inside in ((b"new", b"/dir/f"), (b"newer", b"/dir/deep/f")):
        found = table.snapshot.lookup((path, b"f"))
        assert (found.entry.server, bytes(found.server_path), found.entry.is_bind) == (2, inside, True)


def test_invariant_6_exdev_iff_server_objects_differ() -> None:
    table = table_of(("/", True), ("/other", False))
    table.bind(p("/x"), p("/bind1"))
    table.bind(p("/y"), p("/bind2"))
    entries = {
        name: table.snapshot.lookup((name,)).entry for name in (b"bind1", b"bind2", b"other", b"plain")
    }
    for one, two in itertools.product(entries, repeat=2):
        assert (entries[one].server == entries[two].server) == ((one == b"other") == (two == b"other"))


def test_prefixes_end_at_component_boundaries() -> None:
    table = table_of(("/", True), ("/spur", False))
    assert server_at(table, "/spur/x") == 2
    assert server_at(table, "/spurious") == 1


def test_fillers_lead_to_mounts_and_go_with_them() -> None:
    table = table_of(("/", True), ("/a/b/c", False))
    filler = table.snapshot.node_at((b"a", b"b"))
    assert filler is not None
    assert (filler.kind, filler.crosses) == (NodeKind.EMPTY, False)
    assert filler.children is not None
    assert [filler.children[b"c"].kind, table.snapshot.root.kind] == [NodeKind.MOUNT, NodeKind.COVMOUNT]
    ino = filler.ino
    table.register(p("/a/z"), Ref(3))
    kept = table.snapshot.node_at((b"a", b"b"))
    assert kept is not None
    assert kept.ino == ino  # stable while it is there
    table.unregister(p("/a/b/c"))
    assert table.snapshot.node_at((b"a", b"b")) is None
    assert table.snapshot.node_at((b"a", b"z")) is not None
    table.register(p("/a/b/c"), Ref(2))
    fresh = table.snapshot.node_at((b"a", b"b"))
    assert fresh is not None
    assert fresh.ino > ino


def test_a_filler_that_leads_to_hidden_mounts_only_is_not_shown() -> None:
    table = table_of(("/", False), ("/a/b", True))
    assert table.snapshot.root.children is None
    table.register(p("/a/c"), Ref(3))
    assert table.snapshot.root.children is not None
    below = table.snapshot.root.children[b"a"].children
    assert below is not None
    assert list(below) == [b"c"]


def test_children_are_in_name_order() -> None:
    table = table_of(("/", True), *((f"/{name}", False) for name in "zmabq"))
    assert table.snapshot.root.children is not None
    assert list(table.snapshot.root.children) == [b"a", b"b", b"m", b"q", b"z"]


def test_a_snapshot_never_changes() -> None:
    table = table_of(("/", True))
    before = table.snapshot
    table.register(p("/a"), Ref(2))
    assert before.lookup((b"a",)).entry.server == 1
    assert before.root.children is None
    assert table.snapshot.version == before.version + 1


def test_mount_ids_are_small_and_never_used_again() -> None:
    table = table_of(("/", True), ("/a", False))
    table.unregister(p("/a"))
    assert table.register(p("/a"), Ref(2)).mount_id == 3
    assert table.snapshot.root.stack[0].mount_id == 1


def test_a_mount_beyond_the_last_id_is_refused_when_it_is_made() -> None:
    table = table_of(("/", True))
    last = 1
    while last < MOUNT_IDS_MAX:
        last = table.register(p("/"), Ref(2), replaces=True).mount_id
    assert last == MOUNT_IDS_MAX
    before = table.snapshot
    with pytest.raises(BusyError, match="65534 mounts"):
        table.register(p("/a"), Ref(2))
    with pytest.raises(BusyError):
        table.bind(p("/"), p("/b"))
    assert table.snapshot is before
    assert table.snapshot.lookup((b"a",)).entry.mount_id == last


def test_a_copy_is_a_name_space_of_its_own() -> None:
    table = table_of(("/", True), ("/a", False))
    twin = table.copy()
    assert twin.snapshot is table.snapshot
    twin.register(p("/b"), Ref(3))
    table.unregister(p("/a"))
    assert (server_at(twin, "/b"), server_at(twin, "/a"), server_at(table, "/b")) == (3, 2, 1)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda t: t.register(p("/a/../b"), Ref(2)), InvalidArgumentError),
        (lambda t: t.register(p("/a"), Ref(0)), InvalidArgumentError),
        (
            lambda t: t.register(p("/a"), Ref(2), description=b"d" * (DESCRIPTION_MAX + 1)),
            InvalidArgumentError,
        ),
        (lambda t: t.register(p("/a"), Ref(2), description=b"two\nlines"), InvalidArgumentError),
        (lambda t: t.register(p("/free"), Ref(2), replaces=True), InvalidArgumentError),
        (lambda t: t.unregister(p("/free")), InvalidArgumentError),
        (lambda t: t.unregister(ROOT), BusyError),
        (lambda t: t.bind(p("/a"), p("/a")), NameExistsError),
        (lambda t: t.bind(p("/a/../c"), p("/b")), InvalidArgumentError),
    ],
)
def test_a_refused_change_changes_nothing(wrong: object, error: type[K42Error]) -> None:
    table = table_of(("/", True), ("/a", False))
    before, listed = table.snapshot, mount_lines(table.snapshot)
    assert callable(wrong)
    with pytest.raises(error):
        wrong(table)
    assert table.snapshot is before
    assert mount_lines(table.snapshot) == listed


def test_bind_of_nothing_is_enoent() -> None:
    table = MountTable()
    with pytest.raises(NameNotFoundError):
        table.bind(p("/a"), p("/b"))


def test_a_long_bind_is_described_within_the_bound() -> None:
    table = table_of(("/", True))
    long = PathName((b"n" * 200, b"last"))
    entry = table.bind(long, p("/b"))
    assert len(entry.description) == DESCRIPTION_MAX
    assert entry.description.startswith(b"bind to /nnn")
    assert entry.description.endswith(b"nnn/last")


def test_a_very_deep_mount_point_compiles() -> None:
    table = table_of(("/", True))
    path = PathName((b"d",) * 2000)
    table.register(path, Ref(2))
    assert table.snapshot.lookup((*path.components, b"f")).rest == (b"f",)
