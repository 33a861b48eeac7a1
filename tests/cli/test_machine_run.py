"""`k42fs machine run`: counts worked out by hand, output formats, bad traces, impossible machines."""

import csv
import doctest
import glob
import gzip
import io
import json
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from k42fs.cli.machine_figures import SECTIONS, as_text
from k42fs.cli.main import cli
from k42fs.machine.config import preset as make_preset
from k42fs.machine.config import preset_table

DOCS = Path(__file__).parents[2] / "docs" / "machine.md"
EXAMPLES = DOCS.parent / "examples"

Row = dict[str, str]


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, ["machine", "run", *map(str, args)])


def found(*args: str | Path) -> dict[str, Any]:
    result = run(*args, "--json")
    assert result.exit_code == 0, result.output
    parsed: dict[str, Any] = json.loads(result.stdout)
    return parsed


def write(folder: Path, text: str, name: str = "t.trace") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def worked_out() -> dict[str, tuple[str, list[Row]]]:
    """Return each trace of the documentation with its table, by the heading it is under."""
    cases = {}
    chapter = DOCS.read_text().partition("## Five traces by hand")[2].partition("\n## ")[0]
    for section in chapter.split("\n### ")[1:]:
        trace = re.search(r"```text\n(.*?)```", section, re.S)
        lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
        assert trace is not None
        rows = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
        cases[section.splitlines()[0]] = trace[1], rows
    return cases


CASES = worked_out()


def test_all_five_are_there() -> None:
    names = ["Ping-pong", "Producer and consumer", "Read-only sharing", "False sharing", "Migratory data"]
    assert list(CASES) == names
    assert [len(re.findall(r"^\d", trace, re.M)) for trace, _ in CASES.values()] == [10] * 5


@pytest.mark.parametrize("name", CASES)
def test_the_figures_are_those_worked_out_by_hand(tmp_path: Path, name: str) -> None:
    trace, expected = CASES[name]
    result = run(write(tmp_path, trace), "--csv")
    assert result.exit_code == 0
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert rows[-1]["cpu"] == "total"
    for row, by_hand in zip(rows[:-1], expected, strict=True):
        assert {key: row[key] for key in by_hand} == by_hand
    # What the table leaves out is zero.
    counted = {
        "loads",
        "stores",
        "l1_hits",
        "invalidations",
        *(key for key in rows[0] if key.startswith("miss_") and key != "miss_rate"),
    }
    left_out = counted - expected[0].keys()
    assert all(row[key] == "0" for row in rows for key in left_out)


def test_the_documentations_python_examples_do_what_they_say() -> None:
    failed, tried = doctest.testfile(str(DOCS), module_relative=False)
    assert failed == 0
    assert tried >= 8


def test_each_python_example_is_under_20_lines() -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.S)
    assert len(blocks) == 8
    assert all(len(block.strip().splitlines()) < 20 for block in blocks)


@pytest.mark.parametrize(
    ("protocol", "write_backs", "nbytes"), [("msi", 3, 656), ("mesi", 3, 656), ("moesi", 0, 656 - 3 * 72)]
)
def test_an_owner_saves_the_write_backs(tmp_path: Path, protocol: str, write_backs: int, nbytes: int) -> None:
    trace = write(tmp_path, CASES["Producer and consumer"][0])
    total = found(trace, "--set", f"protocol={protocol}")["total"]
    assert (total["write_backs"], total["nbytes"]) == (write_backs, nbytes)


def test_msi_upgrades_where_mesi_hits(tmp_path: Path) -> None:
    trace = write(tmp_path, CASES["Migratory data"][0])
    upgrades = [
        found(trace, "--set", f"protocol={name}")["per_cpu"][0]["miss_upgrade"] for name in ("msi", "mesi")
    ]
    assert upgrades == [2, 1]


def test_a_bus_has_its_own_figures(tmp_path: Path) -> None:
    """s85-24: the first store 300, each further one 360 later; a request and the line, 8 + 128 bytes, each."""
    total = found(write(tmp_path, CASES["Ping-pong"][0]), "--preset", "s85-24")
    assert [row["cycles"] for row in total["per_cpu"]] == [300 + 8 * 360, 300 + 9 * 360]
    assert total["total"]["nbytes"] == 10 * (8 + 128)
    assert total["interconnect"] == "bus"


