"""E3, E4: counters that all processors add to: shared, one each, and several to a line."""

from __future__ import annotations

from typing import Final

from k42fs.ids import VP
from k42fs.machine.driver import Machine
from k42fs.machine.layout import WORD_BYTES, Kind
from k42fs.machine.thread import Thread
from k42fs.machine.validation.checks import Check, Findings, Plot, Series, relative
from k42fs.machine.validation.experiment import Effort, Experiment
from k42fs.machine.validation.lock_loop import DIRTY, LINE, prototype

HIT: Final = 4 + 20
CYCLES: Final = 120_000
WARM: Final = 12_000
"""When counting begins: by then everybody has fetched a line of its own."""


def additions(processors: int, spacing: int, cycles: int = CYCLES) -> float:
    """Return how many additions per thousand cycles all processors do, each to a counter of its own
    *spacing* bytes after the last one's on the same line; 0: all to one. A line's home is its first user's."""
    machine = Machine(prototype(processors))
    per_line = LINE // spacing if spacing else processors
    lines = [machine.memory.alloc(vp, LINE, Kind.LOCAL_STRICT) for vp in range(0, processors, per_line)]
    addrs = [lines[vp // per_line] + vp % per_line * spacing for vp in range(processors)]
    done = [0] * processors

    async def body(th: Thread) -> None:
        while th.proc.clock <= WARM + cycles:
            await th.rmw(addrs[th.vp])
            done[th.vp] += WARM < th.proc.clock <= WARM + cycles

    for vp in range(processors):
        machine.spawn(VP(vp), body)
    machine.run()
    machine.check()
    return 1000 * sum(done) / cycles


def one_or_many(effort: Effort) -> Findings:
    """E3: one counter for all, or one for each."""
    sweep = effort.pick(quick=(1, 2, 16, 64), normal=(1, 2, 4, 8, 16, 32, 64, 128))
    shared = {n: additions(n, 0) for n in sweep}
    own = {n: additions(n, LINE, CYCLES // 4) for n in sweep}
    alone, ceiling = 1000 / HIT, 1000 / DIRTY
    checks = [Check("shared, P=1", alone, shared[1], relative(0.01), "per kcycle")]
    checks += [
        Check(f"shared, P={n}", ceiling, shared[n], relative(0.01), "per kcycle") for n in sweep if n > 1
    ]
    checks.append(Check("shared: P=1 to P=2", alone / ceiling, shared[1] / shared[2], relative(0.02)))
    linear = own[1]
    checks += [
        Check(f"own, P={n}, in own of P=1", n, round(own[n] / linear, 9), relative(1e-9)) for n in sweep
    ]
    curves = (
        Series("shared", tuple(shared.items())),
        Series("own", tuple(own.items())),
        Series("linear", tuple((n, n * alone) for n in sweep), expected=True),
        Series("1 / dirty transfer", tuple((n, ceiling) for n in sweep if n > 1), expected=True),
    )
    return Findings(tuple(checks), (_plot("E3: additions to counters", curves),))


def false_sharing(effort: Effort) -> Findings:
    """E4: a counter for each processor, k of them to a line."""
    packings = effort.pick(quick=(1, 8), normal=(1, 2, 4, 8))
    sweep = effort.pick(quick=(8, 64), normal=(1, 2, 8, 20, 64))
    checks, curves = [], []
    for k in packings:
        rates = {
            n: additions(n, LINE // k if k > 1 else LINE, CYCLES if k > 1 else CYCLES // 4) for n in sweep
        }
        for n, rate in rates.items():
            expected = _packed(n, k)
            checks.append(Check(f"{k} to a line, P={n}", expected, rate, relative(0.02), "per kcycle"))
        curves.append(Series(f"{k} to a line", tuple(rates.items())))
    padded, packed = additions(64, LINE, CYCLES // 4), additions(64, WORD_BYTES)
    checks.append(Check("padding 8 to a line, P=64: gain", 200, padded / packed, relative(0.02)))
    return Findings(tuple(checks), (_plot("E4: counters, several to a line", tuple(curves)),))


def _packed(processors: int, k: int) -> float:
    """Return additions per thousand cycles: a line with one user has hits, others a transfer per addition."""
    full, rest = divmod(processors, k)
    lines = [k] * full + [rest] * (rest > 0)
    return sum(1000 / (HIT if users == 1 else DIRTY) for users in lines)


def _plot(title: str, curves: tuple[Series, ...]) -> Plot:
    return Plot(title=title, x="processors", y="per kcycle", series=curves, log_x=True, log_y=True)


EXPERIMENTS = (
    Experiment("E3", "shared counter against one per processor", one_or_many, weight=6),
    Experiment("E4", "false sharing: several counters to a line", false_sharing, weight=8),
)
