"""Spin locks to compare K42's with: test-and-set, test-and-test-and-set, ticket, MCS.

What a hand-over costs among w waiters, in coherence transactions:

    tas     every waiter keeps a read-modify-write outstanding, the release queues among them: w transfers
    ttas    all copies are invalidated, w reads and up to w read-modify-writes follow: w transfers
    ticket  all copies are invalidated, w reads queue at the home: w invalidations, one transfer
    mcs     each spins on a line of its own: four transfers, however many wait

Source: Mellor-Crummey, Scott, "Algorithms for Scalable Synchronization on Shared-Memory Multiprocessors".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from k42fs.ids import Addr
from k42fs.machine.layout import READ, RMW, WORD_BYTES, WRITE, Kind
from k42fs.machine.spin_lock import PARK, SpinLock, Steps
from k42fs.machine.thread import Thread

if TYPE_CHECKING:
    from k42fs.machine.driver import Machine


class TasLock(SpinLock):
    """Test-and-set: swap 1 in until 0 comes out."""

    __slots__ = ("_word",)

    kind = "tas"

    def _prepare(self) -> None:
        super()._prepare()
        self._word = False

    def _acquiring(self, th: Thread) -> Steps:
        while True:
            yield RMW, self.addr
            if not self._word:
                self._word = True
                return

    def _releasing(self, th: Thread) -> Steps:
        yield WRITE, self.addr
        self._word = False


class TtasLock(TasLock):
    """Test-and-test-and-set: read until it looks free, only then swap."""

    __slots__ = ()

    kind = "ttas"

    def _acquiring(self, th: Thread) -> Steps:
        while True:
            yield READ, self.addr
            if self._word:
                yield PARK, self.addr
                continue
            yield RMW, self.addr
            if not self._word:
                self._word = True
                return


class TicketLock(SpinLock):
    """Draw a number and read the display until it shows that number. The display is at *serving_addr*, by
    default in the word after the counter."""

    __slots__ = ("_abandoned", "_drawn", "_next", "_serving", "_serving_addr")

    kind = "ticket"

    def __init__(
        self,
        machine: Machine,
        addr: int,
        rank: int = 0,
        name: str = "lock",
        owner: object = None,
        spans_calls: bool = False,
        *,
        serving_addr: int | None = None,
    ) -> None:
        super().__init__(machine, addr, rank, name, owner, spans_calls)
        self._serving_addr = addr + WORD_BYTES if serving_addr is None else serving_addr
        self._next = 0
        self._serving = 0
        self._drawn: dict[Thread, int] = {}
        self._abandoned: set[int] = set()

    def _has_waiters(self) -> bool:
        return self._next != self._serving

    def _acquiring(self, th: Thread) -> Steps:
        yield RMW, self.addr
        mine = self._drawn[th] = self._next
        self._next += 1
        while True:
            yield READ, self._serving_addr
            if self._serving == mine:
                del self._drawn[th]
                return
            yield PARK, self._serving_addr

    def _releasing(self, th: Thread) -> Steps:
        yield WRITE, self._serving_addr
        self._serve_next()

    def _serve_next(self) -> None:
        self._serving += 1
        while self._serving in self._abandoned:
            self._abandoned.remove(self._serving)
            self._serving += 1

    def _abandon(self, th: Thread) -> None:
        mine = self._drawn.pop(th, None)
        if mine is None:
            return
        if mine == self._serving:
            self._serve_next()
        else:
            self._abandoned.add(mine)


class _Node:
    """A waiter's place in an MCS queue: a flag that its predecessor clears, a link that its successor sets."""

    __slots__ = ("before", "flag", "is_dead", "is_locked", "is_released", "link", "next", "vp")

    def __init__(self, vp: int, flag: int, link: int) -> None:
        self.vp = vp
        self.flag = flag
        self.link = link
        self.before: _Node | None = None  # while it is in the queue, but not linked yet
        self.next: _Node | None = None
        self.is_locked = True
        self.is_released = False  # its thread left before its successor had linked itself
        self.is_dead = False


class McsLock(SpinLock):
    """A queue of nodes, each spun on by its own thread. Unlike K42's SLock the holder keeps its node.

    *is_split*: a node's flag and link are on two lines, as if padded.
    """

    __slots__ = ("_is_split", "_nodes", "_tail")

    kind = "mcs"

    def __init__(
        self,
        machine: Machine,
        addr: int,
        rank: int = 0,
        name: str = "lock",
        owner: object = None,
        spans_calls: bool = False,
        *,
        is_split: bool = False,
    ) -> None:
        super().__init__(machine, addr, rank, name, owner, spans_calls)
        self._is_split = is_split
        self._tail: _Node | None = None
        self._nodes: dict[Thread, _Node] = {}

    def _has_waiters(self) -> bool:
        return self._tail is not None

    def _acquiring(self, th: Thread) -> Steps:
        node = self._nodes[th] = self._make_node(th)
        yield WRITE, node.flag
        yield RMW, self.addr
        before, self._tail = self._tail, node
        if before is None:
            return
        node.before = before
        yield WRITE, before.link
        self._link(node)
        while True:
            yield READ, node.flag
            if not node.is_locked:
                return
            yield PARK, node.flag

    def _releasing(self, th: Thread) -> Steps:
        node = self._nodes.pop(th)
        self.machine.memory.free(node.vp, Addr(node.flag))
        yield READ, node.link
        if node.next is None:
            yield RMW, self.addr
            if self._tail is node:
                self._tail = None
                return
            while node.next is None:
                yield READ, node.link
                if node.next is None:
                    try:
                        yield PARK, node.link
                    except GeneratorExit:  # we cannot wait: whoever links itself will see that we have gone
                        node.is_released = True
                        raise
        yield WRITE, node.next.flag
        self._pass_to(node.next)

    def _link(self, node: _Node) -> None:
        before, node.before = node.before, None
        if before is not None:
            before.next = node
            if before.is_released:
                self._pass_to(node)

    def _pass_to(self, heir: _Node) -> None:
        heir.is_locked = False
        if heir.is_dead:
            self._skip(heir)

    def _skip(self, node: _Node) -> None:
        """*node*, whose thread is dead, has the lock: give it to the next."""
        if node.next is not None:
            self._pass_to(node.next)
        elif self._tail is node:
            self._tail = None
        else:
            node.is_released = True

    def _abandon(self, th: Thread) -> None:
        node = self._nodes.pop(th, None)
        if node is None:
            return
        self.machine.memory.free(node.vp, Addr(node.flag))
        node.is_dead = True
        if node.is_locked:
            self._link(node)  # if it had no time to
        else:
            self._skip(node)

    def _make_node(self, th: Thread) -> _Node:
        line = self.machine.config.line_bytes
        flag = self.machine.memory.alloc(th.vp, 2 * line if self._is_split else line, Kind.LOCAL_STRICT)
        return _Node(th.vp, flag, flag + (line if self._is_split else WORD_BYTES))


SPIN_LOCKS: Final[dict[str, type[SpinLock]]] = {
    lock.kind: lock for lock in (TasLock, TtasLock, TicketLock, McsLock)
}
"""By kind, for configurations that name one."""
