"""The commands that show the objects of a mount, replace them and put arbiters before them."""

from __future__ import annotations

import click


@click.command()
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


@click.command()
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


@click.command()
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


@click.command()
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


@click.group()
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
