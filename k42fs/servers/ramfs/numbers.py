"""Inode numbers, handed out per processor.

A processor takes numbers from the shared counter a block at a time and keeps those freed on it, so making
and deleting files touches no shared line. A number that comes back gets the next generation: (number,
generation) never repeats. A freed number waits in a queue before it is used again, so that a program which
compares inode numbers over a short while is not misled; what does not fit in the queue is never used again.

Differs: K42's ramfs had one counter and never reused a number.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from k42fs.ids import VP, Ino

BLOCK: Final = 64
REUSE_AFTER: Final = 64
"""How many freed numbers a processor keeps waiting before the oldest may return."""

KEPT_MAX: Final = 4096
FIRST_INO: Final = 1


class InodeNumbers:
    """The supply of (number, generation) pairs of one file system. The caller charges for it."""

    __slots__ = ("_blocks", "_freed", "_next")

    def __init__(self, processors: int) -> None:
        self._next = FIRST_INO
        self._blocks = [(0, 0)] * processors  # (next, end) of each processor's block
        self._freed: list[deque[tuple[Ino, int]]] = [deque(maxlen=KEPT_MAX) for _ in range(processors)]

    def take(self, vp: VP) -> tuple[Ino, int]:
        """A number that no live inode has, and its generation."""
        freed = self._freed[vp]
        if len(freed) > REUSE_AFTER:
            ino, generation = freed.popleft()
            return ino, generation + 1
        number, end = self._blocks[vp]
        if number == end:
            number = self._next
            end = self._next = number + BLOCK
        self._blocks[vp] = (number + 1, end)
        return Ino(number), 0

    def give(self, vp: VP, ino: Ino, generation: int) -> None:
        """Take back the number of a deleted inode."""
        self._freed[vp].append((ino, generation))


class OneSupply(InodeNumbers):
    """As `InodeNumbers`, but all processors take from one counter and one queue."""

    __slots__ = ()

    def __init__(self, processors: int) -> None:
        super().__init__(1)

    def take(self, vp: VP) -> tuple[Ino, int]:
        """A number that no live inode has, and its generation."""
        return super().take(VP(0))

    def give(self, vp: VP, ino: Ino, generation: int) -> None:
        """Take back the number of a deleted inode."""
        super().give(VP(0), ino, generation)


def is_fresh_block(ino: Ino, generation: int) -> bool:
    """Whether taking this number opened a block, which came from the shared counter."""
    return generation == 0 and (ino - FIRST_INO) % BLOCK == 0
