"""`k42fs trace pack` and `unpack`: a recording compressed where it lies, and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from k42fs.cli.showing import human_size
from k42fs.cli.trace_reading import RECORDING
from k42fs.errors import K42Error


@click.command("pack")
@RECORDING
def pack_command(recording: str) -> None:
    """Compress a recording with zstd, where it lies.

    All commands here read it as it is. With --zstd `run` and `start` write it so from the start.
    """
    from k42fs.report.packing import pack

    _change(recording, pack, "compressed")


@click.command("unpack")
@RECORDING
def unpack_command(recording: str) -> None:
    """Make a recording plain again, where it lies: for babeltrace2 and other readers of CTF.

    If a file of it is damaged nothing changes, and the status is 1: `k42fs trace fsck --repair` makes a plain copy of
    what is left.
    """
    from k42fs.report.packing import unpack

    _change(recording, unpack, "decompressed")


def _change(recording: str, change: Callable[[Path], list[Path]], what: str) -> None:
    directory = Path(recording)
    try:
        before = _kept(directory)
        made = change(directory)
        after = _kept(directory)
    except OSError as exc:
        raise K42Error(f"{exc.filename or recording}: {exc.strerror or exc}") from None
    if not made:
        click.echo(f"{recording} is {what} already")
        return
    click.echo(f"{recording}: {what}, {human_size(after)} instead of {human_size(before)} on disk")


def _kept(directory: Path) -> int:
    """Return how many bytes of the disk the files of *directory* take."""
    return 512 * sum(each.stat().st_blocks for each in directory.iterdir() if each.is_file())
