"""What `bench/trace.py` compares with: sources without guards, and budgets that can be missed."""

import ast
import inspect
import io
from pathlib import Path

import click
import pytest
from rich.console import Console

from bench import trace, trace_mounts, trace_readers
from bench.trace_budgets import Figure, budget_table, budgets
from bench.trace_mounts import ALL, OFF, WITHOUT, MountRow, means
from bench.trace_readers import Picture, Rate
from bench.untraced import CLASSES, GUARD, KEPT, ROOT, without_guards

SOURCES = sorted(path for path in (ROOT / "k42fs").rglob("*.py") if not set(KEPT) & set(path.parts))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("if proc.on.lock:", "if False:"),
        ("elif th.proc.on.fs and x.y:", "elif False and x.y:"),
        ("if cos.machine.processors[vp].on.control:", "if False:"),
        ("if (proc := self.machine.processors[first.vp]).on.fuse:", "if False:"),
        ("logged = core.logged if proc.on.cache else -1", "logged = core.logged if False else -1"),
        ("if not self.proc.on.lock and self.person.one:", "if not False and self.person.one:"),
        (
            "x = version.lock  # `proc.on.lock` is what sites test",
            "x = version.lock  # `proc.on.lock` is what sites test",
        ),
        ("proc.on.locked", "proc.on.locked"),
    ],
)
def test_a_test_of_a_class_becomes_false_and_nothing_else_does(before: str, after: str) -> None:
    assert without_guards(before) == (after, int(before != after))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_guard_is_left_in_any_source_and_it_is_still_python(path: Path) -> None:
    text, _ = without_guards(path.read_text())
    left = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute)
        and node.attr in CLASSES.split("|")
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == "on"
    ]
    assert not left, [ast.unparse(node) for node in left]


def test_the_compiled_parts_have_no_guards_so_that_they_can_be_copied() -> None:
    sources = [path for suffix in ("pyx", "pxi") for path in (ROOT / "k42fs").rglob(f"*.{suffix}")]
    assert sources
    assert not [path.name for path in sources if GUARD.search(path.read_text())]


def rows(off: float, everything: float) -> list[MountRow]:
    return [
        MountRow(operation, mount, 1000 * ratio, ratio, 10 / ratio, ratio)
        for operation in ("create", "unlink")
        for mount, ratio in ((WITHOUT, 1.0), (OFF, off), (ALL, everything))
    ]


def test_budgets_are_met_or_missed_by_what_was_measured() -> None:
    figures = [
        Figure("guard", 5.0, "bare if", 1.5, 2.0),
        Figure("emitter", 90.0, "extend", 2.5, 2.0),
        Figure("x", 1.0),
    ]
    rates = [Rate("list", 1000, 0.31, 0.3), Rate("c2c", 1000, 0.49, 0.5), Rate("fsck", 1000, 9.9)]
    found = budgets(figures, rates, Picture(10_000_000, 9.5, 6.0), rows(0.985, 0.74))
    assert {each.what: each.is_met for each in found} == {
        "guard": True,
        "emitter": False,
        f"mount, {OFF}, metadata rows": True,
        f"mount, {ALL}, metadata rows": False,
        "reader: list": True,
        "reader: c2c": False,
        "kmon, 10 M events": True,
        "kmon, 10 M events: HTML": False,
    }
    console = Console(file=io.StringIO(), width=100)
    console.print(budget_table(found))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert (text.count(" met "), text.count(" missed ")) == (4, 4)


def test_what_was_not_measured_has_no_budget_line() -> None:
    assert budgets([], [], None, []) == []


def test_means_are_geometric_and_of_each_mount() -> None:
    found = [*rows(0.9, 0.5), *rows(1.0, 0.8)]
    assert means(found)[OFF] == pytest.approx((0.9**0.5, 0.9**0.5))
    assert means(found)[ALL] == pytest.approx((0.4**0.5, 0.4**0.5))


@pytest.mark.parametrize("command", [trace.main, trace_mounts.main, trace_readers.main])
def test_every_option_of_a_benchmark_is_one_that_it_takes(command: click.Command) -> None:
    assert command.callback is not None
    assert {param.name for param in command.params} == set(inspect.signature(command.callback).parameters)
