"""A recording as what stock viewers know: tracks with slices, moments, arrows, and levels of counters.

One track per modelled processor shows who runs on it. What takes time and need not nest with that (a request, a
call, a lock held or waited for) is on tracks of its own beside it, by kind: slices of one track lie side by side or
one within the other, as viewers demand; where two overlap, the later one goes to a further track.

Which events begin, end, switch, connect or count is said by the schema's attributes, so that an event added there is
exported without a change here. Times are nanoseconds from the recording's first event.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from k42fs.machine.tracing.schema import Event
from k42fs.report.decode import Record
from k42fs.report.export_args import Args, args_maker
from k42fs.report.fields import getter
from k42fs.report.filters import Source
from k42fs.report.kmon import Entities

RUNNING: Final = ""
"""The kind of the track that shows who runs."""

WAITING: Final = "wait"

KINDS: Final = {RUNNING: 0, "request": 1, "syscall": 2, "call": 3, WAITING: 4, "hold": 5}
"""In which order the tracks of a processor are shown; others follow."""

STEP: Final = 3
"""Between the orders of two events: the ends of a wait, which has no events of its own, fit between."""


@dataclass(frozen=True, slots=True)
class Track:
    """Where slices are drawn: which processor's, what kind, and the how manieth of that kind."""

    number: int
    processor: int
    kind: str
    lane: int

    @property
    def name(self) -> str:
        parts = [f"cpu{self.processor}", self.kind, str(self.lane + 1) if self.lane else ""]
        return " ".join(part for part in parts if part)


@dataclass(slots=True)
class Slice:
    """Something that took from `begin` to `end` (ns). Orders are places among all events, to settle equal times."""

    begin: int
    end: int
    order: int
    end_order: int
    processor: int
    kind: str
    name: str
    category: str
    args: Args
    track: int = -1


@dataclass(slots=True)
class Moment:
    """Something that took no time. `flow`: the number of the arrow that begins (`is_out`) or ends here, or 0."""

    time: int
    order: int
    processor: int
    name: str
    category: str
    args: Args
    flow: int = 0
    is_out: bool = False


@dataclass(frozen=True, slots=True)
class Level:
    """What a counter of a processor stands at from `time` on."""

    time: int
    order: int
    processor: int
    name: str
    value: int


@dataclass(slots=True)
class _Open:
    """An interval that has begun. `words` are its first event's."""

    event: Event
    record: Record
    order: int


@dataclass(slots=True)
class Timeline:
    """What a recording shows. `tracks[n].number == n`; slices are in order of (begin, order).

    `unmatched` counts ends without a beginning (it was before the recording): they are not shown.
    `unfinished` counts slices that end with the recording; their args say so.
    """

    title: str
    tracks: list[Track] = field(default_factory=list)
    slices: list[Slice] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    levels: list[Level] = field(default_factory=list)
    processors: list[int] = field(default_factory=list)
    end: int = 0
    unmatched: int = 0
    unfinished: int = 0
    losses: list[str] = field(default_factory=list)

    def items(self) -> list[tuple[int, int, str, Any]]:
        """Return everything in order: (time, order, "begin" | "end" | "moment" | "level", the Slice, ...)."""
        # What ends at the very event at which something else begins ends first: sorting keeps this order.
        found: list[tuple[int, int, str, Any]] = [
            (each.end, each.end_order, "end", each) for each in self.slices
        ]
        found += [(each.begin, each.order, "begin", each) for each in self.slices]
        found += [(each.time, each.order, "moment", each) for each in self.moments]
        found += [(each.time, each.order, "level", each) for each in self.levels]
        found.sort(key=lambda each: each[:2])
        return found

    def running_tracks(self) -> dict[int, int]:
        """Return the number of the track that shows who runs, for each processor."""
        return {track.processor: track.number for track in self.tracks if track.kind == RUNNING}


def timeline(source: Source) -> Timeline:
    """Return what *source* shows. Takes memory for every event."""
    return _Builder(source).build()


