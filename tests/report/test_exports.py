"""Exports: what a hand-made recording must become, and what the stock trace processor makes of the files."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k42fs.machine.tracing.packets import HEAD_BYTES
from k42fs.report.export_chrome import chrome
from k42fs.report.export_ftrace import KERNEL_PID, ftrace
from k42fs.report.export_perfetto import perfetto
from k42fs.report.export_protobuf import varint
from k42fs.report.export_speedscope import speedscope
from k42fs.report.export_timeline import RUNNING, Slice, Timeline, counted, timeline
from k42fs.report.filters import Source
from k42fs.report.kmon import WAYS, chart
from k42fs.report.kmon_page import page
from k42fs.report.kmon_svg import svg
from k42fs.report.reader import Trace
from tests.machine.tracing.lab import HandTrace
from tests.report.trace_processor import NEEDED, queried

MAKE, SHELL, IDLE, KERNEL = 101 << 32, 102 << 32, 1 << 16, 0
DIR, FILE, LOCK = 0xE100000000003F90, 0xE100000000004A00, 0xAA0


def recording(directory: Path) -> Path:
    """Record two requests on two processors that call each other, wait for a lock and overlap; 2 ticks are 1 ns."""
    hand = HandTrace(directory, processors=2, ticks_per_second=2 * 10**9)
    hand.event(0, 0, "clust_obj_object_name", DIR, "DirObject", "/src")
    hand.event(0, 0, "clust_obj_method_name", 1, "DirObject", "lookup")
    hand.event(0, 0, "clust_obj_method_name", 2, "ServerFile", "read")
    hand.event(0, 0, "lock_lock_name", LOCK, DIR, "dirlock", "RWLock")
    hand.event(0, 100, "user_spawn", 101, 1, 0, 'make "all" \u2713')
    hand.event(0, 200, "exception_context", MAKE, 0, MAKE)
    hand.event(0, 300, "fuse_op_enter", 7, 1, 5, 101, 0, 0, 0, 0)
    hand.event(0, 300, "exception_ppc_call", KERNEL, 55)
    hand.event(0, 300, "clust_obj_call", DIR, 1, 0, 0, 900)
    hand.event(0, 500, "lock_acquire", LOCK, 2, "dir_object.py:118 lookup", 60, 1, "dir_object.py:40 create")
    hand.event(0, 510, "clust_obj_call", FILE, 2, 0, 1, 901)
    hand.event(0, 520, "scheduler_mp_msg_send", 1, 77, "sync.py:1 send")
    hand.event(0, 600, "clust_obj_return", FILE, 2, 0, 0, 901)
    hand.event(0, 610, "lock_release", LOCK, 110)
    hand.event(0, 620, "clust_obj_return", DIR, 1, 0, 2, 900)
    hand.event(0, 630, "exception_ppc_return", MAKE, 55)
    hand.event(0, 640, "fuse_op_exit", 7, -2, 0, 5000)
    hand.event(0, 700, "exception_context", IDLE, 1, IDLE)
    hand.event(0, 710, "cache_counters", 1, 2, 3, 4, 5, 6)
    hand.event(1, 250, "exception_context", SHELL, 0, SHELL)
    hand.event(1, 540, "scheduler_mp_msg_receive", 0, 77, "sync.py:1 send")
    # Calls of two threads that end in the order in which they began: neither is within the other.
    hand.event(1, 550, "clust_obj_call", DIR, 1, 1, 0, 910)
    hand.event(1, 560, "clust_obj_call", FILE, 2, 1, 0, 911)
    hand.event(1, 570, "clust_obj_return", DIR, 1, 1, 0, 910)
    hand.event(1, 580, "clust_obj_return", FILE, 2, 1, 0, 911)
    hand.event(1, 590, "clust_obj_return", FILE, 2, 1, 0, 1)  # began before the recording
    hand.event(1, 650, "clust_obj_call", FILE, 2, 1, 0, 912)  # does not end in it
    hand.event(1, 660, "scheduler_mp_msg_receive", 0, 78, "sync.py:1 send")  # sent before the recording
    return hand.close()


def made_of(directory: Path) -> Timeline:
    return timeline(Source(Trace(directory)))


@pytest.fixture
def made(tmp_path: Path) -> Timeline:
    return made_of(recording(tmp_path / "t"))


def shape(each: Slice) -> tuple[int, str, str, int, int]:
    return each.processor, each.kind, each.name, each.begin, each.end


def test_slices_are_what_took_time(made: Timeline) -> None:
    """ns from the first event, at tick 100."""
    assert sorted(shape(each) for each in made.slices) == sorted(
        [
            (0, RUNNING, 'make "all" \u2713 (101)', 50, 100),
            (0, RUNNING, "kernel", 100, 265),
            (0, RUNNING, 'make "all" \u2713 (101)', 265, 300),
            (0, "request", "lookup", 100, 270),
            (0, "call", "DirObject.lookup", 100, 260),
            (0, "call", "ServerFile.read", 205, 250),
            (0, "hold", "hold DirObject.dirlock", 200, 255),
            (0, "wait", "wait for DirObject.dirlock", 170, 200),
            (1, RUNNING, "pid 102", 75, 305),
            (1, "call", "DirObject.lookup", 225, 235),
            (1, "call", "ServerFile.read", 230, 240),
            (1, "call", "ServerFile.read", 275, 305),
        ]
    )


def test_what_has_no_beginning_or_no_end_is_said(made: Timeline) -> None:
    assert list(counted(made)) == [
        "1 intervals that began before the recording are not shown",
        "1 intervals did not end in the recording: they are shown until its end",
    ]
    assert [each.args["unfinished"] for each in made.slices if "unfinished" in each.args] != []


def test_a_slice_has_the_fields_of_both_its_ends(made: Timeline) -> None:
    request = next(each for each in made.slices if each.kind == "request")
    assert (request.args["pid"], request.args["errno"], request.args["node"]) == (101, -2, 5)
    hold = next(each for each in made.slices if each.kind == "hold")
    assert (hold.args["site"], hold.args["held"]) == ("dir_object.py:118 lookup", 110)


def test_arrows_have_two_ends(made: Timeline) -> None:
    ends = sorted((each.flow, not each.is_out, each.name) for each in made.moments if each.flow)
    assert [name for _, _, name in ends] == ["PPCCall", "PPCReturn", "MPMsgSend", "MPMsgReceive"]
    assert [flow for flow, _, _ in ends] == [ends[0][0], ends[0][0], ends[2][0], ends[2][0]]


def test_arrows_are_told_apart_though_a_number_is_used_again(tmp_path: Path) -> None:
    hand = HandTrace(tmp_path / "t")
    for at, message in ((10, 1), (20, 1), (30, 2)):
        hand.event(0, at, "scheduler_mp_msg_send", 0, message, 0)
    for at, message in ((40, 2), (50, 1)):
        hand.event(0, at, "scheduler_mp_msg_receive", 0, message, 0)
    ends: dict[int, list[int]] = {}
    for each in made_of(hand.close()).moments:
        ends.setdefault(each.flow, []).append(each.time)
    assert sorted(ends.values()) == [[0], [10, 40], [20, 30]]


def test_tracks_are_numbered_in_the_order_in_which_they_are_shown(made: Timeline) -> None:
    assert [track.name for track in made.tracks] == [
        "cpu0",
        "cpu0 request",
        "cpu0 call",
        "cpu0 wait",
        "cpu0 hold",
        "cpu1",
        "cpu1 call",
        "cpu1 call 2",
    ]
    assert [track.number for track in made.tracks] == list(range(8))


def test_overlapping_slices_go_to_tracks_of_their_own(made: Timeline) -> None:
    names = {track.number: track.name for track in made.tracks}
    calls = [names[each.track] for each in made.slices if each.kind == "call"]
    assert calls == ["cpu0 call", "cpu0 call", "cpu1 call", "cpu1 call 2", "cpu1 call"]


def assert_nested(slices: Iterable[Slice]) -> None:
    """Of two slices of one track one ends before the other begins, or is within it."""
    open_ends: dict[int, list[tuple[int, int]]] = {}
    for each in slices:
        ends = open_ends.setdefault(each.track, [])
        while ends and ends[-1] <= (each.begin, each.order):
            ends.pop()
        assert not ends or (each.end, each.end_order) <= ends[-1]
        ends.append((each.end, each.end_order))


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 30), st.integers(0, 30)), max_size=30))
def test_slices_of_one_track_always_nest(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[int, int, int]]
) -> None:
    hand = HandTrace(tmp_path_factory.mktemp("nest") / "t", processors=2)
    for number, (vp, begin, length) in enumerate(calls):
        hand.event(vp, 10 + begin, "clust_obj_call", DIR, 1, vp, 0, number)
        hand.event(vp, 10 + begin + length, "clust_obj_return", DIR, 1, vp, 0, number)
    made = made_of(hand.close())
    assert len(made.slices) == len(calls) - made.unmatched
    assert_nested(made.slices)


def test_a_lock_that_several_read_is_held_once_on_each(tmp_path: Path) -> None:
    hand = HandTrace(tmp_path / "t", processors=2)
    for vp in (0, 1):
        hand.event(vp, 10 + vp, "lock_acquire", LOCK, 2, "a.py:1 f", 0, -1, 0)
        hand.event(vp, 20 + 10 * vp, "lock_release", LOCK, 10)
    assert [shape(each)[3:] for each in made_of(hand.close()).slices] == [(0, 10), (1, 20)]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 8 * 1500)), min_size=1, max_size=12))
def test_whatever_bits_flip_everything_can_be_drawn_and_exported(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]]
) -> None:
    directory = recording(tmp_path_factory.mktemp("flip") / "t")
    for which, bit in flips:
        file = directory / ("cpu0", "cpu1", "names")[which]
        data = bytearray(file.read_bytes())
        data[HEAD_BYTES + bit // 8] ^= 1 << bit % 8
        file.write_bytes(data)
    made = made_of(directory)
    assert_nested(made.slices)
    assert json.loads("".join(chrome(made)))["traceEvents"]
    assert json.loads("".join(speedscope(made)))["profiles"] is not None
    assert b"".join(perfetto(made))
    assert "".join(ftrace(made)).encode("utf-8", "replace")
    for by in WAYS:
        drawn = chart(Source(Trace(directory)), by)
        assert page(drawn).encode()
        assert svg(drawn).encode()


def test_an_empty_recording_can_be_exported(tmp_path: Path) -> None:
    made = made_of(HandTrace(tmp_path / "t").close())
    assert json.loads("".join(chrome(made)))["traceEvents"]
    assert b"".join(perfetto(made))
    assert json.loads("".join(speedscope(made)))["profiles"] == []
    assert "".join(ftrace(made)).startswith("# tracer: nop\n")


def test_varints_are_protobufs() -> None:
    assert [varint(value).hex() for value in (0, 127, 128, 300, -1)] == [
        "00",
        "7f",
        "8001",
        "ac02",
        "ff" * 9 + "01",
    ]


def test_chrome_times_are_exact(made: Timeline) -> None:
    text = "".join(chrome(made))
    events = json.loads(text)["traceEvents"]
    slices = [each for each in events if each["ph"] == "X" and "bind_id" not in each]
    assert Counter(
        (each["name"], round(each["ts"] * 1000), round(each["dur"] * 1000)) for each in slices
    ) == Counter((each.name, each.begin, each.end - each.begin) for each in made.slices)
    assert re.search(r'"ts":0\.205,"dur":0\.045,', text)


def test_speedscope_accounts_for_the_whole_time_of_each_processor(made: Timeline) -> None:
    profile = json.loads("".join(speedscope(made)))
    frames = [frame["name"] for frame in profile["shared"]["frames"]]
    for each in profile["profiles"]:
        assert sum(each["weights"]) == each["endValue"] == made.end
    first = profile["profiles"][0]
    stacks = [[frames[frame] for frame in sample] for sample in first["samples"]]
    assert ["kernel", "lookup", "DirObject.lookup", "wait for DirObject.dirlock"] in stacks
    reading = stacks.index(["kernel", "lookup", "DirObject.lookup", "ServerFile.read"])
    assert first["weights"][reading] == 45


def test_ftrace_switches_follow_each_other(made: Timeline) -> None:
    running = {0: "0", 1: "0"}
    seen = []
    for line in ftrace(made):
        if found := re.search(r"\[(\d+)\].*: sched_switch: .*prev_pid=(\d+) .*next_pid=(\d+) ", line):
            cpu = int(found[1])
            assert running[cpu] == found[2]
            running[cpu] = found[3]
            seen.append((cpu, found[3]))
    assert seen == [(0, "101"), (1, "102"), (0, str(KERNEL_PID)), (0, "101"), (0, "0"), (1, "0")]


def written(made: Timeline, way: Callable[[Timeline], Iterable[Any]], path: Path) -> Path:
    parts = list(way(made))
    path.write_bytes(b"".join(each if isinstance(each, bytes) else each.encode() for each in parts))
    return path


SLICES = "select name, ts, dur from slice"
ARROWS = "select count(*) as n from flow"
LEVELS = "select value from counter order by value"
TRACKS = "select distinct thread.name from thread_track join thread using (utid) order by 1"


@NEEDED
@pytest.mark.parametrize("way", [chrome, perfetto])
def test_the_trace_processor_sees_every_slice_arrow_and_counter(
    tmp_path: Path, made: Timeline, way: Callable[[Timeline], Iterable[Any]]
) -> None:
    slices, arrows, levels = queried(written(made, way, tmp_path / "export"), SLICES, ARROWS, LEVELS)
    expected = Counter((each.name, each.begin, each.end - each.begin) for each in made.slices)
    expected += Counter((each.name, each.time, 0) for each in made.moments)
    assert Counter((each["name"], each["ts"], each["dur"]) for each in slices) == expected
    assert arrows == [{"n": 2}]
    assert [each["value"] for each in levels] == [1, 2, 3, 4, 5, 6]


@NEEDED
def test_the_trace_processor_sees_the_processors_by_name(tmp_path: Path, made: Timeline) -> None:
    for way in (chrome, perfetto):
        (tracks,) = queried(written(made, way, tmp_path / "export"), TRACKS)
        assert {"cpu0", "cpu1"} <= {each["name"] for each in tracks}


@NEEDED
def test_the_trace_processor_reads_the_ftrace_text(tmp_path: Path, made: Timeline) -> None:
    slices, ran = queried(
        written(made, ftrace, tmp_path / "export"),
        SLICES,
        "select tid, sum(dur) as ns from sched join thread using (utid) where tid > 0 group by tid order by tid",
    )
    # It reads seconds as floating-point numbers and cuts them to ns.
    seen = sorted((each["name"], each["ts"], each["ts"] + each["dur"]) for each in slices)
    expected = sorted((each.name, each.begin, each.end) for each in made.slices if each.kind != RUNNING)
    assert [each[0] for each in seen] == [each[0] for each in expected]
    for one, other in zip(seen, expected, strict=True):
        assert one[1:] == pytest.approx(other[1:], abs=1)
    assert {each["tid"]: each["ns"] for each in ran} == pytest.approx(
        {101: 85, 102: 230, KERNEL_PID: 165}, abs=3
    )
