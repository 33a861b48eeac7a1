"""Objects to swap, which notice whatever a swap must not do, and steps that may have to wait."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from k42fs.errors import K42Error
from k42fs.ids import VP, Ref
from k42fs.machine.live import OperationSuspended, Suspended
from k42fs.machine.thread import Thread
from k42fs.objects import COSMgr, MultiRepRoot, Rep, SingleRepRoot
from k42fs.objects.mediator import Mediator
from k42fs.objects.transfer import TransferType, TransferTypes, is_first
from tests.objects.lab import Lab

TEST = TransferType.TEST
PARTS = TransferType.COUNTER_PARTITIONED_VAL


@dataclass
class Board:
    """What all versions of one object share in a test: what happened, and who must wait for the test's word."""

    log: list[str] = field(default_factory=list)
    inside: dict[str, int] = field(default_factory=dict)  # calls running, by version
    waiting: list[Thread] = field(default_factory=list)
    is_open: bool = False
    export_fails: Exception | None = None
    import_fails: Exception | None = None
    commit_fails: Exception | None = None
    export_waits: bool = False
    also: Callable[[Thread], Coroutine[Any, Any, Any]] | None = None  # done by `stay` before it returns

    def open(self, by: Thread) -> None:
        """Let everybody go who waits here, now and later."""
        self.is_open = True
        for th in self.waiting:
            by.unblock(th)
        self.waiting.clear()

    async def pass_by(self, th: Thread) -> None:
        while not self.is_open:
            self.waiting.append(th)
            await th.block()

    @contextmanager
    def within(self, version: str) -> Iterator[None]:
        self.inside[version] = self.inside.get(version, 0) + 1
        try:
            yield
        finally:
            self.inside[version] -= 1

    @property
    def is_empty(self) -> bool:
        return not any(self.inside.values())


class Version(Rep):
    """One version of an object with a total. Nobody may run in any version while the total moves."""

    kind: ClassVar[str] = "Thing"
    exports: ClassVar[TransferTypes] = frozenset((TEST,))
    imports: ClassVar[TransferTypes] = frozenset((TEST, PARTS))

    def __init__(self, name: str, board: Board) -> None:
        self.name = name
        self.board = board
        self.total: int | None = None
        self.commits = 0

    async def add(self, th: Thread, amount: int = 1) -> str:
        with self.board.within(self.name):
            await th.sleep(50)
            assert self.total is not None, f"{self.name} was called before it had its state"
            self.total += amount
            return self.name

    async def value(self, th: Thread) -> int:
        assert self.total is not None
        return self.total

    async def stay(self, th: Thread) -> str:
        """Return when the board is opened."""
        with self.board.within(self.name):
            await self.board.pass_by(th)
            if self.board.also is not None:
                await self.board.also(th)
            return self.name

    async def fail(self, th: Thread) -> None:
        with self.board.within(self.name):
            raise K42Error("as asked")

    async def replace(self, th: Thread, name: str) -> str:
        """Have the object swapped from inside; return who it was."""
        with self.board.within(self.name):
            cos: COSMgr = self.root.cos
            swap = await cos.switch(th, self.ref, version(cos, name, self.board, self.ref))
            assert not swap.is_done
            return self.name

    async def export_state(self, th: Thread, form: TransferType) -> int | None:
        self._moving("exports")
        if self.board.export_waits:
            await self.board.pass_by(th)
        if self.board.export_fails is not None:
            raise self.board.export_fails
        return self.total

    async def import_state(self, th: Thread, state: int, form: TransferType) -> None:
        self._moving("imports")
        await th.sleep(100)
        if self.board.import_fails is not None:
            raise self.board.import_fails
        self.total = (self.total or 0) + state

    def _moving(self, what: str) -> None:
        assert self.board.is_empty, f"state moves while calls are inside: {self.board.inside}"
        self.board.log.append(f"{self.name} {what}")

    def committed(self, th: Thread) -> None:
        self.commits += 1
        if self.board.commit_fails is not None:
            raise self.board.commit_fails

    def cleanup(self, th: Thread) -> None:
        assert not self.board.inside.get(self.name), f"{self.name} is cleaned up under a call"
        self.board.log.append(f"{self.name} gone")


