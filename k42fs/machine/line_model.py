"""One line under a protocol, reduced to what the protocol decides: states, values, directory, memory.

The explorer walks over these. A `LineState` holds each processor's copy with its value, memory's value, the
value last stored and what the home believes. `LineModel.step` does one operation exactly as the tables of
`protocol.py` say and `LineModel.broken` names the invariant that a state violates. There is no time here and
no cache: which line L1 holds is the explorer's.

With silent evictions a copy that is not dirty goes without a word. The home then asks some in vain; an owner
that turns out to have nothing is no owner, and the home goes on as with an uncached line.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Literal, NamedTuple

from k42fs.machine.layout import READ, WRITE
from k42fs.machine.protocol import (
    DIRTY,
    EVICT,
    EXCLUSIVE,
    INVALID,
    OWNED,
    SHARED,
    STATE_NAMES,
    UPGRADE,
    DirState,
    Home,
    Protocol,
    Snoop,
    Step,
)

Interconnect = Literal["bus", "directory"]

CPUS: Final = 3
NOBODY: Final = -1


class Op(IntEnum):
    """What a processor can do to a line. There are two values: an rmw stores the other one."""

    LOAD = 0
    STORE_0 = 1
    STORE_1 = 2
    RMW = 3
    EVICT = 4


OP_WORDS: Final = ("loads", "stores 0 to", "stores 1 to", "flips", "evicts")


class LineState(NamedTuple):
    """A line, seen from above. Of a copy that is INVALID the value is 0, so that equal states are equal.

    On a bus there is no directory: *home*, *owner* and *sharers* (a bit per processor) stay as they began.
    """

    states: tuple[int, int, int]
    values: tuple[int, int, int]
    memory: int
    newest: int
    home: DirState
    owner: int
    sharers: int

    def __str__(self) -> str:
        copies = " ".join(
            f"{STATE_NAMES[state]}{value}" if state else "I "
            for state, value in zip(self.states, self.values, strict=True)
        )
        return f"{copies}  memory {self.memory}"

    def directory(self) -> str:
        """Return what the home believes, as text."""
        sharers = ",".join(str(cpu) for cpu in range(CPUS) if self.sharers >> cpu & 1)
        owner = "" if self.owner == NOBODY else str(self.owner)
        return f"{self.home.name}{{{';'.join(filter(None, (owner, sharers)))}}}"

    @property
    def holders(self) -> int:
        """The processors with a copy, a bit each."""
        return sum(1 << cpu for cpu, state in enumerate(self.states) if state)


START: Final = LineState((INVALID,) * CPUS, (0,) * CPUS, 0, 0, DirState.U, NOBODY, 0)


class ViolationError(Exception):
    """What the protocol did was wrong, or it had no rule for it: the text says what."""


class _Draft:
    """A `LineState` while an operation changes it."""

    def __init__(self, line: LineState) -> None:
        self.states, self.values = list(line.states), list(line.values)
        self.memory, self.newest = line.memory, line.newest
        self.home, self.owner, self.sharers = line.home, line.owner, line.sharers

    def freeze(self) -> LineState:
        a, b, c = self.states
        values = [value if state else 0 for state, value in zip(self.states, self.values, strict=True)]
        return LineState(
            (a, b, c),
            (values[0], values[1], values[2]),
            self.memory,
            self.newest,
            self.home,
            self.owner,
            self.sharers,
        )


class LineModel:
    """The rules for one line: *protocol* over *interconnect*, clean evictions *silent* or told to the home."""

    def __init__(self, protocol: Protocol, interconnect: Interconnect, silent: bool = False) -> None:
        assert not (silent and interconnect == "bus"), "on a bus nobody is told of clean evictions anyway"
        self.protocol = protocol
        self.interconnect = interconnect
        self.silent = silent

    def step(self, line: LineState, cpu: int, op: Op) -> LineState:
        """Return *line* after *op* of *cpu*. Raises ViolationError."""
        draft = _Draft(line)
        if op is Op.EVICT:
            self._evict(draft, cpu)
            return draft.freeze()
        step = self._step(draft.states[cpu], READ if op is Op.LOAD else WRITE)
        if step.request is None:
            draft.states[cpu] = step.alone
        elif self.interconnect == "bus":
            self._over_bus(draft, cpu, step)
        else:
            self._over_directory(draft, cpu, step)
        if draft.values[cpu] != draft.newest and op in (Op.LOAD, Op.RMW):
            raise ViolationError(f"data value: cpu {cpu} reads {draft.values[cpu]}, not {draft.newest}")
        if op is not Op.LOAD:
            value = 1 - draft.newest if op is Op.RMW else int(op is Op.STORE_1)
            draft.values[cpu] = draft.newest = value
        return draft.freeze()

    def broken(self, line: LineState) -> str:
        """Return which invariant *line* violates, or "" if none."""
        owners = [cpu for cpu, state in enumerate(line.states) if state >= OWNED]
        sharers = sum(1 << cpu for cpu, state in enumerate(line.states) if state == SHARED)
        if len(owners) > 1 or (owners and line.states[owners[0]] >= EXCLUSIVE and sharers):
            return "single writer or many readers"
        if any(state and value != line.newest for state, value in zip(line.states, line.values, strict=True)):
            return "data value: a copy is not the newest"
        if line.memory != line.newest and not DIRTY.intersection(line.states):
            return "data value: memory is old and no copy is dirty"
        if self.interconnect == "bus":
            return ""
        return self._directory_error(line, owners[0] if owners else NOBODY, sharers)

    def _directory_error(self, line: LineState, owner: int, sharers: int) -> str:
        shape = (line.owner != NOBODY, bool(line.sharers))
        fits = {
            DirState.U: shape == (False, False),
            DirState.S: shape == (False, True),
            DirState.X: shape == (True, False),
            DirState.O: shape[0],
        }
        if not fits[line.home]:
            return f"directory precision: {line.directory()} is no state of a directory"
        if owner != NOBODY and (line.states[owner] == OWNED) != (line.home is DirState.O):
            return (
                f"directory precision: {line.directory()} but the owner has {STATE_NAMES[line.states[owner]]}"
            )
        if not self.silent:
            exact = line.owner == owner and line.sharers == sharers
            return "" if exact else f"directory precision: {line.directory()} is not who has it"
        # Silent: whoever has a copy is known; some who are known may have none.
        if owner not in (NOBODY, line.owner) or sharers & ~line.sharers:
            return f"directory precision: {line.directory()} misses who has it"
        return ""

    def _over_bus(self, draft: _Draft, cpu: int, step: Step) -> None:
        """Every other cache sees the request; memory supplies unless one of them does."""
        assert step.request is not None
        others = [other for other, state in enumerate(draft.states) if state and other != cpu]
        supplied = []
        for other in others:
            value = draft.values[other]
            if self._snoop(draft, other, step.request).supplies:
                supplied.append(value)
        if len(supplied) > 1:
            raise ViolationError(f"{len(supplied)} caches supply the data")
        if step.request != UPGRADE:
            draft.values[cpu] = supplied[0] if supplied else draft.memory
        draft.states[cpu] = step.shared if others else step.alone

    def _over_directory(self, draft: _Draft, cpu: int, step: Step) -> None:
        """The home asks whom its table says; data comes from memory or from the owner."""
        assert step.request is not None
        if self.silent and draft.home is DirState.X and not draft.states[draft.owner]:
            draft.home, draft.owner = DirState.U, NOBODY  # it was asked, or asks itself: it has nothing
        home = self._home(draft.home, step.request)
        is_alone = draft.home is DirState.U
        following = home.next
        owner, data = draft.owner, draft.memory if home.from_memory else None
        others = draft.sharers & ~(1 << cpu)
        if home.asks_owner and owner not in (NOBODY, cpu):
            if draft.states[owner] == EXCLUSIVE:
                following = home.next_if_clean
            if not home.from_memory and step.request != UPGRADE:
                data = draft.values[owner]
            self._snoop(draft, owner, step.request)
        if home.asks_sharers:
            for other in range(CPUS):
                if others >> other & 1 and draft.states[other]:
                    self._snoop(draft, other, step.request)
        if step.request != UPGRADE:
            if data is None:
                raise ViolationError("nobody supplies the data")
            draft.values[cpu] = data
        draft.states[cpu] = step.alone if is_alone else step.shared
        self._note(draft, cpu, following)

    @staticmethod
    def _note(draft: _Draft, cpu: int, following: DirState) -> None:
        """What the home remembers after a request of *cpu*: it believes that everyone did as told."""
        draft.home = following
        if following is DirState.X:
            draft.owner, draft.sharers = cpu, 0
            return
        draft.sharers |= 1 << cpu
        if following is DirState.S and draft.owner != NOBODY:  # else a former owner stays it: OWNED
            draft.sharers |= 1 << draft.owner
            draft.owner = NOBODY

    def _evict(self, draft: _Draft, cpu: int) -> None:
        state = draft.states[cpu]
        draft.states[cpu] = self._step(state, EVICT).alone
        writes = state in self.protocol.evict_writes
        if writes:
            draft.memory = draft.values[cpu]
        if self.interconnect == "bus" or (self.silent and not writes):
            return
        following = self.protocol.put.get((draft.home, state))
        if following is None:
            raise ViolationError(f"the home in {draft.home.name} has no rule for Put of {STATE_NAMES[state]}")
        draft.home = following
        draft.sharers &= ~(1 << cpu)
        if draft.owner == cpu:
            draft.owner = NOBODY
        if following is DirState.S and not draft.sharers:
            draft.home = DirState.U

    def _step(self, state: int, op: int) -> Step:
        step = self.protocol.processor.get((state, op))
        if step is None:
            raise ViolationError(f"no rule for operation {op} in {STATE_NAMES[state]}")
        return step

    def _home(self, state: DirState, request: int) -> Home:
        home = self.protocol.home.get((state, request))
        if home is None:
            raise ViolationError(f"the home in {state.name} has no rule for request {request}")
        return home

    def _snoop(self, draft: _Draft, other: int, request: int) -> Snoop:
        """Let *other*, which has a copy, do what it does about *request*."""
        state = draft.states[other]
        snoop = self.protocol.snoop.get((state, request))
        if snoop is None:
            raise ViolationError(f"a cache in {STATE_NAMES[state]} has no rule for request {request}")
        if snoop.writes_memory:
            draft.memory = draft.values[other]
        draft.states[other] = snoop.next
        return snoop
