"""`sharing`: which files several processes used at the same time, and which only one after the other.

K42's question (trace-file-sharing.perl): a file that nobody shares can do without the server's locks. A file was
used concurrently if it was accessed while other clients had it open, by one who had not opened it while another
had, or opened by one while another had it open. From the FS class's stub events where it was recorded; else from
the kernel's own opens and releases: those say which file, and how many have it open, but not who closed it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from k42fs.report.filters import Source
from k42fs.report.tables import Column, Report, Table, count

OPENS: Final = frozenset({"open", "opendir"})
CLOSES: Final = frozenset({"release", "releasedir"})


@dataclass(slots=True)
class File:
    """A file in use. `holders` has how often each process has it open; `why` the first reason it is concurrent."""

    what: str
    pids: set[int] = field(default_factory=set)
    processors: set[int] = field(default_factory=set)
    accesses: int = 0
    most_open: int = 0
    open: int = 0
    holders: dict[int, int] = field(default_factory=dict)
    why: str = ""
    since: int = 0

    def concurrent(self, why: str, time: int) -> None:
        """Note that the file was used by several at once, from *time* on."""
        if not self.why:
            self.why, self.since = why, time

    def acquire(self, pid: int, time: int) -> None:
        if any(other != pid for other in self.holders):
            self.concurrent("opened while another had it open", time)
        self.holders[pid] = self.holders.get(pid, 0) + 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)

    def release(self, pid: int | None, time: int) -> None:
        """*pid* closes it; None if it is not known who."""
        if pid is not None and pid not in self.holders:
            if self.holders:
                self.concurrent("closed by one who had not opened it", time)
            return
        self.open = max(0, self.open - 1)
        if pid is None:
            if not self.open:
                self.holders.clear()
            return
        self.holders[pid] -= 1
        if not self.holders[pid]:
            del self.holders[pid]

    def access(self, pid: int, time: int) -> None:
        self.accesses += 1
        if self.holders and pid not in self.holders:
            self.concurrent("used without opening it", time)
        elif len(self.holders) > 1:
            self.concurrent("used while several had it open", time)


def files(source: Source) -> list[File]:
    """Return the files that were used, those used concurrently first."""
    wanted = ("fs_stub_acquire", "fs_stub_access", "fs_stub_release", "fs_name_tree_access", "fuse_op_enter")
    acquire, access, release, tree, enter = map(source.id, wanted)
    found: dict[tuple[str, int], File] = {}
    for records in source.records((acquire, access, release, tree, enter)):
        for time, vp, number, words in records:
            if number == enter:
                _request(found, source, time, vp, words)
                continue
            ref = words[0]
            file = found.setdefault(("ref", ref), File(source.names.object(ref, time)))
            file.processors.add(vp)
            if number == tree:
                file.accesses += 1
                if words[2]:
                    file.concurrent("used by name while clients had it", time)
                continue
            pid = words[1]
            file.pids.add(pid)
            if number == acquire:
                file.acquire(pid, time)
            elif number == release:
                file.release(pid, time)
            else:
                file.access(pid, time)
    if any(kind == "ref" and file.pids for (kind, _), file in found.items()):  # these say who closes, too
        found = {key: file for key, file in found.items() if key[0] == "ref"}
    return sorted(found.values(), key=lambda file: (not file.why, -len(file.pids), -file.accesses, file.what))


def _request(
    found: dict[tuple[str, int], File], source: Source, time: int, vp: int, words: list[int]
) -> None:
    """Count a request of the kernel's that opens, closes or uses a file."""
    _, opcode, node, pid, *_ = words
    op = source.names.op(opcode)
    if op not in USES:
        return
    file = found.setdefault(("node", node), File(f"node {node}"))
    file.processors.add(vp)
    if op in CLOSES:
        file.release(None, time)  # the kernel does not say for whom it closes
        return
    file.pids.add(pid)
    if op in OPENS:
        file.acquire(pid, time)
    else:
        file.accesses += 1
        if len(file.holders) > 1:
            file.concurrent("used while several had it open", time)


USES: Final = OPENS | CLOSES | {"read", "write", "readdir", "readdirplus", "fallocate", "fsync", "lseek"}


def sharing_report(source: Source) -> Report:
    """Return every file that was used, and whether it was shared."""
    begin, ns = source.trace.begin, source.trace.nanoseconds
    rows: list[tuple[Any, ...]] = [
        (
            file.what, bool(file.why), file.why, ns(file.since - begin) if file.why else None, len(file.pids),
            len(file.processors), file.accesses, file.most_open, sorted(file.pids),
        )
        for file in files(source)
    ]  # fmt: skip
    return Report([Table("files", COLUMNS, rows, "Files, those that several processes used at once first")])


COLUMNS: Final = (
    Column("file", "file", left=True),
    Column("concurrent", "shared", lambda value: "yes" if value else "no", left=True),
    Column("why", "why", left=True),
    Column("since_ns", "since us", lambda value: "" if value is None else f"{value / 1000:,.2f}", spare=True),
    Column("processes", "processes", count),
    Column("processors", "processors", count, spare=True),
    Column("accesses", "accesses", count),
    Column("most_open", "most open", count, spare=True),
    Column("pids", "pids", lambda value: ",".join(map(str, value[:6])), left=True, spare=True),
)
