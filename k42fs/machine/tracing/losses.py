"""Events that were emitted and are in no file: counted, and told in the trace as Meta::Discard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from k42fs.machine.tracing.packing import pack
from k42fs.machine.tracing.schema import load

if TYPE_CHECKING:
    from k42fs.machine.tracing.stream import Stream


@dataclass(slots=True)
class Loss:
    """How many events of one processor, and the stamps of the first and the last."""

    count: int
    begin: int
    end: int


class Losses:
    """What one recording has lost, by processor. What is told once is not told again, but for `tell_all`."""

    def __init__(self) -> None:
        self._all: dict[int, Loss] = {}
        self._untold: dict[int, Loss] = {}

    @property
    def count(self) -> int:
        return sum(loss.count for loss in self._all.values())

    def by_cpu(self) -> dict[int, int]:
        """Return how many events each processor has lost."""
        return {cpu: loss.count for cpu, loss in self._all.items()}

    def add(self, cpu: int, count: int, begin: int, end: int) -> None:
        for losses in (self._all, self._untold):
            loss = losses.setdefault(cpu, Loss(0, begin, end))
            loss.count += count
            loss.end = max(loss.end, end)

    def tell(self, names: Stream) -> None:
        """Add to *names*, the definitions, what was lost since it was last told."""
        _tell(self._untold, names)
        self._untold = {}

    def tell_all(self, names: Stream) -> None:
        _tell(self._all, names)


def _tell(losses: dict[int, Loss], names: Stream) -> None:
    event = load().by_attribute["meta_discard"]
    for cpu, loss in losses.items():
        head, *payload = pack(event, 0, (loss.count, loss.begin, loss.end, cpu))
        names.words.extend((head, loss.end, *payload))
