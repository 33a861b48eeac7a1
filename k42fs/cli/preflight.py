"""What must hold before a mount is tried. Each refusal says in one line what is wrong and what mends it."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import Final

from k42fs.cli.limited import limited
from k42fs.cli.mounts import is_dead, mounted_at
from k42fs.cli.unmounting import unmount
from k42fs.errors import BusyError, ConfigError, NameNotFoundError, NoDeviceError, NotDirectoryError

FUSE_DEVICE: Final = "/dev/fuse"
KEEPERS: Final = {".gitkeep", ".gitignore"}
"""Files that may stand in a mount point without being hidden by surprise."""


def check_system(device: str = FUSE_DEVICE) -> None:
    """Refuse when FUSE cannot work here."""
    if not os.path.exists(device):
        raise NoDeviceError(f"{device} is missing: load the kernel's module with 'modprobe fuse'")
    if not os.access(device, os.R_OK | os.W_OK):
        raise NoDeviceError(f"{device} may not be opened: give this user access to it, or mount as root")
    if shutil.which("fusermount3") is None:
        raise NameNotFoundError("fusermount3 is not on the path: install the package fuse3")


def check_mount_point(path: str, allow_nonempty: bool) -> str | None:
    """Refuse a mount point that cannot serve; return a notice if a dead k42fs had to be removed from it."""
    notice = None
    entry = mounted_at(path)
    if entry is not None and entry.is_k42fs and limited(is_dead, path):
        unmount(path, lazy=True)
        notice = f"removed the mount that a dead daemon had left at {path}"
        entry = mounted_at(path)
    if entry is not None:
        raise BusyError(
            f"{path} is a mount point already ({entry.fs_type}): unmount it first, or choose another"
        )
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise NameNotFoundError(f"{path} does not exist: create it with 'mkdir -p {path}'") from None
    except OSError as exc:
        raise ConfigError(f"{path} cannot be used: {exc.strerror}") from None
    if not stat.S_ISDIR(mode):
        raise NotDirectoryError(f"{path} is not a directory: a mount point must be one")
    if not allow_nonempty and {entry.name for entry in Path(path).iterdir()} - KEEPERS:
        raise BusyError(
            f"{path} is not empty and the mount would hide what it holds: add -o nonempty to do so"
        )
    return notice
