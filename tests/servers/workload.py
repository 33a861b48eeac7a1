"""A deterministic run of a whole `System`: the name server, several ramfs servers, every kind of file operation.

Run as a program (``python -m tests.servers.workload SEED``) it prints what the machine counted, as JSON in the
order in which it was gathered: two runs of one seed must agree to the byte.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from hashlib import sha256
from random import Random
from typing import Any, Final

from k42fs.errors import K42Error
from k42fs.ids import VP, Ref
from k42fs.machine import Thread
from k42fs.servers.attr_changes import AttrChanges
from k42fs.servers.fs_file import FSFile
from k42fs.servers.pathname import PathName
from k42fs.servers.rename import EXCHANGE
from k42fs.servers.system import System, SystemOptions

PROCESSORS: Final = 4
PLACES: Final = (b"/", b"/home", b"/home/deep", b"/one", b"/one/sub", b"/alias", b"/home/two")
NAMES: Final = tuple(b"n%d" % number for number in range(6))
CLEAN_UP_CYCLES: Final = 50_000


class Server:
    """One thread's way to one server: each call goes through the ref, as every front end's does."""

    def __init__(self, th: Thread, ref: Ref) -> None:
        self._th = th
        self._ref = ref

    async def call(self, method: str, *args: object) -> Any:  # noqa: ANN401
        """Call a method of the server's NameTree."""
        return await getattr(self._th.deref(self._ref), method)(self._th, *args)


async def _write(tree: Server, directory: FSFile, name: bytes, other: bytes, size: int) -> None:
    _, of = await tree.call("create", directory, name, 0o644, os.O_RDWR | os.O_APPEND)
    try:
        await tree.call("write", of, 0, other * size)
    finally:
        await tree.call("release", of)


async def _read(tree: Server, directory: FSFile, name: bytes, _other: bytes, size: int) -> None:
    of = await tree.call("open", await tree.call("lookup", directory, name), os.O_RDONLY)
    try:
        await tree.call("read", of, size, 4096)
    finally:
        await tree.call("release", of)


async def _names(tree: Server, directory: FSFile, _name: bytes, _other: bytes, _size: int) -> None:
    handle = await tree.call("open_dir", directory)
    cookie = 0
    while batch := await tree.call("read_dir", handle, cookie, 4):
        cookie = batch[-1][2]
    await tree.call("release_dir", handle)


async def _move(tree: Server, directory: FSFile, name: bytes, other: bytes, size: int) -> None:
    top = await tree.call("resolve", b"/")
    await tree.call("rename", directory, name, top, other, EXCHANGE if size % 4 == 0 else 0)


async def _links(tree: Server, directory: FSFile, name: bytes, other: bytes, size: int) -> None:
    if size % 3 == 0:
        await tree.call("symlink", directory, name, b"../" + other)
    elif size % 3 == 1:
        await tree.call("link", await tree.call("lookup", directory, name), directory, other)
    else:
        await tree.call("unlink", directory, name)


async def _directory(tree: Server, directory: FSFile, name: bytes, other: bytes, size: int) -> None:
    if size % 2:
        inner = await tree.call("mkdir", directory, name, 0o755)
        await tree.call("mknod", inner, other, 0o600)
    else:
        await tree.call("rmdir", directory, name)


async def _status(tree: Server, directory: FSFile, name: bytes, other: bytes, size: int) -> None:
    file = await tree.call("lookup", directory, name)
    await tree.call("set_attributes", file, AttrChanges(mode=0o600 + size % 64))
    await tree.call("set_xattr", file, b"user." + other, b"x" * (size % 300))
    await tree.call("get_status", file)
    await tree.call("list_xattr", file)


Operation = Callable[[Server, FSFile, bytes, bytes, int], Awaitable[None]]
OPERATIONS: Final[tuple[tuple[str, Operation], ...]] = (
    ("write", _write),
    ("write", _write),
    ("read", _read),
    ("names", _names),
    ("move", _move),
    ("links", _links),
    ("directory", _directory),
    ("status", _status),
)


