"""Which threads and which driver a machine gets: compiled ones on a compiled core, where they were built, else
those of `thread.py` and `scheduler.py`.

Both give the same numbers, so nothing but speed depends on it: see `cores.py`, whose choice this follows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from k42fs.machine.cores import COMPILED
from k42fs.machine.scheduler import Scheduler
from k42fs.machine.thread import CallsThread, FullThread, OffThread, Thread
from k42fs.machine.trace import EventRing, Ring

if TYPE_CHECKING:
    from collections.abc import Callable

    from k42fs.machine.driver import Machine
    from k42fs.machine.fast_scheduler import FastScheduler
    from k42fs.machine.fast_threads import Charger

Model = Literal["full", "calls", "off"]


class Parts(NamedTuple):
    """What a machine is made of besides its core. `make_charger`: what its threads share, if they share anything."""

    thread: type[Thread]
    make_ring: Callable[[int], Ring]
    make_charger: Callable[[Machine], Charger] | None
    make_scheduler: Callable[[Machine], Scheduler | FastScheduler]


PURE: Final[dict[str, Parts]] = {
    "full": Parts(FullThread, EventRing, None, Scheduler),
    "calls": Parts(CallsThread, EventRing, None, Scheduler),
    "off": Parts(OffThread, EventRing, None, Scheduler),
}

try:
    from k42fs.machine.fast_scheduler import FastScheduler
    from k42fs.machine.fast_threads import Charger, FastCallsThread, FastRing, FastThread
except ImportError:
    _compiled: dict[str, Parts] = PURE
else:
    _compiled = {
        "full": Parts(FastThread, FastRing, Charger, FastScheduler),
        "calls": Parts(FastCallsThread, FastRing, Charger, FastScheduler),
        "off": Parts(
            OffThread, EventRing, None, FastScheduler
        ),  # nothing is charged: its threads are fast as they are
    }


def parts_for(model: Model, core: str) -> Parts:
    """Return the parts for *model* on a core of that name (`CoherenceCore.name`)."""
    assert model in PURE, f"model must be one of {', '.join(PURE)}: {model!r}"
    return (_compiled if core == COMPILED else PURE)[model]