class Split(Rep):
    """The part of a split version on one processor."""

    def __init__(self, name: str, board: Board) -> None:
        self.name = name
        self.board = board
        self.total = 0

    async def add(self, th: Thread, amount: int = 1) -> str:
        with self.board.within(self.name):
            await th.sleep(50)
            self.total += amount
            return self.name

    async def value(self, th: Thread) -> int:
        return sum(rep.total for _, rep in self.root.reps())

    def cleanup(self, th: Thread) -> None:
        self.board.log.append(f"{self.name} part gone on {th.vp}")


class SplitRoot(MultiRepRoot):
    """A version with a part of the total on each processor."""

    kind: ClassVar[str] = "Thing"

    def __init__(
        self, cos: COSMgr, name: str, board: Board, ref: Ref | None = None, cluster: int = 1
    ) -> None:
        super().__init__(cos, cluster, ref=ref)
        self.name = name
        self.board = board

    def create_rep(self, vp: VP) -> Split:
        return Split(self.name, self.board)

    @property
    def exports(self) -> TransferTypes:
        return frozenset((PARTS,))

    @property
    def imports(self) -> TransferTypes:
        return frozenset((PARTS, TEST))

    async def export_state(self, th: Thread, kind: TransferType, vps: int) -> int | None:
        assert self.board.is_empty
        self.board.log.append(f"{self.name} exports on {th.vp}")
        return self.rep_made_on(th.vp).total if self.rep_set >> th.vp & 1 else None

    async def import_state(self, th: Thread, state: object | None, kind: TransferType, vps: int) -> None:
        assert self.board.is_empty
        if isinstance(state, int):
            assert kind is PARTS or is_first(th, vps)
            self.board.log.append(f"{self.name} imports on {th.vp}")
            (await self.rep_for(th)).total += state


def version(cos: COSMgr, name: str, board: Board, ref: Ref | None = None) -> SingleRepRoot:
    rep = Version(name, board)
    if ref is None:
        rep.total = 0
    return SingleRepRoot(cos, rep, ref=ref)


class SwapLab(Lab):
    """A lab whose steps may wait, with one object to swap."""

    def __init__(self, processors: int = 4, **options: Any) -> None:  # noqa: ANN401
        super().__init__(processors, **options)
        self.board = Board()
        self.ref = version(self.cos, "old", self.board).ref
        self.passer: Any = None

    def start(self, coro: Coroutine[Any, Any, Any]) -> Suspended:
        """Begin a step that is to wait."""
        try:
            value = self.machine.drive(coro)
        except OperationSuspended as parked:
            return parked.operation
        raise AssertionError(f"the step has ended already, with {value!r}")

    def begin(self, vp: int, method: str, *args: object) -> Suspended:
        """Begin a call of the object on *vp* that is to wait; its thread leaves when it ends."""
        th = self.enter(vp)
        operation = self.start(getattr(th.deref(self.ref), method)(th, *args))
        operation.on_done = lambda: self.leave(th)
        return operation

    def touch(self, *vps: int) -> None:
        for vp in vps:
            self.call_on(vp, self.ref, "add", 1)

    def switch(self, vp: int, root: Any = None, **options: Any) -> Any:  # noqa: ANN401
        """Begin a swap from a thread on *vp*, which leaves; return the swap."""
        th = self.enter(vp)
        root = version(self.cos, "new", self.board, self.ref) if root is None else root
        try:
            return self.run(self.cos.switch(th, self.ref, root, **options))
        finally:
            self.leave(th)

    def open(self, vp: int = 0) -> None:
        """Open the board from a thread on *vp*."""
        th = self.enter(vp)
        self.board.open(th)
        self.leave(th)

    def assert_settled(self) -> None:
        """No swap has left anything behind in the entries of the object."""
        assert self.word_of(self.ref) == 0, "flags are left in the entry's state"
        for proc in self.machine.processors:
            rep = proc.ltt.get(self.ref)
            assert not isinstance(rep, Mediator), f"a mediator is left on processor {proc.vp}"
        assert not self.cos.swaps.under_way
        assert not self.cos.swaps.inside
        assert not self.cos.swaps.waiting

    def assert_reclaimed(self) -> None:
        """After some rounds only the object itself is there, and its ref."""
        self.sweep(8)
        assert (self.cos.statistics()["live"], self.cos.pending) == (1, 0)
