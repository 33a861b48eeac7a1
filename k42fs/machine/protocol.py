"""Coherence protocols as tables: MSI, MESI and MOESI, on a snooping bus and with a directory.

Everything that depends on a protocol looks it up here: both cores, the explorer and the diagrams of the
documentation. A pair that is not in a table is impossible, and meeting one is our bug.

A processor's operation on its copy (`Protocol.processor`) may need a request. On a bus every other cache
sees the request; with a directory the home asks those that `Protocol.home` names. What a cache that has a
copy then does is `Protocol.snoop` in both cases, except for who supplies the data: on a bus the cache whose
row says so, else memory; with a directory memory where `Home.from_memory` says so, else the owner, be its
copy clean or not (the home cannot tell, for E becomes M without a word). An UPGRADE moves no data.

Rules: the tables of directory and snooping protocols in Sorin, Hill, Wood, "A Primer on Memory Consistency
and Cache Coherence". Transactions are atomic per line, so there are no transient states.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final, NamedTuple

from k42fs.machine.layout import READ, WRITE

INVALID, SHARED, OWNED, EXCLUSIVE, MODIFIED, TRACKED = range(6)
"""States of a copy, ordered so that it may be read from SHARED on and written from EXCLUSIVE on.

TRACKED is no protocol state: the cores call a MODIFIED copy so if its line has been in several caches. Look
it up as MODIFIED (`protocol_state`).
"""

STATE_NAMES: Final = ("I", "S", "O", "E", "M", "M")

DIRTY: Final = frozenset((OWNED, MODIFIED, TRACKED))
"""States in which the copy is newer than memory."""

GET_S, GET_M, UPGRADE = range(3)
"""Requests: a copy to read, a copy to write, the right to write a copy one has."""

REQUEST_NAMES: Final = ("GetS", "GetM", "Upg")

EVICT: Final = 3
"""The operation besides READ and WRITE: make room. A read-modify-write is a WRITE here."""


class DirState(IntEnum):
    """What the home knows of a line."""

    U = 0  # uncached
    S = 1  # a set of sharers
    X = 2  # one owner, EXCLUSIVE or MODIFIED
    O = 3  # one owner, OWNED, and a set of sharers that may be empty  # noqa: E741  (the field's name for it)


class Step(NamedTuple):
    """What a processor's operation asks for, and the state of its copy afterwards."""

    request: int | None
    alone: int  # if no other cache has a copy then
    shared: int  # if another has


class Snoop(NamedTuple):
    """What a cache with a copy does about another's request."""

    next: int
    supplies: bool  # on a bus: it sends the data, and memory does not
    writes_memory: bool


class Home(NamedTuple):
    """What the home does about a request. The requester itself is never asked."""

    asks_owner: bool
    asks_sharers: bool
    from_memory: bool
    next: DirState
    next_if_clean: DirState  # the same if the owner's copy was EXCLUSIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """One protocol. See the module for the meaning of its tables.

    processor: (state, READ | WRITE | EVICT) -> Step.
    snoop: (state, request) -> Snoop; no row for INVALID, which has nothing to do.
    evict_writes: states whose eviction writes memory.
    home: (directory state, request) -> Home.
    put: (directory state, state of the copy evicted) -> next directory state; S with no sharer left is U.
    """

    name: str
    processor: Mapping[tuple[int, int], Step]
    snoop: Mapping[tuple[int, int], Snoop]
    evict_writes: frozenset[int]
    home: Mapping[tuple[DirState, int], Home]
    put: Mapping[tuple[DirState, int], DirState]

    @property
    def states(self) -> tuple[int, ...]:
        """The states of its copies, ascending."""
        return tuple(sorted({state for state, _ in self.processor}))


def protocol_state(state: int) -> int:
    """Return *state* as the tables know it."""
    return MODIFIED if state == TRACKED else state


def directory_state(owner_state: int, has_sharers: bool) -> DirState:
    """Return the directory state of a line whose owner's copy is in *owner_state* (INVALID: no owner)."""
    if owner_state == OWNED:
        return DirState.O
    if owner_state:
        assert not has_sharers, f"an owner in {STATE_NAMES[owner_state]} and sharers"
        return DirState.X
    return DirState.S if has_sharers else DirState.U


def with_clean_intervention(protocol: Protocol) -> Protocol:
    """Return *protocol* with EXCLUSIVE copies supplied to readers on a bus, as MOESI does anyway."""
    row = protocol.snoop.get((EXCLUSIVE, GET_S))
    if row is None or row.supplies:
        return protocol
    return replace(protocol, snoop={**protocol.snoop, (EXCLUSIVE, GET_S): row._replace(supplies=True)})


def _processor(first_read: int, extra: Mapping[tuple[int, int], Step]) -> Mapping[tuple[int, int], Step]:
    return {
        (INVALID, READ): Step(GET_S, first_read, SHARED),
        (INVALID, WRITE): Step(GET_M, MODIFIED, MODIFIED),
        (SHARED, READ): Step(None, SHARED, SHARED),
        (SHARED, WRITE): Step(UPGRADE, MODIFIED, MODIFIED),
        (SHARED, EVICT): Step(None, INVALID, INVALID),
        **extra,
        (MODIFIED, READ): Step(None, MODIFIED, MODIFIED),
        (MODIFIED, WRITE): Step(None, MODIFIED, MODIFIED),
        (MODIFIED, EVICT): Step(None, INVALID, INVALID),
    }


