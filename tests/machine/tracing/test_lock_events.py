"""What single acquisitions tell: sites, names, who had it, how long, and K42's events beside ours."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from k42fs.ids import VP
from k42fs.machine import FairBLock, Kind, Machine, OperationSuspended, RequestCount, RWLock, SLock, Thread
from k42fs.machine.bit_locks import BitSLock
from k42fs.machine.lock_kinds import LOCK_BYTES, LOCK_KINDS, Lock
from k42fs.machine.rec_lock import RecLock
from k42fs.machine.semaphore import Sem
from k42fs.machine.tracing.mask import LOCK
from tests.machine.lab import a_lock, machine, run
from tests.machine.tracing.lab import Seen, read, strings

pytestmark = pytest.mark.usefixtures("_on_each_core")

Event = tuple[int, int, str, dict[str, Any]]
FIELDS = {
    "lock_acquire": ("lock", "kind", "site", "waited", "from_vp", "holder"),
    "lock_release": ("lock", "held"),
    "lock_contend_spin": ("lock", "spins", "time", "pc0", "pc1", "pc2"),
    "lock_contend_block": ("lock", "spins", "time", "pc0", "pc1", "pc2", "hand_off", "giver"),
}


class Recording:
    """A recording of the class Lock alone, read back."""

    def __init__(self, m: Machine, path: Path) -> None:
        self.m = m
        self.path = path
        m.tracer.start(path, LOCK)

    def events(self) -> list[Event]:
        """End it; return what happened, by time, with sites as text."""
        self.m.close()
        seen = read(self.path)
        texts: dict[Any, str] = {0: "", **strings(seen[0xFFFFFFFF])}
        sites: dict[Any, str] = {0: ""}
        self.names: list[tuple[Any, ...]] = []
        self.objects: dict[Any, str] = {}
        for _, _, name, values in seen.pop(0xFFFFFFFF):
            if name == "lock_site":
                sites[values[0]] = texts[values[1]]
            elif name == "lock_lock_name":
                self.names.append((values[0], values[1], texts[values[2]], texts[values[3]]))
            elif name == "clust_obj_object_name":
                self.objects[values[0]] = f"{texts[values[1]]} {texts[values[2]]}".strip()
        told = sorted((event for of in seen.values() for event in of), key=lambda event: event[1])
        return [self._named(event, sites) for event in told if event[2].startswith("lock_")]

    def _named(self, event: Seen, sites: dict[Any, str]) -> Event:
        vp, stamp, name, values = event
        fields = dict(zip(FIELDS.get(name, map(str, range(len(values)))), values, strict=True))
        for each in ("site", "holder", "pc0", "pc1", "pc2"):
            if each in fields:
                fields[each] = sites[fields[each]]
        return vp, stamp, name, fields


def only(events: list[Event], name: str) -> list[tuple[int, int, dict[str, Any]]]:
    return [(vp, stamp, fields) for vp, stamp, which, fields in events if which == f"lock_{name}"]


def here(offset: int = 0) -> str:
    """The call site of the caller's line, *offset* lines on."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    code = frame.f_back.f_code
    return f"{Path(code.co_filename).name}:{frame.f_back.f_lineno + offset} {code.co_qualname}"


