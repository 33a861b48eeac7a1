"""Adaptation in the middle of everything: objects that change at every window, and nobody notices but by time."""

from __future__ import annotations

import os
from random import Random
from typing import Any

import pytest

from k42fs.errors import NameExistsError, NameNotFoundError
from k42fs.ids import VP
from k42fs.machine.thread import Thread
from k42fs.objects.adapt_rules import ThresholdRule
from k42fs.objects.adaptation import Mode
from k42fs.servers.adapt_rules import RULES
from k42fs.servers.system import System, SystemOptions

PROCESSORS = 4
WINDOW = 150_000

ROUND = {
    "ServerFile": ("shared", "ranged", "exclusive"),
    "FileCache": ("single", "replicated", "partitioned"),
    "DirObject": ("locked", "distributed"),
}
"""Every object that is looked at goes on to the next implementation at each window, new ones likewise."""

RESTLESS = tuple(
    ThresholdRule(f"{kind}-{old}", kind, (old,), names[(at + 1) % len(names)], {"calls": 1}, {}, 1, 0.1)
    for kind, names in ROUND.items()
    for at, old in enumerate(names)
)


class Storm:
    """Threads that make, write, read, rename and remove files while an adapter ends windows."""

    def __init__(self, seed: int, mode: Mode, rules: tuple[ThresholdRule, ...]) -> None:
        self.system = System(
            SystemOptions(processors=PROCESSORS + 1, seed=seed, adapt=mode, adapt_rules=rules)
        )
        self.tree, self.machine = self.system.root_tree, self.system.machine
        self.root = self.tree.root_file()
        self.turns = 0
        for vp in range(PROCESSORS):
            self.machine.spawn(VP(vp), self.system.cos.daemon, 50_000, daemon=True)
            self.machine.spawn(VP(vp), self._own, Random(seed * 100 + vp))
            self.machine.spawn(VP(vp), self._common, Random(seed * 100 + 50 + vp))
        self.machine.spawn(VP(PROCESSORS), self._watch)
        self.machine.run()
        self.machine.check()

    async def call(self, th: Thread, method: str, *args: object) -> Any:  # noqa: ANN401
        return await self.system.cos.call(th, self.tree.ref, method, *args)

    async def _watch(self, th: Thread) -> None:
        for _ in range(30):
            await th.sleep(WINDOW)
            await self.system.adapter.observe(th)

    async def _own(self, th: Thread, random: Random) -> None:
        """Work on one's own files: what was written is what is read."""
        for turn in range(40):
            name, content = b"own%d.%d" % (th.vp, turn % 3), random.randbytes(random.choice((10, 3000, 9000)))
            _, of = await self.call(th, "create", self.root, name, 0o644, os.O_RDWR | os.O_TRUNC)
            await self.call(th, "write", of, 0, content)
            await th.sleep(random.randrange(5000))
            assert await self.call(th, "read", of, 0, 10_000) == content
            await self.call(th, "release", of)
            if random.random() < 0.5:
                await self.call(th, "unlink", self.root, name)
            self.turns += 1

    async def _common(self, th: Thread, random: Random) -> None:
        """Work in one file on a place of one's own, and on names that others work on too."""
        _, of = await self.call(th, "create", self.root, b"common", 0o644, os.O_RDWR)
        for turn in range(60):
            content = bytes([turn, th.vp]) * 100
            await self.call(th, "write", of, th.vp << 16, content)
            try:
                await self.call(th, "mknod", self.root, b"n%d" % random.randrange(5), 0o644)
                await self.call(th, "unlink", self.root, b"n%d" % random.randrange(5))
            except (NameExistsError, NameNotFoundError):
                pass
            assert await self.call(th, "read", of, th.vp << 16, 200) == content
            await th.sleep(random.randrange(3000))
            self.turns += 1
        await self.call(th, "release", of)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_objects_that_change_at_every_window_lose_nothing(seed: int) -> None:
    storm = Storm(seed, "act", RESTLESS)
    assert storm.turns == PROCESSORS * 100
    decisions = storm.system.adapter.decisions
    done = {(each.figures.kind, each.new) for each in decisions if each.outcome == "completed"}
    assert {kind for kind, _ in done} == set(ROUND)
    assert len(done) >= 6
    assert any(each.outcome == "chosen" for each in decisions)
    assert {each.outcome.split(":")[0] for each in decisions} <= {"completed", "chosen", "refused", "aborted"}


def test_one_seed_decides_the_same_twice() -> None:
    first, second = (Storm(4, "act", RESTLESS) for _ in range(2))
    assert [each.record() | {"at_ns": 0} for each in first.system.adapter.decisions] == [
        each.record() | {"at_ns": 0} for each in second.system.adapter.decisions
    ]
    assert [proc.clock for proc in first.machine.processors] == [
        proc.clock for proc in second.machine.processors
    ]


def test_watching_and_advising_take_no_modelled_cycle() -> None:
    off, advise = Storm(5, "off", RULES), Storm(5, "advise", RULES)
    assert any(each.figures.calls for each in advise.system.adapter.decisions)
    assert [proc.clock for proc in off.machine.processors] == [
        proc.clock for proc in advise.machine.processors
    ]
