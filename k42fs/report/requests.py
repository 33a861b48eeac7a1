"""`requests`: the kernel's requests: an access log in JuiceFS's format; latencies in wall time and in cycles.

Wall time is what the host took, cycles what the modelled machine did: they are never added nor put in one table.
A recording of a deterministic run has no wall time; its log then says the machine's time, and a note says so.

A log line, as in JuiceFS's .accesslog: the time at which it was answered, local; caller; operation (node, then
its arguments); OK or the error's text; bytes; seconds it took.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from k42fs.report.filters import Source
from k42fs.report.histogram import Histogram, histogram_lines, quantile
from k42fs.report.tables import Column, Report, Table, count, microseconds

NANOSECONDS: Final = 10**9
SIGN: Final = 1 << 63
ERRNO_MAX: Final = 4095
"""The kernel's own limit; more is damage."""

LOG_QUANTILES: Final = (0.5, 0.9, 0.99)
NO_WALL: Final = "there is no host time in this recording: the log's times are the modelled machine's"


@dataclass(slots=True)
class Request:
    """One request. Ticks of its processor's clock; `wall` in ns since the epoch, `wall_ns` how long it took."""

    unique: int
    vp: int
    opcode: int
    op: str
    node: int
    pid: int
    uid: int
    gid: int
    began: int
    wall: int
    ended: int = 0
    errno: int = 0
    nbytes: int = 0
    wall_ns: int = 0
    is_whole: bool = False
    arguments: list[str] = field(default_factory=list)

    @property
    def cycles(self) -> int:
        return self.ended - self.began

    @property
    def outcome(self) -> str:
        """OK, or what went wrong, in the words of the C library without its capitals."""
        if not self.errno:
            return "OK"
        if self.errno > ERRNO_MAX:
            return f"errno {self.errno}"
        text = os.strerror(self.errno)
        return text[0].lower() + text[1:]

    @property
    def label(self) -> str:
        return f"{self.op} ({','.join((str(self.node), *self.arguments))})"


def requests(source: Source) -> list[Request]:
    """Return the requests, in the order of their ends; one without its end in the recording is not whole."""
    enter, leave, args = map(source.id, ("fuse_op_enter", "fuse_op_exit", "fuse_op_args"))
    names = source.names
    open_: dict[int, Request] = {}
    done: list[Request] = []
    for records in source.records((enter, leave, args)):
        for time, vp, number, words in records:
            if number == enter:
                unique, opcode, node, pid, _, ids, wall = words
                open_[unique] = Request(
                    unique, vp, opcode, names.op(opcode), node, pid, ids >> 32, ids & 0xFFFF_FFFF, time, wall
                )
            elif (request := open_.get(words[0])) is None:
                continue
            elif number == args:
                _, name, size, offset = words
                if name:
                    request.arguments.append(names.text(name))
                elif size or offset:
                    request.arguments += [str(size), str((offset ^ SIGN) - SIGN)]
            else:
                _, errno, request.nbytes, request.wall_ns = words
                request.errno = abs((errno ^ SIGN) - SIGN)
                request.ended, request.is_whole = time, True
                done.append(open_.pop(words[0]))
    return done


def access_log(source: Source) -> Iterator[str]:
    """Yield the log, a line for each whole request. Times of the machine where the host's are not recorded."""
    found = requests(source)
    has_wall = any(each.wall for each in found)
    for each in found:
        if has_wall:
            end, took = each.wall + each.wall_ns, each.wall_ns
        else:
            end = source.trace.nanoseconds(each.ended)
            took = source.trace.nanoseconds(each.cycles)
        yield f"{_stamp(end)} {_said(each)} <{took / NANOSECONDS:.6f}>\n"


def _stamp(ns: int) -> str:
    seconds, rest = divmod(ns, NANOSECONDS)
    return f"{datetime.fromtimestamp(seconds):%Y.%m.%d %H:%M:%S}.{rest // 1000:06d}"


def _said(each: Request) -> str:
    nbytes = f" ({each.nbytes})" if each.nbytes else ""
    return f"[uid:{each.uid},gid:{each.gid},pid:{each.pid}] {each.label}: {each.outcome}{nbytes}"


def requests_report(source: Source, with_bars: bool = False) -> Report:
    """Return latencies by operation: a table in wall time, one in cycles, and with bars if asked."""
    found = requests(source)
    by_op: dict[str, list[Request]] = {}
    for each in found:
        by_op.setdefault(each.op, []).append(each)
    has_wall = any(each.wall or each.wall_ns for each in found)
    ops = sorted(by_op.items(), key=lambda item: (-sum(each.cycles for each in item[1]), item[0]))
    tables = [_latencies("cycles", "Latency in cycles of the modelled machine", ops, cycles=True)]
    if has_wall:
        tables.insert(0, _latencies("wall", "Latency on the host, wall time in us", ops, cycles=False))
    tables.append(_log_table(found))
    report = Report(tables, notes=[] if has_wall else [NO_WALL])
    if with_bars:
        report.text = "".join(_bars(ops, has_wall))
    return report


SPARE: Final = ("total", "p90")
"""What a narrow screen does without, beside the bytes."""


def _latencies(name: str, title: str, ops: list[tuple[str, list[Request]]], cycles: bool) -> Table:
    rows: list[tuple[Any, ...]] = []
    for op, of_op in ops:
        times = sorted(each.cycles if cycles else each.wall_ns for each in of_op)
        errors = sum(bool(each.errno) for each in of_op)
        total = sum(times)
        spread = (quantile(times, share) for share in LOG_QUANTILES)
        nbytes = sum(each.nbytes for each in of_op)
        rows.append((op, len(times), errors, nbytes, total, total // len(times), *spread, times[-1]))
    unit = "cycles" if cycles else "ns"
    show = count if cycles else microseconds
    spans = [
        Column(f"{what}_{unit}", what, show, spare=what in SPARE)
        for what in ("total", "average", "p50", "p90", "p99", "max")
    ]
    heads = (
        Column("operation", "operation", left=True), Column("requests", "requests", count),
        Column("errors", "errors", count), Column("bytes", "bytes", count, spare=True),
    )  # fmt: skip
    return Table(name, (*heads, *spans), rows, title)


def _log_table(found: list[Request]) -> Table:
    rows: list[tuple[Any, ...]] = [
        (
            each.unique, each.vp, each.op, each.node, each.arguments, each.pid, each.uid, each.gid, each.errno,
            each.nbytes, each.began, each.cycles, each.wall, each.wall_ns,
        )
        for each in found
    ]  # fmt: skip
    keys = (
        "unique", "vp", "operation", "node", "arguments", "pid", "uid", "gid", "errno", "bytes", "at_cycles",
        "cycles", "at_wall_ns", "wall_ns",
    )  # fmt: skip
    return Table("requests", [Column(key, key) for key in keys], rows, limit=0)


def _bars(ops: list[tuple[str, list[Request]]], has_wall: bool) -> Iterator[str]:
    for op, of_op in ops:
        clocks = (("cycles", [each.cycles for each in of_op]), ("wall ns", [each.wall_ns for each in of_op]))
        for unit, times in clocks if has_wall else clocks[:1]:
            histogram = Histogram()
            for value in times:
                histogram.add(value)
            yield f"{op}: {len(times):,} requests, in {unit}\n"
            yield "".join(f"{line}\n" for line in histogram_lines(histogram, unit)) + "\n"
