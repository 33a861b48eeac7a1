"""`swaps` and `generations`: durations known by hand (T14)."""

from pathlib import Path

from tests.machine.tracing.lab import HandTrace
from tests.report.lab import call, run, said

NORMAL, FORWARD, BLOCK, COMPLETED, ABORTED = range(5)


def test_a_swap_is_split_into_its_phases(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t")
    trace.event(0, 0, "clust_obj_object_name", 7, "DirObject", "/a")
    trace.event(0, 0, "control_traced_start")
    trace.event(0, 100, "clust_obj_swap_start", 7)
    trace.event(0, 110, "clust_obj_swap_phase", 7, FORWARD, 0)
    call(trace, 0, 120, 130, 7, 1, 1)
    call(trace, 0, 140, 150, 8, 1, 2)
    trace.event(0, 160, "clust_obj_swap_phase", 7, BLOCK, 0)
    trace.event(0, 190, "clust_obj_swap_phase", 7, COMPLETED, 0)
    trace.event(0, 200, "clust_obj_swap_done", 7)
    trace.event(0, 300, "clust_obj_swap_start", 8)
    trace.event(0, 310, "clust_obj_swap_phase", 8, ABORTED, 0)
    trace.event(0, 320, "clust_obj_swap_done", 8)
    trace.event(0, 400, "clust_obj_swap_start", 9)
    trace.close()
    first, aborted, unfinished = said("swaps", tmp_path / "t")["swaps"]
    assert (first["object"], first["outcome"], first["at_ns"], first["took_ns"], first["calls"]) == (
        "DirObject /a",
        "completed",
        100,
        100,
        1,
    )
    assert (first["forward_ns"], first["block_ns"], first["completed_ns"], first["aborted_ns"]) == (
        50,
        30,
        10,
        None,
    )
    assert (aborted["outcome"], unfinished["outcome"], unfinished["took_ns"]) == (
        "aborted",
        "unfinished",
        None,
    )


def test_generations_are_timed_and_polls_counted(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t", processors=2)
    for at, generation in ((100, 1), (200, 2), (500, 3)):
        trace.event(0, at, "clust_obj_global_cnt", 1, generation)
    trace.event(1, 110, "clust_obj_mark_set", 50, 1)
    trace.event(1, 120, "clust_obj_mark_active", 50, 1)
    trace.event(1, 130, "clust_obj_mark_active", 50, 1)
    trace.event(1, 150, "clust_obj_mark_elapsed", 50, 1)
    trace.event(1, 160, "clust_obj_mark_set", 51, 1)
    for at in range(200, 207):
        trace.event(1, at, "clust_obj_mark_active", 51, 1)
    trace.event(1, 210, "clust_obj_mark_elapsed", 51, 1)
    trace.event(1, 220, "clust_obj_mark_set", 52, 1)
    trace.close()
    found = said("generations", tmp_path / "t")
    assert [
        (row["count"], row["min_ns"], row["average_ns"], row["max_ns"]) for row in found["generations"]
    ] == [
        (2, 100, 200, 300),
        (2, 40, 45, 50),
        (9, 10, 36, 46),
        (1, None, None, None),
    ]
    assert [row["count"] for row in found["polls"]] == [0, 1, 0, 0, 1]


def test_a_recording_without_any_says_so(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t")
    trace.event(0, 100, "control_traced_start")
    trace.close()
    assert "(nothing)" in run("swaps", tmp_path / "t").stdout
