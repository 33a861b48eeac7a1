"""Where the daemon's time goes for one kind of operation on a real mount.

Two runs of the same row of bench/rows.py: one untouched, for the rate and the daemon's share of user and
system time; one under cProfile, for the functions. cProfile multiplies the cost of small calls, so read its
table for proportions and call counts, the first run for truth. Preparation belongs to both (a create row
unlinks what it made). Functions compiled by Cython do not appear; their time is in their callers. Under the
table stands what each floor takes of a request, those of the preparation included.

Usage: python -m bench.profile_request create [--target k42fs-off] [--seconds 3] [--sort tottime] [--lines 40]
"""

import io
import os
import pstats
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

if not __package__:  # run as a file: python bench/profile_request.py
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.fuse_ops import end_on_signal
from bench.mounts import TARGETS, TargetError, closing_client, served_target
from bench.rows import ROWS

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
SORT_KEYS: Final = ("tottime", "cumtime", "ncalls")
FLOORS: Final = ("machine", "objects", "servers", "personality")
REST, BUILTINS = "pyfuse3 and the rest", "builtins"


@dataclass(frozen=True, slots=True)
class Run:
    """One measured run: units per second, and the daemon's CPU seconds over the elapsed seconds."""

    rate: float
    user_seconds: float
    system_seconds: float
    elapsed_seconds: float


def cpu_seconds(pid: int) -> tuple[float, float]:
    """Return the user and system seconds process *pid* has used (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / TICKS_PER_SECOND, int(fields[12]) / TICKS_PER_SECOND


def run(target: str, row: str, seconds: float, options: str, profile: Path | None) -> Run:
    """Mount *target*, run *row*, unmount. With *profile*, the daemon leaves cProfile's data there."""
    profiler = () if profile is None else ("-m", "cProfile", "-o", str(profile))
    with (
        served_target(target, options, *profiler) as (directory, daemon),
        closing_client(directory) as client,
    ):
        user, system = cpu_seconds(daemon.pid)
        start = time.perf_counter()
        rate = client.measure(row, seconds)
        elapsed = time.perf_counter() - start
        user_end, system_end = cpu_seconds(daemon.pid)
    return Run(rate, user_end - user, system_end - system, elapsed)


def function_table(profile: Path, sort: str, lines: int) -> str:
    """Return cProfile's table of the *lines* costliest functions, paths cut to their last parts."""
    text = io.StringIO()
    stats = pstats.Stats(str(profile), stream=text)
    stats.strip_dirs().sort_stats(sort).print_stats(lines)
    return text.getvalue().partition("\n\n")[2].strip("\n")


def part_of(path: str) -> str:
    """Return the floor of k42fs that the code at *path* belongs to, or what else it is."""
    for part in FLOORS:
        if f"/k42fs/{part}/" in path:
            return part
    return BUILTINS if path == "~" else REST


def costs_by_part(profile: Path) -> dict[str, tuple[float, float]]:
    """Return each part's own time in microseconds, and its calls of functions, per request.

    A request of k42fs is one entry into the machine. The daemon's start is in the last two parts' figures. Of
    two runs, compare the calls: they do not depend on what else the computer did.
    """
    stats: dict[tuple[str, int, str], tuple[int, int, float, float, object]]
    stats = pstats.Stats(str(profile), stream=io.StringIO()).stats  # type: ignore[attr-defined]
    seconds = dict.fromkeys((*FLOORS, REST, BUILTINS), 0.0)
    calls = dict.fromkeys(seconds, 0)
    requests = 0
    for (path, _, name), (_, count, own, _, _) in stats.items():
        part = part_of(path)
        seconds[part] += own
        calls[part] += count
        if name == "enter" and path.endswith("/k42fs/machine/driver.py"):
            requests += count
    per_request = 1 / max(requests, 1)
    return {part: (1e6 * own * per_request, calls[part] * per_request) for part, own in seconds.items()}


def the_row(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    found = [row.name for row in ROWS if value in row.name]
    exact = [name for name in found if name == value]
    if len(exact or found) != 1:
        raise click.BadParameter(f"{value!r} does not name one of: {'; '.join(row.name for row in ROWS)}")
    return (exact or found)[0]


@click.command(
    help="Profile the daemon while a client does ROW (a row of bench.fuse_ops, or a part of its name)."
)
@click.argument("row", callback=the_row)
@click.option(
    "--target", type=click.Choice([name for name in TARGETS if name != "tmpfs"]), default="k42fs-off"
)
@click.option(
    "--seconds", type=click.FloatRange(0.1, 60), default=3, show_default=True, help="Timed per run."
)
@click.option("--sort", type=click.Choice(SORT_KEYS), default="tottime", show_default=True)
@click.option("--lines", type=click.IntRange(1, 1000), default=40, show_default=True, help="Functions shown.")
@click.option("-o", "options", default="processors=8", show_default=True, help="Options of the k42fs mount.")
@click.option("--save", type=click.Path(dir_okay=False, path_type=Path), help="Keep cProfile's data there.")
def main(
    row: str, target: str, seconds: float, sort: str, lines: int, options: str, save: Path | None
) -> None:
    signal.signal(signal.SIGTERM, end_on_signal)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # as in fuse_ops; client and daemon inherit it
    with tempfile.TemporaryDirectory(prefix="k42fs-profile-") as scratch:
        profile = (save or Path(scratch, "profile")).absolute()
        try:
            plain = run(target, row, seconds, options, None)
            profiled = run(target, row, seconds, options, profile)
        except TargetError as exc:
            raise click.ClickException(f"{target}: {exc}") from exc
        if not profile.exists():
            raise click.ClickException("the daemon did not end by itself, so cProfile wrote nothing")
        table = function_table(profile, sort, lines)
        costs = costs_by_part(profile)
    user, system = (100 * part / plain.elapsed_seconds for part in (plain.user_seconds, plain.system_seconds))
    unit = next(each.unit for each in ROWS if each.name == row)
    click.echo(f"{target}, {row}: {plain.rate:.0f} {unit}")
    click.echo(f"daemon: {user:.0f} % user, {system:.0f} % system of the CPU it shares with the client")
    click.echo(f"under cProfile: {profiled.rate:.0f} {unit}\n\n{table}\n")
    if target.startswith("k42fs-"):
        click.echo("own time and calls per request:")
        for part, (microseconds, calls) in costs.items():
            click.echo(f"{part:22}{microseconds:8.1f} us {calls:8.1f}")


if __name__ == "__main__":
    sys.exit(main())
