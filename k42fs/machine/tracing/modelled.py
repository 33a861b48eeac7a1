"""K42's log on modelled memory: what logging itself costs the machine, and who shares a log pays.

The tracer observes: it takes no time. This is for the question K42's design answers, so every step of the
protocol in reserve.py is charged to the line it is done to, and other processors come between the steps. One
log for each processor keeps all of them in its own cache; one for all moves the index from cache to cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from k42fs.ids import Addr
from k42fs.machine.layout import WORD_BYTES, Kind
from k42fs.machine.tracing.reserve import Buffers, Step

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from k42fs.machine.driver import Machine
    from k42fs.machine.thread import Thread

LOG_CYCLES: Final = 24
"""Instructions of logging an event, by K42's white paper on performance monitoring."""


class ModelledLog:
    """Buffers in the memory of processor *vp*: the index, the counts and the words each on lines of their own."""

    def __init__(self, machine: Machine, vp: int, size: int = 256, number: int = 4) -> None:
        self._now = 0
        self.buffers = Buffers(size, number, lambda: self._now)
        alloc = machine.memory.alloc
        self._index = alloc(vp, WORD_BYTES, Kind.GLOBAL_PADDED, owner=self)
        self._counts = alloc(vp, WORD_BYTES * number, Kind.GLOBAL_PADDED, owner=self)
        self._words = alloc(vp, WORD_BYTES * size * number, Kind.GLOBAL_PADDED, owner=self)

    def label(self) -> str:
        return "trace buffers"

    async def log(self, th: Thread, event_id: int, payload: Sequence[int]) -> None:
        """Log one event on th's time."""
        th.work(LOG_CYCLES)
        self._now = th.proc.clock
        for step, place in self.buffers.log(event_id, payload):
            await self._charge(th, step, place)
            self._now = th.proc.clock

    def _charge(self, th: Thread, step: Step, place: int) -> Awaitable[None]:
        match step:
            case Step.READ_INDEX:
                return th.load(self._index)
            case Step.SWAP_INDEX:
                return th.rmw(self._index)
            case Step.READ_COUNT:
                return th.load(self._at(self._counts, place))
            case Step.ADD_COUNT | Step.TAINT:
                return th.rmw(self._at(self._counts, place))
            case Step.WRITE:
                return th.store(self._at(self._words, place % len(self.buffers.words)))
            case Step.COPY:
                return th.load(self._at(self._words, place))

    def _at(self, base: Addr, place: int) -> int:
        return base + WORD_BYTES * place
