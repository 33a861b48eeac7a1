"""Write a mended copy of a recording, of which stock readers take everything that is left."""

from __future__ import annotations

from pathlib import Path

from k42fs.machine.tracing.packets import encode
from k42fs.machine.tracing.recordings import ENDED, ENDED_BYTES, write_whole
from k42fs.report.fsck import Check
from k42fs.report.packet_files import METADATA
from k42fs.report.reader import TraceError


def mend(check: Check, target: Path) -> None:
    """Check a recording and write it, mended, to the directory *target*, which must be new or empty.

    Raises:
        TraceError: *target* holds something, or the recording is of a later version, whose events are not known.
    """
    if check.trace.newer:
        raise TraceError(f"{check.trace.path} was recorded by a later version of k42fs, which can repair it")
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise TraceError(f"{target} is not empty: a repaired recording needs a directory of its own")
    for packet in check.run():
        body = packet.file.body(packet.index, packet.body)
        with (target / packet.file.plain_name).open("ab", buffering=0) as out:
            write_whole(out.fileno(), encode(packet.head, body))
    (target / METADATA).write_text(_ended(check), "utf-8")


def _ended(check: Check) -> str:
    """Return the metadata, which says of a recording that nobody ended why that is so."""
    text = check.metadata()
    said = "its writer was killed".ljust(ENDED_BYTES)
    blank = " " * ENDED_BYTES
    return text.replace(ENDED.decode() + blank, ENDED.decode() + said, 1) if check.trace.loss.killed else text
