"""`diff`: what changed is named, what did not is left out."""

import json
from pathlib import Path

from tests.machine.tracing.lab import HandTrace
from tests.report.lab import call, request, run, said


def recorded(directory: Path, calls: int, waited: int, last: int = 100_000) -> Path:
    trace = HandTrace(directory)
    trace.event(0, 0, "clust_obj_method_name", 1, "DirObject", "lookup")
    trace.event(0, 0, "lock_lock_name", 0x10, 0, "dirlock", "BLock")
    for serial in range(calls):
        call(trace, 0, 1000 * serial, 1000 * serial + 100, 7, 1, serial)
    trace.event(0, 50_000, "lock_acquire", 0x10, 1, "a.py:1 f", waited, 0, "a.py:2 g")
    trace.event(0, last, "control_traced_stop")
    return trace.close()


def test_changes_are_counted_and_put_in_words(tmp_path: Path) -> None:
    before, after = recorded(tmp_path / "a", 4, 800), recorded(tmp_path / "b", 6, 0)
    found = said("diff", before, after)
    shown = [
        (row["what"], row["measure"], row["before"], row["after"], row["said"]) for row in found["calls"]
    ]
    assert shown == [
        ("DirObject.lookup", "self_ns", 400, 600, "+50.0%"),
        ("DirObject.lookup", "calls", 4, 6, "+50.0%"),
    ]
    assert [(row["measure"], row["change"], row["said"]) for row in found["locks"]] == [
        ("waited_ns", -800, "gone"),
        ("contentions", -1, "gone"),
    ]
    assert found["lines"] == []
    assert found["notes"] == []


def test_what_one_side_did_not_record_is_not_called_gone(tmp_path: Path) -> None:
    for name, mask in (("a", 1 << 10 | 1 << 26), ("b", 1 << 26)):
        trace = HandTrace(tmp_path / name)
        trace.event(0, 0, "control_trace_mask", mask)
        request(trace, 0, 5, 100, 1, 1, 1, 7)
        if name == "a":
            call(trace, 0, 10, 20, 7, 1, 1)
        trace.close()
    result = run("diff", tmp_path / "a", tmp_path / "b", "--json")
    about = json.loads(result.stdout)
    assert "calls" not in about
    assert f"no calls compared: ClustObj was not recorded in {tmp_path / 'b'}" in about["notes"]
    assert "time" in about
    assert "gone" not in run("diff", tmp_path / "a", tmp_path / "b").stdout


def test_recordings_of_other_lengths_say_so(tmp_path: Path) -> None:
    before, after = recorded(tmp_path / "a", 4, 0), recorded(tmp_path / "b", 4, 0, last=400_000)
    assert "counts are not scaled" in run("diff", before, after).stderr
