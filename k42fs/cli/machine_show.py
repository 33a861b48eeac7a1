"""`k42fs machine presets` and `show`: the machines to start from, each value with its source and certainty."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from k42fs.cli.machine_topology import picture, size
from k42fs.machine.config import MODEL_PRESET, MachineConfig, preset, preset_names, preset_table

WIDTH_IF_NO_TERMINAL: Final = 140


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
    table = Table(box=None, header_style="bold", pad_edge=False)
    for header in ("preset", "processors", "MHz", "protocol", "interconnect", "line", "L1", "L2", "L3"):
        table.add_column(
            header, justify="left" if header in ("preset", "protocol", "interconnect") else "right"
        )
    table.add_column(f"{MODEL_PRESET} values", justify="right")
    for config, row in zip(configs, rows, strict=True):
        table.add_row(
            config.name,
            f"1..{config.processors_max}",
            str(config.mhz),
            config.protocol,
            f"{config.interconnect}, {config.topology}" if config.interconnect != "bus" else "bus",
            str(config.line_bytes),
            size(config.l1_bytes),
            size(config.l2_bytes),
            size(config.l3_bytes) if config.l3_bytes else "-",
            f"{row['model_preset']} of {row['values']}",
        )
    _console().print(table)
    click.echo(
        f"\n'{MODEL_PRESET}' values are unverified: 'k42fs machine show PRESET' names each with its source."
    )


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
    table = Table(box=None, header_style="bold", pad_edge=False)
    for header in ("field", "value", "certainty", "source"):
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(row["field"], _text(row["value"]), row["label"], row["source"])
    _console().print(table)


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
    }


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "-"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH_IF_NO_TERMINAL)
