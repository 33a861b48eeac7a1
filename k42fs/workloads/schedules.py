"""Two clients, one operation each, in one directory, and a swap at some point of virtual time between them.

A `Scene` is a small tree on a deterministic machine; `Model` is the same in dictionaries. An operation is a function
of both, so that what the clients were told, and what is there afterwards, can be compared with what either order of
the two operations, one after the other, would have told and left.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from k42fs.errors import K42Error
from k42fs.ids import VP, Ref
from k42fs.machine.config import MachineConfig
from k42fs.machine.driver import Machine
from k42fs.machine.thread import Thread
from k42fs.objects import COSMgr
from k42fs.objects.mediator import MediatorRoot
from k42fs.objects.swap import Swap
from k42fs.servers.attr_changes import AttrChanges
from k42fs.servers.fs_file import FSFile
from k42fs.servers.name_tree import NameTree
from k42fs.servers.object_policy import ObjectPolicy
from k42fs.servers.open_file import OpenFile
from k42fs.servers.ramfs.filesystem import RamFS

CLIENTS: Final = 2
SWAPPER: Final = VP(2)
EVENTS: Final = 1 << 14
"""Events of a processor that are kept: more than any two operations make."""

TEXT: Final = b"0123456789"
O_APPEND: Final = os.O_APPEND | os.O_RDWR


class NotConformingError(Exception):
    """An implementation told its clients, or left, what it must not."""


@dataclass
class Model:
    """The tree in dictionaries: names of `d` and of `d/e`, and the bytes of `f`, which stay while it is open."""

    names: set[bytes] = field(default_factory=lambda: {b"e", b"f", b"g"})
    below: set[bytes] | None = field(default_factory=set)
    data: bytearray = field(default_factory=lambda: bytearray(TEXT))
    links: int = 1

    def state(self) -> tuple[Any, ...]:
        below = None if self.below is None else tuple(sorted(self.below))
        return tuple(sorted(self.names)), below, bytes(self.data), self.links


class Scene:
    """`d` with the directory `e` and the files `f`, which every client has open twice, and `g`."""

    def __init__(self, policy: ObjectPolicy, seed: int = 0) -> None:
        self.machine = Machine(MachineConfig(processors=3, ring_events=EVENTS, seed=seed))
        self.cos = COSMgr(self.machine)
        self.tree = NameTree(self.cos, RamFS(self.machine), policy=policy)
        self.d: FSFile
        self.e: FSFile
        self.f: FSFile
        self.opens: list[OpenFile] = []
        self.appends: list[OpenFile] = []
        self.answers: list[object] = [None] * CLIENTS
        self.swap: Swap | None = None
        self.refusal = ""
        self._run(VP(0), self._prepare)

    async def call(self, th: Thread, method: str, *args: object) -> Any:  # noqa: ANN401
        return await self.cos.call(th, self.tree.ref, method, *args)

    def _run(self, vp: VP, body: Callable[[Thread], Any]) -> None:
        self.machine.spawn(vp, body)
        self.machine.run()

    async def _prepare(self, th: Thread) -> None:
        root = self.tree.root_file()
        self.d = await self.call(th, "mkdir", root, b"d", 0o755)
        self.e = await self.call(th, "mkdir", self.d, b"e", 0o755)
        await self.call(th, "mknod", self.d, b"g", 0o100644)
        self.f, of = await self.call(th, "create", self.d, b"f", 0o644, os.O_RDWR)
        await self.call(th, "write", of, 0, TEXT)
        self.opens = [of, await self.call(th, "open", self.f, os.O_RDWR)]
        self.appends = [await self.call(th, "open", self.f, O_APPEND) for _ in range(CLIENTS)]
        for file in (self.d, self.e, self.f):  # as the kernel does whose clients know them
            file.holds += 1
        for client in range(CLIENTS):  # both use it, so that no implementation thinks one has it to itself
            await self.call(th, "read", self.opens[client], 0, 1)

    def ref_of(self, kind: str) -> Ref:
        """The object of *kind* that both clients use."""
        if kind == "DirObject":
            return self.d.obj_ref
        if kind == "ServerFile":
            return self.f.obj_ref
        root: Any = self.cos.root_at(self.f.obj_ref)
        cache: Ref = root.speaker.cache_ref
        return cache

    def start_one(self, client: int, operation: Operation) -> None:
        """Let a client begin, at its processor's time."""
        self.machine.spawn(VP(client), self._client, client, operation)

    async def _client(self, th: Thread, client: int, operation: Operation) -> None:
        try:
            self.answers[client] = await operation.run(self, th, client)
        except K42Error as exc:
            self.answers[client] = os.strerror(exc.errno)

    def swap_at(self, clock: int, ref: Ref, name: str) -> None:
        """Have the object swapped at a time, by a thread on another processor."""
        self.machine.processors[SWAPPER].idle_until(clock)
        self.machine.spawn(SWAPPER, self._swapper, ref, name)

    async def _swapper(self, th: Thread, ref: Ref, name: str) -> None:
        try:
            self.swap = await self.cos.swap_to(th, ref, name)
            await self.swap.wait(th)
        except K42Error as exc:
            self.refusal = str(exc)

    def event_times(self, start: int) -> list[int]:
        """The times from *start* on at which either client did anything."""
        events = [event for proc in self.machine.processors[:CLIENTS] for event in proc.ring.last(EVENTS)]
        return sorted({clock for clock, _, _ in events if clock >= start})

    def state(self) -> tuple[Any, ...]:
        """What is there now, as `Model.state` has it; and that nothing is left of the swap."""
        self.machine.check()
        for proc in self.machine.processors:
            for ref in proc.ltt:
                if isinstance(self.cos.root_at(ref), MediatorRoot):
                    raise NotConformingError(f"a mediator is still in the entry of {ref}")
        found: list[Any] = []

        async def look(th: Thread) -> None:
            for directory in (self.d, self.e):
                if directory.nlink == 0:
                    found.append(None)
                    continue
                handle = await self.call(th, "open_dir", directory)
                entries = await self.call(th, "read_dir", handle, 0, 100)
                found.append(tuple(sorted(name for name, _, _ in entries)))
                await self.call(th, "release_dir", handle)
            found.append(bytes(await self.call(th, "read", self.opens[0], 0, 1000)))

        for proc in self.machine.processors:
            proc.idle_until(self.machine.now)
        self._run(VP(0), look)
        return (*found, self.f.nlink)

    def close(self) -> None:
        """Close and forget everything: what has no name any more must be dead then."""

        async def close(th: Thread) -> None:
            for of in (*self.opens, *self.appends):
                await self.call(th, "release", of)
            for file in (self.d, self.e, self.f):
                await self.call(th, "forget", file)

        self._run(VP(0), close)
        for file in (self.e, self.f):
            if not file.nlink and file.obj_ref:
                raise NotConformingError(f"{file!r} is dead and has an object")


