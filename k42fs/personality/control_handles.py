"""`.k42/handles`: who has which files open.

A handle is the kernel's name for an open file (objects/xhandle.py). Its client is the process, or thread, that opened
it; what a process opened that is gone is shown with no client: somebody has inherited it, or was passed it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from time import CLOCK_BOOTTIME, clock_gettime_ns
from typing import TYPE_CHECKING, Any, Final

from k42fs.objects.xhandle import KERNEL_PID, Rights, XObject
from k42fs.personality.clients import program_of, started_ns
from k42fs.personality.control_text import table
from k42fs.personality.file_paths import FilePaths

if TYPE_CHECKING:
    from k42fs.personality.face import Face
    from k42fs.personality.nodes import Node

ROWS_MAX: Final = 10_000
FILE_ROWS_MAX: Final = 50
"""Of one file: they are told in an extended attribute, which has 64 KiB at most."""

HEADINGS: Final = ("handle", "program", "client", "rights", "seconds")


def handles(face: Face) -> dict[str, Any]:
    """Return the open handles and the counts of their table, ready for JSON."""
    face.handles.disown_dead(started_ns)
    paths = FilePaths(face)
    shown = rows(face.handles.entries(), ROWS_MAX)
    for row, entry in zip(shown, face.handles.entries(), strict=False):
        node = entry.client_data.node
        row |= {"node": node.node_id, "file": paths.of_file(node.file)}
    return {**face.handles.table.statistics(), "open": shown}


def handles_of(face: Face, node: Node) -> list[dict[str, Any]]:
    """Return the first of the open handles of one file or directory."""
    return rows(face.handles.entries(node), FILE_ROWS_MAX)


def rows(entries: Iterable[XObject], limit: int) -> list[dict[str, Any]]:
    """Return what there is to say of each handle, of no more than *limit*."""
    programs, now_ns = {KERNEL_PID: ""}, clock_gettime_ns(CLOCK_BOOTTIME)
    shown = []
    for entry in islice(entries, limit):
        handle, pid = entry.client_data, entry.pid
        if pid not in programs:
            programs[pid] = program_of(pid)
        shown.append(
            {
                "handle": entry.handle,
                "client": None if pid == KERNEL_PID else pid,
                "program": programs[pid],
                "opened_by": handle.creds.pid,
                "uid": handle.creds.uid,
                "rights": rights_text(entry.rights),
                "seconds": round((now_ns - handle.since_ns) / 1e9, 1),
                "processor": handle.vp,
                "ref": entry.ref,
            }
        )
    return shown


def rights_text(rights: int) -> str:
    """Say in letters what a handle was opened for."""
    if rights & Rights.LOOKUP.value:
        return "dir"
    return ("r" if rights & Rights.READ.value else "") + ("w" if rights & Rights.WRITE.value else "")


def text(value: Mapping[str, Any]) -> str:
    """Return what the file shows."""
    counts = f"{value['handles']} handles of {value['clients']} clients, {value['removed']} closed lately\n"
    if not value["open"]:
        return counts
    files = [row["file"] or f"node {row['node']:#x}" for row in value["open"]]
    return counts + handles_text(value["open"], files)


def handles_text(shown: Sequence[Mapping[str, Any]], files: Sequence[str] = ()) -> str:
    """Return a table of handles, with the files that they are of if *files* has them."""
    cells = [list(HEADINGS)]
    for row in shown:
        client = "gone" if row["client"] is None else str(row["client"])
        cells.append([f"{row['handle']:x}", row["program"], client, row["rights"], f"{row['seconds']:.1f}"])
    if files:
        cells = [[*row, file] for row, file in zip(cells, ["file", *files], strict=True)]
    width = max(len(each[4]) for each in cells)
    for each in cells:
        each[4] = each[4].rjust(width)
    return table(cells, left=len(cells[0]))
