"""Any mix of creating, calling, destroying, cleaning up and flushing, against a model that only keeps totals.

Checked at each step: a call on a live object sees exactly what was added to it; a call on a destroyed one is
answered by the same object or "deleted", never by a stranger; nothing is cleaned while a thread that may be
inside is active; the number of live objects and refs is the model's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from k42fs.errors import DeletedObjectError
from k42fs.ids import VP, Ref
from k42fs.machine.thread import Thread
from k42fs.objects import COSMgr, MultiRepRoot, Rep, SingleRepRoot
from tests.objects.lab import Lab

PROCESSORS = 4
VPS = st.integers(0, PROCESSORS - 1)
PICK = st.integers(0, 1000)


@dataclass(eq=False)
class Thing:
    """What the model knows of one object. `guards`: threads active at its destroy where it was used."""

    serial: int
    ref: Ref = field(default=Ref(0))
    total: int = 0
    used: set[int] = field(default_factory=set)
    is_destroyed: bool = False
    guards: set[Thread] = field(default_factory=set)
    reps: int = 0
    cleaned: int = 0


class Tally(Rep):
    """Counts for one thing, whichever reps it has, and watches its own end."""

    def __init__(self, thing: Thing, vp: int, is_shared: bool) -> None:
        self.thing = thing
        self.vp = vp
        self.is_shared = is_shared
        self.count = 0
        self.is_gone = False
        thing.reps += 1

    async def add(self, th: Thread, amount: int) -> int:
        assert not self.is_gone, f"object {self.thing.serial} was called after its end"
        self.count += amount
        return self.thing.serial

    async def total(self, th: Thread) -> tuple[int, int]:
        reps = [self] if self.is_shared else [rep for _, rep in self.root.reps()]
        return self.thing.serial, sum(rep.count for rep in reps)

    def cleanup(self, th: Thread) -> None:
        thing = self.thing
        assert thing.is_destroyed
        assert not thing.guards, f"object {thing.serial} cleaned under a thread that may be inside"
        assert self.is_shared or th.vp == self.vp, "a rep is cleaned where it was made"
        self.is_gone = True
        thing.cleaned += 1


class TallyRoot(MultiRepRoot):
    def __init__(self, cos: COSMgr, thing: Thing, cluster: int, vp: VP) -> None:
        super().__init__(cos, cluster, vp)
        self.thing = thing

    def create_rep(self, vp: VP) -> Tally:
        return Tally(self.thing, vp, is_shared=False)


class ObjectsMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.lab = Lab(PROCESSORS, model="calls", batch=3)
        self.things: list[Thing] = []
        self.threads: list[Thread] = []
        self.known: dict[Thread, list[Thing]] = {}  # refs that a thread got while the object was alive

    @property
    def live(self) -> list[Thing]:
        return [thing for thing in self.things if not thing.is_destroyed]

    @rule(vp=VPS, cluster=st.integers(0, PROCESSORS))
    def create(self, vp: int, cluster: int) -> None:
        thing = Thing(len(self.things))
        cos = self.lab.cos
        if cluster:
            thing.ref = TallyRoot(cos, thing, cluster, VP(vp)).ref
        else:
            thing.ref = SingleRepRoot(cos, Tally(thing, vp, is_shared=True), VP(vp)).ref
        assert thing.ref not in {other.ref for other in self.live}
        assert not any(thing.ref == other.ref for known in self.known.values() for other in known)
        self.things.append(thing)

    @rule(vp=VPS)
    def enter(self, vp: int) -> None:
        th = self.lab.enter(vp)
        self.threads.append(th)
        self.known[th] = self.live

    @precondition(lambda self: self.threads)
    @rule(pick=PICK)
    def leave(self, pick: int) -> None:
        th = self.threads.pop(pick % len(self.threads))
        del self.known[th]
        for thing in self.things:
            thing.guards.discard(th)
        self.lab.leave(th)

    @precondition(lambda self: self.threads and self.things)
    @rule(pick=PICK, which=PICK, amount=st.integers(1, 9))
    def call(self, pick: int, which: int, amount: int) -> None:
        th = self.threads[pick % len(self.threads)]
        known = self.known[th] + [thing for thing in self.live if thing not in self.known[th]]
        if not known:
            return
        thing = known[which % len(known)]
        try:
            serial = self.lab.call(th, thing.ref, "add", amount)
        except DeletedObjectError:
            assert thing.is_destroyed, f"object {thing.serial} is alive"
            return
        assert serial == thing.serial, "a stranger answered"
        thing.total += amount
        thing.used.add(th.vp)

    @precondition(lambda self: self.live)
    @rule(vp=VPS, which=PICK)
    def total(self, vp: int, which: int) -> None:
        thing = self.live[which % len(self.live)]
        assert self.lab.call_on(vp, thing.ref, "total") == (thing.serial, thing.total)
        thing.used.add(vp)

    @precondition(lambda self: self.live)
    @rule(vp=VPS, which=PICK)
    def destroy(self, vp: int, which: int) -> None:
        thing = self.live[which % len(self.live)]
        assert self.lab.destroy_on(vp, thing.ref)
        thing.is_destroyed = True
        thing.guards = {th for th in self.threads if th.vp in thing.used}

    @precondition(lambda self: self.threads)
    @rule(pick=PICK, which=PICK)
    def destroy_again(self, pick: int, which: int) -> None:
        th = self.threads[pick % len(self.threads)]
        dead = [thing for thing in self.known[th] if thing.is_destroyed]
        if dead:
            assert not self.lab.run(self.lab.cos.destroy(th, dead[which % len(dead)].ref))

    @rule(vp=VPS)
    def clean(self, vp: int) -> None:
        self.lab.clean(vp)

    @rule()
    def sweep(self) -> None:
        self.lab.sweep()

    @precondition(lambda self: self.things)
    @rule(vp=VPS, which=PICK)
    def flush(self, vp: int, which: int) -> None:
        self.lab.drop_ltt_page(vp, self.things[which % len(self.things)].ref >> 8)

    @invariant()
    def counts_agree(self) -> None:
        statistics = self.lab.cos.statistics()
        assert statistics["created"] == len(self.things)
        assert statistics["destroyed"] == len(self.things) - len(self.live)
        assert statistics["live"] >= len(self.live)
        assert all(thing.cleaned <= thing.reps for thing in self.things)

    def teardown(self) -> None:
        self.lab.leave(*self.threads)
        for thing in self.things:
            thing.guards.clear()
            if not thing.is_destroyed:
                assert self.lab.destroy_on(thing.serial % PROCESSORS, thing.ref)
                thing.is_destroyed = True
        for _ in range(200):
            if not self.lab.cos.pending:
                break
            self.lab.sweep()
        statistics = self.lab.cos.statistics()
        assert statistics["live"] == statistics["refs_in_use"] == statistics["pending"] == 0
        assert all(thing.cleaned == thing.reps for thing in self.things)


ObjectsMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestObjects = ObjectsMachine.TestCase
