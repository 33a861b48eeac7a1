"""What a mount table holds, for people and for programs: visible mounts, visible binds, then the hidden ones.

K42: lib/libc/sys/MountPointMgrCommon.C, printMtab.
Differs: it says which of two things hides a mount: a mount above it (the covering rule) or a newer one at
its path.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TypedDict

from k42fs.servers.mount_commands import escape_path
from k42fs.servers.mount_table import MountEntry, Snapshot
from k42fs.servers.pathname import PathName


class Visibility(Enum):
    """Whether a path can lead to a mount."""

    VISIBLE = "visible"
    COVERED = "covered"  # coverable, below one that is not
    STACKED = "stacked"  # a newer mount is in front of it, at the same path


@dataclass(frozen=True, slots=True)
class MountLine:
    """One mount. `hidden_by` is the mount that paths leading here reach instead; None for a visible one."""

    path: PathName
    entry: MountEntry
    visibility: Visibility
    hidden_by: MountEntry | None


class MountRecord(TypedDict):
    """A `MountLine` ready for JSON. Paths with undecodable bytes use surrogate escapes."""

    path: str
    mount_id: int
    server: int
    rel_path: str
    description: str
    coverable: bool
    bind: bool
    visibility: str
    hidden_by: int | None


class TableRecord(TypedDict):
    """A whole table ready for JSON."""

    version: int
    mounts: list[MountRecord]


def mount_lines(snapshot: Snapshot) -> list[MountLine]:
    """List every mount once: visible mounts, visible binds, hidden ones; each group by path, newest first."""
    return sorted(_lines(snapshot), key=_order)


def format_listing(snapshot: Snapshot) -> bytes:
    """Write the table as aligned text, one mount a line, after a line with the version."""
    rows = [(b"ID", b"SERVER", b"PATH", b"AT", b"COVER", b"STATE", b"DESCRIPTION")]
    for line in mount_lines(snapshot):
        entry = line.entry
        state = line.visibility.value.encode()
        if line.hidden_by is not None:
            state += b":%d" % line.hidden_by.mount_id
        rows.append(
            (
                b"%d" % entry.mount_id,
                b"%d" % entry.server,
                escape_path(bytes(line.path)),
                escape_path(bytes(entry.rel_path)),
                b"cov" if entry.is_coverable else b"nocov",
                state,
                entry.description or b"-",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    text = [b"# version %d" % snapshot.version]
    text += [
        b"  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return b"\n".join(text) + b"\n"


def table_record(snapshot: Snapshot) -> TableRecord:
    """Return the table as plain dicts, lists, strings and numbers, in the order of `mount_lines`."""
    return {"version": snapshot.version, "mounts": [_record(line) for line in mount_lines(snapshot)]}


def _lines(snapshot: Snapshot) -> Iterator[MountLine]:
    for where, stack in snapshot.mounts.items():
        path, winner = PathName(where), snapshot.lookup(where).entry
        front = stack[-1]
        if winner is front:
            yield MountLine(path, front, Visibility.VISIBLE, None)
        else:
            yield MountLine(path, front, Visibility.COVERED, winner)
        for below in stack[:-1]:
            yield MountLine(path, below, Visibility.STACKED, winner)


def _order(line: MountLine) -> tuple[bool, bool, tuple[bytes, ...], int]:
    is_hidden = line.visibility is not Visibility.VISIBLE
    return is_hidden, line.entry.is_bind and not is_hidden, line.path.components, -line.entry.mount_id


def _record(line: MountLine) -> MountRecord:
    entry = line.entry
    return {
        "path": _text(bytes(line.path)),
        "mount_id": entry.mount_id,
        "server": entry.server,
        "rel_path": _text(bytes(entry.rel_path)),
        "description": _text(entry.description),
        "coverable": entry.is_coverable,
        "bind": entry.is_bind,
        "visibility": line.visibility.value,
        "hidden_by": None if line.hidden_by is None else line.hidden_by.mount_id,
    }


def _text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")


__all__ = [
    "MountLine",
    "MountRecord",
    "TableRecord",
    "Visibility",
    "format_listing",
    "mount_lines",
    "table_record",
]
