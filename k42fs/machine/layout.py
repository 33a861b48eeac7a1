"""Layouts and scripts: where the fields of a modelled object lie, and which of them a method touches.

A class declares its fields once; a method's memory references are a `Script`, made at import and charged to
the machine in one call. False sharing is a consequence of the offsets here and of the allocator's placement,
never an assumption.

Blocks are powers of two, aligned to their size, or whole lines, so a field's place within its line does not
depend on the block's address. That is why `Script.for_line` can cut fields into lines once per line size.

K42: each class names its allocation pool by DEFINE_LOCALSTRICT_NEW, DEFINE_GLOBAL_NEW or
DEFINE_GLOBALPADDED_NEW.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto
from itertools import count, pairwise
from typing import Final, NamedTuple

READ, WRITE, RMW = 0, 1, 2
"""What one reference does. RMW is a load-reserve, store-conditional pair."""

WORD_BYTES: Final = 8

RANGES_KEPT: Final = 4096

CODES: Final = {"r": READ, "w": WRITE, "x": RMW}


class Kind(Enum):
    """Who may share a line with the object, and who may free it."""

    LOCAL_STRICT = auto()  # shares no line with another processor's data; freed where it was allocated
    GLOBAL = auto()  # packed: small objects of one node may share a line; freed anywhere
    GLOBAL_PADDED = auto()  # alone on its lines; freed anywhere

    __hash__ = object.__hash__  # Enum's own is written in Python, and each allocation hashes kinds


class Reference(NamedTuple):
    """One reference within one line: *offset* bytes from the object (or from the second address)."""

    code: int
    second: bool
    offset: int
    nbytes: int


Refs = tuple[Reference, ...]

_script_numbers = count()  # dense over the whole program, so that counts per script are plain lists


class Script:
    """The references of one method, in order, with *work* cycles of instructions besides."""

    __slots__ = ("_by_line", "_fields", "index", "name", "work")

    def __init__(self, name: str, fields: Refs, work: int) -> None:
        self.name = name
        self.index = next(_script_numbers)
        self.work = work
        self._fields = fields
        self._by_line: dict[int, Refs] = {}

    def __repr__(self) -> str:
        return f"<script {self.name}>"

    @property
    def refs(self) -> Refs:
        """The references as declared, one per field whatever its size."""
        return self._fields

    def for_line(self, line_bytes: int) -> Refs:
        """Return the references for lines of *line_bytes*: one per line that each field covers."""
        refs = self._by_line.get(line_bytes)
        if refs is None:
            refs = tuple(piece for field in self._fields for piece in _cut(field, line_bytes))
            self._by_line[line_bytes] = refs
        return refs


class Layout:
    """The fields of a class of modelled objects, in order. Offsets and sizes in bytes; `size` is a multiple
    of 8."""

    __slots__ = ("_fields", "kind", "name", "size")

    def __init__(self, name: str, kind: Kind, **fields: int) -> None:
        """Place *fields* (name=bytes) one after the other, each aligned to 8 bytes or to its own size if
        smaller."""
        self.name = name
        self.kind = kind
        self._fields: dict[str, tuple[int, int]] = {}
        at = 0
        for field, nbytes in fields.items():
            assert nbytes > 0, f"{name}.{field}: a field has at least one byte, not {nbytes}"
            alignment = min(WORD_BYTES, 1 << (nbytes - 1).bit_length())
            at = -(-at // alignment) * alignment
            self._fields[field] = (at, nbytes)
            at += nbytes
        self.size = max(WORD_BYTES, -(-at // WORD_BYTES) * WORD_BYTES)

    def __repr__(self) -> str:
        return f"<layout {self.name}, {self.size} bytes>"

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(self._fields)

    def spans(self) -> Iterator[tuple[str, int, int]]:
        """Yield each field's name, where it begins, and its bytes."""
        for name, (start, nbytes) in self._fields.items():
            yield name, start, nbytes

    def offset(self, field: str) -> int:
        """Return where *field* begins."""
        return self._fields[field][0]

    def field_at(self, offset: int) -> str:
        """Return the name of the field at byte *offset*; "" in a gap or beyond the end."""
        for name, (start, nbytes) in self._fields.items():
            if start <= offset < start + nbytes:
                return name
        return ""

    def script(self, method: str, references: str, work: int = 0) -> Script:
        """Make the script of *method*.

        *references* are tokens in program order: ``r:field``, ``w:field``, ``x:field`` (read, write,
        read-modify-write every line of the field), ``r2:OFF``, ``w2:OFF``, ``x2:OFF`` (one word OFF bytes
        from the second address).
        Raises: ValueError: a token is not of this form, or names no field.
        """
        name = f"{self.name}.{method}"
        return Script(name, tuple(self._parse(name, token) for token in references.split()), work)

    def _parse(self, script: str, token: str) -> Reference:
        code, _, what = token.partition(":")
        if code[:1] not in CODES or code[1:] not in ("", "2"):
            raise ValueError(f"{script}: token {token!r} does not start with one of r: w: x: r2: w2: x2:")
        if code[1:]:
            return Reference(CODES[code[0]], True, int(what, 0), WORD_BYTES)
        if what not in self._fields:
            raise ValueError(f"{script}: token {token!r} names no field of {self.name}")
        return Reference(CODES[code], False, *self._fields[what])


class RangeCuts:
    """References to ranges of bytes, for lines of *line_bytes*. Remembers some."""

    def __init__(self, line_bytes: int) -> None:
        self._line_bytes = line_bytes
        self._ranges: dict[tuple[int, int, int], Refs] = {}

    def refs(self, code: int, addr: int, nbytes: int) -> Refs:
        """Return references to every line in a range of bytes, relative to *addr*."""
        line = self._line_bytes
        first = addr & (line - 1)
        refs = self._ranges.get((code, first, nbytes))
        if refs is None:
            if len(self._ranges) >= RANGES_KEPT:
                self._ranges.clear()
            cuts = [first, *range((first // line + 1) * line, first + nbytes, line), first + nbytes]
            refs = tuple(Reference(code, False, at - first, stop - at) for at, stop in pairwise(cuts))
            self._ranges[code, first, nbytes] = refs
        return refs


def _cut(field: Reference, line_bytes: int) -> list[Reference]:
    pieces = []
    at, end = field.offset, field.offset + field.nbytes
    while at < end:
        stop = min(end, (at // line_bytes + 1) * line_bytes)
        pieces.append(Reference(field.code, field.second, at, stop - at))
        at = stop
    return pieces
