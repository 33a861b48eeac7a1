"""Questions asked again and again: what is kept for each asker, so that an answer can say what has changed.

A question is `ROWS [ASKER]`. Without ASKER, any word, the answer says what changed since the last question on the same
open file. Who holds a file open keeps the mount from being unmounted; a program that runs for hours opens, asks,
closes, and gives a word of its own by which it is known again. The last `ASKERS_MAX` words are known; one that is
forgotten is answered as at its first question.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from k42fs.errors import InvalidArgumentError
from k42fs.machine import Thread

ASKERS_MAX: Final = 8
WORD_MAX: Final = 64

S = TypeVar("S")


class Repeated(Generic[S]):
    """One file that is asked like this. *answer* gets how many rows are wanted and what is kept for the asker, which
    *start* makes; it returns what is ready for JSON."""

    def __init__(
        self,
        start: Callable[[], S],
        answer: Callable[[int, S], Any],
        encode: Callable[[Any], bytes],
        rows_max: int,
    ) -> None:
        self.start = start
        self._answer = answer
        self._encode = encode
        self._rows_max = rows_max
        self._kept: OrderedDict[bytes, S] = OrderedDict()

    @property
    def usage(self) -> str:
        return f"open for reading and writing, write how many rows (1 to {self._rows_max}), read the answer"

    def answer(self, question: bytes, own: S) -> bytes:
        """Return the answer; *own* is what is kept for the open file.

        Raises:
            InvalidArgumentError: *question* is not ROWS [ASKER].
        """
        rows, *rest = question.split() or [b""]
        if not rows.isdigit() or not 1 <= int(rows) <= self._rows_max or len(rest) > 1:
            raise InvalidArgumentError(f"write how many rows, 1 to {self._rows_max}")
        if rest and len(rest[0]) > WORD_MAX:
            raise InvalidArgumentError(f"the asker's word is longer than {WORD_MAX} bytes")
        return self._encode(self._answer(int(rows), self._known(rest[0]) if rest else own))

    def _known(self, word: bytes) -> S:
        kept = self._kept.pop(word, None)
        kept = self._kept[word] = self.start() if kept is None else kept
        if len(self._kept) > ASKERS_MAX:
            self._kept.popitem(last=False)
        return kept


class Asking(Generic[S]):
    """The transaction of one open handle. It only looks: no figure changes by it."""

    does_work = False

    def __init__(self, file: Repeated[S]) -> None:
        self._file = file
        self._own = file.start()
        self.answer = b""

    async def ask(self, _th: Thread, question: bytes) -> None:
        """Find the answer. Raises InvalidArgumentError."""
        self.answer = b""
        self.answer = self._file.answer(question, self._own)

    async def end(self, _th: Thread) -> None:
        """Nothing is kept but what goes with the handle, or is kept for the asker's word."""
