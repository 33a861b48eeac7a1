"""A machine that is traced: what is recorded is what happened, and recording it changes nothing."""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from k42fs.ids import VP
from k42fs.machine import FairBLock, Machine, OperationSuspended, Thread, contexts, cores
from k42fs.machine.tracing.mask import CACHE, EXCEPTION, LOCK, SCHEDULER, USER, all_classes
from k42fs.report.breakdown import Breakdown, breakdown
from k42fs.report.running import IDLE, State
from tests.machine.lab import ADD, a_lock, machine
from tests.machine.tracing.lab import Seen, read
from tests.report.lab import source
from tests.report.storm import PROCESSORS, Storm, counted, events, same_files, stormy


async def _plain_work(self: Storm, th: Thread, rounds: int) -> None:
    for number in range(rounds):
        await self.lock.acquire(th)
        await th.touch(ADD, self.box)
        self.lock.release(th)
        await th.sleep(100 * number)


@pytest.mark.parametrize("mask", ["all", EXCEPTION, CACHE, LOCK, SCHEDULER | USER])
@pytest.mark.parametrize("model", ["full", "calls", "off"])
def test_recording_changes_nothing(core: str, model: str, mask: int | str, tmp_path: Path) -> None:
    if model != "full":  # only then does a message have a stack to lie on
        Storm.work, kept = _plain_work, Storm.work  # type: ignore[method-assign]
    try:
        plain = stormy(model=model)
        traced = stormy(tmp_path / "t", all_classes() if mask == "all" else int(mask), model=model)
    finally:
        if model != "full":
            Storm.work = kept  # type: ignore[method-assign]
    assert traced.machine.tracer.status().events
    assert counted(plain.machine) == counted(traced.machine)


def test_one_seed_gives_one_recording_to_the_byte_on_either_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("k42fs.machine.fast_threads", exc_type=ImportError)
    for name, core in (("a", cores.PURE), ("b", cores.COMPILED), ("c", cores.COMPILED)):
        monkeypatch.setenv(cores.VARIABLE, core)
        stormy(tmp_path / name)
    assert same_files(tmp_path / "a", tmp_path / "b")
    assert same_files(tmp_path / "b", tmp_path / "c")
    stormy(tmp_path / "d", seed=1)
    assert not same_files(tmp_path / "c", tmp_path / "d")


def billed(found: Breakdown, vp: int, mode: str) -> int:
    return sum(
        bill.ticks for (where, state), bill in found.bills.items() if (where, state.mode) == (vp, mode)
    )


def test_the_slots_of_each_processor_are_all_its_time_and_its_idle_time_is_what_it_was(
    core: str, tmp_path: Path
) -> None:
    m = stormy(tmp_path / "t").machine
    found = breakdown(source(tmp_path / "t"))
    assert (found.begin, found.end) == (0, m.now)
    for proc in m.processors:
        bills = {state: bill.ticks for (vp, state), bill in found.bills.items() if vp == proc.vp}
        assert sum(bills.values()) == m.now
        assert "unknown" not in {state.mode for state in bills}
        assert bills[IDLE] == proc.idle + (m.now - proc.clock)  # it rests until the last one has ended


def test_time_is_billed_to_who_ran_and_to_whom_they_served(core: str, tmp_path: Path) -> None:
    storm = stormy(tmp_path / "t")
    found = breakdown(source(tmp_path / "t"))
    server = storm.server.pid
    names = {name: pid for pid, name in found.names.items()}
    assert found.names[server] == "echo"
    workers = {names[f"worker {number}"] for number in range(2 * PROCESSORS)}
    served = {state.owner for _, state in found.bills if state.pid == server}
    assert served == workers
    users = {state for _, state in found.bills if state.mode == "user" and state.pid in workers}
    assert users == {State(pid, "user", pid) for pid in workers}
    assert {state.mode for _, state in found.bills} == {"user", "idle", "ppcsrv", "mpmsg", "asyncrmt"}


def test_calls_and_messages_have_two_ends_each(core: str, tmp_path: Path) -> None:
    stormy(tmp_path / "t")
    for sent, received, field in (
        ("exception_ppc_call", "exception_ppc_return", 1),
        ("scheduler_mp_msg_send", "scheduler_mp_msg_receive", 1),
    ):
        begun = Counter(values[field] for _, _, values in events(tmp_path / "t", sent))
        ended = Counter(values[field] for _, _, values in events(tmp_path / "t", received))
        assert begun == ended
        assert set(begun.values()) == {1}


