"""Tables say the same in three forms."""

import csv
import json
from io import StringIO

import pytest

from k42fs.report.histogram import Histogram, quantile
from k42fs.report.tables import Column, Report, Table, as_csv, as_json, as_text, count

COLUMNS = (Column("name", "name", left=True), Column("calls", "calls", count), Column("sites", "sites"))
ROWS = [("a, b", 1234567, [["x", 1]]), ("[red]c", 0, [])]


def report() -> Report:
    return Report([Table("calls", COLUMNS, list(ROWS)), Table("none", COLUMNS, [])])


def test_text_is_for_reading() -> None:
    lines = as_text(report()).splitlines()
    assert lines[0].split() == ["name", "calls", "sites"]
    assert "1,234,567" in lines[1]
    assert lines[2].startswith("[red]c ")
    assert lines[-1] == "(nothing)"


def test_json_is_exact() -> None:
    said = json.loads(as_json(report(), {"lost": []}))
    assert said["calls"][0] == {"name": "a, b", "calls": 1234567, "sites": [["x", 1]]}
    assert (said["none"], said["lost"]) == ([], [])


def test_csv_is_exact_and_has_a_head_for_each_table() -> None:
    first, second = as_csv(report()).split("\n\n")
    rows = list(csv.reader(StringIO(first)))
    assert rows == [["name", "calls", "sites"], ["a, b", "1234567", '[["x", 1]]'], ["[red]c", "0", "[]"]]
    assert second == "name,calls,sites\n"


def test_a_limit_holds_for_text_only() -> None:
    limited = Report([Table("calls", COLUMNS, list(ROWS), limit=1)])
    assert "... and 1 more" in as_text(limited)
    assert len(json.loads(as_json(limited))["calls"]) == 2
    hidden = Report([Table("calls", COLUMNS, list(ROWS), limit=0)])
    assert as_text(hidden) == ""


def test_buckets_are_powers_of_two() -> None:
    histogram = Histogram()
    for value in (0, 1, 2, 3, 4, 8):
        histogram.add(value)
    assert list(histogram.bars()) == [(0, 0, 1), (1, 1, 1), (2, 3, 2), (4, 7, 1), (8, 15, 1)]


def test_quantiles_are_values_that_came() -> None:
    assert [quantile(list(range(1, 101)), share) for share in (0.5, 0.9, 0.99, 1.0)] == [50, 90, 99, 100]
    assert (quantile([], 0.5), quantile([7], 0.01)) == (0, 7)


def test_a_terminal_sees_the_answer_before_a_text_that_does_not_fit_it() -> None:
    screen = Table("worst", COLUMNS, list(ROWS), "The worst")
    long = Report([Table("calls", COLUMNS, [])], "a stock format\n", screen=screen)
    assert as_text(long) == "a stock format\n"
    lines = as_text(long, 80, colour=True).splitlines()
    assert "The worst" in lines[0]
    assert lines[-2:] == ["", "a stock format"]


def test_spare_columns_give_way_where_there_is_no_room() -> None:
    columns = (
        Column("name", "name", left=True),
        Column("a", "aaaaaaaa", spare=True),
        Column("b", "bbbbbbbb", spare=True),
    )
    narrow = Report([Table("t", columns, [("a long name indeed", 1, 2)])])
    heads = [as_text(narrow, width).splitlines()[0].split() for width in (80, 32, 20)]
    assert heads == [["name", "aaaaaaaa", "bbbbbbbb"], ["name", "aaaaaaaa"], ["name"]]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 140])
def test_no_digit_is_cut_off_and_no_word_torn_however_narrow_the_screen(width: int) -> None:
    columns = (
        Column("name", "operation", left=True),
        Column("note", "note", left=True),
        *(Column(f"n{index}", f"column{index}", count) for index in range(6)),
    )
    rows = [("getxattr", "a long note of many words", *(10**9 + index for index in range(6)))]
    text = as_text(Report([Table("t", columns, list(rows))]), width)
    assert "getxattr" in text
    for index in range(6):
        assert f"1,000,000,00{index}" in text


def test_what_goes_below_is_whole_on_a_line_of_its_own() -> None:
    columns = (
        Column("lock", "lock", left=True),
        Column("waits", "waits", count),
        Column("site", "most waits at", left=True, below=True),
    )
    site = "servers/directory.py:107 Directory.create_with_a_long_name"
    rows = [("DirObject /proj/build.dirlock", 1177, site), ("x" * 60, 2, ""), ("short", 3, "a.py:1 f")]
    table = Table("worst", columns, list(rows), limit=3)
    assert as_text(Report([table]), 64).splitlines() == [
        f"{'lock':57}  waits",
        f"{'DirObject /proj/build.dirlock':57}  1,177",
        "    most waits at servers/directory.py:107",
        "      Directory.create_with_a_long_name",
        "x" * 60,
        f"{'':57}      2",
        f"{'short':57}      3",
        "    most waits at a.py:1 f",
    ]
    assert len(as_text(Report([table])).splitlines()) == 4


def test_a_text_of_its_own_can_fit_the_terminal() -> None:
    report = Report([], "a long text\n", narrow=lambda width: f"at most {width}\n")
    assert as_text(report) == "a long text\n"
    assert as_text(report, 80) == "at most 80\n"
