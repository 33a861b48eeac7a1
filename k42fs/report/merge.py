"""Streams in one order of time: by stamp, then by processor, then as recorded.

Packets are merged a piece at a time, so that a recording need not fit in memory: what lies before the earliest
last stamp of all the streams at hand can be sorted, for nothing earlier will come. Sorting concatenated pieces
costs half of what a heap does: they are runs already.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Final

from k42fs.report.decode import Record

TIME = itemgetter(0)
NEVER: Final = 1 << 80
"""Later than any stamp."""


class _Source:
    """A stream on its way into the merge: what of it is at hand, and whether that is all."""

    __slots__ = ("_rest", "at_hand", "ended")

    def __init__(self, stream: Iterator[list[Record]]) -> None:
        self._rest = stream
        self.at_hand: list[Record] = []
        self.ended = False
        self.fetch()

    def fetch(self) -> None:
        """Get the next packet. It may begin at the very stamp at which the last one ended."""
        more = next(self._rest, None)
        if more is None:
            self.ended = True
        else:
            self.at_hand = self.at_hand + more if self.at_hand else more

    def take(self, limit: int) -> list[Record]:
        """Take out what is before *limit*."""
        cut = bisect_left(self.at_hand, limit, key=TIME)
        taken, self.at_hand = self.at_hand[:cut], self.at_hand[cut:]
        return taken

    def rest(self) -> Iterator[list[Record]]:
        if self.at_hand:
            yield self.at_hand
        yield from self._rest


def merged(streams: Sequence[Iterator[list[Record]]]) -> Iterator[list[Record]]:
    """Yield all records in order, in lists. *streams* are in order of processors, each in order of time."""
    sources = [_Source(stream) for stream in streams]
    while len(sources) > 1:
        limit = min((each.at_hand[-1][0] for each in sources if not each.ended), default=NEVER)
        piece = [record for each in sources for record in each.take(limit)]
        if piece:
            piece.sort(key=TIME)
            yield piece
        for each in sources:
            if not each.ended and each.at_hand[-1][0] == limit:
                each.fetch()
        sources = [each for each in sources if each.at_hand or not each.ended]
    for each in sources:
        yield from each.rest()
