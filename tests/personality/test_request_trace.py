"""Fuse events: an enter and an exit for each request that is counted, whatever becomes of it."""

from __future__ import annotations

import os
import subprocess
from errno import EEXIST, EINTR, EIO, ENOENT
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pyfuse3
import pytest
import trio

from k42fs.machine.tracing.mask import parse
from k42fs.machine.tracing.packets import NAMES_CPU
from k42fs.personality import request_trace
from k42fs.personality.request_trace import OPCODES, close_all, name_of
from k42fs.report.filters import Filter, Source
from k42fs.report.reader import Trace
from k42fs.report.requests import Request, requests
from tests.machine.tracing.lab import read
from tests.personality.face_lab import CTX, ROOT, Buffer, Mount, mount

__all__ = ["mount"]

NO_FIELDS = SimpleNamespace(
    update_mode=False,
    update_uid=False,
    update_gid=False,
    update_size=False,
    update_atime=False,
    update_mtime=False,
)


class Recorded(NamedTuple):
    """What a recording says: Fuse's events as they come, and the reader's requests."""

    enters: list[int]
    exits: list[int]
    requests: list[Request]


class Recording:
    """Records a mount without a kernel. `count`: requests that the daemon itself counted meanwhile."""

    def __init__(self, mount: Mount, path: Path, mask: str = "requests") -> None:
        self.tracer = mount.system.machine.tracer
        self.path = path
        self._ops = mount.ops
        self._before: int = mount.ops.requests
        self.tracer.start(path, parse(mask))

    @property
    def count(self) -> int:
        return int(self._ops.requests) - self._before

    def stop(self) -> Recorded:
        self.tracer.stop()
        events = [each for cpu, seen in read(self.path).items() if cpu != NAMES_CPU for each in seen]
        enters = [values[0] for *_, name, values in events if name == "fuse_op_enter"]
        exits = [values[0] for *_, name, values in events if name == "fuse_op_exit"]
        return Recorded(enters, exits, requests(Source(Trace(str(self.path)), Filter())))  # type: ignore[arg-type]


async def everything(ops: Any) -> None:  # noqa: ANN401
    """Make every request there is, at least once."""
    folder = (await ops.mkdir(ROOT, b"dir", 0o755, CTX)).st_ino
    opened, entry = await ops.create(folder, b"file", 0o644, os.O_RDWR, CTX)
    node = entry.st_ino
    await ops.write(opened.fh, 10, b"twelve bytes")
    assert await ops.read(opened.fh, 10, 100) == b"twelve bytes"
    await ops.fsync(opened.fh, False)
    await ops.release(opened.fh)
    await ops.release((await ops.open(node, 0, CTX)).fh)
    await ops.lookup(folder, b"file", CTX)
    await ops.getattr(node, CTX)
    attr = pyfuse3.EntryAttributes()
    attr.st_size = 5
    await ops.setattr(node, attr, SimpleNamespace(**{**vars(NO_FIELDS), "update_size": True}), None, CTX)
    await ops.setxattr(node, b"user.a", b"value", CTX)
    assert await ops.getxattr(node, b"user.a", CTX) == b"value"
    await ops.listxattr(node, CTX)
    await ops.removexattr(node, b"user.a", CTX)
    await ops.access(node, 4, CTX)
    await ops.statfs(CTX)
    await ops.mknod(ROOT, b"node", 0o100644, 0, CTX)
    link = await ops.symlink(ROOT, b"link", b"where", CTX)
    assert await ops.readlink(link.st_ino, CTX) == b"where"
    await ops.link(node, ROOT, b"hard", CTX)
    await ops.rename(ROOT, b"node", folder, b"moved", 0, CTX)
    listing = await ops.opendir(ROOT, CTX)
    await ops.readdir(listing, 0, Buffer(room=100))
    await ops.fsyncdir(listing, False)
    await ops.releasedir(listing)
    await ops.unlink(ROOT, b"link", CTX)
    await ops.unlink(ROOT, b"hard", CTX)
    await ops.unlink(folder, b"file", CTX)
    await ops.unlink(folder, b"moved", CTX)
    await ops.rmdir(ROOT, b"dir", CTX)
    await ops.forget([(node, 1), (link.st_ino, 1)])
    await ops.forget([(node, 1)])


