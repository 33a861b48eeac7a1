"""Exports of what a live mount did, read by the trace processor that the offline Perfetto UI bundles."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.trace_processor import NEEDED, queried

from .mounting import K42Mount, k42fs
from .recording import in_directory, project

SLICES = "select category, count(*) as count from slice group by category"
REQUESTS = "select name, count(*) as count from slice where category = 'Fuse' and dur > 0 group by name"
BACKWARDS = "select count(*) as count from slice where dur < -1"
RUNNING = "select count(*) as count from sched"


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory, module_mount: K42Mount) -> Path:
    """A parallel build, everything on."""
    directory = tmp_path_factory.mktemp("exports") / "t"
    project(module_mount.path / "top")
    in_directory(module_mount.path / "top", "trace", "run", "-o", directory, "--", "make", "-j8")
    return directory


@pytest.fixture(scope="module")
def module_mount(workshop: Path, warden: object) -> Iterator[K42Mount]:
    mount = K42Mount(workshop / "exports", warden, "model=full,processors=8")  # type: ignore[arg-type]
    mount.start()
    yield mount
    mount.stop()


def exported(recording: Path, way: str) -> Path:
    file = recording.with_name(f"t.{way}")
    done = k42fs("trace", "export", f"--{way}", "-o", file, recording)
    assert done.status == 0, done.errors
    return file


def counts(recording: Path) -> dict[str, int]:
    """Requests by operation, as our own report counts them."""
    done = k42fs("trace", "requests", "--format", "json", recording)
    return {row["operation"]: row["requests"] for row in json.loads(done.output)["wall"]}


@NEEDED
@pytest.mark.parametrize("way", ["chrome", "perfetto"])
def test_the_trace_processor_finds_no_error_and_every_request(recording: Path, way: str) -> None:
    by_category, requests, (backwards,) = queried(exported(recording, way), SLICES, REQUESTS, BACKWARDS)
    assert {row["category"] for row in by_category} >= {"Fuse", "ClustObj", "Lock"}
    assert backwards["count"] == 0
    assert {row["name"]: row["count"] for row in requests} == counts(recording)


@NEEDED
def test_the_trace_processor_reads_the_ftrace_text_without_an_error(recording: Path) -> None:
    ((running,),) = queried(exported(recording, "ftrace"), RUNNING)
    assert running["count"] > 100


def test_speedscope_has_a_profile_for_each_processor(recording: Path) -> None:
    made = json.loads(exported(recording, "speedscope").read_text())
    assert len(made["profiles"]) == 8
    frames = {frame["name"] for frame in made["shared"]["frames"]}
    assert any("DirObject" in name for name in frames)
