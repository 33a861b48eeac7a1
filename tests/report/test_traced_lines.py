"""Misses and lost copies of a machine that is traced: all there were, with what lies there and who wrote it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from k42fs.ids import VP
from k42fs.machine import Kind, Layout, Thread
from k42fs.machine.core import MISS_KINDS
from k42fs.machine.tracing import definitions
from k42fs.machine.tracing.mask import CACHE
from k42fs.machine.tracing.packets import NAMES_CPU
from tests.machine.lab import BOX, machine
from tests.machine.tracing.lab import read, strings
from tests.report.lab import said, source
from tests.report.storm import events, stormy


def test_every_miss_and_every_lost_copy_is_recorded_and_told_by_its_kind(core: str, tmp_path: Path) -> None:
    m = stormy(tmp_path / "t").machine
    misses = Counter((cpu, MISS_KINDS[values[1]]) for cpu, _, values in events(tmp_path / "t", "cache_miss"))
    lost = Counter(cpu for cpu, _, _ in events(tmp_path / "t", "cache_invalidate"))
    for proc in m.processors:
        counters = m.core.counters(proc.vp)
        assert {kind: misses[proc.vp, kind] for kind in MISS_KINDS} == counters.misses
        assert lost[proc.vp] == counters.invalidations
    told = {cpu: values for cpu, _, values in events(tmp_path / "t", "cache_counters")}
    assert {cpu: values[3] for cpu, values in told.items()} == {
        proc.vp: sum(m.core.counters(proc.vp).misses.values()) for proc in m.processors
    }


def test_a_line_has_the_names_of_its_fields_and_misses_the_place_they_come_from(
    core: str, tmp_path: Path
) -> None:
    storm = stormy(tmp_path / "t")
    names = source(tmp_path / "t").names
    line = storm.box // 64 * 64
    assert {(each.offset, each.field) for each in names.lines[line].values()} == {
        (0, "lock"),
        (16, "count"),
    }  # not those where nobody ever missed
    assert {each.object for each in names.lines[line].values()} == {"Box"}
    places = {
        names.site(values[6]).split(" ")[-1]
        for _, _, values in events(tmp_path / "t", "cache_miss")
        if values[0] == line
    }
    assert places == {"Storm.work"}
    everything = {
        names.site(values[6]).split(":")[0] for _, _, values in events(tmp_path / "t", "cache_miss")
    }
    # Not the locks, nor what charges on behalf of others: their callers. Messages and calls are work of their own.
    assert everything == {
        "storm.py",
        "machine/messages.py",
        "machine/interrupts.py",
        "machine/ppc.py",
    }


class Named:
    """Something with a path of its own."""

    path = "/a"

    def label(self) -> str:
        return "Thing 7"

    def trace_name(self) -> str:
        return self.path


def test_a_line_has_another_name_when_something_else_lies_there(core: str, tmp_path: Path) -> None:
    m = machine(2)
    m.tracer.start(tmp_path / "t", CACHE)
    seen: list[int] = []

    async def write(th: Thread, addr: int) -> None:
        await th.store(addr, 24)

    for layout, owner in ((BOX, None), (BOX, Named()), (128, None), (128, None)):
        addr = m.memory.alloc(0, layout, Kind.GLOBAL_PADDED, owner)
        seen.append(addr)
        for vp in (0, 1):
            m.spawn(VP(vp), write, addr)
            m.run()
        m.tracer.drain()
        m.memory.free(0, addr)
    m.close()
    assert len(set(seen)) == 1
    definitions = read(tmp_path / "t")[NAMES_CPU]
    text = strings(definitions)
    told: list[Any] = [values for _, _, what, values in definitions if what == "cache_line_name"]
    assert [
        (line, offset, nbytes, text[owner], text[field]) for line, offset, nbytes, owner, field in told
    ] == [
        (seen[0], 0, 16, "Box", "lock"),
        (seen[0], 0, 16, "Thing /a", "lock"),
        (seen[0], 0, 8, "128 bytes", "+0"),
    ]


def test_what_was_missed_on_keeps_its_name_though_it_has_gone_before_that_is_told(
    core: str, tmp_path: Path
) -> None:
    m = machine(2)
    m.tracer.start(tmp_path / "t", CACHE)

    async def write(th: Thread, addr: int) -> None:
        await th.store(addr, 24)

    addr = m.memory.alloc(0, BOX, Kind.GLOBAL_PADDED, Named())
    for is_last in (False, True):
        for vp in (0, 1):
            m.spawn(VP(vp), write, addr)
            m.run()
        if is_last:
            m.memory.free(0, addr)
        m.tracer.drain()
    m.close()
    definitions = read(tmp_path / "t")[NAMES_CPU]
    text = strings(definitions)
    told: list[Any] = [values for _, _, what, values in definitions if what == "cache_line_name"]
    assert {(text[values[3]], text[values[4]]) for values in told} == {("Thing /a", "lock")}


def counters(to: Path, **fields: int) -> None:
    """Record two processors that count, each in a field of its own of one object with these *fields*."""
    layout = Layout("Counters", Kind.GLOBAL_PADDED, **fields)
    hits, misses = (layout.script(f"count {name}", f"r:{name} w:{name}", 20) for name in ("hits", "misses"))
    m = machine(2)
    m.tracer.start(to, CACHE)
    addr = m.memory.alloc(0, layout)

    async def hit(th: Thread) -> None:
        for _ in range(200):
            await th.touch(hits, addr)

    async def miss(th: Thread) -> None:
        for _ in range(200):
            await th.touch(misses, addr)

    m.spawn(VP(0), hit)
    m.spawn(VP(1), miss)
    m.run()
    m.close()


def test_two_hot_fields_in_one_line_are_named_with_both_sides_and_after_padding_they_are_gone(
    core: str, tmp_path: Path
) -> None:
    counters(tmp_path / "packed", hits=8, misses=8)
    counters(tmp_path / "padded", hits=8, pad=56, misses=8)
    line, *others = said("c2c", tmp_path / "packed")["lines"]
    assert not others
    assert line["true_sharing"] == 0
    assert line["false_sharing"] > 300
    assert {(name, field, place.split(".")[-1]) for name, field, place, _ in line["fields"]} == {
        ("Counters", "hits", "hit"),
        ("Counters", "misses", "miss"),
    }
    places = {each["field"]: each for each in said("c2c", tmp_path / "packed")["places"]}
    assert places["hits"]["other_side"].endswith(".miss")
    assert places["misses"]["other_side"].endswith(".hit")
    assert said("c2c", tmp_path / "padded")["lines"] == []
    gone = {
        (row["what"], row["measure"]): (row["before"], row["after"])
        for row in said("diff", tmp_path / "packed", tmp_path / "padded")["lines"]
    }
    for field in ("Counters .hits", "Counters .misses"):
        before, after = gone[field, "false_sharing"]
        assert before > 150
        assert not after


def test_a_flight_recorder_that_has_forgotten_a_lines_name_is_told_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(definitions, "MOST_KEPT", 400)
    m = machine(2)
    m.tracer.set_mask(CACHE)
    addr = m.memory.alloc(0, BOX)

    async def write(th: Thread) -> None:
        await th.store(addr)

    for _ in range(2):
        for vp in (0, 1, 0):
            m.spawn(VP(vp), write)
            m.run()
        m.tracer.drain()
        for number in range(1000):
            m.tracer.numbers.string(f"something else {number}")
        m.tracer.drain()
    m.spawn(VP(1), write)
    m.run()
    m.tracer.dump(tmp_path / "t")
    m.close()
    assert [each.field for each in source(tmp_path / "t").names.lines[addr].values()] == ["lock"]
