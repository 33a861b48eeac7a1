"""The trail of one resolution: what was done, step by step, to find where a path leads. Pure data.

Whoever resolves makes a `Trail` and still has it after a failure: it ends with the step that was taken last.
"""

from __future__ import annotations

from dataclasses import dataclass

from k42fs.servers.mount_table import Components, Found
from k42fs.servers.pathname import PathName


@dataclass(frozen=True, slots=True)
class PrefixStep:
    """The client's table gave *path* to the mount in *found*, which the components `found.rest` are left to."""

    path: PathName
    found: Found

    @property
    def prefix(self) -> Components:
        """The part of the path that the mount answers for; it lies `found.entry.rel_path` inside the server."""
        return self.path.components[: len(self.path) - len(self.found.rest)]


@dataclass(frozen=True, slots=True)
class WalkStep:
    """The server was walked as far as *path*: to the end, to a link, or to the last place that exists."""

    path: PathName


@dataclass(frozen=True, slots=True)
class LinkStep:
    """The link at *path* was replaced by its *target*, which makes *result* the path to go on with.

    `is_known`: the client had the target in its cache, and no server was asked.
    """

    path: PathName
    target: bytes
    is_known: bool
    result: PathName


Step = PrefixStep | WalkStep | LinkStep


class Trail:
    """The steps so far, the first one first, and how many of them followed links."""

    __slots__ = ("links", "steps")

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.links = 0

    def add(self, step: Step) -> None:
        """Take down what was done just now."""
        self.steps.append(step)
        self.links += isinstance(step, LinkStep)


__all__ = ["LinkStep", "PrefixStep", "Step", "Trail", "WalkStep"]
