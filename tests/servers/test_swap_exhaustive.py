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

from k42fs.servers.makers import default_policy
from k42fs.servers.object_policy import Kind
from k42fs.workloads.schedules import OPERATIONS, Pair, Scene, run_at_once, run_in_turn

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


def scene_of(way: tuple[Kind, str, str]) -> Scene:
    policy = default_policy()
    policy.choose(way[0], way[1])
    return Scene(policy)


def schedules(pairs: tuple[Pair, ...], ways: tuple[tuple[Kind, str, str], ...], step: int) -> Iterator[str]:
    """Run every *step*-th schedule; yield what became of each swap."""
    for pair, way in product(pairs, ways):
        for at in run_at_once(scene_of(way), pair)[::step]:
            scene = scene_of(way)
            run_at_once(scene, pair, (way[0], way[2], at))
            yield "refused" if scene.swap is None else scene.swap.state


def test_each_order_of_two_operations_can_be_told_from_the_model() -> None:
    """The model itself, where the two run one after the other."""
    for pair in PAIRS:
        run_in_turn(Scene(default_policy()), pair)


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