def test_files_of_one_processor_each_are_merged_by_clock(tmp_path: Path) -> None:
    for cpu, text in enumerate(["2 100\n0 0x1000\n2 700\n0 0x1000\n", "2 500\n1 0x1000\n"]):
        write(tmp_path, text, f"t_{cpu}.data")
    result = found(tmp_path)
    assert (result["format"], result["processors"]) == ("cs4223", 2)
    assert result["per_cpu"][0]["miss_true_sharing"] == 1
    assert result["per_cpu"][0]["cycles"] == 100 + 200 + 700 + 260


def test_gzip_and_plain_give_the_same(tmp_path: Path) -> None:
    plain = write(tmp_path, CASES["Migratory data"][0])
    packed = tmp_path / "t.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert found(plain)["per_cpu"] == found(packed)["per_cpu"]


def test_what_is_emitted_as_din_counts_the_same_loads_and_stores(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = found(write(tmp_path, CASES["Migratory data"][0]), "--emit-din", out)
    again = found(*(tmp_path / f"out.{cpu}" for cpu in range(3)))
    assert again["format"] == "din"
    assert [(row["loads"], row["stores"]) for row in again["per_cpu"]] == [
        (row["loads"], row["stores"]) for row in result["per_cpu"]
    ]


def unfolded(text: str) -> str:
    """Long paths are broken anywhere: compare without blanks and line ends."""
    return "".join(text.split())


def test_files_in_a_shells_order_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """12 processors, of which number n makes n + 1 loads."""
    for cpu in range(12):
        write(tmp_path, "0 0x1000\n" * (cpu + 1), f"t_{cpu}.data")
    files = sorted(str(path) for path in tmp_path.iterdir())
    assert files[2].endswith("t_10.data")
    assert [row["loads"] for row in found(*files)["per_cpu"]] == list(range(1, 13))
    told = unfolded(run(*files).stdout)
    assert unfolded(f"cpu 0 to 11: {tmp_path}/t_0.data to {tmp_path}/t_11.data") in told
    again = run(*files, "--emit-din", tmp_path / "out")
    emitted = sorted(str(path) for path in tmp_path.glob("out.*"))
    assert again.exit_code == 0
    assert [row["loads"] for row in found(*emitted)["per_cpu"]] == list(range(1, 13))


def test_it_is_said_which_file_is_whose_and_which_numbers_are_missing(tmp_path: Path) -> None:
    first, second = (write(tmp_path, "0 0x1000\n", f"sum_{n}.data") for n in (3, 0))
    result = run(first, second)
    assert unfolded(f"cpu 0: {second}, cpu 1: {first}") in unfolded(result.stdout)
    assert result.stderr.startswith("k42fs: among the traces' numbers 1, 2 are missing")
    assert run(second).stderr == ""


def test_a_format_that_is_a_guess_is_told(tmp_path: Path) -> None:
    trace = write(tmp_path, "0 1000\n1 1004\n")
    assert "2 records (taken for din)" in run(trace).stdout
    assert "2 records (din)" in run(trace, "--format", "din").stdout
    assert [found(trace, *more)["format_guessed"] for more in ((), ("--format", "din"))] == [True, False]


def test_totals_have_the_end_of_the_run_and_means_over_all(tmp_path: Path) -> None:
    trace = write(tmp_path, CASES["Ping-pong"][0] + "1 r 0x100\n" * 10)
    result = found(trace)
    rows, total = result["per_cpu"], result["total"]
    assert total["cycles"] == result["cycles"] == max(row["cycles"] for row in rows) == 2580
    assert (rows[0]["miss_rate"], rows[1]["miss_rate"], total["miss_rate"]) == (1.0, round(5 / 15, 6), 0.5)
    assert [row["access_cycles"] for row in rows] == [2280 / 5, 2580 / 15]
    assert total["access_cycles"] == (2280 + 2580) / 20
    table = list(csv.DictReader(io.StringIO(run(trace, "--csv").stdout)))
    assert table[-1]["cycles"] == "2580"
    assert found(write(tmp_path, "0 c 5\n"))["total"]["access_cycles"] == 0


def test_idle_processors_are_one_line(tmp_path: Path) -> None:
    trace = write(tmp_path, "0 w 0x100\n3 w 0x100\n")
    output = run(trace, "-p", "1024").stdout
    assert len(output.splitlines()) < 40
    assert "idle to the end: cpu 1 to 2, 4 to 1023" in output
    assert len(found(trace, "-p", "1024")["per_cpu"]) == 1024
    assert "idle to the end" not in run(write(tmp_path, "0 w 0x100\n1 w 4\n")).stdout


def test_a_log_has_a_line_for_each_reference(tmp_path: Path) -> None:
    """The five traces' figures, one reference at a time, and the same totals as without the log."""
    trace, log = write(tmp_path, CASES["Producer and consumer"][0]), tmp_path / "log"
    plain = found(trace)
    assert found(trace, "--log", log) == plain
    heads, *lines = [line.split() for line in log.read_text().splitlines()]
    assert [dict(zip(heads, line, strict=True)) for line in lines[:5]] == [
        dict(zip(heads, line.split(), strict=True))
        for line in (
            "0   0 w 0x100 4 I M cold         memory 200 -",
            "0   1 r 0x100 4 I S cold         cpu0   460 -",
            "460 1 r 0x100 4 S S L1           -      4   -",
            "200 0 w 0x100 4 S M upgrade      -      420 1",
            "464 1 r 0x100 4 I S true_sharing cpu0   416 -",
        )
    ]
    assert sum(int(line[heads.index("cycles")]) for line in lines) == 1460 + 1304
    shown = run(trace, "--log", "-").stdout
    assert shown.startswith(log.read_text() + "\ndir-1024: 2 processors")


def test_a_log_of_files_is_in_the_order_of_the_run(tmp_path: Path) -> None:
    for cpu in range(3):
        write(tmp_path, "1 0x1000\n0 0x1040\n2 30\n" * 40, f"t_{cpu}.data")
    log = tmp_path / "log"
    plain, logged = (
        found(tmp_path, "--preset", "xeon-2s"),
        found(tmp_path, "--preset", "xeon-2s", "--log", log),
    )
    assert plain == logged
    heads, *lines = [line.split() for line in log.read_text().splitlines()]
    served = [line[heads.index("served")] for line in lines]
    assert len(lines) == 240
    for key, level in (("l1_hits", "L1"), ("l2_hits", "L2"), ("l3_hits", "L3"), ("miss_upgrade", "upgrade")):
        assert served.count(level) == logged["total"][key]
    taken = [line[heads.index("taken")] for line in lines]
    assert sum(len(each.split(",")) for each in taken if each != "-") == logged["total"]["invalidations"]


def test_a_log_has_a_place_of_its_own(tmp_path: Path) -> None:
    trace = write(tmp_path, "0 r 0x40\n")
    assert "is the trace itself" in run(trace, "--log", trace).stderr
    assert run(trace, "--log", "-", "--json").exit_code == 2
    assert "/dev/full: No space left" in run(trace, "--log", "/dev/full").stderr
    assert trace.read_text() == "0 r 0x40\n"


def test_output_that_cannot_be_written_is_named() -> None:
    for words in (["presets", "--json"], ["run", "docs/examples/migratory.trace"]):
        command = [sys.executable, "-m", "k42fs", "machine", *words]
        with open("/dev/full", "w") as full:
            ended = subprocess.run(
                command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=EXAMPLES.parents[1], check=False
            )
        assert (ended.returncode, ended.stderr) == (1, "k42fs: standard output: No space left on device\n")


def test_a_trace_is_not_overwritten_with_itself(tmp_path: Path) -> None:
    trace = write(tmp_path, "0 r 0x40\n")
    result = run(trace, "--emit-din", tmp_path / "." / "t.trace")
    assert result.exit_code == 1
    assert "is the trace itself" in result.stderr
    assert trace.read_text() == "0 r 0x40\n"


def test_one_format_of_output_at_a_time(tmp_path: Path) -> None:
    assert run(write(tmp_path, "0 r 0x40\n"), "--json", "--csv").exit_code == 2


def test_text_output_names_the_machine_and_what_is_only_the_models(tmp_path: Path) -> None:
    trace = write(tmp_path, "0 r 0x40\n")
    output = run(trace, "--preset", "s85-24").output
    assert "s85-24: 1 processor, mesi, bus; 1 record (text)" in output
    labelled, values = len(make_preset("s85-24").labels()), len(preset_table("s85-24"))
    assert (
        f"{labelled} of the {values} values that s85-24 gives are unverified (model preset)"
        in output.replace("\n", " ")
    )
    assert "model preset" not in run(trace).output
    assert found(trace, "--preset", "s85-24")["model_preset"]


def test_csv_carries_the_label_and_says_why_on_standard_error(tmp_path: Path) -> None:
    trace = write(tmp_path, "0 r 0x40\n")
    result = run(trace, "--preset", "xeon-2s", "--csv")
    assert [row["label"] for row in csv.DictReader(io.StringIO(result.stdout))] == ["model preset"] * 2
    assert "values that xeon-2s gives are unverified (model preset)" in result.stderr
    plain = run(trace, "--csv")
    assert [row["label"] for row in csv.DictReader(io.StringIO(plain.stdout))] == [""] * 2
    assert plain.stderr == ""


def test_what_is_unverified_in_a_users_file_is_counted_among_its_values(tmp_path: Path) -> None:
    """Wherever the file is: it is not looked for by the machine's name."""
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'protocol = "moesi"\nl2_bytes = "512K"\nl2_ways = 8\n'
        'local_cycles = { value = 180, certainty = "verified", source = "measured" }\n'
    )
    output = run(write(tmp_path, "0 r 0x40\n"), "--preset", mine).output
    assert "3 of the 4 values that mine gives are unverified" in output


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        (
            "dirty_cycles=1000",
            "dirty_cycles=1000: overridden by dirty_by_distance=[178, 378]: change that, or",
        ),
        ("local_cycles=1000", "local_cycles=1000: overridden by memory_by_distance=[300, 490]"),
        ("remote_cycles=1000", "remote_cycles=1000: overridden by memory_by_distance=[300, 490]"),
        ("upgrade_cycles=1000", "upgrade_cycles=1000: overridden by upgrade_by_distance=[178, 378]"),
        (
            "hop_cycles=1000",
            "hop_cycles=1000: overridden by memory_by_distance, dirty_by_distance and upgrade_by",
        ),
        (
            "dirty_by_distance=1000",
            "dirty_by_distance=1000: must be whole numbers from 0, one for each distance",
        ),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(tmp_path: Path, setting: str, complaint: str) -> None:
    trace = write(tmp_path, CASES["Ping-pong"][0])
    result = run(trace, "--preset", "xeon-2s", "--set", setting)
    assert result.exit_code == 1
    assert complaint in result.stderr
    changed = found(trace, "--preset", "xeon-2s", "--set", "dirty_by_distance=[1000, 1000]")
    assert changed["cycles"] == 300 + 9 * 1000
    by_formula = ("--set", "dirty_by_distance=[]", "--set", "dirty_cycles=1000")
    assert found(trace, "--preset", "xeon-2s", *by_formula)["per_cpu"] == changed["per_cpu"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("0 r 0x40\n0 r\n", "t.trace:2: ends early: it must be `cpu kind address [bytes]`"),
        ("0 r 0x40\n0 r 0x4Z\n", "t.trace:2: address '0x4Z' is not a number"),
        ("", "t.trace:1: the trace is empty: there are no records"),
        ("0 r 0x40\n1 w 0x18000000000000000\n", "t.trace:2: address '0x18000000000000000' is over"),
        (
            "0 q 0x1\n",
            "t.trace:1: kind 'q' is none of r, w, x, c (load, store, rmw, work) (taken for text; --form",
        ),
        ("0 r 0x40\n1500 r 0x40\n", "t.trace:2: cpu '1500' is over 1023"),
        ("what is this\n", "t.trace:1: is in no known format"),
    ],
)
def test_a_bad_trace_is_refused_with_line_and_reason(tmp_path: Path, text: str, complaint: str) -> None:
    result = run(write(tmp_path, text))
    assert result.exit_code == 1
    assert complaint in result.stderr
    assert result.stdout == ""


