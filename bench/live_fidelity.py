"""How true a live mount's contention is: the same operations on the mount and in a deterministic run.

Eight processes create, write, close and remove files, all in one directory of a mount or each in its own.
The daemon records what the kernel asks for. Then the same requests, each client's in its order, run on a
deterministic machine, where the lowest clock always goes first. What processors waited for locks, how often,
and how often lines moved should be the same; a live mount serves requests in the order of wall time and
places them in virtual time. Between requests it also passes the tokens of deferred destruction round its
processors, so many times a second: the lines that these move are counted apart.

    python -m bench.live_fidelity [--files 100] [--processors 8]
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Generator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pyfuse3

from bench.mounts import served
from k42fs.ids import VP
from k42fs.machine import Thread
from k42fs.machine.thread import INACTIVE
from k42fs.personality import mount
from k42fs.personality.notifier import Notifier
from k42fs.personality.operations import Operations
from k42fs.personality.options import MountOptions
from k42fs.personality.session import ReaderBaton
from k42fs.servers.system import System, SystemOptions

CLIENTS: Final = 8
FILE_BYTES: Final = 4096
ALL: Final = 100_000
TOLERANCE: Final = 0.25
BY_CALLER: Final = ("lookup", "getattr", "setattr", "mkdir", "create", "open", "unlink", "mknod")
BY_HANDLE: Final = ("write", "read", "release", "fsync")
SMALLEST_RATE: Final = 0.02
"""Contentions or line transfers per request below which there are none to speak of."""

TOKEN_RING: Final = "COSMgr rep "

CLIENT: Final = """
import os, sys
directory, name, files = sys.argv[1], sys.argv[2], int(sys.argv[3])
sys.stdin.readline()
for i in range(files):
    fd = os.open(f"{directory}/{name}-{i}", os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"x" * 4096)
    os.close(fd)
    os.unlink(f"{directory}/{name}-{i}")
"""


@dataclass(slots=True)
class Request:
    """One request as the kernel made it: on which processor, and what the answer gave a number to."""

    vp: int
    name: str
    args: tuple[Any, ...]
    inode: int = 0
    fh: int = 0
    is_setup: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run came to, per request but for `requests`."""

    requests: int
    waited: float
    contentions: float
    transfers: float
    late: float
    token_transfers: float

    @classmethod
    def of(cls, statistics: dict[str, Any], requests: int) -> Figures:
        locks, lines = statistics["locks"], statistics["lines"]
        tokens = sum(row["transfers"] for row in lines if row["object"].startswith(TOKEN_RING))
        return cls(
            requests,
            sum(row["waited_cycles"] for row in locks) / requests,
            sum(row["contentions"] for row in locks) / requests,
            (sum(row["transfers"] for row in lines) - tokens) / requests,
            statistics["late_arrivals"] / requests,
            tokens / requests,
        )


# --- the daemon


class Recorder(Operations):
    """Operations that write down what they are asked for, in the order in which it came."""

    recorded: list[Request]

    def begin_record(self, name: str, args: tuple[Any, ...]) -> Request:
        vp = self.callers.caller(args[-1]).vp if name in BY_CALLER else self.handles.use(args[0]).vp
        request = Request(vp, name, _plain(args))
        self.recorded.append(request)
        return request

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for inode, count in inode_list:
            node = self.nodes.by_id.get(inode)
            if node is not None:
                self.recorded.append(Request(node.vp, "forget", (inode, count)))
        await super().forget(inode_list)


def _note_answer(request: Request, answer: Any) -> None:  # noqa: ANN401
    """Keep the numbers that *answer* gave."""
    if request.name == "create":
        request.fh, request.inode = answer[0].fh, answer[1].st_ino
    elif request.name == "open":
        request.fh = answer.fh
    elif request.name in ("lookup", "mkdir", "mknod", "setattr", "getattr"):
        request.inode = answer.st_ino


