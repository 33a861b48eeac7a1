"""What two implementations of an object may hand each other when one replaces the other.

Each root says which forms of its state it can export and which it can import; smaller numbers are better,
so the agreed form is the lowest one in both sets, and two implementations with none in common cannot replace
each other. A *canonical* form moves once, on one processor; in a *partitioned* one every processor that called
the object hands on its own part. VAL forms are copies; REF forms are the containers
themselves, which may be handed over because nobody runs in either implementation meanwhile.

A root takes part by

    exports, imports                       sets of TransferType; empty: it cannot be swapped
    await export_state(th, kind, vps)      on every processor of vps, in parallel: its part, or None for nothing
    await import_state(th, state, kind, vps)     likewise, with what was exported on the same processor

where vps is one processor for a canonical form, the one where the object came to rest;
    committed(th)                          once, on the old root and then the new, when all imports have succeeded

A single-rep object leaves this to its rep, which has `exports` and `imports` in its class, and
`export_state(th, kind)`, `import_state(th, state, kind)` and perhaps `committed(th)` without processor sets: it
exports on the first processor, and imports every part that is not None.

Export must not destroy and import may raise: then the old implementation goes on as it was. So ownership of what
was handed over by reference passes in `committed`, a plain function that neither waits nor fails: the old
object lets go there of all that its clean-up would free.

K42: lib/libc/cobj/DTType.H, DataTransfer.C.
Differs: K42's export and import cannot fail, and pass ownership at once; it calls them on all processors for a
canonical form too, where all but the first have nothing to do.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from k42fs.machine.thread import Thread


class TransferType(IntEnum):
    """Forms of state. Below 20 the numbers are K42's; a private form of two implementations takes a lower number
    than the canonical one of their kind."""

    COUNTER_PARTITIONED_VAL = 1
    COUNTER_PARTITIONED_REF = 2
    COUNTER_CANONICAL_REF = 3
    COUNTER_CANONICAL_VAL = 4
    FCM_DEFAULT_MULTI_REP_ROOT = 11
    FCM_DEFAULT = 13
    FCM_CANONICAL = 15
    FCM_NULL_SWAP = 16
    FACTORY_DEFAULT = 17
    PROCESS_DEFAULT = 18
    TEST = 19
    DIR_CANONICAL = 20
    FILE_CANONICAL = 22
    CACHE_CANONICAL = 24


TransferTypes = frozenset[TransferType]

PARTITIONED: Final[TransferTypes] = frozenset(
    (TransferType.COUNTER_PARTITIONED_VAL, TransferType.COUNTER_PARTITIONED_REF)
)
"""Forms of which every processor has a part. All others are canonical."""

NOTHING: Final[TransferTypes] = frozenset()


def agreed_type(exports: Collection[TransferType], imports: Collection[TransferType]) -> TransferType | None:
    """Return the best form that one side can export and the other import, None if there is none."""
    return min(set(exports) & set(imports), default=None)


def is_first(th: Thread, vps: int) -> bool:
    """Say whether *th*'s processor is the one of the set *vps* that a canonical form is produced on."""
    return vps & -vps == 1 << th.vp
