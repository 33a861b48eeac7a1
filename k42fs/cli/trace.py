"""The command group `k42fs trace`: recordings, the reports that read them, their pictures.

The commands live in modules of their own, each imported when one of its commands is asked for: a listing need
not load what draws pictures. Such a module holds one click command per name given here, called as the command
with `_` for `-`, with the suffix `_command`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

import click

MODULES: Final[dict[str, tuple[str, ...]]] = {
    "k42fs.cli.trace_live": ("start", "stop", "mask", "dump", "status"),
    "k42fs.cli.trace_run": ("run",),
    "k42fs.cli.trace_objects": ("objects",),
    "k42fs.cli.trace_reports": (
        "list",
        "calls",
        "time",
        "locks",
        "c2c",
        "requests",
        "sharing",
        "swaps",
        "generations",
        "diff",
    ),
    "k42fs.cli.trace_fsck": ("fsck",),
    "k42fs.cli.trace_packing": ("pack", "unpack"),
    "k42fs.cli.trace_pictures": ("kmon", "export", "parse"),
}
"""Where each command is: module -> the names of its commands."""

COMMANDS: Final = {name: module for module, names in MODULES.items() for name in names}


class TraceGroup(click.Group):
    """A group whose commands are imported only when asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module = import_module(COMMANDS[cmd_name])
        found: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        return found


@click.group(cls=TraceGroup)
def trace() -> None:
    """Record everything that a mount does, and read the recordings.

    `run` records what a command does, `start` and `stop` whatever happens in between; the other commands say
    something about a recording:

    \b
        cd /tmp/m/work && k42fs trace run -o t -- make -j8
        k42fs trace calls -c t
        k42fs trace locks t

    A recording is a directory: a file per modelled processor in the Common Trace Format, which babeltrace2
    reads too. If it was recorded with --zstd, `unpack` first.
    """
