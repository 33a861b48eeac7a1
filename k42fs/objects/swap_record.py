"""What is to be known of a swap when it is over."""

from __future__ import annotations

from dataclasses import dataclass, field

from k42fs.ids import Ref


@dataclass(slots=True)
class SwapRecord:
    """What is to be known of a swap, also long after. Times in cycles of the processor where it happened, and in
    nanoseconds of the host."""

    ref: Ref
    kind: str
    label: str
    old: str
    new: str
    state: str
    began_cycles: int
    began_ns: int
    reason: str = ""
    processors: list[int] = field(default_factory=list)
    phases: list[tuple[str, int]] = field(default_factory=list)
    ended_cycles: int = 0
    ended_ns: int = 0

    @property
    def cycles(self) -> int:
        return self.ended_cycles - self.began_cycles
