"""`sharing`: files that processes used at once, and those used one after the other (T14)."""

from pathlib import Path

from tests.machine.tracing.lab import HandTrace
from tests.report.lab import request, said

OPEN, READ, RELEASE = 14, 15, 18


def test_a_second_open_before_the_first_is_closed_is_sharing(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t", processors=2)
    for node, second in ((5, 30), (6, 50)):
        request(trace, 0, 10, 11, node * 100, OPEN, node, 1)
        request(trace, 0, 40, 41, node * 100 + 1, RELEASE, node, 0)
        request(trace, 1, second, second + 1, node * 100 + 2, OPEN, node, 2)
        request(trace, 1, second + 2, second + 3, node * 100 + 3, READ, node, 2)
    trace.close()
    rows = said("sharing", tmp_path / "t")["files"]
    assert [
        (row["file"], row["concurrent"], row["since_ns"], row["most_open"], row["pids"]) for row in rows
    ] == [
        ("node 5", True, 20, 2, [1, 2]),
        ("node 6", False, None, 1, [1, 2]),
    ]


def test_opens_that_the_class_fs_tells_of_are_not_told_twice(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t")
    trace.event(0, 0, "clust_obj_object_name", 2, "ServerFile", "/f")
    request(trace, 0, 10, 30, 100, OPEN, 5, 70)
    trace.event(0, 20, "fs_stub_acquire", 2, 70, 8)
    trace.close()
    assert [row["file"] for row in said("sharing", tmp_path / "t")["files"]] == ["ServerFile /f"]


def test_k42s_reasons_are_told_apart(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t")
    trace.event(0, 0, "clust_obj_object_name", 1, "ServerFile", "/by-name")
    trace.event(0, 0, "clust_obj_object_name", 2, "ServerFile", "/without")
    trace.event(0, 0, "clust_obj_object_name", 3, "ServerFile", "/closed")
    trace.event(0, 0, "clust_obj_object_name", 4, "ServerFile", "/alone")
    trace.event(0, 10, "fs_name_tree_access", 1, 0, 3, "stat")
    for ref in (2, 3, 4):
        trace.event(0, 20, "fs_stub_acquire", ref, 70, 0)
        trace.event(0, 30, "fs_stub_access", ref, 70, 0, "read")
    trace.event(0, 40, "fs_stub_access", 2, 71, 0, "read")
    trace.event(0, 40, "fs_stub_release", 3, 71, 0)
    trace.event(0, 50, "fs_stub_release", 4, 70, 0)
    trace.event(0, 60, "fs_stub_access", 4, 71, 0, "read")
    trace.close()
    rows = {row["file"]: row for row in said("sharing", tmp_path / "t")["files"]}
    assert {name: row["why"] for name, row in rows.items()} == {
        "ServerFile /by-name": "used by name while clients had it",
        "ServerFile /without": "used without opening it",
        "ServerFile /closed": "closed by one who had not opened it",
        "ServerFile /alone": "",
    }
