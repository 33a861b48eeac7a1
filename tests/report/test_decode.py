"""The compiled decoder and the plain one are the same function, of sound packets and of garbage."""

import random
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k42fs.machine.tracing.packets import bytes_words
from k42fs.machine.tracing.packing import pack
from k42fs.machine.tracing.schema import load
from k42fs.report.decode import IS_COMPILED, Decoder
from tests.report.test_listing import any_values

SCHEMA = load()
LOCKS = {SCHEMA.by_attribute[name].id for name in ("lock_acquire", "lock_release")}


def packet(seed: int, events: int) -> tuple[bytes, int, int]:
    """Return the words of random events, and the stamps of the first and the last."""
    dice = random.Random(seed)
    words: list[int] = []
    begin = at = dice.choice([0, 2**32 - 3, 2**40])
    for index in range(events):
        event = dice.choice(list(SCHEMA.events()))
        if index:
            at += dice.choice([0, 1, 2**31 - 1])
        words += pack(event, at, any_values(dice, event))
    return array("Q", words).tobytes(), begin, at


@pytest.mark.skipif(not IS_COMPILED, reason="the compiled decoder was not built")
@given(
    seed=st.integers(0, 2**32),
    events=st.integers(0, 30),
    wanted=st.sampled_from([None, LOCKS, set()]),
    newer=st.booleans(),
    flips=st.lists(st.tuples(st.floats(0, 0.9999), st.integers(0, 7)), max_size=4),
    cut=st.integers(0, 3),
)
def test_both_decoders_agree(
    seed: int, events: int, wanted: set[int] | None, newer: bool, flips: list[tuple[float, int]], cut: int
) -> None:
    body, begin, end = packet(seed, events)
    garbled = bytearray(body[: len(body) - 8 * cut] if cut * 8 <= len(body) else body)
    for spot, bit in flips:
        if garbled:
            garbled[int(spot * len(garbled))] ^= 1 << bit
    plain, compiled = Decoder(SCHEMA, wanted, newer), Decoder(SCHEMA, wanted, newer)
    expected = plain.decode(bytes_words(bytes(garbled)).tolist(), 3, begin, end)
    assert compiled.decode_bytes(bytes(garbled), 3, begin, end) == expected
    assert compiled.unknown == plain.unknown


@pytest.mark.parametrize("step", [2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1])
def test_a_packet_spans_less_than_half_a_wrap_between_events(step: int) -> None:
    """T13: the writer begins a new packet before a stamp of 32 bits could mislead; the reader takes no other."""
    event = SCHEMA.by_attribute["control_traced_start"]
    words = pack(event, 5, ()) + pack(event, 5 + step, ())
    records, _ = Decoder(SCHEMA).decode_bytes(array("Q", words).tobytes(), 0, 5, 5 + step)
    assert [time for time, *_ in records] == ([5, 5 + step] if step < 2**31 else [])


def test_a_packet_whose_head_disagrees_with_its_events_is_not_believed() -> None:
    event = SCHEMA.by_attribute["control_traced_start"]
    body = array("Q", pack(event, 5, ()) + pack(event, 9, ())).tobytes()
    for begin, end in ((5, 10), (5, 2**32 + 9), (4, 9), (2**32 + 5, 9)):
        assert Decoder(SCHEMA).decode_bytes(body, 0, begin, end) == ([], 0)
