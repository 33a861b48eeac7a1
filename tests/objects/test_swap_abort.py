"""Swaps that fail: the old implementation is back as it was, nobody waits any more, and it can be tried again."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from errno import EIO, ENOSPC, ETIMEDOUT
from typing import Any

import pytest

from k42fs.errors import NoSpaceError, SwapAbortedError
from k42fs.ids import VP
from k42fs.machine.config import MachineConfig
from k42fs.machine.driver import Machine
from k42fs.machine.live import Suspended
from k42fs.machine.thread import Thread
from k42fs.objects import COSMgr, Swap
from k42fs.objects.workers import start_here
from tests.objects.swap_lab import Board, SplitRoot, SwapLab, version

SECOND = 10**9


class Clock:
    """The host's time, as the test has it."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns


def timed_lab(**options: Any) -> tuple[SwapLab, Clock]:  # noqa: ANN401
    lab, clock = SwapLab(**options), Clock()
    lab.machine.wall_clock_ns = clock
    return lab, clock


def expire(lab: SwapLab, vp: int = 2) -> None:
    th = lab.enter(vp)
    lab.run(lab.cos.swaps.expire(th))
    lab.leave(th)


def assert_as_it_was(lab: SwapLab, swap: Swap, total: int) -> None:
    """The object has its old implementation, everything else is gone, and another swap succeeds."""
    assert (swap.state, swap.is_done) == ("aborted", True)
    lab.assert_settled()
    assert lab.call_on(0, lab.ref, "value") == total
    assert {lab.call_on(vp, lab.ref, "add", 0) for vp in range(4)} == {"old"}
    lab.assert_reclaimed()
    assert "new gone" in lab.board.log
    lab.board.export_fails = lab.board.import_fails = None
    again = lab.switch(1, version(lab.cos, "again", lab.board, lab.ref))
    assert again.state == "completed"
    assert lab.call_on(3, lab.ref, "add", 1) == "again"
    assert lab.call_on(3, lab.ref, "value") == total + 1


@pytest.mark.parametrize("side", ["export_fails", "import_fails"])
@pytest.mark.parametrize(
    ("failure", "errno", "reason"),
    [(NoSpaceError("no room"), ENOSPC, "no room"), (KeyError("a bug"), EIO, "KeyError('a bug')")],
)
def test_if_state_cannot_be_moved_the_old_implementation_goes_on(
    side: str, failure: Exception, errno: int, reason: str
) -> None:
    lab = SwapLab()
    lab.touch(0, 1, 2)
    setattr(lab.board, side, failure)
    swap = lab.switch(3)
    assert (swap.reason, swap.record.state) == (reason, "aborted")
    th = lab.enter(0)
    with pytest.raises(SwapAbortedError, match=r"no room|a bug") as raised:
        lab.run(swap.wait(th))
    lab.leave(th)
    assert raised.value.errno == errno
    assert_as_it_was(lab, swap, 3)


def test_if_it_fails_on_an_object_that_nobody_called_nothing_has_changed_either() -> None:
    lab = SwapLab()
    lab.board.export_fails = NoSpaceError("no room")
    assert_as_it_was(lab, lab.switch(0), 0)


@pytest.mark.parametrize("is_parked", [False, True])
def test_live_a_commit_that_raises_is_logged_and_the_swap_ends_all_the_same(
    caplog: pytest.LogCaptureFixture, is_parked: bool
) -> None:
    lab = SwapLab()
    lab.touch(0, 1)
    lab.board.commit_fails = KeyError("a bug")
    stays = lab.begin(0, "stay") if is_parked else None
    swap = lab.switch(1)
    if stays is not None:
        assert not swap.is_over
        lab.open()
        assert stays.result() == "old"
    assert (swap.state, swap.is_done, swap.reason) == ("completed", True, "committed: KeyError('a bug')")
    (logged,) = caplog.records
    assert logged.getMessage().startswith("swap worker on processor ")
    assert logged.exc_info is not None
    assert logged.exc_info[1] is lab.board.commit_fails
    assert {lab.call_on(vp, lab.ref, "add") for vp in range(4)} == {"new"}
    lab.assert_settled()
    lab.board.commit_fails = None
    lab.assert_reclaimed()


