"""Pace: callers that contend on a live machine are kept abreast in virtual time.

The host brings operations in the order of wall time: one caller may bring fifty while another does not get a
processor of the host. Reservations place each in virtual time, but a line that should have gone to and fro
with every operation stays where it is, and gaps are found that would not have been there. So while callers
contend, an operation whose processor is ahead of the slowest active one by more than `SLACK_CYCLES` is to be
held until the others have come near: then the host brings theirs. A processor is active while its caller
brings operations. One that lets the others wait for too long, as the host says, thinks: it is not active until
its next operation, and its clock is then that of the slowest.

Without contention nothing is held: `hot` is zero, and that is all there is to look at.

There is no event loop here. The host asks `is_ahead` after it has entered, then calls `hold` with what is to
be called when the operation may go on, and `resume` when it goes on, or will not wait longer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from k42fs.machine import contexts

if TYPE_CHECKING:
    from k42fs.machine.processor import Processor
    from k42fs.machine.thread import Thread

SLACK_CYCLES: Final = 2000
HOT_OPERATIONS: Final = 1024
"""Operations after the last contention during which callers are kept abreast."""

CREDIT_MAX: Final = 8
CREDIT_OPERATIONS: Final = 64
"""Each wait in vain costs one of the credit, so many operations earn one; without credit nothing is held. So
callers that come and go cost the others at most one such wait per so many operations."""


class Pace:
    """Who is active, who is held. `holds` counts operations held, `given_up` processors that were too slow."""

    def __init__(self) -> None:
        self.hot = 0
        self.holds = 0
        self.given_up = 0
        self._credit = CREDIT_MAX
        self._earned = 0
        self._active: dict[int, Processor] = {}
        self._held: dict[Thread, Callable[[], object]] = {}

    def entered(self, proc: Processor) -> None:
        """An operation of *proc*'s caller has come."""
        if proc.vp in self._active:
            return
        if self._active:
            proc.idle_until(self._low())
        self._active[proc.vp] = proc

    def left(self, proc: Processor) -> None:
        """An operation of *proc* has ended: let those go on that are not ahead any more."""
        if proc.spin != proc.spin_seen:
            proc.spin_seen = proc.spin
            self.hot = HOT_OPERATIONS
        elif self.hot:
            self.hot -= 1
            if not self.hot:
                self._active.clear()
        self._earned += 1
        if self._earned == CREDIT_OPERATIONS:
            self._earned = 0
            self._credit = min(CREDIT_MAX, self._credit + 1)
        if self._held:
            self._let_go()

    def is_ahead(self, th: Thread) -> bool:
        """Say whether *th*'s operation should be held."""
        return self._credit > 0 and len(self._active) > 1 and th.proc.clock > self._low() + SLACK_CYCLES

    def behind(self, th: Thread, vps: int) -> int:
        """Return how many active processors of the bit set *vps* have clocks before *th*'s."""
        now = th.proc.clock
        return sum(vps >> vp & 1 for vp, proc in self._active.items() if proc.clock < now)

    def hold(self, th: Thread, go: Callable[[], object]) -> None:
        """Call *go* when *th*'s operation, which has not begun, may go on."""
        self.holds += 1
        self._held[th] = go

    def resume(self, th: Thread) -> None:
        """*th*'s operation goes on. If it still should not, do not count on those that it waited for."""
        self._held.pop(th, None)
        if th.proc.on.control:
            contexts.run(th)  # others may have been there meanwhile
        if not self.is_ahead(th):
            return
        self._credit -= 1
        held = {other.vp for other in self._held}
        for vp, proc in list(self._active.items()):
            if proc.clock + SLACK_CYCLES < th.proc.clock and vp not in held:
                del self._active[vp]
                self.given_up += 1
        self._let_go()

    def _low(self) -> int:
        return min(proc.clock for proc in self._active.values())

    def _let_go(self) -> None:
        limit = self._low() + SLACK_CYCLES if self._active else None
        for th in sorted(self._held, key=lambda th: (th.proc.clock, th.number)):
            if limit is not None and th.proc.clock > limit:
                break
            self._held.pop(th)()
