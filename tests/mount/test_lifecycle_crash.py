"""The daemon is killed: callers get an error and not a hang, and everything can be cleared and used again."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from .mounting import K42Mount, is_mounted, is_running, k42fs, wait_until_gone
from .processes import Child
from .support import eventually, names, write

# What the kernel answers for a connection that ended, before and after it noticed.
DEAD = (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO)


def _work_until_dead(directory: Path, who: int) -> int:
    """Make, write, move, list and remove without end; return how many rounds the mount lived."""
    rounds = 0
    try:
        while True:
            for number in range(20):
                path = write(directory / f"{who}-{number}", os.urandom(3000))
                path.rename(directory / f"{who}-{number}-moved")
            os.listdir(directory)
            for number in range(20):
                (directory / f"{who}-{number}-moved").unlink()
            rounds += 1
    except OSError as exc:
        if exc.errno not in DEAD:
            raise
    return rounds


@pytest.mark.parametrize("times", [10, pytest.param(200, marks=pytest.mark.soak)])
def test_a_daemon_killed_under_load_leaves_nothing_that_cannot_be_cleared(
    new_mount: Callable[..., K42Mount], times: int
) -> None:
    mount = new_mount("model=full")
    for _ in range(times):
        pid = mount.pid
        children = [Child(partial(_work_until_dead, mount.path, who)) for who in range(3)]
        try:
            eventually(lambda: len(names(mount.path)) > 5, "the load runs")
            mount.kill_daemon()
            for child in children:
                child.result(20)
        finally:
            for child in children:
                child.kill()
        done = k42fs("umount", mount.path)
        assert done.status == 0, done
        wait_until_gone(mount.path, pid)
        mount.start()
        assert not names(mount.path)
        write(mount.path / "file", b"works again")
        assert (mount.path / "file").read_bytes() == b"works again"
        (mount.path / "file").unlink()
    mount.stop()


def test_a_dead_mount_can_be_mounted_over_at_once(new_mount: Callable[..., K42Mount]) -> None:
    mount = new_mount()
    mount.kill_daemon()
    eventually(lambda: not mount.is_healthy(), "the kernel notices")
    mount.start()
    write(mount.path / "file", b"works")
    mount.stop()
    assert not is_mounted(mount.path)


def test_status_tells_the_living_from_the_dead(new_mount: Callable[..., K42Mount]) -> None:
    dead, alive = new_mount(), new_mount()
    dead.kill_daemon()
    eventually(lambda: not dead.is_healthy(), "the kernel notices")
    done = k42fs("status", "--json")
    assert done.status == 0
    states = {row["path"]: row["state"] for row in json.loads(done.output)}
    assert states[str(dead.path)] == "dead"
    assert states[str(alive.path)] == "alive"
    assert k42fs("umount", dead.path).status == 0
    alive.stop()


def test_a_hung_daemon_is_detached_lazily_at_once(new_mount: Callable[..., K42Mount]) -> None:
    mount = new_mount()
    pid = mount.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        done = k42fs("umount", "--lazy", mount.path)
        assert done.status == 0, done
        assert not is_mounted(mount.path)
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until_gone(mount.path, pid)


@pytest.mark.parametrize("ending", ["last file closed", "signal"])
def test_a_daemon_that_ends_late_leaves_the_newer_mount_at_its_path(
    new_mount: Callable[..., K42Mount], ending: str
) -> None:
    mount = new_mount()
    older = mount.pid
    fd = os.open(mount.path / "file", os.O_CREAT | os.O_RDWR)
    try:
        assert k42fs("umount", "--lazy", mount.path).status == 0
        mount.start()
        write(mount.path / "new", b"of the newer mount")
        if ending == "signal":  # it is still in use, so libfuse takes its mount for alive
            os.kill(older, signal.SIGTERM)
            eventually(lambda: not is_running(older), "the older daemon ends")
    finally:
        os.close(fd)
    eventually(lambda: not is_running(older), "the older daemon ends")
    assert is_mounted(mount.path)
    assert (mount.path / "new").read_bytes() == b"of the newer mount"
    mount.stop()
