"""A machine with a name server, and small file servers made of nested dictionaries."""

from __future__ import annotations

import stat
from collections.abc import Coroutine
from typing import Any, Literal, TypeVar

from k42fs.errors import NameNotFoundError, NotDirectoryError
from k42fs.ids import VP, Ino, Ref
from k42fs.machine import Machine, MachineConfig, Thread
from k42fs.objects import COSMgr, Rep, SingleRepRoot
from k42fs.servers.credentials import ROOT, SEARCH, check_may
from k42fs.servers.fs_file import FSFile
from k42fs.servers.mount_client import LINKS_MAX, MountPointMgrClient
from k42fs.servers.mount_point_mgr import MountPointMgr
from k42fs.servers.mount_table import MountEntry
from k42fs.servers.name_space import NameSpace, Place
from k42fs.servers.pathname import DotDot, PathName
from k42fs.servers.trail import Trail

T = TypeVar("T")

Shape = dict[str, Any]
"""A directory: a dict is a directory, a str a link to it, None a file."""


def p(text: str) -> PathName:
    return PathName.parse(text.encode(errors="surrogateescape"))


class TreeFile(FSFile):
    """A file, or a link when it has a target."""

    def __init__(self, ino: int, mode: int, target: bytes = b"") -> None:
        super().__init__(Ino(ino), 0, mode, 0, 0, 0)
        self.target = target


class TreeDir(TreeFile):
    is_dir = True

    def __init__(self, ino: int) -> None:
        super().__init__(ino, stat.S_IFDIR | 0o755)
        self.entries: dict[bytes, TreeFile] = {}


class TreeServer(Rep):
    """The part of a NameTree that the name space calls. It counts those calls, and never follows a link."""

    def __init__(self, shape: Shape) -> None:
        self.inos = 0
        self.lookups = self.links_read = 0
        self.top = self.directory(shape)

    def directory(self, shape: Shape) -> TreeDir:
        self.inos += 1
        made = TreeDir(self.inos)
        for name, what in shape.items():
            made.entries[name.encode()] = self.directory(what) if isinstance(what, dict) else self.leaf(what)
        return made

    def leaf(self, target: str | None) -> TreeFile:
        self.inos += 1
        if target is None:
            return TreeFile(self.inos, stat.S_IFREG | 0o644)
        return TreeFile(self.inos, stat.S_IFLNK | 0o777, target.encode())

    def find(self, path: str) -> TreeFile:
        """Return the file at *path*, for the test itself."""
        file: TreeFile = self.top
        for name in p(path).components:
            assert isinstance(file, TreeDir)
            file = file.entries[name]
        return file

    async def lookup(self, th: Thread, directory: TreeDir, name: bytes) -> TreeFile:
        self.lookups += 1
        if not directory.is_dir:
            raise NotDirectoryError(repr(name))
        if name not in directory.entries:
            raise NameNotFoundError(repr(name))
        return directory.entries[name]

    async def search(self, th: Thread, directory: TreeDir, name: bytes) -> TreeFile:
        if directory.is_dir:
            check_may(th.creds or ROOT, directory, SEARCH)
        return await self.lookup(th, directory, name)

    async def resolve(self, th: Thread, path: bytes, follow: bool = True) -> TreeFile:
        """Find a mount's root, which lies behind no link in these tests."""
        file: TreeFile = self.top
        for name in PathName.parse(path).components:
            if not isinstance(file, TreeDir):
                raise NotDirectoryError(repr(name))
            file = await self.lookup(th, file, name)
        return file

    async def read_link(self, th: Thread, file: TreeFile) -> bytes:
        self.links_read += 1
        return file.target


class Town:
    """A live machine with a name server on it; each call runs to its end."""

    def __init__(
        self,
        processors: int = 4,
        *,
        model: Literal["full", "calls", "off"] = "full",
        live: bool = True,
        cluster: int = 1,
        owner_uid: int | None = None,
    ) -> None:
        self.machine = Machine(MachineConfig(processors=processors), model=model, live=live)
        self.cos = COSMgr(self.machine)
        self.mgr = MountPointMgr(self.cos, cluster=cluster, owner_uid=owner_uid)
        self.servers: dict[Ref, TreeServer] = {}

    def server(self, shape: Shape | None = None) -> Ref:
        """Start a file server with the tree *shape*."""
        rep = TreeServer(shape or {})
        ref = SingleRepRoot(self.cos, rep).ref
        self.servers[ref] = rep
        return ref

    def client(self, links_max: int = LINKS_MAX) -> MountPointMgrClient:
        return MountPointMgrClient(self.cos, self.mgr.ref, links_max=links_max)

    def do(
        self,
        make: Any,  # noqa: ANN401
        *args: Any,  # noqa: ANN401
        vp: int = 0,
        creds: object = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Run ``make(th, *args)`` in a thread of its own on processor *vp*."""
        th = self.machine.enter(VP(vp))
        th.creds = creds
        self.cos.activate(th)
        try:
            return self.machine.drive(make(th, *args, **kwargs))
        finally:
            self.cos.deactivate(th)
            self.machine.leave(th)

    def call(
        self,
        method: str,
        *args: Any,  # noqa: ANN401
        vp: int = 0,
        creds: object = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Call the name server."""

        def make(th: Thread) -> Coroutine[Any, Any, Any]:
            called: Coroutine[Any, Any, Any] = getattr(th.deref(self.mgr.ref), method)(th, *args, **kwargs)
            return called

        return self.do(make, vp=vp, creds=creds)

    def mount(self, path: str, server: Ref, *, cov: bool = False, replaces: bool = False) -> MountEntry:
        entry: MountEntry = self.call("register", p(path), server, is_coverable=cov, replaces=replaces)
        return entry

    def found(self, client: MountPointMgrClient, path: str, *, vp: int = 0, follows_last: bool = True) -> str:
        """Look *path* up in a client; "SERVER:path inside it"."""
        found = self.do(client.lookup, p(path), follows_last=follows_last, vp=vp).found
        return f"{found.entry.server}:{found.server_path}"

    def resolve(
        self, space: NameSpace, path: str, *, follows_last: bool = True, trail: Trail | None = None
    ) -> Place:
        lexical = PathName.parse(path.encode(errors="surrogateescape"), dotdot=DotDot.LEXICAL)
        place: Place = self.do(space.resolve, lexical, follows_last=follows_last, trail=trail)
        return place
