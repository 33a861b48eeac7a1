"""Presets exist, say where they come from, and impossible machines are refused by name."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from k42fs.errors import ConfigError
from k42fs.machine.config import CERTAINTIES, MachineConfig, preset, preset_names, preset_table

FIELDS = {field.name for field in fields(MachineConfig)}


def test_the_machines_are_there() -> None:
    assert preset_names() == (
        "challenge-36",
        "dir-1024",
        "epyc-2s",
        "numachine-64",
        "origin-128",
        "s85-24",
        "simos-16",
        "simos-32",
        "xeon-2s",
    )


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_a_machine_and_every_field_says_where_it_comes_from(name: str) -> None:
    config = preset(name)
    assert config.name == name
    for field, entry in preset_table(name).items():
        assert field in FIELDS
        assert set(entry) == {"value", "certainty", "source"}
        assert entry["certainty"] in CERTAINTIES
        assert entry["source"]
        assert getattr(config, field) == entry["value"]
        assert (field in config.labels()) == (entry["certainty"] == "unverified")


def test_an_overridden_field_is_no_longer_the_presets_guess() -> None:
    assert preset("s85-24").labels()["local_cycles"] == "model preset"
    assert "local_cycles" not in preset("s85-24", local_cycles=250).labels()
    assert preset("dir-1024").labels() == {}


@pytest.mark.parametrize("name", preset_names())
def test_any_number_of_processors_up_to_the_maximum_will_do(name: str) -> None:
    most = preset(name).processors_max
    for count in (1, 2, 3, most - 1, most):
        assert preset(name, processors=count).processors == count
    with pytest.raises(ConfigError, match=f"processors={most + 1}"):
        preset(name, processors=most + 1)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"processors": 0}, "processors=0: must be from 1 to 1024"),
    ({"processors": 1025}, "processors=1025: must be from 1 to 1024"),
    ({"processors": True}, "processors=True: must be a whole number"),
    ({"processors": 2.0}, r"processors=2\.0: must be a whole number"),
    ({"line_bytes": 96}, "line_bytes=96: must be a power of two"),
    ({"line_bytes": 8}, "line_bytes=8: must be a power of two from 16"),
    ({"l1_line_bytes": 128}, "l1_line_bytes=128: must not exceed line_bytes=64"),
    ({"l1_bytes": 2 << 20}, "l1_bytes=2097152: must not exceed l2_bytes=1048576"),
    ({"l1_bytes": 1000}, "l1_bytes=1000: must be l1_ways=8 times"),
    ({"l2_ways": 3}, "l2_bytes=1048576: must be l2_ways=3 times"),
    ({"l1_cycles": 20}, "l1_cycles=20: must not exceed l2_cycles=14"),
    ({"l1_cycles": 0}, "l1_cycles=0: must be at least 1"),
    ({"dirty_cycles": -1}, "dirty_cycles=-1: must not be negative"),
    ({"topology": "ring"}, "topology='ring': must be one of hypercube, flat, bus, groups"),
    ({"topology": ["flat"]}, r"topology=\['flat'\]: must be one of hypercube"),
    ({"protocol": "dragon"}, "protocol='dragon': must be one of msi, mesi, moesi"),
    ({"interconnect": "ring"}, "interconnect='ring': must be one of directory, bus"),
    ({"clean_intervention": 1}, "clean_intervention=1: must be true or false"),
    ({"notify_evictions": "no"}, "notify_evictions='no': must be true or false"),
    ({"network": "links", "interconnect": "bus"}, "network='links': needs interconnect=directory"),
    (
        {"bus_data_cycles": 201, "interconnect": "bus"},
        "bus_data_cycles=201: must not exceed local_cycles=200",
    ),
    (
        {"bus_data_cycles": 32, "interconnect": "bus", "dirty_by_distance": (40, 31)},
        r"bus_data_cycles=32: must not exceed dirty_by_distance=\[40, 31\]",
    ),
    ({"bus_address_cycles": 0}, "bus_address_cycles=0: must be at least 1"),
    ({"sharer_bits": 7}, "sharer_bits=7: a full map needs a bit for each of processors=8"),
    (
        {"sharer_format": "limited", "sharer_bits": 2},
        "sharer_bits=2: too few to point at one of processors=8",
    ),
    ({"l3_bytes": 1000}, "l3_bytes=1000: must be a multiple of l3_ways=16 times line_bytes=64"),
    ({"l3_bytes": 1 << 20, "l3_cycles": 13}, "l3_cycles=13: must be at least l2_cycles=14"),
    ({"processors_per_l3": 0}, "processors_per_l3=0: must be at least 1"),
    ({"homes": "first-touch"}, "homes='first-touch': must be one of address, interleaved, first"),
    ({"scale_caches_log2": 31}, "scale_caches_log2=31: must not exceed 30"),
    ({"memory_by_distance": 5}, r"memory_by_distance=5: must be whole numbers .*, as \[300, 490\]"),
    ({"memory_by_distance": [5, -1]}, r"memory_by_distance=\[5, -1\]: must be whole numbers from 0"),
    (
        {"dirty_by_distance": (5, 6), "processors": 17},
        r"dirty_by_distance=\[5, 6\]: must have an entry for each distance from 0 to 2",
    ),
    ({"processors": -1}, "processors=-1: must be from 1 to 1024"),
    ({"l2_bytes": "1.3M"}, "l2_bytes='1.3M': must be a whole number"),
    (
        {"dirty_by_distance": [260, 300], "dirty_cycles": 1000},
        r"dirty_cycles=1000: overridden by dirty_by_distance=\[260, 300\]: change that, or dirty_by_distance=\[\]",
    ),
    ({"unverified": ("mhz",)}, "unverified=.*: is no field"),
    ({"history": 1}, "history=1: must be at least 2"),
    ({"l2_bytes": 1 << 31}, "l2_bytes=2147483648: must not exceed 1073741824"),
    ({"mhz": 0}, "mhz=0: must be at least 1"),
    ({"colour": "red"}, "colour='red': is no field"),
]


@pytest.mark.parametrize(("overrides", "text"), REFUSED)
def test_an_impossible_machine_is_refused_naming_field_value_and_rule(
    overrides: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        preset("dir-1024", **overrides)


BAD_FILES = [
    ("colour = 'red'", "colour='red': is no field"),
    ("mhz = 0", "mhz=0: must be at least 1"),
    ("name = 7", "name=7: must be a text"),
    ("mhz = ", "is not TOML"),
    (
        "mhz = { value = 5 }",
        "mhz={'value': 5}: must be a value, or have value, certainty and source: certainty is missing, source is",
    ),
    (
        "mhz = { value = 5, certainty = 'verified', source = 'x', when = 'now' }",
        "value, certainty and source: when is none of them",
    ),
    ("base = 'vax'", "base='vax': must be one of challenge-36, dir-1024"),
    ("base = 5", "base=5: must be one of"),
    ("base = 'mine.toml'", "base=.*goes round: .*mine.toml -> .*mine.toml"),
    ("base = 'none.toml'", "none.toml': cannot be read"),
    ("base = 'xeon-2s'\ndirty_cycles = 1000", "dirty_cycles=1000: overridden by dirty_by_distance"),
    (
        'mhz = { value = 5, certainty = "sure", source = "x" }',
        "mhz.certainty='sure': must be one of source, ",
    ),
]


@pytest.mark.parametrize(("text", "complaint"), BAD_FILES)
def test_a_bad_file_of_a_user_is_refused_naming_field_value_and_rule(
    text: str, complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=complaint) as caught:
        preset(str(path))
    assert str(path) in str(caught.value) or "none.toml" in str(caught.value)


@pytest.mark.parametrize("name", ["xeon-2s", "epyc-2s", "numachine-64", "origin-128"])
def test_a_latency_that_a_table_is_there_instead_of_cannot_be_changed(name: str) -> None:
    config = preset(name)
    replaced = {"local_cycles", "remote_cycles", "dirty_cycles"}
    if config.upgrade_by_distance:
        replaced |= {"upgrade_cycles", *(["hop_cycles"] if config.network == "ideal" else [])}
    assert config.replaced().keys() == replaced
    for field, table in config.replaced().items():
        if field != "hop_cycles":  # which interrupts take
            with pytest.raises(ConfigError, match=f"{field}=1000: overridden by {table}="):
                preset(name, **{field: 1000})
            assert getattr(preset(name, **{field: 1000, table: ()}), field) == 1000
    assert preset("dir-1024").replaced() == {}


def test_sizes_may_be_written_with_units() -> None:
    config = preset("dir-1024", l1_bytes="64K", l2_bytes="2M", l2_ways=8)
    assert (config.l1_bytes, config.l2_bytes) == (64 << 10, 2 << 20)
    assert preset("xeon-2s", l2_bytes="1.25M").l2_bytes == 1280 << 10


def test_a_file_may_start_from_another_preset(tmp_path: Path) -> None:
    """What is in neither is the model's own; what comes from the base keeps its certainty."""
    (tmp_path / "near.toml").write_text('base = "xeon-2s"\nprotocol = "moesi"\nl3_bytes = "27M"\n')
    farther = tmp_path / "farther.toml"
    farther.write_text(
        'base = "near.toml"\nmhz = { value = 3000, certainty = "verified", source = "here" }\n'
        "dirty_cycles = 100\ndirty_by_distance = [100, 300]\n"
    )
    config, base = preset(str(farther)), preset("xeon-2s")
    assert (config.name, config.mhz, config.protocol, config.processors) == ("farther", 3000, "moesi", 64)
    assert (config.l3_bytes, config.dirty_by_distance) == (27 << 20, (100, 300))
    assert config.memory_by_distance == base.memory_by_distance
    assert set(config.labels()) == set(base.labels()) - {"mhz"}
    assert preset_table(str(farther)).keys() == preset_table("xeon-2s").keys()


