"""Small tools of the end-to-end tests: expected errors, clock ticks, programs that must exist."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = 65534
ALICE = 12001  # two users that need no entry in /etc/passwd
BOB = 12002

DEBIAN_PACKAGE: Mapping[str, str] = {
    "fio": "fio",
    "fusermount3": "fuse3",
    "gcc": "gcc",
    "getfacl": "acl",
    "getfattr": "attr",
    "git": "git",
    "make": "make",
    "mount": "mount",
    "rsync": "rsync",
    "setfacl": "acl",
    "tar": "tar",
    "umount": "mount",
}


@contextmanager
def fails(*codes: int) -> Iterator[None]:
    """Expect the block to raise an OSError whose errno is one of *codes*."""
    wanted = "/".join(errno.errorcode[code] for code in codes)
    try:
        yield
    except OSError as exc:
        got = errno.errorcode.get(exc.errno or 0, str(exc.errno))
        if exc.errno not in codes:
            pytest.fail(f"expected {wanted}, got {got}: {exc}")
    else:
        pytest.fail(f"expected {wanted}, but the call succeeded")


@contextmanager
def opened(path: str | bytes | Path, flags: int = os.O_RDWR, mode: int = 0o644) -> Iterator[int]:
    """Open *path* as a plain descriptor for the length of the block."""
    fd = os.open(path, flags, mode)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Work under another umask."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def tick(directory: Path) -> int:
    """Wait until the file system of *directory* stamps a later time than ever before; return that time in ns.

    File times advance with the kernel's tick on some file systems, so the same instant may be stamped twice.
    """
    probe = directory / ".tick"
    probe.touch()
    first = probe.stat().st_ctime_ns
    while True:
        probe.chmod(0o600)
        now = probe.stat().st_ctime_ns
        if now > first:
            probe.unlink()
            return now


def eventually(condition: Callable[[], bool], what: str, seconds: float = 10) -> None:
    """Wait for what the kernel does only soon after a call, such as the release of an open file."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {what}")
        time.sleep(0.01)


def program(name: str) -> str:
    """Path of an installed program; a missing one fails the test and names the Debian package."""
    path = shutil.which(name)
    if path is None:
        pytest.fail(f"{name} is not installed: apt-get install {DEBIAN_PACKAGE[name]}")
    return path


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    seconds: float = 100,
    status: int | None = 0,
) -> str:
    """Run a program to its end and return what it printed; fail with that if it exits with another *status*.

    Output goes to a file, not a pipe: a daemon left behind may keep the descriptor, and must not hold us up. The
    file is in memory: the caller may be a user who cannot write where the tests keep theirs.
    On time-out the whole process group is killed.
    """
    command = [program(str(argv[0])) if "/" not in str(argv[0]) else str(argv[0]), *map(str, argv[1:])]
    with open(os.memfd_create("output"), "w+b") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            pytest.fail(f"{' '.join(command)} did not end in {seconds} s")
        output.seek(0)
        text = output.read().decode(errors="replace")
    if status is not None and process.returncode != status:
        pytest.fail(f"{' '.join(command)} exited with {process.returncode}, expected {status}:\n{text}")
    return text


def write(path: Path, data: bytes = b"", mode: int = 0o644) -> Path:
    """Create or replace a file with *data*."""
    with opened(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode) as fd:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    return path


def names(directory: Path | bytes) -> set[bytes]:
    """The names in *directory*."""
    return set(os.listdir(os.fsencode(directory)))
