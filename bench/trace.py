"""What tracing costs at a call site, from there to the disk, in a mount, and how fast recordings are read.

Every figure of a call site is the fastest of many short batches, with the empty loop taken off: other load on the
machine makes batches slower, never faster. A row has a reference, and its ratio to that is what the budgets are about.
The last table holds all budgets. What takes long is asked for: --mounts measures three mounts, one of them without
tracing calls (bench/trace_mounts.py); --kmon draws a recording of 10 million events.

Usage: python -m bench.trace [--batches N] [--mounts] [--kmon] [--json FILE] [--csv FILE]
"""

import csv
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

if not __package__:  # run as a file: python bench/trace.py
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import lttng, trace_mounts, trace_readers
from bench.trace_budgets import Figure, budget_table, budgets
from k42fs.ids import VP
from k42fs.machine import Machine, MachineConfig, Thread
from k42fs.machine.tracing.mask import CLUST_OBJ, FS, LOCK, all_classes
from k42fs.machine.tracing.packets import PACKET_BYTES
from k42fs.machine.tracing.tracer import Tracer
from k42fs.objects import COSMgr, Rep, SingleRepRoot

FOUR_WORDS = "emitter, 4 words"
BATCH = 2000  # a batch of some 100 us seldom meets another process
READ_EVENTS, READ_ROUNDS = 200_000, 3
KMON_EVENTS = 10_000_000
MOUNT_ROUNDS, MOUNT_SECONDS = 7, 0.5
HEADER = 0x04_20C014


@dataclass
class Cpu:
    """A processor, as far as tracing goes; its clock has 40 bits, as after minutes of a run."""

    clock: int = 1 << 39
    is_traced: bool = False
    on: Any = field(default=None, repr=False)
    emit: Any = field(default=None, repr=False)


Loop = Callable[[int], None]


def fastest(
    batches: Mapping[str, Loop], rounds: int, after: Callable[[], None] = lambda: None
) -> dict[str, float]:
    """Return ns for each turn of the loop in each batch, at best, without the loop.

    All take turns in each round, so that a slower moment of the machine is one for all.
    """

    def empty(turns: int) -> None:
        for _ in range(turns):
            pass

    best = dict.fromkeys(("", *batches), float("inf"))
    for _ in range(rounds):
        for name, batch in (("", empty), *batches.items()):
            start = time.perf_counter_ns()
            batch(BATCH)
            best[name] = min(best[name], time.perf_counter_ns() - start)
            after()
    return {name: (ns - best[""]) / BATCH for name, ns in best.items()}


def guards(batches: int) -> list[Figure]:
    """Time a class that is off at its call site."""
    cpu = Cpu()
    tracer = Tracer([cpu], 10**9)
    mask, bit = tracer.mask, LOCK

    def bare(turns: int) -> None:
        for _ in range(turns):
            if cpu.is_traced:
                raise AssertionError

    def guard(turns: int) -> None:
        for _ in range(turns):
            if cpu.on.lock:
                raise AssertionError

    def masked(turns: int) -> None:
        for _ in range(turns):
            if mask & bit:
                raise AssertionError

    def unguarded(turns: int) -> None:
        for turn in range(turns):
            cpu.emit.lock_release(turn, turn)

    reference = "bare if: if proc.is_traced"
    rows = {
        reference: bare,
        "guard, class off: if proc.on.lock": guard,
        "the mask's bit instead: if mask & LOCK": masked,
        "class off, no guard": unguarded,
    }
    best = fastest(rows, batches)
    return [
        Figure(
            name,
            best[name],
            reference,
            best[name] / best[reference] if batch is not bare else None,
            2.0 if batch is guard else None,
        )
        for name, batch in rows.items()
    ]


