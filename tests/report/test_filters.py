"""Filters choose by time, processor, class, object, path and process, alone and together."""

import json
from pathlib import Path

import pytest

from tests.machine.tracing.lab import HandTrace
from tests.report.lab import call, request, run, said

LOOKUP, OPEN = 1, 14
A, B = 7, 8
LOCK, LINE = 0x1000, 0x8000


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Process 70 asks for /a on processor 0 from 100 to 200, process 71 for /b on processor 1 from 150 to 250.

    What uses /b on processor 0 later belongs to no request.
    """
    trace = HandTrace(tmp_path / "t", processors=2, ticks_per_second=1000)
    for ref, name in ((A, "/d/a"), (B, "/d/b")):
        trace.event(0, 0, "clust_obj_object_name", ref, "DirObject", name)
        trace.event(0, 0, "lock_lock_name", LOCK + ref, ref, "dirlock", "BLock")
        trace.event(0, 0, "cache_line_name", LINE + 128 * ref, 0, 128, f"DirObject {name}", "dirlock")
    trace.event(0, 0, "control_traced_start")
    for vp, ref, pid in ((0, A, 70), (1, B, 71)):
        at = 100 + 50 * vp
        request(trace, vp, at, at + 100, ref, LOOKUP, 1, pid, args=(f"name{vp}", 0, 0))
        call(trace, vp, at + 10, at + 90, ref, 1, ref)
        trace.event(vp, at + 20, "lock_acquire", LOCK + ref, 1, "a.py:1 f", 0, -1, 0)
        trace.event(vp, at + 30, "cache_miss", LINE + 128 * ref, 0, 0, 0, -1, 9, "a.py:2 f")
    call(trace, 0, 500, 510, B, 1, 99)
    return trace.close()


def listed(recording: Path, *options: str) -> list[tuple[int, int, str]]:
    """Return (stamp, processor, event) of what is listed."""
    result = run("list", recording, "--format", "json", *options)
    assert result.exit_code == 0, result.output
    rows = map(json.loads, result.stdout.splitlines())
    return [(row["ticks"], row["vp"], row["event"].rpartition("::")[2]) for row in rows]


def on(recording: Path, *options: str) -> set[int]:
    return {vp for _, vp, _ in listed(recording, *options)}


def test_time_is_counted_from_the_start_and_includes_both_ends(recording: Path) -> None:
    assert [stamp for stamp, _, _ in listed(recording, "--from", "0.13", "--to", "0.17")] == [
        130,
        150,
        150,
        160,
        170,
    ]
    assert len(listed(recording, "--to", "0.1")) == 3


def test_processors(recording: Path) -> None:
    assert on(recording, "--vp", "1") == {1}
    assert on(recording, "--vp", "0-1") == {0, 1}


def test_classes(recording: Path) -> None:
    assert {event for *_, event in listed(recording, "--class", "Lock,Cache")} == {"Acquire", "Miss"}


@pytest.mark.parametrize("what", ["7", "0x7", "DirObject /d/a", "/d/a", "*/a"])
def test_an_object_by_ref_or_name_has_its_calls_locks_and_lines(recording: Path, what: str) -> None:
    found = listed(recording, "--object", what)
    if what.isalnum():  # a ref says nothing of lines, which are known by name
        found.append((130, 0, "Miss"))
    assert sorted(found) == [(110, 0, "Call"), (120, 0, "Acquire"), (130, 0, "Miss"), (190, 0, "Return")]


def test_a_class_of_objects(recording: Path) -> None:
    assert len(listed(recording, "--object", "DirObject")) == 10


@pytest.mark.parametrize("path", ["/d/b", "/d/[b]", "name1"])
def test_a_path_has_the_requests_that_touch_it(recording: Path, path: str) -> None:
    found = listed(recording, "--path", path)
    assert [(stamp, event) for stamp, _, event in found] == [
        (150, "OpEnter"), (150, "OpArgs"), (160, "Call"), (170, "Acquire"), (180, "Miss"), (240, "Return"),
        (250, "OpExit"),
    ]  # fmt: skip


def test_a_process_has_its_requests(recording: Path) -> None:
    assert on(recording, "--pid", "70") == {0}
    assert max(listed(recording, "--pid", "70"))[0] == 200
    assert on(recording, "--pid", "70", "--path", "/d/b") == set()
    assert listed(recording, "--pid", "70", "--class", "Lock") == [(120, 0, "Acquire")]


def test_reports_see_the_filter_too(recording: Path) -> None:
    (row,) = said("locks", recording, "--pid", "71")["objects"]
    assert row["class_name"] == "DirObject /d/b.dirlock"
    assert {row["client_pid"] for row in said("time", recording, "--pid", "70")["bills"]} == {70}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--vp", "1-"), "is no list of numbers"),
        (("--vp", "5-2"), "is no range"),
        (("--class", "Fuze"), "there is no class 'Fuze': Fuse?"),
        (("--object", "0xzz"), "'0xzz' is no hexadecimal number"),
        (("--pid", "-5"), "-5 is not in the range"),
        (("--from", "nan"), "'nan' is no time"),
        (("--from", "inf"), "'inf' is no time"),
        (("--to", "nan"), "'nan' is no time"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(
    recording: Path, options: tuple[str, str], sentence: str
) -> None:
    for command in ("list", "calls", "kmon"):
        result = run(command, recording, *options)
        assert (result.exit_code, result.exception.__class__) == (2, SystemExit)
        assert sentence in result.stderr


def test_a_processor_that_is_not_in_it_is_named(recording: Path) -> None:
    result = run("list", recording, "--vp", "9")
    assert result.exit_code == 1
    assert "processor 9 recorded nothing" in result.stderr


@pytest.mark.parametrize("until", ["inf", "1e300", "1e18"])
def test_a_time_after_the_end_is_the_end(recording: Path, until: str) -> None:
    assert listed(recording, "--to", until) == listed(recording)
    assert said("time", recording, "--to", until) == said("time", recording)


def test_classes_are_known_whatever_their_capitals(recording: Path) -> None:
    assert listed(recording, "--class", "lock,FUSE") == listed(recording, "--class", "Lock,Fuse")


@pytest.mark.parametrize(
    "options", [("--from", "5", "--to", "1"), ("--object", "0xe1"), ("--pid", "999"), ("--from", "1e300")]
)
@pytest.mark.parametrize("command", ["list", "calls", "locks", "requests"])
def test_it_is_said_that_nothing_matches(recording: Path, command: str, options: tuple[str, ...]) -> None:
    result = run(command, recording, *options)
    assert result.exit_code == 0
    assert "no event matches; the recording lasts 0.510000 s" in result.stderr
    assert "no event matches" not in run(command, recording).stderr


def test_pictures_and_exports_of_nothing_say_so(recording: Path, tmp_path: Path) -> None:
    for words in (("kmon", "--svg"), ("export", "--chrome", "-o")):
        result = run(*words, tmp_path / "out", recording, "--from", "5")
        assert "no event matches" in result.stderr
        assert "no event matches" not in run(*words, tmp_path / "out", recording).stderr


def test_time_of_a_process_is_filtered_in_every_table(recording: Path) -> None:
    about = said("time", recording, "--pid", "70")
    assert {row["client_pid"] for row in about["bills"]} == {70}
    assert 71 not in {row["pid"] for row in about["processes"]}
    whole = said("time", recording)["processors"]
    assert sum(row["cycles"] for row in about["processors"]) < sum(row["cycles"] for row in whole)
    assert run("time", recording, "--class", "Lock").exit_code == 2


@pytest.fixture
def renamed(tmp_path: Path) -> Path:
    """Ref 7 is /out.tmp, called /out from 300 on; it goes at 500, and 7 is /next from 600 on.

    Its lock is waited for at 100, 400 and 700.
    """
    trace = HandTrace(tmp_path / "t", ticks_per_second=1000)
    for at, name in ((0, "/out.tmp"), (300, "/out"), (600, "/next")):
        trace.event(0, at, "clust_obj_object_name", A, "ServerFile", name)
        if at != 300:
            trace.event(0, at, "lock_lock_name", LOCK + at, A, "lock", "BLock")
    trace.event(0, 0, "cache_line_name", LINE, 0, 128, "ServerFile /out.tmp", "lock")
    trace.event(0, 0, "control_traced_start")
    for at in (100, 400, 700):
        lock = LOCK + 600 * (at > 500)
        trace.event(0, at, "lock_contend_block", lock, 0, 5, "a.py:1 f", 0, 0, 0, -1)
        trace.event(0, at + 5, "lock_acquire", lock, 1, "a.py:1 f", 5, 1, "a.py:2 g")
        if at < 500:
            trace.event(0, at + 9, "cache_miss", LINE, 0, 0, 0, -1, 9, "a.py:2 f")
        if at == 400:
            trace.event(0, 500, "clust_obj_dealloc", A, 0)
    return trace.close()


@pytest.mark.parametrize("name", ["/out.tmp", "/out", "ServerFile /out"])
def test_an_object_is_found_by_any_name_it_ever_had(renamed: Path, name: str) -> None:
    seen = listed(renamed, "--object", name)
    assert [at for at, _, event in seen if event == "Acquire"] == [105, 405]
    assert [at for at, _, event in seen if event == "Miss"] == [109, 409]


def test_the_next_object_of_a_ref_has_names_of_its_own(renamed: Path) -> None:
    seen = listed(renamed, "--object", "/next")
    assert [at for at, _, event in seen if event == "Acquire"] == [705]


def test_a_renamed_object_is_called_by_one_name_throughout(renamed: Path) -> None:
    assert {row["object"]: row["contentions"] for row in said("locks", renamed)["objects"]} == {
        "ServerFile /out": 2,
        "ServerFile /next": 1,
    }
    (chain,) = said("locks", "--chains", renamed)["chains"]
    assert chain["locks"].keys() == {"ServerFile /out.lock", "ServerFile /next.lock"}


def test_a_path_finds_the_requests_on_an_object_by_any_of_its_names(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t", ticks_per_second=1000)
    for at, name in ((0, "/out.tmp"), (300, "/out")):
        trace.event(0, at, "clust_obj_object_name", A, "ServerFile", name)
    for at in (100, 400):
        request(trace, 0, at, at + 50, at, LOOKUP, 1, 70)
        call(trace, 0, at + 10, at + 20, A, 1, at)
    trace.close()
    for name in ("/out.tmp", "/out"):
        assert [at for at, _, event in listed(tmp_path / "t", "--path", name) if event == "OpEnter"] == [
            100,
            400,
        ]
