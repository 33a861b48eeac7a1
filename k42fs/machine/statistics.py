"""Statistics: what the machine did, as one JSON-ready dictionary.

Locks register when they are first contended, without being kept alive; what a dead one had counted is folded
into a row for its class. Lines are reported by the object and field whose misses moved them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from k42fs.machine.core import LineTransfers

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine
    from k42fs.machine.lock_base import LockBase

TOP: Final = 10
FIELDS_SHOWN: Final = 4
PRUNE_STEP: Final = 1024


class ContendedLocks:
    """The locks that were ever contended, alive (weakly) or folded."""

    def __init__(self) -> None:
        self._alive: dict[int, ref[LockBase]] = {}
        self._serial = 0
        self._prune_at = PRUNE_STEP
        self._dead: dict[tuple[str, str], dict[str, int]] = {}

    def add(self, lock: LockBase) -> None:
        self._serial += 1
        self._alive[self._serial] = ref(lock)
        if len(self._alive) > self._prune_at:
            self._prune_at = 2 * len(self.locks()) + PRUNE_STEP

    def fold(self, lock: LockBase) -> None:
        """Keep the counts of *lock*, which is about to go. Its object may be gone already: rows are by
        class."""
        key = (type(lock.owner).__name__ if lock.owner is not None else lock.kind, lock.name)
        row = self._dead.setdefault(key, dict.fromkeys(COUNTS, 0))
        for name in COUNTS:
            value = getattr(lock, name)
            row[name] = max(row[name], value) if name == "max_wait" else row[name] + value

    def locks(self) -> list[LockBase]:
        """Return those alive, in the order of their first contention."""
        found = [(serial, lock) for serial, weak in self._alive.items() if (lock := weak()) is not None]
        self._alive = {serial: self._alive[serial] for serial, _ in found}
        return [lock for _, lock in found]

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per lock, most waited for first."""
        rows: list[dict[str, Any]] = [
            {"object": lock.label(), "lock": lock.name, "kind": lock.kind, "address": lock.addr}
            | {name: getattr(lock, name) for name in COUNTS}
            for lock in self.locks()
            if lock.contentions
        ]
        rows += [
            {"object": f"{owner} (gone)", "lock": name, **row} for (owner, name), row in self._dead.items()
        ]
        return sorted(
            rows, key=lambda row: (-row["waited_cycles"], row["object"], row["lock"], row.get("address", 0))
        )

    def reset(self) -> None:
        for lock in self.locks():
            lock.reset_statistics()
        self._alive.clear()
        self._dead.clear()


COUNTS: Final = ("acquisitions", "contentions", "waited_cycles", "held_cycles", "max_wait", "late")


def statistics(machine: Machine, top: int = TOP) -> dict[str, Any]:
    """Return the machine's statistics. Times in cycles; empty parts where the model does not count them."""
    config = machine.config
    locks = machine.contended.rows() if machine.model != "calls" else _lock_calls(machine)
    late_locks = sum(row["late"] for row in locks)
    return {
        "machine": config.name,
        "model": machine.model,
        "core": machine.core.name,
        "live": machine.live,
        "processors": config.processors,
        "mhz": config.mhz,
        "now_cycles": machine.now,
        "since_cycle": machine.reset_at,
        "live_bytes": machine.memory.live_bytes,
        "late_arrivals": late_locks + (machine.late if machine.model == "full" else 0),
        "per_processor": _processors(machine),
        "calls": _calls(machine),
        "locks": locks[:top],
        "lines": _lines(machine, top) if machine.model == "full" else [],
    }


def _processors(machine: Machine) -> list[dict[str, Any]]:
    rows = []
    now = machine.now
    for proc in machine.processors:
        if not proc.clock and not proc.operations and not proc.calls:
            continue  # never used: at 1024 processors most are
        busy = proc.clock - machine.baseline.clock(proc) - proc.idle
        row: dict[str, Any] = {
            "vp": proc.vp,
            "node": proc.node,
            "operations": proc.operations,
            "calls": proc.calls,
            "cycles": proc.clock,
            "work_cycles": proc.work,
            "spin_cycles": proc.spin,
            "idle_cycles": proc.idle,
            "utilisation": round(busy / span, 4) if (span := now - machine.baseline.clock(proc)) > 0 else 0.0,
        }
        if machine.model == "full":
            counters = machine.core.counters(proc.vp)
            row |= {
                "memory_cycles": counters.cycles,
                "queued_cycles": counters.queued,
                "loads": counters.loads,
                "stores": counters.stores,
                "rmws": counters.rmws,
                "l1_hits": counters.l1_hits,
                "l2_hits": counters.l2_hits,
                "l3_hits": counters.l3_hits,
                "misses": dict(counters.misses),
                "from_memory": counters.from_memory,
                "from_cache": counters.from_cache,
                "stall_cycles": dict(counters.stall),
                "message_bytes": counters.nbytes,
                "invalidations": counters.invalidations,
                "extra_invalidations": counters.extra_invalidations,
                "write_backs": counters.write_backs,
                "copied_bytes": machine.blocks.copied[proc.vp],
                "moved_bytes": machine.blocks.moved[proc.vp],
            }
        rows.append(row)
    return rows


def _lock_calls(machine: Machine) -> list[dict[str, Any]]:
    """Return acquisitions by kind and name of lock: all that is known of locks where nothing is waited for."""
    counted = sorted(machine.lock_calls.items(), key=lambda item: (-item[1], item[0]))
    zeros = dict.fromkeys(COUNTS, 0)
    return [
        {"object": kind, "lock": name, "kind": kind} | zeros | {"acquisitions": count}
        for (kind, name), count in counted
    ]


def _calls(machine: Machine) -> dict[str, int]:
    counted = [(script.name, count) for script, count in machine.calls().items()]
    return dict(sorted(counted, key=lambda item: (-item[1], item[0])))


def _lines(machine: Machine, top: int) -> list[dict[str, Any]]:
    transfers = machine.hand_offs.added_to(machine.core.transfers())
    moved = sorted(transfers, key=lambda item: (-item.transfers, item.line))
    return [_line(machine, item) for item in moved[:top]]


def _line(machine: Machine, item: LineTransfers) -> dict[str, Any]:
    base = item.line * machine.config.line_bytes
    places = [(*machine.memory.describe(base + offset), misses) for offset, misses in item.offsets]
    label, field, _ = places[0] if places else (*machine.memory.describe(base), 0)
    return {
        "object": label,
        "field": field,
        "fields": [
            {"object": label, "field": field, "misses": misses}
            for label, field, misses in places[:FIELDS_SHOWN]
        ],
        "address": base,
        "transfers": item.transfers,
        "processors": [vp for vp in range(machine.config.processors) if item.movers >> vp & 1],
    }
