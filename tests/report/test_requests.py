"""`requests`: JuiceFS's line format, and latencies whose wall time and cycles are never mixed."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from k42fs.report.requests import requests_report
from k42fs.report.tables import Report, as_text
from tests.machine.tracing.lab import HandTrace
from tests.report.lab import request, run, said, source

LOOKUP, READ, RENAME = 1, 15, 12
MOMENT = 1_610_699_171_003_330_000
"""2021-01-15 08:26:11.003330 UTC, in ns."""


@pytest.fixture(autouse=True)
def utc() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    trace = HandTrace(tmp_path / "t", processors=2)
    request(
        trace,
        0,
        100,
        700,
        1,
        LOOKUP,
        1,
        4403,
        args=("a b", 0, 0),
        errno=2,
        wall=MOMENT - 10_000,
        wall_ns=10_000,
    )
    args = ("", 8192, -1)
    request(trace, 1, 100, 200, 2, READ, 17, 4403, args=args, nbytes=4096, wall=MOMENT, wall_ns=250_000)
    request(trace, 0, 800, 1100, 3, LOOKUP, 1, 4404, wall=MOMENT + 500_000, wall_ns=2_000_000_000)
    trace.event(0, 1200, "fuse_op_enter", 4, LOOKUP, 1, 4404, 0, 0, 0, MOMENT)
    return trace.close()


def test_the_log_has_juicefs_format_in_order_of_wall_time(recording: Path) -> None:
    lines = run("requests", "--log", recording).stdout.splitlines()
    assert lines == [
        "2021.01.15 08:26:11.003330 [uid:1000,gid:100,pid:4403] lookup (1,a b): no such file or directory <0.000010>",
        "2021.01.15 08:26:11.003580 [uid:1000,gid:100,pid:4403] read (17,8192,-1): OK (4096) <0.000250>",
        "2021.01.15 08:26:13.003830 [uid:1000,gid:100,pid:4404] lookup (1): OK <2.000000>",
    ]


def test_latencies_are_in_two_tables_that_share_no_column(recording: Path) -> None:
    found = said("requests", recording)
    (lookup, _) = found["cycles"]
    assert (lookup["requests"], lookup["errors"], lookup["total_cycles"]) == (2, 1, 900)
    assert (lookup["p50_cycles"], lookup["p99_cycles"], lookup["max_cycles"]) == (300, 600, 600)
    assert [row["max_ns"] for row in found["wall"]] == [2_000_000_000, 250_000]
    assert not any("ns" in key for key in lookup)
    assert not any("cycles" in key for key in found["wall"][0])


def test_each_table_is_sorted_by_its_own_total(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t")
    request(trace, 0, 100, 900, 1, LOOKUP, 1, 5, wall=MOMENT, wall_ns=10)
    request(trace, 0, 1000, 1100, 2, READ, 1, 5, wall=MOMENT, wall_ns=1000)
    found = said("requests", trace.close())
    assert [row["operation"] for row in found["cycles"]] == ["lookup", "read"]
    assert [row["operation"] for row in found["wall"]] == ["read", "lookup"]


def test_totals_fit_a_narrow_screen(recording: Path) -> None:
    tables = requests_report(source(recording)).tables
    assert [as_text(Report([table]), 80).count(" total ") for table in tables[:2]] == [1, 1]


def test_the_slowest_are_shown_with_their_numbers(recording: Path) -> None:
    shown = run("requests", recording).stdout
    assert "slowest request" in shown
    rows = said("requests", recording)["slowest"]
    assert [row["unique"] for row in rows] == [1, 3, 2]
    tree = run("calls", "--tree", recording, "--request", "3")
    assert tree.stdout.startswith("request 3 of process 4404, at 0.000000700 s on processor 0\n")
    missing = run("calls", "--tree", recording, "--request", "9").stderr
    assert "no whole request 9 is in the recording: it has 3 of 1 to 3" in missing


def test_a_request_without_an_end_is_left_out(recording: Path) -> None:
    assert [row["unique"] for row in said("requests", recording)["requests"]] == [2, 1, 3]


def test_without_host_time_there_are_cycles_only_and_a_note(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t")
    request(trace, 0, 1_000_000, 3_000_000, 1, RENAME, 1, 5)
    trace.close()
    result = run("requests", tmp_path / "t")
    assert "Latency on the host" not in result.stdout
    assert "no host time" in result.stderr
    log = run("requests", "--log", tmp_path / "t").stdout
    assert log == "1970.01.01 00:00:00.003000 [uid:1000,gid:100,pid:5] rename (1): OK <0.002000>\n"


def test_histograms_of_both_clocks_are_apart(recording: Path) -> None:
    text = run("requests", "--hist", recording).stdout
    assert "lookup: 2 requests, in cycles\n" in text
    assert "lookup: 2 requests, in wall ns\n" in text


def test_numbers_out_of_all_bounds_are_shown_as_numbers(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t")
    request(
        trace, 0, 10, 20, 1, 2**64 - 1, 2**64 - 1, 2**64 - 1, errno=2**40, wall=2**64 - 1, wall_ns=2**64 - 1
    )
    trace.close()
    (line,) = run("requests", "--log", tmp_path / "t").stdout.splitlines()
    assert f"op{2**64 - 1} ({2**64 - 1}): errno {2**40} <18446744073.70955" in line
