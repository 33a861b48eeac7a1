"""Which threads a machine gets: compiled ones on a compiled core, where they were built, else those of `thread.py`.

Both give the same numbers, so nothing but speed depends on it: see `cores.py`, whose choice this follows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from k42fs.machine.cores import COMPILED
from k42fs.machine.thread import CallsThread, FullThread, OffThread, Thread
from k42fs.machine.trace import EventRing, Ring

if TYPE_CHECKING:
    from collections.abc import Callable

    from k42fs.machine.driver import Machine
    from k42fs.machine.fast_threads import Charger

Model = Literal["full", "calls", "off"]


class Parts(NamedTuple):
    """What a machine is made of besides its core. `make_charger`: what its threads share, if they share anything."""

    thread: type[Thread]
    make_ring: Callable[[int], Ring]
    make_charger: Callable[[Machine], Charger] | None


THREADS: Final[dict[str, Parts]] = {
    "full": Parts(FullThread, EventRing, None),
    "calls": Parts(CallsThread, EventRing, None),
    "off": Parts(OffThread, EventRing, None),
}

try:
    from k42fs.machine.fast_threads import Charger, FastCallsThread, FastRing, FastThread
except ImportError:
    _compiled: dict[str, Parts] = THREADS
else:
    _compiled = {
        "full": Parts(FastThread, FastRing, Charger),
        "calls": Parts(FastCallsThread, FastRing, Charger),
        "off": THREADS["off"],  # nothing is charged: there is nothing to compile
    }


def parts_for(model: Model, core: str) -> Parts:
    """Return the parts for *model* on a core of that name (`CoherenceCore.name`)."""
    assert model in THREADS, f"model must be one of {', '.join(THREADS)}: {model!r}"
    return (_compiled if core == COMPILED else THREADS)[model]
