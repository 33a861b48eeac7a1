"""Files of traces: plain or gzipped, read in pieces of bounded size, and written as din.

A reader gives the records of a piece, then of the next; what is wrong with a line is raised only when all
records before it were given, so that whoever runs a trace has run it up to there.
"""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, cast

from k42fs.errors import InvalidArgumentError
from k42fs.machine.config_rules import PROCESSORS_MAX
from k42fs.machine.layout import RMW, WRITE
from k42fs.machine.reference_trace import WORK, BadLineError, Form, Records, TraceError, detect, read_line

try:
    from k42fs.machine import trace_parse
except ImportError:  # no compiler when k42fs was installed: read_line does everything
    parse_lines: Callable[[bytes, int, int, Records], tuple[int, int]] | None = None
else:
    parse_lines = trace_parse.parse_lines

PIECE_BYTES: Final = 1 << 18
LINE_BYTES_MAX: Final = 4096
"""Longer lines are no trace: without a bound a binary file would be read whole in search of an end."""

SAMPLE_LINES: Final = 64
GZIP_MAGIC: Final = b"\x1f\x8b"
FORM_NUMBERS: Final = {"din": 0, "cs4223": 1, "text": 2}


class TraceFile:
    """One file of a trace. `bytes_read` counts bytes of the file itself, compressed or not, of `bytes_total`.

    `processors`: records of others are errors (text only).
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
        self._is_guess = form is None
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
                if self._is_guess and not found:
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
        sample = self._piece[: SAMPLE_LINES * LINE_BYTES_MAX].splitlines()[:SAMPLE_LINES]
        form = detect(sample)
        if form is None:
            name, line = self.name, self._line
            self.close()
            if self._broken is not None:
                raise TraceError(name, line, self._broken)
            if all(not text.strip() or text.lstrip().startswith(b"#") for text in sample):
                raise TraceError(name, line, "the trace is empty: there are no records")
            raise TraceError(name, line, "is in no known format (din, cs4223, text); --format names one")
        return form


def trace_paths(paths: Sequence[str]) -> list[str]:
    """Return *paths* with each directory replaced by the traces in it, in the order of their numbers.

    The traces in a directory are files whose names differ in a number only, which ends the name apart from
    suffixes: p_0.data, p_1.data. Each may end in .gz besides.
    Raises: InvalidArgumentError: a directory without any, with several such sets, or two of one number.
    """
    return [trace for path in paths for trace in (_traces_in(path) if os.path.isdir(path) else [path])]


def _traces_in(folder: str) -> list[str]:
    sets: dict[tuple[str, str], dict[int, str]] = {}
    for file in sorted(Path(folder).iterdir()):
        match = re.fullmatch(r"([^.]*?)(\d+)((?:\..*?)?)(?:\.gz)?", file.name)
        if match and file.is_file():
            numbered, number = sets.setdefault((match[1], match[3]), {}), int(match[2])
            if number in numbered:
                raise InvalidArgumentError(f"{file} and {numbered[number]} have the same number")
            numbered[number] = str(file)
    if not sets:
        raise InvalidArgumentError(f"{folder} holds no traces: files such as NAME_0.data, NAME_1.data")
    if len(sets) > 1:
        first, second = (
            os.path.basename(next(iter(numbered.values()))) for numbered in list(sets.values())[:2]
        )
        raise InvalidArgumentError(
            f"{folder} holds files of several names ({first}, {second}), not one set of traces"
            f" such as NAME_0.data, NAME_1.data: give the traces themselves"
        )
    (numbered,) = sets.values()
    return [numbered[number] for number in sorted(numbered)]


class DinWriter:
    """Writes records as din, one file per processor: *path* itself if there is one, else PATH.0, PATH.1, ...

    din knows loads and stores only: a read-modify-write becomes a store, sizes and work are left out. A path
    that ends in .gz is gzipped (PATH.0.gz then).
    """

    def __init__(self, path: str, processors: int, sources: Sequence[str] = ()) -> None:
        """Open the files. Raises: InvalidArgumentError: one of them is among *sources*, which are being read."""
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
        """Write *records*, all of processor *cpu*, or each of its own."""
        if cpu is not None:
            text = b"".join(
                b"%d %x\n" % (code in (WRITE, RMW), value)
                for code, value in zip(records.codes, records.values, strict=True)
                if code != WORK
            )
            self._files[cpu].write(text)
            return
        for place, code, value in zip(records.cpus, records.codes, records.values, strict=True):
            if code != WORK:
                self._files[place].write(b"%d %x\n" % (code in (WRITE, RMW), value))

    def close(self) -> None:
        for file in self._files:
            file.close()
