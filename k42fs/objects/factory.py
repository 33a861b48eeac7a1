"""Dynamic update: new code for all objects of a kind, while they are in use.

    update = await cos.factories.update(th, load_replacement(path))
    await update.wait(th)

A *replacement* is an implementation with a version: a module of its own, loaded from a file, holds one under the name
REPLACEMENT. From the step in which an update begins, new objects are made by the new code (`on_update`: who makes
objects of the kind says how it is told), and every object that is there is swapped for one of the new version. One
thread per processor does that for the objects it owns:

* an object that is just being swapped, or has an arbiter before it, is tried again later;
* one that dies drops out;
* one whose swap is aborted is tried again a few times, and then stays what it is and is reported;
* one that the new code fails on stays what it is and is reported.

The update is done, and its callback called, once and last, when every object of the list is accounted for.

Refused, with nothing changed: a version that is not the next one, a kind that nothing is known of, a maker that makes
something else, implementations in use that have no form of state the new one can take, a second update of the kind.

K42: lib/libc/cobj/Factory.C (Update), hot-swapping white paper.
Differs: K42 swaps a factory object that lists its instances, and joins the updates inside the factory's own state
transfer, where they wait for what waits for them; here the global table is the list, and no step of an update
is waited for by another. Versions count per kind, from 1.
"""

from __future__ import annotations

import importlib.util
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from k42fs.errors import (
    ConfigError,
    DeletedObjectError,
    InTransitionError,
    K42Error,
    NotSwappableError,
    SwapAbortedError,
)
from k42fs.ids import VP, Ref
from k42fs.objects.captured import object_root
from k42fs.objects.implementations import Implementation, Make, implementation_name, kind_of, kinds, register
from k42fs.objects.root import CObjRoot
from k42fs.objects.transfer import agreed_type
from k42fs.objects.translation import owner_of
from k42fs.objects.workers import start_on

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread
    from k42fs.objects.cosmgr import COSMgr

ABORTS_MAX: Final = 3
TRIES_MAX: Final = 200
"""How often an object that is in transition is tried again before it is given up."""

RETRY_US: Final = 100
AT_ONCE: Final = 16
"""Swaps after which a live update lets requests go first."""

RECENT: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """New code for a kind of object.

    Attributes:
        make: builds the new root on the ref of an old one, empty: see `implementations.py`.
        create: makes a new object, for whoever makes those of this kind and so has called `on_update`.
        replaces: names of the implementations concerned, all of the kind if None.
    """

    kind: str
    name: str
    version: int
    make: Make
    create: Any = None
    replaces: frozenset[str] | None = None
    describe: str = ""


_loaded = count(1)


