"""E6's formulas against values worked out by hand, and its program against the plainest case."""

import pytest

from k42fs.machine.validation.serial import ROUND_CYCLES, ROUNDS, amdahl, fork_join_cycles, repairman


def test_amdahl_at_its_ends() -> None:
    assert amdahl(0.05, 1) == 1
    assert amdahl(0.0, 64) == 64
    assert amdahl(0.05, 10**9) == pytest.approx(20, rel=1e-6)


def test_the_repairman_with_one_and_two_customers() -> None:
    think, service = 3.0, 1.0
    assert repairman(1, think, service) == pytest.approx(1 / 4)
    # Two customers: states 0, 1, 2 at the server with weights 1, 2 r, 2 r r where r = service / think.
    r = service / think
    busy = (2 * r + 2 * r * r) / (1 + 2 * r + 2 * r * r)
    assert repairman(2, think, service) == pytest.approx(busy / service)


def test_the_repairman_never_exceeds_its_server() -> None:
    assert repairman(1000, 3.0, 1.0) == pytest.approx(1.0)


def test_a_team_of_one_takes_all_the_work_by_itself() -> None:
    assert fork_join_cycles(0.05, 1) == ROUNDS * ROUND_CYCLES
