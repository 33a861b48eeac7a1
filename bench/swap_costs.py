"""What swaps cost callers: nothing while there is none, and how much longer calls take while there are."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import quantiles
from time import process_time_ns
from typing import Final

from bench.swap_rows import Row, Site
from k42fs.ids import VP
from k42fs.machine.thread import Thread
from k42fs.objects.counted_calls import CountedCalls

CALLERS: Final = 8
NAMES: Final = 16
PERIOD: Final = 100_000
"""Cycles from one swap to the next."""

STRETCH: Final = 2_000_000
CALLS: Final = 5000
REPEATS: Final = 5


async def look_up(site: Site, th: Thread, turn: int) -> None:
    """Look up one of a few names of one directory."""
    if turn < NAMES:
        _, opened = await site.call(th, "create", site.root, b"%d" % turn, 0o644, 2)
        await site.call(th, "release", opened)
    await site.call(th, "lookup", site.root, b"%d" % (turn % NAMES))


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield the rows."""
    site = Site(1, {})
    before = site.rate(look_up, PERIOD)
    for implementation in ("distributed", "locked"):
        site.swap(site.root.obj_ref, implementation)
    after = site.rate(look_up, PERIOD)
    title = "directory, one processor: look up, never swapped and swapped before"
    yield Row(title, before, after, "per Mcycle", after / before, "0.995 to 1.005", 0.995, 1.005)
    yield from _watched()
    stretch = STRETCH // 4 if quick else STRETCH
    calm, swapped = (_latencies(stretch, swaps=swaps) for swaps in (False, True))
    for name, share in (("median", 50), ("99 %", 99), ("99.9 %", 99.9)):
        first, second = (_percentile(cycles, share) for cycles in (calm, swapped))
        title = f"look-ups by {CALLERS}, swapped every {PERIOD:,}: {name} of a call"
        yield Row(title, first, second, "cycles", second - first)
    yield Row("... and the longest", max(calm), max(swapped), "cycles", max(swapped) - max(calm))


def _watched() -> Iterator[Row]:
    """Yield what it costs a directory that its calls are counted: modelled cycles none, host time a little."""
    site = Site(1, {})
    calls = CountedCalls(site.cos)
    rates, times = [], []
    for watches in (False, True):
        if watches:
            calls.begin()
            calls.watch(site.root.obj_ref)
        rates.append(site.rate(look_up, PERIOD))
        times.append(min(_host_time(site) for _ in range(REPEATS)))
    title = "directory, one processor: look up, not watched and watched"
    yield Row(title, rates[0], rates[1], "per Mcycle", rates[1] / rates[0], "0.995 to 1.005", 0.995, 1.005)
    yield Row("... and its call alone, on this host", times[0], times[1], "ns", times[1] - times[0])


def _host_time(site: Site) -> float:
    """Return the processor time of a call, in nanoseconds, that asks the directory next to nothing."""
    spent = []

    async def body(th: Thread) -> None:
        site.cos.activate(th)
        ref, begin = site.root.obj_ref, process_time_ns()
        for _ in range(CALLS):
            await th.deref(ref).lock_order(th)
        spent.append(process_time_ns() - begin)
        site.cos.deactivate(th)

    site.once(body)
    return spent[0] / CALLS


def _percentile(cycles: list[int], share: float) -> float:
    return quantiles(cycles, n=1000, method="inclusive")[round(share * 10) - 1]


def _latencies(stretch: int, *, swaps: bool) -> list[int]:
    """Return how long each look-up in a directory took, in cycles, while it was swapped for its like, or not."""
    site = Site(CALLERS, {"DirObject": "distributed"})
    cycles: list[int] = []

    async def call(th: Thread) -> None:
        end = th.proc.clock + stretch
        turn = 0
        while th.proc.clock < end:
            start = th.proc.clock
            await site.call(th, "lookup", site.root, b"%d" % (turn % NAMES))
            cycles.append(th.proc.clock - start)
            await th.sleep(200)  # between requests others of the processor run, such as a swap's worker
            turn += 1

    async def swap(th: Thread) -> None:
        for _ in range(stretch // PERIOD):
            await th.sleep(PERIOD)
            site.cos.activate(th)
            begun = await site.cos.swap_to(th, site.root.obj_ref, "distributed")
            await begun.wait(th)
            site.cos.deactivate(th)

    site.rate(look_up, PERIOD)
    site.meet()
    for vp in range(CALLERS):
        site.machine.spawn(VP(vp), call)
    if swaps:
        site.machine.spawn(VP(CALLERS), swap)
    site.machine.run()
    return cycles
