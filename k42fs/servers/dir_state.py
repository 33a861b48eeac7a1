"""What one implementation of a directory's object hands to the next (DIR_CANONICAL)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from k42fs.objects.transfer import TransferType, TransferTypes

if TYPE_CHECKING:
    from k42fs.servers.name_holder import NameHolder

DIR_FORMS: Final[TransferTypes] = frozenset({TransferType.DIR_CANONICAL})

NAME_CYCLES: Final = 20
"""Work to move one name from table to table."""


@dataclass(frozen=True, slots=True)
class DirState:
    """The names that a directory knows, oldest first, its open handles, whether it was used lately, and whether it is
    closing: then the inode may have another object already, and this one only tells late callers so.

    The holders are passed on themselves, with the locks in them that walks hold.
    """

    children: dict[bytes, NameHolder]
    negatives: dict[bytes, None]
    handles: int
    used: bool
    closing: bool

    @property
    def cycles(self) -> int:
        """What it costs to enter all of it."""
        return NAME_CYCLES * (len(self.children) + len(self.negatives))
