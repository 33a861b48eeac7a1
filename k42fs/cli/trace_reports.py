"""The commands of `k42fs trace` that read a recording and say something about it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from shutil import get_terminal_size
from typing import Any, Final

import click

from k42fs.errors import InvalidArgumentError
from k42fs.machine.tracing.mask import describe
from k42fs.report.filters import Filter, Source
from k42fs.report.reader import Trace
from k42fs.report.tables import FORMS, Report, as_csv, as_json, as_text

Command = Callable[..., Any]
RECORDING: Final = click.argument("recording", metavar="DIR")


def filtered(command: Command) -> Command:
    """Give *command* the options that choose what of the recording it sees."""
    options = (
        click.option("--from", "since", type=float, metavar="S", help="Only from S seconds after the start."),
        click.option("--to", "until", type=float, metavar="S", help="Only to S seconds after the start."),
        click.option("--vp", "processors", metavar="LIST", help="Only these processors: 0,2,8-11."),
        click.option("--class", "classes", metavar="NAMES", help="Only these classes: Lock,Cache."),
        click.option("--object", "object_", metavar="WHAT", help="Only this object: a ref, or a pattern."),
        click.option(
            "--path", metavar="PATTERN", help="Only requests that touch an object or name like this."
        ),
        click.option("--pid", type=int, metavar="PID", help="Only requests of this process."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def formed(command: Command) -> Command:
    """Give *command* the option that chooses the form of its output."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(FORMS),
        default="text",
        show_default=True,
        help="Form of the output.",
    )(command)


def source_of(recording: str, options: dict[str, Any]) -> Source:
    """Open *recording* with the filter that the *options* of `filtered` ask for."""
    processors, classes = options["processors"], options["classes"]
    chosen = Filter(
        since=options["since"],
        until=options["until"],
        processors=None if processors is None else frozenset(numbers(processors)),
        classes=None if classes is None else frozenset(classes.split(",")),
        object=options["object_"],
        path=options["path"],
        pid=options["pid"],
    )
    return Source(Trace(recording), chosen)


