"""Recordings in zstd: read as they are, whatever was done to them; changed where they lie, or not at all."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k42fs.machine.tracing.frames import BODY_AT, HEAD_AT, SUFFIX, pieces
from k42fs.machine.tracing.mask import LOCK
from k42fs.machine.tracing.packets import DISCARDED_AT
from k42fs.machine.tracing.recordings import PARTS
from k42fs.report.packing import pack, unpack
from k42fs.report.reader import Trace, TraceError
from tests.machine.tracing.test_babeltrace import babeltrace
from tests.machine.tracing.test_tracer import FullDisk, lab, work
from tests.report.lab import run
from tests.report.test_fsck import NEEDS_BABELTRACE, problems, recording, records

PACKETS = 4
PER_PACKET = 80


def packed(directory: Path) -> Path:
    """Return a compressed recording of two processors, four packets each, and names."""
    pack(recording(directory))
    return directory


def contents(directory: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in directory.iterdir()}


def starts(file: Path) -> list[int]:
    with file.open("rb") as source:
        return [at for at, _ in pieces(source)]


def flip(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 0x10
    file.write_bytes(data)


def test_there_and_back_again_is_the_same_to_the_byte(tmp_path: Path) -> None:
    before = contents(recording(tmp_path / "t"))
    whole = records(tmp_path / "t")
    said = run("pack", tmp_path / "t")
    assert (said.exit_code, "compressed, " in said.output) == (0, True)
    assert sorted(contents(tmp_path / "t")) == ["cpu0.zst", "cpu1.zst", "metadata", "names.zst"]
    assert records(tmp_path / "t") == whole
    assert problems(tmp_path / "t") == []
    assert "already" in run("pack", tmp_path / "t").output
    said = run("unpack", tmp_path / "t")
    assert (said.exit_code, "decompressed, " in said.output) == (0, True)
    assert contents(tmp_path / "t") == before


@pytest.mark.parametrize("limit", [0, PARTS << 16])
@NEEDS_BABELTRACE
def test_what_was_recorded_compressed_is_listed_by_babeltrace2_after_unpack(
    tmp_path: Path, limit: int
) -> None:
    tracer, cpus = lab(1)
    tracer.start(tmp_path / "t", LOCK, limit, zstd=True)
    work(tracer, cpus, 200_000)
    lost = tracer.stop().discarded
    trace = Trace(tmp_path / "t")
    assert sum(trace.discarded.values()) == lost
    assert bool(lost) == bool(limit)
    events = records(tmp_path / "t")
    unpack(tmp_path / "t")
    listed, complaints = babeltrace(tmp_path / "t")
    mine = [each for each in listed if each[0] == 0]
    assert [(stamp, cpu) for cpu, stamp, _, _ in mine] == [each[:2] for each in events]
    assert (f"discarded {lost} events" in complaints.replace("Tracer ", "")) == bool(lost)
    assert bool(complaints) == bool(lost)


def test_one_that_a_full_disk_ended_says_how_much_is_not_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    tracer, cpus = lab()
    tracer.start(tmp_path / "t", LOCK, 0, zstd=True)
    tracer.drain(everything=True)
    monkeypatch.setattr(os, "write", FullDisk(1 << 17))
    work(tracer, cpus, 60_000)
    status = tracer.status()
    trace = Trace(tmp_path / "t")
    assert trace.loss.sentences() == [
        f"{status.discarded:,} events were discarded while recording",
        "the recording ended early: No space left on device",
    ]


Damage = Callable[[Path], None]


def _of_third(at: int) -> Damage:
    return lambda file: flip(file, starts(file)[2] + at)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: starts(file)[3] + BODY_AT + 20])


def _cut_at_the_head(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: starts(file)[3] + 50])


def _append(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"junk")


def _hole(file: Path) -> None:
    at = starts(file)
    data = file.read_bytes()
    file.write_bytes(data[: at[1]] + data[at[2] :])


DAMAGES: dict[str, tuple[Damage, int]] = {
    "its body": (_of_third(BODY_AT + 40), 1),
    "its mark": (_of_third(2), 1),
    "the mark of the first": (lambda file: flip(file, 3), 1),
    "the mark of the last": (lambda file: flip(file, starts(file)[3] + 2), 1),
    "its body's frame": (_of_third(BODY_AT + 1), 1),
    "its number of bytes": (_of_third(BODY_AT + 5), 1),
    "its head's size": (_of_third(HEAD_AT + 48 + 7), 1),
    "truncated": (_cut, 1),
    "truncated in a head": (_cut_at_the_head, 1),
    "longer": (_append, 0),
    "a packet cut out": (_hole, 1),
}
"""What is done to a file, and how many packets that costs."""


@pytest.mark.parametrize("damage", DAMAGES)
def test_of_a_damaged_file_all_other_packets_are_read_and_it_is_said(tmp_path: Path, damage: str) -> None:
    whole = len(records(packed(tmp_path / "t")))
    make, lost = DAMAGES[damage]
    make(tmp_path / "t" / "cpu1.zst")
    listed = run("list", tmp_path / "t")
    assert listed.exit_code == 1
    assert "cpu1.zst" in listed.stderr or "missing" in listed.stderr
    assert len(listed.stdout.splitlines()) >= whole - PER_PACKET * lost - 1
    before = contents(tmp_path / "t")
    if damage in ("a packet cut out", "its head's size"):  # as it would be in a plain file
        assert run("unpack", tmp_path / "t").exit_code == 0
    else:
        refused = run("unpack", tmp_path / "t")
        assert (refused.exit_code, "fsck --repair" in refused.output) == (1, True)
        assert contents(tmp_path / "t") == before
    assert run("fsck", tmp_path / "t").exit_code == 1
    mended = run("fsck", "--repair", tmp_path / "new", tmp_path / "t")
    assert "Traceback" not in mended.output
    assert not list((tmp_path / "new").glob("*" + SUFFIX))
    assert problems(tmp_path / "new") == []
    if shutil.which("babeltrace2"):
        subprocess.run(["babeltrace2", tmp_path / "new"], check=True, capture_output=True, timeout=60)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["cpu0.zst", "names.zst"]),
    st.lists(st.floats(0, 0.9999), min_size=1, max_size=4),
    st.floats(0.01, 1),
)
def test_whatever_bits_flip_and_wherever_it_ends_nothing_raises_and_time_goes_forward(
    tmp_path_factory: pytest.TempPathFactory, name: str, spots: list[float], end: float
) -> None:
    directory = packed(tmp_path_factory.mktemp("flipped") / "t")
    file = directory / name
    data = bytearray(file.read_bytes())
    for spot in spots:
        data[int(spot * len(data))] ^= 1 << int(spot * 1e6) % 8
    file.write_bytes(data[: int(end * len(data)) + 1])
    found = [each[:2] for each in records(directory)]
    for cpu in (0, 1):
        times = [time for time, each in found if each == cpu]
        assert times == sorted(times)
    assert sum(cpu == 1 for _, cpu in found) == PACKETS * PER_PACKET + 1
    assert run("list", directory).exit_code in (0, 1)
    problems(directory)
    shutil.rmtree(directory)


def test_a_file_that_something_else_compressed_is_counted_and_not_decompressed(tmp_path: Path) -> None:
    import zstandard

    directory = recording(tmp_path / "t")
    plain = (directory / "cpu1").read_bytes()
    (directory / "cpu1").unlink()
    (directory / "cpu1.zst").write_bytes(zstandard.ZstdCompressor().compress(plain))
    listed = run("list", directory)
    assert (listed.exit_code, "cpu1.zst ends within a packet" in listed.stderr) == (1, True)


def test_of_a_file_in_both_forms_one_is_read(tmp_path: Path) -> None:
    """As when somebody is interrupted between making the new file and taking the old one away."""
    directory = recording(tmp_path / "t")
    whole, plain = records(directory), (directory / "cpu0").read_bytes()
    pack(directory)
    (directory / "cpu0").write_bytes(plain)
    assert records(directory) == whole
    assert problems(directory) == []


def test_nobody_changes_what_is_being_recorded(tmp_path: Path) -> None:
    tracer, cpus = lab()
    tracer.start(tmp_path / "t", LOCK, zstd=True)
    work(tracer, cpus, 1000)
    tracer.drain(everything=True)
    before = contents(tmp_path / "t")
    for change in (pack, unpack):
        with pytest.raises(TraceError, match="being recorded to"):
            change(tmp_path / "t")
    assert contents(tmp_path / "t") == before
    tracer.stop()
    assert unpack(tmp_path / "t")


def test_what_cannot_be_written_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = packed(tmp_path / "t")
    before = contents(directory)
    opened = Path.open

    def refuse(self: Path, mode: str = "r", buffering: int = -1) -> object:
        if mode == "wb" and "cpu1" in self.name:
            raise OSError(28, "No space left on device", str(self))
        return opened(self, mode, buffering)

    monkeypatch.setattr(Path, "open", refuse)
    said = run("unpack", directory)
    assert (said.exit_code, "No space left" in said.output) == (1, True)
    monkeypatch.undo()
    assert contents(directory) == before


def test_discards_are_told_in_heads_without_decompressing(tmp_path: Path) -> None:
    tracer, cpus = lab(1)
    tracer.start(tmp_path / "t", LOCK, PARTS << 16, zstd=True)
    work(tracer, cpus, 200_000)
    lost = tracer.stop().discarded
    for file in (tmp_path / "t").glob("cpu0.[0-9]*.zst"):
        data = file.read_bytes()
        counts = {data[at + HEAD_AT + DISCARDED_AT :][:8] for at in starts(file)}
        assert counts == {lost.to_bytes(8, "little")}
