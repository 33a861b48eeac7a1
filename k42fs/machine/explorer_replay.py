"""Replays what the explorer walked over on a coherence core, which has times, sets and replacement besides.

The core gets caches in which the explorer's two lines have a set each: L1 of one line, L2 of two. A line is
evicted by a read of another one of its set that only this processor uses. At the end of each path the copies
of both lines must be in the states that the explorer's model says. Only those are compared: what homes and L1s
hold, and values, which the core does not have, the explorer alone walks over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from k42fs.machine.config import MachineConfig, preset
from k42fs.machine.explorer import ACTIONS, Action, Explorer, State
from k42fs.machine.layout import READ, RMW, WRITE
from k42fs.machine.line_model import CPUS, Op
from k42fs.machine.memory import Memory
from k42fs.machine.protocol import STATE_NAMES, protocol_state

if TYPE_CHECKING:
    from k42fs.machine.explorer import Exploration

LINE_BYTES: Final = 64
WHILE_CYCLES: Final = 1 << 20
"""Between two operations: every transaction has ended."""

CODES: Final = {Op.LOAD: READ, Op.STORE_0: WRITE, Op.STORE_1: WRITE, Op.RMW: RMW}


class ReplayableCore(Protocol):
    """What the replay needs of a core."""

    def access(self, cpu: int, code: int, addr: int, nbytes: int, now: int) -> int: ...
    def copies(self, line: int) -> dict[int, int]: ...
    def check(self) -> None: ...


CoreFactory = Callable[[MachineConfig, Memory], ReplayableCore]


class Replay(NamedTuple):
    """What was replayed; *difference* is "" if the copies' states agreed throughout."""

    paths: int
    operations: int
    difference: str


def replay_config(found: Exploration) -> MachineConfig:
    """Return a machine as small as the explorer's model."""
    return preset(
        "dir-1024",
        processors=CPUS,
        line_bytes=LINE_BYTES,
        l1_line_bytes=LINE_BYTES,
        l1_bytes=LINE_BYTES,
        l1_ways=1,
        l2_bytes=2 * LINE_BYTES,
        l2_ways=1,
        protocol=found.protocol,
        interconnect=found.interconnect,
        notify_evictions=not found.silent,
    )


def replay(explorer: Explorer, found: Exploration, make_core: CoreFactory) -> Replay:
    """Replay on new cores: a shortest path to each pair of copies' states, then every operation from there."""
    config = replay_config(found)
    paths = operations = 0
    for code, state in _distinct(explorer.states()):
        path = explorer.path_to(code)
        for last in _possible(state):
            whole = (*path, last)
            difference = _run(make_core(config, Memory(config)), whole, explorer.trail(whole))
            paths += 1
            operations += len(whole)
            if difference:
                return Replay(paths, operations, difference)
    return Replay(paths, operations, "")


def _distinct(states: Iterable[tuple[int, State]]) -> Iterator[tuple[int, State]]:
    seen = set()
    for code, state in states:
        copies = state.lines[0].states, state.lines[1].states
        if copies not in seen:
            seen.add(copies)
            yield code, state


def _possible(state: State) -> Iterator[Action]:
    for action in ACTIONS:
        # Which value is stored makes no difference to a core: it has none.
        if action.op is Op.STORE_1 or (
            action.op is Op.EVICT and not state.lines[action.line].states[action.cpu]
        ):
            continue
        yield action


def _run(core: ReplayableCore, path: tuple[Action, ...], trail: Iterator[State]) -> str:
    """Return where core and model are apart after *path*, or "". Every shorter path is somebody's own."""
    for number, action in enumerate(path):
        line, code = action.line, READ
        if action.op is Op.EVICT:
            line += 2 * (action.cpu + 1)  # this processor's own, in the same set
        else:
            code = CODES[action.op]
        core.access(action.cpu, code, line * LINE_BYTES, 8, number * WHILE_CYCLES)
    core.check()
    *_, expected = trail
    for line, model in enumerate(expected.lines):
        copies = core.copies(line)
        seen = tuple(protocol_state(copies.get(cpu, 0)) for cpu in range(CPUS))
        if seen != model.states:
            steps = "; ".join(map(str, path))
            return f"{steps}: line {line} is {_names(seen)}, not {_names(model.states)}"
    return ""


def _names(states: tuple[int, ...]) -> str:
    return " ".join(STATE_NAMES[state] for state in states)
