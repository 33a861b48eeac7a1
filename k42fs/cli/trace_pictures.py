"""The commands of `k42fs trace` that draw, export, mend, or take apart."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import click

from k42fs.cli.trace_reading import RECORDING, close_output, filtered, finish, source_of
from k42fs.errors import K42Error
from k42fs.report.kmon import WAYS


@click.command("kmon")
@filtered
@click.option("--html", "html", type=click.Path(dir_okay=False), help="Write a page to zoom and select in.")
@click.option("--svg", "svg", type=click.Path(dir_okay=False), help="Write a picture.")
@click.option(
    "--width", type=click.IntRange(100, 20_000), default=1200, show_default=True, help="Of the picture."
)
@click.option(
    "--by", type=click.Choice(WAYS), default="process", show_default=True, help="What colours mean."
)
@RECORDING
def kmon_command(
    recording: str,
    html: str | None,
    svg: str | None,
    width: int,
    by: str,
    **options: Any,  # noqa: ANN401
) -> None:
    """Draw the timeline: a row per processor, coloured by who ran.

    Full height is at most one event in a column of pixels, three quarters several of one process, half several
    of several. Without --html or --svg the page is written to kmon.html. "-" is standard output.
    """
    from k42fs.report.kmon import chart, said
    from k42fs.report.kmon_page import page
    from k42fs.report.kmon_payload import TEXT_EVENTS_MAX
    from k42fs.report.kmon_svg import svg as picture

    source = source_of(recording, options)
    made = chart(source, by)
    source.is_empty = not made.events
    if svg is not None:
        write(svg, [picture(made, width)])
    if html is not None or svg is None:
        texts = said(source, made.begin, made.end) if made.events <= TEXT_EVENTS_MAX else None
        write(html or "kmon.html", [page(made, texts)])
    finish([source])


FORMATS: Final = {
    "chrome": "json",
    "perfetto": "pftrace",
    "ftrace": "txt",
    "speedscope": "speedscope.json",
}
"""The exports, and how the names of their files end."""


@click.command("export")
@filtered
@click.option("--chrome", is_flag=True, help="Chrome's JSON: chrome://tracing, Perfetto's UI.")
@click.option("--perfetto", is_flag=True, help="Perfetto's own format, half the size.")
@click.option("--ftrace", is_flag=True, help="Linux's ftrace text: Perfetto's UI, Trace Compass.")
@click.option("--speedscope", is_flag=True, help="speedscope.app: flame graphs.")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help='The file; "-" is standard output.')
@RECORDING
def export_command(recording: str, output: str | None, **options: Any) -> None:  # noqa: ANN401
    """Write a recording for a stock viewer.

    The file is DIR.json, .pftrace, .txt or .speedscope.json here, unless -o says. Only whole files are written:
    an export that fails leaves what was there.
    """
    from k42fs.report.export_timeline import counted, timeline

    ways = [way for way in FORMATS if options.pop(way)]
    if len(ways) != 1:
        what = "one viewer at a time" if ways else "say for which viewer"
        raise click.UsageError(f"{what}: --chrome, --perfetto, --ftrace or --speedscope")
    (way,) = ways
    source = source_of(recording, options)
    made = timeline(source)
    write(output or f"{Path(recording).resolve().name}.{FORMATS[way]}", exporter(way)(made))
    for sentence in counted(made):
        if sentence not in made.losses:
            click.echo(f"k42fs: {sentence}", err=True)
    finish([source])


def exporter(way: str) -> Callable[..., Iterator[str] | Iterator[bytes]]:
    """Return what writes for the viewer *way*."""
    if way == "chrome":
        from k42fs.report.export_chrome import chrome

        return chrome
    if way == "perfetto":
        from k42fs.report.export_perfetto import perfetto

        return perfetto
    if way == "ftrace":
        from k42fs.report.export_ftrace import ftrace

        return ftrace
    from k42fs.report.export_speedscope import speedscope

    return speedscope


def write(name: str, parts: Iterable[str] | Iterable[bytes]) -> None:
    """Write a file as a whole or not at all, and say where it is; "-" is standard output."""
    encoded = (part.encode("utf-8", "replace") if isinstance(part, str) else part for part in parts)
    if name == "-":
        try:
            sys.stdout.buffer.writelines(encoded)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            close_output()
            sys.exit(0)
        except OSError as exc:
            close_output()
            raise K42Error(f"standard output: {exc.strerror}") from None
        return
    target = Path(name)
    try:
        _write_whole(target, encoded)
    except OSError as exc:  # it names a file that nobody has heard of
        raise K42Error(f"{name}: {exc.strerror or exc}") from None
    click.echo(f"{name}: {target.stat().st_size:,} bytes")


def _write_whole(target: Path, parts: Iterable[bytes]) -> None:
    handle, unfinished = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            out.writelines(parts)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(unfinished, 0o666 & ~umask)
        os.replace(unfinished, target)
    except BaseException:
        os.unlink(unfinished)
        raise


@click.command("parse")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.argument("words", metavar="WORD...", nargs=-1, required=True)
def parse_command(words: tuple[str, ...], as_json: bool) -> None:
    """Say what a word of a trace means.

    Of one WORD, as the first of an event; with all words of the event also what it says.

    \b
        k42fs trace parse 0x1234567803238035
    """
    from k42fs.machine.tracing.schema import load
    from k42fs.report.parse_word import number_of, parse_words

    parsed = parse_words(load(), [number_of(word) for word in words])
    if as_json:
        click.echo(json.dumps(parsed.as_dict(), indent=2))
    else:
        for line in parsed.lines():
            click.echo(line)
    if parsed.problem:
        click.echo(f"k42fs: {parsed.problem}", err=True)
        sys.exit(1)
