"""`requests`: the kernel's requests: an access log in JuiceFS's format; latencies in wall time and in cycles.

Wall time is what the host took, cycles what the modelled machine did: they are never added nor put in one table.
A recording of a deterministic run has no wall time; its log then says the machine's time, and a note says so.

A log line, as in JuiceFS's .accesslog: the time at which it was answered, local; caller; operation (node, then
its arguments); OK or the error's text; bytes; seconds it took.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

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
    if has_wall:  # clocks of processors differ: answered earlier for the machine need not be earlier here
        found.sort(key=lambda each: each.wall + each.wall_ns)
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
    """Return latencies by operation: a table in wall time, one in cycles, and with bars if asked.

    There are no cycles where there was no modelled machine to count them.
    """
    found = requests(source)
    by_op: dict[str, list[Request]] = {}
    for each in found:
        by_op.setdefault(each.op, []).append(each)
    has_wall = any(each.wall or each.wall_ns for each in found)
    clocks = [clock for clock, there in ((WALL, has_wall), (CYCLES, source.has_model)) if there]
    tables = [_latencies(clock, by_op) for clock in clocks]
    tables += [_slowest(found, has_wall, source), _log_table(found)]
    report = Report(tables, notes=[] if has_wall else [NO_WALL])
    if with_bars:
        report.text = "".join(_bars(by_op, clocks))
    return report


class Clock(NamedTuple):
    """A clock that requests are timed by: its table, the table's title, the unit, and what it says of one."""

    name: str
    title: str
    unit: str
    took: Callable[[Request], int]
    show: Callable[[object], str]


WALL: Final = Clock(
    "wall", "Latency on the host, wall time in us", "ns", lambda each: each.wall_ns, microseconds
)
CYCLES: Final = Clock(
    "cycles", "Latency in cycles of the modelled machine", "cycles", lambda each: each.cycles, count
)
SLOWEST: Final = 5
"""Requests that text shows with their numbers, for `calls --tree --request`."""


def _ordered(by_op: dict[str, list[Request]], clock: Clock) -> list[tuple[str, list[Request]]]:
    """Return the operations, the one that took most by *clock* first."""
    return sorted(by_op.items(), key=lambda item: (-sum(map(clock.took, item[1])), item[0]))


SPARE: Final = ("p90",)
"""What a narrow screen does without, beside the bytes."""


def _latencies(clock: Clock, by_op: dict[str, list[Request]]) -> Table:
    rows: list[tuple[Any, ...]] = []
    for op, of_op in _ordered(by_op, clock):
        times = sorted(map(clock.took, of_op))
        errors = sum(bool(each.errno) for each in of_op)
        total = sum(times)
        spread = (quantile(times, share) for share in LOG_QUANTILES)
        nbytes = sum(each.nbytes for each in of_op)
        rows.append((op, len(times), errors, nbytes, total, total // len(times), *spread, times[-1]))
    spans = [
        Column(f"{what}_{clock.unit}", what, clock.show, spare=what in SPARE)
        for what in ("total", "average", "p50", "p90", "p99", "max")
    ]
    heads = (
        Column("operation", "operation", left=True), Column("requests", "requests", count),
        Column("errors", "errors", count), Column("bytes", "bytes", count, spare=True),
    )  # fmt: skip
    return Table(clock.name, (*heads, *spans), rows, clock.title)


def _slowest(found: list[Request], has_wall: bool, source: Source) -> Table:
    """Return the requests, the slowest first, with the numbers that `calls --tree --request` wants."""
    clock = CYCLES if source.has_model else WALL
    begin, ns = source.trace.begin, source.trace.nanoseconds
    rows: list[tuple[Any, ...]] = [
        (each.unique, each.label, each.pid, ns(each.began - begin), ns(each.cycles), each.wall_ns)
        for each in sorted(found, key=lambda each: (-clock.took(each), each.unique))
    ]
    columns = [
        Column("unique", "number"), Column("request", "slowest request", left=True), Column("pid", "pid"),
        Column("at_ns", "at us", microseconds), Column("took_ns", "took us", microseconds),
        Column("wall_ns", "wall us", microseconds),
    ]  # fmt: skip
    unsaid = [*([] if source.has_model else ["took_ns"]), *([] if has_wall else ["wall_ns"])]
    shown = [index for index, column in enumerate(columns) if column.key not in unsaid]
    rows = [tuple(row[index] for index in shown) for row in rows]
    return Table("slowest", [columns[index] for index in shown], rows, limit=SLOWEST)


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


def _bars(by_op: dict[str, list[Request]], clocks: Sequence[Clock]) -> Iterator[str]:
    for op, of_op in _ordered(by_op, clocks[-1]) if clocks else ():
        for clock in reversed(clocks):
            unit = "wall ns" if clock is WALL else clock.unit
            histogram = Histogram()
            for each in of_op:
                histogram.add(clock.took(each))
            yield f"{op}: {len(of_op):,} requests, in {unit}\n"
            yield "".join(f"{line}\n" for line in histogram_lines(histogram, unit)) + "\n"
