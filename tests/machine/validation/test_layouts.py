"""E19's formula on layouts simple enough to do in one's head, and the machine on the same."""

import pytest

from k42fs.ids import VP
from k42fs.machine.driver import Machine
from k42fs.machine.validation.layouts import colours, no_l1, observed, predicted, spread

DIRECT, FOUR_WAY = no_l1("simos-16", l2_ways=1), no_l1("simos-16")
HIT, MISS = FOUR_WAY.l2_cycles, FOUR_WAY.local_cycles


def test_colours() -> None:
    assert (colours(DIRECT), colours(FOUR_WAY)) == (256, 64)


@pytest.mark.parametrize(
    ("frames", "direct", "four_way"),
    [
        ([0, 1, 2, 3], HIT, HIT),
        ([0, 256, 2, 3], HIT + (MISS - HIT) / 4, HIT),
        ([0, 256, 512, 768], HIT + (MISS - HIT) * 3 / 4, HIT),
        ([0, 64, 128, 192, 256], HIT + (MISS - HIT) / 5, HIT + (MISS - HIT) / 5),
    ],
)
def test_the_machine_does_what_the_formula_says(frames: list[int], direct: float, four_way: float) -> None:
    for config, cycles in ((DIRECT, direct), (FOUR_WAY, four_way)):
        assert predicted(config, frames) == cycles
        took, _ = observed(Machine(config).core, config, VP(0), frames, 2000, 0)
        assert took == pytest.approx(cycles, rel=0.05)


def test_the_spread_of_equal_times_is_none() -> None:
    assert spread([3.0, 3.0]) == 0
    assert spread([1.0, 3.0]) == 0.5
