"""`k42fs machine presets` and `show`: the machines to start from, each value with its source and certainty."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

import click

from k42fs.cli.columns import aligned, screen_width, width_of, wrapped
from k42fs.cli.machine_topology import picture, size
from k42fs.machine.config import CERTAINTIES, MODEL_PRESET, MachineConfig, preset, preset_names, preset_table

PRESET_COLUMNS: Final = (
    ("preset", "<"),
    ("CPUs", ">"),
    ("MHz", ">"),
    ("protocol", "<"),
    ("network", "<"),
    ("line", ">"),
    ("L1", ">"),
    ("L2", ">"),
    ("L3", ">"),
    ("unverified", ">"),
)
MEANINGS: Final = {
    "source": "read in K42's source code",
    "verified": "looked up in a public source",
    "unverified": "nobody has checked it; belongs to the model and not to the machine it is named after",
    "invented": "k42fs's own; where the source is 'default of the model', the preset leaves it out",
}
LEFT_OUT_FIRST: Final = "MHz"
"""The column that a narrow screen does without."""


def list_presets(as_json: bool) -> None:
    """Print the presets that come with k42fs."""
    configs = [preset(name) for name in preset_names()]
    rows = [
        {
            "name": config.name,
            "processors_max": config.processors_max,
            "mhz": config.mhz,
            "protocol": config.protocol,
            "interconnect": config.interconnect,
            "topology": config.topology,
            "line_bytes": config.line_bytes,
            "l1_bytes": config.l1_bytes,
            "l2_bytes": config.l2_bytes,
            "l3_bytes": config.l3_bytes,
            "model_preset": len(config.labels()),
            "values": len(preset_table(config.name)),
        }
        for config in configs
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    width = screen_width()
    _print_table(*_preset_table(configs, rows, width), width)
    click.echo()
    about = (
        f"Unverified values are labelled '{MODEL_PRESET}': 'k42fs machine show PRESET' names each with its"
        " source. Machines with a bus snoop, all others have a directory."
    )
    for line in wrapped(about, width):
        click.echo(line)


def _preset_table(
    configs: list[MachineConfig], rows: list[dict[str, Any]], width: int
) -> tuple[list[list[str]], str]:
    """Return the table of presets, and the side that each column keeps to, as far as *width* has room for it."""
    table = [[name for name, _ in PRESET_COLUMNS]]
    for config, row in zip(configs, rows, strict=True):
        table.append(
            [
                config.name,
                f"1..{config.processors_max}",
                str(config.mhz),
                config.protocol,
                config.topology,
                str(config.line_bytes),
                size(config.l1_bytes),
                size(config.l2_bytes),
                size(config.l3_bytes) if config.l3_bytes else "-",
                f"{row['model_preset']} of {row['values']}",
            ]
        )
    sides = "".join(side for _, side in PRESET_COLUMNS)
    if width_of(table) > width:
        place = table[0].index(LEFT_OUT_FIRST)
        table = [[*row[:place], *row[place + 1 :]] for row in table]
        sides = sides[:place] + sides[place + 1 :]
    return table, sides


def show_preset(name: str, as_json: bool) -> None:
    """Print one preset: the picture, then every field of the machine. Raises ConfigError."""
    config = preset(name, **_shown_size(name))
    rows = [_row(field.name, config, preset_table(name)) for field in fields(config) if _is_value(field.name)]
    if as_json:
        click.echo(json.dumps({"name": config.name, "fields": rows}, indent=2))
        return
    click.echo(f"{config.name}, {config.processors} processors\n")
    click.echo(picture(config))
    click.echo()
    table = [["field", "value", "certainty", "source"]]
    table += [[row["field"], _text(row["value"]), _certainty(row["certainty"]), _source(row)] for row in rows]
    _print_table(table, "<<<<", screen_width())
    click.echo()
    for certainty in CERTAINTIES:
        if any(row["certainty"] == certainty for row in rows):
            text = f"{_certainty(certainty)}: {MEANINGS[certainty]}"
            for line in wrapped(text, screen_width(), "  "):
                click.echo(line)


def _certainty(certainty: str) -> str:
    return MODEL_PRESET if certainty == "unverified" else certainty


def _source(row: dict[str, Any]) -> str:
    """Return where the value comes from, or first that it is not used, and what is instead."""
    return f"not used, {row['replaced_by']} is: {row['source']}" if row["replaced_by"] else str(row["source"])


def _print_table(table: Sequence[Sequence[str]], sides: str, width: int) -> None:
    for number, line in enumerate(aligned(table, sides, width)):
        click.echo(click.style(line, bold=number == 0))


def _shown_size(name: str) -> dict[str, int]:
    """Return the processors to show a preset with: all of a machine that has one size."""
    most = preset(name).processors_max
    return {"processors": most} if name in preset_names() else {}


def _is_value(field: str) -> bool:
    return field not in ("name", "unverified")


def _row(field: str, config: MachineConfig, table: dict[str, dict[str, Any]]) -> dict[str, Any]:
    entry = table.get(field)
    if entry is None:
        entry = {"value": getattr(config, field), "certainty": "invented", "source": "default of the model"}
    certainty = entry["certainty"]
    return {
        "field": field,
        "value": getattr(config, field),
        "certainty": certainty,
        "label": f"{MODEL_PRESET} (unverified)" if certainty == "unverified" else certainty,
        "source": entry["source"],
        "replaced_by": config.replaced().get(field),
    }


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "-"
    return str(value).lower() if isinstance(value, bool) else str(value)
