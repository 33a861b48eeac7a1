"""The command `k42fs`. Commands parse, call, print; what they can do, a script can do through `MNT/.k42/`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import click

from k42fs.cli.machine import machine
from k42fs.cli.trace import trace
from k42fs.errors import K42Error

DEFAULT_MOUNT_POINT: Final = "mnt"
SENTENCE_MAX: Final = 1000
"""Characters of a command's first sentence: click's own limit is what is left of a line."""


class Commands(click.Group):
    """Turns what a command refuses into one line on standard error and a non-zero exit; lists whole sentences."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each command with the first sentence of its help, on more lines where one is too short."""
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        rows = [
            (name, command.get_short_help_str(limit=SENTENCE_MAX))
            for name, command in commands
            if command is not None and not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  click's own signature
        try:
            return super().invoke(ctx)
        except K42Error as exc:
            _fail(str(exc) or os.strerror(exc.errno))
        except TimeoutError as exc:
            _fail(str(exc))
        except OSError as exc:
            _fail(f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc))

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,  # noqa: ANN401  click's own signature
    ) -> Any:  # noqa: ANN401
        """As click's, but what is wrong with the command line is one line, too, and says where help is."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            status = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.exceptions.NoArgsIsHelpError as exc:
            exc.show()
            sys.exit(exc.exit_code)
        except click.UsageError as exc:
            command = exc.ctx.command_path if exc.ctx is not None else "k42fs"
            said = " ".join(exc.format_message().split()).rstrip(".")
            _fail(f"{said}: see '{command} --help'", exc.exit_code)
        except click.ClickException as exc:
            _fail(exc.format_message(), exc.exit_code)
        except click.Abort:
            sys.exit(130)
        sys.exit(status if isinstance(status, int) else 0)


def _fail(reason: str, status: int = 1) -> NoReturn:
    click.echo(f"k42fs: {reason}", err=True)
    sys.exit(status)


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
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.argument("path", metavar="[PATH]", default=".")
def objects(as_json: bool, path: str) -> None:
    """Show the live clustered objects of the mount that holds PATH; for a file or directory in it, its own object.

    PATH is the current directory unless given. In the mount's root that shows all objects by type; in a
    directory below it, that directory's own object; outside of any k42fs, those of a mount on ./mnt, if there is
    one. All objects from anywhere: name the mount point.
    """
    from k42fs.cli.showing import show_objects

    show_objects(path, as_json)


@cli.command()
@click.option(
    "-m", "--mount", "mount_path", default=".", metavar="PATH", help="Any path in the mount, for a TYPE."
)
@click.option("--wait", "waits", is_flag=True, help="Return when the new implementation serves.")
@click.argument("what", metavar="PATH|TYPE")
@click.argument("implementation", metavar="IMPLEMENTATION")
def swap(mount_path: str, waits: bool, what: str, implementation: str) -> None:
    """Let another implementation serve a file or directory, or all objects of a type, while they are in use.

    PATH is a file or directory in a mount, TYPE such as DirObject or ServerFile; '.k42/swap' lists the types of a
    mount with their implementations. Nothing that is open is disturbed. Objects that are made later get what the
    mount's policy says: see '.k42/policy'.
    """
    from k42fs.cli.swapping import swap_objects

    swap_objects(what, implementation, mount_path, waits)


@cli.command()
@click.option("-m", "--mount", "mount_path", default=".", metavar="PATH", help="Any path in the mount.")
@click.argument("kind", metavar="TYPE")
@click.argument("module", metavar="MODULE.py")
def update(mount_path: str, kind: str, module: str) -> None:
    """Replace the code of all objects of a TYPE, such as ServerFile, by MODULE.py's, while they are in use.

    The module is run by the mount's daemon, and holds a REPLACEMENT of the type's next version; see
    'docs/examples/update_server_file.py'. If it does not fit, nothing changes. Objects made from now on are the
    module's too. 'k42fs conform MODULE.py' tests one before.
    """
    from k42fs.cli.updating import update_objects

    update_objects(kind, module, mount_path)


@cli.command()
@click.argument("module")
def conform(module: str) -> None:
    """Check an implementation of your own before a mount gets it: against a model, under load, while swapped.

    MODULE is a Python file with a REPLACEMENT, as for 'k42fs update'; it is run. The checks are deterministic and
    take some seconds. Status 1 if one fails.
    """
    from pathlib import Path

    from k42fs.cli.conforming import conform as run

    if not run(Path(module)):
        raise click.exceptions.Exit(1)


@cli.group()
def interpose() -> None:
    """Put arbiters before objects in use: count or measure their calls, delay them, let them fail."""


@interpose.command(name="show")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.argument("path", metavar="[PATH]", default=".")
def interpose_show(as_json: bool, path: str) -> None:
    """Show the arbiters of the mount that holds PATH, and what they have found out."""
    from k42fs.cli.showing import show_control

    show_control(path, "interpose", as_json)


@interpose.command(name="attach")
@click.option("-m", "--mount", "mount_path", default=".", metavar="PATH", help="Any path in the mount.")
@click.option("--to", "wanted", required=True, metavar="WHAT", help="all, a TYPE, a REF, or a PATH.")
@click.argument("arbiter", nargs=-1, required=True, metavar="ARBITER")
def interpose_attach(mount_path: str, wanted: str, arbiter: tuple[str, ...]) -> None:
    """Put an arbiter before one object, all of a type, or all there are and will be.

    ARBITER is one of:

    \b
      count                           count calls, by method and processor
      latency                         count them by the cycles they took
      delay CYCLES [ODDS] [METHOD..]  let calls wait: provokes races
      fault ERRNO [ODDS] [METHOD..]   answer calls with an error, such as ENOSPC

    \b
    k42fs interpose attach --to DirObject -m mnt count
    k42fs interpose attach --to mnt/file fault ENOSPC 0.1 write
    """
    from k42fs.cli.interposing import attach

    attach(mount_path, arbiter, wanted)


@interpose.command(name="release")
@click.option("-m", "--mount", "mount_path", default=".", metavar="PATH", help="Any path in the mount.")
@click.argument("which", metavar="NUMBER|all")
def interpose_release(mount_path: str, which: str) -> None:
    """Take an arbiter away, or all: of those before one object the last one first."""
    from k42fs.cli.interposing import release

    release(mount_path, which)


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
@click.option(
    "-r", "--resolve", "resolved", multiple=True, metavar="NAME", help="Show where NAME leads; see below."
)
@click.option("--no-follow", is_flag=True, help="With --resolve: do not follow a link that NAME ends in.")
@click.argument("path", metavar="[PATH]", default=".")
def ns(as_json: bool, resolved: Sequence[str], no_follow: bool, path: str) -> None:
    """Show the name space of the mount that holds PATH: servers, prefixes, binds, what is hidden by what.

    With --resolve, show instead how K42 finds the file called NAME, an absolute path in the mount's own name
    space: the prefix that matched, its server and what is left for the server to walk, the links followed, and
    the file with its object. Repeated, all NAMEs are asked of one client, which knows the links it has met.
    """
    if resolved:
        from k42fs.cli.resolving import show_resolutions

        show_resolutions(path, resolved, as_json, no_follow)
        return
    if no_follow:
        raise click.UsageError("--no-follow says how to --resolve a NAME: give one")
    from k42fs.cli.showing import show_control

    show_control(path, "mounts", as_json)


@cli.command()
@click.option("--nocov", is_flag=True, help="Not coverable: it hides coverable mounts below it.")
@click.option("-m", "--mount", "mount_path", default=".", help="Any path in the mount (default: here).")
@click.argument("old")
@click.argument("new")
def bind(nocov: bool, mount_path: str, old: str, new: str) -> None:
    """Make NEW name what OLD names now. Both are paths in the mount's own name space, such as /src."""
    from k42fs.cli.showing import change_names

    change_names(mount_path, ["bind", old, new, *(["nocov"] if nocov else [])], new)


