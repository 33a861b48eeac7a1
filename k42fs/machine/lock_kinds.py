"""All locks that exclude, by kind: for experiments, and for policies that choose one.

All are made as ``LOCK_KINDS[kind](machine, addr, rank, name, owner, spans_calls)`` and have `acquire`,
`try_acquire` and `release`. At *addr* there must be `LOCK_BYTES`, alone on their line unless sharing it is
meant.
"""

from __future__ import annotations

from typing import Final

from k42fs.machine.bit_locks import BitSLock, PtrSLock
from k42fs.machine.locks import FairBLock, SLock
from k42fs.machine.rec_lock import BYTES, RecLock
from k42fs.machine.spin_lock import SpinLock
from k42fs.machine.spin_locks import SPIN_LOCKS
from k42fs.machine.unfair_locks import BitBLock, PtrBLock, UnFairBLock, UnfairLock

LOCK_BYTES: Final = BYTES

Lock = FairBLock | SpinLock | UnfairLock

LOCK_KINDS: Final[dict[str, type[Lock]]] = {
    **SPIN_LOCKS,
    **{lock.kind: lock for lock in (SLock, FairBLock, RecLock)},
    **{lock.kind: lock for lock in (BitSLock, PtrSLock)},
    **{lock.kind: lock for lock in (BitBLock, PtrBLock, UnFairBLock)},
}
