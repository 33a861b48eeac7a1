"""What cores log in numbers becomes events, each at its time and in the stream of the processor it befell."""

from __future__ import annotations

import sys
from array import array
from pathlib import Path

from k42fs.machine.core import MISS_KINDS
from k42fs.machine.layout import READ, RMW, WRITE
from k42fs.machine.tracing.coherence import (
    INVALIDATE,
    ITEMS,
    MISS,
    NO_CPU,
    Record,
    emit_records,
)
from k42fs.machine.tracing.mask import CACHE, LOCK
from k42fs.machine.tracing.packets import NAMES_CPU
from k42fs.machine.tracing.schema import load
from tests.machine.tracing.lab import Seen, read, strings
from tests.machine.tracing.test_tracer import discards, lab

RECORDS = [
    Record(MISS, 0, 100, 3, 0, READ, 8, NO_CPU, 60, 1),
    Record(MISS, 1, 90, 3, 2, WRITE, 16, 0, 120, 2),
    Record(INVALIDATE, 0, 90, 3, 0, 0, 0, 1, 0, 2),
    Record(MISS, 0, 80, 5, 4, RMW, 0, 1, 7, 1),
]


def flat(records: list[Record]) -> array[int]:
    return array("q", [item for record in records for item in record])


def cache_events(seen: list[Seen]) -> list[Seen]:
    return [each for each in seen if each[2].startswith("cache")]


def test_the_schema_has_the_cores_words() -> None:
    fields = load().by_attribute["cache_miss"].by_name
    assert fields["kind"].type.values == MISS_KINDS
    assert [fields["access"].type.values[code] for code in (READ, WRITE, RMW)] == ["read", "write", "rmw"]
    assert ITEMS == 10


def test_records_become_events_in_their_places(tmp_path: Path) -> None:
    tracer, cpus = lab()
    tracer.start(tmp_path / "t", CACHE)
    named: list[tuple[int, int]] = []
    tracer.sources.append(lambda: emit_records(tracer, flat(RECORDS), 128, lambda *at: named.append(at)))
    cpus[0].clock = 1000  # all of it happened before
    tracer.stop()
    seen = read(tmp_path / "t")
    # `stop` asks the sources twice: before the classes go off, and (in vain) when packets are made.
    assert cache_events(seen[0]) == [
        (0, 80, "cache_miss", (5 * 128, 4, RMW, 0, 1, 7, 1)),
        (0, 90, "cache_invalidate", (3 * 128, 1, 2)),
        (0, 100, "cache_miss", (3 * 128, 0, READ, 8, -1, 60, 1)),
    ]
    assert cache_events(seen[1]) == [(1, 90, "cache_miss", (3 * 128, 2, WRITE, 16, 0, 120, 2))]
    assert named == [
        (3 * 128, 16),
        (5 * 128, 0),
    ]  # what came from memory, for the first time, is nobody else's


def test_lines_are_named_anew_in_each_recording(tmp_path: Path) -> None:
    tracer, _ = lab()
    named: list[tuple[int, int]] = []
    for name in ("a", "b"):
        tracer.start(tmp_path / name, CACHE)
        for _ in range(2):
            emit_records(tracer, flat(RECORDS), 128, lambda *at: named.append(at))
        tracer.stop()
    assert named == 2 * [(3 * 128, 16), (5 * 128, 0)]


def test_what_a_core_had_no_room_for_is_counted(tmp_path: Path) -> None:
    tracer, _ = lab()
    tracer.start(tmp_path / "t", CACHE)
    tracer.lose(NO_CPU, 17, 5, 9)
    assert tracer.stop().discarded == 17
    assert discards(read(tmp_path / "t")[NAMES_CPU]) == {NO_CPU: 17}


def test_a_call_site_is_numbered_once_and_named_by_its_place(tmp_path: Path) -> None:
    tracer, _ = lab()
    tracer.start(tmp_path / "t", LOCK)
    here = sys._getframe()

    def acquire() -> int:
        return tracer.numbers.site_of(sys._getframe(1))

    sites = [acquire() for _ in range(3)]
    other = acquire()
    line = here.f_lineno - 1
    tracer.stop()
    assert len({*sites, other}) == 2
    names = read(tmp_path / "t")[NAMES_CPU]
    text = strings(names)
    places = {values[0]: text[int(values[1])] for *_, name, values in names if name == "lock_site"}  # type: ignore[arg-type]
    assert places[other] == f"test_coherence.py:{line} {acquire.__qualname__.partition('.<locals>')[0]}"
    assert places.keys() == {*sites, other}