@cli.command()
@click.option(
    "--cov/--nocov",
    "is_coverable",
    default=False,
    help="Whether mounts below PREFIX that are coverable, binds as a rule, stay visible (--cov) or are hidden by"
    " it (--nocov, the default).",
)
@click.option("--size", help="Room for data: k, m, g, t (default: the root server's).")
@click.option("-m", "--mount", "mount_path", default=".", help="Any path in the mount (default: here).")
@click.argument("server")
@click.argument("prefix")
def attach(is_coverable: bool, size: str | None, mount_path: str, server: str, prefix: str) -> None:
    """Start a new SERVER (ramfs) and mount it at PREFIX, a path in the mount's own name space.

    At a PREFIX in use it stacks: the new server is in front until it is detached.
    """
    from k42fs.cli.showing import change_names

    options = [f"size={size}"] if size else []
    change_names(mount_path, ["attach", server, prefix, *options, "cov" if is_coverable else "nocov"], prefix)


@cli.command()
@click.option("-m", "--mount", "mount_path", default=".", help="Any path in the mount (default: here).")
@click.argument("prefix")
def detach(mount_path: str, prefix: str) -> None:
    """Take away the server or bind that is in front at PREFIX."""
    from k42fs.cli.showing import change_names

    change_names(mount_path, ["detach", prefix])


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


cli.add_command(machine)
cli.add_command(trace)


def main() -> None:
    """Run the command line."""
    cli(prog_name="k42fs")


if __name__ == "__main__":
    main()
