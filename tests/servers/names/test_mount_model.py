"""Any history of changes leaves the table a trivial model has, for whole paths and step by step."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from k42fs.errors import K42Error
from k42fs.ids import Ref
from k42fs.servers.mount_listing import Visibility, mount_lines
from k42fs.servers.mount_table import Components, MountEntry, MountNode, MountTable, Snapshot
from k42fs.servers.pathname import ROOT, PathName
from tests.servers.names.reference import Mounts, expected

NAMES = (b"a", b"b", b"c")
PATHS = st.lists(st.sampled_from(NAMES), max_size=4).map(tuple)
SERVERS = st.integers(1, 4).map(Ref)


def all_paths(mounts: Mounts) -> set[Components]:
    """Return every path that could tell a difference: on the tree, and one name further."""
    on_tree = {path[:depth] for path in mounts for depth in range(len(path) + 1)} | {()}
    return on_tree | {(*path, name) for path in on_tree for name in NAMES}


def stepped(snapshot: Snapshot, path: Components) -> tuple[MountEntry, Components] | None:
    """Walk one component at a time, with nothing but the compiled nodes, as a kernel does."""
    node: MountNode | None = snapshot.root
    mount, rest = snapshot.root.winner, tuple[bytes, ...]()
    for name in path:
        children = None if node is None else node.children
        node = None if children is None else children.get(name)
        if node is not None and node.crosses:
            mount, rest = node.winner, ()
        else:
            rest = (*rest, name)
    return None if mount is None else (mount, rest)


class MountTableModel(RuleBasedStateMachine):
    """The model is a dict of stacks and the rule of reference.py, applied anew at every lookup."""

    def __init__(self) -> None:
        super().__init__()
        self.table = MountTable()
        self.model: Mounts = {}
        self.version = self.table.snapshot.version

    @initialize(coverable=st.booleans())
    def mount_root(self, coverable: bool) -> None:
        self.register((), Ref(1), coverable, False)

    @rule(path=PATHS, server=SERVERS, coverable=st.booleans(), replaces=st.booleans())
    def register(self, path: Components, server: Ref, coverable: bool, replaces: bool) -> None:
        replaces = replaces and path in self.model
        entry = self.table.register(PathName(path), server, is_coverable=coverable, replaces=replaces)
        stack = self.model.setdefault(path, [])
        if replaces:
            stack.pop()
        stack.append(entry)
        self.version += 1

    @rule(path=PATHS)
    def unregister(self, path: Components) -> None:
        stack = self.model.get(path)
        if stack is None or (not path and len(stack) == 1):
            self.refused(path)
            return
        assert self.table.unregister(PathName(path)) == stack.pop()
        if not stack:
            del self.model[path]
        self.version += 1

    def refused(self, path: Components) -> None:
        try:
            self.table.unregister(PathName(path))
        except K42Error:
            return
        raise AssertionError(f"unregister of {path} was not refused")

    @rule(old=PATHS, new=PATHS, coverable=st.booleans())
    def bind(self, old: Components, new: Components, coverable: bool) -> None:
        if old == new:
            return
        want = expected(self.model, old)
        assert want is not None
        entry = self.table.bind(PathName(old), PathName(new), is_coverable=coverable)
        assert (entry.server, entry.rel_path) == (
            want[0].server,
            PathName((*want[0].rel_path.components, *want[1])),
        )
        self.model.setdefault(new, []).append(entry)
        self.version += 1

    @invariant()
    def every_lookup_agrees_with_the_model(self) -> None:
        snapshot = self.table.snapshot
        assert snapshot.version == self.version
        if not self.model:
            return
        for path in all_paths(self.model):
            want = expected(self.model, path)
            assert want is not None
            found = snapshot.lookup(path)
            assert (found.entry, found.rest) == want
            assert stepped(snapshot, path) == want

    @invariant()
    def the_listing_has_every_mount_once_and_knows_which_are_visible(self) -> None:
        lines = mount_lines(self.table.snapshot)
        assert {line.entry.mount_id: line.path.components for line in lines} == {
            entry.mount_id: path for path, stack in self.model.items() for entry in stack
        }
        for line in lines:
            want = expected(self.model, line.path.components)
            assert want is not None
            assert (line.visibility is Visibility.VISIBLE) == (want[0] == line.entry)


TestMountTableModel = MountTableModel.TestCase
TestMountTableModel.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


@given(
    st.dictionaries(PATHS, st.lists(st.booleans(), min_size=1, max_size=2), max_size=8),
    st.lists(st.lists(st.sampled_from((*NAMES, b"z")), max_size=6).map(tuple), min_size=1, max_size=8),
)
def test_incremental_steps_equal_whole_path_lookups(
    stacks: dict[Components, list[bool]], paths: list[Components]
) -> None:
    table = MountTable()
    for path, covers in stacks.items():
        for coverable in covers:
            table.register(PathName(path), Ref(1), is_coverable=coverable)
    mounts = {path: list(stack) for path, stack in table.snapshot.mounts.items()}
    for path in paths:
        assert stepped(table.snapshot, path) == expected(mounts, path)


def test_the_usual_directory_has_no_mounts_below_it_and_says_so_in_one_attribute() -> None:
    table = MountTable()
    table.register(ROOT, Ref(1))
    assert table.snapshot.root.children is None
