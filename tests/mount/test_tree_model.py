"""Random operations on a tree of names against a dictionary, each answer and the whole tree compared."""

from __future__ import annotations

import errno
import os
import random
import shutil
import stat
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

DEPTH_MAX = 8  # whole paths must stay below PATH_MAX, however directories move
SIZE_MAX = 200
NAMES = [b"a", b"b", b"c", b"long-" + b"n" * 250]


@dataclass(eq=False)
class Node:
    """One inode of the model: a directory has children, a file data, a link a target."""

    kind: str
    data: bytes = b""
    children: dict[bytes, Node] = field(default_factory=dict)

    def links(self, root: Node) -> int:
        """How many names this inode has in the tree below *root*."""
        own = sum(child is self for child in root.children.values())
        return own + sum(self.links(child) for child in root.children.values())

    def size(self) -> int:
        """How many names are below this directory."""
        return len(self.children) + sum(child.size() for child in self.children.values())

    def height(self) -> int:
        """How many levels are below this inode."""
        return max((1 + child.height() for child in self.children.values()), default=0)

    def contains(self, other: Node) -> bool:
        """Whether *other* is this directory or below it."""
        return self is other or any(child.contains(other) for child in self.children.values())


class RefusedError(Exception):
    """The model expects one of these errnos."""

    def __init__(self, *codes: int) -> None:
        super().__init__(*codes)
        self.codes = codes


