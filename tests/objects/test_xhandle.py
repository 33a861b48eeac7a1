"""Cross-domain handles: who may use which, and that entries, data and lists go in time (invariants 32, 33)."""

from __future__ import annotations

from random import Random

import pytest

from k42fs.errors import BadHandleError, BusyError, DeletedObjectError, NoSpaceError, NotPermittedError
from k42fs.ids import VP, Ref
from k42fs.machine.config import MachineConfig
from k42fs.machine.driver import Machine
from k42fs.machine.thread import Thread
from k42fs.objects import COSMgr, SingleRepRoot
from k42fs.objects.counter import SharedCounter
from k42fs.objects.xhandle import (
    GROWTH,
    KERNEL_PID,
    SEQUENCE_BITS,
    SEQUENCE_MASK,
    HandleList,
    Rights,
    XHandle,
    XHandleTable,
)
from tests.objects.lab import Lab

ALICE, BOB = 100, 200
R, W, CONTROL = Rights.READ, Rights.WRITE, Rights.CONTROL_ACCESS


class Served:
    """A counter that is exported by handles."""

    def __init__(self, **options: int) -> None:
        self.lab = Lab()
        self.table = XHandleTable(self.lab.cos, **options)  # type: ignore[arg-type]
        self.ref = SingleRepRoot(self.lab.cos, SharedCounter(self.lab.cos, VP(0), 0)).ref
        self.emptied: list[str] = []
        self.exported = HandleList("counter", lambda: self.emptied.append("counter"))
        self.freed: list[object] = []

    def give(self, pid: int, rights: Rights, data: object = None, user: Rights = Rights.NONE) -> XHandle:
        th = self.lab.enter(0)
        try:
            return self.lab.run(
                self.table.give_access(
                    th, self.ref, self.exported, pid, rights, user, data, self.freed.append
                )
            )
        finally:
            self.lab.leave(th)

    def call(
        self, handle: XHandle, pid: int, needed: Rights, method: str, *args: object, vp: int = 0
    ) -> object:
        th = self.lab.enter(vp)
        try:
            return self.lab.run(self.table.call(th, handle, pid, needed, method, *args))
        finally:
            self.lab.leave(th)

    def grant(self, handle: XHandle, caller: int, pid: int, rights: Rights) -> XHandle:
        th = self.lab.enter(0)
        try:
            return self.lab.run(self.table.grant(th, handle, caller, pid, rights))
        finally:
            self.lab.leave(th)

    def release(self, handle: XHandle, caller: int) -> None:
        th = self.lab.enter(0)
        try:
            self.lab.run(self.table.release(th, handle, caller))
        finally:
            self.lab.leave(th)

    def pass_generations(self) -> int:
        self.lab.join(0, 1)
        done = self.table.collect()  # stamps what was freed
        self.lab.sweep(4)
        return done + self.table.collect()


def test_a_handle_reaches_the_object_with_the_rights_it_was_given_and_no_others() -> None:
    served = Served()
    reader = served.give(ALICE, R)
    writer = served.give(BOB, R | W)
    served.call(writer, BOB, W, "increment", 5)
    assert served.call(reader, ALICE, R, "value", vp=1) == 5
    with pytest.raises(NotPermittedError):
        served.call(reader, ALICE, W, "increment", 1)
    with pytest.raises(NotPermittedError):
        served.call(writer, ALICE, R, "value")
    assert served.call(writer, BOB, Rights.PROCESS_ONLY, "value") == 5, "what every matching process has"
    assert served.call(writer, BOB, R, "value") == 5, "nothing was added"


def test_rights_for_anybody_are_for_anybody() -> None:
    served = Served()
    handle = served.give(ALICE, W, user=R | Rights.GLOBAL_HANDLE)
    assert served.call(handle, BOB, R, "value") == 0
    with pytest.raises(NotPermittedError):
        served.call(handle, BOB, W, "increment")
    served.call(handle, ALICE, W | R, "increment")


