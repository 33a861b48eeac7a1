"""Compiled threads: the same to the digit as those in Python, and safe in every order of waiting and ending."""

import gc
import sys
from collections.abc import Coroutine
from random import Random
from typing import Any
from weakref import ref

import pytest

from k42fs.ids import VP, Ref
from k42fs.machine import Kind, Layout, Machine, Thread, cores
from k42fs.machine.layout import READ, WRITE
from tests.machine.lab import ADD, BOX, a_lock, machine, run

fast = pytest.importorskip("k42fs.machine.fast_threads", exc_type=ImportError)

WIDE = Layout("Wide", Kind.GLOBAL_PADDED, head=8, body=500, tail=24)
SCRIPTS = (
    ADD,
    WIDE.script("sweep", "r:head w:body r:tail", work=7),
    WIDE.script("swap", "x:head r2:8 w2:136 r:body"),
    WIDE.script("idle", "", work=11),
)


@pytest.fixture(autouse=True)
def _on_the_compiled_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cores.VARIABLE, cores.COMPILED)


async def storm(th: Thread, random: Random, objects: list[int], own: int) -> None:
    """Charge everything there is, in random order."""
    for _ in range(60):
        base, other = random.choice(objects), random.choice(objects)
        choice = random.randrange(8)
        if choice < 3:
            await th.touch(random.choice(SCRIPTS), base, other)
        elif choice == 3:
            await th.load(base + random.randrange(64), random.randrange(1, 300))
        elif choice == 4:
            await th.store(base + random.randrange(64), random.randrange(1, 300))
        elif choice == 5:
            await th.rmw(base)
        elif choice == 6:
            await th.copy(random.choice((READ, WRITE)), own, random.randrange(1, 20_000))
            th.work(random.randrange(50))
        else:
            assert th.deref(Ref(7)) == th.vp
            await th.sleep(random.randrange(3000))


def stormy(
    core: str, seed: int, monkeypatch: pytest.MonkeyPatch, model: str = "full", lookahead: int = 0
) -> Machine:
    """Run twelve threads on six processors."""
    monkeypatch.setenv(cores.VARIABLE, core)
    m = machine(6, seed=seed, model=model, config={"lookahead_cycles": lookahead})
    objects = [m.memory.alloc(vp, WIDE) for vp in range(6)]
    pages = m.memory.alloc(0, 1 << 16)
    for vp in range(12):
        m.processors[vp % 6].ltt = {7: vp % 6}
        m.spawn(VP(vp % 6), storm, Random(100 * seed + vp), objects, pages)
    m.run()
    m.check()
    return m


