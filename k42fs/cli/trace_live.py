"""The commands of `k42fs trace` that steer what a live mount records: start, stop, mask, dump, status."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from k42fs.cli.limited import limited
from k42fs.cli.showing import control_directory, human_size
from k42fs.errors import K42Error
from k42fs.machine.tracing import mask as masks
from k42fs.servers.mount_commands import escape_path

MOUNT: Final = click.argument("mount_path", metavar="[MNT]", default=".")
OUTPUT: Final = click.option(
    "-o", "--output", required=True, metavar="DIR", help="The recording: a new directory, or an empty one."
)
MASK: Final = click.option(
    "--mask", default="all", show_default=True, metavar="MASK", help="Classes or presets: locks, Fuse,FS, ..."
)
LIMIT: Final = click.option(
    "--limit", metavar="SIZE", help="At most this much (k, m, g); the oldest part goes for the newest."
)
ZSTD: Final = click.option(
    "--zstd", is_flag=True, help="Compress it; 'k42fs trace unpack' is the way back for other tools."
)

READERS: Final = (
    (masks.CLUST_OBJ, "calls -c"),
    (masks.LOCK, "locks"),
    (masks.CACHE, "c2c"),
    (masks.EXCEPTION, "time"),
    (masks.FUSE, "requests"),
    (masks.CONTROL, "kmon"),
)
"""What reads a recording with such a class in it."""


class LiveTrace:
    """The tracing files of the mount that holds *path*, open until `close`: what is asked of them then is a request on
    `.k42` only, and so in no recording.
    """

    def __init__(self, path: str, mend: str = "give a path in one") -> None:
        control = control_directory(path, mend)
        self.mount_point = str(control.parent)
        self._fd: int = limited(os.open, control, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> LiveTrace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, directory: str, mask: str, limit: str | None, zstd: bool) -> None:
        """Record to *directory*. Raises K42Error."""
        how = [*([limit] if limit else []), *(["zstd"] if zstd else [])]
        self.write("trace", ["start", directory, ",".join(mask.replace(",", " ").split()), *how])

    def stop(self) -> None:
        self.write("trace", ["stop"])

    def status(self) -> dict[str, Any]:
        """Return how the recording stands."""
        about: dict[str, Any] = json.loads(self.read("trace.json"))
        return about

    def read(self, name: str) -> str:
        def read_all() -> str:
            with open(name, opener=self._open) as file:
                return file.read()

        return limited(read_all)

    def write(self, name: str, words: Sequence[str]) -> None:
        """Write one command. Raises K42Error in the daemon's own words if it is refused."""
        command = b" ".join(escape_path(os.fsencode(word)) for word in words) + b"\n"

        def write_once() -> None:
            try:
                fd = self._open(name, os.O_WRONLY)
            except PermissionError:
                raise K42Error(
                    f"only who mounted {self.mount_point} may say what is recorded of it"
                ) from None
            try:
                os.write(fd, command)
            except OSError as exc:
                raise K42Error(_reason(fd, exc)) from None
            finally:
                os.close(fd)

        limited(write_once)

    def _open(self, name: str, flags: int) -> int:
        return os.open(name, flags | os.O_CLOEXEC, dir_fd=self._fd)


def _reason(fd: int, exc: OSError) -> str:
    """Return why a write was refused: the file keeps it."""
    try:
        return os.getxattr(fd, "user.k42.error").decode(errors="replace")
    except OSError:
        return exc.strerror or str(exc)


def recorded(status: Mapping[str, Any], mask: int, directory: str) -> list[str]:
    """Return what is said of a recording that has ended: how much it is, what is lost, what reads it."""
    requests, events = status["requests"], status["events"]
    lines = [
        f"recorded {_counted(requests, 'request')}, {_counted(events, 'event')} in {status['seconds']:.1f} s:"
        f" {directory} ({human_size(status['bytes_written'])})"
    ]
    if status["failure"]:
        lines.append(status["failure"])
    if status["discarded"]:
        lines.append(f"{_counted(status['discarded'], 'event')} discarded")
    if mask & masks.FUSE and not requests:
        lines.append("nothing was asked of the mount meanwhile")
    lines.append(what_reads(mask, directory))
    return lines


def what_reads(mask: int, directory: str) -> str:
    """Return what to do next with a recording of the classes in *mask*; 0 if that is not known."""
    first, *others = [command for bit, command in READERS if mask & bit] or ["list"]
    also = f"; the same with {', '.join(others)}" if others else ""
    return f"next: k42fs trace {first} {shlex.quote(directory)}{also}"