def numbers(text: str) -> list[int]:
    """Return the numbers in "0,2,8-11". Raises InvalidArgumentError."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not (first.isdigit() and (last if dash else first).isdigit()):
            raise InvalidArgumentError(f"{text!r} is no list of numbers: 0,2,8-11")
        if not int(first) <= int(last or first) <= 1 << 16:
            raise InvalidArgumentError(f"{part!r} is no range of processors")
        found += range(int(first), int(last or first) + 1)
    return found


def say(
    report: Report, source: Source, form: str, needs: Sequence[str] = (), also: Sequence[Source] = ()
) -> None:
    """Print *report*, then what could not be read of its recording; damage ends in exit status 1."""
    if needs and (hint := not_recorded(source, needs)):
        report.notes.append(hint)
    if form == "json":
        lost = [sentence for each in (*also, source) for sentence in each.trace.loss.sentences()]
        text = as_json(report, {"lost": lost, "notes": report.notes})
    elif form == "csv":
        text = as_csv(report)
    else:
        terminal = sys.stdout.isatty()
        text = as_text(report, get_terminal_size().columns if terminal else None, terminal)
    pour([text], [*also, source], report.notes if form == "text" else ())


def not_recorded(source: Source, needs: Sequence[str]) -> str:
    """Return a sentence if no class in *needs* was ever on while the recording was made; else nothing."""
    recorded = 0
    for records in source.trace.records(source.trace.streams.get(0, []), source.ids("control_trace_mask")):
        for *_, words in records:
            recorded |= words[0]
    classes = source.trace.schema.by_class
    if not recorded or any(recorded & classes[name].bit for name in needs):
        return ""
    return f"nothing of class {' or '.join(needs)} was recorded, only {describe(recorded).partition(' ')[2]}"


def pour(pieces: Iterable[str], sources: Sequence[Source], notes: Sequence[str] = ()) -> None:
    """Print *pieces* as they come, then what must be said of their recordings.

    A reader who has seen enough (`head`) ends it quietly.
    """
    try:
        for piece in pieces:
            sys.stdout.write(piece)
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes standard output once more at its end; it must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    for note in notes:
        click.echo(f"k42fs: {note}", err=True)
    finish(sources)


def finish(sources: Sequence[Source]) -> None:
    """Say what was lost, and leave with status 1 if recordings are damaged."""
    for source in sources:
        for sentence in source.trace.loss.sentences():
            click.echo(f"k42fs: {source.trace.path}: {sentence}", err=True)
    if any(source.trace.loss.is_damage for source in sources):
        sys.exit(1)


@click.command("list")
@filtered
@formed
@click.option("--strip", is_flag=True, help="Values only.")
@click.option(
    "--definitions", is_flag=True, help="Also the stream of definitions: names of objects, locks, ..."
)
@RECORDING
def list_command(recording: str, form: str, strip: bool, definitions: bool, **options: Any) -> None:  # noqa: ANN401
    """List every event in order of time.

    A line each, as K42's traceTool: seconds since the first event, processor, event, what is in it.
    """
    from k42fs.report.listing import listing, listing_csv, listing_json

    source = source_of(recording, options)
    if form == "text":
        pour(listing(source, strip, definitions), [source])
    else:
        pour({"json": listing_json, "csv": listing_csv}[form](source, definitions), [source])


@click.command("locks")
@filtered
@formed
@click.option("--by", type=click.Choice(["time", "count", "max"]), default="time", help="What is worst.")
@click.option("--objects", is_flag=True, help="One entry for each lock, by its object, not for each class.")
@click.option("--chains", is_flag=True, help="K42's tables: by time, count, longest wait, with callers.")
@RECORDING
def locks_command(
    recording: str,
    form: str,
    by: str,
    objects: bool,
    chains: bool,
    **options: Any,  # noqa: ANN401
) -> None:
    """Show lock contention in lock_stat's format.

    Times in microseconds. Under a lock that was waited for: call sites that waited, then those that held it.
    JSON and CSV have each lock with its object, too.
    """
    from k42fs.report.lock_chains import chains_report
    from k42fs.report.locks import locks_report

    source = source_of(recording, options)
    report = chains_report(source) if chains else locks_report(source, by, objects)
    say(report, source, form, ["Lock"])


@click.command("c2c")
@filtered
@formed
@RECORDING
def c2c_command(recording: str, form: str, **options: Any) -> None:  # noqa: ANN401
    """Show the cache lines that processors fight over, and where.

    First which fields share a line, false sharing told from true, and the source lines that use them; then the
    tables of `perf c2c report`, with the object, the field and the other side's source lines added.
    """
    from k42fs.report.c2c import c2c_report

    source = source_of(recording, options)
    say(c2c_report(source), source, form, ["Cache"])


@click.command("calls")
@filtered
@formed
@click.option("-c", "summary", is_flag=True, help="A summary in strace's columns, by method and by class.")
@click.option("--hist", is_flag=True, help="How long the calls of each method took, in powers of two.")
@click.option("--tree", is_flag=True, help="The calls of one request: the slowest, or that of --request.")
@click.option("--request", type=int, metavar="N", help="The request to show the tree of.")
@click.option("--by-class", is_flag=True, help="Classes before methods.")
@RECORDING
def calls_command(
    recording: str,
    form: str,
    summary: bool,
    hist: bool,
    tree: bool,
    request: int | None,
    by_class: bool,
    **options: Any,  # noqa: ANN401
) -> None:
    """Show calls of objects: how many, how long, how many failed.

    "self" is the time of a method without the calls it made; -c counts that as strace counts a system call.
    """
    from k42fs.report import call_tree, calls

    if sum((summary, hist, tree or request is not None)) > 1:
        raise InvalidArgumentError("of -c, --hist and --tree only one can be shown at a time")
    source = source_of(recording, options)
    if tree or request is not None:
        report = call_tree.tree_report(source, request)
    elif hist:
        report = calls.histogram_report(source)
    else:
        report = calls.summary_report(source) if summary else calls.calls_report(source, by_class)
    say(report, source, form, ["ClustObj"])


@click.command("requests")
@filtered
@formed
@click.option("--log", is_flag=True, help="A line for each request, as JuiceFS writes its access log.")
@click.option("--hist", is_flag=True, help="Latencies of each operation in powers of two.")
@RECORDING
def requests_command(recording: str, form: str, log: bool, hist: bool, **options: Any) -> None:  # noqa: ANN401
    """Show the kernel's requests: latencies, or a log of them.

    Latencies by operation are in wall time in one table and in the machine's cycles in another.
    """
    from k42fs.report.requests import access_log, requests_report

    source = source_of(recording, options)
    if log and form == "text":
        pour(access_log(source), [source])
    else:
        say(requests_report(source, hist), source, form, ["Fuse"])


@click.command("time")
@filtered
@formed
@RECORDING
def time_command(recording: str, form: str, **options: Any) -> None:  # noqa: ANN401
    """Show who used the processors, and for whom.

    Each slot of time is billed once, so that all bills add up to processors x time exactly.
    """
    from k42fs.report.breakdown import time_report

    source = source_of(recording, options)
    say(time_report(source), source, form, ["Exception", "Fuse"])


@click.command("sharing")
@filtered
@formed
@RECORDING
def sharing_command(recording: str, form: str, **options: Any) -> None:  # noqa: ANN401
    """Show which files several processes used at the same time."""
    from k42fs.report.sharing import sharing_report

    source = source_of(recording, options)
    say(sharing_report(source), source, form, ["FS", "Fuse"])


@click.command("swaps")
@filtered
@formed
@RECORDING
def swaps_command(recording: str, form: str, **options: Any) -> None:  # noqa: ANN401
    """Show hot swaps: of what, how long, how long in each phase."""
    from k42fs.report.swaps import swaps_report

    source = source_of(recording, options)
    say(swaps_report(source), source, form, ["ClustObj"])


@click.command("generations")
@filtered
@formed
@RECORDING
def generations_command(recording: str, form: str, **options: Any) -> None:  # noqa: ANN401
    """Show how quickly generations pass, and what waits for them."""
    from k42fs.report.generations import generations_report

    source = source_of(recording, options)
    say(generations_report(source), source, form, ["ClustObj"])


@click.command("diff")
@filtered
@formed
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
def diff_command(before: str, after: str, form: str, **options: Any) -> None:  # noqa: ANN401
    """Show what changed in calls, locks, lines, time from A to B."""
    from k42fs.report.diff import diff_report

    old, new = source_of(before, options), source_of(after, options)
    say(diff_report(old, new), new, form, also=[old])