@pytest.mark.parametrize("model", ["full", "calls"])
@pytest.mark.parametrize("lookahead", [0, 300])
@pytest.mark.parametrize("seed", range(4))
def test_a_storm_of_charges_counts_the_same(
    seed: int, lookahead: int, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    for core in (cores.PURE, cores.COMPILED):
        m = stormy(core, seed, monkeypatch, model, lookahead)
        counted = m.statistics()
        assert counted.pop("core") == core
        seen.append((m.event_hash(), counted, m.recent_events(64)))
    assert seen[0] == seen[1]


def waiting(m: Machine) -> tuple[Thread, int]:
    """Return a thread ahead of its turn, and a line that it has not got."""
    th = m.new_thread(VP(1))
    th.work(100)
    m.limit = 50
    return th, m.memory.alloc(0, BOX)


def started(m: Machine, seen: list[str]) -> tuple[Thread, Coroutine[Any, Any, None]]:
    """Return an operation that waits for its turn within a charge."""
    th, addr = waiting(m)

    async def body() -> None:
        try:
            await th.touch(ADD, addr)
        except KeyError as exc:
            seen.append(f"caught {exc}")
        finally:
            seen.append("out")
        await th.rmw(addr)

    coro = body()
    assert coro.send(None) is th
    return th, coro


def test_an_exception_thrown_into_a_wait_is_raised_where_it_waits() -> None:
    m, seen = machine(), list[str]()
    th, coro = started(m, seen)
    assert coro.throw(KeyError("gone")) is th  # and then it waits again
    assert seen == ["caught 'gone'", "out"]
    m.limit = 1 << 40
    with pytest.raises(StopIteration):
        coro.send(None)
    assert m.core.counters(1).references == 1


def test_a_wait_can_be_closed() -> None:
    seen = list[str]()
    _, coro = started(machine(), seen)
    coro.close()
    assert seen == ["out"]


def test_a_wait_whose_turn_has_not_come_waits_on() -> None:
    m = machine()
    th, coro = started(m, [])
    for _ in range(3):
        assert coro.send(None) is th
    assert m.core.counters(1).references == 0


def test_nothing_is_left_of_operations_that_are_dropped_while_they_wait() -> None:
    m = machine()
    started(m, [])
    gc.collect()
    before = sys.getrefcount(m.processors[1])
    for _ in range(500):
        th, coro = started(m, [])
        gone = ref(coro)
        del th, coro
    gc.collect()
    after = sys.getrefcount(m.processors[1])  # not within the assertion, which has references of its own
    assert (gone(), after) == (None, before)


def test_a_machine_goes_with_its_threads() -> None:
    m = machine()

    async def body(th: Thread) -> None:
        await th.block()

    m.spawn(VP(0), body)
    m.spawn(VP(1), body)
    gone = ref(m)
    m.close()
    del m
    gc.collect()
    assert gone() is None


def test_a_charge_that_is_not_awaited_is_told_and_one_awaited_twice_refused() -> None:
    m = machine()
    th, addr = waiting(m)
    charge = th.rmw(addr)
    iterator = charge.__await__()
    assert next(iterator) is th
    with pytest.raises(RuntimeError, match="awaited twice"):
        charge.__await__()
    with pytest.warns(RuntimeWarning, match="never awaited"):
        th.touch(ADD, addr)


def test_what_a_wait_is_sent_is_what_it_returns() -> None:
    m = machine(live=True)
    th = m.enter(VP(0))

    async def body() -> object:
        return await th.pause, await th.pause

    coro = body()
    assert coro.send(None) is th
    assert coro.send((1, 2)) is th
    with pytest.raises(StopIteration) as stop:
        coro.send(None)
    assert stop.value.value == ((1, 2), None)


def test_scripts_and_threads_of_other_classes_are_refused() -> None:
    m = machine(live=True)
    th = m.enter(VP(0))
    with pytest.raises(TypeError, match="is not of"):
        th.touch("no script", 64)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="is not of"):
        fast.FastThread.touch("no thread", ADD, 64)
    with pytest.raises(ValueError, match="negative address"):
        th.touch(ADD, -64)


def test_a_range_of_many_lines_waits_for_its_turn_as_one_charge() -> None:
    m = machine()
    addr = m.memory.alloc(0, 4096)

    async def body(th: Thread) -> int:
        th.work(10 * th.vp)
        await th.store(addr, 4096)
        return th.proc.clock

    run(m, (0, body), (1, body))
    assert m.core.counters(0).stores == m.core.counters(1).stores == 64


def test_a_ring_keeps_the_last_events() -> None:
    ring = fast.FastRing(3)
    assert ring.last(5) == []
    for i in range(5):
        ring.append((i, f"event {i}", 10 * i))
    assert ring.last(2) == [(3, "event 3", 30), (4, "event 4", 40)]
    assert [clock for clock, _, _ in ring.last(64)] == [2, 3, 4]


def test_calls_begin_anew_after_a_reset() -> None:
    m = machine(live=True)
    th = m.enter(VP(0))
    for _ in range(3):
        th.touch(ADD, m.memory.alloc(0, BOX))
    assert m.statistics()["calls"] == {"Box.add": 3}
    m.reset_statistics()
    assert m.statistics()["calls"] == {}


def test_a_lock_held_forbids_calls_of_other_objects() -> None:
    m = machine(live=True)
    th = m.enter(VP(0))
    a_lock(m).acquire(th)
    with pytest.raises(AssertionError, match="calls through ref 5"):
        th.deref(Ref(5))
