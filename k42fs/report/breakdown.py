"""`time`: who used the processors, and for whom, as K42's breakdown (jiggy) has it.

The time of a processor between two switches is a slot, billed to the state after the earlier one: the process it
works in, the mode, and the process on whose behalf. A slot is in-process for the first and, if they differ,
ex-process for the second. Before its first switch a processor's state is unknown; after its last one it stays as
it is to the end of the recording. So the bills of a processor add up to the whole recording, to the tick.

A request of the kernel's (OpEnter to OpExit) is work in the server, mode SC and the operation, for the client
that asked; `Context` says more, and overrides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from k42fs.report.filters import Source
from k42fs.report.tables import Column, Report, Table, count, microseconds, percent, ratio

KERNEL: Final = 0
SERVER: Final = 1
"""The pid of the base servers, as in K42: where requests are served unless a switch says otherwise."""

NOBODY: Final = -1
PID_SHIFT, DOMAIN_SHIFT, DOMAIN_MASK = 32, 16, 0xFFFF
REQUEST: Final = "SC"


Nanoseconds = Callable[[int], int]


class State(NamedTuple):
    """What a processor does: in which process, in which mode, for whom."""

    pid: int
    mode: str
    owner: int


UNKNOWN: Final = State(NOBODY, "unknown", NOBODY)
IDLE: Final = State(KERNEL, "idle", KERNEL)

SERVES: Final = {"exception_ppc_call": "ppcsrv"}
"""Switches into a server: it works on for the same owner."""

KERNEL_MODES: Final = {
    "exception_pgflt": "fault",
    "exception_await_dispatch": "scheduler",
    "exception_ppc_async_remote": "async",
    "exception_await_ppc_retry": "scheduler",
    "exception_ipc_remote": "asyncrmt",
}
"""Switches to the kernel, and in which mode it then is."""


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


def switched(attribute: str, commid: int, before: State) -> State:
    """Return the state after a switch to *commid* (pid<<32 | domain<<16 | vp)."""
    pid = commid >> PID_SHIFT
    owner = before.owner if before.owner not in (NOBODY, KERNEL) else before.pid
    if mode := KERNEL_MODES.get(attribute):
        return State(KERNEL, mode, owner)
    if not pid:
        return State(KERNEL, "dispatcher", KERNEL) if not commid >> DOMAIN_SHIFT & DOMAIN_MASK else IDLE
    if attribute in SERVES:
        return State(pid, SERVES[attribute], owner)
    if attribute == "exception_ppc_return" and pid != owner and owner > KERNEL:
        return State(pid, "ppcsrv", owner)  # back in a server that was itself called
    return State(pid, "user", pid)


def breakdown(source: Source) -> Breakdown:
    """Return who is billed for what."""
    schema = source.trace.schema
    switches = {
        each.id: (each.attribute, each.by_name[each.context].word if each.context != "0" else None)
        for each in schema.events()
        if each.context is not None
    }
    context, enter, leave = map(source.id, ("exception_context", "fuse_op_enter", "fuse_op_exit"))
    told = {source.id(each): names for each, names in NAMES.items()}
    modes = schema.by_attribute["exception_context"].by_name["mode"].type.values
    wanted = {*switches, enter, leave, *told}
    found = Breakdown(source.begin, source.end, source.processors)
    for vp in source.processors:
        state, since = UNKNOWN, source.begin
        request: dict[int, State] = {}
        op = ""
        for records in source.undivided(vp, wanted):
            for time, _, number, words in records:
                if number in told:
                    pid, name = told[number]
                    found.names[words[pid]] = source.names.text(words[name])
                    continue
                before = state
                if number == context:
                    mode = modes[words[1]] if words[1] < len(modes) else "unknown"
                    mode = f"{REQUEST}{op}" if mode == "syscall" and op else mode
                    state = State(words[0] >> PID_SHIFT, mode, words[2] >> PID_SHIFT)
                elif number == enter:
                    op = source.names.op(words[1])
                    request[words[0]] = before
                    state = State(_server(before), f"{REQUEST}{op}", words[3])
                elif number == leave:
                    state, op = request.pop(words[0], IDLE), ""
                else:
                    attribute, word = switches[number]
                    state = switched(attribute, words[word] if word is not None else 0, before)
                found.bill(vp, before, time - since)
                since = time
        found.bill(vp, state, source.end - since)
    return found


NAMES: Final = {"user_spawn": (0, 3), "user_start_exec": (0, 1)}
"""Events that name a process: the words of its pid and its name."""


def _server(before: State) -> int:
    return before.pid if before.mode in ("syscall", "ppcsrv") and before.pid > KERNEL else SERVER


def time_report(source: Source) -> Report:
    """Return the report: by process, the bills, by processor."""
    found = breakdown(source)
    span = found.end - found.begin
    whole = span * len(found.processors)
    ns = source.trace.nanoseconds
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
    pid = source.filter.pid
    rows = [row for row in rows if pid is None or pid in (row[0], row[2])]
    rows.sort(key=lambda row: (-row[5], row[:5]))
    note = (
        f"{len(found.processors)} processors x {span:,} cycles = {whole:,} cycles, "
        f"billed {sum(bill.ticks for bill in bills.values()):,}"
    )
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
