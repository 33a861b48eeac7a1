"""E12: allocating and freeing: on one's own lists, from one pool, and what others give back."""

from __future__ import annotations

from typing import Final

from k42fs.ids import VP, Addr
from k42fs.machine.allocator import LocalAllocator, PoolAllocator
from k42fs.machine.config import MachineConfig
from k42fs.machine.driver import Machine
from k42fs.machine.thread import Thread
from k42fs.machine.validation.checks import SAME, Check, Findings, Plot, Series, relative
from k42fs.machine.validation.experiment import Effort, Experiment
from k42fs.machine.validation.lock_loop import prototype

NBYTES: Final = 64
CYCLES: Final = 300_000
WARM: Final = 60_000
SHORT: Final = 48_000
"""Cycles that will do where each pair takes the same: on lists of one's own."""


def pairs(processors: int, is_local: bool) -> tuple[float, int]:
    """Return (pairs of alloc and free per thousand cycles, misses while they were counted)."""
    cycles, warm = (SHORT, SHORT // 4) if is_local else (CYCLES, WARM)
    machine = Machine(prototype(processors, spin_polls=1 << 30))
    allocator = LocalAllocator(machine, NBYTES) if is_local else PoolAllocator(machine, NBYTES)
    done = [0]
    misses: dict[int, list[int]] = {}

    async def body(th: Thread) -> None:
        while th.proc.clock <= warm + cycles:
            if th.proc.clock > warm:
                misses.setdefault(th.vp, []).append(_misses(machine, th.vp))
            block = await allocator.alloc(th)
            await allocator.free(th, block)
            done[0] += warm < th.proc.clock <= warm + cycles

    for vp in range(processors):
        machine.spawn(VP(vp), body)
    machine.run()
    machine.check()
    return 1000 * done[0] / cycles, sum(seen[-1] - seen[0] for seen in misses.values())


def hand_off_cycles(config: MachineConfig) -> int:
    """Return from one processor's unlocking to the next one's having the lock, if many wait for a BLock:
    release and fix-up of its word, of which the first hits, and two transfers of the node by which the next
    one is told.
    """
    release = config.l1_cycles + config.atomic_cycles
    tell, look, fix_up = config.dirty_cycles, config.dirty_cycles, config.dirty_cycles + config.atomic_cycles
    return release + tell + look + fix_up


def pool_pair_cycles(config: MachineConfig) -> int:
    """Return the cycles from one pair of alloc and free to the next of a pool that everybody wants: two
    hand-offs, and what is done in between. The list's head is on the lock's line; the block comes from who
    freed it last, and is then owned to be linked.
    """
    alloc = 2 * config.l1_cycles + config.dirty_cycles
    free = config.upgrade_cycles + config.l1_cycles
    return 2 * hand_off_cycles(config) + alloc + free


def remote_atomics(list_max: int, blocks: int) -> int:
    """Return how many read-modify-writes a processor's core saw while it freed so many *blocks* of another
    node, and nothing else."""
    machine = Machine(prototype(2))
    allocator = LocalAllocator(machine, NBYTES, list_max)
    belt: list[Addr] = []

    async def producer(th: Thread) -> None:
        for _ in range(blocks):
            belt.append(await allocator.alloc(th))
            while len(belt) > 4:
                await th.sleep(500)

    async def consumer(th: Thread) -> None:
        for _ in range(blocks):
            while not belt:
                await th.sleep(100)
            await allocator.free(th, belt.pop(0))

    machine.spawn(VP(0), producer)
    machine.spawn(VP(1), consumer)
    machine.run()
    machine.check()
    return machine.core.counters(1).rmws


def allocation(effort: Effort) -> Findings:
    """E12: all three."""
    sweep = effort.pick(quick=(1, 2, 4, 16), normal=(1, 2, 4, 8, 16, 32))
    local = {n: pairs(n, True) for n in sweep}
    pool = {n: pairs(n, False)[0] for n in sweep}
    checks = [
        Check(f"own lists, P={n}, to P=1", n, local[n][0] / local[1][0], relative(0.01))
        for n in sweep
        if n > 1
    ]
    checks += [Check(f"own lists, P={n}: misses when warm", 0, local[n][1], SAME) for n in sweep]
    checks += [
        Check(f"pool, P={n}, to P=4", pool[4], pool[n], relative(0.05), "pairs/kcycle")
        for n in sweep
        if n > 4
    ]
    rate = 1000 / pool_pair_cycles(prototype(4))
    checks += [
        Check(f"pool, P={n}, to 1 per two hand-offs", rate, pool[n], relative(0.02), "pairs/kcycle")
        for n in sweep
        if n >= 4
    ]
    for list_max in effort.pick(quick=(63,), normal=(63, 4095)):
        blocks = 3 * list_max + list_max // 2  # the last list does not fill
        seen = remote_atomics(list_max, blocks)
        checks.append(Check(f"atomics of {blocks} remote frees, lists of {list_max}", 3, seen, SAME))
    curves = (
        Series("own lists", tuple((n, local[n][0]) for n in sweep)),
        Series("one pool", tuple(pool.items())),
        Series("one pool, derived", tuple((n, rate) for n in sweep if n >= 4), expected=True),
    )
    title = "E12: pairs of alloc and free"
    plot = Plot(title=title, x="processors", y="per kcycle", series=curves, log_x=True, log_y=True)
    return Findings(tuple(checks), (plot,))


def _misses(machine: Machine, vp: int) -> int:
    return sum(machine.core.counters(vp).misses.values())


EXPERIMENTS = (Experiment("E12", "allocation: own lists, one pool, remote frees", allocation, weight=30),)
