"""Whether an implementation of one's own answers as those that are there do, and can take their place and give it back.

    results = check(load_replacement(Path("eager_directory.py")), progress)

| check | what |
|---|---|
| forms | it and every other implementation of its kind have a form of state in common, both ways |
| in turn | every pair of twelve operations, one after the other, tells and leaves what a model in dictionaries does |
| at once | every pair by two clients at one time, with several seeds: what one order of the two would have |
| swapped in, out | the same while it takes over from another implementation, or another one from it, at many times |
| storm | eight clients with files and directories of their own and in common: nothing is lost, no lock stays held |
| memory | what was made and removed leaves no modelled memory behind |

All is deterministic: an implementation that fails fails again with the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import Any, Final

from k42fs.errors import ConfigError, K42Error
from k42fs.ids import VP
from k42fs.machine.thread import Thread
from k42fs.objects.factory import Replacement
from k42fs.objects.implementations import Implementation, find, names, register, unregister
from k42fs.objects.transfer import agreed_type
from k42fs.servers.makers import MAKERS
from k42fs.servers.object_policy import KINDS, ObjectPolicy
from k42fs.servers.system import System, SystemOptions
from k42fs.workloads.schedules import OPERATIONS, NotConformingError, Pair, Scene, run_at_once, run_in_turn

PAIRS: Final[tuple[Pair, ...]] = tuple(product(OPERATIONS, OPERATIONS))
SEEDS: Final = 3
TIMES: Final = 4
"""Swaps tried for each pair and way, spread over its length."""

CLIENTS: Final = 8
TURNS: Final = 25

Progress = Callable[[str, int, int], None]
"""(check, done, of how many)."""


@dataclass(frozen=True, slots=True)
class Result:
    """One check: how many cases passed, and how the first one that did not failed ("" if all passed)."""

    name: str
    cases: int
    failure: str


class _Subject:
    """The implementation under test, and policies that choose it."""

    def __init__(self, replacement: Replacement) -> None:
        if replacement.kind not in KINDS:
            raise ConfigError(f"kind={replacement.kind}: checked can be {', '.join(KINDS)}")
        if replacement.create is None:
            raise ConfigError("create: is needed, as new objects are made too")
        self.new = replacement
        self.kind = replacement.kind
        self.others = [name for name in names(self.kind) if name != replacement.name]

    def policy(self, name: str) -> ObjectPolicy:
        """Return a policy that makes the implementation *name* of the kind, the default of all others."""
        policy = ObjectPolicy(MAKERS)
        policy.offer(self.kind, self.new.name, self.new.create)
        policy.choose(self.kind, name)
        return policy

    def scene(self, name: str, seed: int = 0) -> Scene:
        return Scene(self.policy(name), seed)


def check(
    replacement: Replacement, progress: Progress, only: Collection[str] = (), seeds: int = SEEDS
) -> list[Result]:
    """Run all checks of *replacement*, or *only* those named; with so many *seeds* where chance has a say.

    Raises: ConfigError: it is of a kind that has no checks, or cannot make new objects.
    """
    subject = _Subject(replacement)
    mine = Implementation(subject.kind, replacement.name, replacement.make, replacement.describe)
    register(mine)
    try:
        return [
            _run(name, list(cases), progress)
            for name, cases in (
                ("forms", _forms(subject)),
                ("in turn", _in_turn(subject)),
                ("at once", _at_once(subject, seeds)),
                ("swapped in", _swapped(subject, is_in=True)),
                ("swapped out", _swapped(subject, is_in=False)),
                ("storm", _storms(subject, seeds)),
                ("memory", _memory(subject)),
            )
            if not only or name in only
        ]
    finally:
        unregister(mine)


Case = Callable[[], object]


def _run(name: str, cases: list[Case], progress: Progress) -> Result:
    for number, case in enumerate(cases):
        progress(name, number, len(cases))
        try:
            case()
        except NotConformingError as exc:
            return Result(name, number, str(exc))
        except Exception as exc:  # whatever somebody else's code raises
            return Result(name, number, f"{type(exc).__name__}: {exc}")
    progress(name, len(cases), len(cases))
    return Result(name, len(cases), "")


def _forms(subject: _Subject) -> Iterator[Case]:
    def agree(old: str, new: str) -> None:
        scene = subject.scene(old)
        root: Any = scene.cos.root_at(scene.ref_of(subject.kind))

        def make(th: Thread) -> Any:  # noqa: ANN401
            return find(subject.kind, new).make(scene.cos, th, root)

        made: list[Any] = []

        async def body(th: Thread) -> None:
            made.append(make(th))

        scene.machine.spawn(VP(0), body)
        scene.machine.run()
        if agreed_type(root.exports, made[0].imports) is None:
            raise NotConformingError(f"{new} can take no form of state that {old} exports")

    for other in subject.others:
        yield lambda other=other: agree(other, subject.new.name)  # type: ignore[misc]
        yield lambda other=other: agree(subject.new.name, other)  # type: ignore[misc]


def _in_turn(subject: _Subject) -> Iterator[Case]:
    for pair in PAIRS:
        yield lambda pair=pair: run_in_turn(subject.scene(subject.new.name), pair)  # type: ignore[misc]


def _at_once(subject: _Subject, seeds: int) -> Iterator[Case]:
    for seed, pair in product(range(seeds), PAIRS):
        yield lambda seed=seed, pair=pair: run_at_once(subject.scene(subject.new.name, seed), pair)  # type: ignore[misc]


def _swapped(subject: _Subject, is_in: bool) -> Iterator[Case]:
    def swap(pair: Pair, other: str) -> None:
        old, new = (other, subject.new.name) if is_in else (subject.new.name, other)
        times = run_at_once(subject.scene(old), pair)
        for at in times[:: max(1, len(times) // TIMES)]:
            run_at_once(subject.scene(old), pair, (subject.kind, new, at))

    for number, pair in enumerate(PAIRS):
        other = subject.others[number % len(subject.others)]
        yield lambda pair=pair, other=other: swap(pair, other)  # type: ignore[misc]


class _Site:
    """A whole system whose objects of the kind are the subject's."""

    def __init__(self, subject: _Subject, seed: int) -> None:
        self.system = System(SystemOptions(processors=CLIENTS, seed=seed))
        self.system.policy.offer(subject.kind, subject.new.name, subject.new.create)
        self.system.policy.choose(subject.kind, subject.new.name)
        self.tree = self.system.root_tree
        self.machine, self.cos = self.system.machine, self.system.cos
        for vp in range(CLIENTS):
            self.machine.spawn(VP(vp), self.cos.daemon, 100_000, daemon=True)

    async def call(self, th: Thread, method: str, *args: object) -> Any:  # noqa: ANN401
        answer = await self.cos.call(th, self.tree.ref, method, *args)
        if th.held:
            raise NotConformingError(f"{method} has returned and still holds {th.held!r}")
        return answer

    async def client(self, th: Thread, seed: int) -> None:
        """Make, write, read back, move, link and remove files, in a place of one's own and in one of all."""
        random, root = Random(seed * CLIENTS + th.vp), self.tree.root_file()
        own = await self.call(th, "mkdir", root, b"d%d" % th.vp, 0o755)
        for turn in range(TURNS):
            place = random.choice((own, root))
            name, text = b"%d-%d" % (th.vp, turn), random.randbytes(random.randrange(1, 9000))
            _, of = await self.call(th, "create", place, name, 0o644, 2)
            await self.call(th, "write", of, 0, text)
            moved = b"moved " + name
            await self.call(th, "rename", place, name, root, moved)
            if bytes(await self.call(th, "read", of, 0, len(text) + 1)) != text:
                raise NotConformingError(f"{name!r} does not hold what was written")
            await self.call(th, "link", of.file, own, name)
            await self.call(th, "release", of)
            await self.call(th, "unlink", root, moved)
            found = await self.call(th, "lookup", own, name)
            if found is not of.file:
                raise NotConformingError(f"{name!r} is another file than the one that was linked")
            await self.call(th, "unlink", own, name)
            try:
                await self.call(th, "lookup", own, name)
            except K42Error:
                continue
            raise NotConformingError(f"{name!r} is there after it was removed")

    async def tidy(self, th: Thread) -> None:
        for vp in range(CLIENTS):
            await self.call(th, "rmdir", self.tree.root_file(), b"d%d" % vp)

    def round(self, seed: int) -> int:
        """Let all clients work and clean up; return how many blocks of modelled memory are in use then."""
        now = self.machine.now
        for vp in range(CLIENTS):
            self.machine.processors[vp].idle_until(now)
            self.machine.spawn(VP(vp), self.client, seed)
        self.machine.run()
        self.machine.spawn(VP(0), self.tidy)
        self.machine.run()
        self.machine.check()

        async def rest(th: Thread) -> None:
            await self.call(th, "sweep", 0)
            for _ in range(400):
                await th.sleep(100_000)
                if not self.cos.pending:
                    return

        for vp in range(CLIENTS):
            self.machine.spawn(VP(vp), rest)
        self.machine.run()
        return self.machine.memory.live_blocks


def _storms(subject: _Subject, seeds: int) -> Iterator[Case]:
    for seed in range(seeds):
        yield lambda seed=seed: _Site(subject, seed).round(seed)  # type: ignore[misc]


def _memory(subject: _Subject) -> Iterator[Case]:
    def settle() -> None:
        site = _Site(subject, 0)
        used = [site.round(turn) for turn in range(4)]
        if used[-1] > used[1]:
            raise NotConformingError(f"blocks of modelled memory after each of four rounds: {used}")

    yield settle
