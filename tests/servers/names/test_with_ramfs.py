"""The name space over the real file library and ramfs: where links lead, and that no known link outlives a change."""

from __future__ import annotations

import stat
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from k42fs.errors import InvalidArgumentError, K42Error, NameNotFoundError, PermissionDeniedError
from k42fs.ids import VP
from k42fs.machine import Thread
from k42fs.servers import posix_acl
from k42fs.servers.attr_changes import AttrChanges
from k42fs.servers.credentials import ROOT, Creds
from k42fs.servers.fs_file import FSFile
from k42fs.servers.name_space import NameSpace
from k42fs.servers.rename import EXCHANGE
from k42fs.servers.system import System, SystemOptions
from k42fs.servers.trail import LinkStep, Trail
from tests.servers.names.town import p

WIDE = stat.S_IFDIR | 0o777
ALICE = Creds(1000, 1000)


class Real:
    """A system with /projects/k42, the links /current and /projects/scratch, a server at /tmp, a bind at /desk."""

    def __init__(self) -> None:
        self.system = System(
            SystemOptions(processors=2, model="calls", is_live=True, checks_permissions=False)
        )
        self.space = NameSpace(self.system.new_name_client())
        self.tree = self.system.root_tree
        self.root = self.tree.root_file()
        self.do(self._build)

    def do(self, make: Any, *args: Any, creds: Creds = ROOT, **kw: Any) -> Any:  # noqa: ANN401
        """Run ``make(th, *args)`` in a thread of its own."""
        th = self.system.machine.enter(VP(1))
        th.creds = creds
        self.system.cos.activate(th)
        try:
            coro: Coroutine[Any, Any, Any] = make(th, *args, **kw)
            return self.system.machine.drive(coro)
        finally:
            self.system.cos.deactivate(th)
            self.system.machine.leave(th)

    async def _build(self, th: Thread) -> None:
        tree = self.tree
        self.projects = await tree.mkdir(th, self.root, b"projects", WIDE)
        self.k42 = await tree.mkdir(th, self.projects, b"k42", WIDE)
        await tree.symlink(th, self.root, b"current", b"projects/k42")
        await tree.symlink(th, self.projects, b"scratch", b"/tmp")
        await self.system.attach(th, "ramfs", p("/tmp"), None, False)
        await self.system.bind(th, p("/current"), p("/desk"), False)

    def at(self, path: str, creds: Creds = ALICE) -> FSFile | None:
        """Return what *path* leads to."""
        file: FSFile | None = self.do(self.space.resolve, p(path), creds=creds).point.file
        return file

    def outcome(self, space: NameSpace, path: str) -> object:
        try:
            return self.do(space.resolve, p(path), creds=ALICE).point.file
        except K42Error as exc:
            return type(exc)

    def knows(self, path: str) -> bool:
        """Whether a resolution follows a link that the client knew."""
        trail = Trail()
        self.do(self.space.resolve, p(path), creds=ALICE, trail=trail)
        return any(isinstance(step, LinkStep) and step.is_known for step in trail.steps)


def test_links_binds_and_servers_of_a_real_system() -> None:
    real = Real()
    for _ in ("cold", "warm"):
        assert real.at("/projects/k42") is real.at("/desk") is real.at("/current") is real.k42
        scratch = real.do(real.space.resolve, p("/projects/scratch/")).point
        assert scratch.mount.description == b"ramfs"
        assert scratch.mount.server != real.tree.ref
        with pytest.raises(NameNotFoundError):
            real.at("/desk/none")


