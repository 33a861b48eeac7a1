"""Messages and interrupts: one interrupt for many, last in first run, replies, and who pays for what."""

from collections.abc import Callable

import pytest

from k42fs.ids import VP
from k42fs.machine import Machine, Thread
from k42fs.machine.interrupts import SoftIntr
from k42fs.machine.messages import POOL, Level
from tests.machine.lab import machine, run


def burst(m: Machine, count: int, level: Level = Level.DISABLED) -> list[int]:
    """Let processor 0 send *count* messages to 1 before that can take any; return them as they were run."""
    ran: list[int] = []

    def disabled(i: int) -> Callable[[Thread], None]:
        return lambda th: ran.append(i)

    def enabled(i: int) -> Callable[[Thread], object]:
        async def handle(th: Thread) -> None:
            await th.sleep(10)
            ran.append(i)

        return handle

    async def sender(th: Thread) -> None:
        make = disabled if level is Level.DISABLED else enabled
        for i in range(count):
            await m.messages.send(th, 1, make(i), level)

    run(m, (0, sender))
    return ran


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_messages_that_wait_share_one_interrupt_and_the_last_is_run_first(count: int) -> None:
    m = machine(2, config={"ipi_cycles": 1_000_000})
    assert burst(m, count) == list(reversed(range(count)))
    assert m.interrupts.dispatcher(1).raised == 1
    assert m.interrupts.dispatcher(0).raised == 1  # for the replies that bring the chunks back


@pytest.mark.parametrize("model", ["full", "calls", "off"])
@pytest.mark.parametrize("level", list(Level))
def test_all_messages_arrive_whatever_is_modelled(model: str, level: Level) -> None:
    assert sorted(burst(machine(2, model=model), 3 * POOL, level)) == list(range(3 * POOL))


def test_a_sender_without_chunks_waits_for_replies() -> None:
    m = machine(2, config={"ipi_cycles": 50_000})
    ran = burst(m, POOL + 1)
    assert ran[:POOL] == list(reversed(range(POOL)))
    assert m.interrupts.dispatcher(1).raised == 2
    assert m.processors[0].idle > 50_000


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("level", list(Level))
def test_a_call_waits_for_the_answer_of_the_other_processor(level: Level, live: bool) -> None:
    m = machine(2, live=live)

    async def enabled(th: Thread) -> int:
        th.work(500)
        return th.vp

    def disabled(th: Thread) -> int:
        th.work(500)
        return th.vp

    async def caller(th: Thread) -> tuple[int, int]:
        begin = th.proc.clock
        handle = disabled if level is Level.DISABLED else enabled
        return await m.messages.call(th, 1, handle, level), th.proc.clock - begin

    if live:
        th = m.enter(VP(0))
        answer, cycles = m.drive(caller(th))
        m.leave(th)
        m.check()
    else:
        answer, cycles = run(m, (0, caller))[0].outcome[0]
    assert answer == 1
    assert cycles > 2 * m.config.ipi_cycles + 500
    assert m.processors[1].work == 500


@pytest.mark.parametrize("level", list(Level))
def test_what_a_handler_raises_is_raised_at_the_caller(level: Level) -> None:
    m = machine(2)

    def disabled(th: Thread) -> None:
        raise KeyError("no such thing")

    async def enabled(th: Thread) -> None:
        raise KeyError("no such thing")

    async def caller(th: Thread) -> None:
        with pytest.raises(KeyError, match="no such thing"):
            await m.messages.call(th, 1, disabled if level is Level.DISABLED else enabled, level)

    run(m, (0, caller))


def test_a_processor_that_ran_ahead_on_its_own_memory_takes_the_interrupt_at_its_time() -> None:
    m = machine(2)
    handled: list[int] = []
    ended: list[int] = []

    def handle(th: Thread) -> None:
        handled.append(th.proc.clock)
        th.work(7000)

    async def sender(th: Thread) -> None:
        await m.messages.send(th, 1, handle)

    async def worker(th: Thread) -> None:
        th.work(1_000_000)
        await th.sleep(0)
        ended.append(th.proc.clock)

    run(m, (1, worker), (0, sender))
    assert handled[0] < 10_000
    assert 1_007_000 < ended[0] < 1_010_000


def test_a_spinning_processor_takes_interrupts_and_spins_on() -> None:
    m = machine(3)
    addr = m.memory.alloc(0, 64)
    ran: list[int] = []

    async def spinner(th: Thread) -> bool:
        return await m.watchers.spin_until(th, addr, lambda: False, 50_000)

    async def sender(th: Thread) -> None:
        await m.messages.send(th, 1, lambda th: ran.append(th.proc.clock))

    spinning, _ = run(m, (1, spinner), (0, sender))
    assert spinning.outcome[0] is False
    assert ran[0] < 10_000
    assert m.processors[1].spin > 40_000


def test_interrupts_of_another_kind_come_along() -> None:
    m = machine(2)
    seen: list[tuple[str, int]] = []
    target = m.interrupts.dispatcher(1)

    def note(name: str) -> Callable[[Thread], None]:
        return lambda th: seen.append((name, target.bits))

    async def sender(th: Thread) -> None:
        for name in ("first", "second"):
            await m.interrupts.raise_bit(th, target, SoftIntr.PREEMPT, note(name))
        assert target.bits == 1 << SoftIntr.PREEMPT
        await m.messages.send(th, 1, lambda th: seen.append(("message", target.bits)))
        assert target.bits == 1 << SoftIntr.PREEMPT | 1 << SoftIntr.MP_DISABLED_SEND

    run(m, (0, sender))
    assert seen == [("first", 0), ("second", 0), ("message", 0)]
    assert target.raised == 1


def wake_cycles(waker: int, sleeper: int, rd: int = 0) -> int:
    m = machine(64)
    woken: list[int] = []

    async def sleep(th: Thread) -> None:
        await th.block()
        woken.append(th.proc.clock)

    target = m.spawn(VP(sleeper), sleep)
    m.interrupts.place(target, rd)

    async def wake(th: Thread) -> None:
        for i in range(3):
            await th.sleep(100_000)
            if i < 2:
                m.ppc.charge_call(th)  # so that it is warm
        begin.append(th.proc.clock)
        th.unblock(target)

    begin: list[int] = []
    m.spawn(VP(waker), wake)
    m.run()
    m.check()
    return woken[0] - begin[0]


def test_waking_gets_dearer_with_distance() -> None:
    same, other_domain, other_processor = wake_cycles(0, 0), wake_cycles(0, 0, rd=1), wake_cycles(1, 0)
    assert same < other_domain < other_processor
    config = machine(64).config
    assert other_processor >= 2 * config.dirty_cycles + config.ipi_cycles


def test_there_are_four_domains() -> None:
    m = machine(2)
    with pytest.raises(AssertionError, match="4 resource domains"):
        m.interrupts.dispatcher(0, 4)
    with pytest.raises(AssertionError, match="4 resource domains"):
        m.interrupts.place(m.new_thread(VP(0)), -1)
