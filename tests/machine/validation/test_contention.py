"""The yardsticks of the lock and counter experiments, small: figures that can be worked out by hand."""

import pytest

from k42fs.machine.validation.counters import additions
from k42fs.machine.validation.lock_loop import LINE, lock_loop


@pytest.mark.parametrize(("kind", "cycles"), [("tas", 5988), ("ttas", 6173), ("ticket", 2265), ("mcs", 2503)])
def test_the_prototypes_figures_for_eight_processors(kind: str, cycles: int) -> None:
    assert lock_loop(kind, 8, 500_000).cycles == pytest.approx(cycles, rel=0.02)


def test_a_lock_alone_costs_its_hits() -> None:
    # Read and swap the lock, write the datum, clear the lock: 4 + (4 + 20) + 4 + 4, and the work.
    assert lock_loop("ttas", 1, 200_000).cycles == pytest.approx(136, rel=0.01)


def test_an_idle_lock_is_taken_as_often_as_there_is_time_to_think() -> None:
    assert lock_loop("mcs", 1, 5_000_000, think=20_000).per_mcycle == pytest.approx(50, rel=0.15)


def test_counters_on_lines_of_their_own_are_hits_and_shared_ones_transfers() -> None:
    assert additions(4, LINE, 24_000) == pytest.approx(4 * 1000 / 24)
    assert additions(4, 0, 24_000) == pytest.approx(1000 / 600, rel=0.03)
    assert additions(4, LINE // 2, 24_000) == pytest.approx(2 * 1000 / 600, rel=0.03)
