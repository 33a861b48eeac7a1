"""The compiled driver: one order of events with the one in Python, to the hash, and the same ends."""

import gc
from collections.abc import Callable
from random import Random
from typing import Any
from weakref import ref

import pytest

from k42fs.ids import VP
from k42fs.machine import DeadlockError, Kind, Machine, RWLock, SLock, Thread, cores
from k42fs.machine.messages import Level
from k42fs.machine.scheduler import STALL_CYCLES, Scheduler
from k42fs.machine.spin_locks import SPIN_LOCKS
from tests.machine.lab import ADD, BOX, a_lock, machine

fast = pytest.importorskip("k42fs.machine.fast_scheduler", exc_type=ImportError)

VPS = 6
Outcome = tuple[Any, ...]


@pytest.fixture(autouse=True)
def _on_the_compiled_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cores.VARIABLE, cores.COMPILED)


class Town:
    """Everything that threads can wait for, and threads that do so at random."""

    def __init__(self, m: Machine) -> None:
        self.m = m
        self.boxes = [m.memory.alloc(vp, BOX) for vp in range(VPS)]
        self.lock, self.spinning = a_lock(m, name="lock"), a_lock(m, SLock, vp=1, name="spinning")
        self.shared = RWLock(m, m.memory.alloc(2, 16, Kind.GLOBAL_PADDED))
        self.ticket = SPIN_LOCKS["ticket"](m, m.memory.alloc(3, 128, Kind.GLOBAL_PADDED))
        self.asleep: list[Thread] = []
        self.flag = 0
        self.order: list[tuple[int, int]] = []

    async def citizen(self, th: Thread, random: Random, steps: int) -> int:
        for _ in range(steps):
            await getattr(self, random.choice(STEPS))(th, random)
            self.order.append((th.number, th.proc.clock))
        return th.proc.clock

    async def charge(self, th: Thread, random: Random) -> None:
        for _ in range(random.randrange(6)):
            await th.touch(ADD, random.choice(self.boxes))

    async def rest(self, th: Thread, random: Random) -> None:
        await th.sleep(random.randrange(2000))

    async def exclude(self, th: Thread, random: Random) -> None:
        lock = random.choice((self.lock, self.spinning))
        await lock.acquire(th)
        try:
            th.work(random.randrange(9000))
            await th.touch(ADD, self.boxes[0])
            if lock is self.lock and random.random() < 0.2:
                await th.sleep(500)
        finally:
            lock.release(th)

    async def share(self, th: Thread, random: Random) -> None:
        if random.random() < 0.3:
            await self.shared.acquire_w(th)
            await th.store(self.boxes[1])
            self.shared.release_w(th)
        else:
            await self.shared.acquire_r(th)
            await th.load(self.boxes[1])
            self.shared.release_r(th)

    async def queue(self, th: Thread, random: Random) -> None:
        await self.ticket.acquire(th)
        th.work(random.randrange(300))
        if th.level > 1:
            await self.ticket.release_in_turn(th)
        else:
            self.ticket.release(th)

    async def doze(self, th: Thread, _random: Random) -> None:
        self.asleep.append(th)
        await th.block()

    async def rouse(self, th: Thread, _random: Random) -> None:
        asleep, self.asleep = self.asleep, []
        for other in asleep:
            th.unblock(other)

    async def watch(self, th: Thread, random: Random) -> None:
        wanted, deadline = self.flag + 1, th.proc.clock + random.randrange(5000)
        if th.level > 1:
            await self.m.watchers.spin_until(th, self.boxes[5], lambda: self.flag >= wanted, deadline)

    async def wave(self, th: Thread, _random: Random) -> None:
        await th.store(self.boxes[5])
        self.flag += 1

    async def message(self, th: Thread, random: Random) -> None:
        if random.random() < 0.5:
            await self.m.messages.send(th, random.randrange(VPS), lambda other: other.work(200))
        else:
            await self.m.messages.call(th, random.randrange(VPS), lambda other: other.vp, Level.DISABLED)

    async def guard(self, th: Thread) -> None:
        """Wake for ever whoever is left asleep."""
        while True:
            await th.sleep(4000)
            await self.rouse(th, Random(0))


STEPS = ("charge", "charge", "rest", "exclude", "share", "queue", "doze", "rouse", "watch", "wave", "message")


