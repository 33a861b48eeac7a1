"""The commands of `k42fs trace` that read a recording and say something about it."""

from __future__ import annotations

import sys
from typing import Any

import click

from k42fs.cli.trace_reading import (
    FROM,
    RECORDING,
    TO,
    VP,
    filtered,
    formed,
    pour,
    say,
    source_of,
    tabled,
)
from k42fs.errors import InvalidArgumentError


@click.command("list")
@filtered
@formed
@click.option("--strip", is_flag=True, help="Values only.")
@click.option(
    "--definitions", is_flag=True, help="Also the stream of definitions: names of objects, locks, ..."
)
@click.option(
    "--all", "everything", is_flag=True, help="On a terminal, too, what every processor says first."
)
@RECORDING
def list_command(
    recording: str,
    form: str,
    strip: bool,
    definitions: bool,
    everything: bool,
    **options: Any,  # noqa: ANN401
) -> None:
    """List every event in order of time.

    A line each, as K42's traceTool: seconds since the first event, processor, event, what is in it. A terminal has in
    one line what each processor says of the machine before anything happens.
    """
    from k42fs.report.listing import listing, listing_csv, listing_json, records_of
    from k42fs.report.opening import Opening, head_of

    source = source_of(recording, options)
    if form == "text":
        pieces, notes = records_of(source, definitions), []
        if sys.stdout.isatty() and not (everything or strip):
            opening = Opening(source.trace.schema)
            click.echo(head_of(source))
            pieces = opening.left_out(pieces)
            notes = opening.notes
        pour(listing(source, pieces, strip), [source], notes)
    else:
        pour({"json": listing_json, "csv": listing_csv}[form](source, definitions), [source])


@click.command("locks")
@filtered
@tabled
@click.option("--by", type=click.Choice(["time", "count", "max"]), default="time", help="What is worst.")
@click.option("--objects", is_flag=True, help="One entry for each lock, by its object, not for each class.")
@click.option("--chains", is_flag=True, help="K42's tables: by time, count, longest wait, with callers.")
@RECORDING
def locks_command(
    recording: str,
    form: str,
    table: str | None,
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
    if not source.has_model:
        report.notes.append("without a model no time passes in which a lock could be waited for")
    say(report, source, form, ["Lock"], table=table)


@click.command("c2c")
@filtered
@tabled
@RECORDING
def c2c_command(recording: str, form: str, table: str | None, **options: Any) -> None:  # noqa: ANN401
    """Show the cache lines that processors fight over, and where.

    First which fields share a line, false sharing told from true, and the source lines that use them; then the
    tables of `perf c2c report`, with the object, the field and the other side's source lines added.
    """
    from k42fs.report.c2c import c2c_report

    source = source_of(recording, options)
    report = c2c_report(source)
    if not source.has_model:
        report.text = "(nothing)\n"
        report.notes.append("without a model there are no caches, so no line moves")
    say(report, source, form, ["Cache"], table=table)


@click.command("calls")
@filtered
@tabled
@click.option("-c", "summary", is_flag=True, help="A summary in strace's columns, by method and by class.")
@click.option("--hist", is_flag=True, help="How long the calls of each method took, in powers of two.")
@click.option("--tree", is_flag=True, help="The calls of one request: the slowest, or that of --request.")
@click.option("--request", type=int, metavar="N", help="The request to show the tree of: its number.")
@click.option("--by-class", is_flag=True, help="Classes before methods.")
@RECORDING
def calls_command(
    recording: str,
    form: str,
    table: str | None,
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
    say(report, source, form, ["ClustObj"], table=table)


@click.command("requests")
@filtered
@tabled
@click.option("--log", is_flag=True, help="A line for each request, as JuiceFS writes its access log.")
@click.option("--hist", is_flag=True, help="Latencies of each operation in powers of two.")
@RECORDING
def requests_command(
    recording: str,
    form: str,
    table: str | None,
    log: bool,
    hist: bool,
    **options: Any,  # noqa: ANN401
) -> None:
    """Show the kernel's requests: latencies, or a log of them.

    Latencies by operation are in wall time in one table and in the machine's cycles in another.
    """
    from k42fs.report.requests import access_log, requests_report

    source = source_of(recording, options)
    if log and form == "text":
        pour(access_log(source), [source])
    else:
        say(requests_report(source, hist), source, form, ["Fuse"], table=table)


@click.command("time")
@FROM
@TO
@VP
@click.option("--pid", type=click.IntRange(min=0), metavar="PID", help="Only time in or for this process.")
@tabled
@RECORDING
def time_command(recording: str, form: str, table: str | None, **options: Any) -> None:  # noqa: ANN401
    """Show who used the processors, and for whom.

    Each slot of time is billed once, so that all bills add up to processors x time exactly.
    """
    from k42fs.report.breakdown import time_report

    source = source_of(recording, options)
    say(time_report(source), source, form, ["Exception", "Fuse"], table=table)


@click.command("sharing")
@filtered
@tabled
@RECORDING
def sharing_command(recording: str, form: str, table: str | None, **options: Any) -> None:  # noqa: ANN401
    """Show which files several processes used at the same time."""
    from k42fs.report.sharing import sharing_report

    source = source_of(recording, options)
    say(sharing_report(source), source, form, ["FS", "Fuse"], table=table)


@click.command("swaps")
@filtered
@tabled
@RECORDING
def swaps_command(recording: str, form: str, table: str | None, **options: Any) -> None:  # noqa: ANN401
    """Show hot swaps: of what, how long, how long in each phase."""
    from k42fs.report.swaps import swaps_report

    source = source_of(recording, options)
    say(swaps_report(source), source, form, ["ClustObj"], table=table)


@click.command("generations")
@filtered
@tabled
@RECORDING
def generations_command(recording: str, form: str, table: str | None, **options: Any) -> None:  # noqa: ANN401
    """Show how quickly generations pass, and what waits for them."""
    from k42fs.report.generations import generations_report

    source = source_of(recording, options)
    say(generations_report(source), source, form, ["ClustObj"], table=table)


@click.command("diff")
@filtered
@tabled
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
def diff_command(before: str, after: str, form: str, table: str | None, **options: Any) -> None:  # noqa: ANN401
    """Show what changed in calls, locks, lines, time from A to B."""
    from k42fs.report.diff import diff_report

    old, new = source_of(before, options), source_of(after, options)
    say(diff_report(old, new), new, form, also=[old], table=table)
