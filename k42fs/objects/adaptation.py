"""Run-time adaptation: objects are watched, and replaced by the implementation that suits their use.

At the end of each *window* an `Adapter` looks at the objects whose locks were waited for since the last one, and
at those that it replaced before. Rules say, from an object's figures, which implementation it should have. One
that a rule names in so many windows in a row as the rule wants is swapped (or, in mode ``advise``, only written
down), then left alone for ten times as long as the swap took and never less than a window. So a single bad moment
changes nothing, and an object is not swapped to and fro faster than it pays.

Watching costs the objects nothing: the figures are those that locks keep anyway. An object that nobody waits for
is not looked at, however busy it is: it scales.

K42: FCMDefault.C (findOrAllocatePageAndLock: one failed try of its lock makes it swap itself, compiled out by
default). Differs: rates instead of a single event, hysteresis, a way back, and a record of each decision.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol
from weakref import WeakKeyDictionary

from k42fs.errors import K42Error
from k42fs.ids import Ref
from k42fs.objects.implementations import implementation_name, kind_of
from k42fs.objects.mediator import MediatorRoot

if TYPE_CHECKING:
    from k42fs.machine.lock_base import LockBase
    from k42fs.machine.thread import Thread
    from k42fs.objects.cosmgr import COSMgr
    from k42fs.objects.root import CObjRoot
    from k42fs.objects.swap import Swap

Mode = Literal["off", "advise", "act"]

COOL_DOWN: Final = 10
"""How many times the length of its swap an object is left alone."""

REMEMBERED: Final = 256
"""Decisions that are remembered."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One object in one window. Cycles are virtual; `processors` counts those that may call the object.

    `activity` is what the object says of itself, such as its open files by mode.
    """

    ref: Ref
    kind: str
    implementation: str
    label: str
    acquisitions: int
    contentions: int
    waited_cycles: int
    held_cycles: int
    processors: int
    activity: Mapping[str, int]

    @property
    def contended_share(self) -> float:
        """The share of its locks' acquisitions that had to wait."""
        return min(self.contentions / self.acquisitions, 1.0) if self.acquisitions else 0.0

    def figure(self, name: str) -> float:
        """Return the figure *name*, of the object's activity too; 0 for what it does not count."""
        value = getattr(self, name, None) if name in FIGURES else self.activity.get(name)
        return 0 if value is None else float(value)


FIGURES: Final = (
    "acquisitions",
    "contentions",
    "waited_cycles",
    "held_cycles",
    "processors",
    "contended_share",
)


class Rule(Protocol):
    """Which implementation an object should have."""

    @property
    def name(self) -> str:
        """What decisions call it."""

    @property
    def windows(self) -> int:
        """How often in a row it must say so."""

    def decide(self, figures: Figures) -> str | None:
        """Return the name of the implementation that suits; None for the one it has, or for no opinion."""


