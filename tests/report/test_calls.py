"""`calls`: counts, times and trees known by hand; the summary in strace's columns."""

from pathlib import Path

import pytest

from k42fs.report.call_tree import tree_report
from k42fs.report.tables import as_text
from tests.machine.tracing.lab import HandTrace
from tests.report.lab import call, request, run, said, source

TREE, DIR = 7, 8
LOOKUP, WALK, CREATE = 1, 2, 3


def named(directory: Path, processors: int = 1) -> HandTrace:
    """Begin a recording of a NameTree and a DirObject. A tick is a nanosecond."""
    trace = HandTrace(directory, processors)
    trace.event(0, 0, "clust_obj_object_name", TREE, "NameTree", "/")
    trace.event(0, 0, "clust_obj_object_name", DIR, "DirObject", "/a")
    trace.event(0, 0, "clust_obj_method_name", WALK, "NameTree", "walk")
    trace.event(0, 0, "clust_obj_method_name", LOOKUP, "DirObject", "lookup")
    trace.event(0, 0, "clust_obj_method_name", CREATE, "DirObject", "create")
    return trace


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """walk takes 10,000 and calls lookup twice, 3,000 and 2,000, the second failing; create, on another
    processor, 5,000."""
    trace = named(tmp_path / "t", 2)
    call(trace, 0, 1000, 11_000, TREE, WALK, 1)
    call(trace, 0, 2000, 5000, DIR, LOOKUP, 2)
    call(trace, 0, 6000, 8000, DIR, LOOKUP, 3, errno=2)
    call(trace, 1, 1500, 6500, DIR, CREATE, 4)
    trace.event(1, 1400, "clust_obj_miss", 1, DIR, CREATE)
    return trace.close()


def test_time_is_counted_once_for_the_innermost_call(recording: Path) -> None:
    rows = said("calls", recording)["methods"]
    shown = [(row["class"], row["method"], row["self_ns"], row["total_ns"], row["calls"]) for row in rows]
    assert shown == [
        ("DirObject", "lookup", 5000, 5000, 2),
        ("DirObject", "create", 5000, 5000, 1),
        ("NameTree", "walk", 5000, 10_000, 1),
    ]
    assert [row["errors"] for row in rows] == [1, 0, 0]
    assert [row["translation_misses"] for row in rows] == [0, 1, 0]


def test_the_summary_has_straces_columns(recording: Path) -> None:
    assert run("calls", "-c", recording).stdout.splitlines() == [
        "% time     seconds  usecs/call     calls    errors method",
        "------ ----------- ----------- --------- --------- ----------------",
        " 33.33    0.000005           2         2         1 DirObject.lookup",
        " 33.33    0.000005           5         1           DirObject.create",
        " 33.33    0.000005           5         1           NameTree.walk",
        "------ ----------- ----------- --------- --------- ----------------",
        "100.00    0.000015           3         4         1 total",
        "",
        "% time     seconds  usecs/call     calls    errors class",
        "------ ----------- ----------- --------- --------- ----------------",
        " 66.67    0.000010           3         3         1 DirObject",
        " 33.33    0.000005           5         1           NameTree",
        "------ ----------- ----------- --------- --------- ----------------",
        "100.00    0.000015           3         4         1 total",
    ]


def test_the_histogram_counts_powers_of_two(recording: Path) -> None:
    rows = [row for row in said("calls", "--hist", recording)["histogram"] if row["method"] == "lookup"]
    assert [(row["from_cycles"], row["to_cycles"], row["calls"]) for row in rows] == [
        (1024, 2047, 1),
        (2048, 4095, 1),
    ]
    text = run("calls", "--hist", recording).stdout
    assert f"1,024 -> 2,047 :         1 |{'*' * 40}|" in text


def test_calls_cut_off_by_the_recording_count_without_a_duration(tmp_path: Path) -> None:
    trace = named(tmp_path / "t")
    trace.event(0, 10, "clust_obj_return", DIR, LOOKUP, 0, 0, 1)
    trace.event(0, 20, "clust_obj_call", DIR, LOOKUP, 0, 1, 2)
    trace.close()
    (row,) = said("calls", tmp_path / "t")["methods"]
    assert (row["calls"], row["total_ns"], row["average_ns"]) == (2, 0, None)


