"""Mounting and unmounting: what is refused, how it ends, what is left (nothing)."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from .mounting import (
    REPOSITORY,
    K42Mount,
    Outcome,
    daemon_pid,
    is_mounted,
    k42fs,
    wait_until_gone,
)
from .processes import Child
from .support import eventually, fails, names, opened, run, write

NewMount = Callable[..., K42Mount]


def refused(outcome: Outcome, *words: str) -> None:
    """The command ended with an error of one line that holds *words*, and without a trace."""
    assert outcome.status not in (0, None), outcome
    assert "Traceback" not in outcome.errors + outcome.output
    assert len(outcome.errors.strip().splitlines()) == 1, outcome.errors
    for word in words:
        assert word in outcome.errors


@pytest.mark.parametrize(
    "option",
    [
        "bogus",
        "bogus=1",
        "modle=full",
        "model=nonsense",
        "model",
        "preset=no-such-machine",
        "processors=0",
        "processors=1025",
        "processors=many",
        "size=-1",
        "size=much",
        "size=",
        "seed=x",
        "acl=1",
        "model=full,bogus",
    ],
)
def test_unknown_options_and_bad_values_are_refused(mount_point: Path, option: str) -> None:
    refused(k42fs("mount", "-o", option, mount_point), option.split(",")[-1].split("=")[0])
    assert not is_mounted(mount_point)
    assert daemon_pid(mount_point) is None


def test_a_mount_point_must_be_an_empty_directory(mount_point: Path) -> None:
    write(mount_point / "file")
    refused(k42fs("mount", mount_point / "missing"), "missing")
    refused(k42fs("mount", mount_point / "file"), "file")
    refused(k42fs("mount", mount_point), "empty")
    assert not is_mounted(mount_point)
    assert names(mount_point) == {b"file"}


def test_a_mounted_directory_is_not_mounted_again(new_mount: NewMount) -> None:
    mount = new_mount()
    write(mount.path / "file", b"data")
    refused(k42fs("mount", mount.path), str(mount.path))
    assert (mount.path / "file").read_bytes() == b"data"
    mount.stop()


def test_what_is_not_mounted_cannot_be_unmounted(mount_point: Path) -> None:
    refused(k42fs("umount", mount_point), str(mount_point))
    refused(k42fs("umount", mount_point / "missing"), "missing")


def test_a_busy_mount_stays_until_it_is_left(new_mount: NewMount) -> None:
    mount = new_mount()
    pid = mount.pid
    with opened(mount.path / "file", os.O_CREAT | os.O_RDWR) as fd:
        refused(k42fs("umount", mount.path), str(mount.path))
        assert is_mounted(mount.path)
        os.write(fd, b"still works")
        assert (mount.path / "file").read_bytes() == b"still works"
    mount.stop()
    wait_until_gone(mount.path, pid)


def test_a_lazy_unmount_serves_open_files_to_the_end(new_mount: NewMount) -> None:
    mount = new_mount()
    pid = mount.pid
    with opened(mount.path / "file", os.O_CREAT | os.O_RDWR) as fd:
        assert k42fs("umount", "--lazy", mount.path).status == 0
        assert not is_mounted(mount.path)
        os.write(fd, b"still works")
        assert os.pread(fd, 100, 0) == b"still works"
    wait_until_gone(mount.path, pid)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name
)
@pytest.mark.parametrize("is_in_use", [False, True], ids=["idle", "in-use"])
def test_a_signal_ends_the_daemon_and_the_mount(
    new_mount: NewMount, number: signal.Signals, is_in_use: bool
) -> None:
    mount = new_mount()
    pid = mount.pid
    write(mount.path / "file", b"data")
    fd = os.open(mount.path / "file", os.O_RDONLY) if is_in_use else None
    os.kill(pid, number)
    wait_until_gone(mount.path, pid)
    mount.check_log()
    assert not names(mount.path)
    if fd is not None:
        os.close(fd)


@pytest.mark.parametrize("command", [["fusermount3", "-u"], ["umount"]], ids=["fusermount3", "umount"])
def test_the_usual_tools_unmount_and_the_daemon_ends(new_mount: NewMount, command: list[str]) -> None:
    mount = new_mount("model=full")
    pid = mount.pid
    write(mount.path / "file", b"data")
    run([*command, mount.path])
    wait_until_gone(mount.path, pid)
    mount.check_log()


def test_a_forced_unmount_ends_a_busy_mount(new_mount: NewMount) -> None:
    mount = new_mount()
    pid = mount.pid
    with opened(mount.path / "file", os.O_CREAT | os.O_RDWR):
        run(["fusermount3", "-u", "-z", mount.path])
        assert not is_mounted(mount.path)
    wait_until_gone(mount.path, pid)


def test_signals_under_load_end_cleanly(new_mount: NewMount) -> None:
    def load() -> None:
        for number in range(1_000_000):
            write(load_directory / str(number % 50), b"x" * 5000)

    mount = new_mount("model=full")
    # In a directory of the mount: once that is gone the load must fail, not go on beneath it.
    load_directory = mount.path / "load"
    load_directory.mkdir()
    pid = mount.pid
    with Child(load) as one, Child(load) as two:
        eventually(lambda: len(names(load_directory)) == 50, "the load runs")
        os.kill(pid, signal.SIGTERM)
        wait_until_gone(mount.path, pid)
        one.kill()
        two.kill()
    mount.check_log()


def test_two_mounts_are_two_worlds(new_mount: NewMount) -> None:
    one, two = new_mount("model=full"), new_mount("model=off")
    write(one.path / "file", b"one")
    write(two.path / "file", b"two")
    assert (one.path / "file").read_bytes() == b"one"
    assert (two.path / "file").read_bytes() == b"two"
    assert one.path.stat().st_dev != two.path.stat().st_dev
    with fails(errno.EXDEV):
        (one.path / "file").rename(two.path / "moved")
    with fails(errno.EXDEV):
        os.link(one.path / "file", two.path / "link")
    one.stop()
    assert (two.path / "file").read_bytes() == b"two"
    two.stop()


def test_a_k42fs_can_be_mounted_inside_another(new_mount: NewMount, mount_point: Path) -> None:
    outer = new_mount()
    inner = outer.path / "inner"
    inner.mkdir()
    assert k42fs("mount", inner).status == 0
    write(inner / "file", b"inside")
    pid = daemon_pid(inner)
    assert pid is not None
    refused(k42fs("umount", outer.path), str(outer.path))
    assert k42fs("umount", inner).status == 0
    wait_until_gone(inner, pid)
    assert not names(inner)
    outer.stop()


def test_a_new_mount_is_empty_and_the_directory_below_returns(mount_point: Path) -> None:
    for _ in range(2):
        assert k42fs("mount", mount_point).status == 0
        pid = daemon_pid(mount_point)
        assert not names(mount_point)
        write(mount_point / "file")
        assert k42fs("umount", mount_point).status == 0
        wait_until_gone(mount_point, pid)
        assert not names(mount_point)


def test_odd_mount_points_work(mount_point: Path) -> None:
    path = mount_point / "white space, comma and \u00e9\\"
    path.mkdir()
    assert k42fs("mount", path).status == 0
    assert is_mounted(path)
    pid = daemon_pid(path)
    write(path / "file", b"data")
    assert k42fs("umount", path).status == 0
    wait_until_gone(path, pid)


def test_every_command_follows_a_link_to_the_mount_point(mount_point: Path) -> None:
    path, link = mount_point / "real", mount_point / "link"
    path.mkdir()
    (mount_point / "middle").symlink_to("real")
    link.symlink_to("middle")
    assert k42fs("mount", link).status == 0
    assert is_mounted(path)
    pid = daemon_pid(path)
    write(path / "file")
    (path / "out").symlink_to("/usr")
    for words in (
        ("stats", link),
        ("stats", "--json", link / "file"),
        ("ns", link),
        ("ns", "--resolve", "/file", link),
        ("objects", link),
        ("attach", "-m", link, "ramfs", "/s"),
        ("bind", "-m", link, "/s", "/t"),
        ("detach", "-m", link, "/t"),
    ):
        done = k42fs(*words)
        assert (done.status, done.errors) == (0, ""), words
    assert k42fs("objects", link).output.startswith("# live clustered objects")
    refused(k42fs("stats", path / "out"), "/out", "not in a k42fs mount")
    assert k42fs("umount", link).status == 0
    wait_until_gone(path, pid)
    for name in ("link", "middle"):
        (mount_point / name).unlink()


def test_a_preset_of_ones_own_is_mounted_and_shown(mount_point: Path) -> None:
    mine = mount_point / "mine.toml"
    mine.write_text("mhz = 77\n")
    path = mount_point / "m"
    path.mkdir()
    done = k42fs("mount", "-o", f"preset={os.path.relpath(mine, '/')}", path)  # k42fs() runs in /
    assert (done.status, done.errors) == (0, "")
    pid = daemon_pid(path)
    assert f"preset={mine}" in (path / ".k42" / "config").read_text().splitlines()
    assert "77 MHz" in (path / ".k42" / "processors").read_text()
    assert k42fs("umount", path).status == 0
    wait_until_gone(path, pid)
    with_comma = mount_point / "a,b.toml"
    refused(k42fs("mount", "-o", f"preset={with_comma}", path), "without a comma")


def test_a_read_only_mount_refuses_changes(new_mount: NewMount) -> None:
    mount = new_mount("ro")
    for change in (
        lambda: write(mount.path / "file"),
        lambda: (mount.path / "dir").mkdir(),
        lambda: mount.path.chmod(0o700),
    ):
        with fails(errno.EROFS):
            change()
    mount.stop()


def test_a_mount_in_the_foreground_ends_on_interrupt(mount_point: Path) -> None:
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "k42fs.cli.main", "mount", "-f", mount_point],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            eventually(lambda: is_mounted(mount_point), "the mount is there")
            write(mount_point / "file", b"data")
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 0
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        output.seek(0)
        said = output.read().decode()
    assert said.count("mounted on") - said.count("unmounted on") == 1
    assert "MountOptions" not in said
    assert not is_mounted(mount_point)


def test_a_log_in_which_nothing_was_written_is_not_left(
    mount_point: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for level, kept in (("error", 0), ("info", 1)):
        assert k42fs("mount", "-o", f"log_level={level}", mount_point).status == 0
        assert k42fs("umount", mount_point).status == 0
        assert len(list((tmp_path / "k42fs").iterdir())) == kept


def test_the_daemon_holds_neither_terminal_nor_directory_nor_our_descriptors(new_mount: NewMount) -> None:
    left, right = socket.socketpair()
    right.set_inheritable(True)
    mount = new_mount()
    links = [os.readlink(link) for link in Path(f"/proc/{mount.pid}/fd").iterdir()]
    right.close()
    left.close()
    assert not [link for link in links if link.startswith("/dev/pts")]
    assert os.readlink(f"/proc/{mount.pid}/cwd") == "/"
    assert os.getsid(mount.pid) != os.getsid(0)
    mount.stop()
