"""Refs, misses and reps: invariants 1 to 8 of clustered objects."""

from __future__ import annotations

from typing import Any

import pytest

from k42fs.errors import DeletedObjectError
from k42fs.ids import VP, Ref
from k42fs.machine.config import MachineConfig
from k42fs.machine.driver import Machine
from k42fs.machine.thread import Thread
from k42fs.objects import COSMgr, MissHandler, MultiRepRoot, Rep, SingleRepRoot
from k42fs.objects.counter import ReplicatedCounterRoot, create_replicated, create_shared
from k42fs.objects.translation import LocalTable
from tests.objects.lab import Lab, Probe, ProbeRoot, replicated, single


def root_of(lab: Lab, ref: Ref) -> ProbeRoot:
    root = lab.root_of(ref)
    assert isinstance(root, ProbeRoot)
    return root


async def add(th: Thread, cos: COSMgr, ref: Ref, times: int) -> None:
    cos.activate(th)
    for _ in range(times):
        await th.deref(ref).increment(th)
    cos.deactivate(th)


async def read(th: Thread, cos: COSMgr, ref: Ref, into: list[int]) -> None:
    cos.activate(th)
    into.append(await th.deref(ref).value(th))
    cos.deactivate(th)


def storm(processors: int, cluster: int, threads: int, seed: int) -> tuple[ReplicatedCounterRoot, int]:
    """Let *threads* threads per processor race for their first call. Returns the root and the sum after."""
    machine = Machine(MachineConfig(processors=processors, seed=seed))
    cos = COSMgr(machine)
    root = ReplicatedCounterRoot(cos, 0, cluster, VP(0))
    for vp in range(processors):
        for _ in range(threads):
            machine.spawn(VP(vp), add, cos, root.ref, 3)
    machine.run()
    total: list[int] = []
    machine.spawn(VP(0), read, cos, root.ref, total)
    machine.run()
    assert not any(word for page in cos.table.pages.values() for word in page.words), (
        "no miss is left in progress"
    )
    return root, total[0]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("processors", "cluster"), [(1, 1), (4, 1), (7, 2), (8, 3), (8, 8), (5, 16)])