class Operation(NamedTuple):
    """What a client does. `run` tells it to the scene, `expect` to the model; both return what the client learns."""

    name: str
    run: Callable[[Scene, Thread, int], Awaitable[object]]
    expect: Callable[[Model, int], object]


EXISTS, MISSING, FULL = (os.strerror(number) for number in (17, 2, 39))


async def _create(scene: Scene, th: Thread, _client: int) -> object:
    _, of = await scene.call(th, "create", scene.d, b"new", 0o644, os.O_RDWR | os.O_EXCL)
    await scene.call(th, "release", of)
    return "made"


def _expect_new(model: Model, _client: int) -> object:
    if b"new" in model.names:
        return EXISTS
    model.names.add(b"new")
    return "made"


async def _open(scene: Scene, th: Thread, _client: int) -> object:
    await scene.call(th, "release", await scene.call(th, "open", scene.f, os.O_RDWR))
    return "open"


async def _read(scene: Scene, th: Thread, client: int) -> object:
    return bytes(await scene.call(th, "read", scene.opens[client], 0, 100))


async def _write(scene: Scene, th: Thread, client: int) -> object:
    return await scene.call(th, "write", scene.opens[client], 8, b"AB"[client : client + 1] * 4)


def _expect_write(model: Model, client: int) -> object:
    model.data[len(model.data) :] = bytes(max(0, 8 - len(model.data)))
    model.data[8:12] = b"AB"[client : client + 1] * 4
    return 4


async def _append(scene: Scene, th: Thread, client: int) -> object:
    return await scene.call(th, "write", scene.appends[client], 0, b"CD"[client : client + 1] * 3)


def _expect_append(model: Model, client: int) -> object:
    model.data += b"CD"[client : client + 1] * 3
    return 3


async def _truncate(scene: Scene, th: Thread, _client: int) -> object:
    await scene.call(th, "set_attributes", scene.f, AttrChanges(size=4))
    return "cut"


def _expect_truncate(model: Model, _client: int) -> object:
    del model.data[4:]
    return "cut"


async def _rename(scene: Scene, th: Thread, _client: int) -> object:
    await scene.call(th, "rename", scene.d, b"f", scene.e, b"h")
    return "moved"


def _expect_rename(model: Model, _client: int) -> object:
    if b"f" not in model.names or model.below is None:
        return MISSING
    model.names.remove(b"f")
    model.below.add(b"h")
    return "moved"


