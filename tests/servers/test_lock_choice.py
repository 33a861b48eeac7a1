"""The servers' locks can be chosen: each kind serves a whole system, and under contention costs what it should."""

from __future__ import annotations

import os

import pytest

from k42fs.errors import ConfigError
from k42fs.machine import Thread
from k42fs.machine.lock_choice import CHOICES, make_lock
from k42fs.servers.open_file import OpenFile
from k42fs.servers.system import System, SystemOptions
from tests.machine.lab import machine
from tests.servers.filelib.lab import Storm
from tests.servers.workload import Run

WRITES = 12


@pytest.mark.parametrize("kind", list(CHOICES))
def test_a_whole_system_runs_on_each_kind(kind: str) -> None:
    run = Run(7, kind)
    counted = run.run()
    assert {
        name for name in ("write", "read", "move", "links", "directory") if not run.outcomes[name]
    } == set()
    made = {
        row["kind"] for row in counted["statistics"]["locks"] if row["lock"] in ("lock", "pages", "token")
    }
    assert made == {CHOICES[kind].kind}


def test_an_unknown_kind_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="lock=mutex: unknown; one of block, slock, ticket, tas"):
        make_lock("mutex", machine(1), 0x1000)
    with pytest.raises(ConfigError, match="lock=mutex"):
        Run(1, "mutex")


def test_the_default_is_k42_s() -> None:
    assert System(SystemOptions(model="off")).machine.lock_kind == "block"
    assert CHOICES["block"].kind == "BLock"


def cycles_per_write(kind: str, processors: int, monkeypatch: pytest.MonkeyPatch) -> float:
    """Let every processor write to one file, over and over; return what each write takes of the machine's time."""
    monkeypatch.setattr(Storm, "lock_kind", kind)
    storm = Storm(processors, seed=1)
    opened: list[OpenFile] = []

    async def prepare(storm: Storm, th: Thread) -> None:
        opened.append((await storm.call(th, "create", storm.root, b"f", 0o644, os.O_RDWR))[1])

    async def write(storm: Storm, th: Thread) -> None:
        for _ in range(WRITES):
            await storm.call(th, "write", opened[0], 0, b"x" * 8)

    storm.prepare(prepare)
    start = storm.machine.now
    for vp in range(processors):
        storm.spawn(vp, write)
    storm.run()
    return (storm.machine.now - start) / (processors * WRITES)


def test_queues_are_flat_tickets_grow_and_test_and_set_collapses(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = ({kind: cycles_per_write(kind, p, monkeypatch) for kind in CHOICES} for p in (4, 32))
    growth = {kind: many[kind] / few[kind] for kind in CHOICES}
    assert growth["slock"] < 1.3
    assert growth["block"] < 1.3
    assert 1.5 < growth["ticket"] < 3
    assert growth["tas"] > 4
    assert max(many, key=many.__getitem__) == "tas"
    assert many["tas"] > 4 * max(cycles for kind, cycles in many.items() if kind != "tas")
    assert few["ticket"] < few["slock"] < few["block"]  # few waiters: the queue's and the wake-up's price
    assert many["slock"] < many["ticket"]


def test_alone_the_kinds_differ_little(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = [cycles_per_write(kind, 1, monkeypatch) for kind in CHOICES]
    assert max(alone) < 1.2 * min(alone)
