"""Adaptation: who is looked at, how often a rule must say so, what is written down, and how long is rested."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from k42fs.errors import ConfigError
from k42fs.ids import VP, Ref
from k42fs.machine.config import MachineConfig
from k42fs.machine.driver import Machine
from k42fs.machine.thread import Thread
from k42fs.objects import COSMgr, Wanted
from k42fs.objects.adapt_figures import FIGURES
from k42fs.objects.adapt_rules import ThresholdRule, load_rules
from k42fs.objects.adaptation import Adapter, Figures, Mode, Rule
from k42fs.objects.arbiters import CallCounter
from k42fs.servers.makers import default_policy
from k42fs.servers.name_tree import NameTree
from k42fs.servers.ramfs.filesystem import RamFS

CONTENTION = ThresholdRule(
    "contention", "FileCache", ("single",), "replicated", {"contended_share": 0.3, "contentions": 10}
)
CALM = ThresholdRule("calm", "FileCache", ("replicated",), "single", most={"acquisitions": 0})


class Place:
    """A file cache on a deterministic machine, used by as many processors as a test likes."""

    def __init__(self, mode: Mode, *rules: Rule, processors: int = 8) -> None:
        self.machine = Machine(MachineConfig(processors=processors))
        self.cos = COSMgr(self.machine)
        self.tree = NameTree(self.cos, RamFS(self.machine), policy=default_policy())
        self.adapter = Adapter(self.cos, rules, mode)
        self.ref: Any = None
        self.run(self._make)

    async def _make(self, th: Thread) -> None:
        tree, root = self.tree.tree, self.tree.root_file()
        file = await tree.fs.make(th, root, b"file", 0o100644)
        await tree.fs.truncate(th, file, 1 << 24)
        self.ref = tree.policy.cache(file)(tree, file, th.vp).ref

    def run(self, *bodies: Callable[[Thread], Coroutine[Any, Any, None]]) -> None:
        now = self.machine.now
        for vp, body in enumerate(bodies):
            self.machine.processors[vp].idle_until(now)
            self.machine.spawn(VP(vp), body)
        self.machine.run()

    async def _look_up(self, th: Thread) -> None:
        for _ in range(20):
            self.cos.activate(th)
            await th.deref(self.ref).read(th, th.vp << 16, 64)
            self.cos.deactivate(th)

    async def _observe(self, th: Thread) -> None:
        await self.adapter.observe(th)

    def window(self, users: int) -> str:
        """Let *users* processors look pages up at once; end the window; the implementation it has then."""
        if users:
            self.run(*[self._look_up] * users)
        self.run(self._observe)
        root: Any = self.cos.root_at(self.ref)
        return str(root.speaker.implementation)


def test_what_contends_for_so_many_windows_is_swapped_once() -> None:
    place = Place("act", CONTENTION)
    assert [place.window(8) for _ in range(5)] == ["single"] + ["replicated"] * 4
    (decision,) = place.adapter.decisions
    assert (decision.rule, decision.new, decision.outcome) == ("contention", "replicated", "completed")
    figures = decision.figures
    assert (figures.kind, figures.implementation, figures.ref) == ("FileCache", "single", place.ref)
    assert figures.acquisitions == 160, "the figures are of the last window alone"
    assert figures.contentions >= 10
    assert figures.waited_cycles > 0
    assert figures.processors == 8
    assert decision.record()["figures"]["contended_share"] == figures.contended_share


def test_what_has_an_arbiter_before_it_is_swapped_as_others_are() -> None:
    place = Place("act", CONTENTION)
    counter = CallCounter()

    async def attach(th: Thread) -> None:
        await place.cos.interposition.attach(th, counter, Wanted.parse("type FileCache"))

    place.run(attach)
    assert [place.window(8) for _ in range(4)] == ["single"] + ["replicated"] * 3
    assert [each.outcome for each in place.adapter.decisions] == ["completed"]
    assert counter.count("read") == 4 * 8 * 20


def test_one_bad_window_changes_nothing() -> None:
    place = Place("act", CONTENTION)
    assert [place.window(users) for users in (8, 1, 8, 1, 8)] == ["single"] * 5
    assert not place.adapter.decisions


def test_advice_is_written_down_and_not_taken() -> None:
    place = Place("advise", CONTENTION)
    assert [place.window(8) for _ in range(4)] == ["single"] * 4
    assert [each.outcome for each in place.adapter.decisions] == ["advised", "advised"]


def test_off_looks_at_nothing() -> None:
    place = Place("off", CONTENTION)
    assert [place.window(8) for _ in range(3)] == ["single"] * 3
    assert not place.adapter.decisions


def test_what_was_before_anybody_looked_is_no_evidence() -> None:
    place = Place(
        "off", ThresholdRule("quick", "FileCache", ("single",), "replicated", {"contentions": 1}, windows=1)
    )
    assert place.window(8) == "single"
    place.adapter.mode = "act"
    assert [place.window(0), place.window(0)] == ["single", "single"]
    assert place.window(8) == "replicated"


def test_what_calms_down_goes_back_after_its_rest() -> None:
    place = Place("act", CONTENTION, CALM)
    users = [8, 8, 8, 0, 0, 0, 0]
    found = [place.window(each) for each in users]
    assert found[1] == "replicated"
    assert found[-1] == "replicated", "no time passes while nobody runs: the rest is not over"
    for proc in place.machine.processors:
        proc.idle_until(place.machine.now + 10_000_000)
    assert [place.window(0), place.window(0)][-1] == "single"
    assert [each.rule for each in place.adapter.decisions] == ["contention", "calm"]


def test_an_object_in_transition_or_gone_is_left_alone() -> None:
    place = Place("act", CONTENTION)
    place.window(8)

    async def destroy(th: Thread) -> None:
        await place.cos.destroy(th, place.ref)

    place.run(destroy)
    place.run(place._observe)
    assert [each.outcome for each in place.adapter.decisions if each.outcome == "completed"] == []


def test_a_refused_swap_is_told_as_such() -> None:
    place = Place("act", ThresholdRule("wrong", "FileCache", ("single",), "nonsense", {"contentions": 1}))
    place.window(8)
    place.window(8)
    (decision,) = place.adapter.decisions
    assert decision.outcome.startswith("refused: FileCache has no implementation 'nonsense'")


def test_a_rule_asks_for_figures_of_the_object_too() -> None:
    figures = Figures(Ref(7), "ServerFile", "shared", "x", 10, 5, 100, 50, 2, {"writers": 3})
    rule = ThresholdRule("w", "ServerFile", ("shared",), "ranged", {"writers": 3}, {"readers": 0})
    assert rule.decide(figures) == "ranged"
    assert ThresholdRule("w", "ServerFile", ("shared",), "ranged", {"writers": 4}).decide(figures) is None
    assert ThresholdRule("w", "ServerFile", ("ranged",), "shared", {"writers": 1}).decide(figures) is None


def test_what_nobody_counted_is_in_no_bounds() -> None:
    known = Figures(
        Ref(7), "FileCache", "single", "x", 10, 5, 100, 50, 2, {}, transfers=30, calls=20, reads=6, writes=2
    )
    unknown = Figures(Ref(7), "FileCache", "single", "x", 10, 5, 100, 50, 2, {}, transfers=30)
    for limits in (
        {"transfers_per_call": 1.5},
        {"uses": 8},
        {"write_share": 0.25},
        {"reads": 6},
        {"calls": 20},
    ):
        least = ThresholdRule("r", "FileCache", ("single",), "replicated", limits)
        most = ThresholdRule("r", "FileCache", ("single",), "replicated", most=limits)
        assert least.decide(known) == most.decide(known) == "replicated"
        assert least.decide(unknown) is most.decide(unknown) is None
    assert unknown.record()["calls"] is None
    assert unknown.record()["transfers"] == 30
    assert ThresholdRule("r", "FileCache", ("single",), "replicated", most={"odd": 0}).decide(unknown), (
        "0: not its"
    )


def test_the_record_and_the_sentence_have_every_figure_and_calls_come_in_the_second_window() -> None:
    place = Place("act", CONTENTION)
    place.window(8)
    place.window(5)
    (decision,) = place.adapter.decisions
    figures = decision.record()["figures"]
    assert set(FIGURES) <= set(figures)
    assert (figures["calls"], figures["processors"]) == (100, 5), "eight may call it, five did"
    assert figures["transfers"] >= 20
    json.dumps(decision.record(), allow_nan=False)
    for name in ("calls=100", "processors=5", "contended_share=", "transfers_per_call=", "waited_cycles="):
        assert name in decision.sentence()
    assert "write_share" not in decision.sentence(), "nobody said which methods of it write"


GOOD = """
[[rule]]
name = "contention"
kind = "FileCache"
from = ["single"]
to = "replicated"
windows = 3
least = { contended_share = 0.3, contentions = 20 }
most = { write_share = 0.1 }
new = 0.5
"""


def test_rules_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(GOOD)
    (rule,) = load_rules(path)
    assert rule == ThresholdRule(
        "contention",
        "FileCache",
        ("single",),
        "replicated",
        {"contended_share": 0.3, "contentions": 20},
        {"write_share": 0.1},
        3,
        0.5,
    )


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("[[rule]]", "[[rules]]", "unknown 'rules'"),
        ('"FileCache"', '"Cash"', "kind='Cash': unknown"),
        ('["single"]', '"single"', "must be a list"),
        ('["single"]', '["double"]', "no implementation 'double'"),
        ('"replicated"', '"single"', "must not be among"),
        ("windows = 3", "windows = 0", "windows=0: must be from 1"),
        ("windows = 3", "window = 3", "window is unknown"),
        ("0.3", "-1", "least.contended_share=-1"),
        (
            "least = { contended_share = 0.3, contentions = 20 }\nmost = { write_share = 0.1 }",
            "",
            "it would hold always",
        ),
        ("new = 0.5", "new = 1.5", "new=1.5: must be from 0 to 1"),
        ("new = 0.5", "new = true", "new=True: must be from 0 to 1"),
        ('name = "contention"', "", "name=None: must be a word"),
        ("= [", "= [[", "rules.toml"),
    ],
)
def test_a_bad_file_is_refused_by_rule_field_and_value(tmp_path: Path, old: str, new: str, what: str) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load_rules(path)
    assert what in str(caught.value)
    with pytest.raises(ConfigError, match="nowhere"):
        load_rules(tmp_path / "nowhere.toml")
