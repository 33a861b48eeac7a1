"""Streams come together in order of time, then of processors, each in its own order (T12)."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from k42fs.report.decode import Record
from k42fs.report.merge import merged

Packets = list[list[int]]


def stream(vp: int, packets: Packets) -> list[list[Record]]:
    """Make records of stamps; the payload numbers them."""
    numbered = iter(range(10**6))
    return [[(time, vp, 0, [next(numbered)]) for time in packet] for packet in packets]


def cut(times: list[int], sizes: list[int]) -> Packets:
    """Cut *times* into packets of the sizes given, over and over."""
    packets, at, index = [], 0, 0
    while at < len(times):
        size = sizes[index % len(sizes)]
        packets.append(times[at : at + size])
        at, index = at + size, index + 1
    return packets


@given(
    st.lists(st.lists(st.integers(0, 30), max_size=40).map(sorted), max_size=5),
    st.lists(st.integers(1, 7), min_size=1, max_size=4),
)
def test_the_merge_is_a_stable_sort(stamps: list[list[int]], sizes: list[int]) -> None:
    streams = [stream(vp, cut(times, sizes)) for vp, times in enumerate(stamps)]
    everything = [record for packets in streams for records in packets for record in records]
    found = [record for records in merged([iter(packets) for packets in streams]) for record in records]
    assert found == sorted(everything, key=lambda record: record[0])


def test_it_does_not_wait_for_the_end_of_a_long_stream() -> None:
    read = []

    def long() -> Iterator[list[Record]]:
        for packet in stream(0, [[at] for at in range(1000)]):
            read.append(packet)
            yield packet

    pieces = merged([long(), iter(stream(1, [[5], [5000]]))])
    next(pieces)
    assert len(read) < 20
