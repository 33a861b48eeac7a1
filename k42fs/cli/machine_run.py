"""`k42fs machine run`: opens traces, makes the machine for them, runs them, prints what happened."""

from __future__ import annotations

import csv
import json
import resource
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from k42fs.errors import ConfigError, InvalidArgumentError
from k42fs.machine.config import MachineConfig, preset_table
from k42fs.machine.config import preset as make_preset
from k42fs.machine.config_rules import PROCESSORS_MAX
from k42fs.machine.cores import make_core
from k42fs.machine.memory import Memory
from k42fs.machine.reference_trace import Form
from k42fs.machine.reference_trace_files import DinWriter, TraceFile, trace_paths
from k42fs.machine.trace_report import as_dict
from k42fs.machine.trace_run import run_file, run_files

if TYPE_CHECKING:
    from k42fs.machine.core import CoherenceCore
    from k42fs.machine.trace_run import TraceOutcome

BAR_FROM_BYTES: Final = 4 << 20
"""Smaller traces are done before anybody could read a progress bar."""

SPARE_FILES: Final = 64
WIDTH_IF_NO_TERMINAL: Final = 160

REFERENCES: Final = (
    ("loads", "loads"),
    ("stores", "stores"),
    ("rmws", "atomics"),
    ("l1_hits", "L1 hits"),
    ("l2_hits", "L2 hits"),
    ("l3_hits", "L3 hits"),
    ("miss_cold", "cold"),
    ("miss_capacity", "capacity, conflict"),
    ("miss_true_sharing", "true sharing"),
    ("miss_false_sharing", "false sharing"),
    ("miss_upgrade", "upgrades"),
)
TRAFFIC: Final = (
    ("invalidations", "copies lost to writers"),
    ("write_backs", "write-backs"),
    ("nbytes", "bytes moved"),
    ("cycles", "cycles"),
    ("compute", "compute"),
    ("stall", "stall"),
    ("queued", "of it queued"),
    ("idle", "idle"),
)


def run_traces(
    traces: Sequence[str],
    *,
    preset: str,
    processors: int | None,
    settings: Sequence[str],
    homes: str,
    form: str | None,
    seed: int,
    output: str,
    emit_din: str | None,
    partial: bool,
) -> None:
    """Run *traces* and print the outcome. Raises K42Error: TraceError for a bad trace, ConfigError."""
    _allow_open_files(2 * PROCESSORS_MAX)
    with ExitStack() as stack:
        files: list[TraceFile] = []
        for path in trace_paths(traces):
            files.append(TraceFile(path, cast("Form | None", form)))
            stack.callback(files[-1].close)
        used = min(_processors_used(files), make_preset(preset).processors_max)
        changes = {
            "processors": used if processors is None else processors,
            "homes": homes,
            "seed": seed,
            **_changes(settings),
        }
        config = make_preset(preset, **changes)
        _check_files(files, config)
        core = make_core(config, Memory(config))
        writer = DinWriter(emit_din, used, [file.path for file in files]) if emit_din is not None else None
        if writer is not None:
            stack.callback(writer.close)
        outcome = _run(files, config, core, writer)
    if outcome.error is not None and not partial:
        raise outcome.error
    _print(outcome, config, core, files, output)
    if outcome.error is not None:
        click.echo(f"k42fs: {outcome.error}", err=True)
        sys.exit(1)


def _allow_open_files(count: int) -> None:
    """Let the process have *count* files and a few more open, if it may: the usual limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + SPARE_FILES if hard == resource.RLIM_INFINITY else min(hard, count + SPARE_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _run(
    files: Sequence[TraceFile], config: MachineConfig, core: CoherenceCore, writer: DinWriter | None
) -> TraceOutcome:
    on_records = writer.write if writer is not None else None
    with _progress(sum(file.bytes_total for file in files)) as on_progress:
        if files[0].form == "text":
            return run_file(core, files[0], config.processors, config.line_bytes, on_records, on_progress)
        return run_files(
            core, files, config.processors, config.line_bytes, config.seed, on_records, on_progress
        )


def _processors_used(files: Sequence[TraceFile]) -> int:
    """Return how many processors the trace is for: its files, or one more than the highest in its text."""
    forms = {file.form for file in files}
    if len(forms) > 1:
        named = ", ".join(f"{file.path} is {file.form}" for file in files)
        raise InvalidArgumentError(f"the traces differ in format: {named}")
    if forms != {"text"}:
        return len(files)
    if len(files) > 1:
        raise InvalidArgumentError(f"a text trace is one file for all processors, not {len(files)}")
    return files[0].highest_cpu() + 1


def _check_files(files: Sequence[TraceFile], config: MachineConfig) -> None:
    if files[0].form == "text":
        files[0].processors = config.processors
    elif len(files) > config.processors:
        raise ConfigError(
            f"processors={config.processors}: {files[config.processors].path} is for processor {config.processors}"
        )


def _changes(settings: Sequence[str]) -> dict[str, Any]:
    """Return FIELD=VALUE settings as values; a word that is no TOML value stands for itself."""
    changes: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting!r}: must be FIELD=VALUE")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        changes[name.strip()] = tuple(value) if isinstance(value, list) else value
    return changes


@contextmanager
def _progress(bytes_total: int) -> Iterator[Callable[[int], None] | None]:
    """Show a bar on standard error while a long trace runs, if that is a terminal."""
    console = Console(stderr=True)
    if bytes_total < BAR_FROM_BYTES or not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("running", total=bytes_total)
        yield lambda done: progress.update(task, completed=done)


def _print(
    outcome: TraceOutcome, config: MachineConfig, core: CoherenceCore, files: Sequence[TraceFile], output: str
) -> None:
    found = {
        "traces": [file.path for file in files],
        "format": files[0].form,
        **as_dict(outcome, config, core),
    }
    if output == "json":
        click.echo(json.dumps(found, indent=2))
        return
    if output == "csv":
        rows = [*found["per_cpu"], {"cpu": "total", **found["total"]}]
        writer = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return
    _print_text(found, config)


def _print_text(found: dict[str, Any], config: MachineConfig) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH_IF_NO_TERMINAL)
    console.print(
        f"{found['machine']}: {found['processors']} processors, {found['protocol']}, {found['interconnect']};"
        f" {found['records']} records ({found['format']}), {found['cycles']} cycles",
        highlight=False,
    )
    for title, columns in (("references", REFERENCES), ("traffic and time", TRAFFIC)):
        console.print(_table(title, columns, found, config))
    if found["error"]:
        console.print(f"up to a bad line: {found['error']}", highlight=False, markup=False)
    labelled = found["model_preset"]
    if labelled:
        known = len(preset_fields(config.name))
        console.print(
            f"{len(labelled)} of {known} values of {config.name} are unverified (model preset):"
            f" figures are the model's, not a measurement of that machine",
            highlight=False,
        )


def preset_fields(name: str) -> list[str]:
    """Return the fields that a preset of k42fs's own sets; none of a user's."""
    try:
        return list(preset_table(name))
    except ConfigError:
        return []


def _table(
    title: str, columns: Sequence[tuple[str, str]], found: dict[str, Any], config: MachineConfig
) -> Table:
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    table.add_column("cpu", justify="right")
    shown = [(key, header) for key, header in columns if key != "l3_hits" or config.l3_bytes]
    for _, header in shown:
        table.add_column(header, justify="right")
    for row in found["per_cpu"]:
        table.add_row(str(row["cpu"]), *(str(row[key]) for key, _ in shown))
    if len(found["per_cpu"]) > 1:
        table.add_row("all", *(str(found["total"][key]) for key, _ in shown), style="bold")
    return table