def test_a_commit_that_raises_ends_a_deterministic_run_after_the_swap() -> None:
    machine = Machine(MachineConfig(processors=2))
    cos, board = COSMgr(machine), Board(commit_fails=KeyError("a bug"))
    ref = version(cos, "old", board).ref
    swaps: list[Swap] = []

    async def run(th: Thread) -> None:
        await cos.call(th, ref, "add")
        swaps.append(await cos.switch(th, ref, version(cos, "new", board, ref)))

    machine.spawn(VP(0), run)
    with pytest.raises(KeyError, match="a bug"):
        machine.run()
    assert (swaps[0].state, swaps[0].is_done) == ("completed", True)


def test_live_a_worker_that_fails_after_it_was_parked_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    lab = SwapLab()
    woken: list[Thread] = []

    async def body(th: Thread) -> None:
        woken.append(th)
        await th.block()
        raise KeyError("a bug")

    th = lab.machine.enter(VP(0))
    start_here(lab.machine, th, body, "worker")
    assert not caplog.records
    th.unblock(woken[0])
    lab.machine.leave(th)
    assert [record.getMessage() for record in caplog.records] == ["worker on processor 0 failed"]
    assert not woken[0].suspended


def test_a_part_that_fails_on_one_processor_undoes_the_swap_on_all() -> None:
    lab = SwapLab()
    lab.touch(0, 1, 2, 3)
    lab.switch(0, SplitRoot(lab.cos, "parts", lab.board, lab.ref))
    lab.touch(1, 3)
    lab.board.import_fails = NoSpaceError("no room")
    swap = lab.switch(0)
    assert swap.state == "aborted"
    assert {lab.call_on(vp, lab.ref, "add") for vp in range(4)} == {"parts"}
    assert lab.call_on(0, lab.ref, "value") == 4 + 2 + 4
    lab.assert_settled()
    lab.assert_reclaimed()


def callers_in_block(lab: SwapLab) -> tuple[Swap, Suspended, list[Suspended]]:
    lab.touch(0, 1)
    passer = lab.enter(1)
    swap = lab.switch(0)
    inside = lab.begin(3, "stay")
    lab.leave(passer)
    assert swap.state == "block"
    return swap, inside, [lab.begin(vp, "add", 10) for vp in (0, 1, 2)]


def test_a_counted_call_that_does_not_return_holds_callers_up_no_longer_than_the_deadline() -> None:
    lab, clock = timed_lab()
    swap, inside, waiting = callers_in_block(lab)
    clock.ns = SECOND - 1
    expire(lab)
    assert swap.state == "block"
    clock.ns = SECOND
    expire(lab)
    assert [each.result() for each in waiting] == ["old"] * 3
    assert swap.reason == "1 call(s) inside have not returned"
    assert not inside.done
    assert lab.call_on(0, lab.ref, "add") == "old", "callers do not wait for it any more"
    lab.open()
    assert inside.result() == "old"
    assert_as_it_was(lab, swap, 2 + 30 + 1)


def test_a_late_caller_ends_a_swap_that_is_overdue_itself() -> None:
    lab, clock = timed_lab()
    swap, _, waiting = callers_in_block(lab)
    clock.ns = SECOND
    assert lab.call_on(2, lab.ref, "add") == "old"
    assert (swap.state, [each.result() for each in waiting]) == ("aborted", ["old"] * 3)


def test_an_uncounted_call_that_does_not_return_ends_the_swap_and_delays_nobody() -> None:
    lab, clock = timed_lab()
    lab.touch(0, 1)
    inside = lab.begin(1, "stay")
    swap = lab.switch(0)
    assert lab.call_on(1, lab.ref, "add") == "old", "in FORWARD nobody waits"
    clock.ns = SECOND
    expire(lab)
    assert swap.reason == "threads that were active when it began have not left processor(s) [1]"
    assert not inside.done
    assert lab.call_on(1, lab.ref, "add") == "old"
    lab.open()
    assert_as_it_was(lab, swap, 4)


