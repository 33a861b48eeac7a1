"""The commands that show and change a mount's name space."""

from __future__ import annotations

from collections.abc import Sequence

import click


@click.command()
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


@click.command()
@click.option("--nocov", is_flag=True, help="Not coverable: it hides coverable mounts below it.")
@click.option("-m", "--mount", "mount_path", default=".", help="Any path in the mount (default: here).")
@click.argument("old")
@click.argument("new")
def bind(nocov: bool, mount_path: str, old: str, new: str) -> None:
    """Make NEW name what OLD names now. Both are paths in the mount's own name space, such as /src."""
    from k42fs.cli.showing import change_names

    change_names(mount_path, ["bind", old, new, *(["nocov"] if nocov else [])], new)


@click.command()
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


@click.command()
@click.option("-m", "--mount", "mount_path", default=".", help="Any path in the mount (default: here).")
@click.argument("prefix")
def detach(mount_path: str, prefix: str) -> None:
    """Take away the server or bind that is in front at PREFIX."""
    from k42fs.cli.showing import change_names

    change_names(mount_path, ["detach", prefix])
