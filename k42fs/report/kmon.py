"""kmon's timeline of a recording: a row per processor, coloured by who ran.

`chart` reads a recording once into rows; kmon_svg draws them, kmon_page makes a page to look around in.
Who runs is known from events that switch contexts (class Exception); without them a row shows only that there
was something to record. Every processor is billed for the whole time, by the rule of `time` (running.py).

K42: tools/misc/kmon. Differs: which events switch is derived from the schema, not listed; K42's list missed some.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from k42fs.machine.tracing.formats import formatter
from k42fs.machine.tracing.packing import unpack
from k42fs.machine.tracing.schema import Event, Schema
from k42fs.report.decode import Record
from k42fs.report.filters import Source
from k42fs.report.kmon_rows import UNKNOWN, Row
from k42fs.report.kmon_scan import RowDecoder, Special
from k42fs.report.names import Names
from k42fs.report.running import IDLE, REQUEST, Running, State

KERNEL_COLOR: Final = "#e0453a"
IDLE_COLOR: Final = "#2f5fd0"
UNKNOWN_COLOR: Final = "#5b6675"
COLORS: Final = ("#3fd0d4", "#57c84d", "#d65fd0", "#f0953a", "#f4a6c0", "#c4c9d0", "#ecd94a")
"""K42's, by number mod 7: cyan, green, magenta, orange, pink, light grey, yellow."""

MODE_COLORS: Final = {"idle": IDLE_COLOR, "unknown": UNKNOWN_COLOR, "fault": KERNEL_COLOR}
SPAWNS: Final = {"user_spawn": 3, "user_start_exec": 1}
"""Events that name a process: which word of the payload holds the name. The first one is the pid."""

ENTITIES_MAX: Final = 60_000
WAYS: Final = ("process", "owner", "domain", "mode")


@dataclass(frozen=True, slots=True)
class Entity:
    """What can run on a processor, to a picture."""

    name: str
    color: str


@dataclass(slots=True)
class Chart:
    """A recording as rows. `kinds` names the events, `entities` what ran; times in ticks, `end` excluded.

    What is shown is counted from `origin`, the recording's first event, as all reports do.
    """

    title: str
    by: str
    ticks_per_second: int
    origin: int
    begin: int
    end: int
    rows: list[Row]
    entities: list[Entity]
    kinds: list[str]
    losses: list[str] = field(default_factory=list)

    @property
    def events(self) -> int:
        return sum(len(row.times) for row in self.rows)

    def ticks_by_entity(self) -> dict[int, int]:
        """Return for how long each entity ran, over all rows: processors x time, as `time` bills it."""
        total: Counter[int] = Counter()
        for row in self.rows:
            total.update(row.ticks_by_entity(self.begin, self.end - 1))  # the last event takes no time
        return dict(total)


class Entities:
    """Numbers what runs as it is met. Number 0 is what is not known."""

    def __init__(self, schema: Schema, names: Names, by: str) -> None:
        self.by = by
        self._names = names
        self._processes: dict[int, str] = {}
        self._spawns = {schema.by_attribute[name].id: word for name, word in SPAWNS.items()}
        self._modes = schema.types["mode"].values
        self._numbers: dict[tuple[int, int], int] = {(-1, 0): UNKNOWN}
        self._met: dict[int, int] = {}
        self.readers = {each.id: self._reader(each) for each in schema.events() if each.context}
        self.special = {*self.readers, *self._spawns}

    def _reader(self, event: Event) -> Callable[[list[int]], int]:
        """Return a function from payload words to the number of what runs after *event*."""
        if event.context == "0":
            return lambda _: self.number(0)
        c, known = event.by_name[str(event.context)].word, self._met

        def read(words: list[int]) -> int:
            found = known.get(words[c])  # nearly always: this is called for millions
            return self.number(words[c]) if found is None else found

        return read

    def number(self, c: int) -> int:
        """Return the number of what runs when c runs."""
        found = self._met.get(c)
        if found is None:
            found = self._met[c] = self._numbered(self._process(c))
        return found

    def _numbered(self, key: tuple[int, int]) -> int:
        if key not in self._numbers:
            self._numbers[key] = len(self._numbers) if len(self._numbers) < ENTITIES_MAX else UNKNOWN
        return self._numbers[key]

    def _process(self, c: int) -> tuple[int, int]:
        """Return (pid, domain). Of processes only one domain counts, of the kernel whether it is idle."""
        pid, domain = c >> 32, c >> 16 & 0xFFFF
        if pid == 0:
            return 0, min(domain, 1)
        return pid, domain if self.by == "domain" else 0

    def take(self, row: Row, specials: Sequence[Special]) -> None:
        """Note in *row* who runs from when on, and what processes are called."""
        readers, switches, entities = self.readers, row.switches, row.switch_entities
        last = entities[-1] if entities else UNKNOWN
        for index, number, words in specials:
            if number in readers:
                entity = readers[number](words)
                if entity != last:  # as Row.switch: called for millions, it would take half of the time
                    switches.append(index)
                    entities.append(entity)
                    last = entity
            else:
                self._processes[words[0]] = self._names.text(words[self._spawns[number]])

    def learn(self, records: Sequence[Record]) -> None:
        """Learn what processes are called."""
        for _, _, number, words in records:
            if number in self._spawns:
                self._processes[words[0]] = self._names.text(words[self._spawns[number]])

    def is_idle(self, number: int) -> bool:
        """Return whether *number*, which this gave, stands for idling."""
        return number == self._numbers.get((0, 1))

    def pids(self) -> dict[int, int]:
        """Return the process that each number given so far stands for; the kernel's is 0, as is what is unknown."""
        return {number: max(key[0], 0) for key, number in self._numbers.items()}

    def named(self) -> list[Entity]:
        """Return every entity met, by its number."""
        name = self._mode if self.by == "mode" else self._named_process
        known = {number: name(*key) for key, number in self._numbers.items() if number}
        return [Entity("unknown", UNKNOWN_COLOR), *(known[number] for number in sorted(known))]

    def _mode(self, mode: int, _: int) -> Entity:
        name = self._modes[mode] if mode < len(self._modes) else f"mode {mode}"
        return Entity(name, MODE_COLORS.get(name, COLORS[mode % len(COLORS)]))

    def _named_process(self, pid: int, domain: int) -> Entity:
        if pid == 0:
            return Entity("idle", IDLE_COLOR) if domain else Entity("kernel", KERNEL_COLOR)
        name = f"{self._processes[pid]} ({pid})" if pid in self._processes else f"pid {pid}"
        if self.by == "domain":
            name += f", domain {domain}"
        return Entity(name, COLORS[pid % len(COLORS)])


