"""How fast recordings are read: events a second, of one processor of the host, for each report.

The recording is of requests as a busy mount makes them: for each request its enter and exit, switches, an object
call with its return, a lock taken and released, a miss and an invalidation. Figures are of the best of several
rounds, in CPU time: other load on the machine makes rounds slower, never faster.

Usage: python -m bench.trace_readers [--quick] [--events N] [--json FILE]
"""

import json
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

if not __package__:  # run as a file: python bench/trace_readers.py
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from k42fs.machine.tracing.mask import all_classes
from k42fs.machine.tracing.tracer import Tracer
from k42fs.report.breakdown import time_report
from k42fs.report.c2c import c2c_report
from k42fs.report.calls import calls_report
from k42fs.report.decode import IS_COMPILED
from k42fs.report.export_chrome import chrome
from k42fs.report.export_timeline import timeline
from k42fs.report.filters import Source
from k42fs.report.fsck import Check
from k42fs.report.kmon import chart
from k42fs.report.kmon_page import page
from k42fs.report.listing import listing, records_of
from k42fs.report.locks import locks_report
from k42fs.report.reader import Trace
from k42fs.report.requests import requests_report

PROCESSORS = 4
OBJECTS = 40
PER_REQUEST = 10
LINE_BYTES = 128
USER, IDLE, SYSCALL = 0, 1, 7


@dataclass
class Cpu:
    """A processor, as far as tracing goes."""

    clock: int = 0
    on: Any = field(default=None, repr=False)
    emit: Any = field(default=None, repr=False)


@dataclass(frozen=True)
class Rate:
    """One row: millions of events a second, and the least it should be."""

    report: str
    events: int
    rate: float
    budget: float | None = None


