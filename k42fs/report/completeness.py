"""What should be in a recording and is not: files that are gone, a description that ends too early.

A machine's recording says so in its metadata (`model`), and begins with something of every processor, and with
definitions. Of one made by hand that is not known.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final, NamedTuple

from k42fs.machine.tracing.packets import NAMES_CPU
from k42fs.machine.tracing.recordings import file_name
from k42fs.machine.tracing.schema import Schema

VERSION: Final = (1, 8)
"""Of the Common Trace Format, as ctf.py writes it."""

VERSION_SAID: Final = re.compile(r"\btrace\s*\{\s*major\s*=\s*(\d+)\s*;\s*minor\s*=\s*(\d+)\s*;")
EVENT_SAID: Final = re.compile(r"^event \{ .*\};$", re.MULTILINE)


class Absent(NamedTuple):
    """A file, and what is wrong with it."""

    file: str
    problem: str

    def __str__(self) -> str:
        return f"{self.file} {self.problem}"


def is_newer_format(text: str) -> bool:
    """Return whether the metadata *text* is of a format that a later version of k42fs writes."""
    said = VERSION_SAID.search(text)
    return said is not None and (int(said[1]), int(said[2])) > VERSION


def absences(
    text: str, env: dict[str, str | int], streams: Collection[int], has_definitions: bool, schema: Schema
) -> list[Absent]:
    """Return what is missing, given the metadata *text*, what it says, and which processors have packets."""
    found = []
    if is_newer_format(text):
        found.append(Absent("metadata", "was written by a newer version of k42fs: much may be missing here"))
    elif env.get("schema_revision") == schema.revision and len(EVENT_SAID.findall(text)) != len(
        list(schema.events())
    ):
        found.append(Absent("metadata", "ends too early: not all events are described"))
    if "model" not in env:
        return found
    count = env.get("processors", 0)
    missing = [vp for vp in range(count if isinstance(count, int) else 0) if vp not in streams]
    if not streams:
        return [*found, Absent("metadata", "is all there is: the events of every processor are missing")]
    found += [Absent(file_name(vp), f"is missing or empty: nothing of processor {vp}") for vp in missing]
    if not has_definitions:
        found.append(Absent(file_name(NAMES_CPU), "is missing or empty: numbers stand for all names"))
    return found
