"""`locks`: numbers known by hand, in lock_stat's own format to the character."""

import re
from pathlib import Path

import pytest

from k42fs.report.lock_chains import chains_report
from k42fs.report.locks import locks_report
from k42fs.report.tables import as_text
from tests.machine.tracing.lab import HandTrace
from tests.report.lab import run, said, source

LOCK, OTHER = 0x1000, 0x2000


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Two locks of one class: the first taken four times, twice after a wait, once by a reader; the second never
    waited for. A tick is a nanosecond."""
    trace = HandTrace(tmp_path / "t", processors=2)
    trace.event(0, 0, "clust_obj_object_name", 7, "DirObject", "/a")
    trace.event(0, 0, "clust_obj_object_name", 8, "DirObject", "/b")
    trace.event(0, 0, "lock_lock_name", LOCK, 7, "dirlock", "BLock")
    trace.event(0, 0, "lock_lock_name", OTHER, 8, "dirlock", "BLock")
    take(trace, 0, 100, LOCK, 1, "dir.py:1 create", 0, -1, 0, 50)
    take(trace, 1, 150, LOCK, 1, "dir.py:2 lookup", 40, 0, "dir.py:1 create", 3000)
    take(trace, 1, 4000, LOCK, 1, "dir.py:2 lookup", 0, 1, "", 30)
    take(trace, 0, 5000, LOCK, 2, "dir.py:3 readdir", 1234, 1, "dir.py:2 lookup", 100)
    take(trace, 0, 6000, OTHER, 1, "dir.py:1 create", 0, -1, 0, 500)
    return trace.close()


def take(
    trace: HandTrace,
    vp: int,
    at: int,
    lock: int,
    kind: int,
    site: str,
    waited: int,
    last: int,
    holder: str | int,
    held: int,
) -> None:
    trace.event(vp, at, "lock_acquire", lock, kind, site, waited, last, holder)
    trace.event(vp, at + held, "lock_release", lock, held)


def test_the_text_is_lock_stats_file(recording: Path) -> None:
    rule = "-" * 221
    name = " " * 21 + "DirObject.dirlock"
    expected = [
        "lock_stat version 0.4",
        rule,
        f"{'class name':>40} "
        "   con-bounces    contentions   waittime-min   waittime-max waittime-total   waittime-avg"
        "    acq-bounces   acquisitions   holdtime-min   holdtime-max holdtime-total   holdtime-avg",
        rule,
        "",
        f"{name}-W:             1              1           0.04           0.04           0.04           0.04"
        "              1              4           0.03           3.00           3.58           0.90",
        f"{name}-R:             1              1           1.23           1.23           1.23           1.23"
        "              1              1           0.10           0.10           0.10           0.10",
        " " * 21 + "-" * 19,
        f"  {name}              1          [<0123456789abcdef>] dir.py:2 lookup",
        f"  {name}              1          [<0123456789abcdef>] dir.py:3 readdir",
        " " * 21 + "-" * 19,
        f"  {name}              1          [<0123456789abcdef>] dir.py:1 create",
        f"  {name}              1          [<0123456789abcdef>] dir.py:2 lookup",
        "",
        "." * 221,
        "",
    ]
    result = run("locks", recording)
    assert result.exit_code == 0
    # Call sites are numbered by whoever recorded.
    text = re.sub(r"<[0-9a-f]{16}>", "<0123456789abcdef>", result.stdout)
    assert text.splitlines() == expected


def test_objects_are_told_apart_and_named(recording: Path) -> None:
    rows = said("locks", recording)["objects"]
    assert [(row["class_name"], row["mode"], row["acquisitions"], row["contentions"]) for row in rows] == [
        ("DirObject /a.dirlock", "write", 3, 1),
        ("DirObject /a.dirlock", "read", 1, 1),
        ("DirObject /b.dirlock", "write", 1, 0),
    ]
    assert rows[0]["waiters"] == [["dir.py:2 lookup", 1], ["dir.py:3 readdir", 1]]
    assert rows[0]["holders"] == [["dir.py:1 create", 1], ["dir.py:2 lookup", 1]]


def test_a_lock_is_worst_by_time_by_count_or_by_its_longest_wait(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t")
    waits = {"often": [10, 10, 10, 10], "long": [35], "most": [30, 30]}
    at = 0
    for number, (name, times) in enumerate(waits.items(), start=1):
        trace.event(0, 0, "lock_lock_name", number, 0, name, "SLock")
        for waited in times:
            at += 100
            take(trace, 0, at, number, 0, "a.py:1 f", waited, 1, "b.py:2 g", 5)
    trace.close()
    order = {
        by: [row["class_name"] for row in said("locks", tmp_path / "t", "--by", by)["locks"]]
        for by in ("time", "count", "max")
    }
    assert order == {
        "time": ["SLock.most", "SLock.often", "SLock.long"],
        "count": ["SLock.often", "SLock.most", "SLock.long"],
        "max": ["SLock.long", "SLock.most", "SLock.often"],
    }


def test_an_address_used_again_is_another_lock(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t")
    trace.event(0, 0, "lock_lock_name", LOCK, 0, "first", "BLock")
    trace.event(0, 1000, "lock_lock_name", LOCK, 0, "second", "BLock")
    for at, waited in ((10, 1), (20, 2), (2000, 3)):
        take(trace, 0, at, LOCK, 1, "a.py:1 f", waited, 1, "b.py:2 g", 5)
    trace.close()
    rows = said("locks", tmp_path / "t", "--by", "count")["locks"]
    assert [(row["class_name"], row["waittime_total_ns"]) for row in rows] == [
        ("BLock.first", 3),
        ("BLock.second", 3),
    ]


def test_ticks_become_nanoseconds_by_the_clock(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t", ticks_per_second=2 * 10**9)
    take(trace, 0, 10, LOCK, 1, "a.py:1 f", 3001, 1, "b.py:2 g", 8)
    trace.close()
    (row,) = said("locks", tmp_path / "t")["locks"]
    assert (row["waittime_max_ns"], row["holdtime_max_ns"]) == (1500, 4)


def test_the_shortest_time_is_the_shortest_that_is_not_zero(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t")
    for at, held in ((10, 30), (100, 0), (200, 50)):
        take(trace, 0, at, LOCK, 1, "a.py:1 f", 0, -1, 0, held)
    trace.close()
    (row,) = said("locks", tmp_path / "t")["locks"]
    assert (row["holdtime_min_ns"], row["holdtime_max_ns"], row["holdtime_avg_ns"]) == (30, 50, 26)


def test_chains_are_k42s_three_tables(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t", processors=2)
    trace.event(0, 0, "lock_lock_name", 0x10, 0, "dirlock", "BLock")
    trace.event(0, 0, "clust_obj_object_name", 7, "DirObject", "/a")
    trace.event(0, 0, "lock_lock_name", 0x20, 7, "dirlock", "BLock")
    trace.event(1, 5, "fuse_op_enter", 1, 1, 1, 0x2A, 1, 0, 0, 0)
    callers = ("dir.py:118 lookup", "tree.py:64 walk", "fuse.py:31 lookup")
    trace.event(0, 10, "lock_contend_spin", 0x10, 3, 4_000, *callers)
    trace.event(1, 20, "lock_contend_block", 0x20, 100, 6_000, *callers, 0, -1)
    trace.event(1, 30, "lock_contend_spin", 0x10, 1, 7_000, "dir.py:200 create", 0, 0)
    trace.event(1, 40, "lock_contend_spin", 0x10, 1, 2 * 10**9, "dir.py:200 create", 0, 0)
    trace.close()
    lines = run("locks", "--chains", tmp_path / "t").stdout.splitlines()
    assert lines[:8] == [
        "Top contended locks by time",
        "         time   count      spin      max time     pid   lock",
        "  0.000010000       2       103   0.000006000      42   DirObject /a.dirlock",
        " " * 56 + "dir.py:118 lookup <- tree.py:64 walk <- fuse.py:31 lookup",
        " " * 58 + "0.000006000,1,100,DirObject /a.dirlock",
        " " * 58 + "0.000004000,1,3,BLock.dirlock",
        "  0.000007000       1         1   0.000007000      42   BLock.dirlock",
        " " * 56 + "dir.py:200 create",
    ]
    firsts = [lines[lines.index(f"Top contended locks {by}") + 2].split()[0] for by in ORDERS]
    assert firsts == ["0.000010000", "0.000010000", "0.000007000"]


ORDERS = ("by time", "by count", "by longest wait")


@pytest.mark.parametrize("width", [40, 50])
def test_a_narrow_screen_shows_whole_call_sites_and_nothing_wider(recording: Path, width: int) -> None:
    for objects, name in ((False, "DirObject.dirlock"), (True, "DirObject /a.dirlock")):
        text = as_text(locks_report(source(recording), "time", objects), width, colour=True)
        assert max(map(len, re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines())) <= max(width, 75)
        assert re.search(rf"^{name}\s", text, re.MULTILINE)
        assert re.search(r"most waits at dir.py:\d \w+\n", text)
        assert "lock_stat version" not in text
        assert "lock_stat version" in as_text(
            locks_report(source(recording), "time", objects), 221, colour=True
        )


def test_chains_on_a_narrow_screen_have_a_caller_a_line(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t")
    callers = [f"{'servers/directory' * 2}.py:{line} Directory.create" for line in (1, 2, 3)]
    trace.event(0, 0, "clust_obj_object_name", 7, "DirObject", "/a/long/path/of/a/directory")
    trace.event(0, 0, "lock_lock_name", LOCK, 7, "dirlock", "BLock")
    trace.event(0, 20, "lock_contend_block", LOCK, 100, 6_000, *callers, 0, -1)
    trace.close()
    lines = as_text(chains_report(source(tmp_path / "t")), 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert f"    <- {callers[1]}" in lines
    assert "        DirObject /a/long/path/of/a/directory.dirlock" in lines
