"""Threads: what a charge costs, that it need not wait, and that it does when it must."""

import pytest

from k42fs.ids import VP, Ref
from k42fs.machine import DONE, Machine, Thread
from k42fs.machine.thread import NO, YES
from tests.machine.lab import ADD, BOX, a_lock, machine, run

pytestmark = pytest.mark.usefixtures("_on_each_core")

MODELS = ["full", "calls", "off"]


@pytest.mark.parametrize("model", MODELS)
def test_live_charges_are_done_at_once(model: str) -> None:
    m = machine(model=model, live=True)
    th = m.enter(VP(0))
    addr = m.memory.alloc(0, BOX)
    assert th.touch(ADD, addr) is DONE
    assert th.load(addr, 100) is DONE
    assert th.store(addr) is DONE
    assert th.rmw(addr) is DONE
    m.check()


def test_done_and_answers_can_be_awaited_again_and_again() -> None:
    async def body() -> list[bool]:
        await DONE
        answers = [await YES, await NO]
        await DONE
        return [*answers, await YES]

    m = machine(live=True)
    for _ in range(2):
        assert m.drive(body()) == [True, False, True]


@pytest.mark.parametrize(
    ("model", "cycles", "calls"), [("full", 2 * 200 + 30, 1), ("calls", 30, 1), ("off", 0, 0)]
)
def test_what_a_call_costs_depends_on_the_model(model: str, cycles: int, calls: int) -> None:
    m = machine(model=model, live=True)
    th = m.enter(VP(0))
    th.touch(ADD, m.memory.alloc(0, BOX))
    th.work(10)
    assert th.proc.clock == cycles
    assert m.statistics()["calls"] == ({"Box.add": calls} if calls else {})


def test_a_range_is_charged_by_lines() -> None:
    m = machine(live=True)
    th = m.enter(VP(0))
    th.load(m.memory.alloc(0, 4096) + 60, 70)
    assert m.core.counters(0).loads == 3
    assert th.proc.clock == 3 * 200
    th.load(m.memory.alloc(0, 4096), 4096)
    assert m.core.counters(0).loads == 3 + 64


@pytest.mark.parametrize("model", MODELS)
def test_deref_finds_the_rep_of_the_threads_own_processor(model: str) -> None:
    m = machine(model=model, live=True)
    for vp in range(2):
        m.processors[vp].ltt = {5: f"rep {vp}"}
    assert [m.enter(VP(vp)).deref(Ref(5)) for vp in range(2)] == ["rep 0", "rep 1"]
    assert m.core.counters(0).loads == (model == "full")


@pytest.mark.parametrize("model", MODELS)
def test_deref_with_a_lock_held_is_a_bug_unless_the_lock_is_made_for_it(model: str) -> None:
    m = machine(model=model, live=True)
    th = m.enter(VP(0))
    th.proc.ltt = {5: "rep"}
    outer, inner = a_lock(m, name="outer", spans_calls=True), a_lock(m, name="inner")
    outer.acquire(th)
    assert th.deref(Ref(5)) == "rep"
    inner.acquire(th)
    with pytest.raises(AssertionError, match=r"calls through ref 5 while it holds <BLock .*\.inner"):
        th.deref(Ref(5))


def test_file_times_are_virtual_in_a_run_and_wall_time_live() -> None:
    m = machine()

    async def body(th: Thread) -> int:
        await th.sleep(4000)
        return th.now_ns()

    assert run(m, (0, body))[0].outcome == (2000, None)
    live = Machine(m.config, live=True, wall_clock_ns=lambda: 77)
    assert live.enter(VP(0)).now_ns() == 77


def test_a_visible_reference_waits_for_its_turn_and_private_ones_do_not() -> None:
    m = machine()
    shared, private = m.memory.alloc(0, BOX), m.memory.alloc(0, BOX)
    order: list[tuple[str, int]] = []

    async def early(th: Thread) -> None:
        await th.touch(ADD, private)  # 420 cycles
        for _ in range(11):
            await th.touch(ADD, private)  # hits: 28 cycles each
        order.append(("private hits", th.proc.clock))
        await th.touch(ADD, shared)
        order.append(("early", th.proc.clock))

    async def late(th: Thread) -> None:
        th.work(500)
        await th.touch(ADD, shared)
        order.append(("late", th.proc.clock))

    run(m, (0, early), (1, late))
    # The hits run ahead to 728 before the other, at 500, has its turn: further than 760 they may not, in which
    # time the other could get the line. Then the lower clock goes first.
    assert [name for name, _ in order] == ["private hits", "late", "early"]
    assert order[0][1] == 420 + 11 * 28


def test_recent_events_name_scripts_and_are_bounded() -> None:
    m = machine(live=True)
    th = m.enter(VP(3))
    addr = m.memory.alloc(0, BOX)
    for _ in range(100):
        th.touch(ADD, addr)
    text = m.recent_events(20)
    assert len(text.splitlines()) == 20
    assert text.splitlines()[-1].split()[:2] == ["vp", "3"]
    assert "Box.add" in text
