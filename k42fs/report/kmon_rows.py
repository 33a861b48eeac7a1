"""The rows of kmon's timeline, and the rule by which a column of pixels says how much it hides.

A column's colour is the entity (a process, say) that ran over it, the last one if several did. Its height is
honest: full if at most one event falls in the column, three quarters if several events of one entity do, half if
of several entities. So a picture of a long recording does not look like one of a short one.

A column is kept as (entity, state). States of neighbours combine: those of a wide column follow from those of
the narrow columns in it, so a page can zoom out over columns that were counted once.

K42: tools/misc/kmon. Differs: what ran before the first switch of a processor is unknown, and shown as such.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

try:
    from k42fs.report.kmon_fast import cut, ran
except ImportError:
    cut = ran = None  # type: ignore[assignment]

UNKNOWN: Final = 0
"""The entity of a processor before its first switch, and of one without switches."""

NO_EVENT: Final = 0
ONE_EVENT: Final = 1
MANY_EVENTS: Final = 2
EVENTS: Final = 3
SEVERAL: Final = 4
"""More than one entity ran."""

BEFORE: Final = 8
"""The processor has recorded nothing yet: what ran is unknown, and is not counted as another entity."""


@dataclass(slots=True)
class Row:
    """What one processor recorded: every event's time in ticks, ascending, and its kind; and its switches.

    Shapes: `times`, `kinds` one value per event; per change of entity its event's index in them, and the entity.
    """

    cpu: int
    times: array[int] = field(default_factory=lambda: array("Q"))
    kinds: array[int] = field(default_factory=lambda: array("H"))
    switches: array[int] = field(default_factory=lambda: array("L"))
    switch_entities: array[int] = field(default_factory=lambda: array("H"))

    def switch(self, index: int, entity: int) -> None:
        """From event *index* on, *entity* runs; nothing changes if it ran already."""
        if (self.switch_entities[-1] if self.switch_entities else UNKNOWN) != entity:
            self.switches.append(index)
            self.switch_entities.append(entity)

    def part(self, since: int, until: int) -> Row:
        """Return the row from tick *since* to before *until*. What ran at its beginning is known."""
        first, after = bisect_left(self.times, since), bisect_left(self.times, until)
        if first == 0 and after == len(self.times):
            return self
        part = Row(self.cpu, self.times[first:after], self.kinds[first:after])
        low, high = bisect_left(self.switches, first), bisect_left(self.switches, after)
        if low and first < after and (low == high or self.switches[low] > first):
            part.switch(0, self.switch_entities[low - 1])
        for index, entity in zip(self.switches[low:high], self.switch_entities[low:high], strict=True):
            part.switch(index - first, entity)
        return part

    def ticks_by_entity(self, begin: int, end: int) -> dict[int, int]:
        """Return for how long each entity ran from *begin* to *end*."""
        if ran is not None:
            return ran(self.times, self.switches, self.switch_entities, begin, end)
        ticks: dict[int, int] = {}
        at, entity = begin, UNKNOWN
        for index, new in zip(self.switches, self.switch_entities, strict=True):
            if (until := min(self.times[index], end)) > at:
                ticks[entity] = ticks.get(entity, 0) + until - at
                at = until
            entity = new
        if end > at:
            ticks[entity] = ticks.get(entity, 0) + end - at
        return ticks


@dataclass(frozen=True, slots=True)
class Columns:
    """A row cut into columns: `entities[i]` ran last in column i, `states[i]` says how much is in it."""

    entities: array[int]
    states: bytearray


def edge(begin: int, end: int, count: int, index: int) -> int:
    """Return the first tick of column *index* of *count* that divide begin <= t < end."""
    return begin + -(-(end - begin) * index // count)


def columns(row: Row, begin: int, end: int, count: int) -> Columns:
    """Cut begin <= t < end of *row* into *count* columns.

    Cost: a search per column, not a step per event; compiled, a step per event.
    """
    if cut is not None:
        entities, states = cut(row.times, row.switches, row.switch_entities, begin, end, count)
        if row.times and end > row.times[0]:
            # kmon_fast marks what is after the last event as it does what is before the first.
            states = states.rstrip(bytes([BEFORE])).ljust(count, bytes([NO_EVENT]))
        return Columns(entities, states)
    entities, states = array("H", bytes(2 * count)), bytearray(count)
    first = row.times[0] if row.times else end
    at = bisect_left(row.times, begin)
    switch = bisect_left(row.switches, at)
    current = row.switch_entities[switch - 1] if switch else UNKNOWN
    left = begin
    for index in range(count):
        right = edge(begin, end, count, index + 1)
        after = bisect_left(row.times, right, at)
        state = min(after - at, MANY_EVENTS)
        if state:
            next_switch = bisect_left(row.switches, after, switch)
            if next_switch > switch:
                ran = set(row.switch_entities[switch:next_switch])
                if row.switches[switch] > at or row.times[at] > max(left, first):
                    ran.add(current)
                current = row.switch_entities[next_switch - 1]
                state |= SEVERAL if len(ran) > 1 else 0
                switch = next_switch
        elif right <= first:
            state = BEFORE
        entities[index], states[index] = current, state
        at, left = after, right
    return Columns(entities, states)


def combined(cut: Columns, first: int, after: int) -> tuple[int, int]:
    """Return (entity, state) of the column that columns first..after-1 of *cut* make."""
    entity, state, events = UNKNOWN, BEFORE, 0
    for index in range(first, after):
        one = cut.states[index]
        if one & BEFORE:
            continue
        if not state & BEFORE and entity != cut.entities[index]:
            state |= SEVERAL
        state = state & ~BEFORE | one & SEVERAL
        events += one & EVENTS
        entity = cut.entities[index]
    return entity, state if state & BEFORE else state | min(events, MANY_EVENTS)


def quarters(state: int) -> int:
    """Return how high a column of *state* is drawn, in quarters of the row."""
    if state & EVENTS < MANY_EVENTS:
        return 4
    return 2 if state & SEVERAL else 3
