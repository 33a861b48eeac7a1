"""Random operations on files against byte arrays."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from .exerciser import Exerciser
from .probes import offers_direct, offers_punch
from .processes import in_parallel


def _exercise(path: Path, seed: int, steps: int, direct: bool, punch: bool) -> None:
    with closing(Exerciser(path, seed, direct=direct, punch=punch)) as exerciser:
        exerciser.run(steps)


@pytest.mark.parametrize("seed", range(4))
def test_a_file_agrees_with_a_byte_array_through_random_operations(target: Path, seed: int) -> None:
    _exercise(target / "file", seed, 2000, offers_direct(target), offers_punch(target))


def test_cached_operations_alone_agree_too(target: Path) -> None:
    _exercise(target / "file", 100, 3000, False, False)


def test_four_files_exercised_at_once_do_not_mix(target: Path) -> None:
    direct, punch = offers_direct(target), offers_punch(target)
    jobs: list[Callable[[], None]] = [
        partial(_exercise, target / str(seed), seed, 700, direct, punch) for seed in range(200, 204)
    ]
    in_parallel(jobs)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1000, 1010))
def test_a_file_agrees_with_a_byte_array_for_long(target: Path, seed: int) -> None:
    _exercise(target / "file", seed, 50_000, offers_direct(target), offers_punch(target))