def _plain(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return *args* without the context, which cannot be pickled."""
    return tuple(arg for arg in args if not isinstance(arg, pyfuse3.RequestContext))


def _recording(name: str) -> Any:  # noqa: ANN401
    original = getattr(Operations, name)

    async def handler(self: Recorder, *args: Any) -> Any:  # noqa: ANN401
        request = self.begin_record(name, args)
        answer = await original(self, *args)
        _note_answer(request, answer)
        return answer

    return handler


def serve(directory: str, path: str, processors: int) -> None:
    """Mount on *directory*, and leave requests and statistics in *path* at the end."""
    made: list[Recorder] = []

    class Recording(Recorder):
        def __init__(self, *args: Any) -> None:  # noqa: ANN401
            super().__init__(*args)
            self.recorded = []
            reset = self.machine.reset_statistics

            def reset_and_mark() -> None:
                reset()
                for request in self.recorded:
                    request.is_setup = True

            self.machine.reset_statistics = reset_and_mark  # type: ignore[method-assign]
            made.append(self)

    for name in (*BY_CALLER, *BY_HANDLE):
        setattr(Recording, name, _recording(name))
    vars(mount)["Operations"] = Recording
    mount.serve(directory, MountOptions(processors=processors), "", lambda: None)
    statistics = made[0].machine.statistics(ALL)
    Path(path).write_bytes(pickle.dumps(([astuple(request) for request in made[0].recorded], statistics)))


def live(is_shared: bool, files: int, processors: int) -> tuple[list[Request], dict[str, Any]]:
    """Let eight processes write on a mount; return all requests and the machine's statistics."""
    with tempfile.TemporaryDirectory(prefix="k42fs-bench-") as scratch:
        directory, answer = Path(scratch, "mnt"), Path(scratch, "answer")
        directory.mkdir()
        command = ["-m", "bench.live_fidelity", "--serve", str(directory), "--answer", str(answer)]
        with served([*command, "--processors", str(processors)], directory, Path(scratch, "log")):
            places = [directory / ("all" if is_shared else f"own{i}") for i in range(CLIENTS)]
            for place in dict.fromkeys(places):
                place.mkdir()
            clients = [
                subprocess.Popen(
                    [sys.executable, "-c", CLIENT, str(place), str(i), str(files)], stdin=subprocess.PIPE
                )
                for i, place in enumerate(places)
            ]
            (directory / ".k42" / "reset").write_text("1")
            for client in clients:
                assert client.stdin is not None
                client.stdin.write(b"\n")
                client.stdin.close()
            for client in clients:
                assert client.wait() == 0, "a client failed"
        rows, statistics = pickle.loads(answer.read_bytes())
    return [Request(*row) for row in rows], statistics


# --- the deterministic run


class _Forward:
    """Hands what an operation asks for on to the scheduler, until the operation has ended."""

    def __init__(self, coro: Any, effect: object) -> None:  # noqa: ANN401
        self._coro = coro
        self._effect = effect

    def __await__(self) -> Generator[Any, Any, Any]:
        effect = self._effect
        while True:
            value = yield effect
            try:
                effect = self._coro.send(value)
            except StopIteration as done:
                return done.value


class Replayed(Operations):
    """Operations whose requests are run by a deterministic machine, on the thread in `current`."""

    current: Thread

    def begin(self, vp: VP, is_housekeeping: bool = False) -> Thread:
        self.cos.activate(self.current)
        return self.current

    def begin_control(self) -> Thread:
        return self.current

    def end(self, th: Thread) -> None:
        if th.generation != INACTIVE:
            self.cos.deactivate(th)

    async def wait(self, th: Thread, coro: Any, effect: object, *_: Any) -> Any:  # noqa: ANN401
        return await _Forward(coro, effect)


def deterministic(requests: list[Request], processors: int) -> dict[str, Any]:
    """Run *requests*, those of each processor in their order; return the machine's statistics."""
    options = SystemOptions(processors=processors, checks_permissions=False, root_uid=os.getuid())
    system = System(options)
    notifier = Notifier()
    ops = Replayed(system, ReaderBaton(), notifier, MountOptions(processors=processors))
    inodes: dict[int, int] = {}
    handles: dict[int, int] = {}

    async def client(th: Thread, mine: list[Request]) -> None:
        ctx: Any = SimpleNamespace(pid=th.vp + 1, uid=os.getuid(), gid=os.getgid(), umask=0o022)
        for request in mine:
            first, *rest = request.args
            if request.name == "forget":
                ops.current = th
                await ops.forget([(inodes.get(first, first), *rest)])
                continue
            names = inodes if request.name in BY_CALLER else handles
            if request.name in BY_CALLER:
                rest.append(ctx)
            ops.current = th
            work: Awaitable[Any] = getattr(ops, request.name)(names.get(first, first), *rest)
            answer = await work
            if request.name == "create":
                handles[request.fh], inodes[request.inode] = answer[0].fh, answer[1].st_ino
            elif request.name == "open":
                handles[request.fh] = answer.fh
            elif request.inode:
                inodes[request.inode] = answer.st_ino

    machine = system.machine
    for is_setup in (True, False):
        part = [request for request in requests if request.is_setup == is_setup]
        if not is_setup:
            machine.reset_statistics()
        for vp in sorted({request.vp for request in part}):
            machine.spawn(VP(vp), client, [request for request in part if request.vp == vp])
        machine.run()
    machine.check()
    statistics = machine.statistics(ALL)
    notifier.close()
    machine.close()
    return statistics


def compare(is_shared: bool, files: int, processors: int) -> tuple[Figures, Figures]:
    """Return (live, deterministic) figures of the same requests."""
    requests, statistics = live(is_shared, files, processors)
    counted = sum(not request.is_setup for request in requests)
    return Figures.of(statistics, counted), Figures.of(deterministic(requests, processors), counted)


def verdict(figures: tuple[Figures, Figures], is_shared: bool) -> bool:
    """Say whether live figures are as near to the exact ones as they should be."""
    seen, exact = figures
    if not is_shared:
        return all(max(run.contentions, run.transfers) < SMALLEST_RATE for run in figures)
    pairs = (
        (seen.waited, exact.waited),
        (seen.contentions, exact.contentions),
        (seen.transfers, exact.transfers),
    )
    return all(abs(a - b) <= TOLERANCE * b for a, b in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=100, help="files that each process writes")
    parser.add_argument("--processors", type=int, default=8)
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--answer", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        serve(chosen.serve, chosen.answer, chosen.processors)
        return
    passed = True
    rows: dict[str, Any] = {}
    for is_shared in (True, False):
        figures = compare(is_shared, chosen.files, chosen.processors)
        is_good = verdict(figures, is_shared)
        passed = passed and is_good
        where = "one directory" if is_shared else "private directories"
        rows[where] = {"live": figures[0], "deterministic": figures[1], "passed": is_good}
        if not chosen.json:
            print(f"{where}: {'PASS' if is_good else 'FAIL'}")
            for label, got in zip(("live", "deterministic"), figures, strict=True):
                print(
                    f"  {label:>13}: {got.requests} requests; per request {got.waited:.0f} cycles waited,"
                    f" {got.contentions:.3f} contentions, {got.transfers:.3f} transfers,"
                    f" {got.token_transfers:.3f} of tokens, {got.late:.3f} late"
                )
    if chosen.json:
        print(
            json.dumps(rows, default=lambda value: {n: getattr(value, n) for n in value.__slots__}, indent=1)
        )
    sys.exit(not passed)


if __name__ == "__main__":
    main()
