"""A recording is read whatever has happened to it: nothing raises but TraceError, everything lost is counted (T6)."""

import random
import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k42fs.machine.tracing.packets import HEAD_BYTES, PACKET_BYTES
from k42fs.machine.tracing.schema import parse
from k42fs.report.merge import merged
from k42fs.report.names import read_names
from k42fs.report.reader import Trace, TraceError
from tests.machine.tracing.lab import HandTrace
from tests.report.lab import call, run

PACKETS, PER_PACKET = 4, 10


def recorded(directory: Path, processors: int = 2) -> Path:
    """Record PACKETS packets of PER_PACKET calls on each processor."""
    trace = HandTrace(directory, processors)
    trace.event(0, 0, "clust_obj_object_name", 7, "DirObject", "/a")
    for packet in range(PACKETS):
        for vp in range(processors):
            for serial in range(PER_PACKET):
                at = 10_000 * packet + 100 * serial + vp
                call(trace, vp, at, at + 50, 7, 1, packet << 16 | vp << 8 | serial)
            trace.flush(vp)
    return trace.close()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return recorded(tmp_path / "t")


def times(trace: Trace) -> list[int]:
    """Read everything; return the times. Also the names, for whatever they may raise."""
    read_names(trace)
    streams = [trace.records(places) for places in trace.streams.values()]
    return [record[0] for records in merged(streams) for record in records]


WHOLE = 2 * PACKETS * PER_PACKET * 2


def test_a_whole_recording_has_lost_nothing(recording: Path) -> None:
    trace = Trace(recording)
    found = times(trace)
    assert len(found) == WHOLE
    assert found == sorted(found)
    assert trace.loss.sentences() == []


def test_each_packet_decodes_alone(recording: Path) -> None:
    """T2: from any packet on, the rest of the stream is what it is from the beginning."""
    trace = Trace(recording)
    places = trace.streams[0]
    whole = [record for records in trace.records(places) for record in records]
    for first in range(PACKETS):
        rest = [record for records in trace.records(places[first:]) for record in records]
        assert rest == whole[first * 2 * PER_PACKET :]


def test_a_torn_tail_is_counted_and_the_rest_read(recording: Path) -> None:
    with (recording / "cpu0").open("r+b") as file:
        file.truncate((PACKETS - 1) * PACKET_BYTES + 100)
    trace = Trace(recording)
    assert len(times(trace)) == WHOLE - 2 * PER_PACKET
    assert trace.loss.torn_bytes == 100
    assert trace.loss.is_damage


def overwrite(file: Path, offset: int, bits: bytes) -> None:
    with file.open("r+b") as out:
        out.seek(offset)
        out.write(bits)


def test_a_garbled_packet_is_left_at_the_first_wrong_word(recording: Path) -> None:
    # The fourth event's header in the second packet: an id that nobody has.
    at = PACKET_BYTES + HEAD_BYTES + 3 * 32
    overwrite(recording / "cpu1", at, bytes(8))
    trace = Trace(recording)
    found = times(trace)
    assert len(found) == WHOLE - 2 * PER_PACKET + 3
    assert (trace.loss.packets, trace.loss.words) == (1, (2 * PER_PACKET - 3) * 4)
    assert trace.loss.places == ["cpu1: packet 1 garbled after 12 of its words"]


def test_a_packet_without_a_head_is_skipped(recording: Path) -> None:
    overwrite(recording / "cpu0", 0, bytes(PACKET_BYTES))
    trace = Trace(recording)
    assert len(times(trace)) == WHOLE - 2 * PER_PACKET
    assert (trace.loss.packets, trace.loss.missing_packets) == (1, 0)


def test_a_missing_packet_is_noticed(recording: Path) -> None:
    data = (recording / "cpu0").read_bytes()
    (recording / "cpu0").write_bytes(data[:PACKET_BYTES] + data[2 * PACKET_BYTES :])
    trace = Trace(recording)
    assert len(times(trace)) == WHOLE - 2 * PER_PACKET
    assert trace.loss.missing_packets == 1


