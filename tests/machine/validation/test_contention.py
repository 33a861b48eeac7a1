"""The yardsticks of the lock and counter experiments, small: figures that can be worked out by hand."""

from dataclasses import replace

import pytest

from k42fs.machine.validation import allocators
from k42fs.machine.validation.allocators import hand_off_cycles, pool_pair_cycles
from k42fs.machine.validation.counters import additions
from k42fs.machine.validation.experiment import Effort
from k42fs.machine.validation.ipc import messages_share_interrupts
from k42fs.machine.validation.lock_loop import DIRTY, LINE, SECTION, lock_loop, prototype


@pytest.mark.parametrize(("kind", "cycles"), [("tas", 5988), ("ttas", 6173), ("ticket", 2265), ("mcs", 2503)])
def test_the_prototypes_figures_for_eight_processors(kind: str, cycles: int) -> None:
    assert lock_loop(kind, 8, 500_000).cycles == pytest.approx(cycles, rel=0.02)


def test_a_lock_alone_costs_its_hits() -> None:
    # Read and swap the lock, write the datum, clear the lock: 4 + (4 + 20) + 4 + 4, and the work.
    assert lock_loop("ttas", 1, 200_000).cycles == pytest.approx(136, rel=0.01)


def test_an_idle_lock_is_taken_as_often_as_there_is_time_to_think() -> None:
    assert lock_loop("mcs", 1, 5_000_000, think=20_000).per_mcycle == pytest.approx(50, rel=0.15)


def test_a_queueing_lock_hands_over_in_what_its_references_add_up_to() -> None:
    """E12's hand-off explains E1's: that, the transfer of the datum, and the work."""
    hand_off = hand_off_cycles(prototype(8))
    assert hand_off == 24 + 600 + 600 + 620
    assert lock_loop("BLock", 8, 500_000).cycles == pytest.approx(hand_off + DIRTY + SECTION, rel=0.02)


@pytest.mark.parametrize("dirty_cycles", [300, 1200])
def test_the_pool_follows_the_hand_off_on_other_machines_too(
    dirty_cycles: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = prototype(4, dirty_cycles=dirty_cycles)
    monkeypatch.setattr(allocators, "prototype", lambda processors, **more: replace(config, **more))
    rate, _ = allocators.pairs(4, is_local=False)
    assert rate == pytest.approx(1000 / pool_pair_cycles(config), rel=0.04)


@pytest.mark.parametrize(("blocks", "atomics"), [(4, 0), (5, 1), (17, 3)])
def test_blocks_of_another_node_go_back_by_one_atomic_operation_per_full_list(
    blocks: int, atomics: int
) -> None:
    assert allocators.remote_atomics(5, blocks) == atomics


def test_waking_and_interrupts_are_drawn() -> None:
    plots = messages_share_interrupts(Effort.QUICK).plots
    assert [len(plot.series) for plot in plots] == [2, 2]
    assert all(series.points for plot in plots for series in plot.series)


def test_counters_on_lines_of_their_own_are_hits_and_shared_ones_transfers() -> None:
    assert additions(4, LINE, 24_000) == pytest.approx(4 * 1000 / 24)
    assert additions(4, 0, 24_000) == pytest.approx(1000 / 600, rel=0.03)
    assert additions(4, LINE // 2, 24_000) == pytest.approx(2 * 1000 / 600, rel=0.03)
