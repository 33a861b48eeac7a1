"""K42's lock-free log: reserve, write, commit, step by step on the buffers of one processor.

Emitters of this program do all three in one indivisible call (emitters.py). This is what K42 had to do about
preemption: before each step on shared memory there is a `yield`, so that a test can try every order, and a
machine can charge each step to a line. The protocol:

1. old = index; new = old + length. If that would cross a buffer's end, the event goes to the next one's start.
2. Read the clock, now, and not before step 1: else stamps could be out of order.
3. Compare and swap index from old to new; if another was faster, begin again. From here the words are ours.
4. Who skipped a gap fills it (K42's filler).
5. Write the words, then add their number to the buffer's count: it is complete when nothing is missing.

Counts run on from lap to lap, so a buffer is complete in lap n (from 0) at (n + 1) x size, and before anybody
enters it in lap n, nobody is still at work in it if the count is n x size. The first to enter looks at that
*before* step 3: later, one who slept a whole lap could have written over newer words and have added his number,
and the buffer would look complete. If somebody is still at work, this lap of the buffer is tainted: never
delivered. The taint is known before the buffer can be complete, for the first one's own words are in it.

K42: lib/libc/trace/traceReserve.H, traceLib.H. Differs: K42 subtracts `size` at each boundary, has no taint, and
delivers the sleeper's garbage; a killed writer makes one buffer incomplete there for ever, here until
`write_off`. Who begins a buffer does its housekeeping; in K42 it is who ends one exactly, too.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from enum import Enum, auto
from typing import Final

from k42fs.machine.tracing.packing import header
from k42fs.machine.tracing.schema import MAX_WORDS

FILLER: Final = 0x200001
"""OS::Default::Filler's id."""


class Step(Enum):
    """What comes next: an access to a word that all loggers of the buffers share."""

    READ_INDEX = auto()
    READ_COUNT = auto()
    SWAP_INDEX = auto()
    TAINT = auto()
    WRITE = auto()
    ADD_COUNT = auto()
    COPY = auto()


Access = tuple[Step, int]
"""A step, and the word or the buffer that it is done to."""

Steps = Generator[Access, None, None]


class Buffers:
    """One processor's log: *number* buffers of *size* words, both powers of two. An event fits in a buffer.

    `index` counts words and never wraps; `counts` are words committed since the start, by buffer. `consumed`
    buffers have been carried away or, of which `discarded`, given up.
    """

    def __init__(self, size: int, number: int, clock: Callable[[], int]) -> None:
        assert size.bit_count() == number.bit_count() == 1, "buffers: powers of two"
        self.size, self.number, self.clock = size, number, clock
        self.reset()

    def reset(self) -> None:
        """Begin again; nobody may be logging."""
        self.index = self.consumed = self.discarded = 0
        self.words = [0] * (self.size * self.number)
        self.counts = [0] * self.number
        self.tainted: set[int] = set()

    def log(self, event_id: int, payload: Sequence[int]) -> Steps:
        """Log one event. Another logger may come between any two steps."""
        length = 1 + len(payload)
        assert length <= min(self.size, MAX_WORDS), "an event fits in a buffer"
        old, start, stamp, is_clean = yield from self.reserve(length)
        if not is_clean:
            yield Step.TAINT, start // self.size % self.number
            self.tainted.add(start // self.size)
        if start > old:
            yield Step.WRITE, old
            self.write(old, header(stamp, start - old, FILLER))
            yield Step.ADD_COUNT, old // self.size % self.number
            self.add_count(old, start - old)
        yield from self.fill(start, (header(stamp, length, event_id), *payload))

    def reserve(self, length: int) -> Generator[Access, None, tuple[int, int, int, bool]]:
        """Return (index before, start, stamp, nobody is left in the buffer): the words are the caller's now."""
        while True:
            yield Step.READ_INDEX, 0
            old = start = self.index
            if old % self.size + length > self.size:
                start = (old // self.size + 1) * self.size
            is_clean = True
            if start % self.size == 0:
                yield Step.READ_COUNT, start // self.size % self.number
                is_clean = self.is_left(start // self.size)
            stamp = self.clock()
            yield Step.SWAP_INDEX, 0
            if self.swap_index(old, start + length):
                return old, start, stamp, is_clean

    def fill(self, start: int, words: Sequence[int]) -> Steps:
        """Write the words of an event, then say that they are there."""
        for position, word in enumerate(words, start):
            yield Step.WRITE, position
            self.write(position, word)
        yield Step.ADD_COUNT, start // self.size % self.number
        self.add_count(start, len(words))

    def swap_index(self, old: int, new: int) -> bool:
        if self.index != old:
            return False
        self.index = new
        return True

    def write(self, position: int, word: int) -> None:
        self.words[position % len(self.words)] = word

    def add_count(self, position: int, words: int) -> None:
        self.counts[position // self.size % self.number] += words

    def is_left(self, buffer: int) -> bool:
        """Tell whether nobody works in earlier laps of *buffer*, numbered from the start, before it is entered."""
        lap, place = divmod(buffer, self.number)
        return self.counts[place] == lap * self.size

    def is_complete(self, buffer: int) -> bool:
        """Tell whether every word of *buffer*, numbered from the start, is there, if it has not been lapped."""
        lap, place = divmod(buffer, self.number)
        return self.counts[place] == (lap + 1) * self.size

    def is_lapped(self, buffer: int) -> bool:
        """Tell whether loggers have come round to *buffer*'s words again."""
        return self.index > (buffer + self.number) * self.size

    def write_off(self, start: int, length: int) -> None:
        """Commit words that a killed logger had reserved and will never write; that lap is not delivered."""
        self.tainted.add(start // self.size)
        self.add_count(start, length)

    def take(self) -> Generator[Access, None, list[int] | None]:
        """Carry the oldest buffer away: return its words, or None if it is not complete or had to be given up."""
        buffer = self.consumed
        yield Step.READ_COUNT, buffer % self.number
        if not self.is_lapped(buffer):
            if buffer >= self.index // self.size or not self.is_complete(buffer):
                return None
            if buffer not in self.tainted:
                words = []
                first = buffer % self.number * self.size
                for position in range(first, first + self.size):
                    yield Step.COPY, position
                    words.append(self.words[position])
                yield Step.READ_INDEX, 0
                if not self.is_lapped(buffer):  # else they may have come round while we copied
                    self.consumed += 1
                    return words
        self.consumed += 1
        self.discarded += 1
        self.tainted.discard(buffer)
        return None