def emission(batches: int) -> list[Figure]:
    """Time events of 0 to 6 words; the reference adds the same event's words, with its header, inline."""
    cpu = Cpu()
    tracer = Tracer([cpu], 10**9)
    tracer.set_mask(all_classes())
    (stream,) = tracer.streams()
    plain: list[int] = []
    add = plain.extend

    def add0(turns: int) -> None:
        for _ in range(turns):
            add((cpu.clock << 32 | HEADER,))

    def add1(turns: int) -> None:
        for turn in range(turns):
            add((cpu.clock << 32 | HEADER, turn))

    def add3(turns: int) -> None:
        for turn in range(turns):
            add((cpu.clock << 32 | HEADER, turn, turn, turn))

    def add4(turns: int) -> None:
        for turn in range(turns):
            add((cpu.clock << 32 | HEADER, turn, turn, turn, turn))

    def add6(turns: int) -> None:
        for turn in range(turns):
            add((cpu.clock << 32 | HEADER, turn, turn, turn, turn, turn, turn))

    def emit0(turns: int) -> None:
        for _ in range(turns):
            cpu.emit.exception_ip_interrupt()

    def emit1(turns: int) -> None:
        for turn in range(turns):
            cpu.emit.fs_file_purge(turn)

    def emit3(turns: int) -> None:
        for turn in range(turns):
            cpu.emit.clust_obj_rep_create(turn, turn, turn)

    def emit4(turns: int) -> None:
        for turn in range(turns):
            cpu.emit.lock_contend_init(turn, turn, turn, turn)

    def emit6(turns: int) -> None:
        for turn in range(turns):
            cpu.emit.lock_acquire(turn, turn, turn, turn, turn, turn)

    def packed(turns: int) -> None:
        for turn in range(turns):
            cpu.emit.clust_obj_call(turn, 7, 1, 3, turn)

    pairs = {0: (add0, emit0), 1: (add1, emit1), 3: (add3, emit3), 4: (add4, emit4), 6: (add6, emit6)}
    call = "emitter of an object call"
    rows = {
        **{f"list.extend, {words} words and header": adds for words, (adds, _) in pairs.items()},
        **{f"emitter, {words} words": emit for words, (_, emit) in pairs.items()},
        f"{call}, 5 fields in 3 words": packed,
    }

    def forget() -> None:
        plain.clear()
        stream.words.clear()

    best = fastest(rows, batches, forget)
    figures = []
    for words in pairs:
        reference, name = f"list.extend, {words} words and header", f"emitter, {words} words"
        ratio = best[name] / best[reference]
        figures += [Figure(reference, best[reference]), Figure(name, best[name], reference, ratio, 2.0)]
    return [*figures, *(Figure(name, best[name]) for name in rows if name.startswith(call))]


class Idle(Rep):
    """An object with nothing to do."""

    async def rest(self, th: Thread) -> None:
        """Return at once."""


def object_calls(batches: int) -> list[Figure]:
    """Time calls through refs: before there was a tracer, off again after it was on, and traced.

    Off, the local table is the plain one: what is measured is that nothing is left of the tracing.
    """
    machines = [Machine(MachineConfig(processors=1), live=True) for _ in range(3)]

    def calls_on(machine: Machine, masks: tuple[int, ...]) -> Loop:
        cos = COSMgr(machine)
        ref = SingleRepRoot(cos, Idle()).ref
        th = machine.enter(VP(0))
        cos.activate(th)

        async def go(turns: int) -> None:
            for _ in range(turns):
                await th.deref(ref).rest(th)

        machine.drive(go(1))
        for mask in masks:
            machine.tracer.set_mask(mask)
        return lambda turns: machine.drive(go(turns))

    reference = "object call, never traced"
    off, on = "object call, traced before, off again", "object call, traced: Call and Return, 3 words each"
    loops = map(calls_on, machines, ((), (CLUST_OBJ, LOCK), (CLUST_OBJ,)))
    best = fastest(
        dict(zip((reference, off, on), loops, strict=True)),
        batches,
        machines[2].tracer.streams()[0].words.clear,
    )
    return [
        Figure(reference, best[reference]),
        Figure(off, best[off], reference, best[off] / best[reference], 1.1),
        Figure(on, best[on], reference, best[on] / best[reference]),
    ]