def dumped(status: Mapping[str, Any], directory: str) -> list[str]:
    """Return what is said of a flight recorder that has been written to *directory*: how much, what reads it."""
    before = f", {status['discarded']:,} earlier ones are gone" if status["discarded"] else ""
    kept = _counted(status["dumped_events"], "event")
    return [
        f"wrote {kept}{before}: {directory} ({human_size(status['bytes_written'])})",
        what_reads(int(status["mask"], 16), directory),
    ]


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


@click.command("start")
@OUTPUT
@MASK
@LIMIT
@ZSTD
@MOUNT
def start_command(output: str, mask: str, limit: str | None, zstd: bool, mount_path: str) -> None:
    """Record a live mount to a directory, until `stop`.

    MNT is any path in it. The recording can be read while it is made.
    """
    with LiveTrace(mount_path) as trace:
        trace.start(os.path.abspath(output), mask, limit, zstd)
        click.echo(
            f"recording {trace.mount_point} to {output};"
            f" 'k42fs trace stop {shlex.quote(trace.mount_point)}' ends it"
        )


@click.command("stop")
@MOUNT
def stop_command(mount_path: str) -> None:
    """End what a live mount records, and say how to read it.

    What the flight recorder holds can be dumped afterwards, too.
    """
    with LiveTrace(mount_path) as trace:
        before = trace.status()
        trace.stop()
        after = trace.status()
        if before["mode"] == "ring":
            click.echo(f"the flight recorder is off; 'k42fs trace dump -o DIR {trace.mount_point}' writes it")
            return
        for line in recorded(after, int(before["mask"], 16), _short(after["path"])):
            click.echo(line)
        if after["failure"]:
            raise K42Error("the recording is not whole")


@click.command("mask")
@click.option("--objects", metavar="WHAT", help='Whose calls: "all", "none", "type DirObject", "ref 0x41".')
@click.argument("mount_path", metavar="MNT")
@click.argument("words", metavar="[MASK]...", nargs=-1)
def mask_command(mount_path: str, words: tuple[str, ...], objects: str | None) -> None:
    """Show or set which classes of events a live mount records.

    MASK is names of classes or presets, or a hex number, or all, none; +NAME adds and (after --) -NAME takes away.
    Without a recording to a directory the flight recorder keeps the last events in memory; `reset` empties it.
    """
    with LiveTrace(mount_path) as trace:
        if objects is not None:
            trace.write("traceObjects", objects.split())
        if words:
            trace.write("traceMask", words)
        click.echo(trace.read("traceMask").rstrip("\n"))


@click.command("dump")
@OUTPUT
@MOUNT
def dump_command(output: str, mount_path: str) -> None:
    """Write what the flight recorder holds to a directory.

    It goes on. Signal USR2 makes the daemon do the same beside its log, and a bug of its own does.
    """
    with LiveTrace(mount_path) as trace:
        trace.write("trace", ["dump", os.path.abspath(output)])
        for line in dumped(trace.status(), output):
            click.echo(line)


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@MOUNT
def status_command(as_json: bool, mount_path: str) -> None:
    """Show what a live mount records, where to, and how much."""
    with LiveTrace(mount_path) as trace:
        status = trace.status()
        if as_json:
            click.echo(json.dumps({**status, **json.loads(trace.read("traceMask.json"))}, indent=2))
            return
        mask = trace.read("traceMask").rstrip("\n")
        if status["mask"] == f"{masks.all_classes():#x}":
            mask = f"{status['mask']} all"
        for line in _standing(status, mask):
            click.echo(line)


def _standing(status: Mapping[str, Any], mask: str) -> list[str]:
    amount = f"{_counted(status['events'], 'event')}, {human_size(status['bytes_written'])}"
    lost = f", {status['discarded']:,} discarded" if status["discarded"] else ""
    lines = []
    if status["mode"] == "directory":
        bound = f" of at most {human_size(status['limit_bytes'])}" if status["limit_bytes"] else ""
        lines.append(f"recording to {status['path']} for {status['seconds']:.1f} s: {amount}{bound}{lost}")
    elif status["mode"] == "ring":
        is_off = "" if int(status["mask"], 16) else " (off)"
        lines.append(f"flight recorder{is_off}: {amount} kept in memory{lost}")
    else:
        lines.append("nothing is being recorded")
        if status["path"]:
            lines.append(f"the last recording: {status['path']}, {amount}{lost}")
    if status["failure"]:
        lines.append(status["failure"])
    if status["dumped"]:
        lines.append(f"last dump: {status['dumped']}")
    lines.append(f"mask: {mask}")
    return lines


def _short(path: str) -> str:
    """Return *path* from the current directory on, if it lies there."""
    try:
        here = Path.cwd()
        return path if here == Path("/") else str(Path(path).relative_to(here))
    except (ValueError, OSError):
        return path
