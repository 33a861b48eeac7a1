"""Commands that read and write a live mount's `.k42` files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from k42fs.cli.limited import limited
from k42fs.cli.mounts import MountEntry, enclosing_k42fs, is_dead, mount_entries, mounted_at, real_mount_point
from k42fs.cli.object_view import object_text
from k42fs.errors import InvalidArgumentError, K42Error, NameNotFoundError
from k42fs.personality import control_text
from k42fs.personality.control_text import table
from k42fs.servers.mount_commands import escape_path

STATS_FILES: Final = ("processors", "locks", "lines")


def control_directory(path: str, mend: str = "give a path in one") -> Path:
    """Return the `.k42` of the mount that holds *path*; *mend*: what to do if there is none.

    Raises:
        InvalidArgumentError: *path* is in no k42fs, or in one whose daemon has died.
    """
    entry = enclosing_k42fs(path)
    if entry is None and path == ".":
        entry = mounted_at("mnt")  # what `k42fs mount` mounts unless told otherwise
    if entry is None or not entry.is_k42fs:
        raise InvalidArgumentError(f"{path} is not in a k42fs mount: {mend} ('k42fs status' lists them)")
    if limited(is_dead, entry.path):
        raise InvalidArgumentError(
            f"the daemon of {entry.path} has died: 'k42fs umount {entry.path}' clears it"
        )
    return Path(entry.path) / ".k42"


def show_control(path: str, name: str, as_json: bool) -> None:
    """Print one control file of the mount that holds *path*."""
    file = control_directory(path) / (f"{name}.json" if as_json else name)
    click.echo(limited(file.read_text).rstrip("\n"))


def show_stats(path: str, as_json: bool, reset: bool) -> None:
    """Print the machine's counters, and set them to zero if asked."""
    control = control_directory(path)
    parts: dict[str, Any] = {}
    for name in STATS_FILES:
        parts[name] = json.loads(limited((control / f"{name}.json").read_text))
    if as_json:
        click.echo(json.dumps(parts, indent=2))
    else:
        click.echo(stats_text(parts, shutil.get_terminal_size((control_text.COLUMNS, 24)).columns), nl=False)
    if reset:
        limited((control / "reset").write_text, "all\n")


def stats_text(parts: Mapping[str, Any], columns: int) -> str:
    """Return the tables of what the model knows, at most *columns* wide as far as that goes."""
    tables = [control_text.processors(parts["processors"], columns)]
    model = parts["processors"]["model"]
    if model != "off":
        tables.append(control_text.locks(parts["locks"], columns))
    if model == "full":
        tables.append(control_text.lines(parts["lines"], columns))
    return "\n".join(tables)


def show_objects(path: str, as_json: bool) -> None:
    """Print the objects of a mount, or the one behind a file in it."""
    control = control_directory(path)
    if real_mount_point(path) == str(control.parent):
        show_control(path, "objects", as_json)
        return
    if not os.path.lexists(path):
        raise NameNotFoundError(f"{path} does not exist")
    if not (os.path.isfile(path) or os.path.isdir(path)) or os.path.islink(path):
        raise InvalidArgumentError(f"{path}: only regular files and directories have an object to show")
    about = json.loads(limited(os.getxattr, path, "user.k42.object"))
    if as_json:
        click.echo(json.dumps(about, indent=2))
        return
    click.echo(object_text(about), nl=False)


def change_names(mount_path: str, words: list[str], prefix: str | None = None) -> None:
    """Write one command to the mount's name server; say so if what it mounted at *prefix* is in front of another."""
    control = control_directory(mount_path, "say which with -m PATH, any path in it")
    file = control / "mounts"
    command = b" ".join(escape_path(os.fsencode(word)) for word in words) + b"\n"
    try:
        limited(file.write_bytes, command)
    except OSError as exc:
        raise K42Error(f"{' '.join(words)}: {refusal(file, exc)}") from None
    if prefix is None:
        return
    mounts = json.loads(limited((control / "mounts.json").read_text))["mounts"]
    where = os.path.normpath("/" + prefix.lstrip("/"))
    if sum(mount["path"] == where for mount in mounts) > 1:
        click.echo(
            f"{where} was a mount already: the new one is in front of it until it is detached", err=True
        )


def refusal(file: Path, exc: OSError) -> str:
    """Return the server's own words for the refusal, which it keeps in the file's attribute, or the errno's."""
    try:
        return limited(os.getxattr, str(file), "user.k42.error").decode()
    except OSError:
        return exc.strerror or str(exc)


def show_status(as_json: bool) -> None:
    """Print every k42fs mount with its daemon's state."""
    rows = [_about(entry) for entry in mount_entries() if entry.is_k42fs]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo("no k42fs is mounted")
        return
    heads = ("MOUNT POINT", "STATE", "MODEL", "PRESET", "PID", "PROCESSORS", "SIZE")
    click.echo(table([heads, *map(_status_row, rows)], left=4), nl=False)


def _status_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    known = (str(row.get(key, "-")) for key in ("path", "state", "model", "preset", "pid", "processors"))
    return (*known, human_size(row["size"]) if "size" in row else "-")


def human_size(size_bytes: int) -> str:
    """Return *size_bytes* to three digits with a unit as `size=` takes it: 64M, 11.8G."""
    value = float(size_bytes)
    units = iter("KMGT")
    unit = ""
    while value >= 999.5 and unit != "T":
        value /= 1024
        unit = next(units)
    return f"{value:.3g}{unit}" if value < 999.5 else f"{value:.0f}{unit}"


def _about(entry: MountEntry) -> dict[str, Any]:
    row: dict[str, Any] = {"path": entry.path}
    try:
        if limited(is_dead, entry.path):
            return {**row, "state": "dead"}
        config = json.loads(limited((Path(entry.path) / ".k42" / "config.json").read_text))
    except TimeoutError:
        return {**row, "state": "hung"}
    except PermissionError:
        return {**row, "state": "private"}  # mounted without allow_other: the kernel lets only its user in
    except OSError as exc:
        return {**row, "state": f"error ({exc.strerror})"}
    return {**row, "state": "alive", **config}