def record(directory: Path, events: int) -> None:
    """Record about *events* events."""
    cpus = [Cpu() for _ in range(PROCESSORS)]
    dice = random.Random(1)
    tracer = Tracer(cpus, 2 * 10**9, describe=describe)
    tracer.start(directory, all_classes())
    sites = [tracer.numbers.site(f"dir_object.py:{line} lookup") for line in range(100, 110)]
    for unique in range(1, events // PER_REQUEST + 1):
        vp = dice.randrange(PROCESSORS)
        request(cpus[vp], vp, unique, dice, sites)
        tracer.poll(vp)
    tracer.stop()


def describe(tracer: Tracer) -> None:
    """Name the objects, their locks and lines."""
    emit, text = tracer.emit[0], tracer.numbers.constant
    for ref in range(OBJECTS):
        label = f"/d/{ref}"
        emit.clust_obj_object_name(ref, text("DirObject"), text(label))
        emit.lock_lock_name(ref * 8 + (1 << 20), ref, text("dirlock"), text("BLock"))
        emit.cache_line_name(ref * LINE_BYTES, 0, 64, text(f"DirObject {label}"), text("dirlock"))
        emit.cache_line_name(ref * LINE_BYTES, 64, 64, text(f"DirObject {label}"), text("lookups"))


def request(cpu: Cpu, vp: int, unique: int, dice: random.Random, sites: Sequence[int]) -> None:
    """Emit what one request leaves behind: PER_REQUEST events."""
    emit, ref, other = cpu.emit, dice.randrange(OBJECTS), dice.randrange(PROCESSORS)
    waited = dice.choice((0, 0, 0, 150, 900))
    emit.fuse_op_enter(unique, dice.choice((1, 3, 14, 15)), ref, 100 + vp, vp, 0, 0, unique * 1000)
    emit.exception_context(1 << 32 | vp, SYSCALL, 100 + vp << 32 | vp)
    cpu.clock += 50
    emit.clust_obj_call(ref, 1 + unique % 5, vp, 1, unique)
    cpu.clock += 20 + waited
    emit.lock_acquire(ref * 8 + (1 << 20), 1, dice.choice(sites), waited, other, dice.choice(sites))
    emit.cache_miss(
        ref * LINE_BYTES, dice.choice((2, 3)), unique % 2, dice.choice((0, 64)), other, 200, sites[0]
    )
    emit.cache_invalidate(ref * LINE_BYTES, other, sites[1])
    cpu.clock += 300
    emit.lock_release(ref * 8 + (1 << 20), 300)
    emit.clust_obj_return(ref, 1 + unique % 5, vp, 0, unique)
    emit.fuse_op_exit(unique, 0, 0, 5000)
    emit.exception_context(1 << 16 | vp, IDLE, 0)
    cpu.clock += dice.randrange(100)


def readers() -> dict[str, tuple[Callable[[Source], object], float | None]]:
    """Return what is measured, and the least millions of events a second."""

    def decoded(source: Source) -> None:
        for places in source.trace.streams.values():
            for _ in source.trace.records(places):
                pass

    def merged(source: Source) -> None:
        for _ in source.records():
            pass

    def listed(source: Source) -> None:
        for _ in listing(source, records_of(source, False)):
            pass

    def exported(source: Source) -> None:
        for _ in chrome(timeline(source)):
            pass

    def checked(source: Source) -> None:
        for _ in Check(source.trace.path).run():
            pass

    return {
        "packets decoded and checked": (decoded, None),
        "merged in order of time": (merged, None),
        "list": (listed, 0.3),
        "calls": (calls_report, None),
        "time": (time_report, 0.5),
        "locks": (locks_report, 0.5),
        "c2c": (c2c_report, 0.5),
        "requests": (requests_report, None),
        "kmon": (lambda source: page(chart(source)), 1.0),
        "export --chrome": (exported, None),
        "fsck": (checked, None),
    }


def measure(directory: Path, rounds: int) -> list[Rate]:
    """Measure each reader on the recording in *directory*. All take turns in each round."""
    events = sum(len(records) for records in Source(Trace(directory)).records())
    best = dict.fromkeys(readers(), float("inf"))
    for _ in range(rounds):
        for name, (reader, _) in readers().items():
            source = Source(Trace(directory))
            start = time.process_time()
            reader(source)
            best[name] = min(best[name], time.process_time() - start)
    return [Rate(name, events, events / best[name] / 1e6, budget) for name, (_, budget) in readers().items()]


def rates(events: int, rounds: int) -> list[Rate]:
    """Record *events* events, and measure each reader on them."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch) / "trace"
        record(directory, events)
        return measure(directory, rounds)


@dataclass(frozen=True)
class Picture:
    """How long `kmon` takes from a recording on disk to the HTML file, and how large that is."""

    events: int
    seconds: float
    megabytes: float


PICTURE_SECONDS, PICTURE_MEGABYTES = 10.0, 5.0


def picture(events: int) -> Picture:
    """Record *events* events and draw them, as `k42fs trace kmon` does: wall time, in one go, names read and all."""
    with tempfile.TemporaryDirectory() as scratch:
        directory, file = Path(scratch) / "trace", Path(scratch) / "kmon.html"
        record(directory, events)
        start = time.perf_counter()
        source = Source(Trace(directory))
        file.write_text(page(chart(source)))
        return Picture(events, time.perf_counter() - start, file.stat().st_size / 1e6)


def table(found: list[Rate]) -> Table:
    out = Table(title=f"reading {found[0].events:,} events of all kinds, CPU time")
    out.add_column("report")
    out.add_column("M events/s", justify="right")
    out.add_column("budget", justify="right", style="dim")
    for each in found:
        out.add_row(each.report, f"{each.rate:.2f}", "" if each.budget is None else f"{each.budget:.1f}")
    return out


@click.command()
@click.option("--quick", is_flag=True, help="A fifth of the events, fewer rounds.")
@click.option("--events", default=500_000, show_default=True, help="Events in the recording.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures as JSON.")
def main(quick: bool, events: int, json_path: Path | None) -> None:
    """Measure how fast recordings are read."""
    found = rates(events // 5 if quick else events, 3 if quick else 7)
    Console().print(table(found))
    if json_path:
        said = {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "compiled": IS_COMPILED,
            "rows": [asdict(each) for each in found],
        }
        json_path.write_text(json.dumps(said, indent=2) + "\n")


if __name__ == "__main__":
    main()
