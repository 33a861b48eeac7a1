"""The few protobuf encodings that Perfetto's format needs: varints, fixed 64-bit numbers, bytes.

A field is a tag (number << 3 | kind) and a value. Source: the protobuf encoding guide; the numbers of the
fields are in export_perfetto.py.
"""

from __future__ import annotations

from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
WORD: Final = 1 << 64


def varint(value: int) -> bytes:
    """Return *value* seven bits at a time, lowest first; a negative one as its 64-bit complement."""
    if 0 <= value < 128:
        return _ONE[value]
    value %= WORD
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    """Return a field that holds a varint."""
    return varint(field << 3 | VARINT) + varint(value)


def fixed64(field: int, value: int) -> bytes:
    """Return a field that holds eight bytes of a number."""
    return varint(field << 3 | FIXED64) + (value % WORD).to_bytes(8, "little")


def block(field: int, content: bytes) -> bytes:
    """Return a field that holds bytes, or a message."""
    return varint(field << 3 | BYTES) + varint(len(content)) + content


def text(field: int, content: str) -> bytes:
    """Return a field that holds UTF-8. What cannot be said in UTF-8 (a file name's odd bytes) becomes "?"."""
    return block(field, content.encode("utf-8", "replace"))


_ONE: Final = [bytes([value]) for value in range(128)]
