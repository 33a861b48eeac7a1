"""A mount's contention is that of a deterministic run of the same requests, to within a quarter."""

import pytest

from bench.live_fidelity import CLIENTS, compare, verdict

pytestmark = pytest.mark.fuse

TRIES = 3
"""Runs: while the host is busy with other work, as with another worker's tests, clients come one after the other."""


@pytest.mark.parametrize("is_shared", [True, False])
def test_eight_writers_contend_on_a_mount_as_in_a_deterministic_run(is_shared: bool) -> None:
    tried = []
    for _ in range(TRIES):
        figures = compare(is_shared, files=100, processors=CLIENTS)
        if verdict(figures, is_shared):
            return
        tried.append(figures)
    raise AssertionError(f"in none of {TRIES} runs: {tried}")
