"""A recording that a full disk ended says so to whoever reads it."""

import os
from pathlib import Path

import pytest

from k42fs.machine.tracing.mask import LOCK
from k42fs.machine.tracing.packets import PACKET_BYTES
from k42fs.machine.tracing.recordings import PARTS
from k42fs.report.filters import Source
from k42fs.report.reader import Trace
from tests.machine.tracing.test_tracer import FullDisk, lab, work
from tests.report.lab import run


@pytest.mark.parametrize("limit", [0, 2 * PARTS * PACKET_BYTES])
def test_a_recording_says_itself_that_a_full_disk_ended_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Whoever reads it has not seen the tracer's status; nothing in it may grow for that."""
    tracer, cpus = lab()
    tracer.start(tmp_path / "t", LOCK, limit)
    tracer.drain(everything=True)
    monkeypatch.setattr(os, "write", FullDisk(14 * PACKET_BYTES + 100))
    before = (tmp_path / "t" / "metadata").stat().st_size
    work(tracer, cpus, 60_000)
    status = tracer.status()
    assert "No space left" in status.failure
    trace = Trace(tmp_path / "t")
    Source(trace)
    assert trace.loss.sentences() == [
        f"{status.discarded:,} events were discarded while recording",
        "the recording ended early: No space left on device",
    ]
    assert (tmp_path / "t" / "metadata").stat().st_size == before
    assert not sum(each.stat().st_size for each in (tmp_path / "t").glob("[cn]*")) % PACKET_BYTES
    assert sum(trace.discarded.values()) == status.discarded  # in the packets, for other readers
    fsck = run("fsck", tmp_path / "t")
    assert fsck.exit_code == 0, fsck.output
    assert "ended early: No space left on device" in fsck.stdout
    assert f"{status.discarded:,} events were discarded" in fsck.stdout
