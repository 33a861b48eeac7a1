"""Statistics point at the object and field to blame, and the textbook shapes come out."""

import json

from k42fs.ids import Addr
from k42fs.machine import FairBLock, Kind, Layout, Machine, Thread
from tests.machine.lab import machine, run

COUNTER = Layout("Counter", Kind.GLOBAL_PADDED, lock=16, value=8)
PACKED = Layout("PackedCounters", Kind.GLOBAL_PADDED, a=8, b=8, c=8, d=8, e=8, f=8, g=8, h=8)
ROUNDS = 60


class Inode:
    def label(self) -> str:
        return "inode 12"


def counting(processors: int, place: list[Addr], m: Machine) -> float:
    """Let each processor add to the word at its place; return additions per kilocycle."""

    async def add(th: Thread) -> None:
        for _ in range(ROUNDS):
            await th.rmw(place[th.vp])
            th.work(20)

    run(m, *((vp, add) for vp in range(processors)))
    return 1000 * ROUNDS * processors / m.now


def shared(processors: int) -> float:
    m = machine(processors)
    return counting(processors, [m.memory.alloc(0, COUNTER)] * processors, m)


def private(processors: int) -> float:
    m = machine(processors)
    return counting(processors, [m.memory.alloc(vp, COUNTER) for vp in range(processors)], m)


def packed(processors: int, per_line: int = 8) -> tuple[float, Machine]:
    m = machine(processors)
    lines = [m.memory.alloc(0, PACKED) for _ in range(0, processors, per_line)]
    place = [Addr(lines[vp // per_line] + 8 * (vp % per_line)) for vp in range(processors)]
    return counting(processors, place, m), m


def test_a_shared_counter_is_as_fast_as_one_dirty_transfer_however_many_count() -> None:
    for processors in (2, 4, 8):
        assert 0.9 < shared(processors) / (1000 / 260) < 1.1
    assert shared(1) > 4 * shared(8)


def test_counters_of_ones_own_scale_with_the_processors() -> None:
    # The first, cold references queue at the home; all later ones are private.
    assert private(8) / private(1) > 7.5
    assert private(32) / private(1) > 29


def test_counters_that_share_a_line_are_no_faster_than_one_shared_counter() -> None:
    one_line, m = packed(8)
    assert 0.9 < one_line / shared(8) < 1.1
    two_lines, _ = packed(8, per_line=4)
    assert 1.7 < two_lines / one_line < 2.2
    padded, _ = packed(8, per_line=1)
    assert padded > 20 * one_line
    misses = m.core.counters(3).misses
    assert misses["false_sharing"] > 20 * max(1, misses["true_sharing"])


def test_a_really_shared_counter_is_not_called_false_sharing() -> None:
    m = machine(4)
    counting(4, [m.memory.alloc(0, COUNTER)] * 4, m)
    misses = m.core.counters(2).misses
    assert (misses["false_sharing"], misses["true_sharing"] > 30) == (0, True)


def test_the_hottest_line_is_named_by_object_and_field_with_those_who_moved_it() -> None:
    m = machine(8)
    hot, cold = m.memory.alloc(0, COUNTER, owner=Inode()), m.memory.alloc(0, PACKED)

    async def body(th: Thread) -> None:
        for i in range(30):
            await th.store(hot + COUNTER.offset("value"))
            if i % 10 == 0:
                await th.store(cold + 8)

    run(m, *((vp, body) for vp in (1, 4, 6)))
    first, second = m.statistics()["lines"]
    assert (first["object"], first["field"]) == ("inode 12", "value")
    assert first["processors"] == [1, 4, 6]
    assert first["transfers"] > second["transfers"] > 0
    assert (second["object"], second["field"]) == ("PackedCounters", "b")


def test_the_hottest_lock_is_named_with_its_waits() -> None:
    m = machine(4)
    addr = m.memory.alloc(0, COUNTER, owner=Inode())
    lock = FairBLock(m, addr, name="statuslock")

    async def body(th: Thread) -> None:
        for _ in range(10):
            await lock.acquire(th)
            await th.sleep(300)
            lock.release(th)

    run(m, *((vp, body) for vp in range(4)))
    (row,) = m.statistics()["locks"]
    assert (row["object"], row["lock"], row["acquisitions"]) == ("inode 12", "statuslock", 40)
    assert 36 <= row["contentions"] <= 40
    assert row["waited_cycles"] > row["max_wait"] > 300
    assert row["held_cycles"] > 40 * 300


def test_the_statistics_are_json_and_leave_out_processors_that_did_nothing() -> None:
    m = machine(1024)

    async def body(th: Thread) -> None:
        th.work(300)
        await th.sleep(100)

    run(m, (7, body))
    (row,) = m.statistics()["per_processor"]
    assert (row["vp"], row["work_cycles"], row["idle_cycles"], row["utilisation"]) == (7, 300, 100, 0.75)
    assert json.loads(json.dumps(m.statistics()))["processors"] == 1024


def test_no_more_rows_than_asked_for() -> None:
    m = machine(2)
    boxes = [m.memory.alloc(0, COUNTER) for _ in range(20)]

    async def body(th: Thread) -> None:
        for box in boxes:
            await th.rmw(box)
            await th.rmw(box)

    run(m, (0, body), (1, body))
    assert len(m.statistics()["lines"]) == 10
    assert len(m.statistics(top=3)["lines"]) == 3
