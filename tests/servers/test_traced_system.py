"""A whole system recorded: nothing changes, one seed gives one recording, every reader understands it."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from k42fs.cli.main import cli
from k42fs.machine import cores
from k42fs.machine.tracing.mask import CACHE, CLUST_OBJ, FS, LOCK, all_classes
from k42fs.machine.tracing.packets import NAMES_CPU
from tests.machine.tracing.lab import read, strings
from tests.machine.tracing.test_babeltrace import babeltrace, ours
from tests.report.lab import source
from tests.report.storm import same_files
from tests.servers.workload import PROCESSORS, Run

REPORTS = (
    ("list",), ("calls",), ("calls", "-c"), ("calls", "--hist"), ("time",), ("locks",), ("c2c",), ("sharing",),
    ("swaps",), ("generations",), ("fsck",),
)  # fmt: skip


def recorded(to: Path | None, mask: int = 0, seed: int = 3) -> tuple[Run, str]:
    """Run the workload, recorded if there is a directory for it; return it and all it counted."""
    run = Run(seed)
    machine = run.system.machine
    if to is not None:
        machine.tracer.start(to, mask or all_classes())
    counted = json.dumps(run.run())
    machine.close()
    return run, counted


@pytest.fixture(scope="module")
def storm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    directory = tmp_path_factory.mktemp("storm") / "t"
    run, _ = recorded(directory)
    return directory, run


@pytest.mark.parametrize("core", [cores.PURE, cores.COMPILED])
@pytest.mark.parametrize("mask", [0, LOCK, CACHE, CLUST_OBJ | FS])
def test_recording_a_system_changes_nothing(
    core: str, mask: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if core == cores.COMPILED:
        pytest.importorskip("k42fs.machine.fast_threads", exc_type=ImportError)
    monkeypatch.setenv(cores.VARIABLE, core)
    assert recorded(None)[1] == recorded(tmp_path / "t", mask)[1]


def test_inodes_that_processors_fight_over_are_called_by_their_path(storm: tuple[Path, Run]) -> None:
    lines = source(storm[0]).names.lines.values()
    labels = {each.object for fields in lines for each in fields.values() if each.object.startswith("inode ")}
    assert any(label.startswith("inode /") for label in labels)
    assert "inode inode" not in " ".join(labels)


def test_what_is_off_is_never_emitted() -> None:
    class Raises:
        def __getattr__(self, name: str) -> Any:  # noqa: ANN401
            raise AssertionError(f"{name} is emitted, but everything is off")

    run = Run(3)
    for proc in run.system.machine.processors:
        proc.emit = Raises()  # type: ignore[assignment]
    run.run()


def test_one_seed_gives_one_recording_to_the_byte_on_either_core(
    storm: tuple[Path, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("k42fs.machine.fast_threads", exc_type=ImportError)
    for core in (cores.PURE, cores.COMPILED):
        monkeypatch.setenv(cores.VARIABLE, core)
        recorded(tmp_path / core)
        assert same_files(storm[0], tmp_path / core)


@pytest.mark.parametrize("words", REPORTS, ids=" ".join)
def test_every_reader_understands_it(storm: tuple[Path, Run], words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, ["trace", words[0], str(storm[0]), *words[1:]])
    assert result.exit_code == 0, result.output
    assert result.stdout.strip()


def test_every_picture_and_export_of_it_is_made(storm: tuple[Path, Run], tmp_path: Path) -> None:
    for format_ in ("chrome", "perfetto", "ftrace", "speedscope"):
        out = tmp_path / format_
        result = CliRunner().invoke(cli, ["trace", "export", str(storm[0]), f"--{format_}", "-o", str(out)])
        assert result.exit_code == 0, result.output
        assert out.stat().st_size > 10_000
    result = CliRunner().invoke(cli, ["trace", "kmon", str(storm[0]), "--html", str(tmp_path / "kmon")])
    assert result.exit_code == 0, result.output


@pytest.mark.skipif(shutil.which("babeltrace2") is None, reason="babeltrace2 is not installed")
def test_the_stock_reader_lists_the_same_events(storm: tuple[Path, Run]) -> None:
    listed, complaints = babeltrace(storm[0])
    assert not complaints
    # It puts a backslash before an apostrophe.
    plain = Counter(
        (*where, tuple((name, value.replace("\\'", "'")) for name, value in fields))
        for *where, fields in listed
    )
    assert plain == Counter(ours(storm[0]))
    result = CliRunner().invoke(cli, ["trace", "list", str(storm[0])])
    assert len(result.stdout.splitlines()) == sum(cpu != NAMES_CPU for cpu, *_ in listed)


def test_every_call_of_an_object_returns_on_its_processor(storm: tuple[Path, Run]) -> None:
    calls: Counter[tuple[int, int, int]] = Counter()
    returns: Counter[tuple[int, int, int]] = Counter()
    for cpu, seen in read(storm[0]).items():
        for _, _, what, values in seen:
            if what in ("clust_obj_call", "clust_obj_return"):
                key = (cpu, int(str(values[0])), int(str(values[-1])))
                (calls if what == "clust_obj_call" else returns)[key] += 1
    assert sum(calls.values()) > 100
    assert calls == returns
    assert set(calls.values()) == {1}


def test_everything_seen_has_a_name(storm: tuple[Path, Run]) -> None:
    """Objects, methods, locks, lines, sites, threads, strings: whatever an event says by number."""
    directory, _ = storm
    seen = read(directory)
    text = strings(seen[NAMES_CPU])
    names = source(directory).names
    missing = Counter[str]()
    for cpu in range(PROCESSORS):
        for _, stamp, what, values in seen[cpu]:
            numbers: Any = values
            if what == "clust_obj_call":
                missing["object"] += names.objects.at(numbers[0], stamp) is None
                missing["method"] += numbers[1] not in names.methods
            elif what == "lock_acquire":
                missing["lock"] += names.locks.at(numbers[0], stamp) is None
                missing["site"] += numbers[2] not in names.sites
            elif what == "cache_miss":
                if numbers[1] >= 2 or numbers[4] != -1:  # it concerns others
                    missing["line"] += numbers[0] not in names.lines
                missing["site"] += numbers[6] not in names.sites
            elif what == "scheduler_cur_thread":
                missing["thread"] += names.threads.at(numbers[0], stamp) is None
            elif what == "fs_ramfs_mkdir":
                missing["string"] += numbers[1] not in text
    assert set(missing) >= {"object", "method", "lock", "line", "site", "thread"}
    assert not +missing, missing


def test_markers_are_told_from_their_setting_to_their_end_and_each_round_of_the_token(
    storm: tuple[Path, Run],
) -> None:
    directory, run = storm
    names = ("clust_obj_mark_set", "clust_obj_mark_active", "clust_obj_mark_elapsed")
    rounds = 0
    ended = Counter[str]()
    for cpu, seen in read(directory).items():
        state: dict[int, str] = {}
        for _, _, what, values in seen:
            rounds += what == "clust_obj_global_cnt"
            if what in names:
                marker = int(str(values[0]))
                assert marker >> 48 == cpu
                assert what == names[0] or marker in state, "a marker is asked for that was never set"
                assert not (what == names[1] and state[marker] == names[2]), "it had elapsed"
                state[marker] = what
        ended.update(state.values())
    assert rounds == run.system.object_statistics()["token_rounds"] > 0
    assert ended["clust_obj_mark_elapsed"] > 3
