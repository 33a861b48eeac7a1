"""Files of traces: plain or gzipped, read in pieces of bounded size, and written as din.

A reader gives the records of a piece, then of the next; what is wrong with a line is raised only when all
records before it were given, so that whoever runs a trace has run it up to there.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, Final, cast

from k42fs.errors import InvalidArgumentError
from k42fs.machine.config_rules import PROCESSORS_MAX
from k42fs.machine.layout import RMW, WRITE
from k42fs.machine.reference_trace import (
    WORK,
    BadLineError,
    Form,
    Records,
    TraceError,
    detect,
    doubt,
    read_line,
)

try:
    from k42fs.machine import trace_parse
except ImportError:  # no compiler when k42fs was installed: read_line does everything
    parse_lines: Callable[[bytes, int, int, Records], tuple[int, int]] | None = None
else:
    parse_lines = trace_parse.parse_lines

PIECE_BYTES: Final = 1 << 18
LINE_BYTES_MAX: Final = 4096
"""Longer lines are no trace: without a bound a binary file would be read whole in search of an end."""

HEADER_BYTES_MAX: Final = 1 << 20
"""A trace begins with no more comment than this."""

SAMPLE_LINES: Final = 64
GZIP_MAGIC: Final = b"\x1f\x8b"
SHOWN: Final = 40
FORM_NUMBERS: Final = {"din": 0, "cs4223": 1, "text": 2}


class TraceFile:
    """One file of a trace. `bytes_read` counts bytes of the file itself, compressed or not, of `bytes_total`.

    `processors`: records of others are errors (text only). `is_guess`: nobody said which format it is in.
    """

    def __init__(
        self,
        path: str,
        form: Form | None = None,
        processors: int = PROCESSORS_MAX,
        *,
        name: str | None = None,
    ) -> None:
        """Open *path*, which messages call *name*; *form* None: find out.

        Raises: TraceError: no records, or of no known format. OSError: cannot be opened.
        """
        self.path, self.name = path, name or path
        self.processors = processors
        self._raw: BinaryIO = open(path, "rb")  # noqa: SIM115  (closed by close)
        self.bytes_total = os.fstat(self._raw.fileno()).st_size
        magic = self._raw.read(2)
        self._raw.seek(0)
        self._file = cast("BinaryIO", gzip.GzipFile(fileobj=self._raw)) if magic == GZIP_MAGIC else self._raw
        self._line = 1  # number of the first line of what comes next
        self._rest = b""  # the begun line at the end of the last piece
        self._at_end = False
        self._broken: str | None = None  # why the file cannot be read to its end
        self._piece = self._next_piece()
        while not self._at_end and len(self._piece) < HEADER_BYTES_MAX and not _has_record(self._piece):
            self._piece += self._next_piece()  # a last line without its newline is a piece of its own
        self.is_guess = form is None
        self.form: Form = form or self._detect()

    @property
    def bytes_read(self) -> int:
        return self._raw.tell()

    def close(self) -> None:
        self._file.close()
        self._raw.close()

    def highest_cpu(self) -> int:
        """Return the highest processor of a text trace, as far as it can be read; the file is read for that."""
        highest = 0
        other = TraceFile(self.path, self.form)
        try:
            for records in other.pieces():
                highest = max(highest, *records.cpus)
        except TraceError:
            pass  # whoever reads the records will meet it too
        finally:
            other.close()
        return highest

    def pieces(self) -> Iterator[Records]:
        """Yield the records, some thousands at a time. Raises TraceError."""
        found = False
        while self._piece:
            records = Records()
            error = self._read(self._piece, records)
            if records:
                found = True
                yield records
            if error is not None:
                if self.is_guess and not found:
                    raise TraceError(
                        self.name,
                        error.line,
                        f"{error.reason} (taken for {self.form}; --format names another)",
                    )
                raise error
            self._piece = self._next_piece()
        if self._broken is not None:
            raise TraceError(self.name, self._line, self._broken)
        if not found:
            raise TraceError(self.name, self._line, "the trace is empty: there are no records")

    def _read(self, piece: bytes, records: Records) -> TraceError | None:
        """Read the whole lines of *piece*, up to a bad one: return what is wrong with that."""
        first = self._line
        error = self._read_lines(piece, records, is_fast=True)
        if records.cpus and max(records.cpus) >= self.processors:
            self._line = first  # again, line by line, to find which one it is
            records.clear()
            error = self._read_lines(piece, records, is_fast=False)
        return error

    def _read_lines(self, piece: bytes, records: Records, is_fast: bool) -> TraceError | None:
        at = 0
        while at < len(piece):
            if is_fast and parse_lines is not None:
                at, count = parse_lines(piece, at, FORM_NUMBERS[self.form], records)
                self._line += count
                if at >= len(piece):
                    break
            end = piece.find(b"\n", at)
            end = len(piece) if end < 0 else end
            try:
                read_line(self.form, piece[at:end], records)
                if records.cpus and records.cpus[-1] >= self.processors:
                    cpu = records.cpus[-1]
                    records.drop_last()
                    raise BadLineError(f"cpu {cpu} is none of the machine's {self.processors} processors")
            except BadLineError as exc:
                is_last = end == len(piece) and self._at_end
                cut = ", and the file ends within the line" if is_last else ""
                return TraceError(self.name, self._line, f"{exc}{cut}")
            self._line += 1
            at = end + 1
        return None

    def _next_piece(self) -> bytes:
        """Return the next whole lines, b"" at the end."""
        while not self._at_end:
            try:
                more = self._file.read(PIECE_BYTES)
            except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
                short = isinstance(exc, EOFError)
                self._broken = f"the gzip file {'is truncated' if short else f'is damaged: {exc}'}"
                self._at_end = True
                return b""  # what was begun is no whole line
            if not more:
                self._at_end = True
                rest, self._rest = self._rest, b""
                return rest
            whole, newline, rest = more.rpartition(b"\n")
            if newline:
                piece, self._rest = self._rest + whole + newline, rest
                return piece
            self._rest += rest
            if len(self._rest) > LINE_BYTES_MAX:
                self._broken = f"the line is over {LINE_BYTES_MAX} bytes long: this is no trace"
                self._at_end = True
        return b""

    def _detect(self) -> Form:
        sample = self._piece[: HEADER_BYTES_MAX + SAMPLE_LINES * LINE_BYTES_MAX].splitlines()
        first = next((place for place, text in enumerate(sample) if _has_record(text)), 0)
        sample = sample[: first + SAMPLE_LINES]
        form = detect(sample)
        doubtful = doubt(form, sample)
        if doubtful is not None:
            self.close()
            shown = ascii(sample[doubtful].strip()[:SHOWN].decode("latin-1"))
            rule = "may be din, or text with a mistake: --format says which"
            raise TraceError(self.name, self._line + doubtful, f"{shown} {rule}")
        if form is None:
            name, line = self.name, self._line
            self.close()
            if self._broken is not None:
                raise TraceError(name, line, self._broken)
            if all(not text.strip() or text.lstrip().startswith(b"#") for text in sample):
                raise TraceError(name, line, "the trace is empty: there are no records")
            raise TraceError(name, line, "is in no known format (din, cs4223, text); --format names one")
        return form


def _has_record(piece: bytes) -> bool:
    return any(text.strip() and not text.lstrip().startswith(b"#") for text in piece.splitlines())


class DinWriter:
    """Writes records as din, one file per processor: *path* itself if there is one, else PATH.0, PATH.1, ...

    din knows loads, stores and fetches only: a read-modify-write becomes a store, sizes and work are left out; of
    a trace that *is_din* itself, work is fetches, which are written without their addresses. A path that ends in
    .gz is gzipped (PATH.0.gz then).
    """

    def __init__(self, path: str, processors: int, sources: Sequence[str] = (), is_din: bool = False) -> None:
        """Open the files.

        Raises: InvalidArgumentError: one of them is among *sources*, which are being read, or *path* is no place
        for files. OSError: one cannot be opened.
        """
        self._is_din = is_din
        if path in ("", "-") or os.path.isdir(path):
            raise InvalidArgumentError(
                f"--emit-din {path!r}: must name a file to write, not {_what_is(path)}"
            )
        if processors > 1 and os.path.exists(path) and not os.path.isfile(path):
            rule = f"{processors} processors need as many files, which it is no name for"
            raise InvalidArgumentError(f"--emit-din {path!r}: {rule}")
        is_gzip = path.endswith(".gz")
        stem = path[:-3] if is_gzip else path
        names = [stem if processors == 1 else f"{stem}.{cpu}" for cpu in range(processors)]
        self.paths = [name + (".gz" if is_gzip else "") for name in names]
        read = {os.path.realpath(source) for source in sources}
        for written in self.paths:
            if os.path.realpath(written) in read:
                raise InvalidArgumentError(f"{written} is the trace itself: it would be lost")
        self._files = [
            cast("BinaryIO", gzip.open(name, "wb")) if is_gzip else open(name, "wb")  # noqa: SIM115
            for name in self.paths
        ]

    def write(self, records: Records, cpu: int | None) -> None:
        """Write *records*, all of processor *cpu*, or each of its own. Raises OSError, with the file's name."""
        if cpu is not None:
            columns = zip(records.codes, records.values, strict=True)
            text = b"".join(self._line(code, value) for code, value in columns)
            self._put(cpu, text)
            return
        for place, code, value in zip(records.cpus, records.codes, records.values, strict=True):
            self._put(place, self._line(code, value))

    def close(self) -> None:
        """Write what is left. Raises OSError, with the file's name."""
        for place, file in enumerate(self._files):
            with self._named(place):
                file.close()

    def _line(self, code: int, value: int) -> bytes:
        if code == WORK:
            return b"2 0\n" if self._is_din else b""
        return b"%d %x\n" % (code in (WRITE, RMW), value)

    def _put(self, place: int, text: bytes) -> None:
        with self._named(place):
            self._files[place].write(text)

    @contextmanager
    def _named(self, place: int) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise OSError(exc.errno, exc.strerror, self.paths[place]) from exc


def _what_is(path: str) -> str:
    return {"": "nothing", "-": "standard output"}.get(path, "a directory")
