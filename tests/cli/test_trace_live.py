"""What `k42fs trace start`, `run` and their like say; on real mounts they are in tests/mount/test_trace_run.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from k42fs.cli.main import cli
from k42fs.cli.trace_live import recorded
from k42fs.machine.tracing import mask as masks

STATUS: dict[str, Any] = {
    "requests": 1,
    "events": 1234,
    "seconds": 0.25,
    "bytes_written": 1 << 20,
    "failure": "",
    "discarded": 0,
}


def test_the_last_lines_say_how_much_it_is_and_what_reads_it() -> None:
    assert recorded(STATUS, masks.LOCK | masks.CONTROL | masks.FUSE, "my rec") == [
        "recorded 1 request, 1,234 events in 0.2 s: my rec (1M)",
        "next: k42fs trace locks 'my rec'; the same with requests, kmon",
    ]
    assert recorded(STATUS, masks.CONTROL, "t")[-1] == "next: k42fs trace kmon t"


def test_the_last_lines_say_what_is_missing() -> None:
    status = {**STATUS, "requests": 0, "failure": "recording ended: No space left on device", "discarded": 7}
    said = recorded(status, masks.FUSE, "t")
    assert "recording ended: No space left on device" in said
    assert "7 events discarded" in said
    assert "nothing was asked of the mount meanwhile" in said


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (
            ["run", "-o", "t", "--", "no-such-command-at-all"],
            127,
            "no-such-command-at-all: command not found",
        ),
        (["run", "-o", "t", "--", "/etc/passwd"], 126, "/etc/passwd: cannot be executed"),
        (["run", "-o", "t", "--", "true"], 1, "the current directory is in no k42fs mount"),
        (
            ["run", "--mount", "/", "-o", "t", "--", "true"],
            1,
            "/ is not in a k42fs mount: name one with --mount",
        ),
        (["run", "--mask", "nonsense", "-o", "t", "--", "true"], 1, "'nonsense' is neither"),
        (["run", "--mask", "none", "-o", "t", "--", "true"], 1, "nothing would be recorded"),
        (["run", "--", "true"], 2, "Missing option '-o'"),
        (["run", "-o", "t"], 2, "Missing argument"),
        (["start", "-o", "t", "/"], 1, "/ is not in a k42fs mount"),
        (["stop", "/"], 1, "/ is not in a k42fs mount"),
        (["mask"], 2, "Missing argument 'MNT'"),
        (["dump", "/"], 2, "Missing option '-o'"),
    ],
)
def test_what_cannot_be_is_one_line_and_records_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], status: int, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["trace", *words], prog_name="k42fs")
    assert done.exit_code == status
    (line,) = done.stderr.splitlines()
    assert line.startswith("k42fs: ")
    assert said in line
    assert not list(tmp_path.iterdir())
