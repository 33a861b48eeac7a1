"""`time`: who used the processors, and for whom, as K42's breakdown (jiggy) has it.

The time of a processor between two switches is a slot, billed to the state after the earlier one (running.py): the
process it works in, the mode, and the process on whose behalf. A slot is in-process for the first and, if they
differ, ex-process for the second. So the bills of a processor add up to the whole recording, to the tick.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from k42fs.report.filters import Source
from k42fs.report.running import KERNEL, NOBODY, REQUEST, SERVER, Running, State
from k42fs.report.tables import Column, Report, Table, count, microseconds, percent, ratio

Nanoseconds = Callable[[int], int]


@dataclass(slots=True)
class Bill:
    """Ticks, and how many slots they are."""

    ticks: int = 0
    slots: int = 0


@dataclass
class Breakdown:
    """The bills by (processor, state); from `begin` to `end`, which every processor's bills add up to."""

    begin: int
    end: int
    processors: list[int]
    bills: dict[tuple[int, State], Bill] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)

    def bill(self, vp: int, state: State, ticks: int) -> None:
        if ticks:
            bill = self.bills.setdefault((vp, state), Bill())
            bill.ticks += ticks
            bill.slots += 1


def breakdown(source: Source) -> Breakdown:
    """Return who is billed for what."""
    told = {source.id(each): names for each, names in NAMES.items()}
    found = Breakdown(source.begin, source.end, source.processors)
    for vp in source.processors:
        running, since = Running(source), source.begin
        for records in source.undivided(vp, {*running.wanted, *told}):
            for time, _, number, words in records:
                if number in told:
                    pid, name = told[number]
                    found.names[words[pid]] = source.names.text(words[name])
                else:
                    found.bill(vp, running.state, time - since)
                    running.take(number, words)
                    since = time
        found.bill(vp, running.state, source.end - since)
    return found


NAMES: Final = {"user_spawn": (0, 3), "user_start_exec": (0, 1)}
"""Events that name a process: the words of its pid and its name."""


def time_report(source: Source) -> Report:
    """Return the report: by process, the bills, by processor."""
    found = breakdown(source)
    span = found.end - found.begin
    whole = span * len(found.processors)
    ns = source.trace.nanoseconds
    if (pid := source.filter.pid) is not None:
        found.bills = {key: bill for key, bill in found.bills.items() if pid in (key[1].pid, key[1].owner)}
    bills: dict[State, Bill] = {}
    for (_, state), bill in found.bills.items():
        joined = bills.setdefault(state, Bill())
        joined.ticks += bill.ticks
        joined.slots += bill.slots
    rows: list[tuple[Any, ...]] = [
        (
            owner, _name(found, owner), pid, _name(found, pid), mode, bill.ticks, ns(bill.ticks), bill.slots,
            round(ratio(bill.ticks, whole), 4),
        )
        for (pid, mode, owner), bill in bills.items()
    ]  # fmt: skip
    rows.sort(key=lambda row: (-row[5], row[:5]))
    sums = (span, whole, sum(bill.ticks for bill in bills.values()))
    unit, (each, all_, billed) = ("cycles", sums) if source.has_model else ("ns", tuple(map(ns, sums)))
    note = f"{len(found.processors)} processors x {each:,} {unit} = {all_:,} {unit}, billed {billed:,}"
    return Report(
        [
            _by_program(found, bills, whole, ns),
            _by_process(found, bills, whole, ns),
            Table("bills", BILLS, rows, "For whom, where, in which mode", limit=TEXT_ROWS),
            _by_processor(found, ns),
        ],
        notes=[note],
    )


