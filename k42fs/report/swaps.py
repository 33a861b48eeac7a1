"""`swaps`: each hot swap: of which object, how long, how long in each phase, and what was called meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from k42fs.report.filters import Source
from k42fs.report.tables import Column, Report, Table, count, microseconds


@dataclass(slots=True)
class Swap:
    """One swap. `phases` are (phase, when it began); `calls` to the object from its start to its end."""

    root: int
    object: str
    began: int
    ended: int | None = None
    phases: list[tuple[str, int]] = field(default_factory=list)
    calls: int = 0

    def spent(self, end: int) -> dict[str, int]:
        """Return the ticks in each phase; the last one lasts until the swap's end, or *end*."""
        until = self.ended if self.ended is not None else end
        times = [*(began for _, began in self.phases[1:]), until]
        spent: dict[str, int] = {}
        for (phase, began), after in zip(self.phases, times, strict=False):
            spent[phase] = spent.get(phase, 0) + max(0, after - began)
        return spent


def swaps(source: Source) -> list[Swap]:
    """Return the swaps in the order of their starts. One that was under way already began with its first phase."""
    start, done, phase, call = map(
        source.id, ("clust_obj_swap_start", "clust_obj_swap_done", "clust_obj_swap_phase", "clust_obj_call")
    )
    names = source.trace.schema.by_attribute["clust_obj_swap_phase"].by_name["phase"].type.values
    found: list[Swap] = []
    open_: dict[int, Swap] = {}
    for records in source.records((start, done, phase, call)):
        for time, _, number, words in records:
            root = words[0]
            if number == call:
                if root in open_:
                    open_[root].calls += 1
            elif number == done:
                if swap := open_.pop(root, None):
                    swap.ended = time
            else:
                if root not in open_ or number == start:
                    open_[root] = Swap(root, source.names.object(root, time), time)
                    found.append(open_[root])
                if number == phase:
                    name = names[words[1]] if words[1] < len(names) else f"phase {words[1]}"
                    open_[root].phases.append((name, time))
    return found


def swaps_report(source: Source) -> Report:
    """Return one row for each swap, and the totals by phase."""
    found = swaps(source)
    begin, ns = source.trace.begin, source.trace.nanoseconds
    phases = list(source.trace.schema.by_attribute["clust_obj_swap_phase"].by_name["phase"].type.values)
    rows: list[tuple[Any, ...]] = []
    for swap in found:
        spent = swap.spent(source.end)
        outcome = "aborted" if "aborted" in spent else "unfinished" if swap.ended is None else "completed"
        took = None if swap.ended is None else ns(swap.ended - swap.began)
        rows.append(
            (
                swap.object, f"{swap.root:#x}", outcome, ns(swap.began - begin), took, swap.calls,
                *(ns(spent[phase]) if phase in spent else None for phase in phases),
            )
        )  # fmt: skip
    return Report([Table("swaps", [*COLUMNS, *map(_phase, phases)], rows, "Hot swaps, times in us")])


def _phase(name: str) -> Column:
    return Column(f"{name}_ns", name, microseconds, spare=name in ("normal", "aborted"))


COLUMNS: Final = (
    Column("object", "object", left=True),
    Column("root", "root", spare=True),
    Column("outcome", "outcome", left=True),
    Column("at_ns", "at", microseconds),
    Column("took_ns", "took", microseconds),
    Column("calls", "calls meanwhile", count, spare=True),
)