def test_threads_are_switched_as_they_were(core: str, tmp_path: Path) -> None:
    m = stormy(tmp_path / "t").machine
    switches = Counter(cpu for cpu, _, _ in events(tmp_path / "t", "scheduler_cur_thread"))
    assert switches == {proc.vp: proc.switches for proc in m.processors}
    waits = Counter(cpu for cpu, _, _ in events(tmp_path / "t", "exception_await_dispatch"))
    back = Counter(cpu for cpu, _, _ in events(tmp_path / "t", "exception_await_dispatch_done"))
    assert waits == back


def test_a_recording_that_begins_amid_work_says_who_runs(core: str, tmp_path: Path) -> None:
    storm = Storm()
    m = storm.machine

    async def later(th: Thread) -> None:
        await th.sleep(40_000)
        m.tracer.start(tmp_path / "t", EXCEPTION | USER)
        idle.extend(proc.idle for proc in m.processors)

    idle: list[int] = []
    m.spawn(VP(1), later, name="later")
    storm.run()
    m.close()
    found = breakdown(source(tmp_path / "t"))
    unknown = [billed(found, proc.vp, "unknown") for proc in m.processors]
    began = {cpu: seen[0][1] for cpu, seen in read(tmp_path / "t").items() if cpu < PROCESSORS}
    assert unknown == [began[proc.vp] - found.begin for proc in m.processors]
    for proc in m.processors:
        assert billed(found, proc.vp, "idle") == proc.idle - idle[proc.vp] + (m.now - proc.clock)