class States(Entities):
    """What runs by owner or by mode, which only the whole state of a processor tells: see running.py."""

    def __init__(self, source: Source, by: str) -> None:
        super().__init__(source.trace.schema, source.names, by)
        self._source = source
        self._running: dict[int, Running] = {}
        self._known: dict[State, int] = {}
        self.special = {*Running(source).wanted, *self._spawns}

    def take(self, row: Row, specials: Sequence[Special]) -> None:
        if row.cpu not in self._running:
            self._running[row.cpu] = Running(self._source)
        running, known = self._running[row.cpu], self._known
        for index, number, words in specials:
            if number in self._spawns:
                self._processes[words[0]] = self._names.text(words[self._spawns[number]])
                continue
            state = running.take(number, words)
            entity = known.get(state)
            if entity is None:
                entity = known[state] = self._numbered(self._key(state))
            row.switch(index, entity)

    def _key(self, state: State) -> tuple[int, int]:
        if self.by == "owner":
            return state.owner, int(state == IDLE)
        mode = "syscall" if state.mode.startswith(REQUEST) else state.mode
        return (-1 if mode == "unknown" else self._modes.index(mode)), 0


def chart(source: Source, by: str = "process") -> Chart:
    """Read *source* into rows, coloured *by* one of WAYS.

    Without a filter but by time and processor, what runs at the beginning is known from what came before.
    """
    trace = source.trace
    since, until = source.begin, source.end
    only = source.filter
    is_narrow = any(each is not None for each in (only.classes, only.object, only.path, only.pid))
    entities = States(source, by) if by in ("owner", "mode") else Entities(trace.schema, source.names, by)
    events = list(trace.schema.events())
    kinds = {event.id: index for index, event in enumerate(events)}
    rows = []
    for cpu in source.processors:
        row = Row(cpu)
        decoder = RowDecoder(trace.schema, trace.newer, row, kinds, entities.special, entities.take)
        if is_narrow:
            for records in source.of(cpu):
                decoder.take(records)
        else:
            for _ in trace.records(trace.streams[cpu], None, 0, until, decoder):
                pass
        rows.append(row.part(since, until + 1))
    begin, end = since, until + 1
    return Chart(
        trace.path.resolve().name,
        by,
        trace.ticks_per_second,
        trace.begin,
        begin,
        end,
        rows,
        entities.named(),
        [event.qualified for event in events],
        trace.loss.sentences(),
    )


def said(source: Source, begin: int, end: int) -> dict[int, list[str]]:
    """Return what each event from tick *begin* to before *end* says, by processor."""
    names = source.names
    events = {each.id: each for each in source.trace.schema.events()}
    show = {number: formatter(event, names.text, names.site) for number, event in events.items()}
    return {
        cpu: [
            show[number](unpack(events[number], [0, *words]))
            for records in source.of(cpu)
            for time, _, number, words in records
            if begin <= time < end
        ]
        for cpu in source.processors
    }