def load_replacement(path: Path) -> Replacement:
    """Return the REPLACEMENT of the Python module in the file *path*, which is run.

    Raises: ConfigError: it cannot be read or run, or has none.
    """
    spec = importlib.util.spec_from_file_location(f"k42fs_update_{next(_loaded)}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"module={path}: is no Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as exc:  # whatever somebody else's module raises
        raise ConfigError(f"module={path}: {type(exc).__name__}: {exc}") from exc
    found = getattr(module, "REPLACEMENT", None)
    if not isinstance(found, Replacement):
        raise ConfigError(f"module={path}: must define REPLACEMENT, a Replacement")
    return found


@dataclass(eq=False)
class Update:
    """One update under way, or done. `left` objects are not accounted for yet."""

    replacement: Replacement
    total: int
    left: int
    replaced: int = 0
    dropped: int = 0
    retried: int = 0
    failures: list[str] = field(default_factory=list)
    _waiters: dict[Thread, None] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        return not self.left

    async def wait(self, th: Thread) -> None:
        """Wait until every object is accounted for. *th* holds no rep, ref or lock."""
        machine = th.machine
        assert not th.held, f"{th!r} waits for an update while it holds {th.held!r}"
        self._waiters[th] = None
        try:
            if machine.live:
                machine.let_others_run()
            while self.left:
                await th.block()
        finally:
            del self._waiters[th]

    def account(self, by: Thread) -> None:
        """One object less."""
        self.left -= 1
        if not self.left:
            for th in self._waiters:
                by.unblock(th)

    def report(self) -> dict[str, Any]:
        """Return how it stands, ready for JSON."""
        new = self.replacement
        return {
            "kind": new.kind, "implementation": new.name, "version": new.version, "is_done": self.is_done,
            "objects": self.total, "replaced": self.replaced, "dropped": self.dropped, "retried": self.retried,
            "failures": self.failures,
        }  # fmt: skip


class Factories:
    """The versions of all kinds of objects in one address space, and the updates of them."""

    def __init__(self, cos: COSMgr) -> None:
        self.cos = cos
        self.versions: dict[str, int] = {}
        self.under_way: dict[str, Update] = {}
        self.recent: deque[Update] = deque(maxlen=RECENT)
        self._creators: dict[str, list[Callable[[Replacement], None]]] = {}

    def on_update(self, kind: str, tell: Callable[[Replacement], None]) -> None:
        """Let *tell* be called when an update of *kind* begins: from then on, new objects are the replacement's."""
        self._creators.setdefault(kind, []).append(tell)

    def version(self, kind: str) -> int:
        """Return the version of *kind*: 1 until its first update."""
        return self.versions.get(kind, 1)

    async def update(
        self, th: Thread, new: Replacement, callback: Callable[[Update], object] | None = None
    ) -> Update:
        """Begin to replace all objects of a kind.

        Raises: nothing has changed then:
            ConfigError: the version, the kind or what is made does not fit.
            NotSwappableError: an implementation in use has no form of state that the new one can take.
            InTransitionError: an update of the kind is under way.
        """
        self._check(new)
        await self._try(th, new)
        # From here to the snapshot nothing else runs: an object is in the list, or made by the new code.
        self._check(new)
        register(Implementation(new.kind, new.name, new.make, new.describe))
        self.versions[new.kind] = new.version
        if new.create is not None:
            for tell in self._creators.get(new.kind, ()):
                tell(new)
        refs = [root.ref for root in self._concerned(new)]
        update = Update(new, len(refs), len(refs))
        self.under_way[new.kind] = update
        self.recent.append(update)
        if not refs:
            self._finish(update, callback)
        parts: dict[VP, deque[Ref]] = {}
        for ref in refs:
            parts.setdefault(owner_of(ref), deque()).append(ref)
        for vp, part in parts.items():
            body = partial(self._update_part, update=update, part=part, callback=callback)
            await start_on(self.cos.machine, th, vp, body, f"update of {new.kind}")
        return update

    def _concerned(self, new: Replacement) -> list[CObjRoot]:
        """Return the roots of the objects to be replaced, those in transition included."""
        every = (object_root(root) for root in self.cos.objects())
        roots = (root for root in every if isinstance(root, CObjRoot) and kind_of(root) == new.kind)
        return [
            root
            for root in roots
            if not self.cos.is_dying(root.ref)
            and (new.replaces is None or implementation_name(root) in new.replaces)
        ]

    def _check(self, new: Replacement) -> None:
        if new.kind in self.under_way:
            raise InTransitionError(f"an update of {new.kind} is under way")
        if new.kind not in kinds():
            raise ConfigError(f"kind={new.kind}: unknown; one of {', '.join(kinds())}")
        if new.create is None and new.kind in self._creators:
            raise ConfigError(f"create: must be given, as objects of kind {new.kind} are made all the time")
        version = self.version(new.kind)
        if new.version != version + 1:
            raise ConfigError(
                f"version={new.version}: {new.kind} has version {version}, the next is {version + 1}"
            )

    async def _try(self, th: Thread, new: Replacement) -> None:
        """Make the replacement of one object of each implementation in use, to see that it fits; destroy them."""
        # An object in transition exports nothing: another one of its implementation tells, or its own swap.
        examples = {implementation_name(root): root for root in self._concerned(new) if root.exports}
        for name, root in examples.items():
            trial = await self._make(th, new, root)
            form = agreed_type(root.exports, trial.imports)
            await self.cos.swaps.retire(th, trial)
            if form is None:
                raise NotSwappableError(f"{new.kind} {name} has no form of state that {new.name} can take")

    async def _make(self, th: Thread, new: Replacement, old: CObjRoot) -> CObjRoot:
        """Make the replacement of *old*. Raises: ConfigError: it is not what it says, and is gone again."""
        try:
            made = new.make(self.cos, th, old)
        except Exception as exc:  # whatever somebody else's module raises
            raise ConfigError(f"make: {type(exc).__name__}: {exc}") from exc
        if not isinstance(made, CObjRoot):
            raise ConfigError(f"make: makes a {type(made).__name__}, not the root of an object")
        if made.ref != old.ref:
            await self.cos.destroy(th, made.ref)
            raise ConfigError(
                f"make: made ref {made.ref} of its own; must take ref={old.ref}, the old root's"
            )
        kind, name = kind_of(made), implementation_name(made)
        if (kind, name) != (new.kind, new.name):
            await self.cos.swaps.retire(th, made)
            wrong = f"a {kind or type(made).__name__}" if kind != new.kind else f"the implementation {name!r}"
            raise ConfigError(f"make: makes {wrong}, not {new.name!r} of {new.kind}")
        return made

    async def _update_part(
        self, th: Thread, update: Update, part: deque[Ref], callback: Callable[[Update], object] | None
    ) -> None:
        """Replace the objects of *part*, those that cannot be now again after the others."""
        tries: dict[Ref, int] = {}
        pause = RETRY_US * th.machine.config.mhz
        swapped = 0
        while part:
            ref = part.popleft()
            if not await self._replace(th, update, ref, tries):
                part.append(ref)
                update.retried += 1
                await th.sleep(pause)
                continue
            update.account(th)
            if update.is_done:
                self._finish(update, callback)
            swapped += 1
            if th.machine.live and not swapped % AT_ONCE:
                await th.sleep(pause)

    async def _replace(self, th: Thread, update: Update, ref: Ref, tries: dict[Ref, int]) -> bool:
        """Replace one object; say whether it is accounted for."""
        cos, new = self.cos, update.replacement
        tries[ref] = tries.get(ref, 0) + 1
        try:
            root = cos.swaps.settled_root(ref)
            assert isinstance(root, CObjRoot), f"ref {ref} was an object's"
            swap = await cos.swaps.switch(th, ref, await self._make(th, new, root))
            await swap.wait(th)
        except DeletedObjectError:
            update.dropped += 1
        except (InTransitionError, SwapAbortedError) as exc:
            if tries[ref] < (TRIES_MAX if isinstance(exc, InTransitionError) else ABORTS_MAX):
                return False
            update.failures.append(str(exc))
        except Exception as exc:  # the others have their turn, whatever the new code did to this one
            text = str(exc) if isinstance(exc, K42Error) else f"{type(exc).__name__}: {exc}"
            update.failures.append(text)
        else:
            update.replaced += 1
        return True

    def _finish(self, update: Update, callback: Callable[[Update], object] | None) -> None:
        del self.under_way[update.replacement.kind]
        if callback is not None:
            callback(update)
