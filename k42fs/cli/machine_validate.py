"""`k42fs machine validate`: run the experiments whose outcome is known, say how they came out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from k42fs.cli.columns import screen_width, wrapped
from k42fs.errors import ConfigError
from k42fs.machine.validation import plots, report
from k42fs.machine.validation.checks import FAIL
from k42fs.machine.validation.experiment import HERE, Effort, Entry, discover
from k42fs.machine.validation.runner import NOT_AVAILABLE, Outcome, run_all

PACKAGES = (HERE, "k42fs.workloads.validation")


@click.command()
@click.option("--quick", is_flag=True, help="Fewer points, same gates: under a minute for all.")
@click.option("--soak", is_flag=True, help="As long as it takes: E22 does 100 million references.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, curves included.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, a row per check.")
@click.option(
    "--plots", "folder", type=click.Path(file_okay=False, path_type=Path), help="Also draw PNG files there."
)
@click.option("--curves/--no-curves", default=True, help="Draw curves as text (the default) or not.")
@click.option("--jobs", type=click.IntRange(1, 64), default=2, show_default=True, help="Worker processes.")
@click.argument("numbers", nargs=-1, metavar="[E1 E2 ...]")
def validate(
    quick: bool,
    soak: bool,
    as_json: bool,
    as_csv: bool,
    folder: Path | None,
    curves: bool,
    jobs: int,
    numbers: Sequence[str],
) -> None:
    """Check the modelled machine against known results: all experiments, or those named.

    Prints expected, observed, tolerance, verdict and seconds; ends with status 1 if any check failed, or if
    none of the experiments named can be run yet.
    The experiments and the reasons for their gates: docs/validation.md.
    """
    if (quick and soak) or (as_json and as_csv):
        raise click.UsageError("choose one of --quick and --soak, one of --json and --csv")
    entries = chosen(numbers)
    if folder is not None:
        plots.require()
        folder.mkdir(parents=True, exist_ok=True)
    effort = Effort.QUICK if quick else Effort.SOAK if soak else Effort.NORMAL
    outcomes = run_all(entries, effort, jobs, _say_how)
    if folder is not None:
        for path in draw(outcomes, folder):
            click.echo(path, err=True)
    if as_json:
        click.echo(report.as_json(outcomes))
    elif as_csv:
        click.echo(report.as_csv(outcomes), nl=False)
    else:
        click.echo()
        for outcome in outcomes:
            click.echo("\n".join(report.text(outcome, curves, screen_width())))
        click.echo(report.summary(outcomes))
    nothing_ran = all(outcome.verdict == NOT_AVAILABLE for outcome in outcomes)
    if nothing_ran or any(outcome.verdict == FAIL for outcome in outcomes):
        sys.exit(1)


def _say_how(outcome: Outcome) -> None:
    for line in wrapped(report.one_line(outcome), screen_width(), report.INDENT):
        click.echo(line, err=True)


def chosen(numbers: Sequence[str]) -> list[Entry]:
    """Return the experiments of these numbers (in any case), all if there are none. Raises ConfigError."""
    entries = discover(PACKAGES)
    for name in numbers:
        if name.upper() not in entries:
            raise ConfigError(f"no experiment {name!r}: there are {', '.join(entries)}")
    wanted = {name.upper() for name in numbers}
    return [entry for number, entry in entries.items() if not wanted or number in wanted]


def draw(outcomes: Sequence[Outcome], folder: Path) -> list[Path]:
    """Draw each plot into *folder*, as E1.png, E6-2.png and so on; return the files."""
    paths = []
    for outcome in outcomes:
        for n, plot in enumerate(outcome.findings.plots, start=1):
            suffix = f"-{n}" if len(outcome.findings.plots) > 1 else ""
            paths.append(folder / f"{outcome.number}{suffix}.png")
            plots.save(plot, paths[-1])
    return paths
