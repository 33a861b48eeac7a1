"""`k42fs trace run` on real mounts: what a command did is recorded, and every reader takes it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.report.trace_processor import bundle, queried

from .mounting import K42Mount, k42fs
from .recording import (
    READERS,
    check_pairs,
    check_readable,
    command,
    environment,
    events,
    in_directory,
    project,
    report,
    status_of,
)
from .support import eventually, names, write


@pytest.fixture
def mount(new_mount: Callable[..., K42Mount]) -> Iterator[K42Mount]:
    mount = new_mount("model=full,processors=8")
    yield mount
    mount.stop()


def test_a_parallel_build_is_recorded_and_every_reader_takes_it(mount: K42Mount, tmp_path: Path) -> None:
    top = mount.path / "top"
    project(top)
    said = in_directory(top, "trace", "run", "-o", tmp_path / "t", "--", "make", "-j8")
    assert (top / "whole").stat().st_size == 40 * 700
    assert "next: k42fs trace calls -c" in said
    check_pairs(tmp_path / "t")
    count = check_readable(tmp_path / "t")
    status = status_of(mount)
    seen = events(tmp_path / "t")
    assert status["events"] == count == len(seen)
    assert status["requests"] == sum(name == "fuse_op_enter" for *_, name, _ in seen) > 300
    assert f"recorded {status['requests']:,} requests, {count:,} events" in said
    for words in READERS:
        assert report(*words, tmp_path / "t"), words
        form = "json" if words != ["list"] else "csv"
        assert report(*words, "--format", form, tmp_path / "t"), words
    billed = json.loads(report("time", "--format", "json", tmp_path / "t"))
    span = {row["cycles"] for row in billed["processors"]}
    assert len(span) == 1, "each processor's bills add up to the whole recording"
    assert sum(row["cycles"] for row in billed["bills"]) == 8 * span.pop()
    assert report("kmon", "--html", tmp_path / "k.html", tmp_path / "t")
    for way in ("chrome", "perfetto", "ftrace", "speedscope"):
        assert report("export", f"--{way}", "-o", tmp_path / way, tmp_path / "t")
    if bundle() is not None and shutil.which("node") is not None:
        for way in ("chrome", "perfetto", "ftrace"):
            ((slices,),) = queried(tmp_path / way, "select count(*) as n from slice")
            assert slices["n"] > 300
    assert report("diff", tmp_path / "t", tmp_path / "t")


@pytest.mark.parametrize(
    ("script", "status"), [("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137), ("true", 0)]
)
def test_the_exit_status_is_the_commands(mount: K42Mount, tmp_path: Path, script: str, status: int) -> None:
    said = in_directory(
        mount.path,
        "trace",
        "run",
        "-o",
        tmp_path / "t",
        "--",
        "sh",
        "-c",
        f"echo >x; {script}",
        status=status,
    )
    assert "recorded " in said
    assert status_of(mount)["mode"] == "off"
    assert "create" in {each["operation"] for each in log(tmp_path / "t")}


def log(directory: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(report("requests", "--format", "json", directory))["requests"]
    return rows


def test_only_what_happens_while_the_command_runs_is_recorded(mount: K42Mount, tmp_path: Path) -> None:
    write(mount.path / "before")
    done = k42fs(
        "trace", "run", "--mount", mount.path, "-o", tmp_path / "t", "--", "touch", mount.path / "during"
    )
    assert done.status == 0, done
    write(mount.path / "after")
    created = [each["arguments"] for each in log(tmp_path / "t") if each["operation"] == "create"]
    assert created == [["during"]]
    done = k42fs("trace", "run", "--mount", mount.path, "-o", tmp_path / "n", "--", "true")
    assert log(tmp_path / "n") == []
    assert "nothing was asked of the mount meanwhile" in done.errors


def test_a_recording_asked_for_in_the_mount_is_put_there_afterwards(mount: K42Mount) -> None:
    top = mount.path / "top"
    top.mkdir()
    said = in_directory(top, "trace", "run", "-o", "t", "--", "touch", "file")
    assert "k42fs trace calls -c t" in said
    assert names(top) == {b"file", b"t"}
    assert [each["operation"] for each in log(top / "t")].count("create") == 1
    check_readable(top / "t")
    assert "t is not empty" in in_directory(top, "trace", "run", "-o", "t", "--", "touch", "other", status=1)
    assert names(top) == {b"file", b"t"}


def test_a_recording_that_does_not_fit_into_the_mount_is_kept_outside(
    new_mount: Callable[..., K42Mount], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    mount = new_mount("model=full,processors=8,size=256k")
    said = in_directory(mount.path, "trace", "run", "-o", "t", "--", "touch", "file", status=1)
    (kept,) = tmp_path.iterdir()
    assert f"the recording is in {kept}" in said
    check_readable(kept)
    assert names(mount.path) == {b"file"}
    mount.stop()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_and_the_recording(
    mount: K42Mount, tmp_path: Path, number: signal.Signals
) -> None:
    script = "i=0; while :; do i=$((i+1)); echo >f$i; done"
    with open(tmp_path / "said", "wb") as said:
        process = subprocess.Popen(
            command("trace", "run", "-o", tmp_path / "t", "--", "sh", "-c", script),
            cwd=mount.path,
            env={**os.environ, **environment()},
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            eventually(lambda: len(names(mount.path)) > 20, "the command works")
            os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
            assert process.wait(20) == 128 + number
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert "recorded " in (tmp_path / "said").read_text()
    assert status_of(mount)["mode"] == "off"
    count = len(names(mount.path))
    time.sleep(0.3)
    assert len(names(mount.path)) == count, "the command has ended"
    check_pairs(tmp_path / "t")


def test_a_command_that_ignores_ctrl_c_goes_on_unrecorded_until_the_second(
    mount: K42Mount, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        command("trace", "run", "-o", tmp_path / "t", "--", "sh", "-c", "trap '' INT; echo >f; sleep 60"),
        cwd=mount.path,
        env={**os.environ, **environment()},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        eventually(lambda: names(mount.path) == {b"f"}, "the command works")
        os.killpg(process.pid, signal.SIGINT)
        eventually(lambda: bool(status_of(mount)["mode"] == "off"), "the recording ends")
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(20) == 128 + signal.SIGTERM
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    check_pairs(tmp_path / "t")


def test_a_second_recording_is_refused_and_harms_nothing(mount: K42Mount, tmp_path: Path) -> None:
    assert k42fs("trace", "start", "-o", tmp_path / "t", mount.path).status == 0
    done = k42fs("trace", "run", "--mount", mount.path, "-o", tmp_path / "u", "--", "touch", tmp_path / "ran")
    assert done.status == 1
    assert f"recording to {tmp_path / 't'}" in done.errors
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "u").exists()
    assert status_of(mount)["path"] == str(tmp_path / "t")
    done = k42fs("trace", "stop", mount.path)
    assert done.status == 0
    assert str(tmp_path / "t") in done.output
    assert k42fs("trace", "stop", mount.path).status == 1


def test_a_compressed_recording_is_read_as_it_is_and_by_others_after_the_way_back(
    mount: K42Mount, tmp_path: Path
) -> None:
    top = mount.path / "top"
    project(top)
    said = in_directory(top, "trace", "run", "--zstd", "-o", tmp_path / "t", "--", "make", "-j8")
    status = status_of(mount)
    assert status["zstd"]
    assert status["bytes_written"] == 512 * sum(each.stat().st_blocks for each in (tmp_path / "t").iterdir())
    assert f"{status['events']:,} events" in said
    listed = report("list", tmp_path / "t")
    assert len(listed.splitlines()) == status["events"]
    shown = {tuple(words): report(*words, tmp_path / "t") for words in READERS}
    assert report("kmon", "--html", tmp_path / "k.html", tmp_path / "t")
    assert report("export", "--chrome", "-o", tmp_path / "chrome", tmp_path / "t")
    assert "no damage" in report("fsck", tmp_path / "t")
    assert "decompressed" in report("unpack", tmp_path / "t")
    assert not list((tmp_path / "t").glob("*.zst"))
    assert check_readable(tmp_path / "t") == status["events"]
    for words, text in shown.items():
        assert report(*words, tmp_path / "t") == text, words