def test_partial_prints_what_was_counted_up_to_the_bad_line(tmp_path: Path) -> None:
    trace = write(tmp_path, "0 r 0x40\n1 w 0x80\n0 r 0x40\noops\n0 r 0x40\n")
    result = run(trace, "--partial", "--json")
    assert result.exit_code == 1
    assert "t.trace:4: ends early" in result.stderr
    counted = json.loads(result.stdout)
    assert (counted["total"]["loads"], counted["total"]["stores"]) == (2, 1)
    assert "t.trace:4" in counted["error"]
    printed = run(trace, "--partial")
    assert "counted up to a bad line only" in printed.stdout
    assert printed.output.count("ends early") == 1


def test_a_processor_that_the_machine_lacks_is_refused(tmp_path: Path) -> None:
    trace = write(tmp_path, "0 r 0x40\n5 r 0x40\n")
    assert "t.trace:2: cpu 5 is none of the machine's 4 processors" in run(trace, "-p", "4").stderr
    assert "t.trace:2: cpu 30 is none of the machine's 24" in run(
        write(tmp_path, "0 r 4\n30 r 4\n"), "--preset", "s85-24"
    ).stderr  # fmt: skip


def test_more_files_than_processors_are_refused(tmp_path: Path) -> None:
    files = [write(tmp_path, "0 0x40\n", f"t{cpu}.data") for cpu in range(3)]
    result = run(*files, "-p", "2")
    assert result.exit_code == 1
    assert "processors=2" in result.stderr
    assert "t2.data is for processor 2" in result.stderr


