"""Ends mounts that a test run cannot end itself: a process of its own that obeys lines on standard input.

    mounted PATH      this mount is now in the warden's care
    unmounted PATH    and now no longer
    deadline SECONDS  unless another line comes in time, abort every mount in care (0: no deadline)

A test that waits for a FUSE server which never answers cannot be woken by a signal handler in Python; only
the end of the connection wakes it. At the end of input, for whatever reason, the warden unmounts the rest.
"""

from __future__ import annotations

import os
import select
import subprocess
import time


def _quietly(*argv: str) -> None:
    quiet = subprocess.DEVNULL
    # A missing program or a hung unmount must not keep the warden from its other mounts.
    try:
        subprocess.run(argv, stdin=quiet, stdout=quiet, stderr=quiet, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return


def abort(path: str) -> None:
    """Fail every request under way on *path*; umount does so even if it then finds the mount busy."""
    _quietly("umount", "-f", path)


def release(path: str) -> None:
    """Take the mount on *path* away, busy or dead."""
    abort(path)
    _quietly("fusermount3", "-u", "-z", path)


def main() -> None:
    """Obey lines until the input ends, then release every mount in care."""
    mounts: dict[str, None] = {}  # in the order they were made
    deadline: float | None = None
    pending = b""
    while True:
        wait = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not select.select([0], [], [], wait)[0]:
            deadline = None
            for path in mounts:
                abort(path)
            continue
        data = os.read(0, 1 << 16)
        if not data:
            break
        *lines, pending = (pending + data).split(b"\n")
        for line in lines:
            word, _, rest = line.decode().partition(" ")
            if word == "mounted":
                mounts[rest] = None
            elif word == "unmounted":
                mounts.pop(rest, None)
            else:
                deadline = time.monotonic() + float(rest) if float(rest) else None
    for path in mounts:
        release(path)


if __name__ == "__main__":
    main()
