"""Presets exist, say where they come from, and impossible machines are refused by name."""

from dataclasses import fields
from typing import Any

import pytest

from k42fs.errors import ConfigError
from k42fs.machine.config import MachineConfig, preset, preset_names, preset_table

FIELDS = {field.name for field in fields(MachineConfig)}


def test_the_directory_machines_are_there() -> None:
    assert preset_names() == ("dir-1024", "origin-128", "simos-16", "simos-32")


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_a_machine_and_every_field_says_where_it_comes_from(name: str) -> None:
    config = preset(name)
    assert config.name == name
    for field, entry in preset_table(name).items():
        assert field in FIELDS
        assert set(entry) == {"value", "certainty", "source"}
        assert entry["certainty"] in ("verified", "model preset", "invented")
        assert entry["source"]
        assert getattr(config, field) == entry["value"]


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
    ({"topology": "ring"}, "topology='ring': must be one of hypercube, flat"),
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


def test_an_unknown_preset_is_refused_naming_those_there_are() -> None:
    with pytest.raises(ConfigError, match="preset='s390': must be one of dir-1024, origin-128"):
        preset("s390")


def test_distance_in_a_hypercube_is_the_number_of_differing_bits() -> None:
    config = preset("dir-1024", processors=1024)
    assert config.nodes == 128
    assert (config.node(0), config.node(7), config.node(8), config.node(1023)) == (0, 0, 1, 127)
    assert (config.hops(0, 0), config.hops(0, 127), config.hops(5, 6)) == (0, 7, 2)
    assert (preset("simos-16").hops(1, 3), preset("simos-16").hops(2, 2)) == (1, 0)
