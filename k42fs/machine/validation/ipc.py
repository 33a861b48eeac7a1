"""E7, E13, E14: procedure calls, messages and shootdowns between processors."""

from __future__ import annotations

from k42fs.ids import VP
from k42fs.machine.config import preset
from k42fs.machine.driver import Machine
from k42fs.machine.ppc import PpcServer
from k42fs.machine.shootdown import shoot_down
from k42fs.machine.thread import Thread
from k42fs.machine.validation.checks import AT_LEAST, SAME, Check, Findings, Plot, Series, relative
from k42fs.machine.validation.experiment import Effort, Experiment

MODEL = "dir-1024"
CALLS, COLD = 12, 2
DROP_CYCLES = 300
FIT = (2, 31)
"""Users of a range whose shootdowns define the line that those of more than one are held against."""


def calls_are_local(effort: Effort) -> Findings:
    """E7: null calls of one server by a client on each processor, and remote calls."""
    sweep = effort.pick(quick=(1, 16, 256), normal=(1, 4, 16, 64, 256, 1024))
    warm = {n: _warm_calls(n) for n in sweep}
    alone = warm[1][0]
    checks = [
        Check(f"call, P={n}, to P=1", alone, warm[n][0], relative(0.01), "cycles") for n in sweep if n > 1
    ]
    checks += [Check(f"warm calls, P={n}", 0, warm[n][1], SAME, "misses") for n in sweep]
    remote = _remote_call()
    checks.append(Check("remote call, to 5 local ones", 5 * alone, remote, AT_LEAST, "cycles"))
    curves = (
        Series("local", tuple((n, warm[n][0]) for n in sweep)),
        Series("remote", tuple((n, remote) for n in sweep)),
    )
    plot = Plot(
        title="E7: null calls of one server",
        x="processors",
        y="cycles",
        series=curves,
        log_x=True,
        log_y=True,
    )
    return Findings(tuple(checks), (plot,))


def messages_share_interrupts(effort: Effort) -> Findings:
    """E13: interrupts for k messages that wait, and what waking a thread costs by distance."""
    counts = effort.pick(quick=(1, 4, 32), normal=(1, 2, 4, 8, 16, 32))
    interrupts = {k: _interrupts_for(k) for k in counts}
    checks = [Check(f"for {k} messages", 1, interrupts[k], SAME, "interrupts") for k in counts]
    same, domain, processor = _wake(0, 0, 0), _wake(0, 0, 1), _wake(1, 0, 0)
    config = preset(MODEL)
    least = 2 * config.dirty_cycles + config.ipi_cycles
    checks += [
        Check("other domain, to same dispatcher", same + 1, domain, AT_LEAST, "cycles"),
        Check("other processor, to other domain", domain + 1, processor, AT_LEAST, "cycles"),
        Check("other processor, to 2 transfers and an interrupt", least, processor, AT_LEAST, "cycles"),
    ]
    raised = Plot(
        title="E13: interrupts for messages that wait",
        x="messages",
        y="interrupts",
        series=(
            Series("one for each", tuple((k, k) for k in counts), expected=True),
            Series("raised", tuple(interrupts.items())),
        ),
        log_x=True,
    )
    waking = Plot(
        title="E13: waking a thread",
        x="who",
        y="cycles",
        series=(
            Series("until it runs", ((1, same), (2, domain), (3, processor))),
            Series("2 transfers and an interrupt", ((1, least), (2, least), (3, least)), expected=True),
        ),
        log_y=True,
        x_names=("same dispatcher", "other domain", "other processor"),
    )
    return Findings(tuple(checks), (raised, waking))


def shootdown_by_users(effort: Effort) -> Findings:
    """E14: forgetting a range that n of P processors use."""
    machines = effort.pick(quick=(32, 256), normal=(32, 64, 256, 1024))
    users = (1, 2, 4, 8, 16, 31)
    found = {p: {n: _shootdown(p, n) for n in users} for p in machines}
    first = found[machines[0]]
    less, more = FIT
    slope = (first[more] - first[less]) / (more - less)
    start = first[less] - less * slope
    checks = [
        Check(f"P={machines[0]}, n={n}, to a + b n", start + slope * n, first[n], relative(0.02), "cycles")
        for n in users
        if n > 1 and n not in FIT
    ]
    checks += [
        Check(f"P={p}, n={n}, to P={machines[0]}", first[n], found[p][n], relative(0.02), "cycles")
        for p in machines[1:]
        for n in users
    ]
    curves = tuple(Series(f"P={p}", tuple(found[p].items())) for p in machines)
    plot = Plot(title="E14: shootdown by users", x="users", y="cycles", series=curves)
    return Findings(tuple(checks), (plot,))


