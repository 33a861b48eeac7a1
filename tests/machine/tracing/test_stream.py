"""From a list of words to packets: order, boundaries, wraps, and what stock readers stumble over (T1-T3, T13)."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k42fs.machine.tracing.emitters import make_emitters
from k42fs.machine.tracing.packets import (
    HEAD_BYTES,
    MAX_GAP,
    PACKET_BYTES,
    ROOM_WORDS,
    decode_head,
    with_discarded,
)
from k42fs.machine.tracing.schema import load
from k42fs.machine.tracing.split import Body, split
from k42fs.machine.tracing.stream import Packet, Stream
from k42fs.machine.tracing.words import PlainWords
from tests.machine.tracing.lab import TRACE_ID, Cpu, Seen, events_in

ALL = (1 << 64) - 1


def a_stream() -> tuple[Stream, Cpu]:
    """Return a stream and a processor with emitters for it."""
    stream, cpu = Stream(load(), TRACE_ID, 3, 3, lambda: 77), Cpu()
    (cpu.emit,) = make_emitters([cpu])
    cpu.emit.bind(stream.words, stream.words)
    cpu.emit.switch(ALL)
    return stream, cpu


def decoded(packets: Iterable[Packet]) -> list[Seen]:
    return [seen for _, packet, _ in packets for seen in events_in(packet)]


def stamps(packets: Iterable[Packet]) -> list[int]:
    return [stamp for _, stamp, _, _ in decoded(packets)]


def test_a_packet_says_what_is_in_it() -> None:
    stream, cpu = a_stream()
    cpu.clock = 1 << 40
    cpu.emit.lock_release(0xABC, 5)
    cpu.clock += 9
    cpu.emit.lock_release(0xABC, 6)
    ((head, packet, count),) = stream.cut(everything=True)
    assert (len(packet), count) == (PACKET_BYTES, 2)
    assert (head.begin, head.end, head.cpu, head.host_ns) == (1 << 40, (1 << 40) + 9, 3, 77)
    assert head.content_bits == 8 * (HEAD_BYTES + 2 * 3 * 8)
    assert decode_head(packet) == head
    assert list(events_in(packet)) == [
        (3, 1 << 40, "lock_release", (0xABC, 5)),
        (3, (1 << 40) + 9, "lock_release", (0xABC, 6)),
    ]


def test_the_count_of_discarded_events_is_where_readers_look() -> None:
    stream, cpu = a_stream()
    cpu.emit.lock_release(1, 2)
    ((_, packet, _),) = stream.cut(everything=True)
    head = decode_head(with_discarded(packet, 12345))
    assert head is not None
    assert head.discarded == 12345


def test_what_does_not_fill_a_packet_stays() -> None:
    stream, cpu = a_stream()
    for cpu.clock in range(5000):
        cpu.emit.lock_release(cpu.clock, 0)
    full = list(stream.cut(everything=False))
    assert [count for _, _, count in full] == [ROOM_WORDS // 3]
    assert list(stream.cut(everything=False)) == []
    rest = list(stream.cut(everything=True))
    assert stamps([*full, *rest]) == list(range(5000))
    assert [head.sequence for head, _, _ in (*full, *rest)] == [0, 1]
    assert list(stream.cut(everything=True)) == []


@given(st.lists(st.integers(1, 250), min_size=100, max_size=800))
def test_every_packet_decodes_alone_and_holds_whole_events(sizes: list[int]) -> None:
    stream, cpu = a_stream()
    for cpu.clock, size in enumerate(sizes):
        cpu.emit.hw_perf_mon_periodic_all(0, size, tuple(range(size)))
    packets = list(stream.cut(everything=True))
    seen = decoded(random.Random(0).sample(packets, len(packets)))
    assert sorted((stamp, len(values[2])) for _, stamp, _, values in seen) == list(enumerate(sizes))  # type: ignore[arg-type]
    for (before, _, _), (after, packet, _) in pairwise(packets):
        _, _, _, values = next(events_in(packet))
        assert before.words + 3 + len(values[2]) > ROOM_WORDS, "the event would have fitted"  # type: ignore[arg-type]
        assert after.sequence == before.sequence + 1


@pytest.mark.parametrize("gap", [0, 1, MAX_GAP - 1, MAX_GAP, 2**32 - 1, 2**32, 2**32 + 1, 2**40])
def test_gaps_around_the_wrap_are_exact(gap: int) -> None:
    stream, cpu = a_stream()
    at = [2**32 - 1, 2**32 - 1 + gap, 2**32 - 1 + 2 * gap]
    for cpu.clock in at:
        cpu.emit.exception_ip_interrupt()
    packets = list(stream.cut(everything=True))
    assert stamps(packets) == at
    assert len(packets) == (1 if gap < MAX_GAP else 3)


@given(
    st.lists(st.tuples(st.integers(0, 2**34), st.booleans()), max_size=60),
)
def test_stamps_never_step_back_and_late_ones_lose_least(told: list[tuple[int, bool]]) -> None:
    stream, cpu = a_stream()
    seen: list[Seen] = []
    expected: list[tuple[int, int]] = []
    pending: list[tuple[int, int]] = []
    begins: list[int] = []
    last = 0

    def cut() -> None:
        nonlocal last
        packets = list(stream.cut(everything=True))
        seen.extend(decoded(packets))
        heads = [head for head, _, _ in packets]
        for stamp, number in sorted(pending, key=lambda each: each[0]):
            last = max(last, stamp)
            expected.append((last, number))
        pending.clear()
        if heads and heads[-1].begin == heads[-1].end:
            last += 1  # the next packet begins later, for readers that sort packets
        begins.extend(head.begin for head in heads)

    for number, (stamp, ends) in enumerate(told):
        cpu.clock = stamp
        cpu.emit.lock_release(number, 0)
        pending.append((stamp, number))
        if ends:
            cut()
    cut()
    assert [(stamp, values[0]) for _, stamp, _, values in seen] == expected
    assert begins == sorted(set(begins))


@pytest.mark.parametrize("text", ["", "seven..", "eight...", "nine....."])
def test_the_content_ends_with_the_text(text: str) -> None:
    stream, cpu = a_stream()
    cpu.emit.meta_string(1, text)
    ((head, packet, _),) = stream.cut(everything=True)
    assert head.content_bits == 8 * (HEAD_BYTES + 16 + len(text) + 1)
    assert list(events_in(packet)) == [(3, 0, "meta_string", (1, text))]


@pytest.mark.parametrize(("given_", "read"), [(-1, ALL), (1 << 64, 0), ((5 << 64) + 7, 7), (True, 1)])
def test_a_value_out_of_range_is_cut_and_harms_no_other(given_: int, read: int) -> None:
    stream, cpu = a_stream()
    cpu.emit.lock_release(1, 2)
    cpu.emit.lock_release(given_, 3)
    assert [values for *_, values in decoded(stream.cut(everything=True))] == [(1, 2), (read, 3)]


def test_fields_that_share_a_word_cannot_spoil_each_other() -> None:
    stream, cpu = a_stream()
    cpu.emit.clust_obj_call(1, 0x12345, -1, 1 << 32, 9)
    ((_, _, _, values),) = decoded(stream.cut(everything=True))
    assert values == (1, 0x2345, 0xFFFF, 0, 9)


def storm(emitters: int, events: int, drain: Callable[[Stream], list[Packet]]) -> list[Seen]:
    """Let *emitters* threads emit for one processor while this one drains; return all that came out."""
    stream, cpu = a_stream()
    seen: list[Seen] = []
    start = threading.Barrier(emitters + 1)

    def emit(who: int) -> None:
        start.wait()
        for number in range(events):
            cpu.clock += 1
            cpu.emit.fuse_op_args(who, number, who ^ number, ~number)

    threads = [threading.Thread(target=emit, args=[who]) for who in range(emitters)]
    for thread in threads:
        thread.start()
    start.wait()
    while any(thread.is_alive() for thread in threads):
        seen += decoded(drain(stream))
    seen += decoded(stream.cut(everything=True))
    return seen


def test_no_event_of_any_thread_is_lost_torn_or_reordered() -> None:
    seen = storm(4, 5000, lambda stream: list(stream.cut(everything=False)))
    assert [stamp for _, stamp, _, _ in seen] == sorted(stamp for _, stamp, _, _ in seen)
    assert Counter(values[0] for *_, values in seen) == dict.fromkeys(range(4), 5000)
    for who in range(4):
        mine = [values for *_, values in seen if values[0] == who]
        assert {values[1:] for values in mine} == {(n, who ^ n, ~n) for n in range(5000)}


def test_one_threads_events_keep_their_order() -> None:
    stream, cpu = a_stream()
    for number in range(20000):
        cpu.clock = number // 7
        cpu.emit.lock_release(number, 0)
    seen = decoded(stream.cut(everything=True))
    assert [values[0] for *_, values in seen] == list(range(20000))


class Unordered(PlainWords):
    """Words that stay in the order in which they came."""

    def cut(self, last: int, everything: bool) -> list[Body]:
        assert split(self, last) is None
        return [joined(split(self[:4], last), split(self[4:], last))]


def test_a_drain_that_keeps_late_stamps_would_be_noticed() -> None:
    """Calibration: without the order restored, what `events_in` checks fails."""
    stream, cpu = a_stream()
    for cpu.clock in (5, 4):
        cpu.emit.lock_release(0, 0)
    stream.words = Unordered(stream.words.take())
    with pytest.raises(AssertionError, match="end"):
        decoded(stream.cut(everything=True))


def joined(one: list[Body] | None, other: list[Body] | None) -> Body:
    assert one
    assert other
    return Body(0, one[0].data + other[0].data, one[0].begin, other[0].end, 2, one[0].last_id)
