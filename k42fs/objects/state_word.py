"""The state word of a global translation entry: who may miss, switch or destroy right now.

Low bits are flags, the rest counts the misses in progress. Every transition is a pure function from the old
word to an answer and a new word, so each one can be a single compare-and-swap; the caller stores the result
before it lets anybody else run. The two promises the rest of the floor builds on: a root is never replaced
under a running miss, and once DESTROYING is set no processor can join the object's `trans_set` any more.

| function       | refused when                           | waits while | effect                             |
|----------------|----------------------------------------|-------------|------------------------------------|
| enter_miss     | destroying                             | writing     | one more miss                      |
| enter_switch   | destroying, pending destroy, switching | misses run  | set switching and writing          |
| write_complete |                                        |             | clear writing: misses resume       |
| exit_switch    |                                        |             | clear switching; is destroy owed?  |
| enter_destroy  | destroying: someone else does it       | misses run  | set destroying, or pending         |

K42: TransEntry.H (mhReadEntry, mhSwitchEntry, mhWriteComplete, mhSwitchExit, mhDestroyEntry).
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

WRITING: Final = 1
SWITCHING: Final = 2
PENDING_DESTROY: Final = 4
DESTROYING: Final = 8
CLEANED: Final = 16
ONE_MISS: Final = 32


class Answer(Enum):
    """What a transition tells the thread that tried it."""

    GRANTED = auto()
    WAIT = auto()  # try again later: nothing has changed
    REFUSED = auto()  # it can never be granted to this caller
    PENDING = auto()  # a destroy is owed at the end of the switch


def enter_miss(word: int) -> tuple[Answer, int]:
    if word & DESTROYING:
        return Answer.REFUSED, word
    if word & WRITING:
        return Answer.WAIT, word
    return Answer.GRANTED, word + ONE_MISS


def exit_miss(word: int) -> int:
    assert word >= ONE_MISS, f"a miss ended that never began: word {word:#x}"
    return word - ONE_MISS


def enter_switch(word: int) -> tuple[Answer, int]:
    if word & (DESTROYING | PENDING_DESTROY | SWITCHING):
        return Answer.REFUSED, word
    if word >= ONE_MISS:
        return Answer.WAIT, word
    return Answer.GRANTED, word | SWITCHING | WRITING


def write_complete(word: int) -> int:
    assert word & WRITING, f"no handler is being written: word {word:#x}"
    return word & ~WRITING


def exit_switch(word: int) -> tuple[Answer, int]:
    """End the switch. PENDING: the caller must now issue the destroy that arrived meanwhile."""
    assert word & SWITCHING, f"no switch is under way: word {word:#x}"
    assert not word & WRITING, f"the new handler is not in place: word {word:#x}"
    answer = Answer.PENDING if word & PENDING_DESTROY else Answer.GRANTED
    return answer, word & ~(SWITCHING | PENDING_DESTROY)


def enter_destroy(word: int) -> tuple[Answer, int]:
    if word & (DESTROYING | PENDING_DESTROY):
        return Answer.REFUSED, word
    if word & SWITCHING:
        return Answer.PENDING, word | PENDING_DESTROY
    if word >= ONE_MISS:
        return Answer.WAIT, word
    return Answer.GRANTED, word | DESTROYING