class TreeExerciser:
    """Does the same to a directory and to a model, and expects the same answers."""

    def __init__(self, top: Path, seed: int) -> None:
        self._top = os.fsencode(top)
        self._seed = seed
        self._random = random.Random(seed)
        self._root = Node("dir")
        self._log: deque[str] = deque(maxlen=25)
        self._operations: list[Callable[[], None]] = [
            *[self._create, self._mkdir, self._rename, self._rename, self._link, self._unlink],
            *[self._rmdir, self._symlink, self._append],
        ]

    def run(self, steps: int, compare_every: int = 100) -> None:
        """Do *steps* operations, and compare the whole trees now and then and at the end."""
        try:
            for step in range(steps):
                self._random.choice(self._operations)()
                if self._root.size() > SIZE_MAX:
                    self._prune()
                if step % compare_every == 0:
                    self._compare(self._top, self._root)
            self._compare(self._top, self._root)
        except (AssertionError, OSError) as exc:
            exc.add_note(f"seed {self._seed}; the last operations:\n" + "\n".join(self._log))
            raise

    def _place(self) -> tuple[Node, bytes, bytes]:
        """A random directory of the model, a name in it, and the path of both."""
        node, path = self._root, self._top
        for depth in range(DEPTH_MAX + 1):
            below = [name for name, child in node.children.items() if child.kind == "dir"]
            if not below or depth == DEPTH_MAX or self._random.random() < 0.35:
                break
            name = self._random.choice(below)
            node, path = node.children[name], path + b"/" + name
        name = self._random.choice(NAMES)
        return node, name, path + b"/" + name

    def _same(self, what: str, real: Callable[[], object], model: Callable[[], None]) -> None:
        """Do both, and expect the same success or the same error."""
        self._log.append(what)
        expected: tuple[int, ...] = (0,)
        try:
            model()
        except RefusedError as exc:
            expected = exc.codes
        got = 0
        try:
            real()
        except OSError as exc:
            got = exc.errno or -1
        wanted = [errno.errorcode.get(code, "success") for code in expected]
        assert got in expected, f"{what}: got {errno.errorcode.get(got, 'success')}, expected {wanted}"

    def _short(self, path: bytes) -> str:
        return path[len(self._top) :].replace(NAMES[3], b"long").decode()

    def _make(self, what: str, new: Node, real: Callable[[bytes], object]) -> None:
        parent, name, path = self._place()

        def model() -> None:
            if name in parent.children:
                raise RefusedError(errno.EEXIST)
            parent.children[name] = new

        self._same(f"{what} {self._short(path)}", lambda: real(path), model)

    def _create(self) -> None:
        data = self._random.randbytes(self._random.randint(0, 50))

        def real(path: bytes) -> None:
            fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            os.write(fd, data)
            os.close(fd)

        self._make("create", Node("file", data), real)

    def _mkdir(self) -> None:
        self._make("mkdir", Node("dir"), os.mkdir)

    def _symlink(self) -> None:
        text = self._random.choice((b"../a", b"nowhere", b"x" * 300))
        self._make("symlink", Node("link", text), lambda path: os.symlink(text, path))

    def _append(self) -> None:
        parent, name, path = self._place()
        node = parent.children.get(name)
        if node is None or node.kind != "file":
            return
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.write(fd, b"more")
        os.close(fd)
        node.data += b"more"
        self._log.append(f"append {self._short(path)}")

    def _link(self) -> None:
        source, old_name, old = self._place()
        parent, name, new = self._place()

        def model() -> None:
            node = source.children.get(old_name)
            if node is None:
                raise RefusedError(errno.ENOENT)
            if name in parent.children:
                raise RefusedError(errno.EEXIST)
            if node.kind == "dir":
                raise RefusedError(errno.EPERM)
            parent.children[name] = node

        what = f"link {self._short(old)} {self._short(new)}"
        self._same(what, lambda: os.link(old, new, follow_symlinks=False), model)

    def _unlink(self) -> None:
        parent, name, path = self._place()

        def model() -> None:
            node = parent.children.get(name)
            if node is None:
                raise RefusedError(errno.ENOENT)
            if node.kind == "dir":
                raise RefusedError(errno.EISDIR)
            del parent.children[name]

        self._same(f"unlink {self._short(path)}", lambda: os.unlink(path), model)

    def _rmdir(self) -> None:
        parent, name, path = self._place()

        def model() -> None:
            node = parent.children.get(name)
            if node is None:
                raise RefusedError(errno.ENOENT)
            if node.kind != "dir":
                raise RefusedError(errno.ENOTDIR)
            if node.children:
                raise RefusedError(errno.ENOTEMPTY)
            del parent.children[name]

        self._same(f"rmdir {self._short(path)}", lambda: os.rmdir(path), model)

    def _rename(self) -> None:
        source, old_name, old = self._place()
        parent, name, new = self._place()
        if self._would_be_too_deep(source.children.get(old_name), new):
            return

        def model() -> None:
            moving, replaced = source.children.get(old_name), parent.children.get(name)
            if moving is None:
                raise RefusedError(errno.ENOENT)
            if moving.contains(parent):
                raise RefusedError(errno.EINVAL)
            if replaced is not None and replaced.contains(source):
                raise RefusedError(errno.ENOTEMPTY)  # the kernel asks this before it compares the kinds
            if replaced is moving:
                return
            if replaced is not None:
                if moving.kind == "dir" and replaced.kind != "dir":
                    raise RefusedError(errno.ENOTDIR)
                if moving.kind != "dir" and replaced.kind == "dir":
                    raise RefusedError(errno.EISDIR)
                if replaced.children:
                    raise RefusedError(errno.ENOTEMPTY)
            del source.children[old_name]
            parent.children[name] = moving

        self._same(f"rename {self._short(old)} {self._short(new)}", lambda: os.rename(old, new), model)

    def _would_be_too_deep(self, moving: Node | None, new: bytes) -> bool:
        return moving is not None and new[len(self._top) :].count(b"/") + moving.height() > DEPTH_MAX

    def _prune(self) -> None:
        """Remove the largest tree below the top, as rm -r does."""
        name, node = max(self._root.children.items(), key=lambda item: item[1].size())
        self._log.append(f"prune {self._short(self._top + b'/' + name)} of {node.size()}")
        shutil.rmtree(self._top + b"/" + name)
        del self._root.children[name]

    def _compare(self, path: bytes, node: Node) -> None:
        assert set(os.listdir(path)) == set(node.children), f"names in {self._short(path)!r}"
        inodes: dict[Node, int] = {}
        for name, child in node.children.items():
            below = path + b"/" + name
            status = os.lstat(below)
            assert inodes.setdefault(child, status.st_ino) == status.st_ino
            if child.kind == "dir":
                assert stat.S_ISDIR(status.st_mode)
                subdirectories = sum(grandchild.kind == "dir" for grandchild in child.children.values())
                assert status.st_nlink in (2 + subdirectories, 1)
                self._compare(below, child)
                continue
            assert status.st_nlink == child.links(self._root)
            assert status.st_size == len(child.data)
            if child.kind == "link":
                assert os.readlink(below) == child.data
            else:
                fd = os.open(below, os.O_RDONLY | os.O_NOFOLLOW)
                assert os.read(fd, 1 << 20) == child.data
                os.close(fd)


@pytest.mark.parametrize("seed", range(4))
def test_a_tree_agrees_with_a_dictionary_through_random_operations(target: Path, seed: int) -> None:
    TreeExerciser(target, seed).run(1500)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1000, 1010))
def test_a_tree_agrees_with_a_dictionary_for_long(target: Path, seed: int) -> None:
    TreeExerciser(target, seed).run(50_000, compare_every=1000)
