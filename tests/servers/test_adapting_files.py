"""The shipped rules on files and directories in use: there, and the way back; and what new files are."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from k42fs.ids import VP, Ref
from k42fs.machine.config import preset
from k42fs.machine.driver import Machine
from k42fs.machine.thread import Thread
from k42fs.objects import COSMgr
from k42fs.objects.adapt_rules import ThresholdRule
from k42fs.objects.adaptation import Adapter, Mode, Rule
from k42fs.servers.adapt_rules import RULES, USES
from k42fs.servers.makers import default_policy
from k42fs.servers.name_tree import NameTree
from k42fs.servers.open_file import OpenFile
from k42fs.servers.ramfs.filesystem import RamFS

PROCESSORS = 4
APART = 1 << 16

Body = Callable[["Place", Thread], Awaitable[None]]


class Place:
    """A file server on a deterministic machine, and an adapter with the shipped rules."""

    def __init__(self, mode: Mode = "act", rules: tuple[Rule, ...] = RULES) -> None:
        self.machine = Machine(preset("dir-1024", processors=PROCESSORS + 1))
        self.cos = COSMgr(self.machine)
        self.policy = default_policy()
        self.tree = NameTree(self.cos, RamFS(self.machine), policy=self.policy)
        self.root = self.tree.root_file()
        self.adapter = Adapter(self.cos, rules, mode, self.policy, USES)
        self.opened: list[OpenFile] = []
        for vp in range(PROCESSORS):
            self.machine.spawn(VP(vp), self.cos.daemon, 100_000, daemon=True)

    async def call(self, th: Thread, method: str, *args: object) -> Any:  # noqa: ANN401
        return await self.cos.call(th, self.tree.ref, method, *args)

    def run(self, *bodies: Body) -> None:
        """Run each on a processor of its own, from one time on."""

        async def run(th: Thread, body: Body) -> None:
            await body(self, th)

        now = self.machine.now
        for vp, body in enumerate(bodies):
            self.machine.processors[vp].idle_until(now)
            self.machine.spawn(VP(vp), run, body)
        self.machine.run()

    def open(self, count: int) -> Ref:
        """Open one file so often; the ref of its object."""

        async def body(_place: Place, th: Thread) -> None:
            while len(self.opened) < count:
                _, of = await self.call(th, "create", self.root, b"file", 0o644, os.O_RDWR)
                self.opened.append(of)
                if len(self.opened) == 1:
                    await self.call(th, "write", of, 0, bytes(6000))

        self.run(body)
        return self.opened[0].ref

    def close(self, left: int) -> None:
        """Close it until it is open only so often."""

        async def body(_place: Place, th: Thread) -> None:
            while len(self.opened) > left:
                await self.call(th, "release", self.opened.pop())

        self.run(body)

    def window(self, *bodies: Body) -> list[str]:
        """Run the bodies, end the window; the rules that had something done, once that is done."""
        self.run(*bodies)
        before = self.adapter.decided

        async def observe(th: Thread) -> None:
            await self.adapter.observe(th)

        self.machine.spawn(VP(PROCESSORS), observe)
        self.machine.run()
        for proc in self.machine.processors:  # no window is as short as to lie in a rest
            proc.idle_until(self.machine.now + 2_000_000)
        self.machine.check()
        made = self.adapter.decided - before
        return [each.rule for each in list(self.adapter.decisions)[-made:]] if made else []

    def implementation(self, ref: Ref) -> str:
        root: Any = self.cos.root_at(ref)
        return str(root.speaker.implementation)


def user(number: int, turns: int, *, writes: bool, apart: int = 0) -> Body:
    """Read the open file *number* so often, or write and read it."""

    async def body(place: Place, th: Thread) -> None:
        of = place.opened[number]
        for _ in range(turns):
            if writes:
                await place.call(th, "write", of, number * apart, bytes(1000))
            await place.call(th, "read", of, number * apart, 1000)

    return body


def small_files(count: int, opens: int = 1) -> Body:
    """Make, write, read and remove small files, each open so often at once."""

    async def body(place: Place, th: Thread) -> None:
        for number in range(count):
            name = b"%d.%d" % (th.vp, number)
            file, of = await place.call(th, "create", place.root, name, 0o644, os.O_RDWR)
            more = [await place.call(th, "open", file, os.O_RDWR) for _ in range(opens - 1)]
            for each in (of, *more):
                await place.call(th, "write", each, 0, bytes(1000))
                await place.call(th, "read", each, 0, 1000)
            for each in (of, *more):
                await place.call(th, "release", each)
            await place.call(th, "unlink", place.root, name)

    return body


def test_an_open_small_file_of_one_client_becomes_exclusive_and_shared_while_others_use_it() -> None:
    place = Place()
    ref = place.open(1)
    alone = user(0, 10, writes=True)
    assert [place.window(alone) for _ in range(3)] == [[], ["small-file"], []]
    assert place.implementation(ref) == "exclusive"
    figures = place.adapter.decisions[-1].figures
    assert (figures.calls, figures.reads, figures.writes, figures.processors) == (20, 10, 10, 1)
    assert figures.activity == {
        "clients": 1,
        "most_clients": 1,
        "writers": 1,
        "appenders": 0,
        "length": 6000,
    }
    place.open(2)
    both = alone, user(1, 10, writes=True)
    found = [place.window(*both) for _ in range(3)]
    assert found.count([]) == 2
    assert place.implementation(ref) in ("shared", "ranged")
    place.close(1)
    for _ in range(12):
        place.window(alone)
    assert place.implementation(ref) == "exclusive", "sharing has ended"
    rules = [each.rule for each in place.adapter.decisions]
    assert rules[0] == rules[-1] == "small-file"
    assert {each.outcome for each in place.adapter.decisions} == {"completed"}


def test_a_large_file_or_an_idle_one_stays_as_it_is() -> None:
    place = Place()
    ref = place.open(1)

    async def grow(_place: Place, th: Thread) -> None:
        await place.call(th, "write", place.opened[0], 0, bytes(20_000))

    place.run(grow)
    assert [place.window(user(0, 10, writes=True)) for _ in range(4)] == [[]] * 4
    idle = Place()
    idle.open(1)
    assert [idle.window() for _ in range(4)] == [[]] * 4
    assert place.implementation(ref) == "shared"


def test_what_many_wrote_goes_all_the_way_back_when_sharing_ends() -> None:
    place = Place()
    ref = place.open(PROCESSORS)
    many = [user(number, 40, writes=True, apart=2000) for number in range(PROCESSORS)]
    found = [place.window(*many) for _ in range(2)]
    assert "many-writers" in found[1]
    assert place.implementation(ref) == "ranged"
    place.close(1)
    seen = []
    for _ in range(9):
        place.window(user(0, 10, writes=True))
        seen.append(place.implementation(ref))
    assert list(dict.fromkeys(seen)) == ["ranged", "shared", "exclusive"]
    assert seen.count("ranged") == 4, "it takes five windows to be sure"


def test_many_readers_of_a_file_get_one_without_a_lock_to_read() -> None:
    place = Place()
    ref = place.open(PROCESSORS)
    for of in place.opened[1:]:
        of.flags = os.O_RDONLY
    only_read = tuple(rule for rule in RULES if rule.name in ("many-readers", "one-processor"))
    place.adapter.rules = only_read
    many = [user(number, 60, writes=False) for number in range(PROCESSORS)]
    found = [place.window(*many) for _ in range(4)]
    assert [each for each in found if each] == [["many-readers"]]
    assert place.implementation(ref) == "ranged"
    figures = place.adapter.decisions[-1].figures
    assert (figures.write_share, figures.processors) == (0, PROCESSORS)
    assert [place.window(many[0]) for _ in range(5)] == [[]] * 4 + [["one-processor"]]
    assert place.implementation(ref) == "shared"


def test_a_directory_whose_lines_are_passed_round_though_nobody_waits_is_distributed() -> None:
    async def look_up(place: Place, th: Thread) -> None:
        for _ in range(100):
            await place.call(th, "lookup", place.root, b"file")

    place = Place()
    place.open(1)
    ref = place.root.obj_ref
    assert [place.window(look_up) for _ in range(3)] == [[]] * 3, "one processor passes nothing"
    found = [place.window(*[look_up] * PROCESSORS) for _ in range(3)]
    assert [each for each in found if each] == [["passed-round"]]
    figures = next(each.figures for each in place.adapter.decisions if each.figures.ref == ref)
    assert figures.contentions == 0
    assert figures.transfers >= 200
    assert (figures.calls, figures.reads, figures.processors) == (400, 400, PROCESSORS)
    assert place.implementation(ref) == "distributed"


def test_when_nearly_all_small_files_have_one_client_new_ones_are_exclusive_and_back() -> None:
    place = Place()
    assert [place.window(small_files(12)) for _ in range(3)] == [[], ["small-file"], []]
    decision = place.adapter.decisions[-1]
    assert (decision.figures.ref, decision.figures.label) == (0, "new ServerFiles")
    assert (decision.figures.implementation, decision.new, decision.outcome) == (
        "shared",
        "exclusive",
        "chosen",
    )
    activity = decision.figures.activity
    assert (activity["sampled"], activity["agreeing"], activity["most_clients"], activity["length"]) == (
        12,
        12,
        1,
        1000,
    )
    assert (decision.figures.reads, decision.figures.writes) == (12, 12)
    assert place.policy.chosen["ServerFile"] == "exclusive"
    found = [place.window(small_files(12, opens=2)) for _ in range(12)]
    assert [each for each in found if each] == [["sharing"]]
    assert found.index(["sharing"]) >= 8, "what new files are is left alone for some windows"
    assert place.policy.chosen["ServerFile"] == "shared"


@pytest.mark.parametrize(("alone", "shared"), [(12, 3), (4, 0)])
def test_mixed_use_or_too_few_files_say_nothing_of_new_ones(alone: int, shared: int) -> None:
    place = Place()
    bodies = small_files(alone), small_files(shared, opens=2)
    assert [place.window(*bodies) for _ in range(4)] == [[]] * 4
    assert place.policy.chosen["ServerFile"] == "shared"


def test_advice_on_new_files_is_only_written_down_and_off_nobody_is_told_of_any() -> None:
    place = Place("advise")
    assert [place.window(small_files(12)) for _ in range(2)] == [[], ["small-file"]]
    assert place.adapter.decisions[-1].outcome == "advised"
    assert place.policy.chosen["ServerFile"] == "shared"
    place.adapter.mode = "off"
    assert place.policy.file(place.root) is default_policy().file(place.root), "the plain maker is back"
    assert [place.window(small_files(12)) for _ in range(3)] == [[]] * 3
    place.adapter.mode = "act"
    assert [place.window(small_files(12)) for _ in range(3)] == [[], [], ["small-file"]]


def test_a_sample_is_bounded_and_what_it_held_is_let_go() -> None:
    rule = ThresholdRule("never", "ServerFile", ("shared",), "exclusive", {"uses": 10**9}, share_of_new=1)
    place = Place("act", (rule,))
    for _ in range(5):
        place.window(*[small_files(40)] * PROCESSORS)
        assert len(place.adapter.watched) <= 64
    place.window()
    place.window()
    assert place.adapter.watched == []
