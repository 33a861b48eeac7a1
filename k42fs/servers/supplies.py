"""How a file server keeps what all of its files share: apart for each processor, or once for all.

Apart: an operation touches its own processor's share, and only now and then the common rest. Once: one word or
list, under one lock where one word is not enough, as a kernel for few processors would have it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

Spread = Literal["per-processor", "single"]
SPREADS: Final[tuple[Spread, ...]] = get_args(Spread)


@dataclass(frozen=True, slots=True, kw_only=True)
class Supplies:
    """The choice for each of them.

    `free_lists`: objects that nobody uses. `inode_numbers`: numbers, and the list of all inodes. `budget`: bytes
    that may still be used. `statistics`: how many calls there were.
    """

    free_lists: Spread = "per-processor"
    inode_numbers: Spread = "per-processor"
    budget: Spread = "per-processor"
    statistics: Spread = "per-processor"


PER_PROCESSOR: Final = Supplies()
