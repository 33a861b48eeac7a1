"""What a tracer recorded is what is read: whole, bounded, or out of a flight recorder (T1, T5)."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from k42fs.machine.tracing.mask import all_classes
from k42fs.machine.tracing.packets import PACKET_BYTES
from k42fs.machine.tracing.tracer import Tracer
from k42fs.report.filters import Source
from k42fs.report.reader import Trace

EVENTS = 20_000


@dataclass
class Processor:
    """A processor, as far as tracing goes."""

    clock: int = 0
    on: Any = field(default=None, repr=False)
    emit: Any = field(default=None, repr=False)


def work(tracer: Tracer, processors: list[Processor], events: int = EVENTS) -> None:
    """Emit *events* on each processor, numbered, now and then on the definitions' stream too."""
    for serial in range(events):
        for vp, processor in enumerate(processors):
            processor.clock += 10
            processor.emit.clust_obj_global_cnt(vp, serial)
            tracer.poll(vp)


def generations(recording: Path) -> tuple[list[tuple[int, int]], Trace]:
    """Return (processor, number) of each event of `work` that is in the recording."""
    source = Source(Trace(recording))
    wanted = source.ids("clust_obj_global_cnt")
    found = [(vp, words[1]) for records in source.records(wanted) for _, vp, _, words in records]
    return found, source.trace


@pytest.fixture
def processors() -> list[Processor]:
    return [Processor(), Processor()]


def test_everything_recorded_is_read(tmp_path: Path, processors: list[Processor]) -> None:
    tracer = Tracer(processors, 10**9, {"preset": "test", "seed": 7})
    tracer.start(tmp_path / "t", all_classes())
    work(tracer, processors)
    tracer.stop()
    found, trace = generations(tmp_path / "t")
    assert found == [(vp, serial) for serial in range(EVENTS) for vp in (0, 1)]
    assert (trace.loss.sentences(), trace.env["preset"], trace.env["seed"]) == ([], "test", 7)


def test_of_a_bounded_recording_what_was_dropped_is_counted_once(
    tmp_path: Path, processors: list[Processor]
) -> None:
    tracer = Tracer(processors, 10**9)
    tracer.start(tmp_path / "t", all_classes(), limit_bytes=8 * PACKET_BYTES)
    work(tracer, processors)
    status = tracer.stop()
    found, trace = generations(tmp_path / "t")
    assert len(found) < 2 * EVENTS
    assert found[-1] == (1, EVENTS - 1)
    assert trace.loss.discarded == status.discarded
    assert not trace.loss.is_damage


@pytest.mark.parametrize("wraps", [True, False])
def test_a_flight_recorders_dump_says_what_it_no_longer_held(
    tmp_path: Path, processors: list[Processor], wraps: bool
) -> None:
    tracer = Tracer(processors, 10**9, ring_packets=4, ring_wraps=wraps)
    tracer.set_mask(all_classes())
    work(tracer, processors)
    tracer.dump(tmp_path / "t")
    found, trace = generations(tmp_path / "t")
    assert ((1, EVENTS - 1) in found) == wraps
    assert trace.loss.discarded == tracer.status().discarded
    assert not trace.loss.is_damage
