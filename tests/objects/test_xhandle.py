"""Cross-domain handles: who may do what, and that entries, data and lists go in time (invariants 32, 33).

What the invariants say of granting, and of the process that calls, has no counterpart: see the module.
"""

from __future__ import annotations

from random import Random
from weakref import ref as weak_ref

import pytest

from k42fs.errors import BadHandleError, NoSpaceError, NotPermittedError
from k42fs.ids import VP, Ref
from k42fs.machine.config import MachineConfig
from k42fs.machine.driver import Machine
from k42fs.machine.thread import Thread
from k42fs.objects import COSMgr, SingleRepRoot
from k42fs.objects.counter import SharedCounter
from k42fs.objects.xhandle import (
    ENTRIES_MAX,
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
R, W = Rights.READ.value, Rights.WRITE.value


class Data:
    """What a client has at the server for a handle."""


class Served:
    """An object that is exported by handles."""

    def __init__(self, entries_max: int = ENTRIES_MAX) -> None:
        self.lab = Lab()
        self.table = XHandleTable(self.lab.cos, entries_max)
        self.exported: HandleList = {}

    def give(self, pid: int, rights: int = R, data: object = "data") -> XHandle:
        return self.table.give(Ref(7), self.exported, pid, rights, data).handle

    def free(self, handle: XHandle) -> bool:
        return self.table.free(self.table.find(handle))

    def pass_generations(self) -> int:
        self.lab.join(0, 1)
        done = self.table.collect()  # stamps what was freed
        self.lab.sweep(4)
        return done + self.table.collect()


@pytest.mark.parametrize("rights", [0, R, W, R | W])
def test_invariant_32_a_handle_has_the_rights_it_was_given_and_no_others(rights: int) -> None:
    served = Served()
    handle = served.give(ALICE, rights, "position")
    assert served.table.use(handle) == "position"
    for needed in (R, W, R | W):
        if needed & ~rights:
            with pytest.raises(NotPermittedError, match=f"handle {handle:#x}: needs"):
                served.table.use(handle, needed)
        else:
            assert served.table.use(handle, needed) == "position"


@pytest.mark.parametrize("made_up", [0, 2, 5 << SEQUENCE_BITS, (1 << 40) + 1, -1, 1 << 70])
def test_a_made_up_handle_names_nothing(made_up: int) -> None:
    served = Served()
    served.give(ALICE)
    for look in (served.table.use, served.table.find):
        with pytest.raises(BadHandleError):
            look(made_up)


def test_invariant_32_a_freed_handle_fails_also_after_its_entry_is_used_again() -> None:
    served = Served()
    first = served.give(ALICE)
    assert served.free(first)
    with pytest.raises(BadHandleError):
        served.table.use(first)
    assert served.pass_generations() == 1
    again = served.give(BOB, data="again")
    assert again >> SEQUENCE_BITS == first >> SEQUENCE_BITS, "the same entry, last in first out"
    assert again != first
    for look in (served.table.use, served.table.find):
        with pytest.raises(BadHandleError):
            look(first)
    assert served.table.use(again) == "again"


def test_sequence_numbers_go_round_without_zero() -> None:
    served = Served()
    entry = served.table.find(served.give(ALICE))
    entry.sequence = SEQUENCE_MASK
    assert served.table.free(entry)
    assert entry.sequence == 1
    assert not served.table.free(entry), "the second free does nothing"
    assert len(served.table) == 0


def test_invariant_32_client_data_is_let_go_once_and_after_the_global_marker() -> None:
    served = Served()
    data = Data()
    seen = weak_ref(data)
    handle = served.give(ALICE, data=data)
    del data
    passer = served.lab.enter(1)  # might have found the entry valid
    served.free(handle)
    served.lab.join(0, 1)
    served.lab.sweep(6)
    assert served.table.collect() == 0
    assert seen() is not None
    served.lab.leave(passer)
    served.lab.sweep(4)
    assert served.table.collect() == 1
    assert seen() is None
    served.lab.sweep(4)
    assert served.table.collect() == 0


def test_invariant_33_an_entry_that_was_freed_does_not_come_back_while_anybody_is_active() -> None:
    served = Served(entries_max=1)
    handle = served.give(ALICE)
    passer = served.lab.enter(1)
    served.free(handle)
    served.lab.join(0, 1)
    for _ in range(3):
        served.lab.sweep(3)
        with pytest.raises(NoSpaceError):
            served.give(BOB)
    served.lab.leave(passer)
    served.lab.sweep(4)
    assert served.give(BOB) != handle


def test_invariant_32_a_client_that_died_has_no_entry_and_what_others_may_have_inherited_stays_valid() -> (
    None
):
    served = Served()
    handles = [served.give(ALICE, data=number) for number in range(5)]
    of_bob = served.give(BOB)
    for entry in list(served.table.clients[ALICE]):
        served.table.disown(entry)
        served.table.disown(entry)  # the second one does nothing
    assert list(served.table.clients) == [BOB]
    assert [served.table.use(handle, R) for handle in handles] == list(range(5))
    assert {served.table.find(handle).pid for handle in handles} == {KERNEL_PID}
    assert len(served.exported) == 6
    for handle in (*handles, of_bob):
        assert served.free(handle)
    assert (served.table.clients, served.exported, len(served.table)) == ({}, {}, 0)
    assert served.pass_generations() == 6


def test_the_kernel_is_on_no_clients_list() -> None:
    served = Served()
    handle = served.give(KERNEL_PID)
    assert served.table.clients == {}
    assert len(served.exported) == 1
    served.free(handle)
    assert len(served.exported) == 0


def test_the_table_grows_by_steps_and_reuses_what_comes_back() -> None:
    served = Served()
    for _ in range(20):
        handles = [served.give(ALICE) for _ in range(2 * GROWTH)]
        for handle in handles:
            served.free(handle)
        served.pass_generations()
    assert served.table.statistics() == {
        "handles": 0, "clients": 0, "entries": len(served.table.entries), "removed": 0, "freed": 40 * GROWTH,
    }  # fmt: skip
    assert len(served.table.entries) <= 5 * GROWTH


@pytest.mark.parametrize("seed", range(6))
def test_invariant_32_under_load_no_handle_works_before_it_is_complete_or_after_it_is_freed(
    seed: int,
) -> None:
    machine = Machine(MachineConfig(processors=4, seed=seed))
    cos, rng = COSMgr(machine), Random(seed)
    table = XHandleTable(cos)
    refs = [SingleRepRoot(cos, SharedCounter(cos, VP(0), number)).ref for number in (0, 1000)]
    lists: list[HandleList] = [{}, {}]
    given: set[XHandle] = set()
    for vp in range(4):
        machine.spawn(VP(vp), cos.daemon, 20_000, daemon=True)

    async def client(th: Thread, pid: int) -> None:
        for _ in range(60):
            cos.activate(th)
            which = rng.randrange(2)
            handle = table.give(refs[which], lists[which], pid, R, client_data=which).handle
            assert handle not in given, "no handle is ever given twice"
            given.add(handle)
            await th.sleep(rng.randrange(300))
            entry = table.find(handle)
            value = await th.deref(entry.ref).value(th)
            assert (value >= 1000) == bool(entry.client_data), "a handle never reaches another object"
            if rng.random() < 0.8:
                table.free(entry)
            cos.deactivate(th)
            await th.sleep(rng.randrange(500))

    async def guesser(th: Thread) -> None:
        for _ in range(200):
            cos.activate(th)
            handle = XHandle(rng.randrange(8) << SEQUENCE_BITS | 1 + rng.randrange(6))
            try:
                found = table.find(handle)
            except BadHandleError:
                pass
            else:
                assert handle in given
                await th.sleep(rng.randrange(2000))
                assert found.client_data in (0, 1), (
                    "an entry that was found stays as it was until all have left"
                )
            finally:
                cos.deactivate(th)
            await th.sleep(rng.randrange(200))

    for pid in (1, 2, 3):
        machine.spawn(VP(pid), client, pid)
    machine.spawn(VP(0), guesser)
    machine.run()
    for pid in (1, 2, 3):
        for entry in list(table.clients[pid]):
            table.free(entry)
    assert (len(table), table.clients) == (0, {})
    assert len(given) == 180
    table.collect()

    async def idle(th: Thread) -> None:
        await th.sleep(1_000_000)

    machine.spawn(VP(0), idle)
    machine.run()
    table.collect()
    assert table.removed == 0
