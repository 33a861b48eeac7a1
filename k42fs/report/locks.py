"""`locks`: what lock_stat knows of each lock, from Acquire and Release, and what it cannot know: object, holder.

A contention is an acquisition that waited; a bounce is one where another processor held the lock before
("involved data of another CPU", as lock_stat has it). Readers and writers of a lock are counted apart. Both
sides of a contention are named by call site: the waiter's own, and the holder's when the wait began.

Times are ticks here; tables give them in nanoseconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from k42fs.report.filters import Source
from k42fs.report.lock_stat import fitting, lock_stat
from k42fs.report.names import LockName
from k42fs.report.tables import Column, Report, Table, count, microseconds

READ: Final = 2
"""The kind of an acquisition by a reader; see lock_kind in the schema."""

NOBODY: Final = (1 << 64) - 1


@dataclass(slots=True)
class Times:
    """Durations of one kind: how many, the shortest that is not 0, the longest, all together."""

    count: int = 0
    min: int = 0
    max: int = 0
    total: int = 0

    def add(self, ticks: int, times: int = 1) -> None:
        self.count += times
        self.total += ticks * times
        if ticks > self.max:
            self.max = ticks
        if ticks and (ticks < self.min or not self.min):
            self.min = ticks

    def join(self, other: Times) -> None:
        """Add what *other* has seen."""
        self.count += other.count
        self.total += other.total
        self.max = max(self.max, other.max)
        self.min = min(filter(None, (self.min, other.min)), default=0)


@dataclass(slots=True)
class Side:
    """The readers, or the others, of a lock."""

    contention_bounces: int = 0
    acquisition_bounces: int = 0
    waited: Times = field(default_factory=Times)
    held: Times = field(default_factory=Times)
    acquisitions: int = 0

    def join(self, other: Side) -> None:
        self.contention_bounces += other.contention_bounces
        self.acquisition_bounces += other.acquisition_bounces
        self.acquisitions += other.acquisitions
        self.waited.join(other.waited)
        self.held.join(other.held)


@dataclass(slots=True)
class Totals:
    """One lock, or all locks of a class. `waiters` and `holders` count contentions by call site; `since` when it was
    first used."""

    name: str = ""
    object: str = ""
    lock: int = 0
    since: int = 0
    write: Side = field(default_factory=Side)
    read: Side = field(default_factory=Side)
    waiters: Counter[int] = field(default_factory=Counter)
    holders: Counter[int] = field(default_factory=Counter)

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.write, self.read

    @property
    def contentions(self) -> int:
        return self.write.waited.count + self.read.waited.count

    def join(self, other: Totals) -> None:
        self.write.join(other.write)
        self.read.join(other.read)
        self.waiters += other.waiters
        self.holders += other.holders


ORDERS: Final[Mapping[str, Callable[[Totals], int]]] = {
    "time": lambda lock: lock.write.waited.total + lock.read.waited.total,
    "count": lambda lock: lock.contentions,
    "max": lambda lock: max(lock.write.waited.max, lock.read.waited.max),
}


def lock_totals(source: Source) -> dict[tuple[int, LockName | None], Totals]:
    """Return the totals of each lock. An address that was reused for another lock has an entry for each."""
    acquire, release = source.id("lock_acquire"), source.id("lock_release")
    history = source.names.locks
    reused = history.reused()
    found: dict[tuple[int, LockName | None], Totals] = {}
    current: dict[int, Totals] = {}
    inside: dict[tuple[int, int], list[Side]] = {}

    def totals_of(lock: int, time: int) -> Totals:
        name = history.at(lock, time)
        totals = current[lock] = found.setdefault((lock, name), Totals(lock=lock, since=time))
        return totals

    for records in source.records((acquire, release)):
        for time, vp, number, words in records:
            if number == acquire:
                lock, kind, site, waited, from_vp, holder = words
                totals = current.get(lock)
                if totals is None or lock in reused:
                    totals = totals_of(lock, time)
                side = totals.read if kind == READ else totals.write
                side.acquisitions += 1
                bounced = from_vp not in (vp, NOBODY)
                if bounced:
                    side.acquisition_bounces += 1
                if waited:
                    side.waited.add(waited)
                    totals.waiters[site] += 1
                    totals.holders[holder] += 1
                    if bounced:
                        side.contention_bounces += 1
                inside.setdefault((lock, vp), []).append(side)
            else:
                lock, held = words
                # A lock can be released on another processor than it was taken on; then the side is a guess.
                if sides := inside.get((lock, vp)):
                    side = sides.pop()
                else:
                    totals = current.get(lock)
                    side = (totals_of(lock, time) if totals is None else totals).write
                side.held.add(held)
    for (lock, name), totals in found.items():
        _label(totals, lock, name, source)
    return found


def _label(totals: Totals, lock: int, name: LockName | None, source: Source) -> None:
    """Give *totals* the names of its lock and its object."""
    if name is None:
        totals.name = totals.object = f"{lock:#x}"
        return
    owner = source.names.objects.latest(name.owner, totals.since) if name.owner else None
    totals.name = f"{owner.type if owner else name.kind}.{name.name}"
    totals.object = str(owner) if owner else f"{name.kind} {lock:#x}"


def by_class(locks: Mapping[tuple[int, LockName | None], Totals]) -> list[Totals]:
    """Return the totals of each class of locks: a class of objects and the name of the lock in it."""
    classes: dict[str, Totals] = {}
    for totals in locks.values():
        joined = classes.setdefault(totals.name, Totals(totals.name))
        joined.join(totals)
    return list(classes.values())


def by_object(locks: Mapping[tuple[int, LockName | None], Totals]) -> list[Totals]:
    """Return the locks, each named after its object."""
    for totals in locks.values():
        field_name = totals.name.rpartition(".")[2]
        totals.name = f"{totals.object}.{field_name}" if totals.object != totals.name else totals.name
    return list(locks.values())


def ordered(locks: list[Totals], by: str) -> list[Totals]:
    """Return *locks* with the most contended first: by total time waited, by count, or by the longest wait."""
    return sorted(locks, key=lambda lock: (-ORDERS[by](lock), lock.name))


def locks_report(source: Source, by: str = "time", objects: bool = False) -> Report:
    """Return the report: lock_stat's file as its text, and everything as tables."""
    locks = lock_totals(source)
    classes = ordered(by_class(locks), by)
    instances = ordered(by_object(locks), by)
    shown = instances if objects else classes
    text = lock_stat(shown, source.names.site, source.trace.nanoseconds)
    tables = [_table("locks", classes, source), _table("objects", instances, source)]
    return Report(tables, text, screen=_worst(shown, source), narrow=lambda width: fitting(text, width))


