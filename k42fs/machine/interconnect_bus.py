"""Bus: a split transaction is an address phase that all caches see, then a data phase if data move.

A transaction starts when its line and the address bus are free; it occupies the address bus for
`bus_address_cycles`. Its data end `latency` cycles after the start, or later if the data bus is taken: its
last `bus_data_cycles` are reserved there, after the address phase and in the order of processing, first fit.
An upgrade moves no data. The line is blocked during the address phase if this is a clean read, else to the
end. Write-backs take both phases, one after the other; clean copies leave in silence, and as every cache sees
every request, nobody is asked in vain. Neither homes nor their memories are busy: the data phase stands for
both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k42fs.machine.history import Reservations, SecondStage
from k42fs.machine.interconnect import (
    FROM_CACHE,
    FROM_MEMORY,
    HOME_HISTORY_FACTOR,
    MESSAGE_BYTES,
    NO_DATA,
    Plan,
    start_of,
)
from k42fs.machine.latencies import Latencies
from k42fs.machine.protocol import GET_S, PROTOCOLS, UPGRADE, protocol_state, with_clean_intervention

if TYPE_CHECKING:
    from k42fs.machine.config import MachineConfig
    from k42fs.machine.directory import LineState


class BusInterconnect:
    """The address bus and the data bus. See `Interconnect`."""

    def __init__(self, config: MachineConfig) -> None:
        self._config = config
        protocol = PROTOCOLS[config.protocol]
        self._snoop = (with_clean_intervention(protocol) if config.clean_intervention else protocol).snoop
        self._latencies = Latencies(config)
        self._address, self._data = config.bus_address_cycles, config.bus_data_cycles
        self._abus = Reservations(HOME_HISTORY_FACTOR * config.history)
        self._dbus = SecondStage(HOME_HISTORY_FACTOR * config.history)
        self.fetch_bytes = MESSAGE_BYTES + config.line_bytes
        self.leaves_ghosts = False

    @property
    def late(self) -> int:
        return self._abus.late + self._dbus.queue.late

    @property
    def order_slips(self) -> int:
        return self._dbus.slips

    def plan(
        self, entry: LineState, cpu: int, home: int, request: int, held: int, rival: int, rival_state: int
    ) -> Plan:
        """Look up what the owner does when it sees the request; sharers neither supply nor cost anything."""
        supply, third, writes = NO_DATA if request == UPGRADE else FROM_MEMORY, home, False
        if rival >= 0:
            step = self._snoop[protocol_state(rival_state), request]
            writes = step.writes_memory
            if step.supplies:
                supply, third = FROM_CACHE, self._config.node(rival)
        nbytes = MESSAGE_BYTES if supply == NO_DATA else self.fetch_bytes
        return Plan(supply, third, writes, 0, 0, request == GET_S and rival < 0, nbytes)

    def transact(self, entry: LineState, node: int, home: int, plan: Plan, now: int) -> tuple[int, int]:
        """Reserve line, address bus and data bus, in this order."""
        if plan.supply == FROM_CACHE:
            latency = self._latencies.dirty(node, home, plan.third)
        elif plan.supply == FROM_MEMORY:
            latency = self._latencies.memory(node, home)
        else:
            latency = self._latencies.upgrade(node, home, 0)[0]
        address = self._address
        start = start_of(entry, self._abus, now, address if plan.pipelined else latency, address)
        end = start + latency if plan.supply == NO_DATA else self._data_end(start, start + latency)
        entry.occupy(start, start + address if plan.pipelined else end)
        return start, end

    def fetch(self, entry: LineState, node: int, home: int, pipelined: bool, now: int) -> tuple[int, int]:
        """Reserve the address bus and the data bus; the line has no history yet."""
        start = self._abus.reserve(max(now, entry.free_at), self._address)
        end = self._data_end(start, start + self._latencies.memory(node, home))
        entry.began, entry.free_at = start, start + self._address if pipelined else end
        return start, end

    def evict(self, home: int, writes_memory: bool, now: int) -> int:
        """Reserve both phases of a write-back."""
        if not writes_memory:
            return 0
        start = self._abus.reserve(now, self._address)
        self._data_end(start, start + self._address + self._data)
        return self.fetch_bytes

    def check(self) -> None:
        self._abus.check()
        self._dbus.queue.check()

    def _data_end(self, start: int, end: int) -> int:
        """Reserve the data bus for the last cycles before *end*, or as soon as it can be; return the end."""
        return self._dbus.reserve(start, end - self._data, self._data) + self._data