class _Builder:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.names = source.names
        self.begin = source.begin
        self.made = Timeline(source.trace.path.resolve().name, processors=list(source.processors))
        self.entities = Entities(source.trace.schema, source.names, "process")
        self.running: dict[int, tuple[int, int, int]] = {}
        self.open: dict[tuple[str, ...], list[_Open]] = {}
        self.flows: dict[tuple[str, int], int] = {}
        self.ended: set[int] = set()
        self.arrows = count(1)
        self.makers = {each.id: args_maker(each, source) for each in source.trace.schema.events()}
        self.handlers: dict[int, list[Callable[[Event, Record, int], None]]] = {
            each.id: self._handlers(each) for each in source.trace.schema.events()
        }

    def _handlers(self, event: Event) -> list[Callable[[Event, Record, int], None]]:
        found: list[Callable[[Event, Record, int], None]] = []
        if event.context:
            found.append(self._switch)
        if event.interval:
            found.append(self._start if event.interval.is_start else self._stop)
        found += [self._level] if event.counters else []
        if event.attribute == "lock_acquire":
            found.append(self._waited)
        if event.attribute != "exception_context" and not event.interval and not event.counters:
            found.append(self._moment)
        return found

    def build(self) -> Timeline:
        by_id = self.source.trace.schema.by_id
        order, last = 0, self.begin
        for piece in self.source.records():
            for record in piece:
                order += STEP
                event = by_id[record[2]]
                for handle in self.handlers[record[2]]:
                    handle(event, record, order)
            last = piece[-1][0]
            self.entities.learn(piece)
        self._finish(last, order + STEP)
        return self.made

    def _ns(self, ticks: int) -> int:
        return self.source.trace.nanoseconds(max(ticks - self.begin, 0))

    def args(self, record: Record) -> Args:
        """Return the fields of a record by name."""
        return self.makers[record[2]](record[0], record[3])

    def _switch(self, event: Event, record: Record, order: int) -> None:
        time, cpu, number, words = record
        entity = self.entities.readers[number](words)
        was = self.running.get(cpu)
        if was is None or was[0] != entity:
            self._ran(cpu, time, order)
            self.running[cpu] = (entity, time, order)

    def _ran(self, cpu: int, time: int, order: int) -> None:
        """End the slice of what ran on *cpu*; idling is no slice."""
        if cpu in self.running:
            entity, since, began = self.running.pop(cpu)
            begin, end = self._ns(since), self._ns(time)
            if not self.entities.is_idle(entity):
                # The name follows: processes are named by events that may be read later.
                made = Slice(begin, end, began, order, cpu, RUNNING, "", "Exception", {"entity": entity})
                self.made.slices.append(made)

    def _start(self, event: Event, record: Record, order: int) -> None:
        self.open.setdefault(_key(event, record), []).append(_Open(event, record, order))

    def _stop(self, event: Event, record: Record, order: int) -> None:
        key = _key(event, record)
        if not self.open.get(key):
            self.made.unmatched += 1
            return
        began = self.open[key]
        # A lock read by several processors is held once on each.
        same = [each for each in began if each.record[1] == record[1]]
        start = same[-1] if same else began[0]
        began.remove(start)
        if not began:
            del self.open[key]
        more = {name: value for name, value in self.args(record).items() if name not in start.event.by_name}
        self._slice(start, record[0], order, more)

    def _slice(self, start: _Open, end: int, order: int, more: Args) -> None:
        assert start.event.interval is not None, "asked only for intervals"
        time, cpu, _, _ = start.record
        args = self.args(start.record)
        self.made.slices.append(
            Slice(
                self._ns(time),
                self._ns(end),
                start.order,
                order,
                cpu,
                start.event.interval.name,
                self._called(start.event, start.record, args),
                start.event.class_name,
                args | more,
            )
        )

    def _called(self, event: Event, record: Record, args: Args) -> str:
        """Return what an interval that begins with *event* is called in a picture."""
        assert event.interval is not None, "asked only for intervals"
        words = record[3]
        if event.attribute == "clust_obj_call":
            return ".".join(self.names.method(getter(event.by_name["method"])(words)))
        if event.attribute == "fuse_op_enter":
            return self.names.op(getter(event.by_name["opcode"])(words))
        if event.attribute == "lock_acquire":
            return f"hold {self._lock(words[0], record[0])}"
        if event.interval.name == "syscall":
            return str(args["call"])
        return event.interval.name

    def _lock(self, lock: int, time: int) -> str:
        found = self.names.locks.at(lock, time)
        if found is None:
            return f"{lock:#x}"
        owner = self.names.objects.at(found.owner, time)
        return f"{owner.type}.{found.name}" if owner else found.name

    def _waited(self, event: Event, record: Record, order: int) -> None:
        """Show how long the lock was waited for; the event at its end says so."""
        time, cpu, _, words = record
        waited = getter(event.by_name["waited"])(words)
        if waited:
            begin, name = self._ns(time - waited), f"wait for {self._lock(words[0], time)}"
            args = self.args(record)
            self.made.slices.append(
                Slice(begin, self._ns(time), order - 2, order - 1, cpu, WAITING, name, event.class_name, args)
            )

    def _moment(self, event: Event, record: Record, order: int) -> None:
        moment = Moment(
            self._ns(record[0]), order, record[1], event.name, event.class_name, self.args(record)
        )
        if event.flow is not None:
            way, name = event.flow
            self._connect(moment, way, (name, getter(event.by_name[name])(record[3])))
        self.made.moments.append(moment)

    def _connect(self, moment: Moment, way: str, key: tuple[str, int]) -> None:
        """Give the two ends of an arrow one number; an end whose beginning is not recorded gets none."""
        if way == "out":
            self.flows[key] = moment.flow = next(self.arrows)
            moment.is_out = True
        elif key in self.flows:
            moment.flow = self.flows.pop(key)
            self.ended.add(moment.flow)

    def _level(self, event: Event, record: Record, order: int) -> None:
        for name in event.counters:
            value = getter(event.by_name[name])(record[3])
            self.made.levels.append(
                Level(self._ns(record[0]), order, record[1], f"{event.class_name} {name}", value)
            )

    def _finish(self, last: int, order: int) -> None:
        for cpu in list(self.running):
            self._ran(cpu, last, order)
        for began in self.open.values():
            for start in began:
                self.made.unfinished += 1
                self._slice(start, last, order, {"unfinished": "the recording ends before"})
        for moment in self.made.moments:
            if moment.flow not in self.ended:
                moment.flow = 0
        known, pids = self.entities.named(), self.entities.pids()
        for each in self.made.slices:
            if each.kind == RUNNING:
                entity = int(each.args["entity"])
                each.name = known[entity].name
                each.args = {"pid": pids[entity]}
        self.made.slices.sort(key=lambda each: (each.begin, each.order))
        self.made.end = self._ns(last)
        self.made.losses = self.source.trace.loss.sentences()
        self._place()

    def _place(self) -> None:
        """Give every slice a track: the first of its kind on its processor where it overlaps none."""
        lanes: dict[tuple[int, str], list[list[tuple[int, int]]]] = defaultdict(list)
        where: list[tuple[int, str, int]] = []
        for each in self.made.slices:
            own = lanes[each.processor, each.kind]
            lane = next((lane for lane, within in enumerate(own) if _fits(within, each)), len(own))
            if lane == len(own):
                own.append([(each.end, each.end_order)])
            where.append((each.processor, each.kind, lane))
        # Viewers show tracks in the order of their numbers: a processor's together, from the caller down.
        wanted = {*where, *((cpu, RUNNING, 0) for cpu in self.made.processors)}
        order = sorted(wanted, key=lambda place: (place[0], KINDS.get(place[1], len(KINDS)), place))
        numbers = {place: number for number, place in enumerate(order)}
        self.made.tracks = [Track(number, *place) for place, number in numbers.items()]
        for each, place in zip(self.made.slices, where, strict=True):
            each.track = numbers[place]


def _key(event: Event, record: Record) -> tuple[str, ...]:
    """Return what the two ends of an interval have in common."""
    assert event.interval is not None, "asked only for intervals"
    values = (getter(event.by_name[name])(record[3]) for name in event.interval.match)
    return event.interval.name, *map(str, values)


def _fits(within: list[tuple[int, int]], each: Slice) -> bool:
    """Return whether a slice can be drawn in a lane where *within* are the ends of those not yet over; note it."""
    while within and within[-1] <= (each.begin, each.order):
        within.pop()
    if within and within[-1] < (each.end, each.end_order):
        return False
    within.append((each.end, each.end_order))
    return True


def counted(made: Timeline) -> Iterator[str]:
    """Yield what a user must know of an export, a sentence each."""
    if made.unmatched:
        yield f"{made.unmatched:,} intervals that began before the recording are not shown"
    if made.unfinished:
        yield f"{made.unfinished:,} intervals did not end in the recording: they are shown until its end"
    yield from made.losses
