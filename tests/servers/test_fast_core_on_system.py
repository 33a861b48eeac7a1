"""The file system's own references, on both cores: one event hash, one set of counts, one content of files."""

from typing import Any

import pytest

from k42fs.machine import cores
from tests.servers.workload import Run

pytest.importorskip("k42fs.machine.fast_core", exc_type=ImportError)


@pytest.mark.parametrize("seed", [7, 8])
def test_a_whole_system_counts_the_same_on_both_cores(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: dict[str, dict[str, Any]] = {}
    for core in (cores.PURE, cores.COMPILED):
        monkeypatch.setenv(cores.VARIABLE, core)
        counted[core] = Run(seed).run()
        assert counted[core]["statistics"].pop("core") == core
    assert counted[cores.PURE] == counted[cores.COMPILED]
