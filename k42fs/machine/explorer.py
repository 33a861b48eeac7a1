"""The explorer: every state that a protocol can reach with 3 processors, 2 lines and 2 values, each checked.

A state is two `LineState`s and what each processor's L1 holds: it has room for one line, L2 for both, so that
inclusion means something: using a line displaces the other one from L1, losing a line takes it from L1.
Breadth first, every operation of every processor on every line from every state, so the path to a violation
is a shortest one.

The lines meet only in L1. Hence a line's own steps are worked out once and looked up afterwards; the walk is
over the whole product nevertheless, none of it is inferred by symmetry.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from k42fs.machine.line_model import (
    CPUS,
    OP_WORDS,
    START,
    Interconnect,
    LineModel,
    LineState,
    Op,
    ViolationError,
)
from k42fs.machine.protocol import PROTOCOLS, Protocol

LINES: Final = 2
NOTHING: Final = LINES
"""What an L1 holds that holds neither line."""

SYSTEMS: Final[tuple[tuple[Interconnect, bool], ...]] = (
    ("bus", False),
    ("directory", False),
    ("directory", True),
)
"""Interconnect, and whether evictions of clean copies are silent."""


@dataclass(frozen=True, slots=True)
class Action:
    """Processor *cpu* does *op* to *line*."""

    cpu: int
    op: Op
    line: int

    def __str__(self) -> str:
        return f"cpu {self.cpu} {OP_WORDS[self.op]} line {self.line}"


@dataclass(frozen=True, slots=True)
class State:
    """Both lines, and for each processor the line that its L1 holds (NOTHING: none)."""

    lines: tuple[LineState, LineState]
    l1: tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """What a walk found. *violation* is "" if it found none; *path* leads to it from the start."""

    protocol: str
    interconnect: Interconnect
    silent: bool
    states: int
    transitions: int
    line_states: int  # of one line on its own
    depth: int  # operations to the state furthest from the start
    seconds: float
    violation: str
    path: tuple[Action, ...]

    @property
    def system(self) -> str:
        return f"{self.protocol} {self.interconnect}{', silent evictions' if self.silent else ''}"


ACTIONS: Final = tuple(Action(cpu, op, line) for cpu in range(CPUS) for line in range(LINES) for op in Op)
_STEPS: Final = CPUS * len(Op)
_MISSING: Final = -2
_DISABLED: Final = -1
# State of the walk as one int: line 0's number, line 1's number, what the L1s hold (2 bits each).
_L1_BITS: Final = 2 * CPUS
_LINE_BITS: Final = 16


class _Steps:
    """One line's steps, worked out when first asked for. Line states have numbers; START has 0."""

    def __init__(self, model: LineModel) -> None:
        self._model = model
        self._numbers: dict[LineState, int] = {}
        self.states: list[LineState] = []
        self.table: list[list[int]] = []  # [number][cpu * ops + op] -> number, or _MISSING, or _DISABLED
        self.holders: list[int] = []
        self.broken: list[str] = []
        self.number(START)

    def number(self, state: LineState) -> int:
        known = self._numbers.get(state)
        if known is None:
            known = self._numbers[state] = len(self.states)
            self.states.append(state)
            self.table.append([_MISSING] * _STEPS)
            self.holders.append(state.holders)
            self.broken.append(self._model.broken(state))
        return known

    def work_out(self, number: int, cpu: int, op: Op) -> int:
        """Fill one entry of the table. Raises ViolationError."""
        state = self.states[number]
        possible = op is not Op.EVICT or state.states[cpu]
        after = self.number(self._model.step(state, cpu, op)) if possible else _DISABLED
        self.table[number][cpu * len(Op) + op] = after
        return after


