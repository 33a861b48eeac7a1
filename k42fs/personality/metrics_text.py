"""Prometheus' text format, version 0.0.4: families of metrics, written down.

    # HELP name what it is
    # TYPE name counter
    name{label="value"} 12

Names and units follow Prometheus' conventions: base units (seconds, bytes), `_total` at the end of what only grows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

Labels = Mapping[str, object]


@dataclass(slots=True)
class Family:
    """One metric: its name, what it counts, and a value for each set of labels."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    samples: list[tuple[Labels, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        assert NAME.fullmatch(self.name), f"{self.name!r} is no name of a metric"
        assert self.name.endswith("_total") == (self.kind == "counter"), (
            f"{self.name}: a counter ends in _total"
        )

    def add(self, value: float, **labels: object) -> Family:
        """Add one sample; returns the family."""
        assert all(map(LABEL.fullmatch, labels)), f"{self.name}: a label's name: {', '.join(labels)}"
        self.samples.append((labels, value))
        return self

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {_escape(self.help)}"
        yield f"# TYPE {self.name} {self.kind}"
        for labels, value in self.samples:
            told = ",".join(f'{key}="{_quote(str(each))}"' for key, each in labels.items())
            yield f"{self.name}{{{told}}} {number(value)}" if told else f"{self.name} {number(value)}"


def exposition(families: Iterable[Family]) -> str:
    """Return *families* as text. One without a sample is left out."""
    return "".join(f"{line}\n" for family in families if family.samples for line in family.lines())


def number(value: float) -> str:
    """Return *value* as the format writes it, without loss."""
    if isinstance(value, int):
        return str(int(value))
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quote(text: str) -> str:
    return _escape(text).replace('"', '\\"')
