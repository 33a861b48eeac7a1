"""Write a mended copy of a recording, of which stock readers take everything that is left."""

from __future__ import annotations

from pathlib import Path

from k42fs.machine.tracing.packets import HEAD_BYTES, encode
from k42fs.report.fsck import Check
from k42fs.report.reader import METADATA, TraceError


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
        with packet.file.open("rb") as source:
            source.seek(packet.offset + HEAD_BYTES)
            body = source.read(packet.body)
        with (target / packet.file.name).open("ab") as out:
            out.write(encode(packet.head, body))
    (target / METADATA).write_text(check.metadata(), "utf-8")
