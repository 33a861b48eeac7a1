"""Protocols with one thing left out, made from the tables: what the explorer must not let pass.

One mutant for each invalidation, demotion and write-back that a cache does, for each dirty copy that it
supplies on a bus, and for each question that a home asks and each time it lets memory supply.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from k42fs.machine.protocol import DIRTY, INVALID, REQUEST_NAMES, STATE_NAMES, Protocol, Snoop

if TYPE_CHECKING:
    from k42fs.machine.line_model import Interconnect


def mutants(protocol: Protocol, interconnect: Interconnect) -> Iterator[tuple[str, Protocol]]:
    """Yield each mutant of *protocol* that matters over *interconnect*, with the name of what it leaves out."""
    yield from _of_snoops(protocol, interconnect)
    for state in sorted(protocol.evict_writes):
        writes = protocol.evict_writes - {state}
        yield f"write-back of {STATE_NAMES[state]} on eviction", replace(protocol, evict_writes=writes)
    if interconnect == "directory":
        yield from _of_homes(protocol)


def _of_snoops(protocol: Protocol, interconnect: Interconnect) -> Iterator[tuple[str, Protocol]]:
    for (state, request), row in protocol.snoop.items():
        where = f"of {STATE_NAMES[state]} on {REQUEST_NAMES[request]}"
        without: list[tuple[str, Snoop]] = []
        if row.next != state:
            what = "invalidation" if row.next == INVALID else "demotion"
            without.append((what, row._replace(next=state)))
        if row.writes_memory:
            without.append(("write-back", row._replace(writes_memory=False)))
        # Data that memory has too, or gets now, it can supply: that is slower but not wrong.
        if row.supplies and not row.writes_memory and interconnect == "bus" and state in DIRTY:
            without.append(("supply", row._replace(supplies=False)))
        for what, changed in without:
            yield f"{what} {where}", replace(protocol, snoop={**protocol.snoop, (state, request): changed})


def _of_homes(protocol: Protocol) -> Iterator[tuple[str, Protocol]]:
    for (state, request), row in protocol.home.items():
        where = f"in {state.name} on {REQUEST_NAMES[request]}"
        for what, does, without in (
            ("asking the owner", row.asks_owner, row._replace(asks_owner=False)),
            ("asking the sharers", row.asks_sharers, row._replace(asks_sharers=False)),
            ("memory's supply", row.from_memory, row._replace(from_memory=False)),
        ):
            if does:
                yield f"{what} {where}", replace(protocol, home={**protocol.home, (state, request): without})
