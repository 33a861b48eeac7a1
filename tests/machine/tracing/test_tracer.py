"""The tracer: mask, preamble, recordings bounded and not, the flight recorder, and a disk that is full (T5-T8, T12)."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from k42fs.errors import BusyError, ConfigError, NameExistsError
from k42fs.machine.tracing import definitions
from k42fs.machine.tracing.mask import CACHE, CLUST_OBJ, CONTROL, FS, LOCK
from k42fs.machine.tracing.packets import HEAD_BYTES, LEAD, NAMES_CPU, PACKET_BYTES, ROOM_WORDS
from k42fs.machine.tracing.recordings import PARTS
from k42fs.machine.tracing.tail import last_events
from k42fs.machine.tracing.tracer import Tracer
from tests.machine.tracing.lab import Cpu, Seen, packets, read, strings

PER_PACKET = ROOM_WORDS // 3  # of lock_release


def lab(processors: int = 2, **options: Any) -> tuple[Tracer, list[Cpu]]:  # noqa: ANN401
    cpus = [Cpu() for _ in range(processors)]
    return Tracer(cpus, 10**9, {"seed": 7, "preset": "test"}, **options), cpus


def work(tracer: Tracer, cpus: list[Cpu], count: int, first: int = 0) -> None:
    """Let each processor emit *count* numbered events, as call sites do."""
    for number in range(first, first + count):
        for vp, cpu in enumerate(cpus):
            cpu.clock += 10
            if cpu.on.lock:
                cpu.emit.lock_release(number, vp)
                tracer.poll(vp)


def numbers(seen: list[Seen]) -> list[int]:
    return [int(values[0]) for *_, name, values in seen if name == "lock_release"]  # type: ignore[arg-type]


def names(seen: list[Seen]) -> list[str]:
    return [name for _, _, name, _ in seen]


def discards(seen: list[Seen]) -> dict[int, int]:
    found: dict[int, int] = {}
    for _, _, name, values in seen:
        if name == "meta_discard":
            count, cpu = values[0], values[3]
            assert isinstance(count, int)
            assert isinstance(cpu, int)
            found[cpu] = found.get(cpu, 0) + count
    return found


def test_off_nothing_is_recorded_and_nothing_is_evaluated() -> None:
    tracer, (cpu, _) = lab()
    assert (cpu.on.lock, tracer.status().mode) == (False, "off")
    cpu.emit.lock_release(1, 2)  # unguarded: slow, but silent
    work(tracer, [cpu], 10)
    assert tracer.status().pending_words == 0


def test_a_class_that_is_off_stays_silent_while_another_is_on(tmp_path: Path) -> None:
    tracer, (cpu, _) = lab()
    tracer.start(tmp_path / "t", FS)
    cpu.emit.lock_release(1, 2)
    cpu.emit.fs_ramfs_rmdir(5, tracer.numbers.string("gone"))
    tracer.set_mask(LOCK)
    cpu.emit.lock_release(3, 4)
    cpu.emit.fs_ramfs_rmdir(6, 0)
    tracer.stop()
    seen = read(tmp_path / "t")
    assert [name for name in names(seen[0]) if name.startswith(("lock", "fs"))] == [
        "fs_ramfs_rmdir",
        "lock_release",
    ]


def test_every_change_of_the_mask_is_in_every_stream(tmp_path: Path) -> None:
    tracer, cpus = lab()
    heard: list[int] = []
    tracer.on_mask.append(lambda mask: heard.append(mask if cpus[1].on.lock == bool(mask & LOCK) else -1))
    tracer.start(tmp_path / "t", LOCK)
    tracer.set_mask(LOCK | FS)
    tracer.stop()
    masks = [LOCK | CONTROL, LOCK | FS | CONTROL, 0]
    seen = read(tmp_path / "t")
    for vp in range(2):
        assert [values[0] for *_, name, values in seen[vp] if name == "control_trace_mask"] == masks
    assert heard == [0, *masks]


def test_each_change_to_on_says_what_a_reader_must_know(tmp_path: Path) -> None:
    def describe(tracer: Tracer) -> None:
        tracer.emit[1].clust_obj_object_name(0x40, tracer.numbers.string("Root"), tracer.numbers.string("/"))

    tracer, cpus = lab(describe=describe)
    tracer.numbers.site("dir_object.py:7 lookup")  # before anything is on
    tracer.start(tmp_path / "t", LOCK)
    tracer.set_mask(0)
    cpus[1].clock = 5000
    tracer.set_mask(LOCK)
    tracer.stop()
    seen = read(tmp_path / "t")
    said = [
        "control_heartbeat",
        "control_ticks_per_second",
        "info_number_processors",
        "info_cpu_clock_frequency",
    ]
    for vp in range(2):
        told = [name for name in names(seen[vp]) if name != "control_trace_mask"]
        assert told == ["control_traced_start", *said, *said, "control_traced_stop"]
    assert (1, 5000, "control_heartbeat", (5000, 1, 0)) in seen[1]
    defined = seen[NAMES_CPU]
    text = strings(defined)
    settings = [(text[a], text[b]) for *_, name, (a, b, *_) in defined if name == "meta_setting"]  # type: ignore[index]
    assert settings == [("seed", "7"), ("preset", "test")] * 2
    assert [name for name in names(defined) if name.startswith(("lock", "clust"))] == [
        "lock_site",
        "clust_obj_object_name",
    ] * 2
    assert {"Root", "/", "dir_object.py:7 lookup"} <= set(text.values())


def test_numbers_are_defined_once_and_before_they_are_used(tmp_path: Path) -> None:
    tracer, (cpu, _) = lab()
    tracer.start(tmp_path / "t", LOCK)
    for _ in range(3):
        cpu.emit.lock_acq_lock(1, 2, tracer.numbers.string("dirlock"))
        assert tracer.numbers.method("DirObject", "lookup") == 1
        assert tracer.numbers.method("DirObject", "create") == 2
    assert tracer.numbers.string("") == tracer.numbers.constant("") == 0
    tracer.drain()
    tracer.stop()
    seen = read(tmp_path / "t")
    text = strings(seen[NAMES_CPU])
    assert sorted(text.values()) == sorted(
        ["seed", "7", "preset", "test", "dirlock", "DirObject", "lookup", "create"]
    )
    assert names(seen[NAMES_CPU]).count("clust_obj_method_name") == 2
    assert [text[values[2]] for *_, name, values in seen[0] if name == "lock_acq_lock"] == ["dirlock"] * 3  # type: ignore[index]


def test_all_that_is_emitted_is_in_the_directory(tmp_path: Path) -> None:
    tracer, cpus = lab()
    tracer.start(tmp_path / "t", LOCK)
    work(tracer, cpus, 30000)
    assert tracer.status().events > 0, "nothing was written before the end"
    status = tracer.stop()
    seen = read(tmp_path / "t")
    assert [numbers(seen[vp]) for vp in range(2)] == [list(range(30000))] * 2
    assert status.events == len(seen[0]) + len(seen[1])
    assert (status.discarded, status.pending_words, status.failure) == (0, 0, "")
    assert tracer.status().mode == "off"


def test_one_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        tracer, cpus = lab()
        tracer.start(tmp_path / name, LOCK)
        work(tracer, cpus, 4000)
        tracer.stop()
    ours, theirs = ({path.name: path.read_bytes() for path in (tmp_path / at).iterdir()} for at in "ab")
    assert ours == theirs
    assert ours.keys() == {"metadata", "names", "cpu0", "cpu1"}


@pytest.mark.parametrize("rounds", [1, 3])
def test_a_bounded_recording_keeps_the_latest_and_counts_the_rest(tmp_path: Path, rounds: int) -> None:
    tracer, cpus = lab()
    limit = 2 * PARTS * 2 * PACKET_BYTES
    tracer.start(tmp_path / "t", LOCK, limit_bytes=limit)
    for chunk in range(rounds * 20):
        work(tracer, cpus, PER_PACKET, chunk * PER_PACKET)
        tracer.drain(everything=True)
        held = sum(path.stat().st_size for path in tmp_path.glob("t/cpu*") if path.suffix != ".lead")
        assert held <= limit
    status = tracer.stop()
    seen = read(tmp_path / "t")
    emitted = rounds * 20 * PER_PACKET
    for vp in range(2):
        kept = numbers(seen[vp])
        assert kept == list(range(emitted - len(kept), emitted))
        assert len(kept) >= (PARTS - 1) * PER_PACKET
        lost = discards(seen[NAMES_CPU])[vp]
        assert lost + len(seen[vp]) == status.events // 2
        heads = [head for path in tmp_path.glob(f"t/cpu{vp}*") for head, _ in packets(path)]
        heads.sort(key=lambda head: head.sequence)
        assert (heads[0].flags, heads[0].sequence, heads[0].words) == (LEAD, 0, 0)
        assert [head.discarded for head in heads] == [0] + [lost] * (len(heads) - 1)
    assert status.discarded == sum(discards(seen[NAMES_CPU]).values())


def test_what_the_end_of_a_bounded_recording_drops_is_counted_too(tmp_path: Path) -> None:
    tracer, (cpu,) = lab(1)
    tracer.start(tmp_path / "t", LOCK, limit_bytes=PARTS * PACKET_BYTES)
    for number in range((PARTS + 3) * PER_PACKET):
        cpu.emit.lock_release(number, 0)
    status = tracer.stop()
    seen = read(tmp_path / "t")
    assert discards(seen[NAMES_CPU]) == {0: status.discarded}
    assert status.discarded == status.events - len(seen[0]) > 3 * PER_PACKET


def test_packets_that_are_mostly_empty_take_little_room_on_disk(tmp_path: Path) -> None:
    tracer, cpus = lab(64)
    tracer.start(tmp_path / "t", LOCK)
    work(tracer, cpus, 10)
    tracer.stop()
    files = list((tmp_path / "t").glob("cpu*"))
    assert len(files) == 64
    assert all(path.stat().st_size % PACKET_BYTES == 0 for path in files)
    assert sum(path.stat().st_blocks * 512 for path in files) <= 64 * PACKET_BYTES // 4
    assert all(len(numbers(seen)) == 10 for cpu, seen in read(tmp_path / "t").items() if cpu != NAMES_CPU)


@pytest.mark.parametrize("mhz", [1000, 2400])
def test_no_two_packets_of_a_stream_begin_in_the_same_nanosecond(tmp_path: Path, mhz: int) -> None:
    """Of a stream in several files stock readers know no other order."""
    cpus = [Cpu(), Cpu()]
    tracer = Tracer(cpus, mhz * 10**6)
    tracer.start(tmp_path / "t", LOCK, limit_bytes=2 * PARTS * PACKET_BYTES)
    for number in range(6):
        cpus[0].emit.lock_release(number, 0)
        if number in (2, 4):
            cpus[0].clock += 100
        tracer.drain(everything=True)
    tracer.stop()
    begins = [
        head.begin * 1000 // mhz for path in sorted(tmp_path.glob("t/cpu0.?")) for head, _ in packets(path)
    ]
    assert begins == sorted(set(begins))
    assert numbers(read(tmp_path / "t")[0]) == list(range(6))[-len(begins) + 1 :]


def test_a_bound_too_small_for_the_processors_is_refused(tmp_path: Path) -> None:
    tracer, _ = lab()
    with pytest.raises(ConfigError, match="need 512k"):
        tracer.start(tmp_path / "t", LOCK, limit_bytes=PARTS * 2 * PACKET_BYTES - 1)
    assert (tracer.status().mode, list(tmp_path.iterdir())) == ("off", [])


@pytest.mark.parametrize("wraps", [True, False])
def test_the_flight_recorder_keeps_its_packets_and_counts_the_rest(tmp_path: Path, wraps: bool) -> None:
    tracer, cpus = lab(ring_packets=3, ring_wraps=wraps)
    tracer.set_mask(LOCK)
    name = tracer.numbers.string("known from the start")
    for chunk in range(10):
        work(tracer, cpus, 2 * PER_PACKET, chunk * 2 * PER_PACKET)
        tracer.drain()
    cpus[0].emit.lock_acq_lock(1, 2, name)
    tracer.dump(tmp_path / "t")
    seen = read(tmp_path / "t")
    kept = numbers(seen[0])
    assert len(kept) >= 2 * PER_PACKET
    first = 20 * PER_PACKET - len(kept) if wraps else 0
    assert kept == list(range(first, first + len(kept)))
    assert ("lock_acq_lock" in names(seen[0])) == wraps
    lost = discards(seen[NAMES_CPU])
    heads = [head for head, _ in packets(tmp_path / "t" / "cpu0")]
    assert max(head.discarded for head in heads) == lost[0]
    # Besides the releases: the preamble of 5, and the last event.
    assert lost[0] + len(seen[0]) == 20 * PER_PACKET + 6
    assert strings(seen[NAMES_CPU])[name] == "known from the start"


def test_the_flight_recorder_goes_on_after_a_dump(tmp_path: Path) -> None:
    tracer, cpus = lab()
    tracer.set_mask(LOCK)
    work(tracer, cpus, 10)
    tracer.dump(tmp_path / "a")
    work(tracer, cpus, 10, 10)
    assert (tracer.stop().mode, cpus[0].on.lock) == ("ring", False)
    tracer.dump(tmp_path / "b")
    assert numbers(read(tmp_path / "a")[1]) == list(range(10))
    assert numbers(read(tmp_path / "b")[1]) == list(range(20))


def test_reset_forgets_and_goes_on_with_the_same_mask(tmp_path: Path) -> None:
    tracer, cpus = lab()
    tracer.set_mask(LOCK)
    work(tracer, cpus, 10)
    tracer.reset()
    work(tracer, cpus, 5, 100)
    tracer.dump(tmp_path / "t")
    seen = read(tmp_path / "t")
    assert numbers(seen[0]) == list(range(100, 105))
    assert names(seen[0])[0] == "control_heartbeat"


def test_definitions_outlive_any_number_of_later_ones(tmp_path: Path) -> None:
    tracer, (cpu, _) = lab(ring_packets=1)
    tracer.set_mask(CLUST_OBJ | CACHE)
    for turn in range(3 * ROOM_WORDS):
        cpu.emit.clust_obj_object_name(turn % 100, 0, turn)
    for offset in (0, 8, 0):
        cpu.emit.cache_line_name(0x80, offset, 8, 0, 1 + offset)
    tracer.dump(tmp_path / "t")
    defined = read(tmp_path / "t")[NAMES_CPU]
    latest = {values[0]: values[2] for *_, name, values in defined if name == "clust_obj_object_name"}
    assert latest == {turn % 100: turn for turn in range(3 * ROOM_WORDS - 100, 3 * ROOM_WORDS)}
    assert names(defined).count("clust_obj_object_name") == 100
    assert {values[1] for *_, name, values in defined if name == "cache_line_name"} == {0, 8}
    assert names(defined).count("cache_line_name") == 2


def test_definitions_have_a_bound_too_and_what_goes_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(definitions, "MOST_KEPT", 50)
    tracer, (cpu, _) = lab()
    tracer.set_mask(CLUST_OBJ)
    for ref in range(80):
        cpu.emit.clust_obj_object_name(ref, 0, 0)
    tracer.dump(tmp_path / "t")
    defined = read(tmp_path / "t")[NAMES_CPU]
    kept = [values[0] for *_, name, values in defined if name == "clust_obj_object_name"]
    # What settings need, four strings and two settings, is defined last, for the dump: it does not go.
    assert kept == list(range(80 - 25 + 6, 80))
    assert set(strings(defined).values()) == {"seed", "7", "preset", "test"}
    assert discards(defined) == {NAMES_CPU: 80 + 6 - 25}


def test_what_is_used_after_its_definition_went_is_defined_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(definitions, "MOST_KEPT", 50)
    tracer, (cpu, _) = lab()
    tracer.set_mask(CLUST_OBJ)
    old = tracer.numbers.string("old")
    tracer.named_objects.add(7)
    for number in range(100):
        tracer.numbers.string(f"other {number}")
    tracer.drain()
    assert tracer.named_objects == set()
    cpu.emit.clust_obj_object_name(7, 0, tracer.numbers.string("old"))
    tracer.dump(tmp_path / "t")
    defined = read(tmp_path / "t")[NAMES_CPU]
    (told,) = [values for *_, name, values in defined if name == "clust_obj_object_name"]
    assert strings(defined)[told[2]] == "old"  # type: ignore[index]
    assert told[2] != old


def test_names_do_not_pile_up_in_a_recorder_that_runs_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(definitions, "STRINGS_KEPT", 10)
    tracer, _ = lab()
    tracer.set_mask(CLUST_OBJ)
    seen = {tracer.numbers.string(f"file {number % 15}") for number in range(100)}
    assert len(seen) > 50, "forgotten, and defined again under new numbers"
    tracer.dump(tmp_path / "t")
    texts = strings(read(tmp_path / "t")[NAMES_CPU])
    assert {texts[number] for number in seen} == {f"file {number}" for number in range(15)}


def test_only_one_directory_at_a_time_and_only_an_empty_one(tmp_path: Path) -> None:
    tracer, _ = lab()
    with pytest.raises(BusyError, match="nothing"):
        tracer.dump(tmp_path / "t")
    with pytest.raises(ConfigError):
        tracer.start(tmp_path / "t", 0)
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(NameExistsError):
        tracer.start(tmp_path, LOCK)
    tracer.start(tmp_path / "t", LOCK)
    with pytest.raises(BusyError):
        tracer.start(tmp_path / "u", LOCK)
    with pytest.raises(BusyError):
        tracer.dump(tmp_path / "u")
    with pytest.raises(BusyError):
        tracer.reset()
    tracer.stop()


def test_what_happened_elsewhere_and_earlier_comes_in_its_place(tmp_path: Path) -> None:
    tracer, (cpu, _) = lab()
    tracer.start(tmp_path / "t", CACHE | LOCK)
    kept_back: list[int] = []

    def tell() -> None:
        miss = cpu.emit.stamped("cache_miss")
        for stamp in kept_back:
            miss(stamp, 0x80, 0, 0, 0, -1, 9, 0)
        kept_back.clear()

    tracer.sources.append(tell)
    for cpu.clock in range(0, 1000, 10):
        cpu.emit.lock_release(0, 0)
        kept_back.append(cpu.clock + 5)
    tracer.stop()
    seen = [each for each in read(tmp_path / "t")[0] if not each[2].startswith(("control", "info"))]
    assert [name for _, _, name, _ in seen] == ["lock_release", "cache_miss"] * 100
    assert [stamp for _, stamp, _, _ in seen] == list(range(0, 1000, 5))


class FullDisk:
    """os.write until *room* bytes are used up; then a part of the last, and ENOSPC."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.write = os.write

    def __call__(self, fd: int, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self.write(fd, data[: self.room])
        self.room -= written
        return written


@pytest.mark.parametrize("room", [0, 1000, PACKET_BYTES, 5 * PACKET_BYTES + 4096])
def test_a_full_disk_ends_the_recording_and_leaves_it_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    tracer, cpus = lab()
    heard: list[int] = []
    tracer.on_mask.append(heard.append)
    tracer.start(tmp_path / "t", LOCK)
    monkeypatch.setattr(os, "write", FullDisk(room))
    work(tracer, cpus, 30000)
    emitted = cpus[0].clock // 10  # up to the failure and after it: the same loop goes on
    status = tracer.status()
    assert emitted == 30000
    assert (status.mode, status.mask, cpus[0].on.lock, heard[-1]) == ("off", 0, False, 0)
    assert "No space left" in status.failure
    seen = read(tmp_path / "t")
    kept = [numbers(seen.get(vp, [])) for vp in range(2)]
    assert [each == list(range(len(each))) for each in kept] == [True, True]
    assert sum(len(seen.get(vp, [])) for vp in range(2)) == status.events
    assert status.discarded > 0
    monkeypatch.undo()
    tracer.start(tmp_path / "again", LOCK)
    work(tracer, cpus, 10)
    assert tracer.stop().failure == ""
    assert numbers(read(tmp_path / "again")[1]) == list(range(10))


def test_what_a_full_disk_took_is_counted_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracer, (cpu, _) = lab()
    tracer.start(tmp_path / "t", LOCK)
    monkeypatch.setattr(os, "write", FullDisk(3 * PACKET_BYTES))
    count = 0
    while cpu.on.lock:
        cpu.emit.lock_release(count, 0)
        tracer.poll(0)
        count += 1
    status = tracer.status()
    # Both processors' preambles of 5 and a start.
    assert status.events + status.discarded == count + 2 * 6


def test_a_recording_that_cannot_begin_changes_nothing(tmp_path: Path) -> None:
    tracer, cpus = lab()
    tracer.set_mask(LOCK)
    work(tracer, cpus, 10)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        tracer.start(tmp_path / "file" / "t", FS)
    assert (tracer.status().mode, tracer.mask) == ("ring", LOCK | CONTROL)
    work(tracer, cpus, 10, 10)
    tracer.dump(tmp_path / "t")
    assert numbers(read(tmp_path / "t")[0]) == list(range(20))


def test_a_dump_to_a_full_disk_fails_and_the_flight_recorder_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracer, cpus = lab()
    tracer.set_mask(LOCK)
    work(tracer, cpus, 10)
    monkeypatch.setattr(os, "write", FullDisk(HEAD_BYTES + 5))
    with pytest.raises(OSError, match="No space"):
        tracer.dump(tmp_path / "torn")
    monkeypatch.undo()
    assert all(path.stat().st_size % PACKET_BYTES == 0 for path in tmp_path.glob("torn/[cn]*"))
    tracer.dump(tmp_path / "t")
    assert numbers(read(tmp_path / "t")[1]) == list(range(10))


def test_a_disk_that_fills_while_an_old_part_is_dropped_leaves_no_torn_packet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracer, cpus = lab(1)
    tracer.start(tmp_path / "t", LOCK, limit_bytes=PARTS * PACKET_BYTES)
    write, full = os.write, FullDisk(5)

    def fill(fd: int, data: bytes) -> int:
        """Have room for everything but the packet that is to stand for the first part: it has no events."""
        return full(fd, data) if len(data) < HEAD_BYTES else write(fd, data)

    monkeypatch.setattr(os, "write", fill)
    work(tracer, cpus, 12 * PER_PACKET)
    assert "No space" in tracer.status().failure
    kept = numbers(read(tmp_path / "t")[0])
    assert kept == list(range(len(kept)))
    assert len(kept) > 3 * PER_PACKET


def test_a_recording_can_be_read_at_any_time(tmp_path: Path) -> None:
    """As after a kill: nobody has said stop."""
    tracer, cpus = lab()
    tracer.start(tmp_path / "t", LOCK)
    for chunk in range(4):
        name = tracer.numbers.string(f"name {chunk}")
        cpus[0].emit.lock_acq_lock(1, chunk, name)
        work(tracer, cpus, 3 * PER_PACKET, chunk * 3 * PER_PACKET)
        seen = read(tmp_path / "t")
        kept = numbers(seen.get(0, []))
        assert kept == list(range(len(kept)))
        text = strings(seen.get(NAMES_CPU, []))
        used = [values[2] for *_, name, values in seen.get(0, []) if name == "lock_acq_lock"]
        assert [text[number] for number in used] == [f"name {turn}" for turn in range(len(used))]  # type: ignore[index]
    assert kept


@pytest.mark.parametrize("cut", [False, True])
def test_the_last_events_of_all_processors_can_be_read_in_words(cut: bool) -> None:
    tracer, (one, two) = lab()
    tracer.set_mask(LOCK | FS)
    work(tracer, [one], 100)
    two.clock = 995
    two.emit.fs_ramfs_mkdir(0x77, tracer.numbers.string(b"src"))
    if cut:
        tracer.drain(everything=True)
    two.clock = 1005
    two.emit.lock_acquire(0xE10, 1, tracer.numbers.site("dir_object.py:7 lookup"), 3, -1, 0)
    lines = [line.split(maxsplit=2) for line in last_events(tracer, 2)]
    assert lines == [
        ["0.000000990", "cpu0", "TRACE_LOCK_RELEASE                  lock 0x62 held 0"],
        ["0.000000995", "cpu1", "TRACE_FS_RAMFS_MKDIR                dirToken 0x77 name src"],
        ["0.000001000", "cpu0", "TRACE_LOCK_RELEASE                  lock 0x63 held 0"],
        [
            "0.000001005",
            "cpu1",
            "TRACE_LOCK_ACQUIRE                  lock 0xe10 kind block "
            "site dir_object.py:7 lookup waited 3 from_vp -1 holder site 0",
        ],
    ]


def test_a_machine_that_is_never_traced_does_not_read_the_schema() -> None:
    code = """
from k42fs.machine.tracing.schema import load
from k42fs.machine.tracing.tracer import Tracer
from tests.machine.tracing.lab import Cpu

cpu = Cpu()
tracer = Tracer([cpu], 10**9)
cpu.emit.lock_release(1, 2)
assert not cpu.on.lock
tracer.set_mask(0)
tracer.drain(everything=True)
tracer.stop()
assert load.cache_info().currsize == 0
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=Path(__file__).parents[3])


@pytest.mark.parametrize("part", ["describe", "on_mask", "sources"])
def test_if_somebody_who_has_a_part_in_it_fails_everything_is_off_and_can_begin_anew(
    part: str, tmp_path: Path
) -> None:
    broken, told = [True], list[int]()

    def fail(*_: object) -> None:
        if broken[0]:
            raise LookupError("an object that is half destroyed")

    tracer, cpus = lab(describe=fail if part == "describe" else None)
    if part == "on_mask":
        tracer.on_mask.append(fail)
    tracer.on_mask.append(told.append)
    if part == "sources":
        tracer.set_mask(LOCK)
        tracer.sources.append(fail)
    with pytest.raises(LookupError, match="half destroyed"):
        tracer.start(tmp_path / "a", LOCK)
    assert (tracer.mask, tracer.status().mode, cpus[0].on.lock, told[-1]) == (0, "off", False, 0)
    broken[0] = False
    tracer.start(tmp_path / "b", LOCK)
    work(tracer, cpus, 3)
    assert tracer.stop().failure == ""
    assert numbers(read(tmp_path / "b")[0]) == [0, 1, 2]
