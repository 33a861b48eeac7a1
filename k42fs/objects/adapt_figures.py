"""What adaptation knows of an object in a window, and what it has decided on that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any, Final, Protocol

from k42fs.ids import Ref

NEW: Final = Ref(0)
"""The ref in figures of the objects of a kind that were made in a window, all together."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One object in one window; cycles are virtual. See docs/adaptation.md for where each figure comes from.

    `processors` counts those whose calls came in the window, or that may call the object where calls were not counted:
    then `calls`, `reads` and `writes` are None. `activity` is what the object says of itself, such as its open files
    by mode.
    """

    ref: Ref
    kind: str
    implementation: str
    label: str
    acquisitions: int
    contentions: int
    waited_cycles: int
    held_cycles: int
    processors: int
    activity: Mapping[str, int]
    transfers: int = 0
    calls: int | None = None
    reads: int | None = None
    writes: int | None = None

    @property
    def contended_share(self) -> float:
        """The share of its locks' acquisitions that had to wait."""
        return min(self.contentions / self.acquisitions, 1.0) if self.acquisitions else 0.0

    @property
    def transfers_per_call(self) -> float | None:
        """How many lines of the object a call moved from one cache to another."""
        return self.transfers / self.calls if self.calls else None

    @property
    def uses(self) -> int | None:
        """Reads and writes."""
        return None if self.reads is None or self.writes is None else self.reads + self.writes

    @property
    def write_share(self) -> float | None:
        """The share of writes among reads and writes."""
        return (self.writes or 0) / self.uses if self.uses else None

    def figure(self, name: str) -> float:
        """Return the figure *name*, of the object's activity too.

        It is 0 if the object does not count it, and no number, which is in no bounds, if nobody knows.
        """
        value = getattr(self, name) if name in FIGURES else self.activity.get(name, 0)
        return nan if value is None else float(value)

    def record(self) -> dict[str, float | None]:
        """Return all figures by name, None for what nobody knows."""
        return {**self.activity, **{name: getattr(self, name) for name in FIGURES}}


FIGURES: Final = (
    "acquisitions",
    "contentions",
    "contended_share",
    "waited_cycles",
    "held_cycles",
    "transfers",
    "transfers_per_call",
    "processors",
    "calls",
    "reads",
    "writes",
    "uses",
    "write_share",
)


def together(kind: str, implementation: str, sample: Sequence[Figures], agreeing: int) -> Figures:
    """Return the figures of objects that were made in a window, *agreeing* of which a rule speaks for.

    Sums, but of `processors` and of what the objects say the most.
    """
    activity: dict[str, int] = {}
    for each in sample:
        for name, value in each.activity.items():
            activity[name] = max(activity.get(name, 0), value)
    return Figures(
        ref=NEW,
        kind=kind,
        implementation=implementation,
        label=f"new {kind}s",
        acquisitions=sum(each.acquisitions for each in sample),
        contentions=sum(each.contentions for each in sample),
        waited_cycles=sum(each.waited_cycles for each in sample),
        held_cycles=sum(each.held_cycles for each in sample),
        processors=max(each.processors for each in sample),
        activity={"sampled": len(sample), "agreeing": agreeing, **activity},
        transfers=sum(each.transfers for each in sample),
        calls=sum(each.calls or 0 for each in sample),
        reads=sum(each.reads or 0 for each in sample),
        writes=sum(each.writes or 0 for each in sample),
    )


class Rule(Protocol):
    """Which implementation an object should have."""

    @property
    def name(self) -> str:
        """What decisions call it."""

    @property
    def windows(self) -> int:
        """How often in a row it must say so."""

    def decide(self, figures: Figures) -> str | None:
        """Return the name of the implementation that suits; None for the one it has, or for no opinion."""


class NewRule(Rule, Protocol):
    """One that also decides what new objects are."""

    @property
    def kind(self) -> str:
        """Of which kind of objects it speaks."""

    @property
    def share_of_new(self) -> float:
        """For how large a share of the objects made in a window it must speak; 0: it does not decide."""


@dataclass(slots=True)
class Decision:
    """What was decided, on which figures, and what came of it. Cycles of the deciding processor; host time in
    nanoseconds."""

    at_cycles: int
    at_ns: int
    rule: str
    new: str
    figures: Figures
    outcome: str = "advised"

    def sentence(self) -> str:
        """Say it in a line, with every figure that is known."""
        figures = self.figures
        known = " ".join(
            f"{name}={value if isinstance(value, int) else f'{value:.4g}'}"
            for name, value in figures.record().items()
            if value is not None
        )
        return (
            f"{figures.label} from {figures.implementation} to {self.new} by rule {self.rule}, {self.outcome}: "
            f"{known}"
        )

    def record(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        figures = self.figures
        return {
            "at_cycles": self.at_cycles,
            "at_ns": self.at_ns,
            "rule": self.rule,
            "ref": figures.ref,
            "object": figures.label,
            "kind": figures.kind,
            "from": figures.implementation,
            "to": self.new,
            "outcome": self.outcome,
            "figures": figures.record(),
        }