async def _unlink(scene: Scene, th: Thread, _client: int) -> object:
    await scene.call(th, "unlink", scene.d, b"f")
    return "gone"


def _expect_unlink(model: Model, _client: int) -> object:
    if b"f" not in model.names:
        return MISSING
    model.names.remove(b"f")
    model.links -= 1
    return "gone"


async def _link(scene: Scene, th: Thread, _client: int) -> object:
    await scene.call(th, "link", scene.f, scene.d, b"l")
    return "linked"


def _expect_link(model: Model, _client: int) -> object:
    if b"l" in model.names:
        return EXISTS
    if not model.links:
        return MISSING
    model.names.add(b"l")
    model.links += 1
    return "linked"


async def _readdir(scene: Scene, th: Thread, _client: int) -> object:
    handle = await scene.call(th, "open_dir", scene.d)
    entries = await scene.call(th, "read_dir", handle, 0, 100)
    await scene.call(th, "release_dir", handle)
    return tuple(sorted(name for name, _, _ in entries))


async def _mkdir(scene: Scene, th: Thread, _client: int) -> object:
    await scene.call(th, "mkdir", scene.d, b"new", 0o755)
    return "made"


async def _rmdir(scene: Scene, th: Thread, _client: int) -> object:
    await scene.call(th, "rmdir", scene.d, b"e")
    return "gone"


def _expect_rmdir(model: Model, _client: int) -> object:
    if model.below is None:
        return MISSING
    if model.below:
        return FULL
    model.below = None
    model.names.remove(b"e")
    return "gone"


OPERATIONS: Final = (
    Operation("create", _create, _expect_new),
    Operation("open", _open, lambda model, _: "open"),  # by its inode: it has no name, but it is there
    Operation("read", _read, lambda model, _: bytes(model.data)),
    Operation("write", _write, _expect_write),
    Operation("append", _append, _expect_append),
    Operation("truncate", _truncate, _expect_truncate),
    Operation("rename", _rename, _expect_rename),
    Operation("unlink", _unlink, _expect_unlink),
    Operation("link", _link, _expect_link),
    Operation("readdir", _readdir, lambda model, _: tuple(sorted(model.names))),
    Operation("mkdir", _mkdir, _expect_new),
    Operation("rmdir", _rmdir, _expect_rmdir),
)


Pair = tuple[Operation, Operation]


def outcomes(operations: Pair) -> list[tuple[list[object], tuple[Any, ...]]]:
    """What the clients may be told, and what may be there then: one for each order of the two operations."""
    found = []
    for order in ((0, 1), (1, 0)):
        model = Model()
        answers: list[object] = [None] * CLIENTS
        for client in order:
            answers[client] = operations[client].expect(model, client)
        found.append((answers, model.state()))
    return found


def run_in_turn(scene: Scene, pair: Pair) -> None:
    """Run the two operations one after the other.

    Raises: NotConformingError: what was told, or is there, is not what the model says.
    """
    for client, operation in enumerate(pair):
        scene.start_one(client, operation)
        scene.machine.run()
    found = (scene.answers, scene.state())
    if found != outcomes(pair)[0]:
        raise NotConformingError(
            f"{pair[0].name}, then {pair[1].name}: {found}, but expected {outcomes(pair)[0]}"
        )


def run_at_once(scene: Scene, pair: Pair, swap: tuple[str, str, int] | None = None) -> list[int]:
    """Run the two operations at one time; return the times, from their start on, at which anything was done.

    *swap*: the kind of object that is swapped meanwhile, for which implementation, and when.

    Raises: NotConformingError: neither order of the two would have told and left this, or the swap hangs.
    """
    start = scene.machine.now
    if swap is not None:
        kind, new, at = swap
        scene.swap_at(start + at, scene.ref_of(kind), new)
    for client, operation in enumerate(pair):
        scene.machine.processors[client].idle_until(start)
        scene.start_one(client, operation)
    scene.machine.run()
    times = [clock - start for clock in scene.event_times(start)]
    found = (scene.answers, scene.state())
    where = f"{pair[0].name} beside {pair[1].name}" + (f", swap of {swap}" if swap is not None else "")
    if found not in outcomes(pair):
        raise NotConformingError(f"{where}: {found} is what neither order gives: {outcomes(pair)}")
    if swap is not None and (scene.swap is None) != bool(scene.refusal):
        raise NotConformingError(f"{where}: {scene.refusal or 'nothing came of it'}")
    if scene.swap is not None and not scene.swap.is_done:
        raise NotConformingError(f"{where}: the swap hangs in {scene.swap.state}")
    scene.close()
    return times
