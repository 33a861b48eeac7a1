"""`k42fs mount` and `k42fs umount`."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from k42fs.cli.daemonize import ReadyPipe, StartError, in_background
from k42fs.cli.limited import limited
from k42fs.cli.mounts import is_dead, mount_entries, mounted_at, real_mount_point
from k42fs.cli.preflight import check_mount_point, check_system
from k42fs.cli.unmounting import unmount, wait_for_exit
from k42fs.errors import BusyError, ConfigError, K42Error

LOGS_KEPT: Final = 20
"""Logs of ended mounts that are kept, the newest."""


def default_log(mount_point: str) -> str:
    """Return where the daemon of *mount_point* logs: one file for each mount point, in the user's state directory.

    Raises:
        ConfigError: there can be no such directory: some users have no home.
    """
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    folder = Path(base) / "k42fs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(
            f"no log can be kept in {folder} ({exc.strerror}): say where with -o log=FILE"
        ) from None
    _prune_logs(folder)
    return str(folder / _log_name(mount_point))


def _log_name(mount_point: str) -> str:
    return mount_point.strip("/").replace("/", "-") + ".log"


def _prune_logs(folder: Path) -> None:
    """Remove the oldest logs of mounts that have ended, until LOGS_KEPT are left."""
    in_use = {_log_name(entry.path) for entry in mount_entries() if entry.is_k42fs}
    with suppress(OSError):  # another mount prunes at the same time
        ended = [path for path in folder.glob("*.log") if path.name not in in_use]
        ended.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in ended[LOGS_KEPT:]:
            path.unlink(missing_ok=True)


def mount(option_words: list[str], mount_point: str, foreground: bool) -> None:
    """Mount, in the background unless *foreground*; return when the mount answers."""
    from k42fs.personality.options import parse_options

    options = parse_options(option_words)
    check_system()
    notice = check_mount_point(mount_point, options.nonempty)
    if notice is not None:
        click.echo(notice, err=True)
    path = real_mount_point(mount_point)
    log_path = options.log or ("" if foreground else default_log(path))
    try:
        if log_path:
            os.close(os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    except OSError as exc:
        raise ConfigError(f"log={log_path}: {exc.strerror}") from None

    from k42fs.personality.mount import MountFailedError, serve

    if foreground:
        serve(
            path,
            options,
            options.log,
            on_ready=lambda: click.echo(f"mounted on {path}"),
        )
        return

    def run(pipe: ReadyPipe) -> int:
        try:
            serve(path, replace(options, log=log_path), log_path, on_ready=pipe.ready)
        except (K42Error, MountFailedError) as exc:
            pipe.failed(str(exc))
            return 1
        if not options.log and os.path.getsize(log_path) == 0:
            os.unlink(log_path)
        return 0

    try:
        in_background(run, log_path)
    except StartError as exc:
        raise K42Error(str(exc)) from None
    try:
        limited(os.statvfs, path)
    except BaseException:
        unmount(path, lazy=True)
        raise


def umount(mount_point: str, lazy: bool) -> None:
    """Unmount, and wait for the daemon to end."""
    mount_point = real_mount_point(mount_point)  # fusermount3 itself takes no link
    pid = None
    if mounted_at(mount_point) is not None and not lazy:
        try:
            pid = None if limited(is_dead, mount_point) else _daemon_pid(mount_point)
        except TimeoutError:
            raise BusyError(
                f"{mount_point} does not answer: 'k42fs umount --lazy {mount_point}' detaches it"
            ) from None
    unmount(mount_point, lazy)
    if pid is not None and not lazy and not wait_for_exit(pid):
        raise K42Error(f"{mount_point} is unmounted, but its daemon (pid {pid}) has not ended")


def _daemon_pid(mount_point: str) -> int | None:
    try:
        text = limited((Path(mount_point) / ".k42" / "config.json").read_text)
        return int(json.loads(text)["pid"])
    except (OSError, TimeoutError, ValueError, KeyError):
        return None
