"""Files: `ranged` against `shared` for writers who do not meet, `exclusive` against it for one user of small files."""

from __future__ import annotations

from collections.abc import Iterator
from os import O_RDWR
from typing import Any, Final

from bench.swap_rows import Row, Site
from k42fs.ids import VP
from k42fs.machine.thread import Thread
from k42fs.servers.object_policy import Kind

MANY: Final = 32
PAGE: Final = 4096
APART: Final = 1 << 16
"""From one writer's place in the file to the next one's."""

STRETCH: Final = 300_000
SHARED: Final[dict[Kind, str]] = {"ServerFile": "shared", "FileCache": "single"}
RANGED: Final[dict[Kind, str]] = {"ServerFile": "ranged", "FileCache": "partitioned"}


class OneFile(Site):
    """A site with one file that each processor has open, with a page of its own in it."""

    def __init__(self, chosen: dict[Kind, str]) -> None:
        super().__init__(MANY, chosen)
        self.opened: list[Any] = []
        self.once(self._prepare)

    async def _prepare(self, th: Thread) -> None:
        for vp in range(MANY):
            _, opened = await self.call(th, "create", self.root, b"file", 0o644, O_RDWR)
            await self.call(th, "write", opened, vp * APART, bytes(PAGE))
            self.opened.append(opened)


async def write(site: Site, th: Thread, turn: int) -> None:
    """Write one's own page once more."""
    assert isinstance(site, OneFile), f"{site!r} has no file"
    await site.call(th, "write", site.opened[th.vp], th.vp * APART, bytes(PAGE))


async def read(site: Site, th: Thread, turn: int) -> None:
    """Read one's own page."""
    assert isinstance(site, OneFile), f"{site!r} has no file"
    await site.call(th, "read", site.opened[th.vp], th.vp * APART, PAGE)


async def small_file(site: Site, th: Thread, turn: int) -> None:
    """Make a small file, write it, read it again, remove it."""
    file, opened = await site.call(th, "create", site.root, b"file", 0o644, O_RDWR)
    for at in range(4):
        await site.call(th, "write", opened, at * 1000, bytes(1000))
    await site.call(th, "release", opened)
    opened = await site.call(th, "open", file, 0)
    for at in range(4):
        await site.call(th, "read", opened, at * 1000, 1000)
    await site.call(th, "release", opened)
    await site.call(th, "unlink", site.root, b"file")


def rows(*, quick: bool) -> Iterator[Row]:
    """Yield the rows; rates are operations per million cycles."""
    stretch = STRETCH // 4 if quick else STRETCH
    for what, operation, aim, low in (("write", write, ">= 10", 10), ("read", read, "", None)):
        shared, ranged = (OneFile(chosen).rate(operation, stretch) for chosen in (SHARED, RANGED))
        title = f"file, {MANY} processors: {what} pages of their own"
        yield Row(title, shared, ranged, "per Mcycle", ranged / shared, aim, low)
        site = OneFile(SHARED)
        site.adapt(operation, "many-writers", "contended-cache")
        adapted = site.rate(operation, stretch)
        title = f"file, {MANY} processors, adapt=act: {what} pages of their own"
        yield Row(title, ranged, adapted, "per Mcycle", adapted / ranged, ">= 0.9", 0.9)
    shared, exclusive = (
        Site(1, {"ServerFile": implementation}).rate(small_file, STRETCH)
        for implementation in ("shared", "exclusive")
    )
    title = "small files, one user: make, write, read, remove"
    yield Row(title, shared, exclusive, "per Mcycle", exclusive / shared, ">= 1.3", 1.3)
    adapted_site = Site(1, {})
    adapted_site.adapt(small_file, "small-file")
    adapted = adapted_site.rate(small_file, STRETCH)
    title = "small files, one user, adapt=act: make, write, read, remove"
    yield Row(title, exclusive, adapted, "per Mcycle", adapted / exclusive, ">= 0.9", 0.9)
    yield _swapped()


def _swapped() -> Row:
    """Return what swapping an idle file that all have used costs, there and back."""
    site = OneFile(SHARED)
    cycles = []
    for implementation in ("ranged", "shared"):
        for vp in range(MANY):
            site.machine.spawn(VP(vp), _use, site)
        site.machine.run()
        cycles.append(site.swap(site.opened[0].ref, implementation).cycles)
    title = f"idle file, used by {MANY}: swap there, and back"
    return Row(title, cycles[0], cycles[1], "cycles", max(cycles) / MANY, "< 2,000 each", None, 2000)


async def _use(th: Thread, site: OneFile) -> None:
    await write(site, th, 0)