def in_a_request(trace: HandTrace) -> Path:
    """A request for walk, which calls lookup, which waits 400 for a lock and misses twice."""
    request(trace, 0, 100, 9100, 42, 1, 1, 77, args=("a", 0, 0))
    call(trace, 0, 1100, 9000, TREE, WALK, 1)
    call(trace, 0, 2000, 5000, DIR, LOOKUP, 2, errno=2)
    trace.event(0, 2900, "lock_acquire", 0x10, 1, "dir.py:2 lookup", 400, 1, "dir.py:9 create")
    trace.event(0, 3000, "cache_miss", 0x8000, 3, 0, 0, 1, 200, "dir.py:3 lookup")
    trace.event(0, 3300, "cache_miss", 0x8080, 0, 0, 0, -1, 90, "dir.py:4 lookup")
    request(trace, 0, 9200, 9300, 43, 3, 1, 77)
    return trace.close()


def test_the_tree_of_a_request_has_its_calls_locks_and_misses(tmp_path: Path) -> None:
    recording = in_a_request(named(tmp_path / "t"))
    lines = run("calls", "--tree", recording).stdout.splitlines()
    assert lines == [
        "the slowest: request 42 of process 77, at 0.000000000 s on processor 0",
        "          at       cycles         self  misses   in them  vp",
        "           0        9,000        1,100       0         0   0  lookup (1,a)  OK",
        "       1,000        7,900        4,900       0         0   0  └─ NameTree.walk  /",
        "       1,900        3,000        2,600       2       290   0     └─ DirObject.lookup  /a errno 2",
        "       2,400          400          400       0         0   0        └─ lock 0x10  waited 400, held at"
        " dir.py:9 create; taken at dir.py:2 lookup",
    ]


def test_the_tree_of_a_given_request(tmp_path: Path) -> None:
    recording = in_a_request(named(tmp_path / "t"))
    rows = said("calls", "--request", "43", recording)["tree"]
    assert [(row["depth"], row["what"], row["cycles"]) for row in rows] == [(0, "getattr (1)", 100)]


def test_what_another_thread_does_meanwhile_is_not_in_the_tree(tmp_path: Path) -> None:
    trace = named(tmp_path / "t")
    trace.event(0, 50, "scheduler_cur_thread", 1)
    request(trace, 0, 100, 900, 42, 1, 1, 77)
    call(trace, 0, 200, 800, TREE, WALK, 1)
    trace.event(0, 300, "scheduler_cur_thread", 2)
    call(trace, 0, 400, 500, DIR, CREATE, 2)
    trace.event(0, 600, "scheduler_cur_thread", 1)
    call(trace, 0, 700, 750, DIR, LOOKUP, 3)
    trace.close()
    rows = said("calls", "--tree", tmp_path / "t")["tree"]
    assert [(row["depth"], row["what"]) for row in rows] == [
        (0, "lookup (1)"),
        (1, "NameTree.walk"),
        (2, "DirObject.lookup"),
    ]


def test_without_requests_there_is_no_tree_but_a_sentence(recording: Path) -> None:
    result = run("calls", "--tree", recording)
    assert result.exit_code == 1
    assert "no whole request" in result.stderr


@pytest.mark.parametrize("width", [60, 80])
def test_the_tree_fits_a_narrow_screen_with_its_words_whole(tmp_path: Path, width: int) -> None:
    recording = in_a_request(named(tmp_path / "t"))
    text = as_text(tree_report(source(recording), 42), width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert lines[1:4] == [
        "    at cycles misses",
        "     0  9,000      0  lookup (1,a)",
        "                      │    OK",
    ]
    assert " 2,400    400      0        └─ lock 0x10" in lines
    for words in ("waited 400, held at", "dir.py:9 create", "taken at", "dir.py:2 lookup"):
        assert words in " ".join(text.replace("│", " ").split())
