"""The commands of `k42fs trace`: every one survives every recording, in every form, and says what was lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from k42fs.cli.trace import COMMANDS
from tests.machine.tracing.lab import HandTrace
from tests.report.lab import call, request, run
from tests.report.test_listing import everything

REPORTS = sorted(name for name, module in COMMANDS.items() if module == "k42fs.cli.trace_reports")
FORMS = ("text", "json", "csv")


def arguments(command: str, recording: Path) -> list[str | Path]:
    return [command, recording, *([recording] if command == "diff" else [])]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    trace = HandTrace(tmp_path / "t")
    request(trace, 0, 10, 90, 1, 1, 1, 7)
    call(trace, 0, 20, 80, 7, 1, 1)
    return trace.close()


def test_every_report_is_a_command() -> None:
    assert len(REPORTS) == 10
    for command in REPORTS:
        result = run(command, "--help")
        assert result.exit_code == 0
        assert ("--object" in result.output) == (command != "time")
        assert "--pid" in result.output


@pytest.mark.parametrize("command", REPORTS)
@pytest.mark.parametrize("form", FORMS)
def test_every_report_has_every_form(recording: Path, command: str, form: str) -> None:
    result = run(*arguments(command, recording), "--format", form)
    assert result.exit_code == 0, result.output
    if form == "json":
        objects = result.stdout.splitlines() if command == "list" else [result.stdout]
        assert all(map(json.loads, objects))


@pytest.mark.parametrize("command", REPORTS)
def test_an_empty_recording_has_an_empty_report(tmp_path: Path, command: str) -> None:
    HandTrace(tmp_path / "t").close()
    result = run(*arguments(command, tmp_path / "t"))
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("command", REPORTS)
def test_of_a_damaged_recording_the_rest_is_reported_and_the_status_is_1(
    recording: Path, command: str
) -> None:
    with (recording / "cpu0").open("ab") as file:
        file.write(b"torn")
    result = run(*arguments(command, recording))
    assert (result.exit_code, result.exception.__class__) == (1, SystemExit)
    assert "4 bytes at the ends of files are no whole packet" in result.stderr
    assert result.stdout


@pytest.mark.parametrize("command", REPORTS)
def test_what_is_no_recording_is_refused(tmp_path: Path, command: str) -> None:
    result = run(*arguments(command, tmp_path / "none"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("k42fs: ")


def test_only_one_kind_of_calls_at_a_time(recording: Path) -> None:
    result = run("calls", "-c", "--tree", recording)
    assert result.exit_code == 1
    assert "only one" in result.stderr


@pytest.mark.parametrize("seed", range(4))
def test_values_that_make_no_sense_are_reported_all_the_same(tmp_path: Path, seed: int) -> None:
    """What bits were flipped to cannot be seen: numbers may be anything."""
    recording = everything(tmp_path / "t", seed=seed)
    for command in REPORTS:
        for extra in VARIANTS.get(command, [[]]):
            result = run(*arguments(command, recording), *extra)
            assert result.exception is None or isinstance(result.exception, SystemExit), (command, extra)
            assert "Traceback" not in result.output


VARIANTS: dict[str, list[list[str]]] = {
    "calls": [[], ["-c"], ["--hist"], ["--tree"]],
    "requests": [[], ["--log"], ["--hist"]],
    "locks": [[], ["--objects"], ["--chains"]],
    "list": [[], ["--definitions"], ["--format", "json"]],
}


def test_a_reader_who_has_seen_enough_ends_it_quietly(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t")
    for at in range(20_000):
        trace.event(0, at, "fs_ramfs_mkdir", at, "name")
    trace.close()
    command = [sys.executable, "-m", "k42fs.cli.main", "trace", "list", str(tmp_path / "t")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as listing:
        assert listing.stdout is not None
        assert listing.stderr is not None
        assert listing.stdout.readline().startswith(b"   0.000000000    0 TRACE_FS_RAMFS_MKDIR")
        listing.stdout.close()
        assert listing.stderr.read() == b""
        assert listing.wait(timeout=60) == 0


@pytest.mark.parametrize("command", REPORTS)
def test_forms_have_short_names(recording: Path, command: str) -> None:
    for form in ("json", "csv"):
        long = run(*arguments(command, recording), "--format", form)
        assert run(*arguments(command, recording), f"--{form}").stdout == long.stdout
    both = run(*arguments(command, recording), "--json", "--csv")
    assert both.exit_code == 2
    assert "one form at a time: csv or json" in both.stderr


def test_csv_is_one_table(recording: Path) -> None:
    first = run("requests", recording, "--csv").stdout
    assert "\n\n" not in first
    slowest = run("requests", recording, "--csv", "--table", "slowest").stdout
    assert slowest.startswith("unique,request,")
    assert list(json.loads(run("requests", recording, "--json", "--table", "slowest").stdout)) == [
        "slowest",
        "lost",
        "notes",
    ]
    wrong = run("requests", recording, "--csv", "--table", "none")
    assert wrong.exit_code == 2
    assert "there is no table 'none': cycles, slowest, requests" in wrong.stderr


def test_output_that_is_full_is_said_in_words(recording: Path) -> None:
    for words in (["list"], ["calls"], ["export", "--chrome", "-o", "-"]):
        command = [sys.executable, "-m", "k42fs.cli.main", "trace", *words, str(recording)]
        with open("/dev/full", "wb") as full:
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
        assert done.returncode == 1
        assert done.stderr == b"k42fs: standard output: No space left on device\n"


def test_a_report_says_when_what_it_needs_was_not_recorded(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t")
    trace.event(0, 1, "control_trace_mask", 1 << 3 | 1 << 16)
    trace.close()
    assert "nothing of class Cache was recorded, only Lock,Control" in run("c2c", tmp_path / "t").stderr
    assert "was recorded" not in run("locks", tmp_path / "t").stderr