def _by_program(found: Breakdown, bills: dict[State, Bill], whole: int, ns: Nanoseconds) -> Table:
    """Processes of one name taken together: a parallel build is a few programs, not hundreds of processes."""
    pids: dict[str, set[int]] = {}
    inside: dict[str, int] = {}
    outside: dict[str, int] = {}
    for state, bill in bills.items():
        name = _name(found, state.pid) or str(state.pid)
        pids.setdefault(name, set()).add(state.pid)
        inside[name] = inside.get(name, 0) + bill.ticks
        if state.owner != state.pid:
            owner = _name(found, state.owner) or str(state.owner)
            pids.setdefault(owner, set()).add(state.owner)
            outside[owner] = outside.get(owner, 0) + bill.ticks
    rows: list[tuple[Any, ...]] = []
    for name, members in pids.items():
        own, other = inside.get(name, 0), outside.get(name, 0)
        shares = (round(ratio(own, whole), 4), round(ratio(other, whole), 4))
        rows.append((name, len(members), own, ns(own), shares[0], other, ns(other), shares[1]))
    rows.sort(key=lambda row: (-(row[2] + row[5]), row[0]))
    return Table(
        "programs", PROGRAMS, rows, "Time in each program, and elsewhere on its behalf", limit=TEXT_ROWS
    )


def _by_process(found: Breakdown, bills: dict[State, Bill], whole: int, ns: Nanoseconds) -> Table:
    inside: dict[int, int] = {}
    outside: dict[int, int] = {}
    for state, bill in bills.items():
        inside[state.pid] = inside.get(state.pid, 0) + bill.ticks
        if state.owner != state.pid:
            outside[state.owner] = outside.get(state.owner, 0) + bill.ticks
    rows: list[tuple[Any, ...]] = [
        (
            pid, _name(found, pid), inside.get(pid, 0), ns(inside.get(pid, 0)), outside.get(pid, 0),
            ns(outside.get(pid, 0)), round(ratio(inside.get(pid, 0), whole), 4),
        )
        for pid in inside.keys() | outside.keys()
    ]  # fmt: skip
    rows.sort(key=lambda row: (-(row[2] + row[4]), row[0]))
    return Table(
        "processes", PROCESSES, rows, "Time in each process, and elsewhere on its behalf", limit=TEXT_ROWS
    )


def _by_processor(found: Breakdown, ns: Nanoseconds) -> Table:
    modes = sorted(
        {state.mode for _, state in found.bills}, key=lambda mode: (mode.startswith(REQUEST), mode)
    )
    rows: list[tuple[Any, ...]] = []
    for vp in found.processors:
        ticks = dict.fromkeys(modes, 0)
        for (where, state), bill in found.bills.items():
            if where == vp:
                ticks[state.mode] += bill.ticks
        served = sum(ticks[mode] for mode in modes if mode.startswith(REQUEST))
        rows.append((vp, sum(ticks.values()), ns(served), *(ns(ticks[mode]) for mode in modes)))
    columns = [
        Column("vp", "vp"),
        Column("cycles", "cycles", count),
        Column("requests_ns", "requests", microseconds),
    ]
    columns += [Column(f"{mode}_ns", mode, microseconds, spare=mode.startswith(REQUEST)) for mode in modes]
    return Table("processors", columns, rows, "Each processor, in us")


def _name(found: Breakdown, pid: int) -> str:
    known = {KERNEL: "kernel, idle", SERVER: "k42fs", NOBODY: "(before it began)"}
    return found.names.get(pid) or known.get(pid, "")


TEXT_ROWS: Final = 20
"""Rows of a table that text shows; JSON and CSV have all."""

PROGRAMS: Final = (
    Column("name", "program", left=True),
    Column("processes", "processes", count),
    Column("in_process_cycles", "in-process cycles", count),
    Column("in_process_ns", "us", microseconds, spare=True),
    Column("in_percent", "%", percent),
    Column("ex_process_cycles", "ex-process cycles", count),
    Column("ex_process_ns", "us", microseconds, spare=True),
    Column("ex_percent", "%", percent),
)
PROCESSES: Final = (
    Column("pid", "pid"),
    Column("name", "name", left=True),
    Column("in_process_cycles", "in-process cycles", count),
    Column("in_process_ns", "us", microseconds),
    Column("ex_process_cycles", "ex-process cycles", count),
    Column("ex_process_ns", "us", microseconds, spare=True),
    Column("percent", "% in", percent),
)
BILLS: Final = (
    Column("client_pid", "client"),
    Column("client", "name", left=True),
    Column("server_pid", "in"),
    Column("server", "name", left=True, spare=True),
    Column("mode", "mode", left=True),
    Column("cycles", "cycles", count),
    Column("ns", "us", microseconds),
    Column("slots", "slots", count, spare=True),
    Column("percent", "%", percent),
)
