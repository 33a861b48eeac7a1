"""Traces of memory references: three formats, a record of each line, and what is wrong with a line that is none.

    din      `label address`, one file per processor: 0 load, 1 store, 2 instruction fetch; the address in
             hexadecimal, the rest of the line is comment. There is no instruction cache here: a fetch is one
             cycle of work.
    cs4223   `label value`, one file per processor: 0 load, 1 store, 2 that many cycles of work; values are
             decimal, or hexadecimal after 0x. The format of a well-known course's coherence assignment.
    text     `cpu kind address [bytes]`, one file for all processors, in order: kind is r, w or x (also load,
             store, rmw), or c for `cpu c cycles`; numbers are decimal, or hexadecimal after 0x.

Blank lines and lines that start with # are skipped; in text anything after # is comment. Where no size is
given a reference is to the aligned word of 4 bytes that holds the address.

This is the slow and exact reader, which knows the reasons; `trace_parse.pyx` reads what it is sure of and
leaves the rest to it. Sources: dineroIII's manual page for din.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Literal, get_args

from k42fs.errors import InvalidArgumentError
from k42fs.machine.config_rules import PROCESSORS_MAX
from k42fs.machine.layout import READ, RMW, WRITE

Form = Literal["din", "cs4223", "text"]
FORMS: Final[tuple[Form, ...]] = get_args(Form)

WORK: Final = 3
"""A record that is no reference: its value is cycles of work. The others are READ, WRITE and RMW."""

TRACE_WORD_BYTES: Final = 4
ADDRESS_MAX: Final = (1 << 64) - 1
VALUE_MAX: Final = (1 << 63) - 1
"""The machine's addresses have 63 bits: the highest bit of a kernel's address, equal to the next, is dropped."""

CYCLES_MAX: Final = 1 << 40
BYTES_MAX: Final = 0xFFFF
WORD_SHOWN: Final = 24

KINDS: Final = {
    "r": READ,
    "load": READ,
    "w": WRITE,
    "store": WRITE,
    "x": RMW,
    "rmw": RMW,
    "c": WORK,
    "work": WORK,
}
_LABELS: Final = {"0": READ, "1": WRITE, "2": WORK}


class TraceError(InvalidArgumentError):
    """A trace that cannot be read: *path*, *line* (from 1) and *reason* are also in the text."""

    def __init__(self, path: str, line: int, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}")
        self.path, self.line, self.reason = path, line, reason


class Records:
    """Records in flat arrays of equal length: what a record is, its address or cycles, its bytes (0: work).

    `cpus` stays empty where the file's place among the others says which processor it is.
    """

    __slots__ = ("codes", "cpus", "sizes", "values")

    def __init__(self) -> None:
        self.cpus = array("H")
        self.codes = array("B")
        self.values = array("q")
        self.sizes = array("H")

    def __len__(self) -> int:
        return len(self.codes)

    def add(self, cpu: int | None, code: int, value: int, nbytes: int) -> None:
        if cpu is not None:
            self.cpus.append(cpu)
        self.codes.append(code)
        self.values.append(value)
        self.sizes.append(nbytes)

    def drop_last(self) -> None:
        """Take back the last record, which has a processor."""
        for column in (self.cpus, self.codes, self.values, self.sizes):
            column.pop()

    def clear(self) -> None:
        for column in (self.cpus, self.codes, self.values, self.sizes):
            del column[:]


class BadLineError(Exception):
    """The line is no record: why."""


def read_line(form: Form, text: bytes, into: Records) -> None:
    """Add what one line says, if anything, to *into*. Raises BadLineError."""
    if form == "text":
        text = text.partition(b"#")[0]
    words = [word.decode("latin-1") for word in text.split()]  # comments may be anything
    if words and not words[0].startswith("#"):
        _READERS[form](words, into)


def _read_din(words: Sequence[str], into: Records) -> None:
    label, value = _label_and_value(words)
    if label in ("3", "4"):
        raise BadLineError(f"label {label}: escape records are not supported")
    code = _code(label)
    if code == WORK:
        _address(value, 16)
        into.add(None, WORK, 1, 0)
    else:
        into.add(None, code, _address(value, 16) & -TRACE_WORD_BYTES, TRACE_WORD_BYTES)


def _read_cs4223(words: Sequence[str], into: Records) -> None:
    label, value = _label_and_value(words)
    if len(words) > 2:
        raise BadLineError(f"{_shown(words[2])} after the value")
    code = _code(label)
    if code == WORK:
        into.add(None, WORK, _number(value, 10, "number of cycles", CYCLES_MAX), 0)
    else:
        into.add(None, code, _address(value, 10) & -TRACE_WORD_BYTES, TRACE_WORD_BYTES)


def _read_text(words: Sequence[str], into: Records) -> None:
    if len(words) < 3:
        raise BadLineError("ends early: it must be `cpu kind address [bytes]`")
    if len(words) > 4:
        raise BadLineError(f"{_shown(words[4])} after the number of bytes")
    cpu = _number(words[0], 10, "cpu", PROCESSORS_MAX - 1)
    code = KINDS.get(words[1].lower())
    if code is None:
        raise BadLineError(f"kind {_shown(words[1])} is none of r, w, x, c (load, store, rmw, work)")
    if code == WORK:
        if len(words) > 3:
            raise BadLineError(f"{_shown(words[3])} after the number of cycles")
        into.add(cpu, WORK, _number(words[2], 10, "number of cycles", CYCLES_MAX), 0)
        return
    addr = _address(words[2], 10)
    if len(words) == 3:
        into.add(cpu, code, addr & -TRACE_WORD_BYTES, TRACE_WORD_BYTES)
        return
    nbytes = _number(words[3], 10, "number of bytes", BYTES_MAX)
    if not nbytes:
        raise BadLineError("a reference has at least one byte")
    if addr > VALUE_MAX - nbytes:
        raise BadLineError(f"address {_shown(words[2])} and its bytes go beyond the last address")
    into.add(cpu, code, addr, nbytes)


def _shown(word: str) -> str:
    """Return *word* quoted, its end left out if it is long: it may be anything."""
    return ascii(word if len(word) <= WORD_SHOWN else word[:WORD_SHOWN] + "...")


def _label_and_value(words: Sequence[str]) -> tuple[str, str]:
    if len(words) < 2:
        raise BadLineError("ends early: it must be a label and a value")
    return words[0], words[1]


def _code(label: str) -> int:
    code = _LABELS.get(label)
    if code is None:
        raise BadLineError(f"label {_shown(label)} is none of 0, 1, 2")
    return code


def _address(word: str, base: int) -> int:
    return _number(word, base, "address", ADDRESS_MAX) & VALUE_MAX


def _number(word: str, base: int, what: str, most: int) -> int:
    digits = word
    if word[:2] in ("0x", "0X"):
        base, digits = 16, word[2:]
    # Not int() alone: it takes underscores, signs and other digits than these.
    if not digits or not all(digit in _DIGITS[base] for digit in digits):
        hint = (
            " (hexadecimal needs 0x)"
            if base == 10 and digits and all(d in _DIGITS[16] for d in digits)
            else ""
        )
        raise BadLineError(f"{what} {_shown(word)} is not a number{hint}")
    value = int(digits, base)
    if value > most:
        raise BadLineError(f"{what} {_shown(word)} is over {f'{most:#x}' if base == 16 else most}")
    return value


_DIGITS: Final = {10: frozenset("0123456789"), 16: frozenset("0123456789abcdefABCDEF")}

_READERS: Final[dict[Form, Callable[[Sequence[str], Records], None]]] = {
    "din": _read_din,
    "cs4223": _read_cs4223,
    "text": _read_text,
}


def detect(sample: Sequence[bytes]) -> Form | None:
    """Return the format that *sample*, some whole lines, is in by its first record; None if it is like none.

    Only text has a kind for its second word. din and cs4223 look alike, but only the latter writes 0x. If the
    first record is none in the format it looks most like, or may be in two, what can be read of the others
    decides.
    """
    lines = [text for text in sample if (words := text.split()) and not words[0].startswith(b"#")]
    if not lines:
        return None
    likely = _likeliest(lines)
    if likely is not None and not _is_doubtful(lines[0]) and _readable(likely, lines[:1]):
        return likely
    counts = {form: _readable(form, lines) for form in FORMS}
    best: Form = max(FORMS, key=counts.__getitem__)
    return best if counts[best] > (counts[likely] if likely else 0) else likely


def doubt(form: Form | None, sample: Sequence[bytes]) -> int | None:
    """Return which of the lines of *sample*, taken for *form*, may be text with a mistake; None if that is clear.

    Letters are kinds in text and hexadecimal in din, where anything may follow. A file is in doubt only if it
    has no line that is din beyond that.
    """
    if form != "din":
        return None
    doubtful = [place for place, text in enumerate(sample) if _is_doubtful(text)]
    others = [text for place, text in enumerate(sample) if place not in doubtful]
    return doubtful[0] if doubtful and not _readable(form, others) else None


def _is_doubtful(text: bytes) -> bool:
    words = text.lower().split()
    if len(words) < 2 or words[0].startswith(b"#"):
        return False
    is_letter = len(words[1]) == 1 and words[1].isalpha()
    return is_letter and (len(words) > 2 or words[1].decode("latin-1") in KINDS)


def _likeliest(lines: Sequence[bytes]) -> Form | None:
    label, *rest = lines[0].split()
    if not rest:
        return None
    second = rest[0].lower().decode("latin-1")
    is_number = all(digit in _DIGITS[16] for digit in second.removeprefix("0x"))
    if second in KINDS and (len(rest) > 1 or not is_number):
        return "text"
    if label.isdigit() and len(rest) > 1 and not is_number and rest[1][:1].isdigit():
        return "text"  # whose kind is none
    if label in (b"0", b"1", b"2", b"3", b"4"):
        values = [words[1] for text in lines if len(words := text.split()) > 1]
        return "cs4223" if any(value[:2] in (b"0x", b"0X") for value in values) else "din"
    return None


def _readable(form: Form, lines: Sequence[bytes]) -> int:
    """Return how many of *lines* are records in *form*."""
    records = Records()
    for text in lines:
        with suppress(BadLineError):
            read_line(form, text, records)
    return len(records)