async def test_every_kind_of_request_has_its_enter_and_its_exit(mount: Mount, tmp_path: Path) -> None:
    recording = Recording(mount, tmp_path / "t")
    await everything(mount.ops)
    count = recording.count
    seen = recording.stop()
    assert {each.op for each in seen.requests} == set(OPCODES)
    assert len(seen.requests) == count
    assert sorted(seen.enters) == sorted(seen.exits) == sorted(set(seen.enters))
    assert all(each.is_whole and each.errno == 0 and each.wall_ns > 0 and each.wall for each in seen.requests)
    by_op = {each.op: each for each in seen.requests}
    assert by_op["rename"].arguments == ["node", "moved"]
    assert by_op["symlink"].arguments == ["link", "where"]
    assert by_op["write"].arguments == ["12", "10"]
    assert (by_op["write"].nbytes, by_op["read"].nbytes, by_op["readlink"].nbytes) == (12, 12, 5)
    assert by_op["setattr"].arguments == ["5", "0"]
    assert by_op["mkdir"].node == ROOT
    assert by_op["write"].node == by_op["getattr"].node != ROOT
    assert {each.pid for each in seen.requests} == {CTX.pid, 0}, "the kernel does not say who forgets"
    assert by_op["write"].cycles > 0


async def test_failures_have_the_errno_that_the_caller_sees(mount: Mount, tmp_path: Path) -> None:
    recording = Recording(mount, tmp_path / "t")
    assert (await mount.ops.lookup(ROOT, b"missing", CTX)).st_ino == 0
    await mount.ops.mkdir(ROOT, b"dir", 0o755, CTX)
    with pytest.raises(pyfuse3.FUSEError):
        await mount.ops.mkdir(ROOT, b"dir", 0o755, CTX)
    with pytest.raises(pyfuse3.FUSEError):
        await mount.ops.unlink(ROOT, b"missing", CTX)
    seen = recording.stop()
    assert [(each.op, each.errno) for each in seen.requests] == [
        ("lookup", ENOENT),
        ("mkdir", 0),
        ("mkdir", EEXIST),
        ("unlink", ENOENT),
    ]


async def test_a_bug_ends_its_request_with_eio(
    mount: Mount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = Recording(mount, tmp_path / "t")

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(mount.ops.nodes, "directory", broken)
    with pytest.raises(pyfuse3.FUSEError):
        await mount.ops.mkdir(ROOT, b"dir", 0o755, CTX)
    (only,) = recording.stop().requests
    assert (only.op, only.errno) == ("mkdir", EIO)


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_a_parked_request_ends_when_it_is_answered_or_cancelled(
    mount: Mount, tmp_path: Path, autojump_clock: object, is_cancelled: bool
) -> None:
    await mount.make(b"warm")
    recording = Recording(mount, tmp_path / "t", "time")
    th = mount.housekeeper()
    lock = mount.dirlock()
    await mount.ops.run(th, lock.acquire_w(th))
    with trio.move_on_after(1 if is_cancelled else 100):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(mount.ops.mkdir, ROOT, b"dir", 0o755, CTX))
            await trio.sleep(0.5)
            if not is_cancelled:
                lock.release_w(th)
                mount.ops.end(th)
    if is_cancelled:
        lock.release_w(th)
        mount.ops.end(th)
    (only,) = recording.stop().requests
    assert (only.op, only.errno, only.is_whole) == ("mkdir", EINTR if is_cancelled else 0, True)


async def test_requests_on_the_control_directory_are_not_there(mount: Mount, tmp_path: Path) -> None:
    recording = Recording(mount, tmp_path / "t")
    control = (await mount.ops.lookup(ROOT, b".k42", CTX)).st_ino
    version = (await mount.ops.lookup(control, b"version", CTX)).st_ino
    handle = (await mount.ops.open(version, 0, CTX)).fh
    await mount.ops.read(handle, 0, 100)
    await mount.ops.release(handle)
    await mount.ops.forget([(version, 1), (control, 1)])
    assert (recording.count, recording.stop().requests) == (0, [])


