"""`k42fs machine run`: opens traces, makes the machine for them, runs them, prints what happened."""

from __future__ import annotations

import csv
import json
import os
import resource
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import click

from k42fs.cli.machine_figures import print_figures, print_label
from k42fs.errors import ConfigError, InvalidArgumentError
from k42fs.machine.config import MODEL_PRESET, MachineConfig, preset_table
from k42fs.machine.config import preset as make_preset
from k42fs.machine.config_rules import PROCESSORS_MAX, refusal
from k42fs.machine.cores import make_core
from k42fs.machine.memory import Memory
from k42fs.machine.reference_log import LoggedCore
from k42fs.machine.reference_trace import Form
from k42fs.machine.reference_trace_files import DinWriter, TraceFile
from k42fs.machine.reference_trace_names import missing_numbers, trace_paths
from k42fs.machine.trace_report import as_dict
from k42fs.machine.trace_run import run_file, run_files

if TYPE_CHECKING:
    from k42fs.machine.core import CoherenceCore
    from k42fs.machine.trace_run import TraceOutcome

BAR_FROM_BYTES: Final = 4 << 20
"""Smaller traces are done before anybody could read a progress bar."""

SPARE_FILES: Final = 64
MISSING_SHOWN: Final = 8
STANDARD_INPUT: Final = "-"


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
    log: str | None,
) -> None:
    """Run *traces* and print the outcome. Raises K42Error: TraceError for a bad trace, ConfigError."""
    _allow_open_files(2 * PROCESSORS_MAX)
    with ExitStack() as stack:
        files: list[TraceFile] = []
        if list(traces).count(STANDARD_INPUT) > 1:
            raise InvalidArgumentError(f"{STANDARD_INPUT} (standard input) can be one trace, not several")
        paths = trace_paths(traces)
        _say_what_is_missing(paths)
        for path in paths:
            name = None
            if path == STANDARD_INPUT:
                path, name = stack.enter_context(_kept_input()), "standard input"
            files.append(TraceFile(path, cast("Form | None", form), name=name))
            stack.callback(files[-1].close)
        used = min(_processors_used(files), make_preset(preset).processors_max)
        changes = {
            "processors": used if processors is None else processors,
            "homes": homes,
            "seed": seed,
            **_changes(settings),
        }
        config = make_preset(preset, **changes)
        _check_changes(config, changes)
        _check_files(files, config)
        core = make_core(config, Memory(config))
        writer = None
        if emit_din is not None:
            writer = DinWriter(emit_din, used, [file.path for file in files], files[0].form == "din")
            stack.callback(writer.close)
        logged = stack.enter_context(_logged(core, config, files, log)) if log is not None else core
        outcome = _run(files, config, logged, writer)
    if outcome.error is not None and not partial:
        raise outcome.error
    _print(outcome, config, core, files, output, len(preset_table(preset)))
    if outcome.error is not None:
        click.echo(f"k42fs: {outcome.error}", err=True)
        sys.exit(1)


@contextmanager
def _kept_input() -> Iterator[str]:
    """Keep what comes from standard input in a file while it is used: a text trace is read twice."""
    from shutil import copyfileobj
    from tempfile import NamedTemporaryFile

    with NamedTemporaryFile(prefix="k42fs-trace-") as kept:
        copyfileobj(sys.stdin.buffer, kept)
        kept.flush()
        yield kept.name


def _allow_open_files(count: int) -> None:
    """Let the process have *count* files and a few more open, if it may: the usual limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + SPARE_FILES if hard == resource.RLIM_INFINITY else min(hard, count + SPARE_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextmanager
def _logged(
    core: CoherenceCore, config: MachineConfig, files: Sequence[TraceFile], log: str
) -> Iterator[LoggedCore]:
    """Make what writes each reference to the file *log*, or to standard output.

    Raises: InvalidArgumentError: it is a trace. OSError, with the file's name.
    """
    if log == STANDARD_INPUT:
        yield LoggedCore(core, sys.stdout, config.processors, config.line_bytes)
        click.echo()
        return
    if os.path.realpath(log) in {os.path.realpath(file.path) for file in files}:
        raise InvalidArgumentError(f"--log {log!r}: is the trace itself, which would be lost")
    try:
        with open(log, "w") as out:
            yield LoggedCore(core, out, config.processors, config.line_bytes)
    except OSError as exc:
        raise exc if exc.filename else OSError(exc.errno, exc.strerror, log) from exc


def _say_what_is_missing(paths: Sequence[str]) -> None:
    """Say which numbers the traces leave out: the next one's processor is not the one of its number."""
    missing = missing_numbers(paths)
    if missing:
        more = f" and {len(missing) - MISSING_SHOWN} more" if len(missing) > MISSING_SHOWN else ""
        shown = ", ".join(map(str, missing[:MISSING_SHOWN]))
        click.echo(
            f"k42fs: among the traces' numbers {shown}{more} are missing: processors are counted without them",
            err=True,
        )


def _run(
    files: Sequence[TraceFile],
    config: MachineConfig,
    core: CoherenceCore | LoggedCore,
    writer: DinWriter | None,
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
        named = ", ".join(f"{file.name} is {file.form}" for file in files)
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
            f"processors={config.processors}: {files[config.processors].name} is for processor {config.processors}"
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
        changes[name.strip()] = value
    return changes


def _check_changes(config: MachineConfig, changes: dict[str, Any]) -> None:
    """Refuse a setting that would do nothing. Raises ConfigError."""
    if "hop_cycles" in changes and (tables := config.replaced().get("hop_cycles")):
        raise refusal(
            "hop_cycles", changes["hop_cycles"], f"overridden by {tables}: a trace has no interrupts"
        )


@contextmanager
def _progress(bytes_total: int) -> Iterator[Callable[[int], None] | None]:
    """Show a bar on standard error while a long trace runs, if that is a terminal."""
    if bytes_total < BAR_FROM_BYTES or not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=bytes_total, label="running", file=sys.stderr) as bar:
        yield lambda done: bar.update(done - bar.pos)


def _print(
    outcome: TraceOutcome,
    config: MachineConfig,
    core: CoherenceCore,
    files: Sequence[TraceFile],
    output: str,
    values: int,
) -> None:
    """Print what happened. *values*: how many the preset gives."""
    found = {
        "traces": [file.name for file in files],
        "format": files[0].form,
        "format_guessed": files[0].is_guess,
        **as_dict(outcome, config, core),
    }
    if output == "json":
        click.echo(json.dumps(found, indent=2))
        return
    if output == "csv":
        label = MODEL_PRESET if found["model_preset"] else ""
        rows = [{**row, "label": label} for row in (*found["per_cpu"], {"cpu": "total", **found["total"]})]
        writer = csv.DictWriter(sys.stdout, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        print_label(found, values, is_error=True)
        return
    print_figures(found, config, values)