async def _nothing(th: Thread) -> None:
    """Be called."""


def _warm_calls(processors: int) -> tuple[float, int]:
    """Return (cycles per warm call, misses of all warm calls)."""
    machine = Machine(preset(MODEL, processors=processors))
    server = PpcServer(machine.ppc, "null")
    spent: list[int] = []
    missed: list[int] = []

    async def client(th: Thread) -> None:
        for i in range(CALLS):
            begin, misses = th.proc.clock, _misses(machine, th.vp)
            await server.call(th, _nothing)
            if i >= COLD:
                spent.append(th.proc.clock - begin)
                missed.append(_misses(machine, th.vp) - misses)

    for vp in range(processors):
        machine.spawn(VP(vp), client)
    machine.run()
    machine.check()
    return sum(spent) / len(spent), sum(missed)


def _misses(machine: Machine, vp: int) -> int:
    return sum(machine.core.counters(vp).misses.values())


def _remote_call() -> float:
    machine = Machine(preset(MODEL, processors=2))
    server = PpcServer(machine.ppc, "null")
    spent: list[int] = []

    async def client(th: Thread) -> None:
        for _ in range(CALLS):
            begin = th.proc.clock
            await server.remote(th, 1, _nothing)
            spent.append(th.proc.clock - begin)

    machine.spawn(VP(0), client)
    machine.run()
    machine.check()
    return sum(spent[COLD:]) / (CALLS - COLD)


def _interrupts_for(count: int) -> int:
    """Return how many interrupts processor 1 gets if 0 sends it *count* messages before it runs."""
    machine = Machine(preset(MODEL, processors=2, ipi_cycles=1_000_000))
    ran: list[int] = []

    async def sender(th: Thread) -> None:
        for i in range(count):
            await machine.messages.send(th, 1, lambda there, i=i: ran.append(i))

    machine.spawn(VP(0), sender)
    machine.run()
    machine.check()
    assert len(ran) == count, f"{len(ran)} of {count} messages arrived"
    return machine.interrupts.dispatcher(1).raised


def _wake(waker: int, sleeper: int, rd: int) -> int:
    """Return how long a thread of *sleeper* takes to run once *waker* has begun to wake it."""
    machine = Machine(preset(MODEL, processors=2))
    times: list[int] = []

    async def sleep(th: Thread) -> None:
        for _ in range(3):  # the first wakings are cold
            await th.block()
            times.append(th.proc.clock)

    target = machine.spawn(VP(sleeper), sleep)
    machine.interrupts.place(target, rd)

    async def wake(th: Thread) -> None:
        for _ in range(3):
            await th.sleep(100_000)
            times.append(th.proc.clock)
            th.unblock(target)

    machine.spawn(VP(waker), wake)
    machine.run()
    machine.check()
    return times[-1] - times[-2]


def _shootdown(processors: int, users: int) -> float:
    """Return the cycles of a warm shootdown of a range that processors 1 to *users* have used."""
    machine = Machine(preset(MODEL, processors=processors, topology="flat", hop_cycles=0))
    spent: list[int] = []

    async def unmap(th: Thread) -> None:
        for _ in range(CALLS):
            await th.sleep(1_000_000)
            begin = th.proc.clock
            await shoot_down(machine, th, range(1, users + 1), DROP_CYCLES)
            spent.append(th.proc.clock - begin)

    machine.spawn(VP(0), unmap)
    machine.run()
    machine.check()
    return sum(spent[COLD:]) / (CALLS - COLD)


EXPERIMENTS = (
    Experiment("E7", "procedure calls are local", calls_are_local, weight=8),
    Experiment("E13", "messages share interrupts; waking by distance", messages_share_interrupts, weight=1),
    Experiment("E14", "shootdowns cost by users, not by processors", shootdown_by_users, weight=4),
)
