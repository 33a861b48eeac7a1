"""`.k42/traceMask`, `.k42/trace`, `.k42/traceObjects`: what they take, what they refuse, what they say."""

from __future__ import annotations

import json
import logging
import os
from errno import EBUSY, EEXIST, EINVAL, ENOTDIR
from pathlib import Path
from typing import Any

import pyfuse3
import pytest

from k42fs.errors import InvalidArgumentError, K42Error, NotDirectoryError
from k42fs.machine.tracing import recordings
from k42fs.personality import recording_places
from k42fs.personality.flight_recorder import BUG_DUMPS_MAX
from k42fs.report.fsck import Check
from tests.machine.tracing.lab import read
from tests.personality.face_lab import CTX, ROOT, Mount, mount

__all__ = ["mount"]


@pytest.fixture(autouse=True)
def outside(mount: Mount) -> None:
    """Let the machine wait for threads of the host as a mount does, one after the other."""

    def run(awaitable: Any, done: Any) -> None:  # noqa: ANN401
        try:
            awaitable.send(None)
        except StopIteration as ended:
            done(ended.value, None)

    mount.system.machine.host(run, None)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run_sync(function: Any, *args: Any) -> Any:  # noqa: ANN401
        return function(*args)

    monkeypatch.setattr("trio.to_thread.run_sync", run_sync)


class File:
    """One control file of a mount that nobody mounted."""

    def __init__(self, mount: Mount, name: str) -> None:
        self._ops = mount.ops
        self._name = name.encode()

    async def _node(self) -> int:
        control = (await self._ops.lookup(ROOT, b".k42", CTX)).st_ino
        return int((await self._ops.lookup(control, self._name, CTX)).st_ino)

    async def read(self) -> str:
        handle = (await self._ops.open(await self._node(), os.O_RDONLY, CTX)).fh
        text: bytes = await self._ops.read(handle, 0, 1 << 20)
        await self._ops.release(handle)
        return text.decode()

    async def write(self, text: str) -> None:
        handle = (await self._ops.open(await self._node(), os.O_WRONLY, CTX)).fh
        try:
            await self._ops.write(handle, 0, text.encode())
        finally:
            await self._ops.release(handle)

    async def sync(self) -> None:
        handle = (await self._ops.open(await self._node(), os.O_WRONLY, CTX)).fh
        await self._ops.fsync(handle, False)
        await self._ops.release(handle)

    async def refuses(self, text: str, errno: int) -> str:
        """Check that *text* is refused; return what the file says about it."""
        with pytest.raises(pyfuse3.FUSEError) as caught:
            await self.write(text)
        assert caught.value.errno == errno
        said: bytes = await self._ops.getxattr(await self._node(), b"user.k42.error", CTX)
        return said.decode()


async def test_the_mask_is_shown_in_hex_and_names_and_takes_both(mount: Mount) -> None:
    mask = File(mount, "traceMask")
    assert await mask.read() == "0x0 none\n"
    await mask.write("lock,fs\n")
    assert await mask.read() == "0x14008 Lock,FS,Control\n"
    await mask.write("+cache -fs")
    assert await mask.read() == "0x8010008 Lock,Control,Cache\n"
    assert json.loads(await File(mount, "traceMask.json").read())["classes"] == ["Lock", "Control", "Cache"]
    await mask.write("0x4010000")
    assert await mask.read() == "0x4010000 Control,Fuse\n"
    await mask.write("locks")
    shown = await mask.read()
    await mask.write(shown.partition(" ")[2])
    assert await mask.read() == shown
    await mask.write("none")
    assert await mask.read() == "0x0 none\n"


@pytest.mark.parametrize("text", ["", "nonsense", "-1", "0x8000000000000000", "reset now", "lock,,nonsense"])
async def test_a_bad_mask_is_refused_and_changes_nothing(mount: Mount, text: str) -> None:
    mask = File(mount, "traceMask")
    await mask.write("lock")
    assert await mask.refuses(text, EINVAL)
    assert await mask.read() == "0x10008 Lock,Control\n"


async def test_a_recording_is_started_stopped_and_told_of(mount: Mount, tmp_path: Path) -> None:
    trace, status = File(mount, "trace"), File(mount, "trace.json")
    assert "mode=off\n" in await trace.read()
    target = tmp_path / "with blank"
    await trace.write(f"start {str(target).replace(' ', chr(92) + '040')} requests\n")
    for _ in range(5):
        await mount.ops.getattr(ROOT, CTX)
    running = json.loads(await status.read())
    assert (running["mode"], running["path"], running["requests"]) == ("directory", str(target), 5)
    assert str(target) in await trace.refuses(f"start {tmp_path / 'other'}", EBUSY)
    assert not (tmp_path / "other").exists()
    await trace.write("stop")
    ended = json.loads(await status.read())
    assert (ended["mode"], ended["path"], ended["requests"], ended["failure"]) == ("off", str(target), 5, "")
    seen = [name for events in read(target).values() for *_, name, _ in events]
    assert seen.count("fuse_op_enter") == seen.count("fuse_op_exit") == 5
    assert ended["bytes_written"] == sum(512 * each.stat().st_blocks for each in target.iterdir())
    assert await File(mount, "traceMask").read() == "0x0 none\n"


