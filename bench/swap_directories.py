"""Directories: `distributed` against `locked`, with many processors and with one; and what a swap of one costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bench.swap_rows import Row, Site
from k42fs.ids import VP
from k42fs.machine.thread import Thread
from k42fs.servers.object_policy import Kind

MANY: Final = 32
NAMES: Final = 64
"""Names that all processors look up."""


async def make(site: Site, th: Thread, turn: int) -> None:
    """Make a file with a name of the processor's own, and close it."""
    _, opened = await site.call(th, "create", site.root, b"%d.%d" % (th.vp, turn), 0o644, 2)
    await site.call(th, "release", opened)


async def make_and_remove(site: Site, th: Thread, turn: int) -> None:
    """The same, and remove it."""
    await make(site, th, turn)
    await site.call(th, "unlink", site.root, b"%d.%d" % (th.vp, turn))


async def rename(site: Site, th: Thread, turn: int) -> None:
    """Give a file of the processor's own another name."""
    names = b"%d.odd" % th.vp, b"%d.even" % th.vp
    if turn == 0:
        await site.call(th, "mknod", site.root, names[0], 0o644)
    await site.call(th, "rename", site.root, names[turn % 2], site.root, names[1 - turn % 2])


async def look_up(site: Site, th: Thread, turn: int) -> None:
    """Look up one of the names that all look up."""
    if turn < NAMES:
        _, opened = await site.call(th, "create", site.root, b"%d" % turn, 0o644, 2)
        await site.call(th, "release", opened)
    await site.call(th, "lookup", site.root, b"%d" % (turn % NAMES))


async def look_up_made(site: Site, th: Thread, turn: int) -> None:
    """Look up one of the names that `with_names` made before."""
    await site.call(th, "lookup", site.root, b"%d" % (turn % NAMES))


def with_names(chosen: dict[Kind, str]) -> Site:
    """Return a site whose names one processor has made."""
    site = Site(MANY, chosen)

    async def make_names(th: Thread) -> None:
        for number in range(NAMES):
            await site.call(th, "mknod", site.root, b"%d" % number, 0o644)

    site.once(make_names)
    return site


OPERATIONS: Final = (
    ("make", make, 5.0, 0.9),
    ("make and remove", make_and_remove, 5.0, 0.9),
    ("rename", rename, None, None),
    ("look up", look_up, None, None),
)
"""Each with the least ratio for many processors and for one, where there is an aim."""

STRETCH: Final = 300_000


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield the rows; rates are operations per million cycles."""
    for processors in (MANY, 1):
        stretch = STRETCH // 4 if quick and processors > 1 else STRETCH
        for name, operation, *wanted in OPERATIONS:
            locked, distributed = (
                Site(processors, {"DirObject": kind}).rate(operation, stretch)
                for kind in ("locked", "distributed")
            )
            low = wanted[processors == 1]
            aim = f">= {low:g}" if low else ""
            title = f"directory, {'one processor' if processors == 1 else f'{MANY} processors'}: {name}"
            yield Row(title, locked, distributed, "per Mcycle", distributed / locked, aim, low)
    yield from _adapted(quick=quick)
    for names in (0, 1000):
        yield _swapped(names)


def _adapted(*, quick: bool) -> Iterator[Row]:
    """Yield what a directory that was adapted under load does, against one that was `distributed` from the start.

    Who makes names waits for its lock. Who only looks them up waits for nothing, and passes its lines round.
    """
    stretch = STRETCH // 4 if quick else STRETCH
    better = Site(MANY, {"DirObject": "distributed"}).rate(make_and_remove, stretch)
    site = Site(MANY, {})
    site.adapt(make_and_remove, "hot-directory")
    adapted = site.rate(make_and_remove, stretch)
    title = f"directory, {MANY} processors, adapt=act: make and remove"
    yield Row(title, better, adapted, "per Mcycle", adapted / better, ">= 0.9", 0.9)
    better = with_names({"DirObject": "distributed"}).rate(look_up_made, stretch)
    site = with_names({})
    site.adapt(look_up_made, "passed-round")
    adapted = site.rate(look_up_made, stretch)
    title = f"directory, {MANY} processors, adapt=act: look up"
    yield Row(title, better, adapted, "per Mcycle", adapted / better, ">= 0.9", 0.9)


def _swapped(names: int) -> Row:
    """Return what swapping an idle directory there and back costs, each time after all processors have used it."""
    site = Site(MANY, {})

    async def prepare(th: Thread) -> None:
        for number in range(names):
            await site.call(th, "mknod", site.root, b"%d" % number, 0o644)
        await site.call(th, "object_of", site.root)

    async def use(th: Thread) -> None:
        await site.call(th, "get_status", site.root)

    site.once(prepare)
    cycles = []
    for implementation in ("distributed", "locked"):
        for vp in range(MANY):
            site.machine.spawn(VP(vp), use)
        site.machine.run()
        cycles.append(site.swap(site.root.obj_ref, implementation).cycles)
    title = f"idle directory of {names:,} names, used by {MANY}: swap there, and back"
    figure = max(cycles) / MANY
    bound = (" < 2,000 each", 2000.0) if not names else ("", None)
    return Row(title, cycles[0], cycles[1], "cycles", figure, bound[0].strip(), None, bound[1])
