"""Run-time adaptation: objects are watched, and replaced by the implementation that suits their use.

At the end of each *window* an `Adapter` looks at some objects:

1. those whose locks were waited for in it,
2. those that it replaced before,
3. of the others, those whose lines moved most between caches (HOT_LINES of them),
4. some that were made in it, SAMPLE of a kind, and of those RECENT_MAX for as long as they are called in each window.

All others scale, or hardly matter. Rules say, from an object's figures, which implementation it should have. One that
a rule names in so many windows in a row as the rule wants is swapped (or, in mode ``advise``, only written down), then
left alone for ten times as long as the swap took and never less than a window. So a single bad moment changes nothing,
and an object is not swapped to and fro faster than it pays.

What lives for less than a window no swap can help. So a rule may also say what *new* objects of its kind are to be: if
it speaks for so large a share of a window's sample, in as many windows in a row; then that rests for REST windows.

Off, nobody watches, and nothing is done anywhere. On, locks and lines are counted by the machine anyway; the calls of
what was looked at in the last window, and of the sample, are counted on their way (`counted_calls.py`).

K42: FCMDefault.C (findOrAllocatePageAndLock: one failed try of its lock makes it swap itself, compiled out by
default). Differs: rates instead of a single event, hysteresis, a way back, and a record of each decision.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from heapq import nlargest
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, cast

from k42fs.errors import K42Error
from k42fs.ids import Ref
from k42fs.objects.adapt_figures import NEW, Decision, Figures, NewRule, Rule, together
from k42fs.objects.captured import object_root
from k42fs.objects.counted_calls import Calls, CountedCalls
from k42fs.objects.implementations import implementation_name, kind_of, label_of
from k42fs.objects.mediator import MediatorRoot
from k42fs.objects.monitors import LineMonitor, LockCounts, LockMonitor, Made, NewObjects

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.objects.cosmgr import COSMgr
    from k42fs.objects.swap import Swap

Mode = Literal["off", "advise", "act"]

COOL_DOWN: Final = 10
"""How many times the length of its swap an object is left alone."""

REST: Final = 10
"""For how many windows the choice for new objects of a kind is left alone."""

REMEMBERED: Final = 256
"""Decisions that are remembered."""

HOT_LINES: Final = 32
"""How many objects are looked at for their lines alone,"""

HOT: Final = 100
"""if so many lines of one have moved in the window."""

RECENT_MAX: Final = 64
"""Objects that are looked at because they were in a sample."""

WATCHED_MAX: Final = 256
"""Objects whose calls are counted."""

SAMPLE_MIN: Final = 8
"""With fewer new objects a window says nothing of new ones."""

NOTHING: Final[LockCounts] = (0, 0, 0, 0)


class Makers(Protocol):
    """Who makes objects, and what they are."""

    @property
    def chosen(self) -> Mapping[Any, str]:
        """The implementation that new objects of a kind get."""

    def choose(self, kind: Any, name: str) -> None:  # noqa: ANN401
        """Let new objects of *kind* be *name*s."""

    def tell(self, told: Callable[[str, Any], None] | None) -> None:
        """Call *told* with the kind and the rep of each object that is made, until None is given."""


class Uses(NamedTuple):
    """Which methods of a kind of objects read, and which write: what they do, not their locks."""

    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()


@dataclass(slots=True)
class _State:
    """What is remembered of an object, or of the new objects of a kind, from window to window."""

    rule: str = ""
    streak: int = 0
    rest_until: int = 0  # by the clock of deadlines; of new objects: by windows
    was_changed: bool = False
    seen: int = 0

    def insists(self, rule: Rule) -> bool:
        """Note that *rule* has spoken; whether it has in as many windows in a row as it wants."""
        self.streak = self.streak + 1 if self.rule == rule.name else 1
        self.rule = rule.name
        return self.streak >= rule.windows


class Adapter:
    """Watches the objects of *cos* and applies *rules*, the first that has an opinion.

    Args:
        makers: who makes objects; without them new objects are neither watched nor decided.
        uses: by kind, for the figures `reads` and `writes`.
    """

    def __init__(
        self,
        cos: COSMgr,
        rules: Sequence[Rule],
        mode: Mode = "act",
        makers: Makers | None = None,
        uses: Mapping[str, Uses] = MappingProxyType({}),
    ) -> None:
        self.cos = cos
        self.rules = tuple(rules)
        self.windows = 0
        self.decisions: deque[Decision] = deque(maxlen=REMEMBERED)
        self.decided = 0
        self._makers = makers
        self._uses = uses
        self._states: dict[Ref, _State] = {}
        self._new_states: dict[str, _State] = {}
        self._recent: list[
            Ref
        ] = []  # objects that were in a sample and have been called in each window since
        self._locks, self._lines = LockMonitor(cos.machine), LineMonitor(cos.machine)
        self._calls = CountedCalls(cos)
        deciding = rules if makers is not None else ()
        self._new_rules = [cast("NewRule", each) for each in deciding if getattr(each, "share_of_new", 0)]
        self._new = NewObjects(self._calls, frozenset(rule.kind for rule in self._new_rules))
        self._mode: Mode = "off"
        self.mode = mode
        self._is_watching = mode != "off"

    @property
    def mode(self) -> Mode:
        """Whether decisions are made, and carried out. May be changed at any time."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        was_off, self._mode = self._mode == "off", mode
        if was_off == (mode == "off"):
            return
        if was_off:
            self._calls.begin()
        else:
            self._calls.end()
            self._new.take()
            self._recent.clear()
        if self._makers is not None:
            self._makers.tell(self._new.note if was_off else None)

    @property
    def watched(self) -> list[Ref]:
        """The refs of the objects whose calls are counted now."""
        return self._calls.refs()

    async def observe(self, th: Thread) -> list[Decision]:
        """End a window: look at every object in question, and begin the swaps that rules ask for.

        *th* holds no locks; it had better not be active, or its processor is the last to join in a swap.
        """
        self.windows += 1
        is_first, self._is_watching = not self._is_watching, self.mode != "off"
        if self.mode == "off":
            return []
        sample = self._new.take()
        looked_at = {figures.ref: figures for figures in self._look(sample)}
        new = {kind: [self._figures_of(looked_at, made) for made in each] for kind, each in sample.items()}
        self._watch(looked_at, sample)
        if is_first:
            return []  # nobody looked till now: these figures are not of one window
        decisions = [self._judge(th, figures) for figures in looked_at.values()]
        decisions += [self._judge_new(th, kind, figures) for kind, figures in new.items()]
        found = [decision for decision in decisions if decision is not None]
        if self.mode == "act":
            for decision in found:
                await self._act(th, decision)
        self._forget_gone()
        return found

    # Watching

    def _look(self, sample: Mapping[str, list[Made]]) -> Iterator[Figures]:
        """The objects to look at, in the order of the module's list."""
        locks, lines = self._locks.take(), self._lines.take()
        waited_for = [ref for ref, counts in locks.items() if counts[1]]
        changed = [ref for ref, state in self._states.items() if state.was_changed]
        hot = [ref for ref, count in lines.items() if count >= HOT]
        hot = nlargest(HOT_LINES, hot, key=lines.__getitem__)
        made = [each.ref for sampled in sample.values() for each in sampled if each.calls is None]
        for ref in dict.fromkeys((*waited_for, *changed, *hot, *self._recent, *made)):
            root: Any = self.cos.root_at(ref)
            if (
                root is None
                or isinstance(object_root(root), MediatorRoot)
                or not kind_of(root)
                or self.cos.is_dying(ref)
            ):
                continue
            counts, calls = locks.get(ref, NOTHING), self._calls.take(ref)
            yield self._figures(ref, root.speaker, counts, lines.get(ref, 0), calls, root.trans_set)

    def _figures_of(self, looked_at: Mapping[Ref, Figures], made: Made) -> Figures:
        """The figures of an object that was in the sample. Of one that is gone its calls are known."""
        if made.calls is None and made.ref in looked_at:
            return looked_at[made.ref]
        calls = made.calls or self._calls.take(made.ref)
        return self._figures(made.ref, made.rep, NOTHING, 0, calls, 0)

    def _figures(
        self,
        ref: Ref,
        speaker: Any,  # noqa: ANN401
        locks: LockCounts,
        transfers: int,
        calls: Calls | None,
        may_call: int,
    ) -> Figures:
        kind = kind_of(speaker)
        activity = getattr(speaker, "activity", None)
        figures = Figures(
            ref,
            kind,
            implementation_name(speaker),
            label_of(speaker),
            *locks,
            processors=may_call.bit_count(),
            activity={} if activity is None else activity(),
            transfers=transfers,
        )
        if calls is None:
            return figures
        uses = self._uses.get(kind, Uses())
        methods = calls.methods
        return replace(
            figures,
            processors=calls.processors.bit_count(),
            calls=sum(methods.values()),
            reads=sum(methods.get(name, 0) for name in uses.reads),
            writes=sum(methods.get(name, 0) for name in uses.writes),
        )

    def _watch(self, looked_at: Mapping[Ref, Figures], sample: Mapping[str, list[Made]]) -> None:
        """Count the calls of what was looked at in the next window, and of nothing else."""
        sampled = (made.ref for each in sample.values() for made in each)
        called = (ref for ref in (*self._recent, *sampled) if ref in looked_at and looked_at[ref].calls)
        self._recent = list(dict.fromkeys(called))[:RECENT_MAX]
        wanted = dict.fromkeys(list(looked_at)[:WATCHED_MAX])
        for ref in self._calls.refs():
            if ref not in wanted:
                self._calls.forget(ref)
        for ref in wanted:
            if ref not in self._calls:
                self._calls.watch(ref)

    # Judging

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
        if not state.insists(rule) or self.cos.swaps.now(th) < state.rest_until:
            return None
        return self._decide(th, state, rule, new, figures)

    def _judge_new(self, th: Thread, kind: str, sample: Sequence[Figures]) -> Decision | None:
        """Ask the rules what new objects of *kind* are to be; a decision if one has said so often enough."""
        state = self._new_states.setdefault(kind, _State())
        if len(sample) < SAMPLE_MIN or self._makers is None:
            return None
        chosen = self._makers.chosen[kind]
        for rule in self._new_rules:
            answers = [new for each in sample if (new := rule.decide(each)) is not None]
            if answers and len(answers) >= rule.share_of_new * len(sample) and answers[0] != chosen:
                break
        else:
            state.rule, state.streak = "", 0
            return None
        if not state.insists(rule) or self.windows < state.rest_until:
            return None
        return self._decide(th, state, rule, answers[0], together(kind, chosen, sample, len(answers)))

    def _decide(self, th: Thread, state: _State, rule: Rule, new: str, figures: Figures) -> Decision:
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
        try:
            if ref == NEW:
                assert self._makers is not None, "new objects are watched without their makers"
                kind = decision.figures.kind
                self._makers.choose(kind, decision.new)
                self._new_states[kind].rest_until = self.windows + REST
                decision.outcome = "chosen"
                return
            state = self._states[ref]
            state.was_changed = True
            decision.outcome = "begun"
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


__all__ = ["Adapter", "Decision", "Figures", "Makers", "Mode", "Rule", "Uses"]