async def test_without_a_mask_everything_is_recorded_or_what_is_on(mount: Mount, tmp_path: Path) -> None:
    trace, mask = File(mount, "trace"), File(mount, "traceMask")
    await trace.write(f"start {tmp_path / 'all'}")
    assert "Fuse" in await mask.read()
    assert "Cache" in await mask.read()
    await trace.write("stop")
    await mask.write("lock")
    await trace.write(f"start {tmp_path / 'lock'}")
    assert await mask.read() == "0x10008 Lock,Control\n"
    await trace.write("stop")


@pytest.mark.parametrize(
    "command",
    [
        "",
        "start",
        "begin {dir}",
        "stop now",
        "dump",
        "start relative/path",
        "start {dir} nonsense",
        "start {dir} none",
        "start {dir} all tiny",
        "start {dir} all 64k",
        "start {dir} all 64m more",
        "stop",
    ],
)
async def test_nonsense_starts_nothing_and_leaves_no_directory(
    mount: Mount, tmp_path: Path, command: str
) -> None:
    trace = File(mount, "trace")
    target = tmp_path / "t"
    assert await trace.refuses(command.format(dir=target), EINVAL)
    assert "mode=off\n" in await trace.read()
    assert not target.exists()


async def test_a_directory_that_cannot_be_is_refused(mount: Mount, tmp_path: Path) -> None:
    trace = File(mount, "trace")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert "is not empty" in await trace.refuses(f"start {tmp_path / 'full'}", EEXIST)
    assert await trace.refuses(f"start {tmp_path / 'full' / 'file' / 'below'}", ENOTDIR)
    assert await trace.refuses(f"start {tmp_path / 'full' / 'file'}", EEXIST)
    assert "mode=off\n" in await trace.read()


def test_no_recording_lies_in_a_k42fs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = tmp_path.stat()
    device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    table = tmp_path / "mountinfo"
    rows = ["20 1 0:5 / /proc rw - proc proc rw", f"40 1 {device} / {tmp_path} rw - fuse.k42fs k42fs rw"]
    table.write_text("\n".join(rows) + "\n")
    assert recording_places.k42fs_devices(table) == {device}
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.setattr(recording_places, "k42fs_devices", lambda: {device})
    for path in (tmp_path / "t", tmp_path / "a" / "b", tmp_path / "link" / "t"):
        with pytest.raises(InvalidArgumentError, match="k42fs mount"):
            recording_places.resolve(os.fsencode(path))
    monkeypatch.setattr(recording_places, "k42fs_devices", set)
    assert recording_places.resolve(os.fsencode(tmp_path / "link" / "a" / "b")) == tmp_path / "a" / "b"
    table.touch()
    with pytest.raises(NotDirectoryError):
        recording_places.resolve(os.fsencode(table / "below"))
    with pytest.raises(K42Error, match="absolute"):
        recording_places.resolve(b"here")


async def test_the_flight_recorder_is_dumped_on_demand_and_goes_on(mount: Mount, tmp_path: Path) -> None:
    trace, mask = File(mount, "trace"), File(mount, "traceMask")
    assert await trace.refuses(f"dump {tmp_path / 'd'}", EBUSY)
    await mask.write("requests")
    for number in (1, 2):
        await mount.ops.getattr(ROOT, CTX)
        await trace.write(f"dump {tmp_path / str(number)}")
        seen = [name for events in read(tmp_path / str(number)).values() for *_, name, _ in events]
        assert seen.count("fuse_op_enter") == number
    assert f"dumped={tmp_path / '2'}\n" in await trace.read()
    assert "mode=ring\n" in await trace.read()
    await mask.write("reset")
    await trace.write("stop")
    assert await trace.refuses("stop", EINVAL) == "nothing is being recorded"
    await trace.write(f"dump {tmp_path / '3'}")
    assert "fuse_op_enter" not in [name for events in read(tmp_path / "3").values() for *_, name, _ in events]