def _worst(locks: list[Totals], source: Source) -> Table:
    """Return the locks that were waited for, one line each: what fits on a screen."""
    site, ns = source.names.site, source.trace.nanoseconds
    rows: list[tuple[Any, ...]] = [
        (
            lock.name, lock.contentions, ns(ORDERS["time"](lock)), ns(ORDERS["max"](lock)),
            *(site(sites.most_common(1)[0][0]) for sites in (lock.waiters, lock.holders)),
        )
        for lock in locks
        if lock.contentions
    ]  # fmt: skip
    return Table("worst", SCREEN, rows, "Locks that were waited for; times in us", SCREEN_ROWS)


def _table(name: str, locks: list[Totals], source: Source) -> Table:
    rows: list[tuple[Any, ...]] = []
    ns = source.trace.nanoseconds
    for totals in locks:
        for mode, side in zip(("write", "read"), totals.sides, strict=True):
            if not side.acquisitions and not side.held.count:
                continue
            rows.append(
                (
                    totals.name, totals.object, f"{totals.lock:#x}" if totals.lock else "", mode,
                    side.contention_bounces, side.waited.count,
                    *(ns(value) for value in _spread(side.waited)),
                    side.acquisition_bounces, side.acquisitions,
                    *(ns(value) for value in _spread(side.held)),
                    _sites(totals.waiters, source), _sites(totals.holders, source),
                )
            )  # fmt: skip
    return Table(name, COLUMNS, rows)


def _spread(times: Times) -> tuple[int, int, int, int]:
    return times.min, times.max, times.total, times.total // times.count if times.count else 0


def _sites(sites: Counter[int], source: Source) -> list[list[object]]:
    return [[source.names.site(site), times] for site, times in sites.most_common()]


def _sites_shown(value: list[list[object]]) -> str:
    return ", ".join(f"{times}x {site}" for site, times in value[:2])


SCREEN_ROWS: Final = 10
SCREEN: Final = (
    Column("lock", "lock", left=True),
    Column("contentions", "waits", count),
    Column("waited_ns", "waited", microseconds),
    Column("max_ns", "longest", microseconds),
    Column("waiter", "most waits at", left=True, below=True),
    Column("holder", "while held at", left=True, below=True),
)
COLUMNS: Final = (
    Column("class_name", "class name", left=True),
    Column("object", "object", left=True),
    Column("lock", "lock"),
    Column("mode", "mode"),
    Column("con_bounces", "con-bounces", count),
    Column("contentions", "contentions", count),
    Column("waittime_min_ns", "waittime-min", microseconds),
    Column("waittime_max_ns", "waittime-max", microseconds),
    Column("waittime_total_ns", "waittime-total", microseconds),
    Column("waittime_avg_ns", "waittime-avg", microseconds),
    Column("acq_bounces", "acq-bounces", count),
    Column("acquisitions", "acquisitions", count),
    Column("holdtime_min_ns", "holdtime-min", microseconds),
    Column("holdtime_max_ns", "holdtime-max", microseconds),
    Column("holdtime_total_ns", "holdtime-total", microseconds),
    Column("holdtime_avg_ns", "holdtime-avg", microseconds),
    Column("waiters", "waiters", _sites_shown, left=True),
    Column("holders", "holders", _sites_shown, left=True),
)