def test_an_export_that_does_not_end_is_not_waited_for_and_the_new_root_goes_when_it_does() -> None:
    lab, clock = timed_lab()
    lab.touch(0, 1)
    lab.board.export_waits = True
    swap = lab.switch(2)
    assert (swap.state, swap.is_moving) == ("block", True)
    waiting = [lab.begin(vp, "add", 10) for vp in (0, 3)]  # 3 comes too late to take part
    clock.ns = SECOND
    expire(lab)
    assert swap.reason == "export or import has not ended on processor(s) [1]"  # the last to drain
    assert [each.result() for each in waiting] == ["old", "old"]
    lab.sweep(8)
    assert "new gone" not in lab.board.log, "somebody may be inside it"
    lab.open()
    assert_as_it_was(lab, swap, 22)


def test_a_swap_that_is_over_in_time_is_never_aborted() -> None:
    lab, clock = timed_lab()
    lab.touch(0)
    swap = lab.switch(1)
    clock.ns = 100 * SECOND
    expire(lab)
    assert swap.state == "completed"


@dataclass
class Nap:
    """What a thread asks of the host."""

    seconds: float

    def __await__(self) -> Generator[None, None, None]:
        raise AssertionError("the host of the test awaits nothing")


class Host:
    """A host's event loop of which the test decides how far its time has come."""

    def __init__(self, lab: SwapLab, clock: Clock) -> None:
        self.clock = clock
        self.asleep: list[tuple[int, Callable[[object, BaseException | None], None]]] = []
        lab.machine.host(self.outside, Nap)

    def outside(self, nap: Any, done: Callable[[object, BaseException | None], None]) -> None:  # noqa: ANN401
        self.asleep.append((self.clock.ns + round(nap.seconds * SECOND), done))

    def advance(self, ns: int) -> None:
        """Let time pass, and wake who has slept long enough."""
        self.clock.ns += ns
        due = [done for at, done in self.asleep if at <= self.clock.ns]
        self.asleep = [each for each in self.asleep if each[0] > self.clock.ns]
        for done in due:
            done(None, None)


def watched(lab: SwapLab) -> tuple[Swap, Suspended, Suspended]:
    """Bring a swap to BLOCK with one call inside and one that waits, by calls that do not sleep themselves."""
    for vp in (0, 1):
        lab.call_on(vp, lab.ref, "value")
    passer = lab.enter(1)
    swap = lab.switch(0)
    inside = lab.begin(3, "stay")
    lab.leave(passer)
    assert swap.state == "block"
    return swap, inside, lab.begin(0, "value")


