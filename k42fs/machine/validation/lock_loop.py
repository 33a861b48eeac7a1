"""A closed loop of processors on one lock: what E1 and E2 measure, on the machine of their prototype.

The prototype's rules are a special case of the coherence model: one processor and one home per node, no
distance, a home busy for 40 cycles, 600 for a dirty line, 400 from memory, 400 + 20 for each other sharer to
own one. The model starts counting sharers after the first, so `upgrade_cycles` is 420. The lock's lines, the
display of the ticket lock and the datum that the lock protects have homes of their own, as the prototype's
figures are for homes that do not queue behind one another.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from k42fs.ids import VP
from k42fs.machine.config import MachineConfig
from k42fs.machine.driver import Machine
from k42fs.machine.layout import Kind
from k42fs.machine.lock_kinds import LOCK_KINDS, Lock
from k42fs.machine.spin_lock import SpinLock
from k42fs.machine.spin_locks import McsLock, TicketLock
from k42fs.machine.thread import Thread

LINE: Final = 64
SECTION: Final = 100
DIRTY: Final = 600
ALL: Final = ("tas", "ttas", "ticket", "mcs", "SLock", "BLock")


def prototype(processors: int, **overrides: int) -> MachineConfig:
    """Return the machine of the prototype."""
    numbers: dict[str, Any] = {
        "processors_per_node": 1,
        "line_bytes": LINE,
        "l1_line_bytes": LINE,
        "l1_cycles": 4,
        "l2_cycles": 4,
        "local_cycles": 400,
        "remote_cycles": 400,
        "dirty_cycles": DIRTY,
        "upgrade_cycles": 420,
        "hop_cycles": 0,
        "home_busy_cycles": 40,
        "inval_issue_cycles": 20,
        "atomic_cycles": 20,
    }
    numbers |= overrides
    return MachineConfig(name="prototype", processors=processors, topology="flat", **numbers)


@dataclass(frozen=True, slots=True)
class Loop:
    """What a loop came to: cycles from one acquisition to the next, and transactions per acquisition."""

    cycles: float
    transactions: float

    @property
    def per_mcycle(self) -> float:
        return 1e6 / self.cycles


class _TimeIsUp(Exception):
    """Ends a run."""


def lock_loop(kind: str, processors: int, cycles: int, think: int = 0, seed: int = 0) -> Loop:
    """Let all *processors* take the lock, write the datum, work, release and think, over and over, for so many
    *cycles* from a cold start. Times to think are exponential, *think* on average.
    """
    machine = Machine(prototype(processors, seed=seed, spin_polls=1 << 30))
    lock = _make_lock(machine, kind)
    datum = machine.memory.alloc(processors - 1, LINE, Kind.GLOBAL_PADDED)
    grants = [0]

    async def body(th: Thread) -> None:
        draw = Random(seed << 16 | th.vp)
        if think:
            await th.sleep(round(draw.expovariate(1 / think)))
        while True:
            await lock.acquire(th)
            if th.proc.clock > cycles:
                raise _TimeIsUp
            grants[0] += 1
            await th.store(datum)
            th.work(SECTION)
            if isinstance(lock, SpinLock):
                await lock.release_in_turn(th)
            else:
                lock.release(th)
            if think:
                await th.sleep(round(draw.expovariate(1 / think)))

    for vp in range(processors):
        machine.spawn(VP(vp), body)
    with suppress(_TimeIsUp):
        machine.run()
    machine.check()
    transactions = _misses(machine)
    machine.close()
    return Loop(cycles / grants[0], transactions / grants[0])


def _make_lock(machine: Machine, kind: str) -> Lock:
    addr = machine.memory.alloc(0, 2 * LINE, Kind.GLOBAL_PADDED)
    if kind == "mcs":
        return McsLock(machine, addr, is_split=True)
    if kind == "ticket":
        display = machine.memory.alloc(machine.config.processors // 2, LINE, Kind.GLOBAL_PADDED)
        return TicketLock(machine, addr, serving_addr=display)
    return LOCK_KINDS[kind](machine, addr)


def _misses(machine: Machine) -> int:
    counted = (machine.core.counters(vp).misses for vp in range(machine.config.processors))
    return sum(sum(misses.values()) for misses in counted)
