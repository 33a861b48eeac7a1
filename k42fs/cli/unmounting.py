"""Taking a mount away, whatever state its daemon is in."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from typing import Final

from k42fs.cli.limited import limited
from k42fs.cli.mounts import is_dead, mounted_at
from k42fs.errors import BusyError, InvalidArgumentError, K42Error

TOOL_SECONDS: Final = 15.0
EXIT_SECONDS: Final = 10.0


def unmount(path: str, lazy: bool = False) -> None:
    """Unmount the k42fs at *path*; a dead one is always detached lazily, since nothing can be busy in it.

    Raises:
        InvalidArgumentError: there is no k42fs at *path*.
        BusyError: it is in use, and neither *lazy* nor dead.
    """
    entry = mounted_at(path)
    if entry is None:
        raise InvalidArgumentError(f"{path} is not a mount point: 'k42fs status' lists the mounts")
    if not entry.is_k42fs:
        raise InvalidArgumentError(f"{path} holds a {entry.fs_type}, not a k42fs: unmount it with umount")
    lazy = lazy or limited(is_dead, path)
    answer = _run_tool(path, lazy)
    if answer.returncode != 0 and mounted_at(path) is not None:
        text = (answer.stderr or answer.stdout).strip().splitlines()
        reason = text[-1] if text else f"exit status {answer.returncode}"
        if "busy" in reason.lower():
            raise BusyError(f"{path} is in use: leave it ('fuser -vm {path}' shows who), or add --lazy")
        raise K42Error(f"{path} could not be unmounted: {reason}")
    _wait_until_gone(path)


def wait_for_exit(pid: int, seconds: float = EXIT_SECONDS) -> bool:
    """Wait until process *pid* has ended; False if it has not within *seconds*."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat") as status:
                if status.read().rpartition(")")[2].split()[0] in "ZX":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


def _run_tool(path: str, lazy: bool) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("fusermount3")
    if tool is not None:
        command = [tool, "-u", *(["-z"] if lazy else []), "--", path]
    elif os.geteuid() == 0:
        command = ["umount", *(["-l"] if lazy else []), "--", path]
    else:
        raise InvalidArgumentError("fusermount3 is not on the path: install the package fuse3")
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TOOL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise BusyError(f"{path} does not answer: try --lazy") from None


def _wait_until_gone(path: str) -> None:
    deadline = time.monotonic() + 2.0
    while mounted_at(path) is not None and time.monotonic() < deadline:
        time.sleep(0.005)
