"""CoherenceCore: what the machine asks of a model of caches and directories, and nothing more.

The interface is narrow so that a compiled core can stand in for the pure one and be checked against it
number by number. A core knows processors, addresses and time; it knows nothing of threads, locks or objects.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from k42fs.machine.layout import Refs

NEVER: Final = 1 << 62
"""A limit that no clock reaches."""

MISS_KINDS: Final = ("cold", "capacity", "true_sharing", "false_sharing", "upgrade")
"""Why a reference needed a transaction: never had the line; lost it to make room (or to a conflict); lost it
to a writer of words it uses now, or of others only; has it, but not alone."""


STALLS: Final = ("l3", "memory", "cache", "upgrade")
"""What a processor waits for: its L3; memory; another's cache; other copies to go, when it has one itself."""


@dataclass(slots=True, kw_only=True)
class Counters:
    """What one processor's caches did. References are hits in L1, L2 or L3, or misses; the data of a miss come
    from memory or from another's cache, unless it is an upgrade.

    `cycles` is all time spent on references, `queued` the part spent waiting for lines and homes (or the
    address bus) to be free, `stall` the parts spent on transactions, with their waits for links or the data
    bus; the rest is time of hits and atomic operations. `write_backs`: copies of its own that were written to
    memory. `nbytes`: messages caused by its transactions and evictions. `extra_invalidations`: requests to
    caches without a copy.
    """

    loads: int = 0
    stores: int = 0
    rmws: int = 0
    l1_hits: int = 0
    l2_hits: int = 0
    l3_hits: int = 0
    misses: dict[str, int] = field(default_factory=lambda: dict.fromkeys(MISS_KINDS, 0))
    from_memory: int = 0
    from_cache: int = 0
    invalidations: int = 0
    extra_invalidations: int = 0
    write_backs: int = 0
    nbytes: int = 0
    cycles: int = 0
    queued: int = 0
    stall: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STALLS, 0))

    @property
    def references(self) -> int:
        return self.loads + self.stores + self.rmws


class LineTransfers(NamedTuple):
    """A line that moved between caches: how often, to which processors (bit mask), and for which bytes of
    it."""

    line: int
    transfers: int
    movers: int
    offsets: tuple[tuple[int, int], ...]  # (byte offset, misses there), most missed first


class TraceItem(NamedTuple):
    """One reference of a recorded or generated trace."""

    cpu: int
    code: int
    addr: int
    nbytes: int


class TraceArrays(NamedTuple):
    """A trace as four arrays of one length, item by item: what a compiled core runs fastest."""

    cpus: array[int]  # typecode H
    codes: array[int]  # B
    addrs: array[int]  # q
    sizes: array[int]  # H

    @classmethod
    def of(cls, trace: Iterable[TraceItem]) -> TraceArrays:
        """Return *trace* as arrays."""
        arrays = cls(array("H"), array("B"), array("q"), array("H"))
        for item in trace:
            for column, value in zip(arrays, item, strict=True):
                column.append(value)
        return arrays


class CoherenceCore(Protocol):
    """Caches and directories of all processors. Times are cycles; *cpu* is a processor's number.

    `watched`: lines (address / line_bytes) that spinning processors read again and again. When a transaction
    takes a copy of one away, the core calls ``on_taken(line, the loser, start of the transaction)``; the
    answer is when the loser notices, from when on it is a limit for the rest of the script.

    `log_room`, `site`, `logged`, `take_log`: see `miss_log.MissLog`. A log changes nothing else.
    """

    watched: set[int]
    on_taken: Callable[[int, int, int], int] | None
    log_room: int
    site: int

    @property
    def name(self) -> str:
        """Which implementation this is, as K42FS_CORE names it."""

    @property
    def late(self) -> int:
        """Requests older than the history of the resource they asked for, which were served as if it had been
        free."""

    @property
    def order_slips(self) -> int:
        """Reservations of links or a data bus that had to step behind one of a transaction that started
        later."""

    def script(
        self, cpu: int, refs: Refs, base: int, other: int, now: int, limit: int, start: int
    ) -> tuple[int, int]:
        """Do references *start*.. of *refs* from time *now*; return (time after, -1).

        A reference whose place in time matters to others, or theirs to it, is not done if it would begin after
        *limit*: the answer is then (its time, its index). Hits, other than read-modify-writes, on a line that is
        this processor's alone and always was may go `transfer_cycles_min` further, in which nobody can get it.
        """

    def access(self, cpu: int, code: int, addr: int, nbytes: int, now: int) -> int:
        """Do one reference within one line, whatever others do; return the time after."""

    def run(self, trace: Iterable[TraceItem] | TraceArrays, clocks: list[int]) -> None:
        """Do a whole trace in its order, advancing each processor's entry in *clocks*."""

    def counters(self, cpu: int) -> Counters:
        """Return what processor *cpu* did since the start or the last reset."""

    def transfers(self) -> Iterator[LineTransfers]:
        """Yield the lines that moved between caches, in the order of their first move."""

    def take_moves(self) -> array[int]:
        """Return the lines that moved between caches since this was last asked, in no order, one after the other:
        line, how often it moved, the byte for which it has moved most.

        There is one asker. Of a line that no cache has any more, a few moves may go unsaid.
        """

    def copies(self, line: int) -> dict[int, int]:
        """Return the state of each processor's copy of *line* (an address / line_bytes), where there is
        one."""

    def reset_counters(self) -> None:
        """Zero all counts. Caches keep their contents."""

    def check(self) -> None:
        """Raise AssertionError unless the conservation invariants hold."""

    @property
    def logged(self) -> int:
        """How many records are in the log."""

    def set_sites(self, first: int, site: int) -> None:
        """Let the records from number *first* on come from *site*."""

    def take_log(self) -> tuple[array[int], int]:
        """Empty the log; return its records, as `miss_log.Record` flattened, and how many found no room."""