_EXCLUSIVE_STEPS: Final = {
    (EXCLUSIVE, READ): Step(None, EXCLUSIVE, EXCLUSIVE),
    (EXCLUSIVE, WRITE): Step(None, MODIFIED, MODIFIED),
    (EXCLUSIVE, EVICT): Step(None, INVALID, INVALID),
}
_OWNED_STEPS: Final = {
    (OWNED, READ): Step(None, OWNED, OWNED),
    (OWNED, WRITE): Step(UPGRADE, MODIFIED, MODIFIED),
    (OWNED, EVICT): Step(None, INVALID, INVALID),
}
_SHARED_SNOOPS: Final = {
    (SHARED, GET_S): Snoop(SHARED, False, False),
    (SHARED, GET_M): Snoop(INVALID, False, False),
    (SHARED, UPGRADE): Snoop(INVALID, False, False),
}
_MODIFIED_SNOOPS: Final = {
    (MODIFIED, GET_S): Snoop(SHARED, True, True),
    (MODIFIED, GET_M): Snoop(INVALID, True, False),
}
_SHARED_HOME: Final = {
    (DirState.U, GET_M): Home(False, False, True, DirState.X, DirState.X),
    (DirState.S, GET_S): Home(False, False, True, DirState.S, DirState.S),
    (DirState.S, GET_M): Home(False, True, True, DirState.X, DirState.X),
    (DirState.S, UPGRADE): Home(False, True, False, DirState.X, DirState.X),
    (DirState.X, GET_S): Home(True, False, False, DirState.S, DirState.S),
    (DirState.X, GET_M): Home(True, False, False, DirState.X, DirState.X),
}
_FIRST_IS_SHARED: Final = {(DirState.U, GET_S): Home(False, False, True, DirState.S, DirState.S)}
_FIRST_IS_EXCLUSIVE: Final = {(DirState.U, GET_S): Home(False, False, True, DirState.X, DirState.X)}
_PUTS: Final = {(DirState.S, SHARED): DirState.S, (DirState.X, MODIFIED): DirState.U}
_PUT_EXCLUSIVE: Final = {(DirState.X, EXCLUSIVE): DirState.U}

MSI: Final = Protocol(
    name="msi",
    processor=_processor(SHARED, {}),
    snoop={**_SHARED_SNOOPS, **_MODIFIED_SNOOPS},
    evict_writes=frozenset((MODIFIED,)),
    home={**_FIRST_IS_SHARED, **_SHARED_HOME},
    put=_PUTS,
)

MESI: Final = Protocol(
    name="mesi",
    processor=_processor(EXCLUSIVE, _EXCLUSIVE_STEPS),
    snoop={
        **_SHARED_SNOOPS,
        (EXCLUSIVE, GET_S): Snoop(SHARED, False, False),
        (EXCLUSIVE, GET_M): Snoop(INVALID, False, False),
        **_MODIFIED_SNOOPS,
    },
    evict_writes=frozenset((MODIFIED,)),
    home={**_FIRST_IS_EXCLUSIVE, **_SHARED_HOME},
    put={**_PUTS, **_PUT_EXCLUSIVE},
)

MOESI: Final = Protocol(
    name="moesi",
    processor=_processor(EXCLUSIVE, {**_OWNED_STEPS, **_EXCLUSIVE_STEPS}),
    snoop={
        **_SHARED_SNOOPS,
        (OWNED, GET_S): Snoop(OWNED, True, False),
        (OWNED, GET_M): Snoop(INVALID, True, False),
        (OWNED, UPGRADE): Snoop(INVALID, False, False),  # the requester's copy is equal: its duty moves along
        (EXCLUSIVE, GET_S): Snoop(SHARED, True, False),
        (EXCLUSIVE, GET_M): Snoop(INVALID, True, False),
        (MODIFIED, GET_S): Snoop(OWNED, True, False),
        (MODIFIED, GET_M): Snoop(INVALID, True, False),
    },
    evict_writes=frozenset((OWNED, MODIFIED)),
    home={
        **_FIRST_IS_EXCLUSIVE,
        **_SHARED_HOME,
        (DirState.X, GET_S): Home(True, False, False, DirState.O, DirState.S),
        (DirState.O, GET_S): Home(True, False, False, DirState.O, DirState.O),
        (DirState.O, GET_M): Home(True, True, False, DirState.X, DirState.X),
        (DirState.O, UPGRADE): Home(True, True, False, DirState.X, DirState.X),
    },
    put={
        **_PUTS,
        **_PUT_EXCLUSIVE,
        (DirState.O, SHARED): DirState.O,
        (DirState.O, OWNED): DirState.S,
    },
)

PROTOCOLS: Final[Mapping[str, Protocol]] = {protocol.name: protocol for protocol in (MSI, MESI, MOESI)}
