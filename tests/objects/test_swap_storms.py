"""Seeded runs of the deterministic machine with swaps at random instants, under load: invariants 18, 26 and 29."""

from __future__ import annotations

import gc
from collections import Counter
from contextlib import suppress
from functools import partial
from random import Random

import pytest

from k42fs.errors import DeletedObjectError, InTransitionError, NotSwappableError, SwapAbortedError
from k42fs.ids import VP, Ref
from k42fs.machine.config import MachineConfig
from k42fs.machine.driver import Machine, Model
from k42fs.machine.locks import FairBLock
from k42fs.machine.thread import Thread
from k42fs.objects import COSMgr, Rep, SingleRepRoot
from k42fs.objects.counter import SharedCounter, create_shared
from k42fs.objects.mediator import Mediator
from tests.objects.lab import Lab
from tests.objects.swap_lab import TEST, Board, SplitRoot, version

PERIOD = 50_000


class Storm:
    """A deterministic machine with clean-up daemons, and threads that make calls until told to stop."""

    def __init__(self, seed: int, processors: int = 4, model: Model = "full", debug: bool = False) -> None:
        self.machine = Machine(MachineConfig(processors=processors, seed=seed), model)
        self.cos = COSMgr(self.machine, debug=debug)
        self.rng = Random(seed)
        self.outcomes: Counter[str] = Counter()
        for vp in range(processors):
            self.machine.spawn(VP(vp), self.cos.daemon, PERIOD, daemon=True)

    async def swap(self, th: Thread, ref: Ref, make: object, waits: bool) -> None:
        cos = self.cos
        cos.activate(th)
        try:
            if isinstance(make, str):
                swap = await cos.swap_to(th, ref, make)
            else:
                swap = await cos.switch(th, ref, make(ref))  # type: ignore[operator]
            if waits:
                await swap.wait(th)
        except (InTransitionError, DeletedObjectError, NotSwappableError, SwapAbortedError) as exc:
            self.outcomes[type(exc).__name__] += 1
        else:
            self.outcomes["swapped"] += 1
        finally:
            cos.deactivate(th)

    def settle(self, ref: Ref, live: int = 1) -> None:
        """Run the daemons until what is dead has gone, and check that nothing else is left."""

        async def idle(th: Thread) -> None:
            await th.sleep(PERIOD * 40)

        self.machine.spawn(VP(0), idle)
        self.machine.run()
        assert (self.cos.statistics()["live"], self.cos.pending) == (live, 0)
        assert not self.cos.swaps.under_way
        assert not self.cos.swaps.inside
        page = self.cos.table.pages.get(ref >> 8)
        assert page is None or live == 0 or page.words[ref & 255] == 0
        for proc in self.machine.processors:
            assert not any(isinstance(rep, Mediator) for rep in proc.ltt.values())
        self.machine.check()


HOW: list[tuple[int, Model, bool]] = [
    *((seed, "full", False) for seed in range(20)),
    *((seed, "full", True) for seed in range(4)),
    *((seed, "calls", False) for seed in range(2)),
    *((seed, "off", True) for seed in range(2)),
]


@pytest.mark.parametrize(("seed", "model", "debug"), HOW)
def test_invariant_18_no_increment_is_lost_or_counted_twice_whatever_is_swapped_when(
    seed: int, model: Model, debug: bool
) -> None:
    storm = Storm(seed, model=model, debug=debug)
    cos, rng = storm.cos, storm.rng
    ref = SingleRepRoot(cos, SharedCounter(cos, VP(0), 100)).ref
    each, adders = 50, 8

    async def adder(th: Thread) -> None:
        for _ in range(each):
            cos.activate(th)
            await th.deref(ref).increment(th)
            cos.deactivate(th)
            if rng.random() < 0.3:
                await th.sleep(rng.randrange(3000))

    async def swapper(th: Thread) -> None:
        for _ in range(12):
            await th.sleep(rng.randrange(20_000))
            await storm.swap(th, ref, rng.choice(["shared", "replicated"]), rng.random() < 0.5)

    for number in range(adders):
        storm.machine.spawn(VP(number % 4), adder)
    for vp in (0, 2):
        storm.machine.spawn(VP(vp), swapper)
    storm.machine.run()
    values: list[int] = []

    async def read(th: Thread) -> None:
        cos.activate(th)
        values.append(await th.deref(ref).value(th))
        cos.deactivate(th)

    storm.machine.spawn(VP(1), read)
    storm.machine.run()
    assert values == [100 + each * adders]
    assert storm.outcomes["swapped"] >= 5
    storm.settle(ref)


