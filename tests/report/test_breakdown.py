"""`time`: bills known by hand, which add up to processors x time to the tick (T14)."""

import random
from pathlib import Path

import pytest

from k42fs.report.breakdown import breakdown
from tests.machine.tracing.lab import HandTrace
from tests.report.lab import request, said, source

USER, IDLE, SYSCALL = 0, 1, 7


def comm(pid: int, vp: int = 0, domain: int = 0) -> int:
    return pid << 32 | domain << 16 | vp


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """One processor: 100 unknown, client 7 runs 300, is served a lookup for 500, runs 100, then idle for 1000;
    the other is idle throughout, but says so only after 400."""
    trace = HandTrace(tmp_path / "t", processors=2)
    trace.event(0, 1000, "control_traced_start")
    trace.event(0, 1100, "exception_context", comm(7), USER, comm(7))
    request(trace, 0, 1400, 1900, 42, 1, 1, 7)
    trace.event(0, 2000, "exception_context", comm(0, domain=1), IDLE, comm(0))
    trace.event(0, 3000, "control_traced_stop")
    trace.event(1, 1400, "exception_context", comm(0, 1, domain=1), IDLE, comm(0))
    trace.event(0, 1000, "user_spawn", 7, 6, 0, "cp")
    return trace.close()


def test_bills_are_for_whom_where_and_in_which_mode(recording: Path) -> None:
    rows = said("time", recording)["bills"]
    assert [(row["client_pid"], row["server"], row["mode"], row["cycles"], row["slots"]) for row in rows] == [
        (0, "kernel, idle", "idle", 2600, 2),
        (-1, "(before it began)", "unknown", 500, 2),
        (7, "k42fs", "SClookup", 500, 1),
        (7, "cp", "user", 400, 2),
    ]


def test_in_process_and_on_behalf_of(recording: Path) -> None:
    rows = {row["pid"]: row for row in said("time", recording)["processes"]}
    assert (rows[7]["name"], rows[7]["in_process_cycles"], rows[7]["ex_process_cycles"]) == ("cp", 400, 500)
    assert (rows[1]["in_process_cycles"], rows[1]["ex_process_cycles"]) == (500, 0)


def test_processes_of_one_name_are_one_program(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t")
    trace.event(0, 100, "exception_context", comm(7), USER, comm(7))
    trace.event(0, 300, "exception_context", comm(8), USER, comm(8))
    request(trace, 0, 400, 450, 42, 1, 1, 8)
    trace.event(0, 600, "exception_context", comm(9), USER, comm(9))
    trace.event(0, 1100, "control_traced_stop")
    for pid, name in ((7, "cc1"), (8, "cc1"), (9, "as")):
        trace.event(0, 100, "user_spawn", pid, 6, 0, name)
    trace.close()
    rows = said("time", tmp_path / "t")["programs"]
    assert [
        (row["name"], row["processes"], row["in_process_cycles"], row["ex_process_cycles"]) for row in rows
    ] == [("as", 1, 500, 0), ("cc1", 2, 450, 50), ("k42fs", 1, 50, 0)]
    assert sum(row["in_percent"] for row in rows) == 100


def test_each_processor_adds_up_to_the_recording(recording: Path) -> None:
    rows = said("time", recording)["processors"]
    assert [row["cycles"] for row in rows] == [2000, 2000]
    for row in rows:
        assert row["requests_ns"] == row["SClookup_ns"]
        modes = [
            value for key, value in row.items() if key.endswith("_ns") and not key.startswith(("SC", "req"))
        ]
        assert sum(modes) + row["requests_ns"] == 2000


def test_a_call_into_a_server_is_for_its_client(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t")
    trace.event(0, 100, "exception_process_yield", comm(9))
    trace.event(0, 200, "exception_ppc_call", comm(1), 5)
    trace.event(0, 350, "exception_ppc_call", comm(2), 6)
    trace.event(0, 400, "exception_ppc_return", comm(1), 6)
    trace.event(0, 450, "exception_ppc_return", comm(9), 5)
    trace.event(0, 500, "exception_pgflt", 1, 0x1000, comm(9), 0, 0)
    trace.event(0, 560, "exception_pgflt_done", comm(9), 1, 0x1000, 0, 0)
    trace.event(0, 600, "control_traced_stop")
    trace.close()
    rows = said("time", tmp_path / "t")["bills"]
    assert {(row["client_pid"], row["server_pid"], row["mode"]): row["cycles"] for row in rows} == {
        (9, 9, "user"): 100 + 50 + 40,
        (9, 1, "ppcsrv"): 150 + 50,
        (9, 2, "ppcsrv"): 50,
        (9, 0, "fault"): 60,
    }


@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_switched_it_adds_up_exactly(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    trace = HandTrace(tmp_path / "t", processors=3)
    for vp in range(3):
        at = 0
        for unique in range(50):
            at += dice.randrange(5)
            kind = dice.randrange(4)
            pid = dice.randrange(5)
            if kind == 0:
                trace.event(
                    vp, at, "exception_context", comm(pid, vp), dice.randrange(17), comm(dice.randrange(5))
                )
            elif kind == 1:
                trace.event(vp, at, "exception_ppc_call", comm(pid, vp), unique)
            elif kind == 2:
                trace.event(vp, at, "exception_await_dispatch", unique)
            else:
                request(trace, vp, at, at + 3, vp << 8 | unique, 1, 1, pid)
                at += 3
    trace.close()
    found = breakdown(source(tmp_path / "t"))
    for vp in range(3):
        billed = sum(bill.ticks for (where, _), bill in found.bills.items() if where == vp)
        assert billed == found.end - found.begin


def test_a_part_of_the_time_adds_up_too(recording: Path) -> None:
    found = breakdown(source(recording, since=200e-9, until=1200e-9))
    assert sum(bill.ticks for bill in found.bills.values()) == 2 * 1000