class Explorer:
    """Walks over everything that *protocol* can reach over *interconnect*.

    *drops_l1*: losing a line from L2 takes it from L1, as it must; without that, inclusion breaks.
    """

    def __init__(
        self,
        protocol: Protocol,
        interconnect: Interconnect,
        silent: bool = False,
        drops_l1: bool = True,
    ) -> None:
        self._model = LineModel(protocol, interconnect, silent)
        self._steps = _Steps(self._model)
        self._drops_l1 = drops_l1
        start = sum(NOTHING << 2 * cpu for cpu in range(CPUS))
        self._start = start
        self._came: dict[int, int] = {start: -1}  # state -> state it was first reached from, and how
        self._l1_after: dict[tuple[int, int, int], int] = {}

    def run(self) -> Exploration:
        """Walk until everything was seen or something is wrong."""
        began = time.perf_counter()
        violation, path, transitions, depth = self._walk()
        return Exploration(
            protocol=self._model.protocol.name,
            interconnect=self._model.interconnect,
            silent=self._model.silent,
            states=len(self._came),
            transitions=transitions,
            line_states=len(self._steps.states),
            depth=depth,
            seconds=time.perf_counter() - began,
            violation=violation,
            path=path,
        )

    def states(self) -> Iterator[tuple[int, State]]:
        """Yield each state that `run` saw, nearest first, with a number by which `path_to` knows it."""
        for code in self._came:
            yield code, self._decode(code)

    def path_to(self, code: int) -> tuple[Action, ...]:
        """Return a shortest path to a state that `run` saw."""
        actions = []
        while (step := self._came[code]) >= 0:
            actions.append(ACTIONS[step & 0xFF])
            code = step >> 8
        return tuple(reversed(actions))

    def trail(self, path: tuple[Action, ...]) -> Iterator[State]:
        """Yield the state after each action of *path*, as far as the protocol has rules for it."""
        lines, l1 = [START, START], self._start
        for action in path:
            before = lines[action.line]
            try:
                after = lines[action.line] = self._model.step(before, action.cpu, action.op)
            except ViolationError:
                return
            l1 = self._next_l1(l1, action, before.holders & ~after.holders)
            yield State((lines[0], lines[1]), _held(l1))

    def _walk(self) -> tuple[str, tuple[Action, ...], int, int]:
        steps, came = self._steps, self._came
        table, holders, broken = steps.table, steps.holders, steps.broken
        transitions = depth = 0
        level = [self._start]
        shifts = (_LINE_BITS + _L1_BITS, _L1_BITS)
        numbers_mask, l1_mask = (1 << _LINE_BITS) - 1, (1 << _L1_BITS) - 1
        l1_after = self._l1_after
        # By what the L1s hold: the processors that must have each line in L2.
        needs = [
            [sum(1 << cpu for cpu in range(CPUS) if held[cpu] == line) for line in range(LINES)]
            for held in map(_held, range(1 << _L1_BITS))
        ]
        while level:
            found = []
            for code in level:
                l1 = code & l1_mask
                for index, action in enumerate(ACTIONS):
                    shift = shifts[action.line]
                    number = code >> shift & numbers_mask
                    after = table[number][action.cpu * len(Op) + action.op]
                    if after == _MISSING:
                        try:
                            after = steps.work_out(number, action.cpu, action.op)
                        except ViolationError as exc:
                            return str(exc), (*self.path_to(code), action), transitions + 1, depth + 1
                    if after == _DISABLED:
                        continue
                    transitions += 1
                    lost = holders[number] & ~holders[after]
                    key = (l1, index, lost)
                    next_l1 = l1_after.get(key)
                    if next_l1 is None:
                        next_l1 = l1_after[key] = self._next_l1(l1, action, lost)
                    reached = code + (after - number << shift) + next_l1 - l1
                    if reached not in came:
                        came[reached] = code << 8 | index
                        found.append(reached)
                        in_l1, first, second = needs[next_l1], reached >> shifts[0], reached >> shifts[1]
                        missing = (in_l1[0] & ~holders[first]) | (in_l1[1] & ~holders[second & numbers_mask])
                        if missing or broken[after]:
                            wrong = f"line {action.line}: " + (broken[after] or "inclusion: in L1, not in L2")
                            return wrong, self.path_to(reached), transitions, depth + 1
            depth += bool(found)
            level = found
        return "", (), transitions, depth

    def _next_l1(self, l1: int, action: Action, lost: int) -> int:
        """Return what the L1s hold after *action*, by which the processors *lost* have lost its line."""
        held = list(_held(l1))
        if action.op is not Op.EVICT:
            held[action.cpu] = action.line
        for cpu in range(CPUS):
            if self._drops_l1 and lost >> cpu & 1 and held[cpu] == action.line:
                held[cpu] = NOTHING
        return sum(line << 2 * cpu for cpu, line in enumerate(held))

    def _decode(self, code: int) -> State:
        numbers = code >> (_LINE_BITS + _L1_BITS), code >> _L1_BITS & ((1 << _LINE_BITS) - 1)
        first, second = (self._steps.states[number] for number in numbers)
        return State((first, second), _held(code))


def _held(l1: int) -> tuple[int, int, int]:
    return l1 & 3, l1 >> 2 & 3, l1 >> 4 & 3


def explore(name: str, interconnect: Interconnect, silent: bool = False) -> Exploration:
    """Walk over everything that the protocol called *name* can reach."""
    return Explorer(PROTOCOLS[name], interconnect, silent).run()


def counterexample(explorer: Explorer, found: Exploration) -> str:
    """Return the path to a violation as text, one operation per line with what it led to."""
    lines = [f"{found.system}: {found.violation}"]
    trail = explorer.trail(found.path)
    for number, action in enumerate(found.path, 1):
        state = next(trail, None)
        after = "no rule"
        if state is not None:
            line = state.lines[action.line]
            after = str(line) + (f"  home {line.directory()}" if found.interconnect == "directory" else "")
        lines.append(f"  {number}. {f'{action}':26} {after}")
    return "\n".join(lines)
