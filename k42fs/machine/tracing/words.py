"""The words of events on their way from emitters to packets, in Python and, where that was built, in C.

Here an event is one item longer than in a packet: its header without the stamp, the whole stamp, then the payload.
Emitters have no time for arithmetic. What is in C (fast_words.pyx) records the same, to the byte.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from k42fs.machine.tracing.split import Body, count_events, in_order, split

try:
    from k42fs.machine.tracing import fast_words
except ImportError:
    fast_words = None  # type: ignore[assignment]


class PlainWords(list[int]):
    """The words of events that are in no packet yet. Another host thread may add some at any time."""

    __slots__ = ()

    def take(self) -> list[int]:
        """Return all items, and forget them."""
        count = len(self)
        taken = self[:count]
        del self[:count]
        return taken

    def events(self) -> int:
        """Return how many events there are."""
        return count_events(self)

    def cut(self, last: int, everything: bool) -> list[Body]:
        """Take out what fills packets, and with *everything* also what does not fill one.

        If a stamp is before its predecessor's, or the first before *last*, what is there is sorted first.
        """
        words = self.take()
        bodies = split(words, last)
        if bodies is None:
            words = in_order(words, last)
            bodies = split(words, last)
            assert bodies is not None, "sorted and clamped, yet out of order"
        if bodies and not everything:
            self[:0] = words[bodies.pop().start :]
        return bodies


if TYPE_CHECKING:
    Words = PlainWords | fast_words.Words


def is_compiled() -> bool:
    """Tell whether events are kept and emitted in C."""
    return fast_words is not None and sys.byteorder == "little"


def new_words() -> Words:
    """Return where a stream's events go."""
    return fast_words.Words() if is_compiled() else PlainWords()
