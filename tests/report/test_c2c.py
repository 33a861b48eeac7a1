"""`c2c`: a line that two fields share is named with both of them, false sharing apart from true (T14)."""

from pathlib import Path

import pytest

from k42fs.report.c2c import c2c_report
from tests.machine.tracing.lab import HandTrace
from tests.report.lab import run, said, source

COLD, CAPACITY, TRUE, FALSE, UPGRADE = range(5)
READ, WRITE, RMW = range(3)
MEMORY = -1
HOT, SHARED, QUIET = 0x8000, 0x9000, (3 << 52) + 0xA000
COUNT, TOTAL = "dir.py:10 lookup", "dir.py:20 unlink"


def miss(
    trace: HandTrace,
    vp: int,
    at: int,
    line: int,
    kind: int,
    access: int,
    offset: int,
    supplier: int,
    site: str,
) -> None:
    trace.event(
        vp, at, "cache_miss", line, kind, access, offset, supplier, 200 if supplier >= 0 else 90, site
    )


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Processors 0 and 1 fight over two fields of one line; 0 and 2, of another node, over one of another line;
    a third line is only read."""
    trace = HandTrace(tmp_path / "t", processors=3, env={"processors_per_node": 2})
    trace.event(0, 0, "cache_line_name", HOT, 0, 8, "DirObject /a", "lookups")
    trace.event(0, 0, "cache_line_name", HOT, 64, 8, "DirObject /a", "unlinks")
    trace.event(0, 0, "cache_line_name", SHARED, 0, 64, "Counter", "value")
    miss(trace, 0, 10, HOT, COLD, READ, 0, MEMORY, COUNT)
    for at in range(100, 1100, 100):
        trace.event(0, at, "cache_invalidate", HOT, 1, TOTAL)
        miss(trace, 1, at, HOT, FALSE, RMW, 64, 0, TOTAL)
        trace.event(1, at + 50, "cache_invalidate", HOT, 0, COUNT)
        miss(trace, 0, at + 50, HOT, FALSE, RMW, 0, 1, COUNT)
    for at in range(100, 400, 100):
        trace.event(2, at, "cache_invalidate", SHARED, 0, "a.py:1 add")
        miss(trace, 2, at + 1, SHARED, TRUE, READ, 0, 0, "a.py:2 get")
        miss(trace, 0, at + 60, SHARED, UPGRADE, WRITE, 0, MEMORY, "a.py:1 add")
    miss(trace, 1, 5000, QUIET, COLD, READ, 8, MEMORY, "a.py:9 scan")
    return trace.close()


def test_the_worst_line_comes_first_and_names_the_pair(recording: Path) -> None:
    worst = said("c2c", recording)["lines"][0]
    assert (worst["line"], worst["false_sharing"], worst["true_sharing"]) == (f"{HOT:#x}", 20, 0)
    assert (worst["lcl_hitm"], worst["rmt_hitm"], worst["records"]) == (20, 0, 21)
    assert worst["processors"] == [0, 1]
    assert worst["fields"] == [
        ["DirObject /a", "lookups", "dir.py:10 lookup", 10],
        ["DirObject /a", "unlinks", "dir.py:20 unlink", 10],
    ]


def test_the_first_screen_says_it(recording: Path) -> None:
    lines = run("c2c", recording).stdout.splitlines()
    assert lines[1] == f"  0  {HOT:#x}  false sharing: 20 false, 0 true, 0 upgrades, 4,090 cycles"
    assert lines[2] == "              10x  DirObject /a .lookups  dir.py:10 lookup"
    assert lines[3] == "              10x  DirObject /a .unlinks  dir.py:20 unlink"


def test_both_sides_of_a_conflict_have_their_source_lines(recording: Path) -> None:
    places = {(row["line"], row["field"]): row for row in said("c2c", recording)["places"]}
    lookups, unlinks = places[f"{HOT:#x}", "lookups"], places[f"{HOT:#x}", "unlinks"]
    assert (lookups["source_line"], lookups["other_side"]) == ("dir.py:10", "dir.py:20 unlink")
    assert (unlinks["source_line"], unlinks["other_side"]) == ("dir.py:20", "dir.py:10 lookup")


def test_true_sharing_between_nodes_is_remote(recording: Path) -> None:
    shared = said("c2c", recording)["lines"][1]
    assert (shared["true_sharing"], shared["false_sharing"], shared["upgrades"]) == (3, 0, 3)
    assert (shared["lcl_hitm"], shared["rmt_hitm"], shared["stores"]) == (0, 3, 3)


def test_a_line_that_nobody_writes_is_in_the_totals_only(recording: Path) -> None:
    found = said("c2c", recording)
    assert [row["line"] for row in found["lines"]] == [f"{HOT:#x}", f"{SHARED:#x}"]
    everything = found["events"][0]
    assert (everything["records"], everything["lcl_dram"], everything["rmt_dram"]) == (28, 1, 1)


def test_the_tables_have_perfs_titles_columns_and_widths(recording: Path) -> None:
    lines = run("c2c", recording).stdout.splitlines()
    for title in (
        "            Trace Event Information              ",
        "    Global Shared Cache Line Event Information   ",
        "                 c2c details                     ",
        "           Shared Data Cache Line Table          ",
        "      Shared Cache Line Distribution Pareto      ",
    ):
        at = lines.index(title)
        assert lines[at - 1] == lines[at + 1] == "=" * 49
    at = lines.index("           Shared Data Cache Line Table          ")
    assert lines[at + 2 : at + 8] == [
        "#",
        "#        ----------- Cacheline ----------      Tot  ------- Load Hitm -------    Total    Total    Total"
        "  --------- Stores --------  ----- Core Load Hit -----  - LLC Load Hit --  - RMT Load Hit --"
        "  --- Load Dram ----",
        "# Index             Address  Node  PA cnt     Hitm    Total  LclHitm  RmtHitm  records    Loads   Stores"
        "    L1Hit   L1Miss      N/A       FB       L1       L2    LclHit  LclHitm    RmtHit  RmtHitm"
        "       Lcl       Rmt",
        "# .....  ..................  ....  ......  .......  .......  .......  .......  .......  .......  ......."
        "  .......  .......  .......  .......  .......  .......  ........  .......  ........  ......."
        "  ........  ........",
        "#",
        "      0              0x8000     0       1   86.96%       20       20        0       21       21        0"
        "        0        0        0        0        0        0         0       20         0        0"
        "         1         0",
    ]
    at = lines.index("      Shared Cache Line Distribution Pareto      ")
    assert lines[at + 3].startswith(
        "#        ----- HITM -----  ------- Store Refs ------  --------- Data address ---------"
        "                               ---------- cycles ----------    Total       cpu"
    )
    assert lines[at + 4].startswith(
        "#   Num  RmtHitm  LclHitm   L1 Hit  L1 Miss      N/A              Offset  Node  PA cnt      Pid"
        "        Code address  rmt hitm  lcl hitm      load  records       cnt"
    )
    assert lines[at + 7 : at + 10] == [
        "  " + "-" * 70,
        "      0        0       20        0        0        0              0x8000",
        "  " + "-" * 70,
    ]
    assert lines[at + 10].split()[:4] == ["0.00%", "50.00%", "0.00%", "0.00%"]
    assert "  Total records                     :         28" in lines
    assert "  Load Local HITM                   :         20" in lines


def test_after_padding_the_pair_is_gone_and_diff_says_so(recording: Path, tmp_path: Path) -> None:
    padded = HandTrace(tmp_path / "padded", processors=3)
    miss(padded, 0, 10, HOT, COLD, READ, 0, MEMORY, COUNT)
    miss(padded, 1, 1050, HOT + 128, COLD, READ, 0, MEMORY, TOTAL)
    padded.close()
    changes = said("diff", recording, tmp_path / "padded")["lines"]
    gone = {row["what"] for row in changes if row["measure"] == "false_sharing" and row["said"] == "gone"}
    assert gone == {"DirObject /a .lookups", "DirObject /a .unlinks"}
    assert said("c2c", tmp_path / "padded")["lines"] == []


@pytest.mark.parametrize("width", [80, 100, 140])
def test_a_terminal_has_the_answer_first_and_nothing_wider_than_it_is(recording: Path, width: int) -> None:
    report = c2c_report(source(recording))
    assert report.narrow is not None
    lines = report.narrow(width).splitlines()
    assert max(map(len, lines)) <= width
    assert lines[1:4] == [
        f"  0  {HOT:#x}  false sharing: 20 false, {20 * 200 + 90:,} cycles",
        "      10x  DirObject /a .lookups  dir.py:10 lookup",
        "      10x  DirObject /a .unlinks  dir.py:20 unlink",
    ]
    text = "\n".join(lines)
    for title in ("Trace Event", "Global Shared", "Shared Data Cache Line Table", "Distribution Pareto"):
        assert title in text
    assert "      DirObject /a .lookups  lookup  dir.py:10  true/false 0/10" in text
    assert "      other side: dir.py:20 unlink" in text
    assert "uncacheable" not in text  # nothing that is 0 for ever
    assert not report.text or "uncacheable" in report.text


def test_a_terminal_has_only_the_lines_that_moved_most(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t", processors=2)
    for line in range(30):
        for at in range(30 - line):
            miss(trace, at % 2, 100 * at + line, HOT + 128 * line, TRUE, RMW, 0, 1 - at % 2, COUNT)
    narrow = c2c_report(source(trace.close())).narrow
    assert narrow is not None
    said = narrow(80).splitlines()
    assert said[-1].startswith("... and 20 more lines: ")
    assert (
        sum(" 0x" in line for line in said) == 3 * 10 + 10
    )  # in the answer, the table, the Pareto; and offsets
