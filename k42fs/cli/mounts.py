"""What is mounted here: /proc/self/mounts, read without touching any mount (a dead one hangs or fails)."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FS_TYPE: Final = "fuse.k42fs"
LINKS_MAX: Final = 40
"""Links followed at a path's end: as many as the kernel follows."""

_ESCAPE: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One line of the mount list."""

    source: str
    path: str
    fs_type: str
    options: str

    @property
    def is_k42fs(self) -> bool:
        return self.fs_type == FS_TYPE


def mount_entries(table: Path = Path("/proc/self/mounts")) -> list[MountEntry]:
    """Return the mounts of this process's name space, oldest first."""
    entries = []
    for line in table.read_bytes().decode(errors="surrogateescape").split("\n")[:-1]:
        source, path, fs_type, options = (_unescape(word) for word in line.split(" ")[:4])
        entries.append(MountEntry(source, path, fs_type, options))
    return entries


def _unescape(word: str) -> str:
    # The kernel writes space, tab, newline and backslash as octal, byte by byte.
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), word)


def mounted_at(path: str) -> MountEntry | None:
    """Return the topmost mount whose mount point *path* leads to, or None."""
    target = real_mount_point(path)
    found = None
    for entry in mount_entries():
        if entry.path == target:
            found = entry
    return found


def real_mount_point(path: str) -> str:
    """Resolve *path*, its last link too, without looking into what is mounted there: a dead mount hangs or fails."""
    mount_points = {entry.path for entry in mount_entries()}
    for _ in range(LINKS_MAX):
        path = os.path.abspath(path)
        if path == "/":
            break
        folder = os.path.realpath(os.path.dirname(path))
        path = os.path.join(folder, os.path.basename(path))
        if path in mount_points or not os.path.islink(path):
            break
        path = os.path.join(folder, os.readlink(path))
    return path


def is_dead(path: str) -> bool:
    """True when the daemon behind the k42fs at *path* is gone: the kernel answers ENOTCONN itself.

    Asks for the control directory, which no kernel caches and no daemon counts; other attributes the kernel may
    answer long after the daemon's death.
    """
    try:
        os.stat(os.path.join(path, ".k42"))
    except OSError as exc:
        return exc.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def enclosing_k42fs(path: str) -> MountEntry | None:
    """Return the k42fs mount that holds *path*, or None."""
    target = real_mount_point(path)
    best: MountEntry | None = None
    for entry in mount_entries():
        is_above = target == entry.path or target.startswith(entry.path.rstrip("/") + "/")
        if is_above and (best is None or len(entry.path) >= len(best.path)):
            best = entry
    return best if best is not None and best.is_k42fs else None
