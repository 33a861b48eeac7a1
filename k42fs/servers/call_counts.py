"""How many calls a file server has had: a word for each processor, or one that all of them change.

Who wants the sum of the former reads them all, at different instants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k42fs.ids import VP
from k42fs.machine.layout import Kind, Layout

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine
    from k42fs.servers.supplies import Spread

NAME_TREE: Final = Layout("NameTree", Kind.GLOBAL, file_system=8, root=8, flags=8)
CALL_HERE: Final = NAME_TREE.script("call", "r:file_system r:flags w2:0", work=30)
CALL_SHARED: Final = NAME_TREE.script("call_counted", "r:file_system r:flags x2:0", work=30)

OWN_COUNT: Final = Layout("CallCount", Kind.LOCAL_STRICT, calls=8)
ONE_COUNT: Final = Layout("CallCounts", Kind.GLOBAL_PADDED, calls=8)


class CallCounts:
    """The counts of one server, by processor. `script` is what a call touches: its second address is in `addrs`."""

    __slots__ = ("addrs", "counts", "script")

    def __init__(self, machine: Machine, spread: Spread) -> None:
        vps = [VP(vp) for vp in range(len(machine.processors))]
        self.counts = [0] * len(vps)
        if spread == "single":
            self.script = CALL_SHARED
            self.addrs = [machine.memory.alloc(VP(0), ONE_COUNT, owner=self)] * len(vps)
        else:
            self.script = CALL_HERE
            self.addrs = [machine.memory.alloc(vp, OWN_COUNT, owner=self) for vp in vps]

    def label(self) -> str:
        """What statistics and traces call it."""
        return "call counts"

    @property
    def total(self) -> int:
        """All calls so far."""
        return sum(self.counts)