def test_a_packet_twice_is_read_once(recording: Path) -> None:
    data = (recording / "cpu0").read_bytes()
    (recording / "cpu0").write_bytes(data[: 2 * PACKET_BYTES] + data[PACKET_BYTES:])
    trace = Trace(recording)
    found = times(trace)
    assert (len(found), found) == (WHOLE, sorted(found))
    assert trace.loss.is_damage


def test_packets_of_another_recording_are_not_mixed_in(recording: Path) -> None:
    data = bytearray((recording / "cpu0").read_bytes()[:PACKET_BYTES])
    data[4:20] = bytes(range(16))
    (recording / "cpu9").write_bytes(data)
    trace = Trace(recording)
    assert len(times(trace)) == WHOLE
    assert trace.loss.places == ["cpu9: packet 0 belongs to another recording"]


def test_a_file_of_something_else_is_counted(recording: Path) -> None:
    (recording / "notes.txt").write_bytes(b"no packets" * 10_000)
    trace = Trace(recording)
    assert len(times(trace)) == WHOLE
    assert (trace.loss.packets, trace.loss.torn_bytes) == (1, 100_000 - PACKET_BYTES)


def test_rotated_files_are_one_stream(recording: Path) -> None:
    data = (recording / "cpu0").read_bytes()
    (recording / "cpu0").unlink()
    for number in range(PACKETS):
        part = data[number * PACKET_BYTES : (number + 1) * PACKET_BYTES]
        (recording / f"cpu0.{9 + number}").write_bytes(part)
    trace = Trace(recording)
    assert len(times(trace)) == WHOLE
    assert trace.loss.sentences() == []


def test_without_metadata_it_is_read_but_said(recording: Path) -> None:
    (recording / "metadata").unlink()
    trace = Trace(recording)
    assert len(times(trace)) == WHOLE
    assert trace.ticks_per_second == 10**9
    assert trace.loss.is_damage


def of_a_machine(directory: Path) -> Path:
    """Record something of each of 3 processors, as a machine's recording says it does."""
    trace = HandTrace(directory, 3, env={"model": "full"})
    trace.event(0, 0, "clust_obj_object_name", 7, "DirObject", "/a")
    for vp in range(3):
        call(trace, vp, 10 + vp, 20 + vp, 7, 1, vp + 1)
    return trace.close()


def torn(size: int) -> Callable[[Path], object]:
    def tear(recording: Path) -> None:
        file = recording / "metadata"
        file.write_text(file.read_text()[:size])

    return tear


def only_metadata(recording: Path) -> None:
    for name in ("cpu0", "cpu1", "cpu2", "names"):
        (recording / name).unlink()


def emptied_and_a_directory(recording: Path) -> None:
    (recording / "cpu1").write_bytes(b"")
    (recording / "cpu2").unlink()
    (recording / "cpu2").mkdir()


def of_version_2(recording: Path) -> None:
    file = recording / "metadata"
    file.write_text(file.read_text().replace("major = 1; minor = 8;", "major = 2; minor = 9;"))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda recording: (recording / "names").unlink(), ["names is missing"]),
        (lambda recording: (recording / "names").write_bytes(b""), ["names is missing or empty"]),
        (emptied_and_a_directory, ["cpu1 is missing", "cpu2 is missing"]),
        (only_metadata, ["the events of every processor are missing"]),
        (torn(30_000), ["metadata ends too early"]),
        (of_version_2, ["metadata was written by a newer version"]),
    ],
)
def test_what_is_missing_is_said_by_readers_and_fsck(
    tmp_path: Path, harm: Callable[[Path], object], said: list[str]
) -> None:
    recording = of_a_machine(tmp_path / "t")
    for command in ("calls", "fsck"):
        result = run(command, recording)
        assert (result.exit_code, result.stderr) == (0, ""), result.output
    harm(recording)
    for command, where in (("calls", "stderr"), ("fsck", "stdout")):
        result = run(command, recording)
        assert result.exit_code == 1
        for sentence in said:
            text = getattr(result, where).replace(": ", " ")
            assert sentence in text or (command == "fsck" and "metadata missing or damaged" in text)


