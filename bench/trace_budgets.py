"""What tracing may cost: each budget beside what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from bench import trace_mounts, trace_readers


@dataclass(frozen=True)
class Figure:
    """One row: ns for each event or test, and how many times the reference that is."""

    row: str
    ns: float
    reference: str = ""
    ratio: float | None = None
    budget: float | None = None


@dataclass(frozen=True)
class Budget:
    """What must hold, and what was measured."""

    what: str
    measured: float
    unit: str
    bound: float
    is_most: bool

    @property
    def is_met(self) -> bool:
        return self.measured <= self.bound if self.is_most else self.measured >= self.bound


def budgets(
    figures: Sequence[Figure],
    rates: Sequence[trace_readers.Rate],
    picture: trace_readers.Picture | None,
    mounts: Sequence[trace_mounts.MountRow],
) -> list[Budget]:
    """Return every budget that was measured."""
    found = [
        Budget(each.row, each.ratio, "x", each.budget, True)
        for each in figures
        if each.ratio is not None and each.budget is not None
    ]
    if mounts:
        means = trace_mounts.means(mounts)
        found += [
            Budget(f"mount, {name}, metadata rows", means[name][0], "x", bound, False)
            for name, bound in trace_mounts.BUDGETS.items()
        ]
    found += [
        Budget(f"reader: {each.report}", each.rate, "M events/s", each.budget, False)
        for each in rates
        if each.budget is not None
    ]
    if picture is not None:
        what = f"kmon, {picture.events / 1e6:.0f} M events"
        found.append(Budget(what, picture.seconds, "s", trace_readers.PICTURE_SECONDS, True))
        found.append(Budget(f"{what}: HTML", picture.megabytes, "MB", trace_readers.PICTURE_MEGABYTES, True))
    return found


def budget_table(found: Sequence[Budget]) -> Table:
    out = Table(title="budgets")
    out.add_column("what")
    out.add_column("measured", justify="right")
    out.add_column("budget", justify="right", style="dim")
    out.add_column("")
    for each in found:
        sign = "<=" if each.is_most else ">="
        met = "met" if each.is_met else "[bold red]missed"
        out.add_row(each.what, f"{each.measured:.2f} {each.unit}", f"{sign} {each.bound:g}", met)
    return out