def test_both_sides_of_a_contention_are_named_by_line_and_method(tmp_path: Path) -> None:
    m = machine(2)
    lock, sites = a_lock(m, SLock), dict[str, str]()
    recording = Recording(m, tmp_path / "t")

    async def holder(th: Thread) -> None:
        sites["holder"] = here(1)
        await lock.acquire(th)
        await th.sleep(5000)
        lock.release(th)

    async def inner(th: Thread) -> None:
        sites["inner"] = here(1)
        await lock.acquire(th)
        lock.release(th)

    async def waiter(th: Thread) -> None:
        await th.sleep(1000)
        sites["outer"] = here(1)
        await inner(th)

    run(m, (0, holder), (1, waiter))
    events = recording.events()
    first, second = (fields for _, _, fields in only(events, "acquire"))
    assert first == {
        "lock": lock.addr, "kind": 0, "site": sites["holder"], "waited": 0, "from_vp": -1, "holder": "",
    }  # fmt: skip
    assert second == {
        "lock": lock.addr, "kind": 0, "site": sites["inner"], "waited": lock.waited_cycles, "from_vp": 0,
        "holder": sites["holder"],
    }  # fmt: skip
    ((_, _, spun),) = only(events, "contend_spin")
    assert (spun["pc0"], spun["pc1"], spun["pc2"]) == (sites["inner"], sites["outer"], "")
    assert (spun["time"], spun["spins"]) == (lock.waited_cycles, lock.waited_cycles // m.config.poll_cycles)
    assert not only(events, "contend_block")


@pytest.mark.parametrize("kind", sorted(LOCK_KINDS))
@pytest.mark.parametrize("live", [False, True])
def test_the_site_is_whoever_asked_not_the_lock_s_own_code(kind: str, live: bool, tmp_path: Path) -> None:
    m = machine(2, live=live)
    lock = LOCK_KINDS[kind](m, m.memory.alloc(0, max(64, LOCK_BYTES), Kind.GLOBAL_PADDED))
    recording = Recording(m, tmp_path / "t")
    expected = []

    async def body(th: Thread) -> None:
        expected.append(here(1))
        await lock.acquire(th)
        lock.release(th)
        expected.append(here(1))
        assert lock.try_acquire(th)
        lock.release(th)
        if isinstance(lock, BitSLock):
            expected.append(here(1))
            await lock.acquire_data(th)
            lock.release(th, 8)

    if live:
        th = m.enter(VP(0))
        m.drive(body(th))
        m.leave(th)
    else:
        run(m, (0, body))
    events = recording.events()
    assert [fields["site"] for _, _, fields in only(events, "acquire")] == expected
    assert [fields["kind"] for _, _, fields in only(events, "acquire")] == [int(lock.blocks)] * len(expected)


@pytest.mark.parametrize("kind", [FairBLock, SLock])
def test_a_holding_lasts_from_its_acquire_to_its_release(kind: type[FairBLock], tmp_path: Path) -> None:
    m = machine(4)
    lock = a_lock(m, kind)
    recording = Recording(m, tmp_path / "t")

    async def body(th: Thread) -> None:
        for _ in range(5):
            await lock.acquire(th)
            th.work(100 * th.vp)
            lock.release(th)

    run(m, *((vp, body) for vp in range(4)))
    events = [event for event in recording.events() if event[2] in ("lock_acquire", "lock_release")]
    assert len(events) == 40
    for (vp, taken, _, _), (by, left, _, fields) in zip(events[::2], events[1::2], strict=True):
        assert (vp, left - taken) == (by, fields["held"])


def test_who_blocked_says_how_long_the_hand_over_took_and_from_where(tmp_path: Path) -> None:
    m = machine(4)
    lock, released = a_lock(m), list[int]()
    recording = Recording(m, tmp_path / "t")

    async def holder(th: Thread) -> None:
        await lock.acquire(th)
        await th.sleep(20 * m.config.patience_cycles)
        lock.release(th)
        released.append(th.proc.clock)

    async def waiter(th: Thread) -> None:
        await th.sleep(1000)
        await lock.acquire(th)
        lock.release(th)

    run(m, (2, holder), (3, waiter))
    events = recording.events()
    ((vp, stamp, blocked),) = only(events, "contend_block")
    assert (vp, blocked["giver"], blocked["time"]) == (3, 2, lock.waited_cycles)
    assert blocked["spins"] == m.config.patience_cycles // m.config.poll_cycles
    assert stamp - released[0] < blocked["hand_off"] < stamp - released[0] + 5000
    assert not only(events, "contend_spin")


def test_live_a_wait_in_the_past_names_who_had_it_last(tmp_path: Path) -> None:
    m = machine(2, live=True)
    lock = a_lock(m)
    recording = Recording(m, tmp_path / "t")

    async def early(th: Thread) -> None:
        await lock.acquire(th)
        th.work(9000)
        lock.release(th)

    async def late(th: Thread) -> None:
        await lock.acquire(th)
        lock.release(th)

    for vp, body in ((0, early), (1, late)):
        th = m.enter(VP(vp))
        m.drive(body(th))
        m.leave(th)
    *_, (vp, _, fields) = only(recording.events(), "acquire")
    assert (vp, fields["waited"], fields["from_vp"]) == (1, lock.waited_cycles, 0)
    assert fields["waited"] > 8000
    assert "early" in fields["holder"]
    assert "late" in fields["site"]


@pytest.mark.parametrize("kind", ["BLock", "tas", "BitBLock", "RWLock"])
def test_live_a_wait_in_the_past_is_never_for_one_s_own_holding(kind: str, tmp_path: Path) -> None:
    m = machine(2, live=True, config={"live_window_cycles": 1 << 40})
    addr = m.memory.alloc(0, 64, Kind.GLOBAL_PADDED)
    rw, lock = RWLock(m, addr), None if kind == "RWLock" else LOCK_KINDS[kind](m, addr)
    recording = Recording(m, tmp_path / "t")

    async def hold(th: Thread, section: int) -> None:
        await (rw.acquire_w(th) if lock is None else lock.acquire(th))
        th.work(section)
        if lock is None:
            rw.release_w(th)
        else:
            lock.release(th)

    async def theirs(th: Thread) -> None:
        th.work(200_000)
        await hold(th, 100_000)

    async def mine(th: Thread) -> None:
        await hold(th, 150_000)  # comes later, but lies before; then the others' comes in between
        await hold(th, 100)

    for vp, body in ((0, theirs), (1, mine)):
        th = m.enter(VP(vp))
        m.drive(body(th))
        m.leave(th)
    *_, (_, _, fields) = only(recording.events(), "acquire")
    assert fields["waited"] > 100_000
    assert fields["from_vp"] == 0


def test_live_a_reader_waits_for_the_writer_whoever_reads_meanwhile(tmp_path: Path) -> None:
    m = machine(3, live=True)
    lock = RWLock(m, m.memory.alloc(0, 64, Kind.GLOBAL_PADDED))
    recording = Recording(m, tmp_path / "t")

    async def write(th: Thread) -> None:
        await lock.acquire_w(th)
        th.work(9000)
        lock.release_w(th)

    async def read(th: Thread) -> None:
        await lock.acquire_r(th)
        th.work(1000)
        lock.release_r(th)

    for vp, body in ((0, write), (1, read), (2, read)):
        th = m.enter(VP(vp))
        th.work(500 * vp)
        m.drive(body(th))
        m.leave(th)
    _, *readers = (fields for _, _, fields in only(recording.events(), "acquire"))
    assert [("write" in fields["holder"], fields["from_vp"]) for fields in readers] == [(True, 0), (True, 0)]
    assert all(fields["waited"] > 7000 for fields in readers)


def test_live_who_is_parked_and_woken_tells_it_when_it_goes_on(tmp_path: Path) -> None:
    m = machine(2, live=True)
    lock = a_lock(m)
    recording = Recording(m, tmp_path / "t")
    holder = m.enter(VP(0))
    lock.acquire(holder)

    async def wait(th: Thread) -> None:
        await lock.acquire(th)
        lock.release(th)

    with pytest.raises(OperationSuspended):
        m.drive(wait(m.enter(VP(1))))
    holder.work(5000)
    lock.release(holder)
    m.leave(holder)
    events = recording.events()
    ((_, _, blocked),) = only(events, "contend_block")
    assert blocked["giver"] == 0
    assert blocked["hand_off"] > m.config.ipi_cycles
    first, second = (fields for _, _, fields in only(events, "acquire"))
    assert second["holder"] == first["site"]


class _Owner:
    """Has a lock, and is no clustered object."""

    def __init__(self, m: Machine) -> None:
        self.lock = FairBLock(m, m.memory.alloc(0, 64, Kind.GLOBAL_PADDED), name="inner", owner=self)

    def label(self) -> str:
        return "_Owner number 3"


class _Rep(_Owner):
    root = None
    ref = 77


def test_every_lock_is_named_once_and_after_its_object(tmp_path: Path) -> None:
    m = machine(1, live=True)
    plain, owned, rep = a_lock(m, name="plain"), _Owner(m), _Rep(m)
    recording = Recording(m, tmp_path / "t")
    th = m.enter(VP(0))
    for _ in range(3):
        for lock in (plain, owned.lock, rep.lock):
            lock.acquire(th)
            lock.release(th)
    again = FairBLock(m, plain.addr, name="again")  # at the same address
    again.acquire(th)
    again.release(th)
    m.leave(th)
    recording.events()
    owner = 1 << 63 | owned.lock.addr
    assert recording.names == [
        (plain.addr, 0, "plain", "BLock"),
        (owned.lock.addr, owner, "inner", "BLock"),
        (rep.lock.addr, 77, "inner", "BLock"),
        (plain.addr, 0, "again", "BLock"),
    ]
    assert recording.objects == {owner: "_Owner number 3"}


def test_a_new_recording_names_them_again(tmp_path: Path) -> None:
    m = machine(1, live=True)
    lock, th = a_lock(m, name="it"), m.enter(VP(0))
    for number in range(2):
        m.tracer.start(tmp_path / str(number), LOCK)
        lock.acquire(th)
        lock.release(th)
        m.tracer.stop()
        names = [name for _, _, name, _ in read(tmp_path / str(number))[0xFFFFFFFF]]
        assert names.count("lock_lock_name") == 1


def test_readers_writers_upgrades_and_semaphores_tell_k42_s_events(tmp_path: Path) -> None:
    m = machine(1, live=True)
    rw = RWLock(m, m.memory.alloc(0, 64, Kind.GLOBAL_PADDED))
    other = m.new_thread(VP(0))
    requests = RequestCount(m, m.memory.alloc(0, 64, Kind.GLOBAL_PADDED))
    sem = Sem(m, m.memory.alloc(0, 64, Kind.GLOBAL_PADDED), a_lock(m), 3)
    recording = Recording(m, tmp_path / "t")

    async def body(th: Thread) -> None:
        await rw.acquire_r(th)
        await rw.upgrade(th)
        rw.downgrade(th)
        assert not rw.try_acquire_w(other)
        rw.release_r(th)
        assert rw.try_acquire_w(th)
        rw.release_w(th)
        await requests.enter(th)
        requests.leave(th)
        await sem.p(th, 2)
        await sem.v(th)

    th = m.enter(VP(0))
    m.drive(body(th))
    m.leave(th)
    seen = [(name[5:], [*fields.values()][:-1]) for _, _, name, fields in recording.events()
            if name.startswith(("lock_rw", "lock_sem"))]  # fmt: skip
    assert seen == [
        ("rw_ar", [1, 0]), ("rw_up", [0, 1]), ("rw_dn", [1, 0]), ("rw_try", [0]), ("rw_rr", [0, 0]),
        ("rw_aw", [0, 1]), ("rw_try", [1]), ("rw_rw", [0, 0]),
        ("sem_p", [1]), ("sem_v", [1]), ("sem_p", [2]), ("sem_v", [1]),
    ]  # fmt: skip


def test_a_recursive_lock_tells_the_outermost_holding_only(tmp_path: Path) -> None:
    m = machine(1)
    lock = RecLock(m, m.memory.alloc(0, 64, Kind.GLOBAL_PADDED))
    recording = Recording(m, tmp_path / "t")

    async def body(th: Thread) -> None:
        for _ in range(3):
            await lock.acquire(th)
        for _ in range(3):
            lock.release(th)

    run(m, (0, body))
    events = recording.events()
    assert len(only(events, "acquire")) == len(only(events, "release")) == 1


class _Loud:
    """Emitters that nobody may use."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        raise AssertionError(f"{name} with the mask off")


@pytest.mark.parametrize("kind", [*sorted(LOCK_KINDS), "RWLock"])
@pytest.mark.parametrize("model", ["full", "calls", "off"])
def test_nothing_is_told_with_the_mask_off(kind: str, model: Any) -> None:  # noqa: ANN401
    m = machine(4, model=model)
    assert m.tracer.mask == 0
    for proc in m.processors:
        proc.emit = _Loud()  # type: ignore[assignment]
    addr = m.memory.alloc(0, 64, Kind.GLOBAL_PADDED)
    rw, lock = RWLock(m, addr), None if kind == "RWLock" else LOCK_KINDS[kind](m, addr)
    requests = RequestCount(m, addr)

    async def body(th: Thread) -> None:
        for _ in range(5):
            await _hold(lock, rw, th)
            assert await requests.enter(th)
            requests.leave(th)

    run(m, *((vp, body) for vp in range(4)))
    taken = rw if lock is None else lock
    assert not taken.holders()
    assert model != "full" or taken.contentions


async def _hold(lock: Lock | None, rw: RWLock, th: Thread) -> None:
    if lock is not None:
        await lock.acquire(th)
        await th.sleep(100)
        lock.release(th)
        return
    await rw.acquire_w(th)
    await th.sleep(100)
    rw.downgrade(th)
    rw.release_r(th)