@pytest.mark.parametrize("seed", range(25))
def test_calls_that_recurse_fail_or_swap_their_own_object_see_state_move_only_when_all_are_out(
    seed: int,
) -> None:
    storm = Storm(seed)
    cos, rng, board = storm.cos, storm.rng, Board()
    board.is_open = True
    ref = version(cos, "v0", board).ref
    numbers = iter(range(1, 10_000))
    added = 0

    async def again(th: Thread) -> None:
        nonlocal added
        added += 1
        await th.deref(ref).add(th, 1)

    board.also = again

    async def caller(th: Thread) -> None:
        nonlocal added
        for _ in range(30):
            cos.activate(th)
            kind = rng.random()
            # A split version knows only how to add.
            if kind < 0.6 or not isinstance(cos.root_at(ref), SingleRepRoot):
                added += 1
                await th.deref(ref).add(th, 1)
            elif kind < 0.9:
                rep = th.deref(ref)
                try:
                    await rep.stay(th)
                except AttributeError:  # swapped for a split one meanwhile
                    storm.outcomes["other version"] += 1
            else:
                try:
                    await th.deref(ref).replace(th, f"v{next(numbers)}")
                except (AttributeError, InTransitionError):
                    storm.outcomes["not replaced"] += 1
            cos.deactivate(th)
            await th.sleep(rng.randrange(2000))

    def make(on: Ref) -> object:
        name = f"v{next(numbers)}"
        return SplitRoot(cos, name, board, on) if rng.random() < 0.5 else version(cos, name, board, on)

    async def swapper(th: Thread) -> None:
        for _ in range(10):
            await th.sleep(rng.randrange(15_000))
            await storm.swap(th, ref, make, rng.random() < 0.5)

    for vp in range(4):
        storm.machine.spawn(VP(vp), caller)
        storm.machine.spawn(VP(vp), caller)
    storm.machine.spawn(VP(3), swapper)
    storm.machine.run()
    values: list[int] = []

    async def read(th: Thread) -> None:
        cos.activate(th)
        values.append(await th.deref(ref).value(th))
        cos.deactivate(th)

    storm.machine.spawn(VP(0), read)
    storm.machine.run()
    assert values == [added]
    assert cos.swaps.statistics()["aborted"] == 0
    storm.settle(ref)


@pytest.mark.parametrize("seed", range(15))
def test_invariant_25_a_destroy_at_any_instant_of_a_swap_leaves_nothing_and_wedges_nobody(seed: int) -> None:
    storm = Storm(seed)
    cos, rng = storm.cos, storm.rng
    ref = SingleRepRoot(cos, SharedCounter(cos, VP(0), 0)).ref

    async def adder(th: Thread) -> None:
        for _ in range(40):
            cos.activate(th)
            with suppress(DeletedObjectError):  # through a filled entry it may still arrive
                await th.deref(ref).increment(th)
            cos.deactivate(th)
            await th.sleep(rng.randrange(800))

    async def swapper(th: Thread) -> None:
        for _ in range(8):
            await th.sleep(rng.randrange(6000))
            await storm.swap(th, ref, rng.choice(["shared", "replicated"]), waits=False)

    async def destroyer(th: Thread) -> None:
        await th.sleep(rng.randrange(15_000))
        cos.activate(th)
        await cos.destroy(th, ref)
        cos.deactivate(th)

    for vp in range(4):
        storm.machine.spawn(VP(vp), adder)
        storm.machine.spawn(VP(vp), destroyer)
    storm.machine.spawn(VP(1), swapper)
    storm.machine.run()
    storm.settle(ref, live=0)
    late: list[str] = []

    async def come_late(th: Thread) -> None:
        cos.activate(th)
        try:
            await th.deref(ref).increment(th)
        except DeletedObjectError:
            late.append("deleted")
        cos.deactivate(th)

    storm.machine.spawn(VP(3), come_late)
    storm.machine.run()
    assert late == ["deleted"]


class Caller(Rep):
    """Calls its partner, perhaps with its own lock held across the call, and is called back by it."""

    kind = "Caller"
    exports = imports = frozenset((TEST,))

    def __init__(self, cos: COSMgr, refs: list[Ref], me: int, lock: FairBLock, calls: list[int]) -> None:
        self.cos, self.refs, self.me, self.lock, self.calls = cos, refs, me, lock, calls

    async def work(self, th: Thread, depth: int, locked: bool) -> None:
        if locked:
            await self.lock.acquire(th)
        try:
            await th.sleep(300)
            if depth:
                await th.deref(self.refs[1 - self.me]).work(th, depth - 1, False)
        finally:
            if locked:
                self.lock.release(th)
        self.calls[self.me] += 1

    async def export_state(self, th: Thread, form: object) -> bool:
        return True

    async def import_state(self, th: Thread, state: bool, form: object) -> None:
        await th.sleep(100)


