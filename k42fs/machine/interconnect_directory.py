"""Directory: each line's home node knows who has it, and asks only those.

A transaction starts when its line and its home are free. The home is busy for `home_busy_cycles`, further
`memory_busy_cycles` if its memory supplies the line or is written, and `inval_issue_cycles` per invalidation.
The line is blocked as long if this is a clean read, else until the data or the acknowledgements have arrived.
An eviction keeps the home busy, without issue time. If clean copies leave in silence, the home still believes
in them (`LineState.gone`): it invalidates them in vain, and asks in vain an owner that is gone, while memory
is read besides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k42fs.machine.history import Reservations
from k42fs.machine.interconnect import (
    FROM_CACHE,
    FROM_MEMORY,
    HOME_HISTORY_FACTOR,
    IN_VAIN,
    MESSAGE_BYTES,
    NO_DATA,
    Plan,
    start_of,
)
from k42fs.machine.latencies import Latencies
from k42fs.machine.links import Links
from k42fs.machine.protocol import (
    GET_S,
    PROTOCOLS,
    REQUEST_NAMES,
    UPGRADE,
    DirState,
    directory_state,
    protocol_state,
)
from k42fs.machine.sharer_formats import sharer_format

if TYPE_CHECKING:
    from k42fs.machine.config import MachineConfig
    from k42fs.machine.directory import LineState


class DirectoryInterconnect:
    """Homes, their memories and the links between them. See `Interconnect`."""

    def __init__(self, config: MachineConfig) -> None:
        self._config = config
        protocol = PROTOCOLS[config.protocol]
        # Flat, by directory state times three plus request: an enumeration is slow to hash.
        self._rows = tuple(protocol.home.get((at, request)) for at in DirState for request in range(3))
        self._snoop = protocol.snoop
        self._latencies = Latencies(config)
        self._believed = sharer_format(config)
        self._links = Links(config) if config.network == "links" else None
        self._busy = config.home_busy_cycles
        self._busy_with_memory = config.home_busy_cycles + config.memory_busy_cycles
        self._homes: dict[int, Reservations] = {}  # they appear when first used
        self._data_bytes = MESSAGE_BYTES + config.line_bytes
        self.fetch_bytes = MESSAGE_BYTES + self._data_bytes
        # By supply: request and grant; request and data; these and a forward; and its refusal as well.
        self._bytes = tuple(
            MESSAGE_BYTES * messages + config.line_bytes * lines
            for messages, lines in ((2, 0), (2, 1), (3, 1), (4, 1))
        )
        self.leaves_ghosts = not config.notify_evictions

    @property
    def late(self) -> int:
        links = self._links.late if self._links is not None else 0
        return links + sum(queue.late for queue in self._homes.values())

    @property
    def order_slips(self) -> int:
        return self._links.slips if self._links is not None else 0

    def plan(
        self, entry: LineState, cpu: int, home: int, request: int, held: int, rival: int, rival_state: int
    ) -> Plan:
        """Look up whom the home asks, as far as it knows who has the line."""
        sharers = entry.sharers | entry.gone
        ghost = sharers.bit_length() - 1 if entry.gone_owned else -1
        if ghost >= 0:  # what the home takes for an owner; a request of its own tells the home better
            at = DirState.U if ghost == cpu else DirState.X
        else:
            at = directory_state(held if entry.owner == cpu else rival_state, bool(sharers))
        row = self._rows[at * 3 + request]
        assert row is not None, f"{REQUEST_NAMES[request]} of a line in {at!r}"
        supply, third, writes, targets, extra = FROM_MEMORY, home, False, 0, 0
        owner_bit = 1 << rival if rival >= 0 else 0
        if request == UPGRADE:
            supply, targets = NO_DATA, owner_bit
        elif row.asks_owner:
            supply, third = (FROM_CACHE, rival) if ghost < 0 else (IN_VAIN, ghost)
            third = self._config.node(third)
            writes = ghost < 0 and self._snoop[protocol_state(rival_state), request].writes_memory
            extra = int(ghost >= 0)
        nbytes = self._bytes[supply] + self._data_bytes * writes
        if row.asks_sharers:
            targets |= self._believed(sharers) & ~(1 << cpu | owner_bit)
            extra += (targets & ~entry.sharers & ~owner_bit).bit_count()
            nbytes += 2 * MESSAGE_BYTES * targets.bit_count()
        pipelined = request == GET_S and supply == FROM_MEMORY
        return Plan(supply, third, writes, targets, extra, pipelined, nbytes)

    def transact(self, entry: LineState, node: int, home: int, plan: Plan, now: int) -> tuple[int, int]:
        """Reserve line, home and links, in this order."""
        latency, busy = self._price(node, home, plan)
        start = start_of(entry, self._home(home), now, busy if plan.pipelined else latency, busy)
        end = start + latency
        if self._links is not None:
            end = self._links.end(node, home, plan.third, start, latency)
        entry.occupy(start, start + busy if plan.pipelined else end)
        return start, end

    def fetch(self, entry: LineState, node: int, home: int, pipelined: bool, now: int) -> tuple[int, int]:
        """Reserve the home and links; the line has no history yet."""
        latency, busy = self._latencies.memory(node, home), self._busy_with_memory
        start = now if now > entry.free_at else entry.free_at
        if busy:
            start = self._home(home).reserve(start, busy)
        end = start + latency
        if self._links is not None:
            end = self._links.end(node, home, home, start, latency)
        entry.began, entry.free_at = start, start + busy if pipelined else end
        return start, end

    def evict(self, home: int, writes_memory: bool, now: int) -> int:
        """Reserve the home. A clean copy that leaves in silence does not come here."""
        busy = self._busy_with_memory if writes_memory else self._busy
        if busy:
            self._home(home).reserve(now, busy)
        return self._data_bytes if writes_memory else MESSAGE_BYTES

    def check(self) -> None:
        for queue in self._homes.values():
            queue.check()
        if self._links is not None:
            self._links.check()

    def _price(self, node: int, home: int, plan: Plan) -> tuple[int, int]:
        """Return (cycles until the requester can go on, cycles the home is busy)."""
        supply, latencies = plan.supply, self._latencies
        latency = 0
        if supply in (FROM_MEMORY, IN_VAIN):
            latency = latencies.memory(node, home)
        if supply in (FROM_CACHE, IN_VAIN):
            latency = max(latency, latencies.dirty(node, home, plan.third))
        needs_memory = supply in (FROM_MEMORY, IN_VAIN) or plan.writes_memory
        busy = self._busy_with_memory if needs_memory else self._busy
        if plan.targets or supply == NO_DATA:
            upgrade, issue = latencies.upgrade(node, home, plan.targets)
            latency = max(latency, upgrade)
            busy += issue
        return latency, busy

    def _home(self, home: int) -> Reservations:
        queue = self._homes.get(home)
        if queue is None:
            queue = self._homes[home] = Reservations(HOME_HISTORY_FACTOR * self._config.history)
        return queue
