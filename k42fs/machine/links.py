"""Links: the wires between nodes, as resources that messages queue for.

A message takes the dimension-order way: in a hypercube lowest differing bit first, in groups to the right
place within its own group first. Each directed link is occupied for `link_cycles` per message. Reserved are
the messages that a requester waits for: to the home, from there to the owner if it supplies, and back.
Invalidations and their acknowledgements travel free; what they cost is the home's issue time.

A message reaches the n-th link of the request after n hops; the links of the way back are counted from the
nominal end, so that all time at home and owner is spent before the last legs. Links come second, after line
and home: they are reserved in the order of processing with the times of the transactions, first fit.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from k42fs.machine.history import SecondStage
from k42fs.machine.interconnect import HOME_HISTORY_FACTOR

if TYPE_CHECKING:
    from k42fs.machine.config import MachineConfig

LINK_SHIFT: Final = 16
"""A directed link is named by its ends: from << LINK_SHIFT | to."""


def way(config: MachineConfig, a: int, b: int) -> tuple[int, ...]:
    """Return the directed links from node *a* to node *b*, in order."""
    if a == b or config.topology == "bus":
        return ()
    if config.topology == "hypercube":
        stops, differ = [a], a ^ b
        while differ:
            lowest = differ & -differ
            differ ^= lowest
            stops.append(stops[-1] ^ lowest)
    elif config.topology == "groups":
        # By way of the node that stands in a's group where b stands in its own, be there one or not.
        size = config.nodes_per_group
        between = a // size * size + b % size
        stops = [a, b] if between in (a, b) else [a, between, b]
    else:
        stops = [a, b]
    return tuple(one << LINK_SHIFT | other for one, other in pairwise(stops))


class Links:
    """All directed links of a machine; they appear when first used."""

    def __init__(self, config: MachineConfig) -> None:
        self._config = config
        self._ways: dict[tuple[int, int], tuple[int, ...]] = {}
        self._stages: dict[int, SecondStage] = {}

    @property
    def late(self) -> int:
        return sum(stage.queue.late for stage in self._stages.values())

    @property
    def slips(self) -> int:
        return sum(stage.slips for stage in self._stages.values())

    def end(self, node: int, home: int, third: int, start: int, latency: int) -> int:
        """Reserve the links of a transaction from *start*, which takes *latency* if all are free; return its
        end."""
        hop = self._config.hop_cycles
        there = self._way(node, home)
        back = self._way(home, third) + self._way(third, node)
        at = self._follow(there, start, start)
        delay = at - start - hop * len(there)
        at = max(start, start + latency - hop * len(back) + delay)
        return self._follow(back, start, at)

    def check(self) -> None:
        for stage in self._stages.values():
            stage.queue.check()

    def _follow(self, links: tuple[int, ...], start: int, at: int) -> int:
        """Send a message over *links* from *at* on; return when it arrives."""
        config = self._config
        for link in links:
            stage = self._stages.get(link)
            if stage is None:
                stage = self._stages[link] = SecondStage(HOME_HISTORY_FACTOR * config.history)
            at = stage.reserve(start, at, config.link_cycles) + config.hop_cycles
        return at

    def _way(self, a: int, b: int) -> tuple[int, ...]:
        links = self._ways.get((a, b))
        if links is None:
            links = self._ways[a, b] = way(self._config, a, b)
        return links
