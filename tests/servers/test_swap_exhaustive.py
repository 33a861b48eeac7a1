"""A swap at every point where two clients can be interrupted: nothing is lost, doubled, mixed up or stuck.

For every pair of operations, every kind of object and each way of replacing it, the two clients first run without a
swap; then once for each time at which either of them did anything, with a swap that begins then. Whatever happens, the
clients must have been told, and have left, what one order of the two operations would have.

The whole takes minutes: `pytest -m swap_exhaustive -s` (docs/testing.md) prints how many schedules there were. What
runs always is every pair with one kind and one time in seventeen.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from itertools import product
from typing import Final

import pytest

from k42fs.servers.object_policy import Kind
from tests.servers.swap_schedules import OPERATIONS, Operation, Scene, outcomes

Pair = tuple[Operation, Operation]

WAYS: Final[tuple[tuple[Kind, str, str], ...]] = (
    ("DirObject", "locked", "distributed"),
    ("DirObject", "distributed", "locked"),
    ("ServerFile", "shared", "ranged"),
    ("ServerFile", "ranged", "exclusive"),
    ("ServerFile", "exclusive", "shared"),
    ("FileCache", "single", "replicated"),
    ("FileCache", "replicated", "partitioned"),
    ("FileCache", "partitioned", "single"),
)
PAIRS: Final[tuple[Pair, ...]] = tuple(product(OPERATIONS, OPERATIONS))
SAMPLE: Final = 17


def run(pair: Pair, way: tuple[Kind, str, str], at: int | None) -> tuple[Scene, list[int]]:
    """Run two operations, with a swap *at* a time after their start; the scene, and the times of all events."""
    kind, old, new = way
    scene = Scene({kind: old})
    ref = scene.ref_of(kind)
    start = scene.start(pair)
    if at is not None:
        scene.swap_at(start + at, ref, new)
    scene.machine.run()
    times = [clock - start for clock in scene.event_times(start)]
    where = f"{pair[0].name} | {pair[1].name}, {kind} from {old} to {new} at {at}"
    found = (scene.answers, scene.state())
    assert found in outcomes(pair), f"{where}: {found} is none of {outcomes(pair)}"
    if at is not None:
        assert scene.swap is not None or scene.refusal, f"{where}: nothing came of the swap"
        if scene.swap is not None:
            assert scene.swap.is_done, f"{where}: {scene.swap.state}"
    scene.close()
    return scene, times


def schedules(pairs: tuple[Pair, ...], ways: tuple[tuple[Kind, str, str], ...], step: int) -> Iterator[str]:
    """Run every *step*-th schedule; yield what became of each swap."""
    for pair, way in product(pairs, ways):
        _, times = run(pair, way, None)
        for at in times[::step]:
            scene, _ = run(pair, way, at)
            yield "refused" if scene.swap is None else scene.swap.state


def test_each_order_of_two_operations_can_be_told_from_the_model() -> None:
    """The model itself, where the two run one after the other."""
    for pair in PAIRS:
        scene = Scene({})
        for client, operation in enumerate(pair):
            scene.machine.spawn(scene.machine.processors[client].vp, scene._client, client, operation)
            scene.machine.run()
        assert (scene.answers, scene.state()) == outcomes(pair)[0], f"{pair[0].name}, then {pair[1].name}"


@pytest.mark.parametrize("number", range(len(WAYS)))
def test_a_sample_of_all_schedules(number: int) -> None:
    pairs = tuple(pair for index, pair in enumerate(PAIRS) if index % len(WAYS) == number)
    found = Counter(schedules(pairs, WAYS[number : number + 1], SAMPLE))
    assert found["completed"] > sum(found.values()) // 2
    assert not set(found) - {"completed", "refused"}, f"swaps that failed: {found}"


@pytest.mark.soak
@pytest.mark.swap_exhaustive
@pytest.mark.timeout(3600)
def test_every_schedule() -> None:
    found: Counter[str] = Counter()
    for way in WAYS:
        mine = Counter(schedules(PAIRS, (way,), 1))
        count = sum(mine.values())
        sys.stdout.write(f"{way[0]} from {way[1]} to {way[2]}: {count:,} schedules, {dict(mine)}\n")
        sys.stdout.flush()
        found += mine
    sys.stdout.write(f"{sum(found.values()):,} schedules, no failure: {dict(found)}\n")
    assert not set(found) - {"completed", "refused"}
