"""K42's reservation under every kind of preemption: what is delivered is whole and in order, what is not is counted.

Each mutant breaks one rule of the protocol and must be caught by the same checks (T1-T4, T9, T16).
"""

import random
from collections.abc import Generator
from typing import Any

import pytest

from k42fs.machine.tracing.packing import split_header
from k42fs.machine.tracing.reserve import FILLER, Access, Buffers, Step, Steps

SIZE, NUMBER = 16, 4


def k42_counts(buffers: Buffers) -> list[int]:
    """Return the counts as K42 shows them: `size` is complete, and so is a buffer not yet used."""
    lap, current = divmod(buffers.index // buffers.size, buffers.number)
    return [
        count - (lap if buffer <= current else lap - 1) * buffers.size
        for buffer, count in enumerate(buffers.counts)
    ]


class Wrong(AssertionError):
    """The checks below caught something."""


class Race:
    """Loggers and one who carries buffers away, interleaved by a seed; some loggers sleep for laps or are killed."""

    def __init__(self, kind: type[Buffers], seed: int, sleeps: float = 0.02, kills: float = 0.0) -> None:
        self.dice = random.Random(seed)
        self.now = 0
        self.buffers = kind(SIZE, NUMBER, lambda: self.now)
        self.sleeps, self.kills = sleeps, kills
        self.logged = 0
        self.delivered: list[int] = []
        self.last_stamp = -1
        self.awake: list[Generator[Access, None, Any]] = []
        self.asleep: list[Generator[Access, None, Any]] = []

    def logger(self) -> Steps:
        """Log one event whose payload gives it away if it is torn."""
        self.logged += 1
        payload = [self.logged] * self.dice.randrange(1, 5)
        yield from self.buffers.log(100 + len(payload), payload)

    def carrier(self) -> Steps:
        words = yield from self.buffers.take()
        if words is not None:
            self.check(words)

    def check(self, words: list[int]) -> None:
        at = 0
        while at < SIZE:
            stamp, length, event_id = split_header(words[at])
            if not 1 <= length <= SIZE - at:
                raise Wrong(f"an event of {length} words at {at}")
            payload = words[at + 1 : at + length]
            if stamp < self.last_stamp:
                raise Wrong("time goes back")
            self.last_stamp = stamp
            if event_id != FILLER:
                if event_id != 100 + len(payload) or len(set(payload)) != 1:
                    raise Wrong("a torn event")
                if payload[0] in self.delivered:
                    raise Wrong("an event came twice")
                self.delivered.append(payload[0])
            at += length

    def run(self, steps: int, loggers: int = 3) -> None:
        carrier: Steps | None = None
        for self.now in range(1, steps):
            while len(self.awake) < loggers:
                self.awake.append(self.logger())
            if carrier is None:
                carrier = self.carrier()
            if self.asleep and self.dice.random() < 0.02:
                self.awake.append(self.asleep.pop(self.dice.randrange(len(self.asleep))))
            if self.dice.random() < 0.4:
                carrier = carrier if steps_on(carrier) else None
                continue
            turn = self.dice.randrange(len(self.awake))
            if not steps_on(self.awake[turn]):
                del self.awake[turn]
            elif self.dice.random() < self.sleeps:
                self.asleep.append(self.awake.pop(turn))
            elif self.dice.random() < self.kills:
                self.awake.pop(turn).close()

    def finish(self) -> None:
        """Let everybody come to his end, and carry away all that is complete."""
        for one in (*self.awake, *self.asleep):
            while steps_on(one):
                self.now += 1
        while self.buffers.consumed < self.buffers.index // SIZE:
            before = self.buffers.consumed
            one = self.carrier()
            while steps_on(one):
                self.now += 1
            if self.buffers.consumed == before:
                raise Wrong("a buffer never becomes complete")


def steps_on(one: Generator[Access, None, Any]) -> bool:
    try:
        next(one)
    except StopIteration:
        return False
    return True


@pytest.mark.parametrize("sleeps", [0.0, 0.005, 0.02])
def test_what_is_delivered_is_whole_and_in_order_and_the_rest_is_counted(sleeps: float) -> None:
    delivered = discarded = 0
    for seed in range(60):
        race = Race(Buffers, seed, sleeps)
        race.run(3000)
        race.finish()
        delivered += len(race.delivered)
        discarded += race.buffers.discarded
        assert len(race.delivered) <= race.logged
        assert k42_counts(race.buffers)[race.buffers.index // SIZE % NUMBER] == race.buffers.index % SIZE
    assert delivered > 5000
    assert discarded > 0


def test_without_overrun_nothing_is_lost() -> None:
    for seed in range(60):
        race = Race(Buffers, seed, sleeps=0.0)
        for _ in range(200):
            for one in [race.logger() for _ in range(2)]:
                race.awake.append(one)
            while race.awake:
                race.now += 1
                turn = race.dice.randrange(len(race.awake))
                if not steps_on(race.awake[turn]):
                    del race.awake[turn]
            race.finish()
        assert race.buffers.discarded == 0
        kept = race.buffers.index % SIZE
        assert race.logged - len(race.delivered) <= kept


def test_a_killed_logger_never_makes_a_wrong_buffer() -> None:
    for seed in range(60):
        race = Race(Buffers, seed, sleeps=0.01, kills=0.02)
        race.run(3000)


def killed_at(buffers: Buffers, step: Step) -> None:
    one = buffers.log(101, [7])
    while next(one)[0] is not step:
        pass
    one.close()


def log(buffers: Buffers, count: int) -> None:
    for _ in range(count):
        for _ in buffers.log(101, [5]):
            pass


def taken(buffers: Buffers) -> list[int] | None:
    one = buffers.take()
    while True:
        try:
            next(one)
        except StopIteration as done:
            words: list[int] | None = done.value
            return words


def test_a_killed_loggers_buffer_is_good_again_once_his_words_are_written_off() -> None:
    buffers = Buffers(SIZE, NUMBER, lambda: 0)
    killed_at(buffers, Step.WRITE)  # two words of buffer 0 are his
    delivered = 0
    for lap in range(6):
        for _ in range(SIZE * NUMBER // 2 - (lap == 0)):
            log(buffers, 1)
            delivered += taken(buffers) is not None
        if lap == 2:
            buffers.write_off(0, 2)
    # Buffer 0 is lost in the laps 0, 1 and 2, and nothing else.
    while buffers.consumed < buffers.index // SIZE:
        delivered += taken(buffers) is not None
    assert (buffers.discarded, delivered) == (3, 6 * NUMBER - 3)


def test_one_who_slept_a_lap_and_then_completes_the_count_is_not_believed() -> None:
    buffers = Buffers(SIZE, NUMBER, lambda: 0)
    sleeper = buffers.log(101, [7])
    while next(sleeper)[0] is not Step.WRITE:
        pass
    log(buffers, SIZE * NUMBER - 1)  # two words each: two laps, with his own words
    for _ in sleeper:
        pass
    assert buffers.is_complete(NUMBER), "by its count alone it would be delivered"
    fates = [taken(buffers) is not None for _ in range(2 * NUMBER)]
    # The first lap has been written over; of the second, all but the buffer he slept in is good.
    assert fates == [False] * NUMBER + [False] + [True] * (NUMBER - 1)


def test_reset_leaves_k42s_counts() -> None:
    buffers = Buffers(8, 4, lambda: 0)
    assert (k42_counts(buffers), buffers.index) == ([0, 8, 8, 8], 0)
    log(buffers, 9)
    assert k42_counts(buffers) == [8, 8, 2, 8]
    log(buffers, 9)
    assert k42_counts(buffers) == [4, 8, 8, 8]
    buffers.reset()
    assert (k42_counts(buffers), buffers.index, taken(buffers)) == ([0, 8, 8, 8], 0, None)


class StampsFirst(Buffers):
    """Reads the clock before the loop."""

    def reserve(self, length: int) -> Generator[Access, None, tuple[int, int, int, bool]]:
        early = self.clock()
        old, start, _, is_clean = yield from super().reserve(length)
        return old, start, early, is_clean


class NoSwap(Buffers):
    """Stores the index instead of comparing and swapping it."""

    def swap_index(self, old: int, new: int) -> bool:
        self.index = new
        return True


class StoresCount(Buffers):
    """Sets a buffer's count when its first words come, as if nobody else had committed in it."""

    def add_count(self, position: int, words: int) -> None:
        buffer = position // self.size
        if position % self.size == 0:
            self.counts[buffer % self.number] = buffer // self.number * self.size
        super().add_count(position, words)


class CommitsFirst(Buffers):
    """Says that the words are there, then writes them."""

    def fill(self, start: int, words: Any) -> Steps:  # noqa: ANN401
        yield Step.ADD_COUNT, 0
        self.add_count(start, len(words))
        for position, word in enumerate(words, start):
            yield Step.WRITE, 0
            self.write(position, word)


class Crosses(Buffers):
    """Lets events cross the end of a buffer."""

    def reserve(self, length: int) -> Generator[Access, None, tuple[int, int, int, bool]]:
        while True:
            yield Step.READ_INDEX, 0
            old = self.index
            stamp = self.clock()
            yield Step.SWAP_INDEX, 0
            if self.swap_index(old, old + length):
                return old, old, stamp, True


class NoTaint(Buffers):
    """Believes the count of a buffer, whoever may have slept in it: K42."""

    def is_left(self, buffer: int) -> bool:
        return True


class LooksLate(Buffers):
    """Looks for sleepers after the swap."""

    def reserve(self, length: int) -> Generator[Access, None, tuple[int, int, int, bool]]:
        old, start, stamp, _ = yield from super().reserve(length)
        if start % self.size:
            return old, start, stamp, True
        yield Step.READ_COUNT, 0
        lap, place = divmod(start // self.size, self.number)
        return old, start, stamp, self.counts[place] >= lap * self.size


class NoSecondLook(Buffers):
    """Does not look again whether loggers have come round while a buffer was copied."""

    def is_lapped(self, buffer: int) -> bool:
        return False


@pytest.mark.parametrize(
    "mutant",
    [StampsFirst, NoSwap, StoresCount, CommitsFirst, Crosses, NoTaint, LooksLate, NoSecondLook],
)
def test_the_checks_catch_a_protocol_that_breaks_a_rule(mutant: type[Buffers]) -> None:
    with pytest.raises(Wrong):
        races(mutant)


def races(kind: type[Buffers]) -> None:
    for seed in range(300):
        race = Race(kind, seed, sleeps=0.05)
        race.run(2000)
        race.finish()
