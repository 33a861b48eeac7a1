"""`k42fs trace kmon`, `export`, `fsck` and `parse`, as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from k42fs.machine.tracing.packets import PACKET_BYTES
from k42fs.machine.tracing.packing import pack
from k42fs.machine.tracing.schema import load
from tests.machine.tracing.lab import HandTrace
from tests.report.lab import call, request, run

WAYS = {"chrome": "json", "perfetto": "pftrace", "ftrace": "txt", "speedscope": "speedscope.json"}


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    trace = HandTrace(tmp_path / "t")
    request(trace, 0, 10, 90, 1, 1, 1, 7)
    call(trace, 0, 20, 80, 7, 1, 1)
    return trace.close()


def tear(recording: Path) -> None:
    with (recording / "cpu0").open("ab") as file:
        file.write(b"torn")


def test_kmon_writes_a_page_with_what_each_event_says(recording: Path) -> None:
    result = run("kmon", recording)
    assert result.exit_code == 0, result.output
    page = Path("kmon.html").read_text()
    assert result.stdout == f"kmon.html: {len(page.encode()):,} bytes\n"
    assert '"level":"text"' in page
    assert "http" not in page.replace("http://www.w3.org/", "")


def test_kmon_draws_to_standard_output(recording: Path) -> None:
    result = run("kmon", recording, "--svg", "-")
    assert result.stdout.startswith("<svg ")
    assert not Path("kmon.html").exists()


@pytest.mark.parametrize("way", WAYS)
def test_each_export_has_a_file_of_its_own(recording: Path, way: str) -> None:
    result = run("export", recording, f"--{way}")
    assert result.exit_code == 0, result.output
    assert Path(f"t.{WAYS[way]}").stat().st_size
    assert [each.name for each in Path().iterdir() if each.name.startswith(".")] == []


@pytest.mark.parametrize("words", [["kmon"], ["export", "--chrome"], ["export", "--speedscope"]])
def test_pictures_of_a_damaged_recording_are_made_and_the_status_is_1(
    recording: Path, words: list[str]
) -> None:
    tear(recording)
    result = run(*words, recording)
    assert (result.exit_code, result.exception.__class__) == (1, SystemExit)
    assert "ends within a packet" in result.stderr
    assert list(Path().glob("*.html")) + list(Path().glob("*json"))


@pytest.mark.parametrize("words", [["kmon"], ["export", "--perfetto"], ["fsck"]])
def test_what_is_no_recording_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "x").write_text("something else")
    result = run(*words, tmp_path / "foreign")
    assert result.exit_code == 1
    assert "holds no recording" in result.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["foreign"]


def test_an_export_that_cannot_be_written_leaves_what_was_there(recording: Path) -> None:
    Path("out").write_text("before")
    result = run("export", recording, "--chrome", "-o", "missing/out")
    assert result.exit_code == 1
    assert "No such file" in result.stderr
    assert Path("out").read_text() == "before"


def test_export_wants_to_know_for_whom(recording: Path) -> None:
    result = run("export", recording)
    assert result.exit_code == 2
    assert "--chrome" in result.output


def test_fsck_finds_nothing_in_a_sound_recording(recording: Path) -> None:
    result = run("fsck", recording)
    assert result.exit_code == 0
    assert result.stdout.endswith("no damage\n")


def test_fsck_repairs_into_a_new_directory(recording: Path) -> None:
    tear(recording)
    result = run("fsck", recording, "--repair", "new", "--json")
    assert result.exit_code == 1
    about = json.loads(result.stdout)
    assert [each["problem"] for each in about["findings"]] == ["torn: 4 bytes are no whole packet"]
    assert (Path("new") / "cpu0").stat().st_size == PACKET_BYTES
    assert run("fsck", "new").exit_code == 0
    assert run("fsck", recording, "--repair", "new").exit_code == 1


def test_parse_takes_k42s_own_word_apart() -> None:
    result = run("parse", "0x1234567803238035", "--json")
    assert result.exit_code == 0
    about = json.loads(result.stdout)
    assert {
        key: about[key] for key in ("stamp", "length", "layer_name", "class", "minor", "event", "constant")
    } == {
        "stamp": 0x12345678,
        "length": 3,
        "layer_name": "OS",
        "class": "FS",
        "minor": 53,
        "event": "OS::FS::RamfsMkdir",
        "constant": "TRACE_FS_RAMFS_MKDIR",
    }


def test_parse_shows_what_the_words_of_an_event_say() -> None:
    words = pack(load().by_attribute["lock_acquire"], 5, (0xAA0, 3, 1, 40, -1, 2))
    result = run("parse", *map(hex, words))
    assert "values   lock 0xaa0 kind write site site#1 waited 40 from_vp -1 holder site#2\n" in result.stdout


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["0"], "no event has layer 0, class 0, minor 0"),
        (["0x123456780323bfff"], "no event has layer 2, class 14, minor 16383"),
        (["0x1234567809238035"], "RamfsMkdir is 3 words long, not 9"),
        (["0x1234567803238035", "1"], "has 2 words after this one, not 1"),
        (["0x1ffffffffffffffff"], "no word of 64 bits"),
        (["word"], "'word' is no number"),
    ],
)
def test_parse_refuses_what_no_event_begins_with(words: list[str], problem: str) -> None:
    result = run("parse", *words)
    assert result.exit_code == 1
    assert problem in result.stderr


def test_one_viewer_at_a_time(tmp_path: Path) -> None:
    HandTrace(tmp_path / "t").close()
    result = run("export", "--chrome", "--ftrace", "-o", tmp_path / "out", tmp_path / "t")
    assert result.exit_code == 2
    assert "one viewer at a time" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_picture_that_cannot_be_written_is_called_by_its_own_name(tmp_path: Path) -> None:
    HandTrace(tmp_path / "t").close()
    result = run("kmon", "--svg", tmp_path / "none" / "x.svg", tmp_path / "t")
    assert result.exit_code == 1
    assert result.stderr == f"k42fs: {tmp_path / 'none' / 'x.svg'}: No such file or directory\n"
