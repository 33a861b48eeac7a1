"""What has been recorded stays in memory no longer than promised, whenever the ticks come."""

import time
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest

from k42fs.machine.tracing.flushing import FLUSH_SECONDS, TICK_SECONDS
from k42fs.personality.control_trace import TraceControl


@pytest.mark.parametrize("late", [-0.01, 0.0, 0.01, 0.2])
def test_recordings_are_flushed_in_time(monkeypatch: pytest.MonkeyPatch, late: float) -> None:
    now = 0.0
    flushed = [0.0]
    tracer = SimpleNamespace(
        status=lambda: SimpleNamespace(mode="directory"), drain=lambda everything: flushed.append(now)
    )
    machine = SimpleNamespace(
        trace=SimpleNamespace(on_mask=[]),
        tracer=tracer,
        processors=[SimpleNamespace(on=SimpleNamespace(control=True))],
    )
    monkeypatch.setattr(time, "monotonic", lambda: now)
    control = TraceControl(cast(Any, SimpleNamespace(machine=machine)))
    control.flush()
    while now < 60:
        now += TICK_SECONDS + late
        control.tick()
    gaps = [after - before for before, after in pairwise(flushed[1:])]
    assert max(gaps) <= FLUSH_SECONDS * (1 + max(late, 0)) + 1e-6
