"""Bugs of our own, put into a daemon on purpose: the request they hit is answered EIO, the mount lives on."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from k42fs.machine import Machine, Thread
from k42fs.personality.mount import serve
from k42fs.personality.options import parse_options

from .mounting import is_mounted, k42fs, wait_until_gone
from .processes import Child, as_user
from .support import ALICE, eventually, fails, names, write


def _serve_with(break_machine: Callable[[], None], path: Path, log: Path) -> None:
    """Be the daemon of a mount on *path* whose machine has a bug."""
    break_machine()
    serve(str(path), parse_options(["model=full,allow_other"]), str(log), lambda: None)


def _leaving_fails() -> None:
    """Let no operation of ALICE's end as it should; the patch stays in the daemon's process."""
    leave = Machine.leave

    def broken(self: Machine, th: Thread) -> None:
        is_hers = th.creds is not None and th.creds.uid == ALICE
        leave(self, th)
        if is_hers:
            raise RuntimeError("a bug put there by a test")

    Machine.leave = broken  # type: ignore[method-assign]


@pytest.fixture
def log(workshop: Path) -> Path:
    return workshop / "bugs.log"


def test_a_bug_at_an_operations_end_is_answered_eio_and_the_mount_lives(mount_point: Path, log: Path) -> None:
    with Child(lambda: _serve_with(_leaving_fails, mount_point, log)) as daemon:
        eventually(lambda: is_mounted(mount_point), "the mount is there")
        write(mount_point / "file", b"data")
        mount_point.chmod(0o777)

        def unlucky() -> None:
            for attempt in (
                lambda: (mount_point / "none").stat(),
                (mount_point / "file").read_bytes,
                lambda: os.listdir(mount_point),
            ):
                with fails(errno.EIO):
                    attempt()

        for _ in range(20):  # on every processor, and more often than each has threads to spare
            as_user(unlucky, ALICE)
        assert (mount_point / "file").read_bytes() == b"data"
        write(mount_point / "other", b"more")
        assert {b"file", b"other"} <= names(mount_point)
        assert "a bug put there by a test" in log.read_text()
        for request in ("lookup", "open", "opendir"):
            assert f"bug while serving {request}\n" in log.read_text()
        assert k42fs("umount", mount_point).status == 0
        daemon.result(20)
    wait_until_gone(mount_point, None)
