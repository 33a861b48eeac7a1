"""`k42fs machine presets`, `show`, `explore`, `protocols`: what they print and refuse."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from k42fs.cli import machine_explore
from k42fs.cli.machine_explore import fitted
from k42fs.cli.machine_show import MEANINGS
from k42fs.cli.machine_topology import picture, size
from k42fs.cli.main import cli
from k42fs.machine.config import CERTAINTIES, preset, preset_names, preset_table
from k42fs.machine.protocol import MESI, PROTOCOLS, Snoop

DOCS = Path(__file__).parents[2] / "docs"


def machine(*args: str) -> Result:
    return CliRunner().invoke(cli, ["machine", *args])


def test_presets_are_listed_with_how_much_of_each_is_unverified() -> None:
    output = machine("presets").output
    rows = {line.split()[0]: line for line in output.splitlines()[1:] if line}
    for name in preset_names():
        labelled = len(preset(name).labels())
        assert f"{labelled} of {len(preset_table(name))}" in rows[name]
    assert {row["name"] for row in json.loads(machine("presets", "--json").output)} == set(preset_names())


@pytest.mark.parametrize("name", preset_names())
def test_every_field_is_shown_with_source_and_certainty(name: str) -> None:
    config, table = preset(name), preset_table(name)
    rows = {row["field"]: row for row in json.loads(machine("show", name, "--json").output)["fields"]}
    assert table.keys() <= rows.keys()
    for field, entry in table.items():
        assert (rows[field]["certainty"], rows[field]["source"]) == (entry["certainty"], entry["source"])
        assert rows[field]["label"].startswith("model preset") == (field in config.labels())
    text = machine("show", name).output
    assert len(re.findall(r"  model preset  ", text)) == len(config.labels())


def test_a_users_own_preset_is_shown_or_refused(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('protocol = "moesi"\nl2_bytes = 524288\nl2_ways = 8\n')
    output = machine("show", str(mine)).output
    assert output.startswith("mine, 8 processors")
    assert output.count("  model preset  ") == 3
    mine.write_text("line_bytes = 100\n")
    result = machine("show", str(mine))
    assert result.exit_code == 1
    assert "line_bytes=100: must be a power of two" in result.stderr


@pytest.mark.parametrize(
    ("name", "processors", "drawn"),
    [
        ("s85-24", 24, ["P0", "P23", "bus: address 8, data 32 cycles", "[ memory ]"]),
        ("s85-24", 2, ["P0", "P1"]),
        (
            "dir-1024",
            1024,
            ["node 0: P0..P7", "128 nodes, a 7-cube", "linked to nodes 1, 2, 4, 8, 16, 32, 64"],
        ),
        ("dir-1024", 48, ["4 --- 5", "the first 6 of a 3-cube", ". --- ."]),
        ("dir-1024", 32, ["2 --- 3", "4 nodes, a 2-cube"]),
        ("dir-1024", 16, ["node 0 --- node 1"]),
        ("dir-1024", 8, ["one node: everything is at distance 0"]),
        ("numachine-64", 64, ["group 3   [node 12]", "L3 8M per 4", "2: another group"]),
        ("simos-32", 32, ["any two nodes are at distance 1"]),
    ],
)
def test_the_picture_shows_the_topology(name: str, processors: int, drawn: list[str]) -> None:
    text = picture(preset(name, processors=processors))
    for part in drawn:
        assert part in text
    assert all(len(line) <= 80 and line == line.rstrip() for line in text.splitlines())


def test_the_picture_is_of_what_the_processors_are_joined_by() -> None:
    """Whatever the topology, which says how far nodes are: who snoops has a bus, who does not has directories."""
    snooping = picture(preset("dir-1024", processors=1024, interconnect="bus"))
    assert "bus: address 8, data 32 cycles" in snooping
    assert "[ memory of 128 nodes ]" in snooping
    assert "farther (hypercube)" in snooping
    assert "cube of" not in snooping
    assert "directory" not in snooping
    assert all(len(line) <= 80 for line in snooping.splitlines())
    homes = picture(preset("dir-1024", processors=32, topology="bus"))
    assert "bus" not in homes
    assert homes.count("directory") == 3
    assert "any two nodes are at distance 0" in homes
    alone = picture(preset("dir-1024", processors=4, interconnect="bus"))
    assert "[ memory ]" in alone


def test_show_says_which_latencies_count(tmp_path: Path) -> None:
    rows = {row["field"]: row for row in json.loads(machine("show", "xeon-2s", "--json").output)["fields"]}
    assert rows["dirty_cycles"]["replaced_by"] == "dirty_by_distance"
    assert rows["dirty_by_distance"]["replaced_by"] is None
    text = re.sub(r"\s+", " ", machine("show", "xeon-2s").output)
    assert "dirty_cycles 178 model preset not used, dirty_by_distance is: public collection" in text
    assert "not used" not in machine("show", "dir-1024").output


def test_show_says_what_the_certainties_mean() -> None:
    text = machine("show", "s85-24").output
    shown = set(re.findall(r"^(\w+(?: \w+)?): ", text, re.M))
    used = {entry["certainty"] for entry in preset_table("s85-24").values()} | {"invented"}
    assert shown == {"model preset" if each == "unverified" else each for each in used}
    assert MEANINGS.keys() == set(CERTAINTIES)


def test_sizes_are_written_as_people_do() -> None:
    assert [size(n) for n in (512, 32768, 1 << 20, 1280 << 10, 54 << 20)] == [
        "512",
        "32K",
        "1M",
        "1280K",
        "54M",
    ]


def test_explore_proves_a_protocol_and_counts_its_states() -> None:
    result = machine("explore", "--protocol", "msi")
    assert result.exit_code == 0
    rows = [line.split() for line in result.output.splitlines() if line.startswith("msi")]
    assert [row[-1] for row in rows] == ["proved"] * 3
    assert [row[-6] for row in rows] == ["3484", "3484", "15320"]


def test_the_documentations_counts_are_the_explorers() -> None:
    documented = [
        line.split() for line in (DOCS / "machine.md").read_text().splitlines() if line.endswith("proved")
    ]
    assert len(documented) == 9
    found = json.loads(machine("explore", "--json", "--protocol", "msi", "--protocol", "mesi").output)
    for row, line in zip(found, [line for line in documented if line[0] != "moesi"], strict=True):
        counts = [str(row[key]) for key in ("states", "transitions", "line_states", "depth")]
        assert line[-6:-2] == counts


def test_explore_ends_with_status_1_and_the_way_to_the_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {**MESI.snoop, (1, 2): Snoop(1, False, False)}  # S keeps its copy when another upgrades
    broken = MESI.__class__(
        name="mesi",
        processor=MESI.processor,
        snoop=rows,
        evict_writes=MESI.evict_writes,
        home=MESI.home,
        put=MESI.put,
    )
    monkeypatch.setattr(machine_explore, "PROTOCOLS", {"mesi": broken})
    result = machine("explore")
    assert result.exit_code == 1
    assert "VIOLATION" in result.output
    assert "3. cpu 0 stores 0 to line 0" in result.output


def test_explore_can_replay_and_run_mutants() -> None:
    result = machine("explore", "--protocol", "msi", "--replay", "--mutants", "--json")
    assert result.exit_code == 0
    rows = json.loads(result.output)
    assert all(row["replay"]["difference"] == "" and row["replay"]["paths"] > 1000 for row in rows)
    assert all(mutant["violation"] for row in rows for mutant in row["mutants"])
    assert len(rows[1]["mutants"]) > 10
    assert all(len(mutant["path"]) == mutant["operations"] > 0 for row in rows for mutant in row["mutants"])


def test_mutants_are_printed_with_the_way_there_and_counted() -> None:
    text = machine("explore", "--protocol", "msi", "--mutants").output
    counts = re.findall(r"^ +(\d+) of (\d+) mutants caught$", text, re.M)
    assert len(counts) == 3
    assert all(caught == there for caught, there in counts)
    assert text.count("  without ") == sum(int(there) for _, there in counts)
    assert len(re.findall(r"^ +1\. cpu \d (loads|stores)", text, re.M)) == text.count("  without ")


def test_the_protocols_fit_a_terminal() -> None:
    """Every cell of every table is still there."""
    page = (DOCS / "protocols.md").read_text()
    lines = list(fitted(page, 80))
    assert [line for line in lines if len(line) > 80] == []
    shown = " ".join(" ".join(lines).split())
    tables = [line for line in page.splitlines() if line.startswith("| ")]
    assert all(cell.strip() in shown for line in tables for cell in line.strip("|").split("|"))
    assert "state I load GetS -> E, or S if shared" in shown
    assert list(fitted(page, 200)) == page.splitlines()


def test_a_replay_claims_no_more_than_it_compared() -> None:
    result = machine("explore", "--protocol", "msi", "--replay")
    assert result.exit_code == 0
    assert result.output.count("the copies' states equal") == 3


def test_a_protocol_of_no_such_name_is_refused() -> None:
    for args in (["explore", "--protocol", "dragon"], ["protocols", "dragon"]):
        result = machine(*args)
        assert result.exit_code == 1
        assert "protocol='dragon': must be one of msi, mesi, moesi" in result.stderr


def test_the_page_of_protocols_is_what_the_command_prints() -> None:
    assert machine("protocols").output == (DOCS / "protocols.md").read_text()
    only = machine("protocols", "moesi").output
    assert "## MOESI" in only
    assert "## MSI" not in only
    assert [f"## {name.upper()}" in machine("protocols").output for name in PROTOCOLS] == [True] * 3


@pytest.mark.parametrize(
    "args",
    [
        ["presets"],
        *(["show", name] for name in preset_names()),
        ["explore", "--protocol", "msi", "--mutants", "--replay"],
        ["validate", "--quick", "E19"],
        ["--help"],
        *([name, "--help"] for name in ("presets", "show", "explore", "protocols", "run", "validate")),
    ],
    ids=" ".join,
)
def test_every_screen_fits_80_columns(args: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    result = machine(*args)
    assert result.exit_code == 0
    assert [line for line in result.output.splitlines() if len(line) > 80 or line != line.rstrip()] == []


def test_a_wide_screen_shows_the_presets_megahertz(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "MHz" not in machine("presets").output
    monkeypatch.setenv("COLUMNS", "100")
    assert re.search(r"^s85-24 +1..24 +600 ", machine("presets").output, re.M)


def test_a_reader_that_has_had_enough_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "k42fs.cli.main", "machine", "presets"]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=60)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_help_lists_whole_sentences() -> None:
    output = " ".join(machine("--help").output.split())
    assert "..." not in output.replace("ARGS]...", "")
    assert "Prove the protocols: walk over every state that" in output


def test_validate_is_in_the_group() -> None:
    assert "validate" in machine("--help").output
    assert machine("validate", "--help").exit_code == 0
