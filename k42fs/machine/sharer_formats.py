"""Sharer formats: what a home's entry makes of the set of sharers.

The model always knows the exact set. A real entry has `sharer_bits`, and a home that writes down less must
invalidate more. A format says whom, from the exact set (as far as the home was told of evictions); the
difference is charged and counted, and changes nothing else.

    full      a bit per processor: exactly those
    coarse    a bit per group of neighbours: everybody in a group with a sharer
    limited   a few pointers: exactly those while they suffice, else everybody

An entry with pointers is taken to recover from overflow as soon as few enough sharers are left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k42fs.machine.config import MachineConfig

SharerFormat = Callable[[int], int]
"""From a set of processors, a bit each, to the set that the home takes for it."""


def sharer_format(config: MachineConfig) -> SharerFormat:
    """Return the format of *config*'s directory entries."""
    everybody = (1 << config.processors) - 1
    if config.sharer_format == "coarse" and config.sharer_group > 1:
        return lambda sharers: _groups(sharers, config.sharer_group) & everybody
    if config.sharer_format == "limited":
        pointers = config.sharer_pointers
        return lambda sharers: sharers if sharers.bit_count() <= pointers else everybody
    return lambda sharers: sharers


def _groups(sharers: int, size: int) -> int:
    """Return all processors in a group of *size* that has one of *sharers*."""
    full, marked, first = (1 << size) - 1, 0, 0
    while sharers >> first:
        if sharers >> first & full:
            marked |= full << first
        first += size
    return marked
