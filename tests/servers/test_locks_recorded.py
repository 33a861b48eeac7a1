"""A recording of every lock of a whole system: it changes nothing, names everything, and says what the machine says."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from k42fs.machine.tracing.mask import LOCK
from k42fs.report.filters import Filter, Source
from k42fs.report.locks import lock_totals
from k42fs.report.reader import Trace
from tests.servers.workload import Run

Sums = dict[str, list[int]]


@pytest.fixture(scope="module")
def run_and_path(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, dict[str, Any], Path]:
    """One run of the workload, recorded; what it counted; where the recording is."""
    path = tmp_path_factory.mktemp("locks") / "t"
    run = Run(7)
    run.system.machine.tracer.start(path, LOCK)
    counted = run.run()
    run.system.machine.tracer.stop()
    return run, counted, path


@pytest.fixture(scope="module")
def recording(run_and_path: tuple[Run, dict[str, Any], Path]) -> Source:
    return Source(Trace(run_and_path[2]), Filter())


def test_recording_changes_nothing(run_and_path: tuple[Run, dict[str, Any], Path]) -> None:
    assert Run(7).run() == run_and_path[1]


def test_every_lock_and_every_lock_s_object_has_a_name(recording: Source) -> None:
    totals = lock_totals(recording)
    assert len(totals) > 50
    unnamed = [address for address, name in totals if name is None]
    assert not unnamed
    owners = {name.owner for _, name in totals if name is not None and name.owner}
    assert {owner for owner in owners if recording.names.objects.at(owner, recording.end) is None} == set()
    classes = {each.name for each in totals.values()}
    assert {"NameHolder.nh", "FileSystemGlobal.rename_mutex", "BLock.token"} <= classes
    assert any(name.endswith(".dirlock") for name in classes)


def test_every_call_site_is_a_method_of_the_floors_above(recording: Source) -> None:
    totals = lock_totals(recording)
    sites = {
        recording.names.site(site) for each in totals.values() for site in (*each.waiters, *each.holders)
    }
    assert sites
    for site in sites:
        place, _, method = site.partition(" ")
        assert place.startswith(("servers/", "objects/")), site
        assert method, site


def test_contentions_and_waits_are_the_machine_s(
    run_and_path: tuple[Run, dict[str, Any], Path], recording: Source
) -> None:
    told: Sums = defaultdict(lambda: [0, 0, 0])
    for totals in lock_totals(recording).values():
        for side in totals.sides:
            _add(told, totals.name.rpartition(".")[2], side.waited.count, side.waited.total, side.waited.max)
    counted: Sums = defaultdict(lambda: [0, 0, 0])
    for row in run_and_path[0].system.machine.statistics(1 << 20)["locks"]:
        _add(counted, row["lock"], row["contentions"], row["waited_cycles"], row["max_wait"])
    assert {name: sums for name, sums in told.items() if sums[0]} == counted
    assert sum(sums[0] for sums in counted.values()) > 100


def _add(sums: Sums, name: str, contentions: int, waited: int, longest: int) -> None:
    row = sums[name]
    row[0] += contentions
    row[1] += waited
    row[2] = max(row[2], longest)
