"""lock_stat's file, version 0.4, as Linux writes /proc/lock_stat: whatever reads that reads this.

Twelve columns of 14 after a name of 40; times in microseconds with two decimals, rounded half up. Below a lock
that was contended: up to four sites that waited, then up to four that held it, each block under dashes of the
name's width; a line of dots ends it. Where the kernel prints a code address, here is the number of the call site.

Format: kernel/locking/lockdep_proc.c (seq_stats, seq_header) and Documentation/locking/lockstat.rst; the code
is ours. Differs: acquisitions are counted where locks are taken, the kernel counts releases.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from k42fs.report.locks import Side, Times, Totals

NAME_WIDTH: Final = 40
NAME_SHOWN: Final = 38
WIDTH: Final = NAME_WIDTH + 1 + 12 * (14 + 1)
POINTS: Final = 4
HEADS: Final = (
    "con-bounces", "contentions", "waittime-min", "waittime-max", "waittime-total", "waittime-avg",
    "acq-bounces", "acquisitions", "holdtime-min", "holdtime-max", "holdtime-total", "holdtime-avg",
)  # fmt: skip

Site = Callable[[int], str]
Nanoseconds = Callable[[int], int]


def lock_stat(locks: Sequence[Totals], site: Site, nanoseconds: Nanoseconds) -> str:
    """Return the file for *locks*, in their order. *site* names call sites, *nanoseconds* converts ticks."""
    rule = "-" * WIDTH
    heads = " ".join(f"{head:>14}" for head in HEADS)
    lines = ["lock_stat version 0.4", rule, f"{'class name':>{NAME_WIDTH}} {heads}", rule, ""]
    for lock in locks:
        lines += _lock(lock, site, nanoseconds)
    return "\n".join(lines) + "\n"


def fitting(text: str, width: int) -> str:
    """Return the file *text* where a terminal is wide enough for it, else how to see it."""
    if width >= WIDTH:
        return text
    return f"(lock_stat's file, {WIDTH} columns wide, goes to files and pipes: | less -S)\n"


def _lock(lock: Totals, site: Site, nanoseconds: Nanoseconds) -> Iterator[str]:
    name = lock.name[: NAME_SHOWN - 1]
    has_readers = bool(lock.read.held.count or lock.read.acquisitions)
    if lock.write.held.count or lock.write.acquisitions:
        title = f"{name:>{NAME_SHOWN}}-W:" if has_readers else f"{name:>{NAME_WIDTH}}:"
        yield title + _numbers(lock.write, nanoseconds)
    if has_readers:
        yield f"{name:>{NAME_SHOWN}}-R:" + _numbers(lock.read, nanoseconds)
    if not lock.contentions:
        return
    dashes = len(name) + (2 if has_readers else 0)
    for sites in (lock.waiters, lock.holders):
        yield " " * (NAME_WIDTH - dashes) + "-" * dashes
        yield from _points(name, sites, site)
    yield ""
    yield "." * WIDTH
    yield ""


def _numbers(side: Side, nanoseconds: Nanoseconds) -> str:
    waited, held = _times(side.waited, nanoseconds), _times(side.held, nanoseconds)
    return (
        f"{side.contention_bounces:14d} {side.waited.count:14d}{waited} "
        f"{side.acquisition_bounces:14d} {side.acquisitions:14d}{held}"
    )


def _times(times: Times, nanoseconds: Nanoseconds) -> str:
    total = nanoseconds(times.total)
    values = (
        nanoseconds(times.min),
        nanoseconds(times.max),
        total,
        total // times.count if times.count else 0,
    )
    return "".join(f" {_microseconds(value):>14}" for value in values)


def _microseconds(ns: int) -> str:
    """Return "12.35" for 12345 to 12354."""
    ns += 5
    return f"{ns // 1000}.{ns % 1000 // 10:02d}"


def _points(name: str, sites: Counter[int], site: Site) -> Iterator[str]:
    for number, times in sites.most_common(POINTS):
        yield f"{name:>{NAME_WIDTH}} {times:14d} {f'[<{number:016x}>]':>29} {site(number)}"