async def test_callers_are_named_once_in_each_recording(mount: Mount, tmp_path: Path) -> None:
    init = Path("/proc/1/comm").read_text().strip()  # noqa: ASYNC240
    for number in range(2):
        recording = Recording(mount, tmp_path / str(number), "time")
        for _ in range(3):
            await mount.ops.getattr(ROOT, CTX)
        recording.stop()
        seen = [each for events in read(tmp_path / str(number)).values() for each in events]
        (said,) = [values for *_, name, values in seen if name == "user_start_exec"]
        texts = {values[0]: values[1] for *_, name, values in seen if name == "meta_string"}
        assert (said[0], texts[said[1]]) == (1, init)


async def test_a_caller_that_executes_another_program_is_named_anew(
    mount: Mount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = iter([b"sh", b"sh", b"sed", b"sed"])
    monkeypatch.setattr(request_trace, "name_of", lambda *_: next(names))
    monkeypatch.setattr(request_trace, "LOOK_AGAIN_NS", -1)
    recording = Recording(mount, tmp_path / "t", "time")
    await mount.ops.getattr(ROOT, CTX)
    for _ in range(3):
        await mount.ops.releasedir(await mount.ops.opendir(ROOT, CTX))
        await mount.ops.getattr(ROOT, CTX)
    monkeypatch.undo()
    recording.stop()
    seen = [each for events in read(tmp_path / "t").values() for each in events]
    texts = {values[0]: values[1] for *_, name, values in seen if name == "meta_string"}
    assert [texts[values[1]] for *_, name, values in seen if name == "user_start_exec"] == ["sh", "sed"]


def test_who_has_gone_has_no_name() -> None:
    kept: dict[int, int] = {}
    for _ in range(2):
        assert name_of(os.getpid(), kept) == Path("/proc/self/comm").read_bytes().rstrip(b"\n")
    assert name_of(0, kept) == b""
    child = subprocess.Popen(["sleep", "60"])
    assert name_of(child.pid, kept)
    child.kill()
    child.wait()
    assert name_of(child.pid, kept) == b"", "the file that is open still is that of the process that has gone"
    assert list(kept) == [os.getpid()]
    close_all(kept)
    assert not kept


async def test_a_request_that_is_held_for_others_begins_after_it_and_came_before(
    mount: Mount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, _ = await mount.ops.create(ROOT, b"f", 0o644, os.O_RDWR, CTX)
    recording = Recording(mount, tmp_path / "t", "time")
    busy = 10_000

    async def hold(th: Any) -> int:  # noqa: ANN401
        th.proc.clock += busy  # what others do meanwhile
        return 5_000_000

    monkeypatch.setattr(mount.ops, "hold", hold)
    monkeypatch.setattr(mount.system.machine.pace, "hot", True)
    monkeypatch.setattr(mount.system.machine.pace, "is_ahead", lambda _: True)
    await mount.ops.read(opened.fh, 0, 10)
    (only,) = recording.stop().requests
    assert only.op == "read"
    assert only.cycles < busy
    assert only.wall_ns >= 5_000_000


async def test_recording_everything_changes_no_clock_and_no_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    figures = []
    for is_recorded in (False, True):
        made = Mount(monkeypatch)
        recording = Recording(made, tmp_path / "t", "all") if is_recorded else None
        for _ in range(3):
            await everything(made.ops)
            for vp in (0, 1):
                await made.ops.clean_up(vp)
        machine = made.system.machine
        figures.append(([proc.clock for proc in machine.processors], machine.statistics(1000)))
        machine.check()
        if recording is not None:
            assert len(recording.stop().requests) > 80
        made.close()
    assert figures[0] == figures[1]


async def test_with_everything_off_nothing_is_asked_of_the_trace(
    mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unexpected(*_: object) -> None:
        raise AssertionError("a request is traced with the mask 0")

    for name in ("enter", "enter_forget", "leave", "fail"):
        monkeypatch.setattr(mount.ops.request_trace, name, unexpected)
    await everything(mount.ops)
