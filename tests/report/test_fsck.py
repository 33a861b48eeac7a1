"""fsck: any damage is found, and what it writes instead is taken whole by our reader and by babeltrace2."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k42fs.machine.tracing.mask import LOCK
from k42fs.machine.tracing.packets import HEAD_BYTES, PACKET_BYTES, ROOM_WORDS, decode_head
from k42fs.machine.tracing.recordings import PARTS
from k42fs.machine.tracing.tracer import Tracer
from k42fs.report.decode import Record
from k42fs.report.fsck import Check
from k42fs.report.fsck_repair import mend
from k42fs.report.reader import Trace, TraceError
from tests.machine.tracing.lab import Cpu, HandTrace

NEEDS_BABELTRACE = pytest.mark.skipif(shutil.which("babeltrace2") is None, reason="needs babeltrace2")
PACKETS = 4


def recording(directory: Path) -> Path:
    """Record two processors, four packets each, and names."""
    hand = HandTrace(
        directory, processors=2, ticks_per_second=1_000_000_000, env={"preset": 'a "quoted" name'}
    )
    for vp in range(2):
        hand.event(vp, 10, "control_ticks_per_second", 1_000_000_000)
        for packet in range(PACKETS):
            for index in range(40):
                at = 1000 * (40 * packet + index + 1)
                hand.event(vp, at, "fs_ramfs_mkdir", index, f"directory {index}")
                hand.event(vp, at + 1, "cache_counters", index, 2, 3, 4, 5, 6)
            hand.flush(vp)
    return hand.close()


def records(directory: Path) -> list[Record]:
    trace = Trace(directory)
    return [
        record for places in trace.streams.values() for piece in trace.records(places) for record in piece
    ]


def problems(directory: Path) -> list[str]:
    check = Check(directory)
    for _ in check.run():
        pass
    return list(map(str, check.findings))


def change(file: Path, offset: int, what: bytes) -> None:
    data = bytearray(file.read_bytes())
    data[offset : offset + len(what)] = what
    file.write_bytes(data)


def test_a_sound_recording_has_no_findings_and_is_copied_byte_for_byte(tmp_path: Path) -> None:
    source = recording(tmp_path / "t")
    assert problems(source) == []
    check = Check(source)
    mend(check, tmp_path / "new")
    assert (check.packets, check.events) == (2 * PACKETS + 1, len(records(source)) + 40)
    for file in source.iterdir():
        assert (tmp_path / "new" / file.name).read_bytes() == file.read_bytes()


def test_text_at_the_end_of_a_packet_is_no_damage(tmp_path: Path) -> None:
    hand = HandTrace(tmp_path / "t")
    for length in range(9):
        hand.string("x" * length)
    assert problems(hand.close()) == []


def resize(file: Path, size: int) -> None:
    """Cut *file*, or make it longer by zeros."""
    with file.open("ab") as out:
        out.truncate(size)


@pytest.mark.parametrize("how", ["bounded", "ring", "ring that stops"])
def test_what_dropped_parts_of_itself_is_sound(tmp_path: Path, how: str) -> None:
    """As the tracer writes it: rotated files, a packet that leads, a packet that only counts."""
    cpus = [Cpu(), Cpu()]
    tracer = Tracer(cpus, 10**9, {}, ring_packets=3, ring_wraps=how == "ring")
    limit = PARTS * len(cpus) * PACKET_BYTES
    if how == "bounded":
        tracer.start(tmp_path / "t", LOCK, limit_bytes=limit)
    else:
        tracer.set_mask(LOCK)
    for number in range(8 * ROOM_WORDS):
        for vp, cpu in enumerate(cpus):
            cpu.clock += 10
            cpu.emit.lock_release(number, vp)
            tracer.poll(vp)
        if number % ROOM_WORDS == 0:
            tracer.drain()
    if how == "bounded":
        tracer.stop()
        assert list((tmp_path / "t").glob("*.lead"))
    else:
        tracer.dump(tmp_path / "t")
    assert problems(tmp_path / "t") == []
    check = Check(tmp_path / "t")
    mend(check, tmp_path / "new")
    for file in (tmp_path / "t").iterdir():
        assert (tmp_path / "new" / file.name).read_bytes() == file.read_bytes()


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "torn": (
        lambda t: resize(t / "cpu0", 3 * PACKET_BYTES + 1000),
        "cpu0: packet 3: torn: 1,000 bytes",
    ),
    "zeros": (
        lambda t: change(t / "cpu1", PACKET_BYTES, bytes(PACKET_BYTES)),
        "cpu1: packet 1: no valid head",
    ),
    "event": (
        lambda t: change(t / "cpu0", PACKET_BYTES + HEAD_BYTES + 8 * 100, b"\xff" * 4),
        "cpu0: packet 1: garbled after 100 of its words (300 words lost, about",
    ),
    "first event": (
        lambda t: change(t / "cpu0", PACKET_BYTES + HEAD_BYTES, b"\xff" * 4),
        "cpu0: packet 1: garbled after 0 of its words (400 words lost",
    ),
    "content size": (
        lambda t: change(t / "cpu1", 2 * PACKET_BYTES + 48, (8 * PACKET_BYTES).to_bytes(8, "little")),
        "cpu1: packet 2: wrong in its head: its content size",
    ),
    "number": (
        lambda t: change(t / "cpu1", PACKET_BYTES + 64, (77).to_bytes(8, "little")),
        "cpu1: packet 1: wrong in its head: its number",
    ),
    "flag and number": (
        lambda t: change(t / "cpu0", 64, (1).to_bytes(8, "little") + bytes(12) + b"\1"),
        "cpu0: packet 0: wrong in its head: its flags, its number",
    ),
    "discards": (
        lambda t: change(t / "cpu1", PACKET_BYTES + 72, (1 << 33).to_bytes(8, "little")),
        "cpu1: packet 1: wrong in its head: its count of discards",
    ),
    "stamps": (
        lambda t: change(t / "cpu0", 2 * PACKET_BYTES + 32, (1 << 40).to_bytes(8, "little") * 2),
        "cpu0: packet 2: garbled after 0",
    ),
    "another recording": (
        lambda t: change(t / "cpu0", PACKET_BYTES + 4, b"\xee" * 16),
        "cpu0: packet 1: no valid head",
    ),
    "metadata": (lambda t: change(t / "metadata", 4000, b"#" * 400), "metadata: missing or damaged"),
    "metadata's beginning": (
        lambda t: change(t / "metadata", 300, b"#" * 2000),
        "metadata: missing or damaged",
    ),
    "no metadata": (lambda t: (t / "metadata").unlink(), "metadata: missing or damaged"),
    "foreign file": (
        lambda t: resize(t / "core", PACKET_BYTES),
        "core: holds no packet of this recording: left out",
    ),
    "text": (
        lambda t: change(t / "names", HEAD_BYTES + 24, b"x" * 8),
        "names: packet 0: garbled after",
    ),
}


def listed(directory: Path) -> int:
    """Return how many events babeltrace2 lists. Raises AssertionError if it does not accept the recording."""
    done = subprocess.run(
        ["babeltrace2", "--clock-cycles", str(directory)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return len(done.stdout.splitlines())


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named_and_mended(tmp_path: Path, damage: str) -> None:
    source = recording(tmp_path / "t")
    whole = records(source)
    hurt, said = DAMAGE[damage]
    hurt(source)
    found = problems(source)
    assert len(found) == 1
    assert found[0].startswith(said)
    check = Check(source)
    mend(check, tmp_path / "new")
    assert problems(tmp_path / "new") == []
    assert not Trace(tmp_path / "new").loss.is_damage
    kept = records(tmp_path / "new")
    assert set(map(repr, kept)) <= set(map(repr, whole))
    if damage != "text":
        assert kept == records(source)
    if damage == "no metadata":
        assert kept == whole


@NEEDS_BABELTRACE
@pytest.mark.parametrize("damage", DAMAGE)
def test_babeltrace2_takes_what_was_mended(tmp_path: Path, damage: str) -> None:
    source = recording(tmp_path / "t")
    DAMAGE[damage][0](source)
    check = Check(source)
    mend(check, tmp_path / "new")
    assert listed(tmp_path / "new") == check.events


def test_what_was_lost_is_counted_as_discarded_from_then_on(tmp_path: Path) -> None:
    source = recording(tmp_path / "t")
    DAMAGE["event"][0](source)
    check = Check(source)
    mend(check, tmp_path / "new")
    data = (tmp_path / "new" / "cpu0").read_bytes()
    heads = [decode_head(data[at : at + PACKET_BYTES]) for at in range(0, len(data), PACKET_BYTES)]
    lost = check.findings[0].events
    assert 60 <= lost <= 80  # a quarter of a packet's 80 is left
    assert [head.discarded for head in heads if head] == [0, lost, lost, lost]


def test_of_a_packet_without_a_head_only_what_can_have_been_events_is_lost(tmp_path: Path) -> None:
    hand = HandTrace(tmp_path / "t")
    for packet in range(2):
        for at in range(7):
            hand.event(0, 100 * packet + at, "lock_release", at + 1, 1)
        hand.flush(0)
    hand.close()
    change(tmp_path / "t" / "cpu0", PACKET_BYTES, b"\xff" * HEAD_BYTES)
    (found,) = problems(tmp_path / "t")
    assert found == "cpu0: packet 1: no valid head (21 words lost, about 7 events)"


def test_readers_and_fsck_name_the_same_place(tmp_path: Path) -> None:
    hand = HandTrace(tmp_path / "t")
    for at in range(5):
        hand.event(0, 100 * at, "lock_release", at + 1, 1)
    hand.close()
    change(tmp_path / "t" / "cpu0", HEAD_BYTES + 2 * 3 * 8 + 4, (1000).to_bytes(4, "little"))  # a stamp
    (found,) = problems(tmp_path / "t")
    trace = Trace(tmp_path / "t")
    assert sum(len(each) for each in trace.records(trace.streams[0])) == 2
    assert found.startswith("cpu0: packet 0: garbled after 9 of its words")
    assert trace.loss.places == ["cpu0: packet 0 garbled after 9 of its words"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    source = recording(tmp_path / "t")
    with pytest.raises(TraceError, match="not empty"):
        mend(Check(source), source)


def test_a_missing_packet_stays_missing(tmp_path: Path) -> None:
    """Its number is told from a damaged one by the packets after it."""
    source = recording(tmp_path / "t")
    data = (source / "cpu0").read_bytes()
    (source / "cpu0").write_bytes(data[:PACKET_BYTES] + data[2 * PACKET_BYTES :])
    assert problems(source) == []
    mend(Check(source), tmp_path / "new")
    assert (tmp_path / "new" / "cpu0").read_bytes() == (source / "cpu0").read_bytes()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, PACKETS * PACKET_BYTES * 8 - 1), st.booleans()), min_size=1, max_size=6)
)
def test_whatever_bits_flip_the_mended_copy_is_sound(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, bool]]
) -> None:
    directory = tmp_path_factory.mktemp("flip")
    source = recording(directory / "t")
    for bit, in_head in flips:
        at = bit // 8 // PACKET_BYTES * PACKET_BYTES + bit // 8 % (HEAD_BYTES if in_head else 3400)
        file = source / "cpu0"
        data = bytearray(file.read_bytes())
        data[at] ^= 1 << bit % 8
        file.write_bytes(data)
    mend(Check(source), directory / "new")
    assert problems(directory / "new") == []
    assert not Trace(directory / "new").loss.is_damage
