"""Recording a live mount under trouble: full disks, killed daemons, masks that change, two mounts, wrong places."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from k42fs.machine.tracing.packets import NAMES_CPU
from tests.machine.tracing.lab import read

from .mounting import REPOSITORY, K42Mount, k42fs
from .processes import Child, as_user, in_parallel
from .recording import check_pairs, check_readable, events, report, status_of
from .support import ALICE, eventually, fails, names, opened, run, write


@pytest.fixture
def mount(new_mount: Callable[..., K42Mount]) -> Iterator[K42Mount]:
    mount = new_mount("model=full,processors=4")
    yield mount
    mount.stop()


def work(directory: Path, who: int, rounds: int = 15) -> None:
    """Make, write, read, list and remove."""
    for number in range(rounds):
        path = write(directory / f"{who}-{number}", b"data" * 100)
        assert path.read_bytes() == b"data" * 100
        os.listdir(directory)
        path.unlink()


def work_on(directory: Path) -> None:
    """Work until killed."""
    while True:
        work(directory, os.getpid())


def fill(directory: str) -> None:
    """Do enough for a recording of more than 2 MiB."""
    work(Path(directory), 0, 300)


def tell(mount: K42Mount, file: str, text: str) -> None:
    (mount.path / ".k42" / file).write_text(text)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    if os.geteuid():
        pytest.skip("only root may mount a tmpfs")
    disk = tmp_path / "disk"
    disk.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", disk])
    yield disk
    run(["umount", disk])


def test_a_full_disk_ends_the_recording_and_leaves_mount_and_trace(mount: K42Mount, small_disk: Path) -> None:
    target = small_disk / "t"
    script = "import sys; sys.path[:0] = sys.argv[1:2]; from tests.mount.test_trace_live import fill; fill(sys.argv[2])"
    done = k42fs(
        "trace", "run", "--mount", mount.path, "-o", target, "--",
        sys.executable, "-c", script, REPOSITORY, mount.path,
    )  # fmt: skip
    assert done.status == 1
    assert "recording ended: No space left on device" in done.errors
    assert "discarded" in done.errors
    status = status_of(mount)
    assert (status["mode"], status["mask"]) == ("off", "0x0")
    assert status["discarded"] > 0
    assert "No space left" in mount.log.read_text()
    work(mount.path, 0)
    assert check_readable(target) > 1000
    assert report("requests", target)
    standing = k42fs("trace", "status", mount.path)
    assert "No space left" in standing.output
    assert k42fs("trace", "stop", mount.path).status == 1


def test_a_daemon_killed_while_it_records_leaves_what_it_wrote(
    new_mount: Callable[..., K42Mount], tmp_path: Path
) -> None:
    mount = new_mount("model=full,processors=4")
    tell(mount, "trace", f"start {tmp_path / 't'}")
    child = Child(partial(work_on, mount.path))
    try:
        eventually(lambda: status_of(mount)["events"] > 20_000, "packets are on disk", 30)
        said = report("list", tmp_path / "t")  # of a recording that goes on nothing is missing
        mount.kill_daemon()
    finally:
        child.kill()
    count = check_readable(tmp_path / "t", ended=False)
    assert count >= len(said.splitlines()) > 10_000
    assert "write" in report("requests", tmp_path / "t", ended=False)
    assert "DirObject" in report("calls", "-c", tmp_path / "t", ended=False)
    report("fsck", "--repair", tmp_path / "new", tmp_path / "t", ended=False)
    assert check_readable(tmp_path / "new") == count
    assert "ended early: its writer was killed" in report("fsck", tmp_path / "new")


def test_what_a_killed_daemon_wrote_compressed_is_read_up_to_the_last_packet(
    new_mount: Callable[..., K42Mount], tmp_path: Path
) -> None:
    mount = new_mount("model=full,processors=4")
    said = k42fs("trace", "start", "--zstd", "-o", tmp_path / "t", mount.path)
    assert said.status == 0, said.output
    child = Child(partial(work_on, mount.path))
    try:
        eventually(lambda: status_of(mount)["events"] > 20_000, "packets are on disk", 30)
        mount.kill_daemon()
    finally:
        child.kill()
    listed = report("list", tmp_path / "t", ended=False).splitlines()
    assert len(listed) > 10_000
    assert "no damage" in report("fsck", tmp_path / "t", ended=False)
    assert "decompressed" in report("unpack", tmp_path / "t")
    assert check_readable(tmp_path / "t", ended=False) == len(listed)


def test_what_is_recorded_reaches_the_disk_though_nothing_fills_a_packet(
    mount: K42Mount, tmp_path: Path
) -> None:
    tell(mount, "trace", f"start {tmp_path / 't'} requests")
    write(mount.path / "file")
    eventually(
        lambda: "fuse_op_exit" in [name for *_, name, _ in events(tmp_path / "t")], "the timer flushes"
    )
    tell(mount, "trace", "stop")


def test_a_bounded_recording_keeps_to_its_bound_and_the_newest(mount: K42Mount, tmp_path: Path) -> None:
    limit = 2 << 20
    with opened(mount.path / ".k42" / "trace", os.O_WRONLY) as fd, fails(errno.EINVAL):
        os.write(fd, f"start {tmp_path / 't'} all 100k".encode())
    assert not (tmp_path / "t").exists()
    tell(mount, "trace", f"start {tmp_path / 't'} all 2m")
    work(mount.path, 0, 300)
    files = [each for each in (tmp_path / "t").iterdir() if each.name not in ("metadata", "names")]
    assert sum(each.stat().st_size for each in files) <= limit + 4 * 65536
    write(mount.path / "the-last")
    tell(mount, "trace", "stop")
    assert status_of(mount)["discarded"] > 0
    check_readable(tmp_path / "t")
    assert "the-last" in report("requests", "--log", tmp_path / "t")


def test_masks_that_change_under_load_harm_neither_mount_nor_trace(mount: K42Mount, tmp_path: Path) -> None:
    tell(mount, "trace", f"start {tmp_path / 't'} requests")
    children = [Child(partial(work_on, mount.path)) for _ in range(3)]
    try:
        for mask in ("locks", "all", "0x0", "calls", "+cache", "fuse", "none", "time", "all") * 2:
            tell(mount, "traceMask", mask)
            tell(mount, "traceObjects", "type DirObject" if mask == "calls" else "all")
            before = len(names(mount.path))
            work(mount.path, 9, 3)
            assert before >= 0
        tell(mount, "trace", "stop")
        with opened(mount.path / ".k42" / "traceMask", os.O_WRONLY) as fd, fails(errno.EINVAL):
            os.write(fd, b"locks nonsense")
        assert (mount.path / ".k42" / "traceMask").read_text() == "0x0 none\n"
        work(mount.path, 9)
    finally:
        for child in children:
            child.kill()
    check_readable(tmp_path / "t")
    report("calls", "-c", tmp_path / "t")
    report("locks", tmp_path / "t")
    report("time", tmp_path / "t")


def test_two_mounts_are_recorded_apart(new_mount: Callable[..., K42Mount], tmp_path: Path) -> None:
    mounts = [new_mount(f"model={model},processors=2") for model in ("full", "off")]
    for number, mount in enumerate(mounts):
        tell(mount, "trace", f"start {tmp_path / str(number)}")
    in_parallel([partial(work, mount.path, number) for number, mount in enumerate(mounts)])
    for number, mount in enumerate(mounts):
        write(mount.path / f"only-{number}")
        tell(mount, "trace", "stop")
    for number, mount in enumerate(mounts):
        check_pairs(tmp_path / str(number))
        check_readable(tmp_path / str(number))
        said = report("requests", "--log", tmp_path / str(number))
        assert f"only-{number}" in said
        assert f"only-{1 - number}" not in said
        seen = Counter(name for *_, name, _ in events(tmp_path / str(number)))
        assert seen["fuse_op_enter"] == status_of(mount)["requests"]
        mount.stop()


def test_no_recording_lies_in_a_k42fs(new_mount: Callable[..., K42Mount], tmp_path: Path) -> None:
    own, other = new_mount(), new_mount()
    (tmp_path / "link").symlink_to(own.path)
    for place in (own.path / "t", own.path / "a" / "b", tmp_path / "link" / "t", other.path / "t"):
        for verb in ("start", "dump"):
            with opened(own.path / ".k42" / "trace", os.O_WRONLY) as fd:
                with fails(errno.EINVAL):
                    os.write(fd, f"{verb} {place}".encode())
                assert b"lies in a k42fs mount" in os.getxattr(fd, "user.k42.error")
    assert status_of(own)["mode"] == "off"
    assert not names(own.path)
    assert not names(other.path)
    for mount in (own, other):
        mount.stop()


def test_a_signal_writes_the_flight_recorder_beside_the_log(mount: K42Mount) -> None:
    pid = mount.pid
    os.kill(pid, signal.SIGUSR2)
    eventually(lambda: "nothing is being recorded" in mount.log.read_text(), "the daemon says why not")
    tell(mount, "traceMask", "requests")
    write(mount.path / "file")
    os.kill(pid, signal.SIGUSR2)
    eventually(lambda: status_of(mount)["dumped"] != "", "the dump is there")
    dump = Path(status_of(mount)["dumped"])
    try:
        assert dump.parent == mount.log.parent
        assert dump.name == f"trace-{pid}-1"
        check_readable(dump)
        assert "(1,file)" in report("requests", "--log", dump)
        assert str(dump) in k42fs("trace", "status", mount.path).output
    finally:
        for each in dump.iterdir():
            each.unlink()
        dump.rmdir()


def test_the_flight_recorder_counts_what_it_holds_and_a_dump_what_it_wrote(
    mount: K42Mount, tmp_path: Path
) -> None:
    tell(mount, "traceMask", "locks")
    write(mount.path / "file")
    assert status_of(mount)["events"] > 10
    said = k42fs("trace", "dump", "-o", str(tmp_path / "t"), mount.path).output
    counted = re.match(r"wrote ([\d,]+) events: ", said)
    assert counted is not None, said
    assert int(counted[1].replace(",", "")) == check_readable(tmp_path / "t")
    assert f"next: k42fs trace locks {tmp_path / 't'}; the same with time, requests" in said
    assert "1 event" not in k42fs("trace", "status", mount.path).output.split(",")[0]


def test_a_start_names_its_directory_and_makes_no_tree_for_it(mount: K42Mount, tmp_path: Path) -> None:
    missing = tmp_path / "no" / "such" / "t"
    refused = k42fs("trace", "start", "-o", str(missing), mount.path)
    assert refused.status == 1
    assert not (tmp_path / "no").exists()
    started = k42fs("trace", "start", "-o", str(tmp_path / "t"), mount.path)
    assert started.output.startswith(f"recording {mount.path} to {tmp_path / 't'};")
    assert k42fs("trace", "stop", mount.path).status == 0


def test_unmounting_completes_the_recording(new_mount: Callable[..., K42Mount], tmp_path: Path) -> None:
    mount = new_mount("model=full,processors=4")
    tell(mount, "trace", f"start {tmp_path / 't'}")
    work(mount.path, 0)
    mount.stop()
    check_pairs(tmp_path / "t")
    check_readable(tmp_path / "t")
    for cpu, seen in read(tmp_path / "t").items():
        assert cpu == NAMES_CPU or "control_traced_stop" in [name for *_, name, _ in seen]


def test_others_may_look_and_not_record(mount: K42Mount, tmp_path: Path) -> None:
    mount.path.chmod(0o755)

    def look_and_steer() -> None:
        control = mount.path / ".k42"
        assert (control / "trace").read_text().startswith("mode=off")
        for name in ("trace", "traceMask", "traceObjects"):
            with fails(errno.EACCES):
                (control / name).write_text("all")

    as_user(look_and_steer, ALICE)
    assert status_of(mount)["mode"] == "off"
