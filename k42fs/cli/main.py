"""The command `k42fs`. Commands parse, call, print; what they can do, a script can do through `MNT/.k42/`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from k42fs.cli.commands import Commands
from k42fs.cli.machine import machine
from k42fs.cli.name_commands import attach, bind, detach, ns
from k42fs.cli.object_commands import conform, interpose, objects, swap, update
from k42fs.cli.trace import trace

DEFAULT_MOUNT_POINT: Final = "mnt"


def _show_version(ctx: click.Context, _option: click.Parameter, is_asked: bool) -> None:
    if is_asked:
        from k42fs.machine.cores import core_name
        from k42fs.version import version

        click.echo(f"k42fs, version {version()}, {core_name()} core")
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the version, and which coherence core machines run on.",
)
def cli() -> None:
    """K42's file and name servers as a file system, on a modelled multiprocessor.

    Mount it, work in it with ordinary tools, and see what that cost the machine:

    \b
        k42fs mount -o processors=8 /tmp/m
        ...
        k42fs stats /tmp/m
        k42fs umount /tmp/m
    """


OPTIONS_HELP = """\b
Options for -o, comma-separated:
  processors=N      modelled processors, 1 to 1024 (8)
  preset=NAME       the modelled machine (dir-1024): 'k42fs presets' lists them,
                    or a machine of your own, FILE.toml
  model=full        charge every reference, lock and clock
       =calls       count calls and locks only
       =off         no model
  size=BYTES        room for data: k, m, g, t or N% of memory (half of it)
  policy=NAME       which implementations objects get: k42 (the default),
                    linux-like, or a set of your own, FILE.toml
  adapt=act         swap objects that contend; =advise only says what it would,
       =off         does nothing (the default); adapt_rules=FILE.toml: own rules
  seed=N            seed of the model's tie-breaks (0)
  acl               enforce POSIX ACLs
  noatime           never update access times (default: as relatime)
  nonempty          mount over a directory that is not empty
  log=FILE          the daemon's log; log_level=debug|info|warning|error
  allow_other ro rw dev nodev suid nosuid exec noexec sync dirsync
                    as in mount(8)
"""


@cli.command(epilog=OPTIONS_HELP)
@click.option("-o", "options", multiple=True, metavar="OPTIONS", help="Mount options; see below.")
@click.option("-f", "--foreground", is_flag=True, help="Stay in the foreground; Ctrl-C unmounts.")
@click.argument("mount_point", metavar="[MNT]", default=DEFAULT_MOUNT_POINT)
def mount(options: Sequence[str], foreground: bool, mount_point: str) -> None:
    """Mount k42fs on MNT (default: mnt). Returns when it answers."""
    from k42fs.cli.mounting import mount as do_mount

    do_mount(list(options), mount_point, foreground)


@cli.command()
@click.option("-z", "--lazy", is_flag=True, help="Detach now, clean up when nobody uses it any more.")
@click.argument("mount_point", metavar="[MNT]", default=DEFAULT_MOUNT_POINT)
def umount(lazy: bool, mount_point: str) -> None:
    """Unmount MNT (default: mnt), also after its daemon has died, and wait for the daemon's end."""
    from k42fs.cli.mounting import umount as do_umount

    do_umount(mount_point, lazy)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> None:
    """List the k42fs mounts, and whether their daemons answer."""
    from k42fs.cli.showing import show_status

    show_status(as_json)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--reset", is_flag=True, help="Set all counters to zero, after printing them.")
@click.argument("path", metavar="[PATH]", default=".")
def stats(as_json: bool, reset: bool, path: str) -> None:
    """Show what the modelled machine saw of the mount that holds PATH.

    Per processor: calls, cycles, utilisation, misses by kind. Then the ten hottest locks and the ten
    hottest cache lines, with object and field. Tables fit the terminal; --json has every figure. What is asked
    of .k42 itself is not counted.

    util is the busy share of the time since the reset, up to the furthest processor's clock. So the furthest one
    is at 100 % by definition if it was never idle; compare the others with it.

    References that "came too late in virtual time" were not queued exactly: they came from before what a line, a
    lock or a memory home remembers, and did not wait. A few per cent do no harm; from about 5 % on, waits and
    contention are shorter here than they would be: use fewer callers at once, or a deterministic run.
    """
    from k42fs.cli.showing import show_stats

    show_stats(path, as_json, reset)


@cli.command()
@click.option(
    "-i",
    "--interval",
    "seconds",
    type=click.FloatRange(0.05, 3600),
    default=1.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option("-n", "--iterations", type=click.IntRange(1), metavar="N", help="Print N times, then end.")
@click.option("--once", is_flag=True, help="The same as --iterations 1.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each interval, a line each.")
@click.argument("path", metavar="[PATH]", default=".")
def top(seconds: float, iterations: int | None, once: bool, as_json: bool, path: str) -> None:
    """Show live what the mount that holds PATH is doing, and what is hot in it.

    Processors with their share of busy time; then the objects, locks and cache lines that were fought over most since
    the last look, and requests per second. Press ? for the keys. Looking is not counted as requests, and costs the
    mount nothing between two looks.

    Without a terminal, or with --once, --iterations or --json, it prints, each time for the interval that has just
    passed.
    """
    from k42fs.cli.top import run

    run(path, seconds, 1 if once else iterations, as_json)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def presets(as_json: bool) -> None:
    """List the modelled machines that preset= can name: the same as `k42fs machine presets`."""
    from k42fs.cli.machine_show import list_presets

    list_presets(as_json)


@cli.command("install-helper")
@click.option("--remove", is_flag=True, help="Remove it again.")
def install_helper(remove: bool) -> None:
    """Let `mount -t fuse.k42fs none MNT -o ...` work: put a helper beside mount(8)'s others. Needs root."""
    from k42fs.cli.mount_helper import install, uninstall

    click.echo(uninstall() if remove else install())


@cli.command(
    "mount-helper", hidden=True, context_settings={"ignore_unknown_options": True, "help_option_names": []}
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def mount_helper(words: Sequence[str]) -> None:
    """What mount(8) runs: SOURCE MNT [-sfnvr] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]."""
    from k42fs.cli.mount_helper import run

    run(list(words))


for command in (objects, swap, update, conform, interpose, ns, bind, attach, detach, machine, trace):
    cli.add_command(command)


def main() -> None:
    """Run the command line."""
    cli(prog_name="k42fs")


if __name__ == "__main__":
    main()
