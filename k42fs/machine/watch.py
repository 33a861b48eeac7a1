"""Watchers: processors that spin on a line in their own cache.

Polling a cached copy causes no traffic, so it is not simulated: the spinner leaves the driver's heap and is
listed here by line. When a transaction takes its copy away it notices after the way of the invalidation and
half a turn of its loop, and reads again through the core, where it queues with all the others who lost
theirs. A bounded spin has a deadline too; whichever comes first ends it. How often it polled is elapsed time
divided by the cost of a turn, which `polls` reports.

What words hold is ordinary Python state that changes right after its writer's charge. That is sound: the
line is blocked until the write is over, and whoever comes later queues behind it.

Live, operations run one at a time to their ends, so nobody can change the word while a bounded spin lasts:
its time passes at once. An unbounded one parks the operation until somebody takes the copy.

Source: K42's SLock.C and Barrier.C spin in this way on words of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from k42fs.machine.blocked_threads import BlockedThreadQueues
from k42fs.machine.core import NEVER
from k42fs.machine.thread import SPINNING, Thread

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine


class Watchers:
    """The spinning threads of one machine, by line. *granted* lets one go on, see `Machine`."""

    def __init__(self, machine: Machine, granted: Callable[[Thread], None]) -> None:
        self._machine = machine
        self._granted = granted
        self._by_line: dict[int, dict[int, list[Thread]]] = {}  # line -> processor -> its threads

    @cached_property
    def blocked(self) -> BlockedThreadQueues:
        """Those that block on a word instead of spinning: the machine's one table, made at its first use."""
        return BlockedThreadQueues(self._machine)

    async def wait_line(self, th: Thread, addr: int, deadline: int = NEVER) -> bool:
        """Spin until *th*'s processor, which has just read the line of *addr*, loses its copy of it.

        Returns False if *deadline*, a time of its clock, came first. Only model=full knows copies.
        """
        machine, proc = self._machine, th.proc
        assert th.level > 1, f"{th!r} spins on a line, but no lines are modelled"
        if machine.live and deadline < NEVER:
            proc.spin_until(deadline)
            return False
        line = addr // machine.config.line_bytes
        machine.core.watched.add(line)
        self._by_line.setdefault(line, {}).setdefault(th.vp, []).append(th)
        th.granted_at = -1
        th.wake_at = deadline
        th.state = SPINNING
        try:
            await th.pause
        finally:
            self._forget(th, line)
        return th.granted_at >= 0

    async def spin_until(
        self, th: Thread, addr: int, is_true: Callable[[], bool], deadline: int = NEVER
    ) -> bool:
        """Read *addr* until *is_true()*, tested after each read; return False if *deadline* came first."""
        while True:
            await th.load(addr)
            if is_true():
                return True
            if th.proc.clock >= deadline or not await self.wait_line(th, addr, deadline):
                return False

    def taken(self, line: int, cpu: int, start: int) -> int:
        """A transaction that started at *start* took *cpu*'s copy of *line*: wake who spins on it there.

        Returns when it wakes: until then the taker may go on, or for ever if nobody does. This is the core's
        `on_taken`.
        """
        woken = NEVER
        for th in self._by_line.get(line, {}).get(cpu, ()):
            if th.granted_at < 0:
                th.granted_at = max(th.proc.clock, start + self._notice_cycles(line, cpu))
                self._granted(th)
                woken = min(woken, th.granted_at)
        return NEVER if self._machine.live else woken

    def polls(self, cycles: int) -> int:
        """Return how often a spinner polls in so many cycles."""
        return cycles // self._machine.config.poll_cycles if self._machine.config.poll_cycles else 0

    def _notice_cycles(self, line: int, cpu: int) -> int:
        """Return how long an invalidation is on its way, and half a turn of the spinner's loop."""
        machine, config = self._machine, self._machine.config
        leg = config.hop_cycles * config.hops(machine.memory.home(line), config.node(cpu))
        return config.upgrade_cycles // 2 + leg + config.poll_cycles // 2

    def _forget(self, th: Thread, line: int) -> None:
        by_cpu = self._by_line[line]
        by_cpu[th.vp].remove(th)
        if not by_cpu[th.vp]:
            del by_cpu[th.vp]
        if not by_cpu:
            del self._by_line[line]
            self._machine.core.watched.discard(line)
