"""`list`: K42's line for each event; the same events that babeltrace2 lists, one for one."""

import csv
import json
import random
import re
import shutil
import subprocess
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import pytest

from k42fs.machine.tracing.formats import formatter
from k42fs.machine.tracing.mask import LOCK
from k42fs.machine.tracing.packing import Value, pack, unpack
from k42fs.machine.tracing.schema import Event, load
from k42fs.report.listing import line_of, listing, records_of
from k42fs.report.opening import Opening, head_of
from tests.machine.tracing.lab import HandTrace
from tests.report.lab import call, request, run, source

has_babeltrace = pytest.mark.skipif(
    shutil.which("babeltrace2") is None, reason="babeltrace2 is not installed"
)

LINE = re.compile(r"\[(\d+)\] (?:\(\S+\) )?(\S+): \{ cpu_id = (\d+), .*?\}(?:, (\{.*\}))?$")
FIELD = re.compile(r'(\w+) = ("(?:[^"\\]|\\.)*"|-?\w+)')


def any_values(dice: random.Random, event: Event) -> tuple[Value, ...]:
    """Return values for the fields, extreme ones among them."""
    values: list[Value] = []
    for each in event.fields:
        bits = each.type.bits
        if each.type.inline:
            values.append("x" * dice.randint(1, 30))
        elif each.type.list:
            assert isinstance(values[-1], int), "a list follows its length"
            values[-1] = 3
            values.append((1, 2, 2**64 - 1))
        elif each.type.signed:
            values.append(dice.choice([0, -1, -(1 << bits - 1), (1 << bits - 1) - 1]))
        else:
            values.append(dice.choice([0, 1, (1 << bits) - 1, dice.getrandbits(bits)]))
    return tuple(values)


def everything(directory: Path, processors: int = 3, seed: int = 0) -> Path:
    """Record every kind of event of the schema, with extreme values, on several processors."""
    dice = random.Random(seed)
    trace = HandTrace(directory, processors)
    at = [0] * processors
    for event in load().events():
        for _ in range(2):
            vp = dice.randrange(processors)
            at[vp] += dice.choice([0, 1, 1000, 2**31 + 5, 2**32])
            trace.event(vp, at[vp], event.attribute, *any_values(dice, event))
    return trace.close()


@has_babeltrace
@pytest.mark.parametrize("seed", range(3))
def test_babeltrace2_lists_exactly_the_same_events(tmp_path: Path, seed: int) -> None:
    recording = everything(tmp_path / "t", seed=seed)
    done = subprocess.run(
        ["babeltrace2", "--clock-cycles", recording], capture_output=True, text=True, check=True, timeout=60
    )
    theirs = []
    for line in done.stdout.splitlines():
        found = LINE.match(line)
        assert found, line
        stamp, name, cpu, fields = found.groups()
        theirs.append((int(stamp), int(cpu), name, {key for key, _ in FIELD.findall(fields or "")}))
    listed = run("list", "--definitions", "--format", "json", recording)
    assert listed.exit_code == 0, listed.output
    ours = [
        (each["ticks"], each["vp"], each["event"], {name for name in each["fields"] if name != "values"})
        for each in map(json.loads, listed.stdout.splitlines())
    ]
    # Between streams, babeltrace2 orders equal stamps as it likes: compare as sets of lines, in order of time.
    key = lambda each: (each[0], each[1])  # noqa: E731
    theirs = [(*each[:3], each[3] - {"values"}) for each in theirs]
    assert sorted(ours, key=key) == sorted(theirs, key=key)
    assert [each[0] for each in ours] == sorted(each[0] for each in ours)