@pytest.mark.parametrize("locks", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_objects_that_call_each_other_are_swapped_together_without_waiting_for_each_other(
    seed: int, locks: bool
) -> None:
    storm = Storm(seed)
    cos, rng, machine = storm.cos, storm.rng, storm.machine
    refs: list[Ref] = []
    calls = [0, 0]
    mutexes = [
        FairBLock(machine, machine.memory.alloc(VP(0), 128), name=f"lock {n}", spans_calls=True)
        for n in range(2)
    ]
    for me in range(2):
        refs.append(SingleRepRoot(cos, Caller(cos, refs, me, mutexes[me], calls)).ref)

    async def caller(th: Thread, first: int) -> None:
        for _ in range(25):
            cos.activate(th)
            locked = locks and rng.random() < 0.5
            await th.deref(refs[first]).work(th, rng.randrange(4), locked)
            cos.deactivate(th)
            await th.sleep(rng.randrange(1500))

    def make(me: int, on: Ref) -> SingleRepRoot:
        return SingleRepRoot(cos, Caller(cos, refs, me, mutexes[me], calls), ref=on)

    async def swapper(th: Thread, me: int) -> None:
        for _ in range(10):
            await th.sleep(rng.randrange(12_000))
            await storm.swap(th, refs[me], partial(make, me), rng.random() < 0.7)

    for vp in range(4):
        machine.spawn(VP(vp), caller, vp % 2)
        machine.spawn(VP(vp), caller, 1 - vp % 2)
        machine.spawn(VP(vp), swapper, vp % 2)
    machine.run()
    assert cos.swaps.statistics()["aborted"] == 0, [swap.reason for swap in cos.swaps.recent]
    assert storm.outcomes["swapped"] >= 4
    storm.settle(refs[0], live=2)


@pytest.mark.parametrize("seed", range(10))
def test_what_was_replaced_is_never_among_the_objects_that_are_alive(seed: int) -> None:
    """Else somebody who goes through all objects would swap a root that has handed its state over."""
    storm = Storm(seed)
    cos, rng = storm.cos, storm.rng
    ref = SingleRepRoot(cos, SharedCounter(cos, VP(0), 0)).ref
    is_over = False
    looked = 0

    async def touch(th: Thread) -> None:
        for _ in range(30):
            cos.activate(th)
            await th.deref(ref).increment(th)
            cos.deactivate(th)
            await th.sleep(rng.randrange(2000))

    async def swapper(th: Thread) -> None:
        nonlocal is_over
        for number in range(12):
            await storm.swap(th, ref, ("replicated", "shared")[number % 2], waits=True)
        is_over = True

    async def watcher(th: Thread) -> None:
        nonlocal looked
        while not is_over:
            alive = [
                root.ref
                for root in cos.objects()
                if root.type_name == "Counter" and not cos.is_dying(root.ref)
            ]
            assert alive == [ref]
            looked += 1
            await th.sleep(1 + rng.randrange(40))

    for vp in (0, 1):
        storm.machine.spawn(VP(vp), touch)
    storm.machine.spawn(VP(2), swapper)
    storm.machine.spawn(VP(3), watcher)
    storm.machine.run()
    assert looked > 100
    storm.settle(ref)


def test_a_run_with_swaps_repeats_to_the_digit() -> None:
    def run() -> tuple[str, int]:
        storm = Storm(7)
        cos = storm.cos
        ref = SingleRepRoot(cos, SharedCounter(cos, VP(0), 0)).ref

        async def adder(th: Thread) -> None:
            for _ in range(50):
                cos.activate(th)
                await th.deref(ref).increment(th)
                cos.deactivate(th)

        async def swapper(th: Thread) -> None:
            for name in ("replicated", "shared") * 3:
                await storm.swap(th, ref, name, waits=True)

        for vp in range(4):
            storm.machine.spawn(VP(vp), adder)
        storm.machine.spawn(VP(1), swapper)
        storm.machine.run()
        return storm.machine.event_hash(), storm.machine.now

    assert run() == run()


def test_invariant_29_ten_thousand_swaps_there_and_back_leave_memory_as_it_was() -> None:
    lab = Lab(4, model="calls")
    cos = lab.cos
    th = lab.enter(0)
    ref = lab.run(create_shared(th, cos, 0))
    lab.leave(th)
    sizes = []
    for number in range(10_000):
        if number % 7 == 0:
            lab.call_on(number % 4, ref, "increment")
        th = lab.machine.enter(VP(number % 3))  # not active, so that no worker has to wait for it
        swap = lab.run(cos.swap_to(th, ref, ("replicated", "shared")[number % 2]))
        assert swap.state == "completed"
        lab.machine.leave(th)
        if number % 50 == 49:
            lab.sweep()
        if number % 2000 == 1999:
            lab.sweep(8)
            gc.collect()
            statistics = cos.statistics()
            sizes.append(
                (len(gc.get_objects()), statistics["refs_in_use"], statistics["pages"], statistics["live"])
            )
    assert lab.call_on(1, ref, "value") == -(-10_000 // 7)
    assert cos.swaps.statistics() == {
        "started": 10_000, "completed": 10_000, "aborted": 0, "refused": 0, "under_way": 0,
    }  # fmt: skip
    first, *_, last = sizes
    assert last[1:] == first[1:] == (1, last[2], 1)
    assert last[0] < first[0] * 1.02, "objects that nobody gave back"
