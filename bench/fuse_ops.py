"""Rates of file operations on k42fs mounts, a lean reference, a passthrough and tmpfs, in one run.

All targets are up at once, with client and daemon pinned to one CPU (unpinned, single-client figures swing
by a factor of two). For each row, every round measures each target once, in rotating order, so that a
disturbance of the machine falls on all of them; the median of the rounds counts. Ratios are to the
reference (bench/reference_fs.py); the geometric mean is over the metadata rows, without the warm stat,
which never leaves the kernel. How cold the cold rows are is told in bench/rows.py.

Ctrl-C ends it cleanly: mounts are taken off, and the rows measured so far are printed and written.

Usage: python -m bench.fuse_ops [--quick] [--targets k42fs-off,reference] [--json FILE] [--csv FILE]
"""

import os
import platform
import signal
import sys
import time
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Never

import click
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

if not __package__:  # run as a file: python bench/fuse_ops.py
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.mounts import TARGETS, Client, TargetError, started
from bench.results import Results
from bench.rows import DROP_CACHES, ROWS, Row

END_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def chosen_targets(_ctx: click.Context, _param: click.Parameter, value: str) -> list[str]:
    targets = [name.strip() for name in value.split(",") if name.strip()]
    for name in targets:
        if name not in TARGETS:
            raise click.BadParameter(f"{name!r} is not one of {', '.join(TARGETS)}")
    if not targets:
        raise click.BadParameter(f"name at least one of {', '.join(TARGETS)}")
    return list(dict.fromkeys(targets))


def chosen_rows(_ctx: click.Context, _param: click.Parameter, value: str | None) -> list[Row]:
    if value is None:
        return list(ROWS)
    words = [word.strip() for word in value.split(",") if word.strip()]
    for word in words:
        if not any(word in row.name for row in ROWS):
            raise click.BadParameter(
                f"no row has {word!r} in its name: {'; '.join(row.name for row in ROWS)}"
            )
    return [row for row in ROWS if any(word in row.name for word in words)]


def measure(
    results: Results, clients: dict[str, Client], rounds: int, seconds: float, console: Console
) -> None:
    """Fill *results*, one row after the other, the targets interleaved."""
    start_seconds = time.monotonic()
    # Redrawn between measurements only: a refresh thread would share the pinned CPU with what is measured.
    columns = (TextColumn("{task.description}{task.fields[left]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as progress:
        task = progress.add_task("", total=len(results.rows) * rounds * len(clients), left="")
        for number, row in enumerate(results.rows, start=1):
            for turn in range(rounds):
                names = list(clients)
                start = turn % len(names)
                for name in names[start:] + names[:start]:
                    progress.update(
                        task,
                        advance=1,
                        description=f"{number} of {len(results.rows)}: {row.name}, {name}",
                        refresh=True,
                    )
                    if (row.name, name) in results.errors:
                        continue
                    try:
                        results.samples[row.name, name].append(clients[name].measure(row.name, seconds))
                    except TargetError as exc:
                        results.errors[row.name, name] = str(exc)
            left = (time.monotonic() - start_seconds) / number * (len(results.rows) - number)
            progress.update(task, left=f", about {duration(left)} left")
            if not console.is_terminal:
                console.print(
                    f"{number} of {len(results.rows)} measured: {row.name}; about {duration(left)} left"
                )


def duration(seconds: float) -> str:
    """Return *seconds* as one reads them: 40 s, 3 min."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def conditions(cpu: int | None, rounds: int, seconds: float, options: str) -> dict[str, Any]:
    return {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "pyfuse3": version("pyfuse3"),
        "trio": version("trio"),
        "pinned_cpu": cpu,
        "cpus": os.cpu_count(),
        "load_average_1min": os.getloadavg()[0],
        "rounds": rounds,
        "seconds": seconds,
        "k42fs_options": options,
        "drops_caches": os.access(DROP_CACHES, os.W_OK),
    }


def end_on_signal(signum: int, _frame: object) -> Never:
    """Unwind, so that every mount is taken off; once is enough, a second signal would stop that."""
    for number in END_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + signum)


@click.command(help="Measure file operations on k42fs and on the file systems it is compared with.")
@click.option(
    "--targets", default=",".join(TARGETS), callback=chosen_targets, help="Comma-separated targets."
)
@click.option("--rows", callback=chosen_rows, help="Comma-separated parts of row names; default: every row.")
@click.option("--rounds", type=click.IntRange(1, 99), default=5, show_default=True, help="Rounds per row.")
@click.option(
    "--seconds", type=click.FloatRange(0.01, 60), default=0.5, show_default=True, help="Timed per round."
)
@click.option("--quick", is_flag=True, help="A smoke run: one round of 0.05 s.")
@click.option("--cpu", type=int, help="Pin everything to this CPU; default: the last one allowed.")
@click.option("--no-pin", is_flag=True, help="Let the kernel place client and daemon.")
@click.option("-o", "options", default="processors=8", show_default=True, help="Options of the k42fs mounts.")
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write JSON there."
)
@click.option("--csv", "csv_file", type=click.Path(dir_okay=False, path_type=Path), help="Write CSV there.")
def main(
    targets: list[str],
    rows: list[Row],
    rounds: int,
    seconds: float,
    quick: bool,
    cpu: int | None,
    no_pin: bool,
    options: str,
    json_file: Path | None,
    csv_file: Path | None,
) -> None:
    if quick:
        rounds, seconds = 1, 0.05
    for number in END_SIGNALS:
        signal.signal(number, end_on_signal)
    if not no_pin:
        allowed = os.sched_getaffinity(0)
        cpu = max(allowed) if cpu is None else cpu
        if cpu not in allowed:
            raise click.BadParameter(f"CPU {cpu} is not one of {sorted(allowed)}", param_hint="--cpu")
        os.sched_setaffinity(0, {cpu})  # daemons and clients inherit it
    console = Console(stderr=True)
    results = Results(rows, targets)
    before = conditions(cpu, rounds, seconds, options)
    status: str | int | None = 0
    try:
        with ExitStack() as stack:
            clients: dict[str, Client] = {}
            for target in targets:
                try:
                    clients[target] = stack.enter_context(started(target, options))
                except TargetError as exc:
                    raise click.ClickException(f"{target}: {exc}") from exc
            measure(results, clients, rounds, seconds, console)
    except SystemExit as exc:  # a signal: what was measured is not lost
        status = exc.code
        wanted = len(results.rows)
        results.rows = [row for row in rows if any(results.rate(row, target) for target in targets)]
        click.echo(
            f"stopped after {len(results.rows)} of {wanted} rows, of which the last may lack rounds", err=True
        )
    Console(width=None if console.is_terminal else 40 + 18 * len(targets)).print(results.table())
    for (row, target), reason in results.errors.items():
        click.echo(f"{target}, {row}: {reason}", err=True)
    if json_file is not None:
        results.write_json(json_file, before)
    if csv_file is not None:
        results.write_csv(csv_file)
    if status or results.errors:
        sys.exit(status or 1)


if __name__ == "__main__":
    main()
