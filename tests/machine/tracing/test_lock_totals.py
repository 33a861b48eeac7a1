"""What locks tell the tracer, read back: the same totals as the machine's own, for every kind, however it runs."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from k42fs.ids import VP
from k42fs.machine import Kind, Machine, RWLock, Thread, cores
from k42fs.machine.lock_base import LockBase
from k42fs.machine.lock_kinds import LOCK_BYTES, LOCK_KINDS, Lock
from k42fs.machine.tracing.mask import LOCK
from k42fs.report.locks import Totals, lock_totals
from tests.machine.lab import machine, run
from tests.report.lab import source

pytestmark = pytest.mark.usefixtures("_on_each_core")

KINDS = sorted(LOCK_KINDS)
ROUNDS = 12
Body = Callable[[Thread], Coroutine[Any, Any, None]]


def locks_of(m: Machine, kind: str) -> list[Lock]:
    """Make two locks, each on its own line."""
    size = max(LOCK_BYTES, m.config.line_bytes)
    return [
        LOCK_KINDS[kind](m, m.memory.alloc(vp, size, Kind.GLOBAL_PADDED), name=f"lock{vp}") for vp in (0, 1)
    ]


def storm(m: Machine, locks: list[Lock], seed: int) -> Body:
    """Take one lock or the other, hold it for a while, sleep with it now and then if its waiters block."""

    async def body(th: Thread) -> None:
        draw = Random(f"{seed} {th.vp} {th.number}")
        for _ in range(ROUNDS):
            lock = draw.choice(locks)
            if draw.randrange(6) or not lock.try_acquire(th):
                await lock.acquire(th)
            th.work(draw.randrange(400))
            if lock.blocks and not m.live and not draw.randrange(4):
                await th.sleep(draw.choice((300, 30_000)))  # some outlast the patience of those who poll
            lock.release(th)
            th.work(draw.randrange(900))

    return body


def shared_storm(m: Machine, lock: RWLock, seed: int) -> Body:
    """Read, write, upgrade and downgrade."""

    async def body(th: Thread) -> None:
        draw = Random(f"{seed} {th.vp} {th.number}")
        for _ in range(ROUNDS):
            choice = draw.randrange(8)
            if choice < 4:
                if choice == 0 and lock.try_acquire_r(th):
                    pass
                else:
                    await lock.acquire_r(th)
                th.work(draw.randrange(600))
                if choice == 3 and lock.try_upgrade(th):
                    th.work(100)
                    lock.release_w(th)
                else:
                    lock.release_r(th)
            else:
                await lock.acquire_w(th)
                th.work(draw.randrange(300))
                if choice == 7 and not m.live:
                    await th.sleep(20_000)
                if choice == 6:
                    lock.downgrade(th)
                    th.work(200)
                    lock.release_r(th)
                else:
                    lock.release_w(th)
            th.work(draw.randrange(2000))

    return body


def ran(m: Machine, threads: list[tuple[int, Body]]) -> None:
    run(m, *threads)


def live_run(m: Machine, body: Body, seed: int) -> None:
    """Bring operations of *body* as a host does: each to its end, in an order that is not their clocks'."""
    draw = Random(seed)
    for _ in range(6):
        for vp in draw.sample(range(4), 4):
            th = m.enter(VP(vp))
            m.drive(body(th))
            m.leave(th)


def recorded(m: Machine, path: Path, go: Callable[[], None]) -> dict[int, Totals]:
    """Record *go*; return the report's totals by address, both sides of a lock together in `write`."""
    m.tracer.start(path, LOCK)
    go()
    m.check()
    m.close()
    found = {}
    for (address, name), totals in lock_totals(source(path)).items():
        assert name is not None, f"{address:#x} has no name"
        totals.write.join(totals.read)
        found[address] = totals
    return found


def check_totals(m: Machine, locks: Sequence[LockBase], found: dict[int, Totals]) -> None:
    blocked = m.watchers.blocked  # has locks of its own, if anybody had to block there
    table = {inner.addr: inner for lock in locks if (inner := blocked.lock_of(lock.addr)).addr in found}
    assert set(found) == {lock.addr for lock in locks} | set(table)
    for lock in [*locks, *table.values()]:
        seen = found[lock.addr].write
        waited = seen.waited
        assert (waited.count, waited.total, waited.max) == (
            lock.contentions,
            lock.waited_cycles,
            lock.max_wait,
        )
        assert seen.held.total == lock.held_cycles
        assert seen.held.count == seen.acquisitions == lock.acquisitions
        assert found[lock.addr].name.rpartition(".")[2] == lock.name


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_the_totals_are_the_machine_s_own(kind: str, seed: int, tmp_path: Path) -> None:
    m = machine(6, seed=seed)
    locks = locks_of(m, kind)
    body = storm(m, locks, seed)
    threads = [(vp, body) for vp in range(6)] + ([(vp, body) for vp in range(3)] if locks[0].blocks else [])
    found = recorded(m, tmp_path / "t", lambda: ran(m, threads))
    assert sum(lock.contentions for lock in locks) > 10
    check_totals(m, locks, found)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_live_too_where_most_waits_are_in_the_past(kind: str, seed: int, tmp_path: Path) -> None:
    m = machine(4, live=True)
    locks = locks_of(m, kind)
    body = storm(m, locks, seed)
    found = recorded(m, tmp_path / "t", lambda: live_run(m, body, seed))
    assert sum(lock.contentions for lock in locks) > 10
    check_totals(m, locks, found)


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_readers_and_writers_too(seed: int, live: bool, tmp_path: Path) -> None:
    m = machine(4, seed=seed, live=live)
    lock = RWLock(m, m.memory.alloc(0, 64, Kind.GLOBAL_PADDED), name="rw")
    body = shared_storm(m, lock, seed)
    if live:
        found = recorded(m, tmp_path / "t", lambda: live_run(m, body, seed))
    else:
        threads = [(vp % 4, body) for vp in range(8)]
        found = recorded(m, tmp_path / "t", lambda: ran(m, threads))
    assert lock.contentions > 10
    check_totals(m, [lock], found)


def test_a_run_s_recording_is_the_same_on_both_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("k42fs.machine.fast_core", exc_type=ImportError)
    written = []
    for core in (cores.PURE, cores.COMPILED):
        monkeypatch.setenv(cores.VARIABLE, core)
        m = machine(6, seed=5)
        locks, rw = locks_of(m, "BLock"), RWLock(m, m.memory.alloc(0, 64, Kind.GLOBAL_PADDED), name="rw")
        bodies = [storm(m, locks, 5), shared_storm(m, rw, 5)]
        path = tmp_path / core
        threads = [(vp % 6, bodies[vp & 1]) for vp in range(9)]
        recorded(m, path, partial(ran, m, threads))
        written.append({each.name: each.read_bytes() for each in path.iterdir()})
    assert written[0] == written[1]
