"""Readers and writers of traces: the three formats, what is refused and why, pieces, gzip, din round trips."""

import gzip
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from k42fs.errors import InvalidArgumentError
from k42fs.machine import reference_trace_files
from k42fs.machine.layout import READ, RMW, WRITE
from k42fs.machine.reference_trace import (
    FORMS,
    VALUE_MAX,
    WORK,
    BadLineError,
    Form,
    Records,
    TraceError,
    detect,
    read_line,
)
from k42fs.machine.reference_trace_files import PIECE_BYTES, DinWriter, TraceFile
from k42fs.machine.reference_trace_names import missing_numbers, numbers_of, trace_paths

Row = tuple[int | None, int, int, int]


@pytest.fixture(params=["compiled", "python"], autouse=True)
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run each test with the compiled reader and without."""
    name: str = request.param
    if name == "python":
        monkeypatch.setattr(reference_trace_files, "parse_lines", None)
    elif reference_trace_files.parse_lines is None:
        pytest.skip("the compiled reader was not built")
    return name


def rows(records: Records) -> list[Row]:
    cpus = records.cpus or [None] * len(records)
    return list(zip(cpus, records.codes, records.values, records.sizes, strict=True))


def everything(file: TraceFile) -> list[Row]:
    return [row for piece in file.pieces() for row in rows(piece)]


def read(tmp_path: Path, text: str | bytes, form: Form | None = None) -> list[Row]:
    path = tmp_path / "trace"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    file = TraceFile(str(path), form)
    try:
        return everything(file)
    finally:
        file.close()


def test_din_is_hexadecimal_and_what_follows_the_address_is_comment(tmp_path: Path) -> None:
    text = "0 1000\n1 7fffccb1 stored here\n\n2 20d\n  1\t0xABC \r\n"
    assert read(tmp_path, text, "din") == [
        (None, READ, 0x1000, 4),
        (None, WRITE, 0x7FFFCCB0, 4),
        (None, WORK, 1, 0),
        (None, WRITE, 0xABC, 4),
    ]


def test_cs4223_has_cycles_of_work(tmp_path: Path) -> None:
    assert read(tmp_path, "0 0x817ae8\n2 0xc\n2 30\n1 0x817b0b\n", "cs4223") == [
        (None, READ, 0x817AE8, 4),
        (None, WORK, 12, 0),
        (None, WORK, 30, 0),
        (None, WRITE, 0x817B08, 4),
    ]


def test_text_names_the_processor_and_may_give_a_size(tmp_path: Path) -> None:
    text = (
        "# a lock\n3 x 0x40 8 # take it\n0 load 100\n12 w 0x7\n1 R 65 1\n\n3 c 20\n3 WORK 0x10\n5 w 9 # 4\n"
    )
    assert read(tmp_path, text) == [
        (3, RMW, 0x40, 8),
        (0, READ, 100, 4),
        (12, WRITE, 4, 4),
        (1, READ, 65, 1),
        (3, WORK, 20, 0),
        (3, WORK, 16, 0),
        (5, WRITE, 8, 4),
    ]


@pytest.mark.parametrize("form", FORMS)
def test_a_kernels_address_loses_its_highest_bit(tmp_path: Path, form: Form) -> None:
    """So that it stays what it is among others: bits 62 to 47 are still all set."""
    cpu, kind, prefix = ("3 ", "w", "0x") if form == "text" else ("", "1", "0x" if form == "cs4223" else "")
    text = f"{cpu}{kind} {prefix}ffff800000001000\n{cpu}{kind} {prefix}fffffffffffffffc\n"
    found = [value for _, _, value, _ in read(tmp_path, text, form)]
    assert found == [0x7FFF_8000_0000_1000, VALUE_MAX - 3]
    if form != "din":
        decimal = f"{cpu}{kind} {0xFFFF800000001000}\n"
        assert [row[2] for row in read(tmp_path, decimal, form)] == found[:1]


def test_a_last_line_needs_no_newline(tmp_path: Path) -> None:
    assert read(tmp_path, "0 r 4\n0 r 8") == [(0, READ, 4, 4), (0, READ, 8, 4)]
    assert read(tmp_path, "# alone\n\n0 r 4") == [(0, READ, 4, 4)]
    assert read(tmp_path, "# much of it\n" * 30_000 + "0 r 4") == [(0, READ, 4, 4)]


@pytest.mark.parametrize(
    ("form", "line", "reason"),
    [
        ("din", "0", "ends early: it must be a label and a value"),
        ("din", "0 10g0", "address '10g0' is not a number"),
        ("din", "0 -4", "address '-4' is not a number"),
        ("din", "0 1_000", "address '1_000' is not a number"),
        ("din", "7 1000", "label '7' is none of 0, 1, 2"),
        ("din", "read 1000", "label 'read' is none of 0, 1, 2"),
        ("din", "3 1000", "label 3: escape records are not supported"),
        ("din", "0 10000000000000000", "address '10000000000000000' is over 0xffffffffffffffff"),
        ("din", "1 ffffffffffffffffffffffff", "over 0xffffffffffffffff"),
        ("din", "2 10000000000000000", "over 0xffffffffffffffff"),
        ("cs4223", "2 0xffffffffffffffff", "number of cycles '0xffffffffffffffff' is over 0x10000000000"),
        ("din", "0 0x", "address '0x' is not a number"),
        ("cs4223", "0 ff", "address 'ff' is not a number (hexadecimal needs 0x)"),
        ("cs4223", "2 0x10000000001", "number of cycles '0x10000000001' is over 0x10000000000"),
        ("cs4223", "2 99999999999999999999", "is over 1099511627776"),
        ("cs4223", "0 0x10 0x20", "'0x20' after the value"),
        ("text", "0 r", "ends early: it must be `cpu kind address [bytes]`"),
        ("text", "0 fetch 10", "kind 'fetch' is none of r, w, x, c (load, store, rmw, work)"),
        ("text", "1024 r 10", "cpu '1024' is over 1023"),
        ("text", "-1 r 10", "cpu '-1' is not a number"),
        ("text", "0 r 10 0", "a reference has at least one byte"),
        ("text", "0 r 10 65536", "number of bytes '65536' is over 65535"),
        ("text", "0 r 10 4 4", "'4' after the number of bytes"),
        ("text", "0 c 10 4", "'4' after the number of cycles"),
        ("text", "0 r c1bfeea0", "address 'c1bfeea0' is not a number (hexadecimal needs 0x)"),
        ("text", f"0 r {VALUE_MAX} 8", "and its bytes go beyond"),
        ("text", "0 r 0xffffffffffffffff 8", "and its bytes go beyond the last address"),
        ("text", "0 r 18446744073709551616", "is over 18446744073709551615"),
        ("text", "0xffffffffffffffff r 4", "cpu '0xffffffffffffffff' is over 0x3ff"),
        ("text", "0 r 4 0xffffffffffffffff", "number of bytes '0xffffffffffffffff' is over 0xffff"),
    ],
)
def test_a_bad_line_is_refused_with_its_number_and_the_reason(
    tmp_path: Path, form: Form, line: str, reason: str
) -> None:
    good = "0 r 4" if form == "text" else "0 4"
    with pytest.raises(TraceError) as caught:
        read(tmp_path, f"# made by hand\n{good}\n\n{good}\n{line}\n{good}\n", form)
    assert caught.value.line == 5
    assert reason in caught.value.reason
    assert str(caught.value) == f"{tmp_path / 'trace'}:5: {caught.value.reason}"


def test_the_records_before_a_bad_line_come_first(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text("0 r 4\n0 r 8\noops\n0 r 12\n")
    file = TraceFile(str(path), "text")
    pieces = file.pieces()
    assert len(next(pieces)) == 2
    with pytest.raises(TraceError, match="trace:3: ends early"):
        next(pieces)
    file.close()


def test_a_file_that_ends_within_a_line_says_so(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"trace:2: ends early.*the file ends within the line"):
        read(tmp_path, "0 1000\n1", "din")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"# nothing but words\n  \n"])
@pytest.mark.parametrize("form", [None, *FORMS])
def test_an_empty_trace_is_refused(tmp_path: Path, content: bytes, form: Form | None) -> None:
    with pytest.raises(TraceError, match="the trace is empty: there are no records"):
        read(tmp_path, content, form)


def test_garbage_is_refused(tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(1 << 16)
    with pytest.raises(TraceError, match="in no known format"):
        read(tmp_path, noise)
    for form in FORMS:
        with pytest.raises(TraceError) as caught:
            read(tmp_path, noise, form)
        assert len(caught.value.reason) < 160
        assert caught.value.reason.isascii()


def test_a_file_without_lines_is_not_read_whole(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="trace:1: the line is over 4096 bytes long"):
        read(tmp_path, b"0" * (2 * PIECE_BYTES), "din")


def test_gzip_is_known_by_its_content(tmp_path: Path) -> None:
    assert read(tmp_path, gzip.compress(b"0 r 4\n1 w 8\n")) == [(0, READ, 4, 4), (1, WRITE, 8, 4)]


def test_a_truncated_gzip_file_gives_what_it_has_and_is_refused(tmp_path: Path) -> None:
    lines = b"".join(b"0 %x\n" % (4 * random.Random(n).randrange(1 << 30)) for n in range(100_000))
    path = tmp_path / "trace"
    path.write_bytes(gzip.compress(lines)[:-1000])
    file = TraceFile(str(path))
    found: list[int] = []
    with pytest.raises(TraceError, match="the gzip file is truncated") as caught:
        found.extend(len(piece) for piece in file.pieces())
    file.close()
    assert 0 < sum(found) < 100_000
    assert caught.value.line == sum(found) + 1


def test_a_damaged_gzip_file_is_refused(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(b"0 1000\n" * 1000))
    packed[12:20] = b"\xff" * 8
    with pytest.raises(TraceError, match=r"the gzip file is (damaged|truncated)"):
        read(tmp_path, bytes(packed), "din")


@pytest.mark.parametrize(
    ("lines", "form"),
    [
        (["0 1000", "1 7fffccb0", "2 20d"], "din"),
        (["0 1000 a comment"], "din"),
        (["0 c 1000"], "text"),
        (["# first", "", "0 0x817ae8"], "cs4223"),
        (["2 12", "0 0x817ae8"], "cs4223"),
        (["0 r 10", "1 STORE 0x20 8"], "text"),
        (["0 c 5", "0 w 10"], "text"),
        (["hello", "world"], None),
        (["9 1000"], None),
        (["0"], None),
        (["0 r 4", "oops"], "text"),
        ([], None),
        (["0 q 0x1"], "text"),
        (["0 q 0x1", "0 r 0x1", "1 r 0x1"], "text"),
        (["7 rr 12 8"], "text"),
        (["0 c"], "din"),
        (["0 r"], "text"),
        (["0 zz 12 a comment", "0 10 another", "1 14"], "din"),
        (["0 0x1g", "2 0x14"], "cs4223"),
        (["what is this"], None),
        (["label address", "0 100", "1 104"], "din"),
    ],
)
def test_the_format_is_found_out(lines: list[str], form: Form | None) -> None:
    assert detect([line.encode() for line in lines]) == form


@pytest.mark.parametrize(
    ("lines", "at"),
    [
        (["0 c -1"], 1),
        (["0 a 64"], 1),
        (["1 c"], 1),
        (["# made by hand", "", "0 b 0x40 4"], 3),
        (["0 c 1e9", "0 c 20", "1 c 4"], 1),
        (["0 c 1e9", "1 c 4x"], 1),
        (["0 b 0x40 4", "0 r 0x40"], 1),
    ],
)
def test_text_with_a_mistake_is_not_taken_for_din(tmp_path: Path, lines: list[str], at: int) -> None:
    with pytest.raises(TraceError, match="may be din, or text with a mistake") as caught:
        read(tmp_path, "\n".join(lines))
    assert caught.value.line == at


def test_din_with_single_digits_is_din_where_another_line_is_clear(tmp_path: Path) -> None:
    assert [row[2] for row in read(tmp_path, "0 c\n1 a first\n0 100\n")] == [0xC, 0x8, 0x100]
    assert [row[2] for row in read(tmp_path, "0 c\n", "din")] == [0xC]
    assert [row[2] for row in read(tmp_path, "0 4\n0 8 eight\n")] == [4, 8]


def test_a_format_that_was_found_out_is_named_where_the_first_record_is_bad(tmp_path: Path) -> None:
    with pytest.raises(
        TraceError, match=r"trace:1: kind 'q' is none of .*taken for text; --format names another"
    ):
        read(tmp_path, "0 q 0x1\n0 r 0x1\n")
    with pytest.raises(TraceError) as named:
        read(tmp_path, "0 q 0x1\n", "text")
    with pytest.raises(TraceError) as later:
        read(tmp_path, "0 r 0x1\n0 q 0x1\n")
    assert "--format" not in named.value.reason + later.value.reason


def test_messages_call_a_trace_by_the_name_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text("0 r 4\noops\n")
    file = TraceFile(str(path), name="standard input")
    with pytest.raises(TraceError, match=r"^standard input:2: ends early"):
        everything(file)
    file.close()


def some_lines(form: Form, count: int) -> Iterator[str]:
    """Yield lines of all legal shapes."""
    dice = random.Random(form)
    for _ in range(count):
        digits = dice.choice([2, 8, 15, 16])
        value = dice.randrange(1 << min(63, 4 * digits))
        number = (
            dice.choice([f"{value:x}", f"0x{value:X}"])
            if form == "din"
            else dice.choice([str(value), hex(value)])
        )
        blank = dice.choice([" ", "\t", "  "])
        if form == "text":
            kind = dice.choice(["r", "w", "x", "c", "load", "RMW", "Store"])
            value = value % (1 << 40) if kind == "c" else value % (1 << 62)
            size = "" if kind == "c" else dice.choice(["", f" {dice.randrange(1, 65536)}", " 0x8"])
            yield f"{dice.randrange(1024)}{blank}{kind} {value}{size}{dice.choice(['', ' # why', '  '])}"
        elif dice.random() < 0.3:
            yield f"2 {value % (1 << 40)}"
        else:
            rest = dice.choice(["", " ", " because" if form == "din" else ""])
            yield f"{dice.choice('01')}{blank}{number}{rest}"
        if dice.random() < 0.1:
            yield dice.choice(["", "  ", "# remark", "  # remark \u00e9"])


@pytest.mark.parametrize("form", FORMS)
def test_a_file_of_many_pieces_reads_as_line_by_line(tmp_path: Path, form: Form) -> None:
    lines = list(some_lines(form, 60_000))
    text = "\n".join(lines).encode()
    assert len(text) > 2 * PIECE_BYTES
    expected = Records()
    for line in lines:
        read_line(form, line.encode(), expected)
    path = tmp_path / "trace"
    path.write_bytes(text)
    file = TraceFile(str(path), form)
    pieces = list(file.pieces())
    assert file.bytes_read == file.bytes_total == len(text)
    file.close()
    assert len(pieces) > 2
    assert [row for piece in pieces for row in rows(piece)] == rows(expected)


def test_a_bad_line_in_a_later_piece_has_its_own_number(tmp_path: Path) -> None:
    lines = ["0 1000"] * 100_000
    lines[77_776] = "0 xyz"
    with pytest.raises(TraceError, match="trace:77777: "):
        read(tmp_path, "\n".join(lines), "din")


def test_a_processor_that_the_machine_lacks_is_refused_where_it_first_appears(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_text("0 r 4\n3 r 8\n1 r 8\n4 w 8\n9 w 8\n")
    file = TraceFile(str(path), processors=4)
    assert file.highest_cpu() == 9
    pieces = file.pieces()
    assert list(next(pieces).cpus) == [0, 3, 1]
    with pytest.raises(TraceError, match="trace:4: cpu 4 is none of the machine's 4 processors"):
        next(pieces)
    file.close()


def test_reading_a_line_adds_nothing_if_it_is_bad() -> None:
    records = Records()
    with pytest.raises(BadLineError):
        read_line("text", b"0 r 10 0", records)
    assert rows(records) == []


def test_a_directory_stands_for_the_numbered_files_in_it(tmp_path: Path) -> None:
    for name in ("p_10.data", "p_9.data", "p_0.data.gz", "README", "notes.txt"):
        (tmp_path / name).write_text("0 0x10\n")
    names = [Path(path).name for path in trace_paths([str(tmp_path), "other"])]
    assert names == ["p_0.data.gz", "p_9.data", "p_10.data", "other"]
    (tmp_path / "p_9.data.gz").write_text("")
    with pytest.raises(InvalidArgumentError, match="have the same number"):
        trace_paths([str(tmp_path)])


@pytest.mark.parametrize(
    ("given", "ordered"),
    [
        ([f"d/t_{n}.data" for n in (0, 1, 10, 11, 2, 9)], [f"d/t_{n}.data" for n in (0, 1, 2, 9, 10, 11)]),
        (["out.10.gz", "out.9", "out.0"], ["out.0", "out.9", "out.10.gz"]),
        (["run2/p10", "run2/p9"], ["run2/p9", "run2/p10"]),
        (["p10/t10.din", "p9/t9.din"], ["p9/t9.din", "p10/t10.din"]),
        (["b.din", "a.din"], ["b.din", "a.din"]),
        (["p2/t1", "p1/t2"], ["p2/t1", "p1/t2"]),  # two numbers, which say different things
        (["t_01", "t_1", "t_0"], ["t_01", "t_1", "t_0"]),  # two of one number
        (["t_1", "t_1"], ["t_1", "t_1"]),
        (["-"], ["-"]),
    ],
)
def test_files_that_differ_in_a_number_are_in_its_order(given: list[str], ordered: list[str]) -> None:
    assert trace_paths(given) == ordered


def test_missing_numbers_are_those_in_between() -> None:
    assert missing_numbers(["t_1", "t_5", "t_3"]) == [2, 4]
    assert missing_numbers(["t_1", "t_2"]) == missing_numbers(["a", "b"]) == missing_numbers(["t_7"]) == []
    assert numbers_of(["t_1.data", "t_10.data"]) == [1, 10]


@pytest.mark.parametrize("other", ["q_0.data", "p_0.log"])
def test_a_directory_of_other_numbered_files_is_refused(tmp_path: Path, other: str) -> None:
    for name in ("p_0.data", "p_1.data", other):
        (tmp_path / name).write_text("0 0x10\n")
    with pytest.raises(InvalidArgumentError, match=r"holds files of several names .*, not one set of traces"):
        trace_paths([str(tmp_path)])


def test_a_directory_without_traces_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="holds no traces"):
        trace_paths([str(tmp_path)])


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_what_is_written_as_din_reads_as_the_same_loads_and_stores(tmp_path: Path, suffix: str) -> None:
    source = Records()
    for line in (b"0 r 0x100", b"1 w 0x200", b"0 c 50", b"1 x 0x300"):
        read_line("text", line, source)
    writer = DinWriter(str(tmp_path / f"out{suffix}"), 2)
    writer.write(source, None)
    writer.close()
    assert [Path(path).name for path in writer.paths] == [f"out.0{suffix}", f"out.1{suffix}"]
    found = []
    for path in writer.paths:
        file = TraceFile(path)
        assert file.form == "din"
        found.append([(code, value) for _, code, value, _ in everything(file)])
        file.close()
    assert found == [[(READ, 0x100)], [(WRITE, 0x200), (WRITE, 0x300)]]


def test_fetches_of_a_din_trace_are_written_as_fetches(tmp_path: Path) -> None:
    records = Records()
    for line in (b"2 400", b"0 100", b"2 404"):
        read_line("din", line, records)
    writer = DinWriter(str(tmp_path / "out"), 1, is_din=True)
    writer.write(records, 0)
    writer.close()
    assert (tmp_path / "out").read_text() == "2 0\n0 100\n2 0\n"


def test_what_is_no_place_for_files_is_refused(tmp_path: Path) -> None:
    for path in ("-", "", str(tmp_path)):
        with pytest.raises(InvalidArgumentError, match="must name a file to write"):
            DinWriter(path, 1)
    with pytest.raises(InvalidArgumentError, match="/dev/full': 3 processors need as many files"):
        DinWriter("/dev/full", 3)
    writer = DinWriter("/dev/full", 1)
    records = Records()
    read_line("din", b"0 100", records)
    writer.write(records, 0)
    with pytest.raises(OSError, match="No space left") as caught:
        writer.close()
    assert caught.value.filename == "/dev/full"


def test_one_processor_is_written_to_one_file(tmp_path: Path) -> None:
    records = Records()
    for line in (b"0 0x100", b"2 7", b"1 0x200"):
        read_line("cs4223", line, records)
    writer = DinWriter(str(tmp_path / "out"), 1)
    writer.write(records, 0)
    writer.close()
    assert (tmp_path / "out").read_text() == "0 100\n1 200\n"
