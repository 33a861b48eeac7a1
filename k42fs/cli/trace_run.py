"""`k42fs trace run`: a command, and a recording of what it does on a live mount."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

import click

from k42fs.cli.mounts import enclosing_k42fs
from k42fs.cli.trace_live import LIMIT, MASK, OUTPUT, ZSTD, LiveTrace, recorded
from k42fs.errors import InvalidArgumentError, K42Error, NameExistsError
from k42fs.machine.tracing import mask as masks

NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
KILLED: Final = 128
"""What a shell exits with; of a signal, with that more."""

GRACE_SECONDS: Final = 0.5
"""How long a command may take to end after Ctrl-C while it is still recorded."""


class Ended(Exception):
    """A signal tells this command to end."""


@click.command("run", context_settings={"allow_interspersed_args": False})
@click.option("--mount", "mount_path", metavar="MNT", help="Any path in the mount (default: here).")
@OUTPUT
@MASK
@LIMIT
@ZSTD
@click.argument("command", metavar="-- CMD...", nargs=-1, required=True, type=click.UNPROCESSED)
def run_command(
    mount_path: str | None, output: str, mask: str, limit: str | None, zstd: bool, command: tuple[str, ...]
) -> None:
    """Run CMD, and record what a live mount does meanwhile.

    \b
        cd /tmp/m/work && k42fs trace run -o t -- make -j8

    The exit status is CMD's; it is 1 if CMD succeeded and the recording did not. Ctrl-C ends the recording with CMD. A
    DIR in the mount itself is written after CMD has ended: until then the recording is in a temporary directory.
    """
    _check_command(command[0])
    wanted = masks.parse(mask)
    if not wanted:
        raise InvalidArgumentError("with the mask 0 nothing would be recorded")
    if mount_path is None and enclosing_k42fs(".") is None:
        raise InvalidArgumentError(
            "the current directory is in no k42fs mount: cd into one, or name one with --mount MNT"
        )
    _check_output(output)
    with LiveTrace(mount_path or ".", "name one with --mount MNT") as trace, _place(output) as directory:
        trace.start(directory, mask, limit, zstd)
        try:
            status = _run(trace, command)
        except BaseException:
            _end_early(trace)
            raise
        # An impatient Ctrl-C must not leave a recording that nobody ends.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        lines, is_whole = _stop(trace, wanted, output)
    for line in lines:
        click.echo(f"k42fs: {line}", err=True)
    sys.exit(status or int(not is_whole))


def _check_command(name: str) -> None:
    """End like a shell if there is no such program, before anything is recorded."""
    if shutil.which(name) is None:
        exists = "/" in name and os.path.exists(name)
        click.echo(f"k42fs: {name}: {'cannot be executed' if exists else 'command not found'}", err=True)
        sys.exit(NOT_EXECUTABLE if exists else NOT_FOUND)


def _check_output(output: str) -> None:
    if os.path.lexists(output) and (not os.path.isdir(output) or os.listdir(output)):
        what = "is not empty" if os.path.isdir(output) else "is there, and no directory"
        raise NameExistsError(f"{output} {what}: name a new directory")


@contextmanager
def _place(output: str) -> Iterator[str]:
    """Provide the directory to record to: *output*, or a temporary one, if that lies in a k42fs; then copied there."""
    if enclosing_k42fs(output) is None:
        yield os.path.abspath(output)
        return
    temporary = tempfile.mkdtemp(prefix="k42fs-trace-")
    try:
        yield temporary
        try:
            shutil.copytree(temporary, output, dirs_exist_ok=True)
        except OSError as exc:  # the mount is full, or has died: what was recorded must not go with it
            reason = exc.strerror or "not all of it could be written"
            kept, temporary = temporary, ""
            shutil.rmtree(output, ignore_errors=True)
            raise K42Error(f"{output}: {reason}; the recording is in {kept}") from None
    finally:
        if temporary:
            shutil.rmtree(temporary)


def _run(trace: LiveTrace, command: Sequence[str]) -> int:
    """Run *command* to its end; return what a shell would exit with."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise Ended(number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        try:
            process = subprocess.Popen(command)
        except OSError as exc:
            click.echo(f"k42fs: {command[0]}: {exc.strerror}", err=True)
            return NOT_EXECUTABLE
        try:
            status = process.wait()
        except KeyboardInterrupt:  # from a terminal CMD has got it, too
            status = _wait_on(trace, process)
        except Ended as exc:
            process.send_signal(exc.args[0])
            status = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return status if status >= 0 else KILLED - status


def _end_early(trace: LiveTrace) -> None:
    with suppress(K42Error, OSError, TimeoutError):  # it is said at the end
        trace.stop()


def _wait_on(trace: LiveTrace, process: subprocess.Popen[bytes]) -> int:
    """Wait for a command that was interrupted: the recording ends soon, the command at the second Ctrl-C."""
    try:
        try:
            return process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            _end_early(trace)
            click.echo("k42fs: the recording has ended, the command has not yet", err=True)
            return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        return process.wait()


def _stop(trace: LiveTrace, mask: int, output: str) -> tuple[list[str], bool]:
    """End the recording; return what is to be said of it, and whether it is whole."""
    try:
        if trace.status()["mode"] == "directory":
            trace.stop()
        status = trace.status()
    except (K42Error, OSError, TimeoutError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        return [f"{trace.mount_point}: {reason}; what was recorded until then is in {output}"], False
    return recorded(status, mask, output), not status["failure"]
