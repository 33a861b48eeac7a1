"""The rules as K42's notes word them, walked anew for every lookup: what trees and clients are compared with."""

from __future__ import annotations

import stat
from typing import Any

from k42fs.errors import K42Error, NameNotFoundError, NotDirectoryError, SymlinkLoopError
from k42fs.servers.mount_client import LINKS_MAX
from k42fs.servers.mount_table import Components, MountEntry
from tests.servers.names.town import Town, TreeDir, TreeFile

WINNER = {("C", "C"): "lower", ("C", "N"): "lower", ("N", "N"): "lower", ("N", "C"): "upper"}
"""The truth table: (upper, lower) -> who answers."""

Mounts = dict[Components, list[MountEntry]]
"""What is mounted at each path, the newest last."""


def kind(entry: MountEntry) -> str:
    return "C" if entry.is_coverable else "N"


def expected(mounts: Mounts, path: Components) -> tuple[MountEntry, Components] | None:
    """Return the mount for *path* and what is left of it, or None."""
    best: tuple[MountEntry, Components] | None = None
    for depth in range(len(path) + 1):
        stack = mounts.get(path[:depth])
        if stack and (best is None or WINNER[kind(best[0]), kind(stack[-1])] == "lower"):
            best = stack[-1], path[depth:]
    return best


def follow_by_name(town: Town, path: Components, follows_last: bool) -> tuple[Any, ...]:
    """Go down *path* name by name, as a kernel does: (server, file, path without links), or (error class,).

    For paths and link targets without "..". The file of a directory that exists for mounts only is None.
    """
    mounts = {where: list(stack) for where, stack in town.mgr.snapshot.mounts.items()}
    try:
        return _follow(town, mounts, path, follows_last)
    except K42Error as exc:
        return (type(exc),)


def _follow(town: Town, mounts: Mounts, path: Components, follows_last: bool) -> tuple[Any, ...]:
    here: Components = ()
    todo, links = list(path), 0
    file = _child(town, mounts, None, here)
    while todo:
        name = todo.pop(0)
        child = _child(town, mounts, file, (*here, name))
        if isinstance(child, TreeFile) and stat.S_ISLNK(child.mode) and (todo or follows_last):
            links += 1
            if links > LINKS_MAX:
                raise SymlinkLoopError
            todo[:0] = [word for word in child.target.split(b"/") if word not in (b"", b".")]
            if child.target.startswith(b"/"):
                here, file = (), _child(town, mounts, None, ())
        else:
            here, file = (*here, name), child
    covering = expected(mounts, here)
    if covering is None:
        raise NameNotFoundError
    return covering[0].server, file, here


def _child(town: Town, mounts: Mounts, above: TreeFile | None, path: Components) -> TreeFile | None:
    """The file at *path*, whose directory is *above*; None where only mounts further down make a directory."""
    visible = {where for where in mounts if (best := expected(mounts, where)) is not None and not best[1]}
    if path in visible:
        return town.servers[mounts[path][-1].server].top
    is_on_tree = not path or any(where[: len(path)] == path for where in visible)
    if isinstance(above, TreeDir):
        child = above.entries.get(path[-1])
        if child is not None and (child.is_dir or not is_on_tree):
            return child
    elif above is not None and not is_on_tree:
        raise NotDirectoryError
    if not is_on_tree:
        raise NameNotFoundError
    return None