def test_whole_metadata_that_ends_at_an_event_is_noticed_too(tmp_path: Path) -> None:
    recording = of_a_machine(tmp_path / "t")
    text = (recording / "metadata").read_text()
    (recording / "metadata").write_text(text[: text.rindex("event {")])
    assert "ends too early" in run("calls", recording).stderr


def test_a_newer_recording_is_not_repaired_by_an_older_k42fs(tmp_path: Path) -> None:
    recording = of_a_machine(tmp_path / "t")
    of_version_2(recording)
    assert "later version" in run("fsck", "--repair", tmp_path / "new", recording).stderr


def test_events_that_only_a_later_version_knows_are_counted(tmp_path: Path) -> None:
    text = files("k42fs.machine.tracing").joinpath("schema.toml").read_text("utf-8")
    later = parse(f'{text}\n[classes.Test.events]\nNews = {{ minor = 0, fields = "what" }}\n')
    trace = HandTrace(tmp_path / "t", schema=later, env={"schema_revision": 9999})
    call(trace, 0, 10, 20, 7, 1, 1)
    trace.event(0, 15, "test_news", 123)
    trace.close()
    read = Trace(tmp_path / "t")
    assert times(read) == [10, 20]
    assert (read.loss.unknown, read.loss.is_damage) == (1, False)


@pytest.mark.parametrize("make", ["nothing", "a file", "empty", "zeros"])
def test_what_is_no_recording_is_refused_with_a_sentence(tmp_path: Path, make: str) -> None:
    path = tmp_path / "x"
    if make == "a file":
        path.write_text("hello")
    elif make != "nothing":
        path.mkdir()
    if make == "zeros":
        (path / "cpu0").write_bytes(bytes(3 * PACKET_BYTES))
    with pytest.raises(TraceError, match="recording"):
        Trace(path)
    result = run("list", path)
    assert result.exit_code == 1
    assert "Traceback" not in result.output


def test_another_tracers_recording_is_called_by_its_name(recording: Path) -> None:
    text = (
        (recording / "metadata").read_text().replace('"k42fs"', '"ust"').replace('"k42trace"', '"lttng-ust"')
    )
    (recording / "metadata").write_text(text)
    with pytest.raises(TraceError, match="lttng-ust"):
        Trace(recording)


def test_an_empty_recording_is_one(tmp_path: Path) -> None:
    HandTrace(tmp_path / "t").close()
    trace = Trace(tmp_path / "t")
    assert times(trace) == []
    assert run("list", tmp_path / "t").exit_code == 0


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    file=st.sampled_from(["cpu0", "cpu1", "names", "metadata"]),
    spots=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 7)), min_size=1, max_size=4),
)
def test_whatever_bit_is_flipped_nothing_raises_and_time_goes_forward(
    tmp_path_factory: pytest.TempPathFactory, file: str, spots: list[tuple[float, int]]
) -> None:
    directory = tmp_path_factory.mktemp("flipped") / "t"
    recorded(directory)
    data = bytearray((directory / file).read_bytes())
    used = len(data) if file == "metadata" else HEAD_BYTES + 800
    for spot, bit in spots:
        data[int(spot * used)] ^= 1 << bit
    (directory / file).write_bytes(data)
    try:
        found = times(Trace(directory))
    except TraceError:
        assert file == "metadata"
    else:
        assert found == sorted(found)
        assert len(found) <= WHOLE
        # The other files' events are all there, and of the damaged one all packets but the first.
        assert len(found) >= WHOLE - 2 * PER_PACKET
    finally:
        shutil.rmtree(directory)


def test_any_garbage_for_a_file_is_survived(recording: Path) -> None:
    dice = random.Random(3)
    for _ in range(20):
        (recording / "cpu0").write_bytes(dice.randbytes(dice.randrange(3 * PACKET_BYTES)))
        trace = Trace(recording)
        assert len(times(trace)) == WHOLE // 2
        assert trace.loss.is_damage
        assert run("list", recording).exit_code == 1