def test_what_is_off_is_never_emitted(core: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every site looks at its switch first: no argument is even computed."""

    class Raises:
        def __getattr__(self, name: str) -> Any:  # noqa: ANN401
            raise AssertionError(f"{name} is emitted, but everything is off")

    storm = Storm()
    for proc in storm.machine.processors:
        proc.emit = Raises()  # type: ignore[assignment]
    storm.run()


# Live


async def hold(th: Thread, lock: FairBLock, other: Thread | None, cycles: int) -> None:
    """Hold the lock for some time; wait for somebody in between if *other* is to wake us."""
    await lock.acquire(th)
    th.work(cycles)
    if other is None:
        lock.release(th)
        await th.block()
    else:
        lock.release(th)
        th.unblock(other)
    await th.sleep(77)  # without a host that can sleep the time passes at once
    th.work(cycles)


def live(to: Path | None) -> Machine:
    """Run operations on two processors that wait for each other, with pauses between them."""
    m = machine(2, live=True, config={"live_window_cycles": 300})
    if to is not None:
        m.tracer.start(to, EXCEPTION | SCHEDULER)
    lock = a_lock(m)
    for number in range(20):
        first = m.enter(VP(0))
        coro = hold(first, lock, None, 500)
        parked = m.suspend(first, coro, coro.send(None))
        second = m.enter(VP(number % 2))
        m.drive(hold(second, lock, first, 100 * number))
        m.leave(second)
        assert parked.done
        m.leave(first)
    m.close()
    return m


def test_a_live_machines_operations_are_told_apart(core: str, tmp_path: Path) -> None:
    m = live(tmp_path / "t")
    found = breakdown(source(tmp_path / "t"))
    for proc in m.processors:
        assert billed(found, proc.vp, "idle") == proc.idle + (found.end - proc.clock)
        assert billed(found, proc.vp, "syscall") == proc.clock - proc.idle
    seen: list[Seen] = read(tmp_path / "t")[0]
    kinds = ("scheduler_cur_thread", "exception_await_dispatch", "exception_await_dispatch_done")
    told = [(what, values[0]) for _, _, what, values in seen if what in kinds]
    # Two threads on one processor: the first waits, the second goes by, the first goes on.
    one, two = told[0][1], told[2][1]
    assert one != two
    assert told[:5] == [
        ("scheduler_cur_thread", one),
        ("exception_await_dispatch", one),
        ("scheduler_cur_thread", two),
        ("scheduler_cur_thread", one),
        ("exception_await_dispatch_done", 1 << 32),
    ]


@pytest.mark.parametrize("waits", [False, True])
def test_an_operation_amid_another_one_is_told_apart_and_the_other_goes_on(
    core: str, waits: bool, tmp_path: Path
) -> None:
    m = machine(1, live=True)
    m.tracer.start(tmp_path / "t", EXCEPTION)

    async def inner(th: Thread) -> None:
        th.work(30)
        if waits:
            await th.block()
            th.work(5)

    async def outer(th: Thread) -> None:
        th.work(1000)
        within = m.enter(VP(0), is_housekeeping=True)
        within.creds = SimpleNamespace(pid=77)
        try:
            m.drive(inner(within))
        except OperationSuspended:
            th.work(200)
            th.unblock(within)
        else:
            m.leave(within)
        th.work(4000)

    th = m.enter(VP(0))
    th.creds = SimpleNamespace(pid=66)
    contexts.tell(th.proc)
    m.drive(outer(th))
    m.leave(th)
    m.close()
    found = breakdown(source(tmp_path / "t"))
    owners = {state.owner: bill.ticks for (_, state), bill in found.bills.items() if state.mode == "syscall"}
    assert owners[66] >= 5000
    assert owners.get(77, 0) == (5 if waits else 0)  # the rest is nobody's: it had not been told whose it is
    assert sum(owners.values()) == m.now


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_processor_is_idle_when_all_have_left_in_whatever_order(
    core: str, order: tuple[int, ...], tmp_path: Path
) -> None:
    """Operations that the host holds have not parked: others come and go on the same processor meanwhile."""
    m = machine(1, live=True)
    m.tracer.start(tmp_path / "t", EXCEPTION)
    for _ in range(2):
        entered = [m.enter(VP(0)) for _ in order]
        for number in order:
            m.leave(entered[number])
        assert m.processors[0].current is None
        *_, last = [
            values for _, _, what, values in _contexts(m, tmp_path / "t") if what == "exception_context"
        ]
        assert last == contexts.idle(VP(0))
    m.close()


@pytest.mark.parametrize("seed", range(30))
def test_whoever_was_held_or_waited_among_others_leaves_its_processor_idle(
    core: str, seed: int, tmp_path: Path
) -> None:
    """Operations come, wait, go on and leave, on one processor, in any order that a host could choose."""
    dice = Random(seed)
    m = machine(1, live=True)
    m.tracer.start(tmp_path / "t", EXCEPTION)
    entered: list[Thread] = []
    waiting: list[Thread] = []
    woken: list[Thread] = []

    async def wait(th: Thread) -> None:
        await th.block()

    for _ in range(60):
        choice = dice.randrange(4)
        if choice == 0 or not entered + waiting:
            entered.append(m.enter(VP(0)))
        elif choice == 1 and entered:
            th = entered.pop(dice.randrange(len(entered)))
            coro = wait(th)
            m.suspend(th, coro, coro.send(None))
            waiting.append(th)
        elif choice == 2 and waiting and entered:
            th = waiting.pop(dice.randrange(len(waiting)))
            dice.choice(entered).unblock(th)
            woken.append(th)
        elif choice == 3 and entered + woken:
            m.leave(m.enter(VP(0)))  # who was woken goes on
            among = dice.choice([each for each in (entered, woken) if each])
            m.leave(among.pop(dice.randrange(len(among))))
    m.leave(m.enter(VP(0)))
    for th in entered + woken:
        m.leave(th)
    for th in waiting:
        last = m.enter(VP(0))
        last.unblock(th)
        m.leave(last)
        m.leave(th)
    assert m.processors[0].current is None
    m.close()


def _contexts(m: Machine, directory: Path) -> list[Seen]:
    m.tracer.drain(everything=True)
    return read(directory)[0]


def test_recording_a_live_machine_changes_nothing(core: str, tmp_path: Path) -> None:
    plain, traced = live(None), live(tmp_path / "t")
    assert [(proc.clock, proc.idle, proc.work) for proc in plain.processors] == [
        (proc.clock, proc.idle, proc.work) for proc in traced.processors
    ]


def test_what_is_told_after_a_bug_has_the_last_traced_events_of_every_processor(core: str) -> None:
    storm = Storm()
    m = storm.machine
    storm.run(3)
    assert "TRACE_" not in m.recent_events()
    m.tracer.set_mask(all_classes())
    storm.run(3)
    told = [line for line in m.recent_events(4).splitlines() if "TRACE_" in line]
    assert Counter(line.split()[1] for line in told) == {f"cpu{proc.vp}": 4 for proc in m.processors}
    assert any("TRACE_CACHE_COUNTERS" in line for line in told)  # what the core had kept back is there too