def test_a_file_of_a_user_is_a_preset(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'mhz = 100\nlocal_cycles = { value = 70, certainty = "verified", source = "measured" }\n'
        "memory_by_distance = [70, 90, 95]\n"
    )
    config = preset(str(path), processors=32)
    assert (config.name, config.mhz, config.local_cycles, config.processors) == ("mine", 100, 70, 32)
    assert config.memory_by_distance == (70, 90, 95)
    assert config.dirty_cycles == MachineConfig().dirty_cycles
    assert set(config.labels()) == {"mhz", "memory_by_distance"}


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    for name in ("none.toml", "binary.toml"):
        with pytest.raises(ConfigError, match="cannot be read"):
            preset(str(tmp_path / name))


def test_an_unknown_preset_is_refused_naming_those_there_are() -> None:
    with pytest.raises(ConfigError, match="preset='s390': must be one of challenge-36, dir-1024"):
        preset("s390")


def test_distance_in_a_hypercube_is_the_number_of_differing_bits() -> None:
    config = preset("dir-1024", processors=1024)
    assert config.nodes == 128
    assert (config.node(0), config.node(7), config.node(8), config.node(1023)) == (0, 0, 1, 127)
    assert (config.hops(0, 0), config.hops(0, 127), config.hops(5, 6)) == (0, 7, 2)
    assert (preset("simos-16").hops(1, 3), preset("simos-16").hops(2, 2)) == (1, 0)