def test_invariant_32_granted_rights_are_a_part_of_the_givers_own() -> None:
    served = Served()
    own = served.give(ALICE, R | CONTROL)
    given = served.grant(own, ALICE, BOB, R)
    assert served.call(given, BOB, R, "value") == 0
    with pytest.raises(NotPermittedError, match="cannot be granted"):
        served.grant(own, ALICE, BOB, R | W)
    with pytest.raises(NotPermittedError, match="needs"):
        served.grant(given, BOB, ALICE, R)
    with pytest.raises(NotPermittedError):
        served.grant(own, BOB, BOB, R)
    assert len(served.exported) == 2


@pytest.mark.parametrize("made_up", [0, 2, 5 << SEQUENCE_BITS, (1 << 40) + 1, -1, 1 << 70])
def test_a_made_up_handle_names_nothing(made_up: int) -> None:
    served = Served()
    served.give(ALICE, R)
    with pytest.raises(BadHandleError):
        served.call(XHandle(made_up), ALICE, R, "value")


def test_invariant_32_a_freed_handle_fails_also_after_its_entry_is_used_again() -> None:
    served = Served()
    first = served.give(ALICE, R)
    served.release(first, ALICE)
    with pytest.raises(BadHandleError):
        served.call(first, ALICE, R, "value")
    assert served.pass_generations() == 1
    again = served.give(ALICE, R)
    assert again >> SEQUENCE_BITS == first >> SEQUENCE_BITS, "the same entry, last in first out"
    assert again != first
    with pytest.raises(BadHandleError):
        served.call(first, ALICE, R, "value")
    with pytest.raises(BadHandleError):
        served.release(first, ALICE)
    assert served.call(again, ALICE, R, "value") == 0


def test_sequence_numbers_go_round_without_zero() -> None:
    served = Served()
    handle = served.give(ALICE, R)
    entry = served.table.find(handle)
    entry.sequence = SEQUENCE_MASK
    assert served.table.free(entry)
    assert entry.sequence == 1
    assert not served.table.free(entry), "the second free does nothing"


def test_only_its_process_or_the_kernel_gives_a_handle_back() -> None:
    served = Served()
    handle = served.give(ALICE, R, user=R)
    with pytest.raises(NotPermittedError):
        served.release(handle, BOB)
    served.release(handle, KERNEL_PID)
    assert len(served.table) == 0


def test_invariant_32_client_data_is_freed_once_after_the_global_marker() -> None:
    served = Served()
    handle = served.give(ALICE, R, data="position 0")
    passer = served.lab.enter(1)  # might have found the entry valid
    served.release(handle, ALICE)
    served.lab.join(0, 1)
    served.lab.sweep(6)
    assert served.table.collect() == 0
    assert served.freed == []
    served.lab.leave(passer)
    served.lab.sweep(4)
    assert served.table.collect() == 1
    served.lab.sweep(4)
    served.table.collect()
    assert served.freed == ["position 0"]


def test_invariant_33_an_entry_that_was_freed_does_not_come_back_while_anybody_is_active() -> None:
    served = Served(entries_max=1)
    handle = served.give(ALICE, R)
    passer = served.lab.enter(1)
    served.release(handle, ALICE)
    served.lab.join(0, 1)
    for _ in range(3):
        served.lab.sweep(3)
        with pytest.raises(NoSpaceError):
            served.give(BOB, R)
    served.lab.leave(passer)
    served.lab.sweep(4)
    assert served.give(BOB, R) != handle


def test_closing_the_objects_list_takes_every_handle_away_and_gives_no_more() -> None:
    served = Served()
    handles = [(pid, served.give(pid, R)) for pid in (ALICE, BOB, ALICE)]
    assert served.table.close(served.exported)
    assert not served.table.close(served.exported), "the second one is told so"
    assert served.emptied == []
    for pid, handle in handles:
        with pytest.raises(BadHandleError):
            served.call(handle, pid, R, "value")
    with pytest.raises(BusyError, match="counter is closing"):
        served.give(ALICE, R)
    assert served.table.clients == {}
    assert served.pass_generations() == 4, "the entry that could not be used as well"
    assert served.table.statistics()["handles"] == 0