def lived(core: str, monkeypatch: pytest.MonkeyPatch, seed: int, model: str, **config: Any) -> Outcome:  # noqa: ANN401
    """Run a town to its end; return all there is to compare."""
    monkeypatch.setenv(cores.VARIABLE, core)
    m = machine(VPS, seed=seed, model=model, config=config)
    town = Town(m)
    m.spawn(VP(0), town.guard, daemon=True)
    threads = [m.spawn(VP(n % VPS), town.citizen, Random(1000 * seed + n), 25) for n in range(2 * VPS)]
    m.run()
    m.check()
    first = m.event_hash()
    threads += [m.spawn(VP(n), town.citizen, Random(n), 5) for n in range(VPS)]
    m.run()
    m.close()
    counted = m.statistics()
    assert counted.pop("core") == core
    outcomes = [th.outcome for th in threads]
    return first, m.event_hash(), counted, outcomes, town.order, m.recent_events(64)


@pytest.mark.parametrize("model", ["full", "calls", "off"])
@pytest.mark.parametrize("lookahead", [0, 500])
@pytest.mark.parametrize("seed", range(5))
def test_all_kinds_of_waiting_end_in_the_same_order(
    seed: int, lookahead: int, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pure, compiled = (
        lived(core, monkeypatch, seed, model, lookahead_cycles=lookahead)
        for core in (cores.PURE, cores.COMPILED)
    )
    for one, other in zip(pure, compiled, strict=True):
        assert one == other


@pytest.mark.parametrize("seed", [(1 << 63) + 5, (1 << 64) - 1])
def test_great_seeds_settle_ties_alike(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lived(cores.PURE, monkeypatch, seed, "full") == lived(cores.COMPILED, monkeypatch, seed, "full")


async def forgotten(th: Thread) -> None:
    await th.block()


async def idle(th: Thread) -> None:
    while True:
        await th.sleep(STALL_CYCLES // 2)


async def broken(th: Thread) -> None:
    await th.sleep(10)
    raise KeyError(th.vp)


def failing(m: Machine, *bodies: Callable[..., Any]) -> str:
    """Return what the run of a daemon and these ends with."""
    for vp, body in enumerate(bodies):
        m.spawn(VP(vp), body, daemon=body is idle)
    with pytest.raises((DeadlockError, KeyError)) as failure:
        m.run()
    m.close()
    return f"{type(failure.value)}: {failure.value}"


@pytest.mark.parametrize(
    "bodies", [(forgotten, forgotten), (idle, forgotten, forgotten), (forgotten, broken)]
)
def test_runs_fail_with_the_same_words(
    bodies: tuple[Callable[..., Any], ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = []
    for core in (cores.PURE, cores.COMPILED):
        monkeypatch.setenv(cores.VARIABLE, core)
        words.append(failing(machine(), *bodies))
    assert words[0] == words[1]


def test_a_machine_with_a_compiled_core_has_the_compiled_driver() -> None:
    assert isinstance(machine()._scheduler, fast.FastScheduler)


def test_what_a_failed_thread_leaves_is_collected_with_its_machine() -> None:
    m = machine()

    async def body(th: Thread) -> None:
        await th.machine.messages.send(
            th, 1, lambda other: None
        )  # its interrupt is on its way when the run ends
        raise KeyError("early")

    m.spawn(VP(0), body)
    m.spawn(VP(1), forgotten)
    with pytest.raises(KeyError):
        m.run()
    m.close()
    gone = ref(m)
    del m
    gc.collect()
    assert gone() is None


def test_many_more_events_than_the_log_holds_hash_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(th: Thread, own: int) -> None:
        for _ in range(1500):
            await th.rmw(own)

    hashes = []
    for core in (cores.PURE, cores.COMPILED):
        monkeypatch.setenv(cores.VARIABLE, core)
        m = machine(3)
        for vp in range(3):
            m.spawn(VP(vp), body, m.memory.alloc(vp, 64, Kind.GLOBAL_PADDED))
        m.run()
        hashes.append(m.event_hash())
    assert hashes[0] == hashes[1]


def test_threads_of_no_processor_of_the_machine_are_refused() -> None:
    small, large = machine(1), machine(8)
    stranger = large.new_thread(VP(7))
    with pytest.raises(IndexError, match="no processor 7"):
        fast.FastScheduler(small).make_ready(stranger, 0)
    with pytest.raises(TypeError, match="is not of"):
        fast.FastScheduler(small).granted(small)


def test_the_oracle_is_still_what_a_pure_machine_runs_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cores.VARIABLE, cores.PURE)
    assert isinstance(machine()._scheduler, Scheduler)
