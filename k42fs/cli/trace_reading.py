"""What the commands that read a recording share: the options that say what they see, and what is said of it after.

A wrong value of an option is a usage error, status 2. Status 1 says that the recording is damaged, or is none.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from functools import wraps
from shutil import get_terminal_size
from typing import Any, Final

import click

from k42fs.errors import K42Error
from k42fs.machine.tracing.mask import describe
from k42fs.machine.tracing.schema import load
from k42fs.report import tables
from k42fs.report.filters import Filter, Source
from k42fs.report.reader import Trace
from k42fs.report.tables import FORMS, Report
from k42fs.report.unmodelled import in_host_time

Command = Callable[..., Any]
RECORDING: Final = click.argument("recording", metavar="DIR")
NO_MODEL: Final = "the mount had no model (model=off): times are the host's"
SUGGESTED: Final = 3


class Seconds(click.ParamType[float]):
    """A time in the recording. Later than its end is the end; what is no number is refused."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if math.isnan(seconds) or (math.isinf(seconds) and param is not None and param.name == "since"):
            self.fail(f"{value!r} is no time in seconds", param, ctx)
        return seconds


FROM: Final = click.option("--from", "since", type=Seconds(), metavar="S", help="Only from S seconds on.")
TO: Final = click.option(
    "--to", "until", type=Seconds(), metavar="S", help="Only to S seconds after the start."
)
VP: Final = click.option("--vp", "processors", metavar="LIST", help="Only these processors: 0,2,8-11.")
CLASS: Final = click.option("--class", "classes", metavar="NAMES", help="Only these classes: Lock,Cache.")
OBJECT: Final = click.option(
    "--object", "object_", metavar="WHAT", help="Only this object: a ref, or a pattern."
)
PATH: Final = click.option(
    "--path", metavar="PATTERN", help="Only requests that touch an object or name like this."
)
PID: Final = click.option(
    "--pid", type=click.IntRange(min=0), metavar="PID", help="Only requests of this process."
)


def filtered(command: Command) -> Command:
    """Give *command* the options that choose what of the recording it sees."""
    for option in (PID, PATH, OBJECT, CLASS, VP, TO, FROM):
        command = option(command)
    return command


def formed(command: Command) -> Command:
    """Give *command* the options that choose the form of its output; it is called with the form."""

    @wraps(command)
    def chosen(form: str | None, as_json: bool, as_csv: bool, **options: Any) -> Any:  # noqa: ANN401
        forms = {each for each in (form, as_json and "json", as_csv and "csv") if each}
        if len(forms) > 1:
            raise click.UsageError(f"one form at a time: {' or '.join(sorted(forms))}")
        return command(form=forms.pop() if forms else "text", **options)

    for option in (
        click.option("--csv", "as_csv", is_flag=True, help="Short for --format csv."),
        click.option("--json", "as_json", is_flag=True, help="Short for --format json."),
        click.option(
            "--format",
            "form",
            type=click.Choice(FORMS),
            help="Form of the output: text if nothing is said. CSV is one table.",
        ),
    ):
        chosen = option(chosen)
    return chosen


def tabled(command: Command) -> Command:
    """Give *command* the options of `formed`, and the one that chooses a table."""
    option = click.option(
        "--table", metavar="NAME", help="Only this table, named as in JSON; CSV without it is the first one."
    )
    return formed(option(command))


def source_of(recording: str, options: dict[str, Any]) -> Source:
    """Open *recording* with the filter that the *options* of `filtered` ask for."""
    processors, classes, wanted = (options.get(each) for each in ("processors", "classes", "object_"))
    if wanted is not None and wanted.lower().startswith("0x"):
        try:
            int(wanted, 16)
        except ValueError:
            raise click.UsageError(f"--object: {wanted!r} is no hexadecimal number") from None
    chosen = Filter(
        since=options["since"],
        until=options["until"],
        processors=None if processors is None else frozenset(numbers(processors)),
        classes=None if classes is None else frozenset(map(class_name, classes.split(","))),
        object=wanted,
        path=options.get("path"),
        pid=options.get("pid"),
    )
    return Source(Trace(recording), chosen)