@has_babeltrace
def test_values_are_babeltrace2s_too(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t")
    request(trace, 0, 5, 2**33, 42, 15, 2**64 - 1, 7, errno=-5, nbytes=12)
    call(trace, 0, 2**33, 2**33 + 1, 0xE1, 0xFFFF, 2**63)
    trace.close()
    done = subprocess.run(
        ["babeltrace2", "--clock-cycles", tmp_path / "t"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    theirs = [
        {name: int(value, 0) for name, value in FIELD.findall(found.group(4))}
        for line in done.stdout.splitlines()
        if (found := LINE.match(line))
    ]
    listed = run("list", "--format", "json", tmp_path / "t")
    assert [json.loads(line)["fields"] for line in listed.stdout.splitlines()] == theirs


def test_a_line_is_k42s(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t", processors=2, ticks_per_second=10**6)
    trace.event(0, 1_000, "control_traced_start")
    trace.event(1, 1_742, "fs_ramfs_mkdir", 0x77, "src")
    trace.close()
    assert run("list", tmp_path / "t").stdout == (
        "   0.000000000    0 TRACE_CONTROL_TRACED_START\n"
        "   0.000742000    1 TRACE_FS_RAMFS_MKDIR                dirToken 0x77 name src\n"
    )


def test_what_is_compiled_says_what_the_schemas_formatter_says(tmp_path: Path) -> None:
    dice = random.Random(1)
    trace = HandTrace(tmp_path / "t")
    trace.site("a.py:1 f")
    trace.close()
    of = source(tmp_path / "t")
    for event in load().events():
        show = formatter(event, of.names.text, of.names.site)
        for _ in range(5):
            words = pack(event, 0, any_values(dice, event))
            line = line_of(event, of.names)(1, 500_000_000, "3", words[1:])
            text = show(unpack(event, words))
            head = f"   1.500000000    3 {event.constant:<35} "
            assert line == (head + text if event.fields else head.rstrip())


def test_stripped_there_are_values_only(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t")
    trace.event(0, 1, "fs_ramfs_mkdir", 0x77, "src")
    trace.close()
    assert run("list", "--strip", tmp_path / "t").stdout == "119 src\n"


def test_csv_has_a_row_for_each_event(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t")
    trace.event(0, 1, "fs_ramfs_mkdir", 0x77, 'a "b", c')
    trace.close()
    rows = list(csv.reader(StringIO(run("list", "--format", "csv", tmp_path / "t").stdout)))
    assert rows[0] == ["ticks", "vp", "event", "fields"]
    assert rows[1][:3] == ["1", "0", "OS::FS::RamfsMkdir"]
    assert json.loads(rows[1][3]) == {"dirToken": 0x77, "name": 'a "b", c'}


def test_names_cannot_command_the_terminal(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t")
    trace.event(0, 1, "fs_ramfs_mkdir", 1, "\x1b[31mred\n")
    trace.close()
    (line,) = run("list", tmp_path / "t").stdout.splitlines()
    assert line.endswith("name \\x1b[31mred\\n")


def test_definitions_are_listed_when_asked_for(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t")
    trace.event(0, 5, "clust_obj_object_name", 7, "DirObject", "/a")
    trace.event(0, 6, "control_traced_start")
    trace.close()
    of = source(tmp_path / "t")
    assert "".join(listing(of, records_of(of, False))).count("\n") == 1
    lines = "".join(listing(of, records_of(of, True))).splitlines()
    assert lines[-2].endswith("- TRACE_CLUST_OBJ_OBJECT_NAME         ref 0x7 type DirObject name /a")


@pytest.mark.skipif(find_spec("k42fs.report.fast_lines") is None, reason="the compiled listing was not built")
@pytest.mark.parametrize("seed", range(5))
def test_the_compiled_listing_is_the_plain_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    of = source(everything(tmp_path / "t", seed=seed))
    compiled = "".join(listing(of, records_of(of, True)))
    monkeypatch.setattr("k42fs.report.listing.fast_lines", None)
    assert compiled == "".join(listing(of, records_of(of, True)))


def test_a_terminal_is_spared_each_processors_opening(tmp_path: Path) -> None:
    trace = HandTrace(tmp_path / "t", processors=2, env={"preset": "dir-1024"})
    for vp in range(2):
        trace.event(vp, 10 * vp, "control_traced_start")
        trace.event(vp, 10 * vp, "control_heartbeat", 0, vp, 0)
        trace.event(vp, 10 * vp, "control_trace_mask", LOCK)
    trace.event(0, 5, "lock_release", 1, 2)
    trace.event(0, 20, "control_heartbeat", 20, 0, 0)  # later it says something
    trace.event(1, 30, "lock_release", 1, 3)
    directory = trace.close()
    of = source(directory)
    opening = Opening(of.trace.schema)
    lines = "".join(listing(of, opening.left_out(records_of(of, False)))).splitlines()
    assert [line.split()[1:3] for line in lines] == [
        ["0", "TRACE_LOCK_RELEASE"],
        ["0", "TRACE_CONTROL_HEARTBEAT"],
        ["1", "TRACE_LOCK_RELEASE"],
    ]
    assert opening.notes == ["the processors' 6 opening events are left out: --all lists them"]
    assert head_of(of) == "# 0.000000030 s, 2 processors at 1 GHz, preset dir-1024, Lock"
    assert len(run("list", directory).stdout.splitlines()) == 9  # what is no terminal gets everything