def to_disk(batches: int) -> list[Figure]:
    """Time the whole way: guarded event, poll, packet, file."""
    cpus = [Cpu(), Cpu()]
    with tempfile.TemporaryDirectory() as scratch:
        tracer = Tracer(cpus, 10**9)
        tracer.start(Path(scratch) / "trace", LOCK | FS)

        def batch(turns: int) -> None:
            for turn in range(turns // 2):
                for vp, cpu in enumerate(cpus):
                    cpu.clock += 100
                    if cpu.on.lock:
                        cpu.emit.lock_contend_init(turn, turn, turn, turn)
                    tracer.poll(vp)

        def drain(turns: int) -> None:
            tracer.drain()

        rounds = max(8, batches // 20)
        total = events = 0
        best = float("inf")
        for _ in range(rounds):
            start = time.process_time_ns()
            for _ in range(20):
                batch(BATCH)
            drain(BATCH)
            spent = time.process_time_ns() - start
            best = min(best, spent / (20 * BATCH))
            total, events = total + spent, events + 20 * BATCH
        status = tracer.stop()
    return [
        Figure("guard, 4 words, poll, packet, file: best round", best),
        Figure("the same, mean of CPU time", total / events),
        Figure("bytes for each event of 4 words, header included", status.bytes_written / status.events),
    ]


def beside_lttng(batches: int, ours: list[Figure]) -> tuple[list[Figure], str]:
    """Time LTTng's user-space tracer with an event of 4 words; return figures, or why there are none."""
    try:
        off, on = lttng.measure(batches)
    except lttng.MissingError as exc:
        return [], f"LTTng, not measured: {exc}"
    name = "LTTng-UST in C, 4 words, on"
    emit = next(each.ns for each in ours if each.row == FOUR_WORDS)
    return [
        Figure("LTTng-UST in C, 4 words, off", off),
        Figure(name, on),
        Figure(f"our {FOUR_WORDS}, beside that", emit, name, emit / on),
    ], ""


def table(figures: list[Figure]) -> Table:
    out = Table(title="tracing: ns, fastest batch")
    out.add_column("what")
    out.add_column("ns", justify="right")
    out.add_column("ratio", justify="right")
    out.add_column("budget", justify="right", style="dim")
    for each in figures:
        budget = "" if each.budget is None else f"{each.budget:.1f}x"
        ratio = "" if each.ratio is None else f"{each.ratio:.2f}x"
        if each.ratio is not None and each.budget is not None and each.ratio > each.budget:
            ratio = f"[bold red]{ratio}"
        out.add_row(each.row, f"{each.ns:.1f}", ratio, budget)
    return out


@click.command()
@click.option("--batches", default=1500, show_default=True, help="How many of each; the fastest counts.")
@click.option(
    "--mounts", "with_mounts", is_flag=True, help="Also three mounts, one without tracing calls: minutes."
)
@click.option(
    "--kmon", "with_kmon", is_flag=True, help="Also a picture of 10 million events: a minute, 0.5 GB."
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the figures as JSON.")
@click.option(
    "--csv", "csv_path", type=click.Path(path_type=Path), help="Write the figures of call sites as CSV."
)
def main(
    batches: int,
    with_mounts: bool,
    with_kmon: bool,
    json_path: Path | None,
    csv_path: Path | None,
) -> None:
    """Measure what tracing costs, and print a table of it."""
    figures = [*guards(batches), *emission(batches), *object_calls(batches), *to_disk(batches)]
    beside, why_not = beside_lttng(batches, figures)
    figures += beside
    console = Console()
    console.print(table(figures))
    if why_not:
        console.print(why_not, style="dim")
    rates = trace_readers.rates(READ_EVENTS, READ_ROUNDS)
    console.print(trace_readers.table(rates))
    picture = trace_readers.picture(KMON_EVENTS) if with_kmon else None
    mounts = trace_mounts.run("full", MOUNT_ROUNDS, MOUNT_SECONDS) if with_mounts else []
    if mounts:
        console.print(trace_mounts.table(mounts))
    held = budgets(figures, rates, picture, mounts)
    console.print(budget_table(held))
    conditions = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "batches": batches,
        "batch": BATCH,
        "packet_bytes": PACKET_BYTES,
    }
    rows = [asdict(each) for each in figures]
    if json_path:
        said = {
            "conditions": conditions,
            "rows": rows,
            "readers": [asdict(each) for each in rates],
            "mounts": [asdict(each) for each in mounts],
            "budgets": [asdict(each) | {"is_met": each.is_met} for each in held],
        }
        json_path.write_text(json.dumps(said, indent=2) + "\n")
    if csv_path:
        with csv_path.open("w", newline="") as file:
            out = csv.DictWriter(file, list(rows[0]))
            out.writeheader()
            out.writerows(rows)


if __name__ == "__main__":
    main()
