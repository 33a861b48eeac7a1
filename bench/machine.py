"""Rates of the coherence cores, compiled and pure, and the memory of the compiled one.

Rates are per second of this process's CPU time, of the same work on each core. Every round measures each row
on the compiled core, and three of the rounds, spread evenly, on the pure one as well, so that a disturbance of
the machine falls on both; the median of the rounds counts, and the best is shown beside it, for what other
processes leave in the caches slows this one down too. With --pycachesim (an executable
Python that has the package of that name, or "install" to put it into a temporary virtual environment) the
trace of one processor is run through that simulator as well.

Usage: python -m bench.machine [--quick] [--pycachesim PYTHON] [--json FILE] [--csv FILE]
"""

import csv
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import venv
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

if not __package__:  # run as a file: python bench/machine.py
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.machine_rows import ROWS, Row, other_simulator
from bench.results import rounded
from k42fs.machine.cores import COMPILED, PURE, VARIABLE

ROOT: Final = Path(__file__).resolve().parent.parent
OTHER: Final = "pycachesim"
LIMIT_BYTES: Final = 1 << 30
"""What 1024 processors with 1 MiB of L2 each may take."""
PURE_ROUNDS: Final = 3
"""The pure core is many times slower: more rounds of it would take minutes."""

Samples = dict[tuple[str, str], list[float]]


@contextmanager
def on_core(name: str) -> Iterator[None]:
    """Let machines made meanwhile run on that core."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = name
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def measure(rounds: int, other_python: Path | None) -> Samples:
    """Return the rates of each row and core, one per round in which it was measured."""
    samples: Samples = defaultdict(list)
    for row in ROWS:
        running = {}
        for core in (COMPILED, PURE):
            with on_core(core):
                running[core] = row.make()
                next(running[core])
        for number in range(rounds):
            for core, rates in running.items():
                if core == PURE and number % max(1, rounds // PURE_ROUNDS):
                    continue
                with on_core(core):
                    samples[row.name, core].append(next(rates))
        if row is ROWS[-1] and other_python is not None:
            samples[row.name, OTHER] = _elsewhere(
                other_python, "-m", "bench.machine", "--only-other", str(rounds)
            )
    return samples


def _elsewhere(python: Path | str, *words: str) -> Any:  # noqa: ANN401  (whatever the program prints)
    """Return the JSON that a program of a process of its own prints."""
    return json.loads(subprocess.run([str(python), *words], cwd=ROOT, check=True, capture_output=True).stdout)


@contextmanager
def python_with_other(choice: str | None) -> Iterator[Path | None]:
    """Give a Python that has the other simulator, and everything this one has."""
    if choice != "install":
        yield Path(choice) if choice else None
        return
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True, system_site_packages=True)
        python = Path(folder) / "bin" / "python"
        packages = next(path for path in sys.path if path.endswith("site-packages"))
        (next(Path(folder).glob("lib/*/site-packages")) / "parent.pth").write_text(packages)
        subprocess.run([python, "-m", "pip", "install", "--quiet", OTHER], check=True)
        yield python


def ratio(samples: Samples, row: Row, core: str, base: str) -> float | None:
    """Return the median of a core over that of another."""
    over, under = samples.get((row.name, core)), samples.get((row.name, base))
    return statistics.median(over) / statistics.median(under) if over and under else None


def table(samples: Samples) -> Table:
    shown = Table(title="coherence cores: median rate (best)")
    for column in ("row", "unit", "compiled", "aim", "pure", "ratio", OTHER):
        shown.add_column(column, justify="left" if column in ("row", "unit") else "right")
    for row in ROWS:
        cells = [
            f"{rounded(statistics.median(rates))} ({rounded(max(rates))})"
            if (rates := samples.get((row.name, core)))
            else ""
            for core in (COMPILED, PURE, OTHER)
        ]
        times = ratio(samples, row, COMPILED, PURE)
        aim = rounded(row.aim) if row.aim else ""
        shown.add_row(row.name, row.unit, cells[0], aim, cells[1], f"{times:.1f}x" if times else "", cells[2])
    return shown


def as_json(samples: Samples, memory: list[dict[str, float]], rounds: int) -> dict[str, Any]:
    return {
        "conditions": {
            "python": platform.python_version(),
            "cpus": os.cpu_count(),
            "load": os.getloadavg()[0],
            "rounds": rounds,
        },
        "rows": [
            {
                "row": row.name,
                "unit": row.unit,
                "aim": row.aim,
                "samples": {core: samples.get((row.name, core), []) for core in (COMPILED, PURE, OTHER)},
                "compiled_to_pure": ratio(samples, row, COMPILED, PURE),
                "compiled_to_pycachesim": ratio(samples, row, COMPILED, OTHER),
            }
            for row in ROWS
        ],
        "memory": memory,
    }


def write_csv(path: Path, samples: Samples) -> None:
    """Write one line per row and core."""
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["row", "unit", "core", "median", "minimum", "maximum"])
        for row, core in itertools.product(ROWS, (COMPILED, PURE, OTHER)):
            if rates := samples.get((row.name, core)):
                figures = statistics.median(rates), min(rates), max(rates)
                out.writerow([row.name, row.unit, core, *(f"{figure:.6g}" for figure in figures)])


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@click.option("--quick", is_flag=True, help="Three rounds, and 64 processors' memory instead of 1024's.")
@click.option("--rounds", default=9, show_default=True)
@click.option("--pycachesim", "other", help='A Python that has pycachesim, or "install".')
@click.option("--json", "json_path", type=click.Path(path_type=Path))
@click.option("--csv", "csv_path", type=click.Path(path_type=Path))
@click.option("--only-other", type=int, hidden=True)
def main(
    quick: bool,
    rounds: int,
    other: str | None,
    json_path: Path | None,
    csv_path: Path | None,
    only_other: int | None,
) -> None:
    if only_other:
        print(json.dumps(list(itertools.islice(other_simulator(), only_other))))
        return
    rounds = 3 if quick else rounds
    with python_with_other(other) as python:
        samples = measure(rounds, python)
    memory = [
        _elsewhere(sys.executable, "-m", "bench.machine_memory", str(n)) for n in (16, 64 if quick else 1024)
    ]
    console = Console(width=max(110, Console().width))
    console.print(table(samples))
    for used in memory:
        fits = "" if used["processors"] < 1024 else f" (limit {LIMIT_BYTES >> 20} MiB)"
        console.print(
            f"{used['processors']} processors, full L2s: {used['lines']} lines known,"
            f" {used['bytes_per_line']:.1f} bytes each, tags {used['tag_bytes'] >> 20} MiB,"
            f" in all {used['resident_bytes'] / (1 << 20):.0f} MiB resident{fits}"
        )
    if times := ratio(samples, ROWS[-1], COMPILED, OTHER):
        console.print(f"one processor: {times:.1f} times pycachesim, which models no coherence")
    if json_path:
        json_path.write_text(json.dumps(as_json(samples, memory, rounds), indent=2) + "\n")
    if csv_path:
        write_csv(csv_path, samples)


if __name__ == "__main__":
    main()
