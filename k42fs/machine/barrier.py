"""Barriers: central with back-off, a tree of fan-in 4, and one that blocks.

Everybody who calls `wait` waits until all have. A barrier can be used again at once: rounds do not mix.

CentralBarrier counts arrivals in one word and lets all spin on another, on a line of its own or (as in K42)
on the same. A spinner backs off: after each 64 looks it looks 100 turns of its loop later than before, up to
3100, then often again. Arrivals and the re-reads of those who wait are transfers of the same lines, so a
round takes time in proportion to the number of processors.

TreeBarrier spins on lines of its own: each processor waits for up to four children, tells its parent, and
is told by it. A round takes time in proportion to the tree's height.

BlockBarrier lists those who wait under a lock; the last to come unblocks them all.

K42: lib/libc/sync/Barrier.H, Barrier.C; it has no tree, its comments ask for one.
Differs: K42's BlockBarrier retries after 5000 us if the last round has not drained; here a round has a list
of its own and need not drain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k42fs.ids import Addr
from k42fs.machine.core import NEVER
from k42fs.machine.layout import WORD_BYTES, Kind
from k42fs.machine.locks import SLock

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine
    from k42fs.machine.thread import Thread

FAN_IN: Final = 4
LOOKS: Final = 64
STEP_TURNS: Final = 100
STEPS: Final = 32


def back_off(looks: int) -> int:
    """Return how many turns of its loop a spinner that looked so often waits before it looks again."""
    return (looks // LOOKS % STEPS) * STEP_TURNS


class CentralBarrier:
    """All count in one word. *is_apart*: they spin on another line than that, unlike K42's."""

    def __init__(self, machine: Machine, parties: int, home: int = 0, is_apart: bool = False) -> None:
        self._machine = machine
        self.parties = parties
        line = machine.config.line_bytes
        self._count_addr = machine.memory.alloc(home, 2 * line, Kind.GLOBAL_PADDED)
        self._round_addr = self._count_addr + (line if is_apart else WORD_BYTES)
        self._count = 0
        self._round = 0

    async def wait(self, th: Thread) -> None:
        """Wait until all parties have come."""
        here = self._round
        await th.rmw(self._count_addr)
        self._count += 1
        if self._count == self.parties:
            self._count = 0
            await th.store(self._round_addr)
            self._round += 1
            return
        looks = 0
        machine, proc = self._machine, th.proc
        while True:
            await th.load(self._round_addr)
            if self._round != here:
                return
            begin = proc.clock
            await machine.watchers.wait_line(th, self._round_addr)
            looks = self._look(th, looks, begin)

    def _look(self, th: Thread, looks: int, begin: int) -> int:
        """Let *th*, whose copy was taken, wait for its next look; return how often it has looked by then."""
        turn, proc = self._machine.config.poll_cycles, th.proc
        at = begin
        while at < proc.clock:
            pause = back_off(looks) * turn
            if not pause:  # it looks all the time until its back-off begins
                free = min(LOOKS - looks % LOOKS, max(1, -(-(proc.clock - at) // max(turn, 1))))
                looks += free
                at += free * max(turn, 1)
            else:
                looks += 1
                at += turn + pause
        proc.spin_until(at)
        return looks


class TreeBarrier:
    """Each party waits for its children and tells its parent. Party i's children are 4 i + 1 to 4 i + 4."""

    def __init__(self, machine: Machine, parties: int, homes: list[int] | None = None) -> None:
        """*homes*: the processor of each party, where its lines are; by default its number."""
        self._machine = machine
        self.parties = parties
        line = machine.config.line_bytes
        where = homes if homes is not None else [i % machine.config.processors for i in range(parties)]
        alloc = machine.memory.alloc
        # Two lines each: the children's flags, and the one by which the parent lets it go.
        self._lines: list[Addr] = [alloc(vp, 2 * line, Kind.GLOBAL_PADDED) for vp in where]
        self._go = line
        self._arrived = [0] * parties
        self._round = [0] * parties

    async def wait(self, th: Thread, party: int) -> None:
        """Wait, as number *party*, until all parties have come."""
        children = range(FAN_IN * party + 1, min(FAN_IN * party + FAN_IN + 1, self.parties))
        here = self._round[party]
        spin = self._machine.watchers.spin_until
        if children:
            await spin(th, self._lines[party], lambda: self._arrived[party] == len(children), NEVER)
            self._arrived[party] = 0
        if party:
            parent = (party - 1) // FAN_IN
            flag = (party - 1) % FAN_IN * WORD_BYTES
            await th.store(self._lines[parent] + flag)
            self._arrived[parent] += 1
            await spin(th, self._lines[party] + self._go, lambda: self._round[party] != here, NEVER)
        else:
            self._round[0] += 1
        for child in children:
            await th.store(self._lines[child] + self._go)
            self._round[child] += 1


class BlockBarrier:
    """Those who wait are listed and block."""

    def __init__(self, machine: Machine, parties: int, home: int = 0) -> None:
        self.parties = parties
        addr = machine.memory.alloc(home, 64, Kind.GLOBAL_PADDED)
        self._list_addr = addr + 2 * WORD_BYTES
        self._lock = SLock(machine, addr, name="barrier")
        self._waiting: list[Thread] = []

    async def wait(self, th: Thread) -> None:
        """Wait until all parties have come."""
        await self._lock.acquire(th)
        try:
            await th.rmw(self._list_addr)
            waiting = self._waiting
            waiting.append(th)
            is_last = len(waiting) == self.parties
            if is_last:
                self._waiting = []
        finally:
            self._lock.release(th)
        if not is_last:
            while th in waiting:  # stray unblocks are legal
                await th.block()
            return
        waiting.remove(th)
        for other in list(waiting):
            waiting.remove(other)
            th.unblock(other)
