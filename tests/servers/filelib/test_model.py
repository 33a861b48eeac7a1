"""The whole NameTree against a trivial model: dictionaries of names, a bytearray and a set of pages per
file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from k42fs.errors import K42Error
from k42fs.ids import VP
from k42fs.servers.attr_changes import AttrChanges
from k42fs.servers.fs_file import FSFile
from k42fs.servers.open_file import OpenFile
from tests.servers.filelib.lab import Lab

PAGE = 4096
CHUNK = 128 * 1024
NAMES = st.sampled_from([b"a", b"b", b"c", b"d"])
OFFSETS = st.one_of(
    st.integers(0, 3 * PAGE),
    st.sampled_from([PAGE, CHUNK - 1, CHUNK, CHUNK + PAGE, 2 * CHUNK, 2 * CHUNK + 5]),
)
SIZES = st.one_of(st.integers(1, 2 * PAGE), st.sampled_from([CHUNK, CHUNK + 1]))


@dataclass(eq=False)
class Node:
    """An inode of the model: `names` for a directory, `data` and `pages` for a file."""

    is_dir: bool
    names: dict[bytes, Node] | None = None
    data: bytearray = field(default_factory=bytearray)
    pages: set[int] = field(default_factory=set)
    nlink: int = 1
    real: FSFile | None = None

    def has_below(self, other: Node) -> bool:
        """Whether *other* is this directory or lies below it."""
        return self is other or any(n.has_below(other) for n in (self.names or {}).values() if n.is_dir)


class TreeMachine(RuleBasedStateMachine):
    """Any mix of operations leaves the tree as it leaves the model, and fails where the model says."""

    dirs: Bundle[Node] = Bundle("dirs")
    files: Bundle[Node] = Bundle("files")
    opens: Bundle[tuple[Node, OpenFile]] = Bundle("opens")

    def __init__(self) -> None:
        super().__init__()
        self.lab = Lab(free_list_max=2)
        self.vp = 0
        self.root = Node(True, {}, nlink=2, real=self.lab.root)
        self.opened: dict[OpenFile, Node] = {}
        self.doomed: list[Node] = []

    def call(self, error: str | None, method: str, *args: object) -> Any:  # noqa: ANN401
        """Call the tree on the next processor; it must fail exactly with *error*."""
        self.vp = (self.vp + 1) % 4
        answer, failure = None, None
        try:
            answer = self.lab.call(method, *args, vp=VP(self.vp))
        except K42Error as exc:
            failure = os.strerror(exc.errno)
        assert failure == error, f"{method}: {failure or 'success'}, expected {error or 'success'}"
        return answer

    def walk_to(self, node: Node) -> FSFile:
        """The directory's inode, which somebody must still know."""
        assert node.real is not None
        assume(node.real.holds >= 0)
        return node.real

    def enter(self, directory: Node, name: bytes, node: Node, real: FSFile) -> None:
        assert directory.names is not None
        node.real = real
        directory.names[name] = node
        directory.nlink += node.is_dir
        real.holds += 1

    def drop(self, directory: Node, node: Node) -> None:
        """*node* lost a name in *directory*."""
        if node.is_dir:
            node.nlink = 0
            directory.nlink -= 1
        else:
            node.nlink -= 1
        if not node.nlink:
            self.doomed.append(node)

    @rule(target=dirs)
    def the_root(self) -> Node:
        return self.root

    @rule(target=dirs, directory=dirs, name=NAMES)
    def mkdir(self, directory: Node, name: bytes) -> Node:
        error = self.error_in(directory, "File exists" if name in (directory.names or ()) else None)
        real = self.call(error, "mkdir", self.walk_to(directory), name, 0o755)
        if error:
            return self.root
        node = Node(True, {}, nlink=2)
        self.enter(directory, name, node, real)
        return node

    @rule(target=files, directory=dirs, name=NAMES)
    def create(self, directory: Node, name: bytes) -> Node:
        assert directory.names is not None
        there = directory.names.get(name)
        error = "Is a directory" if there is not None and there.is_dir else None
        error = self.error_in(directory, error)
        made = self.call(error, "create", self.walk_to(directory), name, 0o644, os.O_RDWR)
        if error:
            return Node(False, nlink=0)
        self.call(None, "release", made[1])
        if there is not None:
            assert made[0] is there.real
            return there
        node = Node(False)
        self.enter(directory, name, node, made[0])
        return node

    def error_in(self, directory: Node, error: str | None) -> str | None:
        return error if directory.nlink else "No such file or directory"

    @rule(directory=dirs, name=NAMES)
    def lookup(self, directory: Node, name: bytes) -> None:
        assert directory.names is not None
        there = directory.names.get(name)
        error = None if there else "No such file or directory"
        assert self.call(error, "lookup", self.walk_to(directory), name) is (there and there.real)

    @rule(directory=dirs, name=NAMES)
    def unlink(self, directory: Node, name: bytes) -> None:
        assert directory.names is not None
        node = directory.names.get(name)
        error = "No such file or directory" if node is None else "Is a directory" if node.is_dir else None
        self.call(error, "unlink", self.walk_to(directory), name)
        if node is not None and not error:
            del directory.names[name]
            self.drop(directory, node)

    @rule(directory=dirs, name=NAMES)
    def rmdir(self, directory: Node, name: bytes) -> None:
        assert directory.names is not None
        node = directory.names.get(name)
        error = None
        if node is None:
            error = "No such file or directory"
        elif not node.is_dir:
            error = "Not a directory"
        elif node.names:
            error = "Directory not empty"
        self.call(error, "rmdir", self.walk_to(directory), name)
        if node is not None and not error:
            del directory.names[name]
            self.drop(directory, node)

    @rule(file=files, directory=dirs, name=NAMES)
    def link(self, file: Node, directory: Node, name: bytes) -> None:
        assert directory.names is not None
        if file.real is None or file.real.holds < 0:
            return  # a deleted inode is reached by nobody: whoever has an inode to link holds it
        error = "No such file or directory" if not file.nlink else None
        error = self.error_in(directory, "File exists" if name in directory.names else error)
        self.call(error, "link", file.real, self.walk_to(directory), name)
        if not error:
            directory.names[name] = file
            file.nlink += 1

    @rule(old_dir=dirs, old=NAMES, new_dir=dirs, new=NAMES, flags=st.sampled_from([0, 0, 0, 1, 2]))
    def rename(self, old_dir: Node, old: bytes, new_dir: Node, new: bytes, flags: int) -> None:
        assert old_dir.names is not None
        assert new_dir.names is not None
        node, other = old_dir.names.get(old), new_dir.names.get(new)
        error = self.rename_error(old_dir, node, new_dir, other, flags)
        self.call(error, "rename", self.walk_to(old_dir), old, self.walk_to(new_dir), new, flags)
        if error or node is other or node is None:
            return
        del old_dir.names[old]
        if flags == 2 and other is not None:
            old_dir.names[old] = other
            new_dir.names[new] = node
            delta = node.is_dir - other.is_dir
        else:
            if other is not None:
                self.drop(new_dir, other)
            new_dir.names[new] = node
            delta = int(node.is_dir)
        if old_dir is not new_dir:
            old_dir.nlink -= delta
            new_dir.nlink += delta

    def rename_error(
        self, old_dir: Node, node: Node | None, new_dir: Node, other: Node | None, flags: int
    ) -> str | None:
        if not old_dir.nlink or not new_dir.nlink or node is None:
            return "No such file or directory"
        if flags == 1 and other is not None:
            return "File exists"
        if flags == 2 and other is None:
            return "No such file or directory"
        if node is other:
            return None
        if node.is_dir and node.has_below(new_dir):
            return "Invalid argument"
        if flags == 2:
            return "Invalid argument" if other is not None and other.has_below(old_dir) else None
        if other is None:
            return None
        if other.is_dir and node.is_dir:
            return "Directory not empty" if other.names else None
        if node.is_dir:
            return "Not a directory"
        return "Is a directory" if other.is_dir else None

    @rule(target=opens, file=files, flags=st.sampled_from([os.O_RDWR, os.O_RDWR | os.O_TRUNC]))
    def open(self, file: Node, flags: int) -> MultipleResults[tuple[Node, OpenFile]] | tuple[Node, OpenFile]:
        if file.real is None or file.real.holds < 0:
            return multiple()
        of = self.call(None, "open", file.real, flags)
        self.opened[of] = file
        if flags & os.O_TRUNC:
            file.data.clear()
            file.pages.clear()
        return file, of

    @rule(opened=opens, offset=OFFSETS, size=SIZES, byte=st.integers(0, 255))
    def write(self, opened: tuple[Node, OpenFile] | None, offset: int, size: int, byte: int) -> None:
        if opened is None or opened[1] not in self.opened:
            return
        file, of = opened
        data = bytes([byte]) * size
        assert self.call(None, "write", of, offset, data) == size
        if len(file.data) < offset:
            file.data.extend(bytes(offset - len(file.data)))
        file.data[offset : offset + size] = data
        file.pages |= set(range(offset // PAGE, -(-(offset + size) // PAGE)))

    @rule(opened=opens, offset=OFFSETS, size=SIZES)
    def read(self, opened: tuple[Node, OpenFile] | None, offset: int, size: int) -> None:
        if opened is None or opened[1] not in self.opened:
            return
        file, of = opened
        assert self.call(None, "read", of, offset, size) == file.data[offset : offset + size]

    @rule(opened=opens, size=OFFSETS)
    def truncate(self, opened: tuple[Node, OpenFile] | None, size: int) -> None:
        if opened is None or opened[1] not in self.opened:
            return
        file, of = opened
        self.call(None, "set_attributes", file.real, AttrChanges(size=size), of)
        del file.data[size:]
        file.data.extend(bytes(size - len(file.data)))
        file.pages = {page for page in file.pages if page < -(-size // PAGE)}

    @rule(opened=opens)
    def release(self, opened: tuple[Node, OpenFile] | None) -> None:
        if opened is not None and self.opened.pop(opened[1], None) is not None:
            self.call(None, "release", opened[1])

    @rule()
    def forget_the_dead(self) -> None:
        """The kernel drops nodes without names."""
        for node in self.doomed:
            assert node.real is not None
            assert node.real.holds == 1
            self.call(None, "forget", node.real)
        self.doomed.clear()

    @rule()
    def prune(self) -> None:
        for vp in range(4):
            self.lab.call("sweep", 0, vp=vp)

    @rule(directory=dirs, limit=st.integers(1, 5))
    def list_directory(self, directory: Node, limit: int) -> None:
        assert directory.names is not None
        if directory.real is None or directory.real.holds < 0:
            return
        assert sorted(self.lab.names(directory.real, limit)) == sorted(directory.names)

    @invariant()
    def agrees(self) -> None:
        todo = [self.root]
        nodes: set[Node] = set(self.opened.values()) | set(self.doomed)
        while todo:
            node = todo.pop()
            nodes.add(node)
            todo += [child for child in (node.names or {}).values() if child not in nodes]
        pages = 0
        for node in nodes:
            real = node.real
            assert real is not None
            assert real.nlink == node.nlink
            if not node.is_dir:
                assert real.size == len(node.data)
                assert real.blocks == 8 * len(node.pages)
                pages += len(node.pages)
        status = self.lab.call("stat_fs")
        assert status.files - status.free_files == len(nodes)


def test_the_tree_is_what_its_model_says() -> None:
    run_state_machine_as_test(
        TreeMachine, settings=settings(max_examples=40, stateful_step_count=40, deadline=None)
    )