class Run:
    """One system and the threads that work in it."""

    def __init__(self, seed: int, lock: str = "", policy: str = "k42") -> None:
        self.seed = seed
        self._now_ns = 10**18
        self.system = System(
            SystemOptions(
                processors=PROCESSORS,
                seed=seed,
                size_bytes=4 << 20,
                clock_ns=self._clock,
                lock=lock,
                policy=policy,
            )
        )
        self.client = self.system.new_name_client()
        self.outcomes: Counter[str] = Counter()
        self.busy: Counter[Ref] = Counter()

    def _clock(self) -> int:
        """Wall time that passes by being looked at."""
        self._now_ns += 1000
        return self._now_ns

    def run(self) -> dict[str, Any]:
        """Let everybody work to the end; return all there is to count."""
        system = self.system
        system.machine.spawn(VP(0), self._prepare)
        system.machine.run()
        for vp in range(PROCESSORS):
            system.machine.spawn(VP(vp), system.cos.daemon, CLEAN_UP_CYCLES, daemon=True)
            for number in (vp, PROCESSORS + vp):
                system.machine.spawn(VP(vp), self._work, Random(100 * self.seed + number), 60)
        system.machine.spawn(VP(1), self._administrate, Random(self.seed), 40)
        system.machine.run()
        system.machine.check()
        return {
            "events": system.machine.event_hash(),
            "statistics": system.machine.statistics(),
            "objects": system.object_statistics(),
            "names": system.listing()[0],
            "outcomes": dict(self.outcomes),
            "files": sha256(
                repr([_tree(tree.root_file()) for tree in system.trees.values()]).encode()
            ).hexdigest(),
        }

    async def _prepare(self, th: Thread) -> None:
        system = self.system
        system.cos.activate(th)
        root = Server(th, system.root_entry.server)
        home = await root.call("mkdir", system.root_tree.root_file(), b"home", 0o755)
        await root.call("mkdir", home, b"deep", 0o755)
        await system.attach(th, "ramfs", PathName.parse(b"/one"), 1 << 20, False)
        await system.bind(th, PathName.parse(b"/home"), PathName.parse(b"/alias"), True)
        system.cos.deactivate(th)

    async def _work(self, th: Thread, random: Random, operations: int) -> None:
        """Do random operations at random places."""
        for _ in range(operations):
            kind, work = random.choice(OPERATIONS)
            place, name, other = random.choice(PLACES), random.choice(NAMES), random.choice(NAMES)
            size = random.randrange(1, 9000)
            self.system.cos.activate(th)
            server = None
            try:
                snapshot = await self.client.refresh(th)
                found = snapshot.lookup(PathName.parse(place).components)
                server = found.entry.server
                self.busy[server] += 1
                tree = Server(th, server)
                directory = await tree.call("resolve", bytes(found.server_path))
                await work(tree, directory, name, other, size)
                self.outcomes[kind] += 1
            except K42Error as exc:
                self.outcomes[f"{kind}: {type(exc).__name__}"] += 1
            finally:
                if server is not None:
                    self.busy[server] -= 1
                self.system.cos.deactivate(th)

    async def _administrate(self, th: Thread, random: Random, changes: int) -> None:
        """Attach, bind, detach, and end servers that nobody uses any more."""
        system = self.system
        spots = [PathName.parse(path) for path in (b"/home/two", b"/one/sub", b"/alias")]
        for _ in range(changes):
            where = random.choice(spots)
            what = random.choice(("attach", "bind", "detach", "detach"))
            await th.sleep(random.randrange(20_000))
            system.cos.activate(th)
            try:
                if what == "attach":
                    await system.attach(th, "ramfs", where, 1 << 18, random.random() < 0.5)
                elif what == "bind":
                    await system.bind(th, PathName.parse(b"/home/deep"), where, random.random() < 0.5)
                else:
                    await system.detach(th, where)
                self.outcomes[what] += 1
                self.outcomes["ended"] += len(await system.end_retired(th, lambda ref: self.busy[ref] > 0))
            except K42Error as exc:
                self.outcomes[f"{what}: {type(exc).__name__}"] += 1
            finally:
                system.cos.deactivate(th)


def _tree(file: FSFile) -> object:
    """All there is in and below *file*, by name."""
    about = (file.ino, file.mode, file.nlink, file.size, file.ctime_ns, file.xattrs)
    if not file.is_dir:
        return about
    entries = file.entries.by_name  # type: ignore[attr-defined]
    return about, [(name, _tree(entry.file)) for name, entry in entries.items()]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(Run(int(sys.argv[1])).run(), indent=1) + "\n")
