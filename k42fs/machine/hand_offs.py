"""Hand-offs in the past: what a live machine knows of lock waits whose other side has long gone on.

Live, an operation that comes later in wall time but earlier in virtual time waits, by its clock, for a holder
that released the lock long ago as far as the host is concerned. The waiter is charged the cycles of the
hand-off. The lines that would have moved did not, as nobody was there to move them: they are counted here,
so that a mount's figures say what a deterministic run of the same operations says. Per hand-off: the lock's
line once more to the waiter that queues and back to the holder; if the waiter would have blocked also the
two transfers of the message that wakes it and the one of its receipt (`interrupts.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from k42fs.machine.core import LineTransfers
from k42fs.machine.interrupts import DISPATCHER

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine


class HandOffs:
    """Transfers by line: [how many, which processors they went to]."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._lines: dict[int, list[int]] = {}

    def cycles(self, giver: int, taker: int, addr: int, waited: int, blocks: bool) -> int:
        """Return what handing the lock at *addr* over takes if *taker* has waited so long; count its transfers."""
        machine = self._machine
        cycles = machine.hand_off_cycles(giver, taker, addr)
        is_blocked = blocks and waited > machine.config.patience_cycles
        if is_blocked:
            cycles += machine.unblock_cycles(giver, taker)
        if machine.live and giver != taker:
            both = 1 << giver | 1 << taker
            self._count(addr, 2, both)
            if is_blocked:
                mailbox = machine.interrupts.mailbox(machine.processors[taker])
                self._count(mailbox, 2, both)
                self._count(mailbox + DISPATCHER.offset("interrupts"), 1, both)
        return cycles

    def added_to(self, transfers: Iterable[LineTransfers]) -> Iterator[LineTransfers]:
        """Yield *transfers* with those of hand-offs added to their lines."""
        left = dict(self._lines)
        for item in transfers:
            more, movers = left.pop(item.line, (0, 0))
            yield (
                item._replace(transfers=item.transfers + more, movers=item.movers | movers) if more else item
            )
        for line, (count, movers) in left.items():
            yield LineTransfers(line, count, movers, ())

    def reset(self) -> None:
        self._lines.clear()

    def _count(self, addr: int, transfers: int, movers: int) -> None:
        row = self._lines.setdefault(addr // self._machine.config.line_bytes, [0, 0])
        row[0] += transfers
        row[1] |= movers
