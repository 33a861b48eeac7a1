"""`k42fs trace fsck`: is a recording whole, and if not, a copy of what is left."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from k42fs.cli.trace_reading import RECORDING

if TYPE_CHECKING:
    from k42fs.report.fsck import Check
    from k42fs.report.reader import Loss


@click.command("fsck")
@click.option(
    "--repair", "target", type=click.Path(file_okay=False), metavar="NEW", help="Write it, mended, to NEW."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@RECORDING
def fsck_command(recording: str, target: str | None, as_json: bool) -> None:
    """Look for damage in a recording.

    Every packet is checked; the status is 1 if one is damaged or missing, or the recording was never ended. With
    --repair, write a copy without the damage to the directory NEW: torn tails cut, of garbled packets what is right of
    them, and what was lost counted as discarded. babeltrace2, which refuses damaged recordings, takes that.
    """
    from k42fs.report.fsck import Check
    from k42fs.report.fsck_repair import mend
    from k42fs.report.reader import Loss

    check = Check(recording)
    if target is not None:
        mend(check, Path(target))
    else:
        for _ in check.run():
            pass
    loss = check.trace.loss
    # What no copy can mend; the rest is in the findings.
    gone = Loss(
        discarded=loss.discarded, missing_packets=loss.missing_packets, ended=loss.ended, killed=loss.killed
    )
    if as_json:
        click.echo(_as_json(check, gone, target))
    else:
        for line in _as_text(check, gone, recording, target):
            click.echo(line)
    if check.findings or gone.is_damage:
        sys.exit(1)


def _as_json(check: Check, gone: Loss, target: str | None) -> str:
    findings = [
        {
            "file": each.file,
            "packet": each.packet,
            "problem": each.problem,
            "words": each.words,
            "events": each.events,
        }
        for each in check.findings
    ]
    about = {
        "packets": check.packets,
        "events": check.events,
        "findings": findings,
        "repaired": target,
        "discarded": gone.discarded,
        "missing_packets": gone.missing_packets,
        "ended": gone.ended,
        "killed": gone.killed,
    }
    return json.dumps(about, indent=2)


def _as_text(check: Check, gone: Loss, recording: str, target: str | None) -> list[str]:
    places = len(check.findings)
    verdict = f"{places} place{'s' if places != 1 else ''} damaged" if places else "no damage"
    lines = [str(finding) for finding in check.findings]
    lines.append(f"{recording}: {check.packets:,} packets, {check.events:,} events can be read: {verdict}")
    lines += [f"{recording}: {sentence}" for sentence in gone.sentences()]
    if target is not None:
        lines.append(f"{target}: the recording without its damage")
    return lines