def class_name(text: str) -> str:
    """Return the name of the class that *text* means, as it is written; masks do not mind capitals either."""
    known = {each.name.lower(): each.name for each in load().classes}
    if found := known.get(text.strip().lower()):
        return found
    alike = [known[each] for each in get_close_matches(text.strip().lower(), known, SUGGESTED)]
    hint = f": {' or '.join(alike)}?" if alike else f": {', '.join(known.values())}"
    raise click.UsageError(f"--class: there is no class {text!r}{hint}")


def numbers(text: str) -> list[int]:
    """Return the numbers in "0,2,8-11". Raises UsageError."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not (first.isdigit() and (last if dash else first).isdigit()):
            raise click.UsageError(f"--vp: {text!r} is no list of numbers: 0,2,8-11")
        if not int(first) <= int(last or first) <= 1 << 16:
            raise click.UsageError(f"--vp: {part!r} is no range of processors")
        found += range(int(first), int(last or first) + 1)
    return found


def say(
    report: Report,
    source: Source,
    form: str,
    needs: Sequence[str] = (),
    also: Sequence[Source] = (),
    table: str | None = None,
) -> None:
    """Print *report*, then what could not be read of its recording; damage ends in exit status 1.

    Of CSV that is *table*, the first one if none is named; of the other forms all tables, or the one named.
    """
    if needs and source.lacks(*needs):
        said = describe(source.recorded).partition(" ")[2]
        report.notes.append(f"nothing of class {' or '.join(needs)} was recorded, only {said}")
    if not all(each.has_model for each in (*also, source)):
        in_host_time(report)
    report = only_table(report, table, form)
    if form == "json":
        sources = (*also, source)
        lost = [sentence for each in sources for sentence in each.trace.loss.sentences()]
        text = tables.as_json(report, {"lost": lost, "notes": [*report.notes, *remarks(sources)]})
    elif form == "csv":
        text = tables.as_csv(report)
    else:
        terminal = sys.stdout.isatty()
        text = tables.as_text(report, get_terminal_size().columns if terminal else None, terminal)
    pour([text], [*also, source], report.notes if form == "text" else ())


def only_table(report: Report, name: str | None, form: str) -> Report:
    """Return *report* with the table *name* only; CSV, which has no place for two, without a name has the first."""
    if name is None:
        return Report(report.tables[:1], notes=report.notes) if form == "csv" else report
    found = [each for each in report.tables if each.name == name]
    if not found:
        known = ", ".join(each.name for each in report.tables)
        raise click.UsageError(f"--table: there is no table {name!r}: {known}")
    found[0].limit = found[0].limit or None
    return Report(found, notes=report.notes)


def remarks(sources: Sequence[Source]) -> list[str]:
    """Return what must be known of recordings whatever is reported of them."""
    said = []
    for source in sources:
        only = source.filter
        if source.is_empty and only != Filter():
            trace = source.trace
            seconds = trace.seconds(trace.end - trace.begin)
            said.append(f"no event matches; the recording lasts {seconds:.6f} s")
    if not all(source.has_model for source in sources):
        said.append(NO_MODEL)
    return said


def pour(pieces: Iterable[str], sources: Sequence[Source], notes: Sequence[str] = ()) -> None:
    """Print *pieces* as they come, then what must be said of their recordings.

    A reader who has seen enough (`head`) ends it quietly. Raises K42Error if output is full.
    """
    try:
        for piece in pieces:
            sys.stdout.write(piece)
        sys.stdout.flush()
    except BrokenPipeError:
        close_output()
        sys.exit(0)
    except OSError as exc:
        close_output()
        raise K42Error(f"standard output: {exc.strerror}") from None
    for note in notes:
        click.echo(f"k42fs: {note}", err=True)
    finish(sources)


def close_output() -> None:
    """Let the interpreter flush standard output once more at its end without failing again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def finish(sources: Sequence[Source]) -> None:
    """Say what matched nothing and what was lost, and leave with status 1 if recordings are damaged."""
    for remark in remarks(sources):
        click.echo(f"k42fs: {remark}", err=True)
    for source in sources:
        for sentence in source.trace.loss.sentences():
            click.echo(f"k42fs: {source.trace.path}: {sentence}", err=True)
    if any(source.trace.loss.is_damage for source in sources):
        sys.exit(1)
