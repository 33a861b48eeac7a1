"""The helper through which mount(8) and /etc/fstab reach us: `mount -t fuse.k42fs none MNT -o ...`."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Final

from k42fs.cli.mounting import mount
from k42fs.errors import InvalidArgumentError, NotPermittedError

HELPER: Final = Path("/sbin/mount.fuse.k42fs")
_TAKES_VALUE: Final = {"-o", "-t", "-N"}


def helper_text() -> str:
    """Return the helper's script: it enters this very installation, wherever it lies."""
    return f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m k42fs.cli.main mount-helper "$@"\n'


def install(path: Path = HELPER) -> str:
    """Write the helper; return what to tell the user."""
    _need_root()
    path.write_text(helper_text())
    path.chmod(0o755)
    return f"installed {path}"


def uninstall(path: Path = HELPER) -> str:
    """Remove the helper; return what to tell the user."""
    _need_root()
    try:
        path.unlink()
    except FileNotFoundError:
        return f"there is no {path}: nothing to remove"
    return f"removed {path}"


def _need_root() -> None:
    if os.geteuid() != 0:
        raise NotPermittedError(f"only root may change {HELPER}: use sudo")


def parse(words: list[str]) -> tuple[str, list[str]]:
    """Return (mount point, option words) from mount(8)'s call: SOURCE MNT [-sfnvr] [-N NS] [-o OPTS] [-t TYPE]."""
    options: list[str] = []
    positional: list[str] = []
    rest = iter(words)
    for word in rest:
        if word in _TAKES_VALUE:
            value = next(rest, None)
            if value is None:
                raise InvalidArgumentError(f"{word} needs a value")
            if word == "-o":
                options.append(value)
        elif word == "-r":
            options.append("ro")
        elif not word.startswith("-"):
            positional.append(word)
    if len(positional) != 2:
        raise InvalidArgumentError("the helper is called as: SOURCE MOUNT_POINT [-o OPTIONS]")
    return positional[1], options


def run(words: list[str]) -> None:
    """Mount as mount(8) asks."""
    if any(
        word.startswith("-") and word[1:2] != "-" and word not in _TAKES_VALUE and "f" in word
        for word in words
    ):
        return  # mount -f: all but the mount itself
    mount_point, options = parse(words)
    # mount(8) as root means a mount for everyone, unless the options say otherwise.
    mount(
        ["dev", "suid", "allow_other", *options] if os.geteuid() == 0 else options,
        mount_point,
        foreground=False,
    )