def test_traces_of_two_formats_and_two_texts_are_refused(tmp_path: Path) -> None:
    text, other = write(tmp_path, "0 r 0x40\n", "a"), write(tmp_path, "0 0x40\n", "b")
    assert "differ in format" in run(text, other).stderr
    assert "one file for all processors" in run(text, text).stderr


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["-p", "0"], "processors=0: must be from 1 to 1024"),
        (["-p", "-1"], "processors=-1: must be from 1 to 1024"),
        (["-p", "1025"], "processors=1025: must be from 1 to 1024"),
        (["-s", "line_bytes=48"], "line_bytes=48: must be a power of two"),
        (["-s", "l1_bytes=2097152"], "l1_bytes=2097152: must not exceed l2_bytes=1048576"),
        (["-p", "16", "-s", "sharer_bits=8"], "sharer_bits=8: a full map needs a bit for each"),
        (["-s", "speed=9"], "speed=9: is no field of MachineConfig"),
        (["-s", "protocol=dragon"], "protocol='dragon': must be one of msi, mesi, moesi"),
        (["-s", "mhz"], "must be FIELD=VALUE"),
        (["--preset", "vax"], "preset='vax': must be one of"),
    ],
)
def test_an_impossible_machine_is_refused_by_name(tmp_path: Path, options: list[str], complaint: str) -> None:
    result = run(write(tmp_path, "0 r 0x40\n"), *options)
    assert result.exit_code == 1
    assert complaint in result.stderr


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    result = run(tmp_path / "nowhere")
    assert result.exit_code == 1
    assert "No such file" in result.stderr


