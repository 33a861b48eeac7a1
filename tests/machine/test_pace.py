"""Pace: callers that contend are kept abreast; nobody else is held, and nobody waits long in vain."""

import pytest

from k42fs.ids import VP
from k42fs.machine import FairBLock, Kind, Machine, RWLock, Thread
from k42fs.machine.pace import CREDIT_MAX, CREDIT_OPERATIONS, HOT_OPERATIONS, SLACK_CYCLES
from tests.machine.lab import a_lock, machine


def operation(m: Machine, vp: int, cycles: int = 100) -> None:
    th = m.enter(VP(vp))
    th.work(cycles)
    m.leave(th)


def contend(m: Machine) -> None:
    """Let processors 0 and 1 wait for each other once, so that the machine keeps callers abreast."""
    lock = a_lock(m)
    for vp in (0, 1, 0, 1):
        th = m.enter(VP(vp))
        lock.acquire(th)
        th.work(2000)
        lock.release(th)
        m.leave(th)
    assert m.pace.hot


def test_without_contention_nobody_is_ahead() -> None:
    m = machine(4, live=True)
    for _ in range(20):
        operation(m, 0, 100_000)
        operation(m, 1)
    assert not m.pace.hot
    assert not m.pace.is_ahead(m.enter(VP(0)))


def test_who_is_ahead_goes_on_when_the_others_have_come_near() -> None:
    m = machine(4, live=True)
    contend(m)
    for vp in (0, 1):
        operation(m, vp)
    operation(m, 0, 100_000)
    went: list[str] = []
    ahead = m.enter(VP(0))
    assert m.pace.is_ahead(ahead)
    m.pace.hold(ahead, lambda: went.append("on"))
    operation(m, 1, 1000)
    assert not went
    operation(m, 1, 100_000)
    assert went == ["on"]
    m.pace.resume(ahead)
    m.leave(ahead)
    assert (m.pace.holds, m.pace.given_up) == (1, 0)


def test_one_that_lets_the_others_wait_does_not_count_until_it_comes_again() -> None:
    m = machine(4, live=True)
    contend(m)
    for vp in (0, 1):
        operation(m, vp)
    operation(m, 0, 100_000)
    ahead = m.enter(VP(0))
    m.pace.hold(ahead, lambda: None)
    m.pace.resume(ahead)  # the host would not wait longer
    m.leave(ahead)
    assert m.pace.given_up == 1
    assert not m.pace.is_ahead(m.enter(VP(0)))
    operation(m, 1)
    assert m.processors[1].clock > 100_000  # it thought meanwhile


def test_waits_in_vain_are_rationed() -> None:
    m = machine(4, live=True)
    contend(m)

    def wait_in_vain() -> bool:
        for vp in (0, 1):
            operation(m, vp)
        operation(m, 0, 10 * SLACK_CYCLES)
        th = m.enter(VP(0))
        if must := m.pace.is_ahead(th):
            m.pace.hold(th, lambda: None)
            m.pace.resume(th)
        m.leave(th)
        return must

    assert sum(wait_in_vain() for _ in range(2 * CREDIT_MAX)) in (CREDIT_MAX, CREDIT_MAX + 1)
    for _ in range(CREDIT_OPERATIONS):
        operation(m, 2)
    assert wait_in_vain()


def test_it_cools_down() -> None:
    m = machine(4, live=True)
    contend(m)
    for _ in range(HOT_OPERATIONS):
        operation(m, 0)
    assert not m.pace.hot


@pytest.mark.parametrize("kind", [RWLock, FairBLock])
@pytest.mark.parametrize("is_shared", [True, False])
def test_room_is_left_in_a_contended_lock_for_those_who_are_behind(
    is_shared: bool, kind: type[RWLock | FairBLock]
) -> None:
    """A caller that comes twice in a row, as the host lets it, is not served before those who came between."""
    m = machine(4, live=True)
    locks = [kind(m, m.memory.alloc(vp, 64, Kind.GLOBAL_PADDED)) for vp in range(4)]

    async def use(th: Thread) -> None:
        lock = locks[0 if is_shared else th.vp]
        if isinstance(lock, RWLock):
            await lock.acquire_w(th)
            th.work(2000)
            lock.release_w(th)
        else:
            await lock.acquire(th)
            th.work(2000)
            lock.release(th)

    for _ in range(30):
        for vp in range(4):
            for _ in range(2):
                th = m.enter(VP(vp))
                m.drive(use(th))
                m.leave(th)
    m.check()
    contended = sum(lock.contentions for lock in locks) / sum(lock.acquisitions for lock in locks)
    assert contended > 0.85 if is_shared else contended == 0


def test_hand_offs_in_the_past_count_the_lines_that_would_have_moved() -> None:
    m = machine(2, live=True)
    contend(m)
    lines = {row["object"]: row["transfers"] for row in m.statistics(100)["lines"]}
    counted = sum(counters.transfers for counters in m.core.transfers())
    assert sum(lines.values()) > counted
    m.reset_statistics()
    assert m.statistics()["lines"] == []


def test_a_wait_in_the_past_is_for_somebody_else_s_holding_even_right_after_one_s_own() -> None:
    m = machine(3, live=True, config={"live_window_cycles": 1 << 40})
    lock = a_lock(m)

    def hold(vp: int, think: int, section: int) -> Thread:
        th = m.enter(VP(vp))
        th.work(think)
        lock.acquire(th)
        th.work(section)
        lock.release(th)
        m.leave(th)
        return th

    end = hold(0, 200_000, 100_000).proc.clock
    own = hold(1, 0, 150_000)  # comes later, but lies before; then the next comes in between
    assert lock.contentions == 0
    before = own.proc.clock
    hold(1, 0, 100)
    assert lock.contentions == 1
    assert own.proc.clock > end > before
    moved = [item for item in m.hand_offs.added_to(()) if item.line == lock.addr // m.config.line_bytes]
    assert [(item.transfers, item.movers) for item in moved] == [(2, 0b11)]
    hand_off = m.hand_off_cycles(0, 1, lock.addr) + m.unblock_cycles(
        0, 1
    )  # it waited so long that it blocked
    assert lock.waited_cycles == end - before + hand_off
    m.check()
