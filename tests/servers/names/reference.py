"""The rule as K42's notes word it, walked anew for every lookup: what compiled trees are compared with."""

from __future__ import annotations

from k42fs.servers.mount_table import Components, MountEntry

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
