"""Space and inode numbers, kept per processor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k42fs.errors import ConfigError
from k42fs.ids import VP, Ino
from k42fs.servers.ramfs.budget import STEP_BYTES, Budget
from k42fs.servers.ramfs.numbers import BLOCK, KEPT_MAX, REUSE_AFTER, InodeNumbers, is_fresh_block

VPS = st.integers(0, 3).map(VP)


@given(st.lists(st.tuples(VPS, st.booleans(), st.integers(1, STEP_BYTES)), max_size=60))
def test_the_limit_is_exact_whoever_takes_and_gives(steps: list[tuple[VP, bool, int]]) -> None:
    limit = 4 * STEP_BYTES
    budget, used = Budget(limit, 4), 0
    for vp, take, size in steps:
        if take:
            taken = budget.take(vp, size) or (budget.refill(vp, size) and budget.take(vp, size))
            assert taken == (used + size <= limit)
            used += size * taken
        elif used:
            size = min(size, used)
            budget.give(vp, size)
            used -= size
        assert budget.free() == limit - used


def test_a_limit_too_small_to_be_of_use_is_refused() -> None:
    with pytest.raises(ConfigError, match="size: 5 bytes"):
        Budget(5, 4)


@given(st.lists(st.tuples(VPS, st.booleans()), max_size=600))
def test_no_two_live_inodes_share_a_number_and_no_pair_returns(steps: list[tuple[VP, bool]]) -> None:
    numbers, live, met = InodeNumbers(4), list[tuple[Ino, int]](), set[tuple[Ino, int]]()
    for vp, take in steps:
        if take or not live:
            pair = ino, generation = numbers.take(vp)
            assert ino not in {number for number, _ in live}
            assert pair not in met
            assert is_fresh_block(ino, generation) == (generation == 0 and ino % BLOCK == 1)
            live.append(pair)
            met.add(pair)
        else:
            ino, generation = live.pop(0)
            numbers.give(vp, ino, generation)


def test_numbers_return_with_a_new_generation_after_a_while() -> None:
    numbers = InodeNumbers(1)
    vp = VP(0)
    first, generation = numbers.take(vp)
    assert (first, generation) == (1, 0)
    numbers.give(vp, first, generation)
    assert numbers.take(vp) == (2, 0)
    for _ in range(REUSE_AFTER):
        numbers.give(vp, *numbers.take(vp))
    assert numbers.take(vp) == (1, 1)


def test_what_many_deletes_leave_behind_is_bounded() -> None:
    numbers = InodeNumbers(1)
    pairs = [numbers.take(VP(0)) for _ in range(KEPT_MAX + 100)]
    for pair in pairs:
        numbers.give(VP(0), *pair)
    assert numbers.take(VP(0)) == (pairs[100][0], 1)