async def test_a_bug_is_followed_by_its_last_events_and_a_dump(
    mount: Mount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mount.ops.flight_recorder.folder = tmp_path

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(mount.ops.nodes, "directory", broken)
    with pytest.raises(pyfuse3.FUSEError):
        await mount.ops.mkdir(ROOT, b"dir", 0o755, CTX)
    assert not os.listdir(tmp_path), "nothing was on"
    await File(mount, "traceMask").write("requests")
    for _ in range(BUG_DUMPS_MAX + 2):
        with pytest.raises(pyfuse3.FUSEError):
            await mount.ops.mkdir(ROOT, b"dir", 0o755, CTX)
    dumps = sorted(tmp_path / name for name in os.listdir(tmp_path))
    assert len(dumps) == BUG_DUMPS_MAX
    assert "TRACE_FUSE_OP_ENTER" in caplog.text
    assert f"written to {dumps[0]}" in caplog.text
    assert "fuse_op_enter" in [name for events in read(dumps[0]).values() for *_, name, _ in events]


async def test_a_signal_dumps_the_recorder_or_says_why_not(
    mount: Mount, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    recorder = mount.ops.flight_recorder
    recorder.folder = tmp_path
    recorder.on_signal()
    assert "nothing is being recorded" in caplog.text
    await File(mount, "traceMask").write("requests")
    recorder.on_signal()
    assert recorder.dumped is not None
    assert recorder.dumped.parent == tmp_path
    assert read(recorder.dumped)
    recorder.folder = tmp_path / "missing" / "\0"
    recorder.on_signal()
    assert "could not be written" in caplog.text
    await File(mount, "trace").write(f"start {tmp_path / 't'}")
    await mount.ops.getattr(ROOT, CTX)
    recorder.on_signal()
    assert f"being recorded in {tmp_path / 't'}" in caplog.text
    seen = [name for events in read(tmp_path / "t").values() for *_, name, _ in events]
    assert "fuse_op_exit" in seen


async def test_syncing_brings_everything_to_disk(mount: Mount, tmp_path: Path) -> None:
    await File(mount, "trace").write(f"start {tmp_path / 't'} requests")
    await mount.ops.getattr(ROOT, CTX)
    await File(mount, "trace").sync()
    seen = [name for events in read(tmp_path / "t").values() for *_, name, _ in events]
    assert "fuse_op_exit" in seen


async def test_ticks_bring_what_came_to_disk(
    mount: Mount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    control = mount.ops.trace_control
    control.tick()
    await File(mount, "trace").write(f"start {tmp_path / 't'} requests")
    await mount.ops.getattr(ROOT, CTX)
    for seconds, is_there in ((1.0, False), (1.5, True)):
        now[0] += seconds
        control.tick()
        seen = [name for events in read(tmp_path / "t").values() for *_, name, _ in events]
        assert ("fuse_op_exit" in seen) == is_there
    size = sum(each.stat().st_size for each in (tmp_path / "t").iterdir())
    now[0] += 100
    control.tick()
    assert sum(each.stat().st_size for each in (tmp_path / "t").iterdir()) == size, (
        "nothing new, nothing written"
    )


async def test_a_full_disk_ends_the_recording_and_says_so(
    mount: Mount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trace, status = File(mount, "trace"), File(mount, "trace.json")
    await trace.write(f"start {tmp_path / 't'} requests")
    await mount.ops.getattr(ROOT, CTX)
    await trace.sync()

    def full(_fd: int, _packet: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recordings, "write_whole", full)
    await mount.ops.getattr(ROOT, CTX)
    await trace.sync()
    about = json.loads(await status.read())
    assert (about["mode"], about["mask"], about["requests"]) == ("off", "0x0", 2)
    assert "No space left" in about["failure"]
    assert about["discarded"] > 0
    assert "No space left" in caplog.text
    assert "No space left" in await trace.refuses("stop", EINVAL)
    await mount.ops.getattr(ROOT, CTX)
    check = Check(str(tmp_path / "t"))
    assert list(check.run())
    assert not check.findings
    monkeypatch.undo()
    await File(mount, "traceMask").write("lock")
    assert json.loads(await status.read())["failure"] == "", "the flight recorder that followed is well"


async def test_a_bug_at_the_start_leaves_nothing_on(mount: Mount, tmp_path: Path) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError

    describers = mount.system.machine.trace.describers
    describers.append(broken)
    with pytest.raises(pyfuse3.FUSEError):
        await File(mount, "trace").write(f"start {tmp_path / 't'}")
    assert "mode=off\n" in await File(mount, "trace").read()
    assert await File(mount, "traceMask").read() == "0x0 none\n"
    describers.remove(broken)
    await File(mount, "trace").write(f"start {tmp_path / 'again'}")
    await File(mount, "trace").write("stop")


async def test_objects_are_chosen_by_type_and_ref(mount: Mount) -> None:
    objects = File(mount, "traceObjects")
    assert await objects.read() == "all\n"
    await objects.write("type DirObject ref 0x41")
    assert await objects.read() == "type DirObject ref 65\n"
    assert await objects.refuses("kind DirObject", EINVAL)
    assert await objects.read() == "type DirObject ref 65\n"


async def test_the_end_of_the_mount_completes_the_recording(mount: Mount, tmp_path: Path) -> None:
    mount.ops.trace_control.close()
    await File(mount, "trace").write(f"start {tmp_path / 't'} requests")
    await mount.ops.getattr(ROOT, CTX)
    mount.ops.trace_control.close()
    mount.ops.trace_control.close()
    last = [events[-1] for cpu, events in sorted(read(tmp_path / "t").items()) if cpu < 2]
    assert {name for *_, name, _ in last} == {"control_trace_mask"}
