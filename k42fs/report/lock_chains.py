"""`locks --chains`: K42's three tables of contended locks, with who called whoever waited.

From ContendSpin and ContendBlock, which are written only where a lock was waited for, with up to three callers.
Entries are grouped by their callers; under each group are the locks it waited for. As in K42, what is longer than
a second is left out: recording began while it waited.

K42: tools/misc/kmon/traceProfile. Differs: callers are call sites, not addresses; the process is the client
whose request was served.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from k42fs.report.filters import Source
from k42fs.report.tables import Column, Report, Table, count, microseconds

SHOWN: Final = 10
DEPTH: Final = 3
CALLERS_AT: Final = 56
LONGEST_SECONDS: Final = 1

Chain = tuple[int, ...]


@dataclass(slots=True)
class Waits:
    """Waits of one kind: how often, how long in ticks, turns of the spin loop; the latest process and lock."""

    count: int = 0
    spins: int = 0
    time: int = 0
    max: int = 0
    pid: int = 0
    lock: str = ""
    locks: dict[str, Waits] = field(default_factory=dict)

    def add(self, spins: int, time: int, pid: int, lock: str) -> None:
        self.count += 1
        self.spins += spins
        self.time += time
        self.max = max(self.max, time)
        self.pid, self.lock = pid, lock


def chains(source: Source) -> dict[Chain, Waits]:
    """Return the waits by chain of callers, the innermost first."""
    spin, block, enter = map(source.id, ("lock_contend_spin", "lock_contend_block", "fuse_op_enter"))
    longest = LONGEST_SECONDS * source.trace.ticks_per_second
    found: dict[Chain, Waits] = {}
    serving: dict[int, int] = {}
    for records in source.records((spin, block, enter)):
        for time, vp, number, words in records:
            if number == enter:
                serving[vp] = words[3]
                continue
            lock, spins, took, *sites = words[: 3 + DEPTH]
            if took > longest:
                continue
            name = source.names.locks.at(lock, time)
            label = f"{lock:#x}"
            if name is not None:
                label = f"{source.names.object(name.owner, time) if name.owner else name.kind}.{name.name}"
            waits = found.setdefault(tuple(site for site in sites if site), Waits())
            pid = serving.get(vp, 0)
            waits.add(spins, took, pid, label)
            waits.locks.setdefault(label, Waits()).add(spins, took, pid, label)
    return found


ORDERS: Final = (("time", "by time"), ("count", "by count"), ("max", "by longest wait"))


def chains_report(source: Source) -> Report:
    """Return the three tables; JSON and CSV have one, by time."""
    found = chains(source)
    ns = source.trace.nanoseconds
    rows: list[tuple[Any, ...]] = [
        (
            ns(waits.time), waits.count, waits.spins, ns(waits.max), waits.pid,
            [source.names.site(site) for site in chain],
            {lock: [ns(each.time), each.count, each.spins, ns(each.max)] for lock, each in waits.locks.items()},
        )
        for chain, waits in _worst(found, "time")
    ]  # fmt: skip
    lines = list(_text(found, source))
    return Report(
        [Table("chains", COLUMNS, rows)],
        "\n".join(lines) + "\n",
        narrow=lambda width: "".join(f"{each}\n" for line in lines for each in _fitting(line, width)),
    )


def _fitting(line: str, width: int) -> list[str]:
    """Return *line*, if it is too wide then with the lock, or each caller, below."""
    if len(line) <= width:
        return [line]
    if not line.startswith(" " * CALLERS_AT):
        return [line[:CALLERS_AT].rstrip(), f"        {line[CALLERS_AT:].strip()}"]
    callers = line.split(" <- ")
    return [f"    {'<- ' if index else ''}{caller.strip()}" for index, caller in enumerate(callers)]


def _worst(found: dict[Chain, Waits], by: str) -> list[tuple[Chain, Waits]]:
    return sorted(found.items(), key=lambda item: (-getattr(item[1], by), item[0]))


def _text(found: dict[Chain, Waits], source: Source) -> Iterator[str]:
    for order, title in ORDERS:
        yield f"Top contended locks {title}"
        yield f"{'time':>13} {'count':>7} {'spin':>9} {'max time':>13} {'pid':>7}   lock"
        for chain, waits in _worst(found, order)[:SHOWN]:
            worst = max(waits.locks.values(), key=lambda each: each.time)
            yield _line(waits, source) + f"   {worst.lock}"
            callers = " <- ".join(source.names.site(site) for site in chain)
            yield f"{'':>{CALLERS_AT}}{callers or '(no callers recorded)'}"
            if len(waits.locks) > 1:
                for lock, each in sorted(waits.locks.items(), key=lambda item: -item[1].time):
                    yield f"{'':>58}{_seconds(each.time, source)},{each.count},{each.spins},{lock}"
        yield ""


def _line(waits: Waits, source: Source) -> str:
    return (
        f"{_seconds(waits.time, source):>13} {waits.count:7d} {waits.spins:9d} "
        f"{_seconds(waits.max, source):>13} {waits.pid:7d}"
    )


def _seconds(ticks: int, source: Source) -> str:
    return f"{source.trace.seconds(ticks):.9f}"


COLUMNS: Final = (
    Column("time_ns", "time", microseconds),
    Column("count", "count", count),
    Column("spins", "spin", count),
    Column("max_ns", "max time", microseconds),
    Column("pid", "pid"),
    Column("callers", "callers", " <- ".join, left=True),
    Column("locks", "locks", lambda value: ", ".join(value), left=True),
)