def test_a_seed_gives_the_same_figures_again_and_another_seed_others(tmp_path: Path) -> None:
    for cpu in range(4):
        write(tmp_path, "1 0x1000\n0 0x1040\n" * 50, f"t_{cpu}.data")
    runs = [found(tmp_path, "--seed", str(seed))["per_cpu"] for seed in (1, 1, 2, 3, 4)]
    assert runs[0] == runs[1]
    assert any(other != runs[0] for other in runs[2:])


def test_a_directory_of_anything_is_refused(tmp_path: Path) -> None:
    for name in ("diff1.py", "cc1.log"):
        write(tmp_path, "0 0x10\n", name)
    result = run(tmp_path)
    assert result.exit_code == 1
    assert "holds files of several names (cc1.log, diff1.py), not one set of traces" in result.stderr


@pytest.mark.parametrize("name", ["sum_0.data", "migratory.trace"])
def test_a_trace_from_standard_input_counts_as_from_its_file(name: str) -> None:
    trace = EXAMPLES / name
    result = CliRunner().invoke(cli, ["machine", "run", "-", "--json"], input=trace.read_bytes())
    assert result.exit_code == 0
    piped = json.loads(result.stdout)
    assert piped == {**found(trace), "traces": ["standard input"]}


def test_a_bad_line_of_standard_input_is_named_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["machine", "run", "-"], input="0 r 4\n0 r\n")
    assert result.exit_code == 1
    assert result.stderr.startswith("k42fs: standard input:2: ends early")
    twice = CliRunner().invoke(cli, ["machine", "run", "-", "-"], input="0 r 4\n")
    assert "can be one trace, not several" in twice.stderr