def test_a_bind_follows_links_when_it_is_made_and_never_again() -> None:
    real = Real()
    entry = real.system.entry_at(p("/desk"))
    assert entry is not None
    assert (entry.server, entry.rel_path) == (real.tree.ref, p("/projects/k42"))
    real.do(real.tree.unlink, real.root, b"current")
    real.do(real.tree.symlink, real.root, b"current", b"projects")
    assert real.at("/desk") is real.k42
    away = real.do(real.system.bind, p("/projects/scratch"), p("/away"), True)
    assert away.server != real.tree.ref, "the link leads into another server"
    with pytest.raises(InvalidArgumentError):
        real.do(real.system.bind, p("/current"), p("/projects/k42/inside"), True)
    with pytest.raises(NameNotFoundError):
        real.do(real.system.bind, p("/projects/none"), p("/nowhere"), True)


ALICE_NOT = posix_acl.build(
    (
        posix_acl.Entry(posix_acl.USER_OBJ, 7),
        posix_acl.Entry(posix_acl.USER, 0, ALICE.uid),
        posix_acl.Entry(posix_acl.GROUP_OBJ, 7),
        posix_acl.Entry(posix_acl.MASK, 7),
        posix_acl.Entry(posix_acl.OTHER, 7),
    )
)
CHANGES: dict[str, Callable[[Real], object]] = {
    "unlink": lambda r: r.do(r.tree.unlink, r.root, b"current"),
    "rename the link": lambda r: r.do(r.tree.rename, r.root, b"current", r.root, b"moved"),
    "rename over the link": lambda r: (
        r.do(r.tree.mknod, r.root, b"new", stat.S_IFREG | 0o644),
        r.do(r.tree.rename, r.root, b"new", r.root, b"current"),
    ),
    "another link at its name": lambda r: (
        r.do(r.tree.unlink, r.root, b"current"),
        r.do(r.tree.symlink, r.root, b"current", b"projects"),
    ),
    "exchange the link": lambda r: r.do(
        r.tree.rename, r.root, b"current", r.root, b"projects", flags=EXCHANGE
    ),
    "rename a directory above": lambda r: r.do(r.tree.rename, r.root, b"projects", r.root, b"moved"),
    "mount above": lambda r: r.do(r.system.attach, "ramfs", p("/projects"), None, False),
    "close a directory above": lambda r: r.do(r.tree.set_attributes, r.projects, AttrChanges(mode=0o700)),
    "give a directory above away": lambda r: r.do(
        r.tree.set_attributes, r.projects, AttrChanges(mode=0o070, gid=7)
    ),
    "close it by an ACL": lambda r: r.do(r.tree.set_xattr, r.projects, posix_acl.ACCESS, ALICE_NOT),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_known_link_is_followed_only_where_a_new_client_would_find_the_same(change: str) -> None:
    real = Real()
    paths = ("/current", "/current/..", "/projects/scratch", "/moved", "/moved/scratch")
    for path in paths:
        real.outcome(real.space, path)
    assert real.knows("/current")
    assert real.knows("/projects/scratch")
    before = [real.outcome(real.space, path) for path in paths]
    CHANGES[change](real)
    fresh = NameSpace(real.system.new_name_client())
    after = [real.outcome(real.space, path) for path in paths]
    assert after == [real.outcome(fresh, path) for path in paths]
    assert after != before


def test_other_changes_leave_the_known_links_alone() -> None:
    real = Real()
    real.at("/current")
    version = real.system.snapshot.version
    for name in (b"file", b"other"):
        real.do(real.tree.mknod, real.root, name, stat.S_IFREG | 0o644)
    real.do(real.tree.rename, real.root, b"file", real.root, b"other")
    real.do(real.tree.unlink, real.root, b"other")
    real.do(real.tree.set_attributes, real.projects, AttrChanges(mtime_ns=5))
    assert real.system.snapshot.version == version
    assert real.knows("/current")


def test_rights_are_the_callers_although_the_trees_check_none() -> None:
    real = Real()
    real.do(real.tree.set_attributes, real.projects, AttrChanges(mode=0o710, gid=50))
    with pytest.raises(PermissionDeniedError):
        real.at("/projects/k42")
    assert real.at("/projects/k42", Creds(1000, 1000, groups=frozenset({50}))) is real.k42
    assert real.at("/projects") is real.projects