def test_distance_in_groups_counts_the_levels_to_climb() -> None:
    config = preset("numachine-64")
    assert [config.hops(0, node) for node in (0, 1, 3, 4, 15)] == [0, 1, 1, 2, 2]
    assert (config.distance_max, preset("numachine-64", processors=16).distance_max) == (2, 1)
    assert preset("numachine-64", processors=4).distance_max == 0


def test_a_bus_is_equally_far_from_everywhere() -> None:
    config = preset("dir-1024", processors=64, topology="bus")
    assert (config.nodes, config.distance_max, config.hops(0, 7)) == (8, 0, 0)


@pytest.mark.parametrize("name", preset_names())
def test_no_two_nodes_are_farther_apart_than_the_largest_distance(name: str) -> None:
    most = preset(name).processors_max
    for processors in (1, most // 2, most):
        config = preset(name, processors=processors)
        nodes = range(config.nodes)
        assert max(config.hops(a, b) for a in nodes for b in nodes) == config.distance_max


def test_caches_scale_by_their_sets() -> None:
    config = preset("epyc-2s")
    assert (config.l1_sets, config.l2_sets, config.l3_sets) == (64, 1024, 32768)
    small = replace(config, scale_caches_log2=5)
    assert (small.l1_sets, small.l2_sets, small.l3_sets) == (2, 32, 1024)
    assert replace(config, scale_caches_log2=30).l3_sets == 1
    assert preset("dir-1024").l3_sets == 0
    assert preset("xeon-2s").l3_sets == 73728


def test_a_sharer_field_holds_what_its_format_makes_of_its_bits() -> None:
    config = preset("dir-1024", processors=1024, sharer_format="limited", sharer_bits=64)
    assert config.sharer_pointers == 6
    assert replace(config, processors=1).sharer_pointers == 64
    assert replace(config, sharer_format="coarse", sharer_bits=100).sharer_group == 11
