"""A mount's contention is that of a deterministic run of the same requests, to within a quarter."""

import pytest

from bench.live_fidelity import CLIENTS, compare, verdict

pytestmark = pytest.mark.fuse


@pytest.mark.parametrize("is_shared", [True, False])
def test_eight_writers_contend_on_a_mount_as_in_a_deterministic_run(is_shared: bool) -> None:
    figures = compare(is_shared, files=100, processors=CLIENTS)
    assert verdict(figures, is_shared), figures
