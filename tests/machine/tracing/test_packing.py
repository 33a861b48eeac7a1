"""Fields in words: K42's rule, strings at the edges, and that emitters and the packer agree (T10)."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k42fs.machine.tracing import words as words_module
from k42fs.machine.tracing.emitters import make_emitters
from k42fs.machine.tracing.packing import (
    WORD_MASK,
    pack,
    split_header,
    text_words,
    unpack,
    words_text,
)
from k42fs.machine.tracing.schema import Event, SchemaError, load, parse
from k42fs.machine.tracing.words import new_words
from tests.machine.tracing.lab import Cpu

TYPES = """
revision = 1
layers = { OS = 2 }
[types]
x64 = { base = 16 }
s64 = { signed = true }
u32 = { bits = 32 }
u16 = { bits = 16 }
s16 = { bits = 16, signed = true }
u8 = { bits = 8 }
text = { inline = true }
list = { list = true }
[classes.T]
layer = "OS"
major = 1
[classes.T.events]
"""


def event(fields: str) -> Event:
    return next(parse(f'{TYPES}E = {{ minor = 0, fields = "{fields}" }}').events())


@pytest.mark.parametrize(
    ("fields", "values", "words"),
    [
        ("", (), []),
        ("a", (0x1122334455667788,), [0x1122334455667788]),
        ("a:u16 b:u16 c:u32", (0x1111, 0x2222, 0x33333333), [0x1111222233333333]),
        ("a:u8 b:u8", (0x11, 0x22), [0x1122000000000000]),
        ("a:u8 b:u32 c:u32", (0x11, 0x22222222, 0x33333333), [0x1122222222000000, 0x3333333300000000]),
        ("a:u32 b c:u16", (1, 2, 3), [1 << 32, 2, 3 << 48]),
        ("a:s16 b:s64", (-1, -2), [0xFFFF << 48, WORD_MASK - 1]),
        ("a t:text", (9, "srcfile"), [9, int.from_bytes(b"srcfile\0", "little")]),
        ("n:u16 v:list", (2, (7, 8)), [2 << 48, 7, 8]),
    ],
)
def test_fields_are_packed_from_the_top_of_each_word(
    fields: str, values: tuple[Any, ...], words: list[int]
) -> None:
    one = event(fields)
    packed = pack(one, 5, values)
    assert packed[1:] == words
    assert split_header(packed[0]) == (5, len(packed), one.id)
    assert unpack(one, packed) == values


@pytest.mark.parametrize(("length", "words"), [(0, 1), (7, 1), (8, 2), (9, 2), (15, 2), (16, 3), (2023, 253)])
def test_text_takes_a_word_for_each_8_bytes_and_its_nul(length: int, words: int) -> None:
    text = "x" * length
    assert len(text_words(text, 253)) == words
    assert words_text(text_words(text, 253)) == text


def test_text_that_does_not_fit_is_cut_and_says_so() -> None:
    packed = pack(event("a t:text"), 0, (1, "y" * 5000))
    assert len(packed) == 255
    assert words_text(packed[2:]) == "y" * 2020 + "..."


def test_a_nul_does_not_end_text_nor_do_strange_bytes() -> None:
    assert words_text(text_words(b"a\0b\xff", 9)) == "a\\0b\udcff"


def test_too_much_is_refused() -> None:
    with pytest.raises(SchemaError, match="more than 255"):
        pack(event("n:u16 v:list"), 0, (300, tuple(range(300))))
    with pytest.raises(SchemaError, match="has 1 fields, not 2"):
        pack(event("a"), 0, (1, 2))


def a_value(of: str, bits: int, signed: bool) -> st.SearchStrategy[Any]:
    if of == "text":
        return st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
    if of == "list":
        return st.lists(st.integers(0, WORD_MASK), max_size=8).map(tuple)
    low = -(1 << bits - 1) if signed else 0
    return st.integers(low, low + (1 << bits) - 1)


@pytest.fixture(params=[True, False], ids=["compiled", "plain"])
def compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Emitters in C, if they were built, and those in Python."""
    if request.param:
        pytest.importorskip("k42fs.machine.tracing.fast_words", exc_type=ImportError)
    else:
        monkeypatch.setattr(words_module, "fast_words", None)


@pytest.mark.usefixtures("compiled")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_emitters_write_what_the_packer_does(data: st.DataObject) -> None:
    one = data.draw(st.sampled_from(list(load().events())))
    stamp = data.draw(st.integers(0, 1 << 50))
    values = [data.draw(a_value(each.type.name, each.type.bits, each.type.signed)) for each in one.fields]
    words = new_words()
    (emit,) = make_emitters([Cpu(clock=stamp)])
    emit.bind(words, words)
    emit.switch(WORD_MASK)
    getattr(emit, one.attribute)(*values)
    emit.stamped(one.attribute)(stamp, *values)
    head, *payload = pack(one, 0, values)
    assert [word & WORD_MASK for word in words[:]] == [head, stamp, *payload] * 2
    assert unpack(one, [head, *payload]) == tuple(values)
