"""E22's storms: what they do, and that a core which breaks an invariant is caught."""

import pytest

from k42fs.machine.core import MISS_KINDS
from k42fs.machine.directory import Cache
from k42fs.machine.layout import READ, RMW, WRITE
from k42fs.machine.memory import Memory
from k42fs.machine.pure_core import PureCore
from k42fs.machine.validation.conservation import BASIC, LINES, OPTIONS, chunks, configure, storm

MESI = configure(64, {})


def test_the_references_are_random_over_all_processors_lines_and_codes_and_repeat() -> None:
    trace = list(chunks(MESI, 12_000, seed=3))
    assert trace == list(chunks(MESI, 12_000, seed=3))
    assert trace != list(chunks(MESI, 12_000, seed=4))
    assert sum(len(chunk.cpus) for chunk in trace) == 12_000
    assert {cpu for chunk in trace for cpu in chunk.cpus} == set(range(64))
    assert {code for chunk in trace for code in chunk.codes} == {READ, WRITE, RMW}
    assert len({addr // 64 for chunk in trace for addr in chunk.addrs}) == LINES


def test_all_protocols_meet_both_interconnects() -> None:
    pairs = {(how["protocol"], how["interconnect"]) for how in BASIC.values()}
    assert len(pairs) == len(BASIC) == 6
    assert not BASIC.keys() & OPTIONS.keys()


def test_one_processor_never_misses_for_the_sake_of_another() -> None:
    alone = configure(1, {})
    run = storm(PureCore(alone, Memory(alone)), alone, 10_000)
    assert (run.done, run.violation) == (10_000, "")
    assert run.counts["cold"] == LINES
    assert [run.counts[kind] for kind in MISS_KINDS[2:]] == [0, 0, 0]


@pytest.mark.parametrize("debug", [False, True])
def test_a_cache_that_keeps_an_invalidated_line_is_caught(
    monkeypatch: pytest.MonkeyPatch, debug: bool
) -> None:
    drop = Cache.drop

    def forgetful(cache: Cache, line: int) -> int:
        return cache.state(line) if line % 97 == 5 else drop(cache, line)

    monkeypatch.setattr(Cache, "drop", forgetful)
    run = storm(PureCore(MESI, Memory(MESI), debug=debug), MESI, 10_000)
    assert run.violation
    assert run.done < 10_000