def test_invariant_32_a_client_that_dies_leaves_no_entry() -> None:
    served = Served()
    for _ in range(5):
        served.give(ALICE, R | W, data="alice")
    stays = served.give(BOB, R)
    assert served.table.client_died(ALICE) == 5
    assert served.table.client_died(ALICE) == 0
    assert (len(served.table), list(served.table.clients)) == (1, [BOB])
    assert served.call(stays, BOB, R, "value") == 0
    assert served.emptied == []
    assert served.table.client_died(BOB) == 1
    assert served.emptied == ["counter"], "so that it may close lazily"
    served.pass_generations()
    assert served.freed.count("alice") == 5


def test_the_kernel_is_on_no_clients_list() -> None:
    served = Served()
    handle = served.give(KERNEL_PID, R | W)
    assert served.table.clients == {}
    served.call(handle, KERNEL_PID, W, "increment")
    served.release(handle, KERNEL_PID)
    assert served.emptied == ["counter"]


def test_a_handle_to_a_destroyed_object_says_so() -> None:
    served = Served()
    handle = served.give(ALICE, R)
    served.lab.destroy_on(0, served.ref)
    served.lab.sweep(4)
    with pytest.raises(DeletedObjectError):
        served.call(handle, ALICE, R, "value")


def test_the_table_grows_by_steps_and_reuses_what_comes_back() -> None:
    served = Served()
    for _ in range(20):
        handles = [served.give(ALICE, R) for _ in range(2 * GROWTH)]
        for handle in handles:
            served.release(handle, ALICE)
        served.pass_generations()
    assert len(served.table.entries) <= 5 * GROWTH
    assert served.table.statistics()["freed"] == 40 * GROWTH


@pytest.mark.parametrize("seed", range(6))
def test_invariant_32_under_load_no_handle_works_before_it_is_complete_or_after_it_is_freed(
    seed: int,
) -> None:
    machine = Machine(MachineConfig(processors=4, seed=seed))
    cos, rng = COSMgr(machine), Random(seed)
    table = XHandleTable(cos)
    refs = [SingleRepRoot(cos, SharedCounter(cos, VP(0), number)).ref for number in (0, 1000)]
    lists = [HandleList("a"), HandleList("b")]
    live: dict[XHandle, tuple[int, Ref]] = {}
    freed: list[str] = []
    given = 0
    for vp in range(4):
        machine.spawn(VP(vp), cos.daemon, 20_000, daemon=True)

    async def client(th: Thread, pid: int) -> None:
        nonlocal given
        for _ in range(60):
            cos.activate(th)
            which = rng.randrange(2)
            handle = await table.give_access(
                th, refs[which], lists[which], pid, R, client_data="x", when_freed=freed.append
            )
            given += 1
            assert handle not in live, "no handle is ever given twice"
            live[handle] = pid, refs[which]
            value = await table.call(th, handle, pid, R, "value")
            assert (value >= 1000) == bool(which), "a handle never reaches another object"
            if rng.random() < 0.8:
                await table.release(th, handle, pid)
            cos.deactivate(th)
            await th.sleep(rng.randrange(500))

    async def guesser(th: Thread) -> None:
        for _ in range(200):
            cos.activate(th)
            index = rng.randrange(8)
            handle = XHandle(index << SEQUENCE_BITS | 1 + rng.randrange(6))
            try:
                await table.call(th, handle, 4, R, "value")
            except (BadHandleError, NotPermittedError):
                pass
            else:
                raise AssertionError("a stranger was let in")
            finally:
                cos.deactivate(th)
            await th.sleep(rng.randrange(200))

    for pid in (1, 2, 3):
        machine.spawn(VP(pid), client, pid)
    machine.spawn(VP(0), guesser)
    machine.run()
    for pid in (1, 2, 3):
        table.client_died(pid)
    assert (len(table), table.clients) == (0, {})
    table.collect()

    async def idle(th: Thread) -> None:
        await th.sleep(1_000_000)

    machine.spawn(VP(0), idle)
    machine.run()
    table.collect()
    assert len(freed) == given
    assert table.removed == 0