@dataclass(slots=True)
class Decision:
    """What was decided, on which figures, and what came of it. Cycles of the deciding processor; host time in
    nanoseconds."""

    at_cycles: int
    at_ns: int
    rule: str
    new: str
    figures: Figures
    outcome: str = "advised"

    def sentence(self) -> str:
        """Say it in a line."""
        figures = self.figures
        return (
            f"{figures.label} from {figures.implementation} to {self.new} by rule {self.rule}, {self.outcome}: "
            f"{figures.contentions:,} of {figures.acquisitions:,} acquisitions waited, "
            f"{figures.waited_cycles:,} cycles, {figures.processors} processors"
        )

    def record(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        figures = self.figures
        return {
            "at_cycles": self.at_cycles,
            "at_ns": self.at_ns,
            "rule": self.rule,
            "ref": figures.ref,
            "object": figures.label,
            "kind": figures.kind,
            "from": figures.implementation,
            "to": self.new,
            "outcome": self.outcome,
            "figures": {name: figures.figure(name) for name in FIGURES} | dict(figures.activity),
        }


@dataclass(slots=True)
class _State:
    """What is remembered of an object from window to window."""

    rule: str = ""
    streak: int = 0
    rest_until: int = 0  # by the clock of deadlines
    was_changed: bool = False
    seen: int = field(default=0)


class Adapter:
    """Watches the objects of *cos* and applies *rules*, the first that has an opinion."""

    def __init__(self, cos: COSMgr, rules: Sequence[Rule], mode: Mode = "act") -> None:
        self.cos = cos
        self.rules = tuple(rules)
        self.mode: Mode = mode
        self.windows = 0
        self._is_watching = mode != "off"
        self.decisions: deque[Decision] = deque(maxlen=REMEMBERED)
        self.decided = 0
        self._states: dict[Ref, _State] = {}
        self._counted: WeakKeyDictionary[LockBase, tuple[int, int, int, int]] = WeakKeyDictionary()

    async def observe(self, th: Thread) -> list[Decision]:
        """End a window: look at every object in question, and begin the swaps that rules ask for.

        *th* holds no locks; it had better not be active, or its processor is the last to join in a swap.
        """
        self.windows += 1
        found: list[Decision] = []
        is_first, self._is_watching = not self._is_watching, self.mode != "off"
        if self.mode == "off":
            return found
        for figures in self._figures():
            if is_first:
                continue  # nobody looked till now: these are not of one window
            decision = self._judge(th, figures)
            if decision is not None:
                found.append(decision)
                if self.mode == "act":
                    await self._act(th, decision)
        self._forget_gone()
        return found

    # Watching

    def _figures(self) -> Iterable[Figures]:
        """The objects to look at, in the order of their locks' first contention, then those once changed."""
        counts: dict[Ref, list[int]] = {}
        for lock in self.cos.machine.contended.locks():
            ref = Ref(getattr(lock.owner, "ref", 0))
            if not ref:
                continue
            now = (lock.acquisitions, lock.contentions, lock.waited_cycles, lock.held_cycles)
            before = self._counted.get(lock, (0, 0, 0, 0))
            if now[0] < before[0]:  # statistics were reset
                before = (0, 0, 0, 0)
            self._counted[lock] = now
            sums = counts.setdefault(ref, [0, 0, 0, 0])
            for i in range(4):
                sums[i] += now[i] - before[i]
        for ref, state in self._states.items():
            if state.was_changed:
                counts.setdefault(ref, [0, 0, 0, 0])
        for ref, sums in counts.items():
            root: Any = self.cos.root_at(ref)
            if root is None or isinstance(root, MediatorRoot) or not kind_of(root):
                continue
            yield _figures_of(root, ref, sums)

    def _judge(self, th: Thread, figures: Figures) -> Decision | None:
        """Ask the rules; return a decision if one of them has said so often enough."""
        state = self._states.setdefault(figures.ref, _State())
        state.seen = self.windows
        for rule in self.rules:
            new = rule.decide(figures)
            if new is not None and new != figures.implementation:
                break
        else:
            state.rule, state.streak = "", 0
            return None
        state.streak = state.streak + 1 if state.rule == rule.name else 1
        state.rule = rule.name
        if state.streak < rule.windows or self.cos.swaps.now(th) < state.rest_until:
            return None
        state.streak = 0
        decision = Decision(th.proc.clock, self.cos.machine.wall_clock_ns(), rule.name, new, figures)
        self.decisions.append(decision)
        self.decided += 1
        return decision

    def _forget_gone(self) -> None:
        """Forget objects that no longer exist, and those that calmed down unchanged."""
        for ref, state in list(self._states.items()):
            is_idle = not state.was_changed and state.seen != self.windows
            if is_idle or self.cos.root_at(ref) is None:
                del self._states[ref]

    # Acting

    async def _act(self, th: Thread, decision: Decision) -> None:
        ref = decision.figures.ref
        state = self._states[ref]
        state.was_changed = True
        decision.outcome = "begun"
        try:
            await self.cos.swap_to(th, ref, decision.new, callback=partial(self._note_end, decision, state))
        except K42Error as exc:
            decision.outcome = f"refused: {exc}"

    def _note_end(self, decision: Decision, state: _State, swap: Swap) -> None:
        record = swap.record
        decision.outcome = f"aborted: {record.reason}" if swap.error is not None else "completed"
        machine = self.cos.machine
        began, ended = (
            (record.began_ns, record.ended_ns) if machine.live else (record.began_cycles, record.ended_cycles)
        )
        state.rest_until = ended + COOL_DOWN * max(ended - began, 0)


def _figures_of(root: CObjRoot, ref: Ref, sums: list[int]) -> Figures:
    speaker: Any = root.speaker
    activity = getattr(speaker, "activity", None)
    label = getattr(speaker, "label", root.label)
    return Figures(
        ref=ref,
        kind=kind_of(root),
        implementation=implementation_name(root),
        label=label(),
        acquisitions=sums[0],
        contentions=sums[1],
        waited_cycles=sums[2],
        held_cycles=sums[3],
        processors=root.trans_set.bit_count(),
        activity={} if activity is None else activity(),
    )
