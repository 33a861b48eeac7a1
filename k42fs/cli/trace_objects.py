"""`k42fs trace objects`: a mount's live objects, and with --follow those that come, go and are swapped."""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from k42fs.cli.limited import limited
from k42fs.cli.showing import control_directory
from k42fs.cli.top_samples import ask
from k42fs.errors import K42Error
from k42fs.personality.control_text import counted, ranges
from k42fs.report.names import visible

ROWS: Final = 2000
"""New objects that are asked for at once: many more are asked for in turns, so that requests are served between."""

Row = dict[str, Any]


@click.command("objects")
@click.option("-f", "--follow", is_flag=True, help="Go on: say which objects come, go and are swapped.")
@click.option(
    "-i",
    "--interval",
    "seconds",
    type=click.FloatRange(0.05, 3600),
    default=1.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
@click.argument("path", metavar="[MNT]", default=".")
def objects_command(follow: bool, seconds: float, as_json: bool, path: str) -> None:
    """List the live clustered objects of a mount: what serves each, where, and whose it is.

    MNT is any path in it. With --follow a line more for each object that comes (+), goes (-) or is served by another
    implementation (~), with the seconds since the start. What came and went between two looks is counted in a line of
    its own.
    """
    follower = Follower(control_directory(path))
    start = time.monotonic()
    try:
        for line in follower.events(first=True):
            _say(line, as_json, 0.0, is_first=not follow)
        while follow:
            time.sleep(seconds)
            for line in follower.events():
                _say(line, as_json, time.monotonic() - start)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Whoever reads has read enough. Python flushes once more at its end; it must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


class Follower:
    """Asks a mount's `live.json`, again and again, and keeps what is needed to name what has gone."""

    def __init__(self, control: Path) -> None:
        self._file = control / "live.json"
        self._question = b"%d objects-%d-%s\n" % (ROWS, os.getpid(), secrets.token_hex(4).encode())
        self._known: dict[int, Row] = {}
        self._counts: tuple[int, int] | None = None

    def events(self, first: bool = False) -> Iterator[Row]:
        """Yield what has changed since the last time; the first time, every live object.

        Raises:
            K42Error: the mount is no longer there.
        """
        is_all = False
        new_count = gone_count = 0
        while not is_all:
            answer = self._look()
            is_all = answer["is_all"]
            for ref in answer["gone"]:
                yield {"event": "gone", **self._known.pop(ref, {"ref": ref})}
            for row in answer["swapped"]:
                self._known[row["ref"]] = row
                yield {"event": "swapped", **row}
            for row in answer["new"]:
                self._known[row["ref"]] = row
                yield {"event": "live" if first else "new", **row}
            new_count += len(answer["new"])
            gone_count += len(answer["gone"])
        if self._counts is not None:
            unseen = answer["created"] - self._counts[0] - new_count
            if unseen > 0:
                yield {"event": "unseen", "count": unseen}
        self._counts = answer["created"], answer["freed"]
        if first:
            yield {"event": "total", "count": new_count}

    def _look(self) -> Row:
        try:
            found: Row = json.loads(limited(ask, self._file, self._question))
        except OSError as exc:
            raise K42Error(f"{self._file.parent.parent} does not tell its objects: {exc.strerror}") from None
        return found


def _say(row: Row, as_json: bool, seconds: float, is_first: bool = False) -> None:
    if as_json:
        click.echo(json.dumps({"seconds": round(seconds, 3), **row}))
    else:
        text = text_of(row)
        click.echo(text if is_first or row["event"] in ("live", "total") else f"{seconds:8.1f}  {text}")
    sys.stdout.flush()


def text_of(row: Row) -> str:
    """Return *row* for people: a sign, the object, who serves it, its ref and the processors that know it."""
    event = row["event"]
    if event == "total":
        return f"# {counted(row['count'], 'live object')}"
    if event == "unseen":
        return f"* {counted(row['count'], 'object')} came and went"
    sign = {"new": "+ ", "gone": "- ", "swapped": "~ "}.get(event, "  ")
    if "object" not in row:
        return f"{sign}ref {row['ref']:#x}"
    where = ranges(row["processors"]) or "none"
    served = f"{row['before']} -> {row['implementation']}" if event == "swapped" else row["implementation"]
    name = visible(f"{row['object']} {row['path']}".rstrip())
    return f"{sign}{name:32}  {served:12}  ref {row['ref']:#x}  home {row['home_processor']}  on {where}"
