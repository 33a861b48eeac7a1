"""Going to the background with the daemon's true status brought back.

The parent forks, waits on a pipe, and exits with what the child reports: nothing is printed as done before
the mount answers, and a failure in the background is the command's own failure.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable
from typing import Final

START_SECONDS: Final = 30.0
_READY: Final = b"ready\n"


class StartError(Exception):
    """The daemon could not start; the text is its own one-line reason."""


class ReadyPipe:
    """The child's end: say once how the start went."""

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd

    def move_to(self, fd: int) -> None:
        """Renumber the descriptor."""
        assert self._fd is not None
        if self._fd != fd:
            os.dup2(self._fd, fd)
            self._fd = fd

    def ready(self) -> None:
        self._say(_READY)

    def failed(self, reason: str) -> None:
        self._say(reason.encode(errors="replace"))

    def _say(self, text: bytes) -> None:
        if self._fd is not None:
            os.write(self._fd, text)
            os.close(self._fd)
            self._fd = None


def in_background(run: Callable[[ReadyPipe], int], log_path: str) -> int:
    """Run *run* in a session of its own, its output in *log_path*; return the child's pid once it is ready.

    Raises:
        StartError: the child failed, died, or was not ready in START_SECONDS.
    """
    read_fd, write_fd = os.pipe()
    _flush()
    pid = os.fork()
    if pid == 0:
        os.close(read_fd)
        os._exit(_child(run, ReadyPipe(write_fd), log_path))
    os.close(write_fd)
    try:
        said = _read_all(read_fd, START_SECONDS)
    finally:
        os.close(read_fd)
    if said == _READY:
        return pid
    if said is None:
        os.kill(pid, 15)
        raise StartError(f"the daemon was not ready in {START_SECONDS:.0f} s; its log is {log_path}")
    os.waitpid(pid, 0)
    raise StartError(
        said.decode(errors="replace").strip() or f"the daemon died while starting; its log is {log_path}"
    )


def _child(run: Callable[[ReadyPipe], int], pipe: ReadyPipe, log_path: str) -> int:
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    out = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for fd, target in ((null, 0), (out, 1), (out, 2)):
        os.dup2(fd, target)
    pipe.move_to(3)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))  # whatever the caller had open is not ours to hold
    try:
        return run(pipe)
    except BaseException as exc:
        pipe.failed(f"{type(exc).__name__}: {exc}")
        sys.excepthook(type(exc), exc, exc.__traceback__)
        return 1
    finally:
        _flush()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # a closed descriptor leaves None
            stream.flush()


def _read_all(fd: int, seconds: float) -> bytes | None:
    """Read *fd* to its end; None when that took longer than *seconds*."""
    text = b""
    poller = select.poll()
    poller.register(fd, select.POLLIN | select.POLLHUP)
    while poller.poll(seconds * 1000):
        piece = os.read(fd, 65536)
        text += piece
        if not piece or text == _READY:
            return text
    return None
