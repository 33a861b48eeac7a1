"""What a recording says of swaps is what happened: starts, phases, ends, and the calls meanwhile."""

from __future__ import annotations

from pathlib import Path

from k42fs.machine.tracing.mask import CLUST_OBJ
from k42fs.objects.mediator import Mediator
from k42fs.objects.traced_table import EVERYTHING
from k42fs.report.filters import Filter, Source
from k42fs.report.reader import Trace
from k42fs.report.swaps import swaps
from tests.objects.swap_lab import SwapLab, version


def test_swaps_their_phases_and_the_calls_meanwhile_are_told(tmp_path: Path) -> None:
    lab = SwapLab()
    lab.touch(0, 1)
    lab.cos.tracing.trace_calls(EVERYTHING)
    lab.machine.tracer.start(tmp_path / "t", CLUST_OBJ, 1 << 24)
    passer = lab.enter(1)
    swap = lab.switch(0)
    counted = lab.begin(3, "stay")
    lab.leave(passer)
    assert swap.state == "block"
    assert isinstance(lab.machine.processors[3].ltt.rep_at(lab.ref), Mediator)  # type: ignore[attr-defined]
    waiting = lab.begin(0, "add")
    lab.open()
    assert (counted.result(), waiting.result(), swap.state) == ("old", "new", "completed")
    lab.board.export_fails = OSError("no")
    failed = lab.switch(0, version(lab.cos, "never", lab.board, lab.ref))
    assert failed.state == "aborted"
    lab.machine.tracer.stop()
    lab.machine.close()

    told = swaps(Source(Trace(tmp_path / "t"), Filter()))
    assert [[phase for phase, _ in each.phases] for each in told] == [
        ["forward", "block", "completed"],
        ["forward", "block", "aborted"],
    ]
    assert [each.root for each in told] == [lab.ref, lab.ref]
    assert all(each.ended is not None for each in told)
    assert [time for _, time in told[0].phases] == [time for _, time in swap.record.phases]
    assert told[0].calls >= 2


def test_a_recording_changes_no_cycle_of_a_swap(tmp_path: Path) -> None:
    def run(traced: bool) -> list[tuple[str, int]]:
        lab = SwapLab()
        lab.touch(0, 1, 2)
        if traced:
            lab.cos.tracing.trace_calls(EVERYTHING)
            lab.machine.tracer.start(tmp_path / "t", CLUST_OBJ, 1 << 24)
        swap = lab.switch(3)
        lab.machine.close()
        return swap.record.phases  # type: ignore[no-any-return]

    assert run(traced=True) == run(traced=False)
