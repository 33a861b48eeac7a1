"""A machine that is traced: what is recorded is what happened, and recording it changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from filecmp import cmpfiles
from pathlib import Path
from typing import Any

import pytest

from k42fs.ids import VP, Ref
from k42fs.machine import FairBLock, Kind, Machine, Thread, cores
from k42fs.machine.core import MISS_KINDS
from k42fs.machine.messages import Level
from k42fs.machine.ppc import PpcServer
from k42fs.machine.tracing.mask import CACHE, EXCEPTION, LOCK, SCHEDULER, USER, all_classes
from k42fs.machine.tracing.packets import NAMES_CPU
from k42fs.report.breakdown import IDLE, Breakdown, State, breakdown
from tests.machine.lab import ADD, BOX, a_lock, machine
from tests.machine.tracing.lab import Seen, read, strings
from tests.report.lab import source

PROCESSORS = 4
CORES = (cores.PURE, cores.COMPILED)


@pytest.fixture(params=CORES)
def core(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == cores.COMPILED:
        pytest.importorskip("k42fs.machine.fast_threads", exc_type=ImportError)
    monkeypatch.setenv(cores.VARIABLE, request.param)
    return str(request.param)


class Storm:
    """Threads that do everything there is on one machine: locks, sleeps, blocks, calls, messages."""

    def __init__(self, **how: Any) -> None:  # noqa: ANN401
        self.machine = m = machine(PROCESSORS, **how)
        self.lock = a_lock(m)
        self.box = m.memory.alloc(0, BOX)
        self.server = PpcServer(m.ppc, "echo")
        self.waiting: list[Thread] = []
        for proc in m.processors:
            proc.ltt = {7: proc.vp}

    async def serve(self, th: Thread) -> None:
        th.work(150)
        await th.sleep(100)

    async def work(self, th: Thread, rounds: int) -> None:
        m = self.machine
        for number in range(rounds):
            await self.lock.acquire(th)
            await th.touch(ADD, self.box)
            self.lock.release(th)
            th.deref(Ref(7))
            await th.load(self.box, 200)
            if number % 5 == 0:
                await self.server.call(th, self.serve, payload=100)
            elif number % 5 == 1:
                await m.messages.call(th, (th.vp + 1) % PROCESSORS, lambda there: there.work(30))
            elif number % 5 == 2:
                await self.server.remote(th, (th.vp + 2) % PROCESSORS, self.serve)
            elif number % 5 == 3:
                await m.messages.call(th, (th.vp + 1) % PROCESSORS, self.serve, Level.ENABLED)
            await self.pair(th)
        for other in self.waiting:
            th.unblock(other)
        self.waiting.clear()

    async def pair(self, th: Thread) -> None:
        """Wait until somebody else comes; from time to time there is somebody already."""
        if self.waiting:
            th.unblock(self.waiting.pop())
        elif sum(each.state != 6 for each in self.machine.unfinished()) > len(self.waiting) + PROCESSORS:
            self.waiting.append(th)
            while th in self.waiting:
                await th.block()

    def run(self, rounds: int = 12) -> Storm:
        for number in range(2 * PROCESSORS):
            self.machine.spawn(VP(number % PROCESSORS), self.work, rounds, name=f"worker {number}")
        self.machine.run()
        self.machine.check()
        return self


def stormy(to: Path | None = None, mask: int | None = None, **how: Any) -> Storm:  # noqa: ANN401
    """Run a storm, recorded to a directory if one is given."""
    storm = Storm(**how)
    if to is not None:
        storm.machine.tracer.start(to, all_classes() if mask is None else mask)
    storm.run()
    storm.machine.close()
    return storm


def counted(m: Machine) -> dict[str, Any]:
    """Return all there is to compare of two runs."""
    return {
        "hash": m.event_hash(),
        "statistics": m.statistics(),
        "clocks": [(proc.clock, proc.idle, proc.spin, proc.work) for proc in m.processors],
        "counters": [m.core.counters(proc.vp) for proc in m.processors],
    }


def events(directory: Path, name: str) -> Iterator[tuple[int, int, tuple[Any, ...]]]:
    """Yield (processor, stamp, values) of each event of that name."""
    for cpu, seen in read(directory).items():
        yield from ((cpu, stamp, values) for _, stamp, what, values in seen if what == name)


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


async def _plain_work(self: Storm, th: Thread, rounds: int) -> None:
    for number in range(rounds):
        await self.lock.acquire(th)
        await th.touch(ADD, self.box)
        self.lock.release(th)
        await th.sleep(100 * number)


def same_files(one: Path, other: Path) -> bool:
    names = sorted(path.name for path in one.iterdir())
    _, differ, missing = cmpfiles(one, other, names, shallow=False)
    return names == sorted(path.name for path in other.iterdir()) and not differ and not missing


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


def test_every_miss_and_every_lost_copy_is_recorded_and_told_by_its_kind(core: str, tmp_path: Path) -> None:
    m = stormy(tmp_path / "t").machine
    misses = Counter((cpu, MISS_KINDS[values[1]]) for cpu, _, values in events(tmp_path / "t", "cache_miss"))
    lost = Counter(cpu for cpu, _, _ in events(tmp_path / "t", "cache_invalidate"))
    for proc in m.processors:
        counters = m.core.counters(proc.vp)
        assert {kind: misses[proc.vp, kind] for kind in MISS_KINDS} == counters.misses
        assert lost[proc.vp] == counters.invalidations
    told = {cpu: values for cpu, _, values in events(tmp_path / "t", "cache_counters")}
    assert {cpu: values[3] for cpu, values in told.items()} == {
        proc.vp: sum(m.core.counters(proc.vp).misses.values()) for proc in m.processors
    }


def test_a_line_has_the_names_of_its_fields_and_misses_the_place_they_come_from(
    core: str, tmp_path: Path
) -> None:
    storm = stormy(tmp_path / "t")
    names = source(tmp_path / "t").names
    line = storm.box // 64 * 64
    assert {(each.offset, each.field) for each in names.lines[line].values()} == {
        (0, "lock"),
        (16, "count"),
    }  # not those where nobody ever missed
    assert {each.object for each in names.lines[line].values()} == {"Box"}
    places = {
        names.site(values[6]).split(" ")[-1]
        for _, _, values in events(tmp_path / "t", "cache_miss")
        if values[0] == line
    }
    assert places == {"Storm.work"}
    everything = {
        names.site(values[6]).split(":")[0] for _, _, values in events(tmp_path / "t", "cache_miss")
    }
    # Not the locks, nor what charges on behalf of others: their callers. Messages and calls are work of their own.
    assert everything == {
        "test_traced_machine.py",
        "machine/messages.py",
        "machine/interrupts.py",
        "machine/ppc.py",
    }


class Named:
    """Something with a path of its own."""

    path = "/a"

    def label(self) -> str:
        return "Thing 7"

    def trace_name(self) -> str:
        return self.path


def test_a_line_has_another_name_when_something_else_lies_there(core: str, tmp_path: Path) -> None:
    m = machine(2)
    m.tracer.start(tmp_path / "t", CACHE)
    seen: list[int] = []

    async def write(th: Thread, addr: int) -> None:
        await th.store(addr, 24)

    for layout, owner in ((BOX, None), (BOX, Named()), (128, None), (128, None)):
        addr = m.memory.alloc(0, layout, Kind.GLOBAL_PADDED, owner)
        seen.append(addr)
        for vp in (0, 1):
            m.spawn(VP(vp), write, addr)
            m.run()
        m.tracer.drain()
        m.memory.free(0, addr)
    m.close()
    assert len(set(seen)) == 1
    definitions = read(tmp_path / "t")[NAMES_CPU]
    text = strings(definitions)
    told: list[Any] = [values for _, _, what, values in definitions if what == "cache_line_name"]
    assert [
        (line, offset, nbytes, text[owner], text[field]) for line, offset, nbytes, owner, field in told
    ] == [
        (seen[0], 0, 16, "Box", "lock"),
        (seen[0], 0, 16, "Thing /a", "lock"),
        (seen[0], 0, 8, "128 bytes", "+0"),
    ]


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