def test_invariant_1_racing_first_calls_make_one_rep_per_cluster(
    processors: int, cluster: int, seed: int
) -> None:
    root, total = storm(processors, cluster, 3, seed)
    assert len(list(root.reps())) == -(-processors // cluster)
    assert total == processors * 3 * 3


def test_invariant_1_the_warm_path_enters_no_root_and_takes_no_lock() -> None:
    lab = Lab(4)
    ref = replicated(lab, cluster=2)
    for vp in range(4):
        lab.call_on(vp, ref, "hello")
    root = root_of(lab, ref)
    before = root.misses, lab.cos.statistics()["misses"]
    th = lab.enter(3)
    for _ in range(100):
        lab.call(th, ref, "hello")
    assert th.held == []
    lab.leave(th)
    assert (root.misses, lab.cos.statistics()["misses"]) == before == (4, 4)


def test_invariant_1_a_hit_is_one_look_into_a_dict() -> None:
    lab = Lab(1)
    ref = single(lab)
    lab.call_on(0, ref, "hello")
    th = lab.enter(0)
    table = th.proc.ltt
    assert isinstance(table, dict)
    assert type(table).__getitem__ is dict.__getitem__
    assert table[ref] is th.deref(ref)
    lab.leave(th)


@pytest.mark.parametrize("make", [single, replicated])
def test_invariant_2_the_same_rep_returns_after_a_page_of_the_local_table_is_dropped(make: Any) -> None:  # noqa: ANN401
    lab = Lab(2)
    refs = [make(lab, f"{number}:") for number in range(300)]
    first = [lab.call_on(1, ref, "who") for ref in refs]
    for _ in range(2):
        dropped = [lab.drop_ltt_page(1, page) for page in {ref >> 8 for ref in refs}]
        assert sum(dropped) == 300
        assert [lab.call_on(1, ref, "who") for ref in refs] == first


def test_invariant_2_state_survives_the_loss_of_every_local_table() -> None:
    lab = Lab(3)
    th = lab.enter(0)
    refs = [lab.run(create_shared(th, lab.cos, 5)), lab.run(create_replicated(th, lab.cos, 5))]
    lab.leave(th)
    for _ in range(4):
        for vp in range(3):
            for ref in refs:
                lab.call_on(vp, ref, "increment", 2)
                lab.drop_ltt_page(vp, ref >> 8)
    assert [lab.call_on(2, ref, "value") for ref in refs] == [29, 29]


class ShyRoot(SingleRepRoot):
    """Answers every miss and never installs, as an interposer does."""

    asked = 0

    async def handle_miss(self, th: Thread) -> Any:  # noqa: ANN401
        self.asked += 1
        self.trans_set |= 1 << th.vp
        return self.rep


def test_invariant_4_a_handler_that_declines_installation_is_asked_on_every_call() -> None:
    lab = Lab(2)
    root = ShyRoot(lab.cos, Probe(lab, "shy", 0))
    for _ in range(3):
        assert lab.call_on(0, root.ref, "hello") == "shy on 0"
        assert lab.call_on(1, root.ref, "hello") == "shy on 1"
    assert root.asked == 6


def test_invariant_4_reps_know_the_one_ref_on_all_processors() -> None:
    lab = Lab(4)
    ref = replicated(lab, cluster=2)
    assert {lab.call_on(vp, ref, "who").ref for vp in range(4)} == {ref}


def test_invariant_5_a_miss_on_a_destroying_ref_answers_deleted_without_side_effect() -> None:
    lab = Lab(3)
    ref = replicated(lab)
    lab.call_on(0, ref, "hello")
    parked = lab.enter(0)
    lab.destroy_on(0, ref)
    root = root_of(lab, ref)

    def state() -> tuple[int, ...]:
        return root.trans_set, root.misses, lab.word_of(ref), len(lab.machine.processors[1].ltt)

    before = state()
    for _ in range(3):
        with pytest.raises(DeletedObjectError):
            lab.call_on(1, ref, "hello")
    assert before == (
        root.trans_set,
        root.misses,
        lab.word_of(ref),
        len(lab.machine.processors[1].ltt),
    )
    assert lab.cos.statistics()["deleted_answers"] == 3
    lab.leave(parked)


def test_invariant_5_a_free_ref_answers_deleted() -> None:
    lab = Lab(1)
    ref = single(lab)
    lab.destroy_on(0, ref)
    lab.sweep(5)
    assert lab.root_of(ref) is None
    with pytest.raises(DeletedObjectError):
        lab.call_on(0, ref, "hello")


class NarcissusRoot(ProbeRoot):
    """Calls itself while it makes a rep."""

    async def make_rep(self, th: Thread) -> Any:  # noqa: ANN401
        await self.cos.machine.processors[th.vp].ltt[self.ref].hello(th)


def test_invariant_6_a_root_that_calls_its_own_ref_while_it_makes_a_rep_is_detected() -> None:
    lab = Lab(2)
    root = NarcissusRoot(lab, "echo")
    with pytest.raises(AssertionError, match="called the object it is making a rep of"):
        lab.call_on(0, root.ref, "hello")
    assert (root.trans_set, lab.word_of(root.ref)) == (0, 0), "the failed miss leaves nothing behind"


class HonestTable(LocalTable):
    """Refuses to be filled before the root knows."""

    __slots__ = ("filled", "root")

    filled: int
    root: MissHandler

    def __setitem__(self, ref: Ref, rep: object) -> None:
        assert self.root.trans_set & 1, "filled before trans_set had the bit"
        self.filled += 1
        super().__setitem__(ref, rep)


@pytest.mark.parametrize("make", [single, replicated])
def test_invariant_7_the_trans_set_bit_is_set_no_later_than_the_local_entry(make: Any) -> None:  # noqa: ANN401
    lab = Lab(1)
    ref = make(lab)
    old = lab.machine.processors[0].ltt
    assert isinstance(old, LocalTable)
    table = HonestTable(old.restart)
    root = lab.root_of(ref)
    assert root is not None
    table.root, table.filled = root, 0
    lab.machine.processors[0].ltt = table
    lab.call_on(0, ref, "hello")
    assert table.filled == 1


@pytest.mark.parametrize("cluster", [1, 2, 3, 4, 8])
def test_invariant_8_aggregates_count_each_rep_once_whatever_the_cluster(cluster: int) -> None:
    lab = Lab(8)
    th = lab.enter(5)
    ref = lab.run(create_replicated(th, lab.cos, 100, cluster))
    lab.leave(th)
    for vp in range(8):
        lab.call_on(vp, ref, "increment", 10**vp)
    assert lab.call_on(3, ref, "value") == 11111111 + 100


@pytest.mark.parametrize("cluster", [1, 2, 3, 4, 5])
def test_invariant_8_clusters_are_neighbours_from_a_multiple_of_the_size(cluster: int) -> None:
    lab = Lab(8)
    ref = replicated(lab, cluster=cluster)
    reps = {vp: lab.call_on(vp, ref, "who") for vp in (6, 3, 7, 0, 5, 1, 4, 2)}
    for a, rep_a in reps.items():
        assert {b for b, rep_b in reps.items() if rep_b is rep_a} == {
            b for b in range(8) if b // cluster == a // cluster
        }
    root = root_of(lab, ref)
    assert [vp for vp, _ in root.reps()] == sorted(root.made)


def test_a_call_passes_its_arguments_and_its_errors_through_a_miss() -> None:
    class Strict(Rep):
        async def check(self, th: Thread, value: int, *, rule: str) -> str:
            if value < 0:
                raise ValueError(rule)
            return f"{value} {rule}"

    lab = Lab(1)
    ref = SingleRepRoot(lab.cos, Strict()).ref
    th = lab.enter(0)
    assert lab.run(th.deref(ref).check(th, 4, rule="positive")) == "4 positive"
    lab.drop_ltt_page(0, ref >> 8)
    with pytest.raises(ValueError, match="positive"):
        lab.run(th.deref(ref).check(th, -4, rule="positive"))
    lab.leave(th)
    assert lab.word_of(ref) == 0


def test_a_root_class_without_create_rep_says_so() -> None:
    lab = Lab(1)
    root = MultiRepRoot(lab.cos)
    with pytest.raises(NotImplementedError, match="MultiRepRoot must implement create_rep"):
        lab.call_on(0, root.ref, "hello")
