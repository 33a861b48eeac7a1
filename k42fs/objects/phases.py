"""The phases of a hot swap, as a table.

| phase     | a call that comes                                  | ends when                                        |
|-----------|----------------------------------------------------|--------------------------------------------------|
| NORMAL    | runs in the old implementation, uncounted          | the mediator is in the global entry              |
| FORWARD   | is counted, and runs in the old implementation     | no uncounted call is left on any processor       |
| BLOCK     | waits, but for calls that others depend on         | the last counted call has left, the state moved  |
| COMPLETED | takes an ordinary miss and reaches the new one     |                                                  |
| ABORTED   | takes an ordinary miss and reaches the old one     |                                                  |

K42: lib/libc/cobj/CObjRootMediator.H (SwitchPhase).
Differs: K42 cannot abort, and begins BLOCK on each processor by itself. Servers here hold locks across calls, so
that a caller who waits on one processor may hold what an uncounted call on another needs: BLOCK begins
everywhere at once, when there is no such call any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum, auto
from typing import Final


class Phase(IntEnum):
    """How far a swap is. The numbers are those of the trace."""

    NORMAL = 0
    FORWARD = 1
    BLOCK = 2
    COMPLETED = 3
    ABORTED = 4


class Event(Enum):
    """What moves a swap on."""

    MEDIATOR_INSTALLED = auto()
    UNCOUNTED_LEFT = auto()  # every call that began before the mediator has ended, on all processors
    STATE_MOVED = auto()
    FAILED = auto()  # past a deadline, or the state could not be moved


NEXT: Final[Mapping[tuple[Phase, Event], Phase]] = {
    (Phase.NORMAL, Event.MEDIATOR_INSTALLED): Phase.FORWARD,
    (Phase.NORMAL, Event.STATE_MOVED): Phase.COMPLETED,  # nobody ever called the object: no mediator
    (Phase.NORMAL, Event.FAILED): Phase.ABORTED,
    (Phase.FORWARD, Event.UNCOUNTED_LEFT): Phase.BLOCK,
    (Phase.FORWARD, Event.FAILED): Phase.ABORTED,
    (Phase.BLOCK, Event.STATE_MOVED): Phase.COMPLETED,
    (Phase.BLOCK, Event.FAILED): Phase.ABORTED,
}

OVER: Final = frozenset((Phase.COMPLETED, Phase.ABORTED))


def after(phase: Phase, event: Event) -> Phase:
    """Return the phase after *event*. A missing row is our bug."""
    assert (phase, event) in NEXT, f"{event.name} is illegal in {phase.name}"
    return NEXT[phase, event]
