"""A ramfs behind a NameTree, driven by hand (Lab) or by threads of the deterministic machine (Storm)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from k42fs.ids import VP
from k42fs.machine.config import MachineConfig
from k42fs.machine.driver import Machine, Model
from k42fs.machine.lock_choice import DEFAULT
from k42fs.machine.thread import Thread
from k42fs.objects.cosmgr import COSMgr
from k42fs.servers.credentials import Creds
from k42fs.servers.fs_file import FSFile
from k42fs.servers.makers import MAKERS
from k42fs.servers.name_tree import NameTree
from k42fs.servers.object_policy import Kind, ObjectPolicy
from k42fs.servers.open_file import OpenFile
from k42fs.servers.ramfs.budget import UNLIMITED
from k42fs.servers.ramfs.filesystem import RamFS

SECOND = 10**9

CHOSEN: Final[dict[Kind, str]] = {}
"""Which implementations labs and storms make, where that is not the default: set by conftest.py."""


class Clock:
    """Wall time that stands still until told otherwise."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000 * SECOND

    def __call__(self) -> int:
        return self.now_ns

    def tick(self, seconds: int = 1) -> int:
        """Let time pass; what it is now."""
        self.now_ns += seconds * SECOND
        return self.now_ns


class Lab:
    """A live machine: each call runs to its end, on the processor and with the credentials the test names."""

    def __init__(
        self,
        model: Model = "off",
        processors: int = 4,
        size: int = UNLIMITED,
        check: bool = False,
        free_list_max: int | None = None,
    ) -> None:
        self.clock = Clock()
        config = MachineConfig(processors=processors)
        self.machine = Machine(config, model=model, live=True, wall_clock_ns=self.clock)
        self.cos = COSMgr(self.machine)
        self.fs = RamFS(self.machine, size)
        self.tree = NameTree(
            self.cos, self.fs, check=check, policy=ObjectPolicy(MAKERS, CHOSEN), free_list_max=free_list_max
        )
        self.root = self.tree.root_file()

    def call(self, method: str, *args: object, vp: int = 0, creds: Creds | None = None) -> Any:  # noqa: ANN401
        """Call the tree through its ref as front ends do."""
        th = self.machine.enter(VP(vp))
        th.creds = creds
        self.cos.activate(th)
        try:
            return self.machine.drive(self._call(th, method, args))
        finally:
            self.cos.deactivate(th)
            self.machine.leave(th)

    async def _call(self, th: Thread, method: str, args: tuple[object, ...]) -> Any:  # noqa: ANN401
        return await getattr(th.deref(self.tree.ref), method)(th, *args)

    def file(self, name: bytes, data: bytes = b"", directory: FSFile | None = None) -> FSFile:
        """Make a closed file with *data*."""
        file, of = self.open_new(name, directory)
        if data:
            assert self.call("write", of, 0, data) == len(data)
        self.call("release", of)
        return file

    def open_new(
        self, name: bytes, directory: FSFile | None = None, flags: int = 2
    ) -> tuple[FSFile, OpenFile]:
        """Make a file and leave it open."""
        file, of = self.call("create", directory or self.root, name, 0o644, flags)
        assert isinstance(file, FSFile)
        assert isinstance(of, OpenFile)
        return file, of

    def dir(self, name: bytes, directory: FSFile | None = None) -> FSFile:
        """Make a directory."""
        made = self.call("mkdir", directory or self.root, name, 0o755)
        assert isinstance(made, FSFile)
        return made

    def data(self, file: FSFile) -> bytes:
        """All bytes of a file."""
        of = self.call("open", file, 0)
        try:
            return bytes(self.call("read", of, 0, file.size + 1))
        finally:
            self.call("release", of)

    def names(self, directory: FSFile | None = None, limit: int = 64) -> list[bytes]:
        """The names in a directory, as readdir gives them."""
        handle = self.call("open_dir", directory or self.root)
        found: list[bytes] = []
        cookie = 0
        while batch := self.call("read_dir", handle, cookie, limit):
            found += [name for name, _, _ in batch]
            cookie = batch[-1][2]
        self.call("release_dir", handle)
        return found

    def clean(self, rounds: int = 8) -> None:
        """Let the object manager free what was destroyed."""
        for _ in range(rounds):
            for vp in list(self.cos.ring):
                th = self.machine.enter(vp)
                self.machine.drive(self.cos.check_cleanup(th))
                self.machine.leave(th)

    def objects(self) -> dict[str, int]:
        """How many objects of each class are live."""
        self.clean()
        types = self.cos.statistics()["types"]
        return {name: count for name, count in types.items() if name not in ("COSMgr", "NameTree")}


def rep_of(cos: COSMgr, ref: int) -> Any:  # noqa: ANN401
    """The representative behind a ref, or a root that has many, to look at what calls do not show."""
    return next(getattr(root, "rep", root) for root in cos.objects() if root.ref == ref)


class Storm:
    """A deterministic machine: threads run in virtual time, lowest clock first, ties by *seed*.

    `lock_kind`: which locks the file server makes, see `lock_choice.py`.
    """

    lock_kind = DEFAULT

    def __init__(
        self,
        processors: int = 4,
        model: Model = "full",
        seed: int = 0,
        free_list_max: int | None = None,
        size: int = UNLIMITED,
        debug: bool = False,
    ) -> None:
        self.machine = Machine(MachineConfig(processors=processors, seed=seed), model=model)
        self.machine.lock_kind = self.lock_kind
        self.cos = COSMgr(self.machine, debug=debug)
        self.fs = RamFS(self.machine, size)
        policy = ObjectPolicy(MAKERS, CHOSEN)
        self.tree = NameTree(self.cos, self.fs, policy=policy, free_list_max=free_list_max)
        self.root = self.tree.root_file()
        self._daemons: set[int] = set()

    async def call(self, th: Thread, method: str, *args: object) -> Any:  # noqa: ANN401
        """One operation of a thread: it is active for so long."""
        self.cos.activate(th)
        try:
            return await getattr(th.deref(self.tree.ref), method)(th, *args)
        finally:
            self.cos.deactivate(th)

    def spawn(self, vp: int, body: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        """Let ``body(storm, th, *args)`` run on a processor, which gets its clean-up daemon."""

        async def run(th: Thread) -> None:
            await body(self, th, *args)

        if vp not in self._daemons:
            self._daemons.add(vp)
            self.machine.spawn(VP(vp), self.cos.daemon, 50_000, daemon=True)
        self.machine.spawn(VP(vp), run)

    def run(self) -> None:
        """Run all threads to their ends and check the machine's books."""
        self.machine.run()
        self.machine.check()

    def prepare(self, body: Callable[..., Coroutine[Any, Any, None]]) -> None:
        """Run one thread to its end before the others."""
        self.spawn(0, body)
        self.machine.run()
