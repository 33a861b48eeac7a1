"""Event rings: the last few events of each processor, as data, for counters and for the log after a bug.

An event is a tuple (clock, what, detail): *what* is a `Script` or a word, *detail* an int. Rings keep
references, they format nothing until asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Protocol

from k42fs.machine.layout import Script

Event = tuple[int, "Script | str", int]

ENTER, LOCK_WAIT, LOCK_GRANT, BLOCK, UNBLOCK, RUN, OUTSIDE = (
    "enter",
    "lock-wait",
    "lock-grant",
    "block",
    "unblock",
    "run",
    "outside",
)


class Ring(Protocol):
    """The last events of one processor."""

    def append(self, event: Event, /) -> None:
        """Add an event; the oldest makes room."""

    def last(self, count: int) -> list[Event]:
        """Return the last *count* events, oldest first."""


class EventRing(deque[Event]):
    """The last events of one processor, oldest first."""

    def __init__(self, size: int) -> None:
        super().__init__(maxlen=size)

    def last(self, count: int) -> list[Event]:
        return list(self)[-count:]


def lines(vp: int, events: Iterable[Event]) -> Iterator[str]:
    """Yield *events* of processor *vp* as text, one line each."""
    for clock, what, detail in events:
        name = what.name if isinstance(what, Script) else what
        yield f"vp {vp:4d} {clock:12d} {name} {detail:#x}"
