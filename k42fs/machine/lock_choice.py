"""Which exclusive lock the servers use: a choice of four by name, for experiments.

    block    K42's default: spins in a queue for a while, then blocks
    slock    spins in a queue, and keeps its processor
    ticket   spins on one word that shows whose turn it is
    tas      swaps 1 into one word until 0 comes out

A machine has one choice, `machine.lock_kind`, for the locks that are made from then on; what to expect of each is
experiment E1 of `validation/`. Who makes a lock asks `make_lock` for one, in at least LOCK_BYTES on a line of its own.

Only locks whose holders never block can be chosen, as a spinner keeps its processor: were the holder one of its own
threads, it would never run again (a deterministic run then raises DeadlockError). So those that are held while other
objects make their reps, while programs answer, or over whole operations (the roots' locks, a tree's rename mutex, a
name client's lock) stay as they are; and with spin locks the calls below a held one must not block either. Objects
with a rep per processor can break that at a first touch, which waits for the root's lock: there, let each processor
have one thread.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from k42fs.errors import ConfigError
from k42fs.machine.layout import WORD_BYTES
from k42fs.machine.locks import FairBLock, SLock
from k42fs.machine.spin_locks import TasLock, TicketLock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k42fs.machine.driver import Machine
    from k42fs.machine.exclusive_lock import ExclusiveLock

LOCK_BYTES: Final = 2 * WORD_BYTES
DEFAULT: Final = "block"
CHOICES: Final[Mapping[str, type[ExclusiveLock]]] = MappingProxyType(
    {DEFAULT: FairBLock, "slock": SLock, "ticket": TicketLock, "tas": TasLock}
)


def make_lock(
    kind: str,
    machine: Machine,
    addr: int,
    rank: int = 0,
    name: str = "lock",
    owner: object = None,
    spans_calls: bool = False,
) -> ExclusiveLock:
    """Make the lock of that *kind*; the rest as for `LockBase`. Raises ConfigError for a kind that is none."""
    made = CHOICES.get(kind)
    if made is None:
        raise ConfigError(f"lock={kind}: unknown; one of {', '.join(CHOICES)}")
    return made(machine, addr, rank, name, owner, spans_calls)
