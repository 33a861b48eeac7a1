"""What all servers keep to, so that objects can be swapped under them (invariants 34 to 36)."""

from __future__ import annotations

from inspect import iscoroutinefunction
from random import Random
from typing import Any

import pytest

from k42fs.errors import K42Error
from k42fs.ids import VP
from k42fs.machine.thread import Thread
from k42fs.objects import SingleRepRoot, StaleRepError, Swap
from k42fs.objects.counter import create_shared
from k42fs.objects.implementations import kind_of, names
from k42fs.servers.server_file import ServerFile
from k42fs.servers.system import System, SystemOptions
from tests.objects.lab import Lab
from tests.servers.filelib.lab import Lab as FileLab
from tests.servers.filelib.lab import rep_of
from tests.servers.workload import Run

HELD_ACROSS_CALLS = {"rename_mutex", "nh", "dirlock", "token", "lock"}
"""The locks that are held while another object is called: ARCHITECTURE.md, "Locks". Each is a rank of its own."""


def test_invariant_34_only_documented_locks_are_held_when_another_object_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: set[str] = set()
    check = Thread._check_calls_out

    def note(th: Thread, ref: Any) -> None:  # noqa: ANN401
        seen.update(lock.name for lock in th.held)
        check(th, ref)

    monkeypatch.setattr(Thread, "_check_calls_out", note)
    Run(7).run()
    assert "dirlock" in seen, "nobody was looked at"
    assert seen <= HELD_ACROSS_CALLS


def test_invariant_35_a_rep_that_is_kept_while_a_thread_is_inactive_is_detected() -> None:
    lab = Lab(debug=True)
    th = lab.enter(0)
    ref = lab.run(create_shared(th, lab.cos))
    lab.call(th, ref, "increment")
    kept = th.deref(ref)
    swap = lab.run(lab.cos.swap_to(th, ref, "shared"))
    lab.run(swap.wait(th))  # leaves the system meanwhile
    with pytest.raises(StaleRepError, match="before the thread's present activation"):
        kept.increment(th)
    lab.leave(th)


def poison(rep: Any) -> None:  # noqa: ANN401
    """Let every call of *rep*, which was replaced, fail. Its clean-up may still come."""
    cls = type(rep)

    async def gone(self: object, th: Thread, *args: object, **kwargs: object) -> None:
        raise AssertionError(f"a {cls.__name__} is called that was replaced: somebody has kept it")

    methods = {
        name: gone
        for name in dir(cls)
        if not name.startswith("_") and name != "cleanup" and iscoroutinefunction(getattr(cls, name, None))
    }
    assert methods
    rep.__class__ = type(f"Gone{cls.__name__}", (cls,), {"__slots__": (), **methods})


@pytest.mark.parametrize("seed", range(6))
def test_invariant_36_nobody_reaches_a_replaced_representative(seed: int) -> None:
    system = System(SystemOptions(processors=4, seed=seed))
    cos, tree, machine, rng = system.cos, system.root_tree, system.machine, Random(seed)
    poisoned = 0
    working = 4

    def replaced(swap: Swap) -> None:
        nonlocal poisoned
        if swap.state == "completed":
            old: Any = swap.old
            for rep in [old.rep] if hasattr(old, "rep") else [rep for _, rep in old.reps()]:
                poison(rep)
                poisoned += 1

    async def call(th: Thread, method: str, *args: object) -> Any:  # noqa: ANN401
        cos.activate(th)
        try:
            return await getattr(th.deref(tree.ref), method)(th, *args)
        finally:
            cos.deactivate(th)

    async def work(th: Thread, number: int) -> None:
        nonlocal working
        root = tree.root_file()
        for turn in range(25):
            mine = b"%d.%d" % (number, turn)
            _, opened = await call(th, "create", root, mine, 0o644, 2)
            await call(th, "write", opened, 0, b"text " * 300)
            try:
                other = await call(th, "lookup", root, b"%d.%d" % (rng.randrange(4), rng.randrange(25)))
                reader = await call(th, "open", other, 0)
                await call(th, "read", reader, 0, 4000)
                await call(th, "release", reader)
            except K42Error:
                pass  # somebody has removed it, or not made it yet
            assert await call(th, "read", opened, 0, 4000) == b"text " * 300
            await call(th, "release", opened)
            if rng.random() < 0.4:
                await call(th, "unlink", root, mine)
            await th.sleep(rng.randrange(3000))
        working -= 1

    async def swapper(th: Thread) -> None:
        while working:
            await th.sleep(rng.randrange(6000))
            swappable = [root for root in cos.objects() if len(names(kind_of(root))) > 1]
            if swappable:
                root: Any = rng.choice(swappable)
                try:
                    await cos.swap_to(th, root.ref, rng.choice(names(kind_of(root))), callback=replaced)
                except K42Error:
                    continue

    for vp in range(4):
        machine.spawn(VP(vp), work, vp)
        machine.spawn(VP(vp), cos.daemon, 100_000, daemon=True)
    for vp in (1, 3):
        machine.spawn(VP(vp), swapper)
    machine.run()
    assert poisoned > 30
    assert cos.swaps.statistics()["aborted"] == 0, [each.reason for each in cos.swaps.recent if each.reason]


def test_a_file_may_be_swapped_from_the_step_on_in_which_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes it must be done with the representative by then: an open entered in a replaced one is lost."""
    lab = FileLab(model="full")
    charge = SingleRepRoot.charge_create
    swaps: list[Swap] = []

    async def swap_first(root: SingleRepRoot, th: Thread) -> None:
        if isinstance(root.rep, ServerFile) and not swaps:
            swaps.append(await lab.cos.swap_to(th, root.ref, "ranged"))
        await charge(root, th)

    monkeypatch.setattr(SingleRepRoot, "charge_create", swap_first)
    file, opened = lab.open_new(b"file")
    assert swaps[0].state == "completed"
    old: Any = swaps[0].old
    poison(old.rep)
    new = rep_of(lab.cos, file.obj_ref)
    assert (new.implementation, new.clients, new.writers) == ("ranged", {opened}, 1)
    assert lab.call("write", opened, 0, b"text") == 4
    lab.call("release", opened)
    assert lab.data(file) == b"text"