def test_the_examples_of_help_and_documentation_run_as_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES.parents[1])
    helps = CliRunner().invoke(cli, ["machine", "--help"]).output + run("--help").output
    printed = re.findall(r"^ +k42fs (machine run (?!TRACE).*)$", helps + DOCS.read_text(), re.M)
    assert len(printed) >= 2
    for line in set(printed):
        words = [path for word in shlex.split(line) for path in sorted(glob.glob(word)) or [word]]
        result = CliRunner().invoke(cli, words)
        assert result.exit_code == 0, (line, result.output)


@pytest.mark.parametrize("width", [80, 132, 240])
@pytest.mark.parametrize("preset", ["xeon-2s", "dir-1024"])
def test_tables_fit_the_screen_and_hold_every_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, preset: str
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    work = "".join(f"{cpu} c 98765432109\n{cpu} w 0x{cpu}000\n" for cpu in range(8))
    trace = write(tmp_path, work + "0 r 0x7000\n" * 5000)
    lines = run(trace, "--preset", preset).stdout.splitlines()
    assert all(len(line) <= width and line == line.rstrip() for line in lines)
    total = found(trace, "--preset", preset)["total"]
    shown = [word for line in lines if line.startswith("all ") for word in line.split()[1:]]
    columns = [
        key for _, section in SECTIONS for key, _ in section if key != "l3_hits" or preset == "xeon-2s"
    ]
    assert shown == [as_text(key, total[key]) for key in columns]
    assert len([line for line in lines if line.startswith("all ")]) == {80: 4, 132: 2, 240: 1}[width]


def test_the_example_of_help_that_needs_no_file_runs_anywhere(tmp_path: Path) -> None:
    (line,) = re.findall(r"^ +(printf .*)$", run("--help").output, re.M)
    command = line.replace("k42fs", f"{sys.executable} -m k42fs")
    ended = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    assert "dir-1024: 2 processors, msi, directory; 2 records (text)" in ended.stdout
    assert "docs/examples" not in run("--help").output + CliRunner().invoke(cli, ["machine", "--help"]).output


def test_every_figure_is_explained_by_its_name(tmp_path: Path) -> None:
    row = found(write(tmp_path, "0 w 4\n"))["per_cpu"][0]
    table = DOCS.read_text().partition("| printed as | name | what |")[2].partition("\n\n")[0]
    explained = set(re.findall(r"`(\w+)`", "".join(line.split("|")[2] for line in table.splitlines()[2:])))
    assert explained == {*row, "label"} - {"cpu"}
    headers = {header for _, section in SECTIONS for _, header in section}
    left_of = "".join(line.split("|")[1] for line in table.splitlines()[2:])
    assert all(header in left_of for header in headers - {"capacity", "true sharing", "false sharing"})


def test_stall_is_made_of_what_the_documentation_says(tmp_path: Path) -> None:
    """On a machine with an L3, whose L1 is small: 500 references of 4 processors."""
    dice = random.Random(5)
    text = "".join(f"{n % 4} {dice.choice('rwx')} {hex(dice.randrange(1 << 12))}\n" for n in range(500))
    options = ("--preset", "xeon-2s", "--set", "l1_bytes=768", "--set", "l2_bytes=1280")
    config = make_preset("xeon-2s", l1_bytes=768, l2_bytes=1280)
    result = found(write(tmp_path, text), *options)
    assert result["total"]["l2_hits"] > 0 < result["total"]["l3_hits"]
    for row in result["per_cpu"]:
        references = row["loads"] + row["stores"] + row["rmws"]
        parts = sum(row[f"stall_{cause}"] for cause in ("l3", "memory", "cache", "upgrade"))
        beyond = row["l2_hits"] * config.l2_cycles - (references - row["l1_hits"]) * config.l1_cycles
        assert row["stall"] == row["queued"] + parts + beyond


def test_the_documentations_machine_is_one(tmp_path: Path) -> None:
    (toml,) = re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.S)
    path = write(tmp_path, toml, "mine.toml")
    config = make_preset(str(path))
    assert (config.l2_bytes, config.memory_by_distance, config.processors) == (512 << 10, (180, 400), 64)


def test_the_documentations_log_is_what_the_command_writes() -> None:
    text = DOCS.read_text()
    log = run(EXAMPLES / "migratory.trace", "--log", "-").stdout.splitlines()[:5]
    assert all(f"    {line.strip()}\n" in text for line in log)