def test_live_the_watchdog_keeps_the_deadline_though_nobody_calls() -> None:
    lab, clock = timed_lab()
    host = Host(lab, clock)
    swap, inside, waiting = watched(lab)
    assert len(host.asleep) == 1, "one watchdog"
    host.advance(SECOND // 2)
    assert not waiting.done
    host.advance(SECOND)
    assert (swap.state, swap.reason) == ("aborted", "1 call(s) inside have not returned")
    assert waiting.result() == 0
    assert host.asleep == [], "nothing is left to watch"
    assert not inside.done
    lab.open()
    assert inside.result() == "old"
    lab.assert_settled()


def test_live_a_watchdog_that_has_nothing_left_to_watch_ends() -> None:
    lab, clock = timed_lab()
    host = Host(lab, clock)
    swap, _, waiting = watched(lab)
    lab.open()
    host.advance(1000)  # the import sleeps
    assert (swap.state, waiting.result()) == ("completed", 0)
    host.advance(2 * SECOND)
    assert host.asleep == []
    lab.assert_settled()


def assert_only_the_old_one_is_there(lab: SwapLab, swap: Swap) -> None:
    assert (swap.state, swap.is_done) == ("aborted", True)
    lab.assert_settled()
    assert [lab.call_on(vp, lab.ref, "value") for vp in range(4)] == [0] * 4
    lab.assert_reclaimed()
    assert "new gone" in lab.board.log
    assert lab.root_of(lab.ref).rep.name == "old"


def test_live_a_swap_without_any_time_is_aborted_and_leaves_nothing() -> None:
    lab, clock = timed_lab()
    host = Host(lab, clock)
    for vp in (0, 1):
        lab.call_on(vp, lab.ref, "value")
    passer = lab.enter(1)
    swap = lab.switch(0, deadline=0)
    lab.leave(passer)
    assert host.asleep == []
    assert_only_the_old_one_is_there(lab, swap)


def test_live_an_export_that_does_not_end_keeps_first_callers_waiting_no_longer_than_the_deadline() -> None:
    lab, clock = timed_lab()
    host = Host(lab, clock)
    lab.board.export_waits = True
    th = lab.machine.enter(VP(0))
    switching = lab.start(lab.cos.switch(th, lab.ref, version(lab.cos, "new", lab.board, lab.ref)))
    (swap,) = lab.cos.swaps.under_way
    waiting = lab.begin(1, "value")
    host.advance(SECOND // 2)
    assert not waiting.done
    host.advance(SECOND)
    host.advance(1000)  # who waits for a miss looks from time to time
    assert waiting.result() == 0
    assert swap.reason == "export or import has not ended on processor(s) [0]"
    lab.sweep(8)
    assert "new gone" not in lab.board.log, "somebody is inside it"
    lab.open()
    host.advance(1000)  # the import sleeps
    assert switching.result() is swap
    lab.machine.leave(th)
    assert_only_the_old_one_is_there(lab, swap)


# In virtual time


@pytest.mark.parametrize("seed", range(3))
def test_an_export_that_does_not_end_of_an_object_that_nobody_called_is_not_waited_for(seed: int) -> None:
    machine = Machine(MachineConfig(processors=4, seed=seed))
    cos = COSMgr(machine)
    board = Board(export_waits=True)
    ref = version(cos, "old", board).ref
    outcomes: list[object] = []

    async def swapper(th: Thread) -> None:
        swap = await cos.switch(th, ref, version(cos, "new", board, ref), deadline=50_000)
        outcomes.append(swap.state)

    async def caller(th: Thread) -> None:
        await th.sleep(1000)
        outcomes.append(await cos.call(th, ref, "add"))
        outcomes.append(th.proc.clock < 60_000)
        board.open(th)

    machine.spawn(VP(0), swapper)
    machine.spawn(VP(1), caller)
    machine.run()
    assert outcomes == ["old", True, "aborted"]


@pytest.mark.parametrize("seed", range(3))
def test_the_watchdog_keeps_the_deadline_in_a_deterministic_run(seed: int) -> None:
    machine = Machine(MachineConfig(processors=4, seed=seed))
    cos = COSMgr(machine)
    board = Board()
    ref = version(cos, "old", board).ref
    waits: list[int] = []
    swaps: list[Swap] = []

    async def passer(th: Thread) -> None:
        """Keep the swap in FORWARD for a while: this thread was active when it began."""
        cos.activate(th)
        await th.deref(ref).add(th, 0)
        await th.sleep(100_000)
        cos.deactivate(th)

    async def swapper(th: Thread) -> None:
        cos.activate(th)
        await th.sleep(20_000)
        swap = await cos.switch(th, ref, version(cos, "new", board, ref), deadline=500_000)
        swaps.append(swap)
        cos.deactivate(th)
        with pytest.raises(SwapAbortedError) as raised:
            await swap.wait(th)
        assert raised.value.errno == ETIMEDOUT
        board.open(th)

    async def caller(th: Thread) -> None:
        for _ in range(40):
            cos.activate(th)
            began = th.proc.clock
            assert await th.deref(ref).add(th) == "old"
            waits.append(th.proc.clock - began)
            cos.deactivate(th)
            await th.sleep(25_000)

    async def stuck(th: Thread) -> None:
        await th.sleep(60_000)
        cos.activate(th)
        await th.deref(ref).stay(th)
        cos.deactivate(th)

    machine.spawn(VP(1), passer)
    machine.spawn(VP(3), stuck)  # counted, as it comes during FORWARD
    machine.spawn(VP(0), swapper)
    for vp in range(3):
        machine.spawn(VP(vp), caller)
    machine.run()
    assert (swaps[0].state, swaps[0].reason) == ("aborted", "1 call(s) inside have not returned")
    assert 400_000 < max(waits) < 500_000 + 50_000
    assert swaps[0].record.cycles < 2 * 500_000 + 50_000
