"""What a trace did to the machine, as plain values: per processor and in total, ready for JSON, CSV or a table.

A processor's cycles up to the end of the longest trace are

    compute   its work, and for each reference what it would take in L1 (and an atomic one's extra)
    stall     the rest of its time on references; `queued` is the part of it spent in queues
    idle      from its own end to the end of the last one

`miss_rate` is misses, upgrades included, per reference; `access_cycles` the mean time of a reference, queues and what
makes an atomic one atomic included. Both are 0 where there were no references.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from k42fs.machine.config import MachineConfig
    from k42fs.machine.core import CoherenceCore, Counters
    from k42fs.machine.trace_run import TraceOutcome

Row = dict[str, Any]
"""Figures by name: whole numbers, but for the two means."""


def rows(outcome: TraceOutcome, config: MachineConfig, core: CoherenceCore) -> list[Row]:
    """Return a row of figures per processor."""
    last = max(outcome.clocks)
    return [
        _row(cpu, clock, work, last, config, core.counters(cpu))
        for cpu, (clock, work) in enumerate(zip(outcome.clocks, outcome.work, strict=True))
    ]


def total(per_cpu: list[Row], core: CoherenceCore) -> Row:
    """Return the sums of all rows; `cycles` is the end of the last one, and means are over all references."""
    summed = {name: sum(row[name] for row in per_cpu) for name in per_cpu[0] if name != "cpu"}
    counters = [core.counters(row["cpu"]) for row in per_cpu]
    return {**summed, "cycles": max(row["cycles"] for row in per_cpu), **_means(counters)}


def _means(counters: Sequence[Counters]) -> dict[str, float]:
    references = sum(each.references for each in counters)
    misses = sum(sum(each.misses.values()) for each in counters)
    cycles = sum(each.cycles for each in counters)
    return {
        "miss_rate": round(misses / references, 6) if references else 0.0,
        "access_cycles": round(cycles / references, 3) if references else 0.0,
    }


def as_dict(outcome: TraceOutcome, config: MachineConfig, core: CoherenceCore) -> dict[str, Any]:
    """Return everything about the run. `cycles` is the end of the last trace, in the totals as well."""
    per_cpu = rows(outcome, config, core)
    return {
        "machine": config.name,
        "model_preset": sorted(config.labels()),
        "protocol": config.protocol,
        "interconnect": config.interconnect,
        "processors": config.processors,
        "homes": config.homes,
        "seed": config.seed,
        "records": outcome.records,
        "cycles": max(outcome.clocks),
        "late": core.late,
        "order_slips": core.order_slips,
        "error": str(outcome.error) if outcome.error is not None else None,
        "per_cpu": per_cpu,
        "total": total(per_cpu, core),
    }


def _row(cpu: int, clock: int, work: int, last: int, config: MachineConfig, counters: Counters) -> Row:
    counts = asdict(counters)
    misses, stall = counts.pop("misses"), counts.pop("stall")
    spent = counts.pop("cycles")
    hits = counters.references * config.l1_cycles + counters.rmws * config.atomic_cycles
    return {
        "cpu": cpu,
        **counts,
        **{f"miss_{cause}": count for cause, count in misses.items()},
        "cycles": clock,
        "compute": work + hits,
        "stall": spent - hits,
        "idle": last - clock,
        **{f"stall_{cause}": cycles for cause, cycles in stall.items()},
        **_means([counters]),
    }
