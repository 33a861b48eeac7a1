"""Experiments: how one is declared, and how all of them are found.

Each module of this package may have a constant `EXPERIMENTS`, a tuple of `Experiment` (or `Unavailable`,
for one that the project cannot run yet). There is no list to keep: `discover` reads the modules. A higher
floor has experiments of its own in a package of its own and passes that package's name.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeVar

from k42fs.machine.validation.checks import Findings

T = TypeVar("T")

HERE: Final = "k42fs.machine.validation"


class Effort(IntEnum):
    """How much an experiment may do. The gates are the same at every effort, only points and repeats differ."""

    QUICK = 0  # all experiments together: under a minute
    NORMAL = 1  # all together: under ten minutes
    SOAK = 2  # by hand, as long as it takes

    def pick(self, quick: T, normal: T, soak: T | None = None) -> T:
        """Return what belongs to this effort; without *soak*, that is as normal."""
        if self is Effort.QUICK:
            return quick
        return normal if self is Effort.NORMAL or soak is None else soak


@dataclass(frozen=True, slots=True)
class Experiment:
    """One experiment of the specification.

    *run* is a function of a module (not a lambda: it goes to a worker process by name), deterministic: same
    effort, same findings. *weight* is about how many seconds it takes at normal effort; the longest start first.
    """

    number: str
    title: str
    run: Callable[[Effort], Findings]
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Unavailable:
    """An experiment that cannot be run yet, and what it waits for. It is listed, and is never a PASS."""

    number: str
    title: str
    reason: str


Entry = Experiment | Unavailable


def order(number: str) -> tuple[int, str]:
    """Return the sort key of an experiment's number: E9 before E10, E6a before E6b."""
    digits = "".join(c for c in number if c.isdigit())
    return int(digits or 0), number


def discover(packages: Iterable[str] = (HERE,)) -> dict[str, Entry]:
    """Return all experiments of *packages*, by number and in that order.

    Raises AssertionError if two share a number.
    """
    found: dict[str, Entry] = {}
    for package in packages:
        for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
            module = importlib.import_module(f"{package}.{info.name}")
            for entry in getattr(module, "EXPERIMENTS", ()):
                assert entry.number not in found, f"two experiments {entry.number}, one in {module.__name__}"
                found[entry.number] = entry
    return {number: found[number] for number in sorted(found, key=order)}
