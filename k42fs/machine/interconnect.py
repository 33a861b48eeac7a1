"""What the coherence core asks of an interconnect: who takes part in a transaction, and when it happens.

A transaction is planned from the directory entry and the protocol's tables (`Plan`), then given its place in
time, and only then changes any state. Two interconnects follow this: `interconnect_directory.py` and
`interconnect_bus.py`. Both keep the reservations of what they own (homes and links; address and data bus);
a line's own reservations are kept with the line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from k42fs.machine.history import Reservations

if TYPE_CHECKING:
    from k42fs.machine.directory import LineState

NO_DATA, FROM_MEMORY, FROM_CACHE, IN_VAIN = range(4)
"""Who supplies the line: nobody needs to; the home's memory; its owner; memory, after the home had asked an
owner that had dropped its clean copy in silence."""

MESSAGE_BYTES: Final = 8
"""A request, a grant, an invalidation or an acknowledgement; also what goes before the data of a line."""

HOME_HISTORY_FACTOR: Final = 32
"""Reservations kept for a home, a link or a bus, as a multiple of those for a line: it serves the misses of
many processors, so that as many would last it a far shorter time."""

FITS_MAX: Final = 8
"""Rounds of looking for a time when line and home are both free; then the last one found is taken."""


class Plan(NamedTuple):
    """One transaction. *third*: the node of the owner if it is asked for data, else the home. *targets*:
    processors that are sent an invalidation (bit mask), *extra*: how many requests go to caches without a
    copy. *pipelined*: a clean read, which blocks its line only while the home or the address bus is busy.
    *nbytes*: all messages.
    """

    supply: int
    third: int
    writes_memory: bool
    targets: int
    extra: int
    pipelined: bool
    nbytes: int


class Interconnect(Protocol):
    """Times are cycles, *node* is the requester's, *home* the line's. A start is when the transaction gets its
    line and its home (or the address bus), an end when the requester goes on."""

    fetch_bytes: int
    """Bytes of messages of a `fetch`."""
    leaves_ghosts: bool
    """Whether the home goes on believing in clean copies that were evicted."""

    @property
    def late(self) -> int:
        """Requests older than the history of a home or bus."""

    @property
    def order_slips(self) -> int:
        """Reservations of links or the data bus that had to step behind one of a transaction that started
        later."""

    def plan(
        self, entry: LineState, cpu: int, home: int, request: int, held: int, rival: int, rival_state: int
    ) -> Plan:
        """Return what *request* of *cpu*, whose own copy is in state *held*, involves. *rival*: the owner, in
        *rival_state*, if it is another processor; else -1."""

    def transact(self, entry: LineState, node: int, home: int, plan: Plan, now: int) -> tuple[int, int]:
        """Find the time of a transaction asked for at *now* and reserve it; return (start, end)."""

    def fetch(self, entry: LineState, node: int, home: int, pipelined: bool, now: int) -> tuple[int, int]:
        """The same for data from memory of a line that no other cache ever had."""

    def evict(self, home: int, writes_memory: bool, now: int) -> int:
        """Take what a copy's eviction occupies, at no cost to the evictor; return the bytes of its
        messages."""

    def check(self) -> None:
        """Raise AssertionError unless reservations are disjoint."""


def start_of(entry: LineState, queue: Reservations, now: int, blocked: int, busy: int) -> int:
    """Return the first time from *now* on when the line is free for *blocked* cycles and its home or bus,
    *queue*, for *busy*; reserve the latter.

    A start older than the queue's history is not reserved there: nobody knows who was there. It counts as
    late.
    """
    if entry.sharing is None:  # one cache has it: its requests come in order
        start = max(now, entry.free_at)
        return queue.reserve(start, busy) if busy else start
    history, start = entry.sharing.history, now
    for _ in range(FITS_MAX):
        at = history.fit(start, blocked)
        start = queue.fit(at, busy)
        if start == at:
            break
    if start < queue.floor:
        queue.late += 1
    elif busy:
        queue.add(start, start + busy)
    return start
