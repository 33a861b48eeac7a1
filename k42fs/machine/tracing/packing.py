"""Fields into words and back, by K42's rule: the same layout that the emitters write in one expression."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final

from k42fs.machine.tracing.schema import MAX_WORDS, Event, Field, SchemaError

Value = int | str | tuple[int, ...]

WORD_BYTES: Final = 8
WORD_MASK: Final = (1 << 64) - 1
STAMP_BITS: Final = 32
STAMP_MASK: Final = (1 << STAMP_BITS) - 1
LENGTH_SHIFT: Final = 24
ID_MASK: Final = (1 << LENGTH_SHIFT) - 1

_UNPACK: Final = tuple(Struct(f"<{count}Q").unpack for count in range(MAX_WORDS))


def header(stamp: int, length: int, event_id: int) -> int:
    """Return an event's first word; of *stamp* its low 32 bits."""
    return (stamp & STAMP_MASK) << STAMP_BITS | length << LENGTH_SHIFT | event_id


def split_header(word: int) -> tuple[int, int, int]:
    """Return (low 32 bits of the stamp, length in words, event id) of an event's first word."""
    return word >> STAMP_BITS, word >> LENGTH_SHIFT & MAX_WORDS, word & ID_MASK


def text_words(text: str | bytes, room: int) -> tuple[int, ...]:
    """Return inline text as words: NUL-terminated, the rest of the last word zero.

    A NUL within it would end it, so it becomes "\\0"; what does not fit in *room* words is cut, and "..." says so.
    """
    raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    if b"\0" in raw:
        raw = raw.replace(b"\0", b"\\0")
    limit = room * WORD_BYTES - 1
    if len(raw) > limit:
        raw = raw[: limit - 3] + b"..."
    words = len(raw) // WORD_BYTES + 1
    return _UNPACK[words](raw.ljust(words * WORD_BYTES, b"\0"))


def words_text(words: Sequence[int]) -> str:
    """Return inline text that fills *words*."""
    raw = b"".join(word.to_bytes(WORD_BYTES, "little") for word in words)
    return raw.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def pack(event: Event, stamp: int, values: Sequence[Value]) -> list[int]:
    """Return the words of one event. Raises SchemaError for a wrong number of values, or too many words."""
    if len(values) != len(event.fields):
        raise SchemaError(f"{event.qualified} has {len(event.fields)} fields, not {len(values)}")
    words = [0]
    for each, value in zip(event.fields, values, strict=True):
        if each.type.inline:
            assert isinstance(value, str), f"{event.qualified}: {each.name} is text"
            words += text_words(value, MAX_WORDS - len(words))
        elif each.type.list:
            assert isinstance(value, tuple), f"{event.qualified}: {each.name} is a list"
            words += [item & WORD_MASK for item in value]
        else:
            assert isinstance(value, int), f"{event.qualified}: {each.name} is a number"
            if each.word + 1 == len(words):
                words.append(0)
            words[each.word + 1] |= (value & each.mask) << each.shift
    if len(words) > MAX_WORDS:
        raise SchemaError(f"{event.qualified}: {len(words)} words, more than {MAX_WORDS}")
    words[0] = header(stamp, len(words), event.id)
    return words


def unpack(event: Event, words: Sequence[int]) -> tuple[Value, ...]:
    """Return the values of the fields of one event, whose header is words[0]. The length must be right."""
    return tuple(_value(each, words) for each in event.fields)


def _value(each: Field, words: Sequence[int]) -> Value:
    if each.type.inline:
        return words_text(words[each.word + 1 :])
    if each.type.list:
        return tuple(words[each.word + 1 :])
    value = words[each.word + 1] >> each.shift & each.mask
    if each.type.signed and value >> (each.type.bits - 1):
        value -= 1 << each.type.bits
    return value
