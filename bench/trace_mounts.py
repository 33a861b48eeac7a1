"""What tracing costs a mount: nothing on, and all classes recorded, beside a package without tracing calls.

The three mounts are up at once, pinned to one CPU with their clients. In each round each row is measured on all of
them in turn, so that a disturbance falls on all; a row's ratio is the median of the rounds' ratios, and the geometric
mean is over rows. Beside the rate the daemon's own processor time per request is taken, at its least, which other load
on the machine disturbs less.

Usage: python -m bench.trace_mounts [--rounds N] [--seconds S] [--model full]
"""

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

if not __package__:  # run as a file: python bench/trace_mounts.py
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import untraced
from bench.mounts import ROOT, SHARED_MEMORY, Client, closing_client, k42fs_command, served
from bench.rows import ROWS, Row

WITHOUT, OFF, ALL = "without tracing calls", "nothing on", "all classes recorded"
BUDGETS: Final = {OFF: 0.98, ALL: 0.75}
LIMIT: Final = "256m"
"""Of the recording, which goes to memory: how fast a disk is is another question."""


@dataclass(frozen=True)
class MountRow:
    """One operation on one mount: its rate and its daemon's time for each request, and both beside the package without
    tracing calls (above 1 is faster)."""

    operation: str
    mount: str
    rate: float
    rate_ratio: float
    cpu_us: float
    cpu_ratio: float


@dataclass
class Target:
    """One mount, its client, and what was measured: by row the rates, and us of the daemon's for each request."""

    client: Client
    pid: int
    rates: dict[str, list[float]]
    costs: dict[str, list[float]]

    def measure(self, row: str, seconds: float) -> None:
        requests, spent = self._requests(), self._cpu_ns()
        rate = self.client.measure(row, seconds)
        spent = self._cpu_ns() - spent
        self.rates.setdefault(row, []).append(rate)
        self.costs.setdefault(row, []).append(spent / 1000 / max(self._requests() - requests, 1))

    def _cpu_ns(self) -> int:
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[0])

    def _requests(self) -> int:
        told = json.loads((self.client.directory / ".k42" / "config.json").read_text())
        return int(told["requests"])


@contextmanager
def mounted(root: Path, model: str, place: Path) -> Iterator[Target]:
    directory = place / "mnt"
    directory.mkdir(parents=True)
    arguments = k42fs_command(directory, f"model={model},processors=8,size=1g")
    with (
        served(arguments, directory, place / "log", root) as daemon,
        closing_client(directory) as client,
    ):
        yield Target(client, daemon.pid, {}, {})


def measure(root: Path, model: str, rounds: int, seconds: float, rows: Sequence[Row]) -> list[MountRow]:
    """Measure *rows* on the three mounts; *root* has the package without tracing calls."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="k42fs-bench-")))
        memory = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="k42fs-bench-", dir=SHARED_MEMORY))
        )
        targets = {
            name: stack.enter_context(mounted(where, model, scratch / str(index)))
            for index, (name, where) in enumerate(((WITHOUT, root), (OFF, ROOT), (ALL, ROOT)))
        }
        trace = targets[ALL].client.directory / ".k42" / "trace"
        trace.write_text(f"start {memory}/trace all {LIMIT}\n")
        for turn in range(rounds):
            for row in rows:
                names = list(targets)
                for name in names[turn % 3 :] + names[: turn % 3]:
                    targets[name].measure(row.name, seconds)
        trace.write_text("stop\n")
    return [
        _compared(row.name, name, target, targets[WITHOUT])
        for row in rows
        for name, target in targets.items()
    ]


def _compared(row: str, name: str, target: Target, base: Target) -> MountRow:
    ratios = [mine / other for mine, other in zip(target.rates[row], base.rates[row], strict=True)]
    cost = min(target.costs[row])
    return MountRow(
        row,
        name,
        statistics.median(target.rates[row]),
        statistics.median(ratios),
        cost,
        min(base.costs[row]) / cost,
    )


def means(found: Sequence[MountRow]) -> dict[str, tuple[float, float]]:
    """Return by mount the geometric means of its ratios: of rates, and of processor times."""
    return {
        name: (
            statistics.geometric_mean([row.rate_ratio for row in found if row.mount == name]),
            statistics.geometric_mean([row.cpu_ratio for row in found if row.mount == name]),
        )
        for name in (OFF, ALL)
    }


def table(found: Sequence[MountRow]) -> Table:
    out = Table(
        title="mounts, metadata rows: rate beside a package without tracing calls (daemon's time per request)"
    )
    out.add_column("operation")
    out.add_column(WITHOUT, justify="right")
    for name in (OFF, ALL):
        out.add_column(name, justify="right")
    by_row: dict[str, dict[str, MountRow]] = {}
    for each in found:
        by_row.setdefault(each.operation, {})[each.mount] = each
    for operation, mounts in by_row.items():
        base = mounts[WITHOUT]
        cells = [f"{mounts[name].rate_ratio:.2f}x ({mounts[name].cpu_ratio:.2f}x)" for name in (OFF, ALL)]
        out.add_row(operation, f"{base.rate:,.0f}/s ({base.cpu_us:.0f} us)", *cells)
    out.add_section()
    mean = means(found)
    out.add_row(
        "geometric mean", "", *(f"{mean[name][0]:.3f}x ({mean[name][1]:.3f}x)" for name in (OFF, ALL))
    )
    out.add_row("budget", "", *(f"{BUDGETS[name]:.2f}x" for name in (OFF, ALL)), style="dim")
    return out


def pin() -> None:
    """Keep this process and all it starts on the last CPU that it may use."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def metadata_rows() -> list[Row]:
    return [row for row in ROWS if row.kind == "metadata"]


def run(model: str, rounds: int, seconds: float) -> list[MountRow]:
    """Measure all metadata rows."""
    with tempfile.TemporaryDirectory(prefix="k42fs-untraced-") as root:
        untraced.make(Path(root))
        pin()
        return measure(Path(root), model, rounds, seconds, metadata_rows())


@click.command()
@click.option("--rounds", default=7, show_default=True)
@click.option("--seconds", default=0.5, show_default=True, help="Of each measurement.")
@click.option("--model", default="full", show_default=True)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures as JSON.")
def main(rounds: int, seconds: float, model: str, json_path: Path | None) -> None:
    """Measure what tracing costs a mount."""
    found = run(model, rounds, seconds)
    Console().print(table(found))
    if json_path:
        json_path.write_text(json.dumps([asdict(row) for row in found], indent=2) + "\n")


if __name__ == "__main__":
    main()
